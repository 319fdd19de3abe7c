use std::cell::Cell;

use super::*;
use crate::poll::http::testing::{Asked, Server, answer, block_on};
use crate::poll::source::Spec as _;

const JOBS: &str = include_str!("../fixtures/github_jobs.json");

fn spec(url: &str, rest: &str) -> Spec {
    let text =
        format!("url = '{url}'\ntoken_env = 'CARGO_PKG_NAME'\nlabels = ['X64', 'linux']\n{rest}");
    toml::from_str(&text).expect("a source")
}

/// Answers as GitHub does, with an ETag for each page that is the page's length.
fn page(asked: &Asked, body: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let etag = format!("W/\"{}\"", body.len());
    let reset = "Tue, 14 Nov 2023 22:13:20 GMT";
    let mut all = vec![
        ("etag", etag.as_str()),
        ("date", reset),
        ("x-ratelimit-remaining", "100"),
        ("x-ratelimit-reset", "1700000900"),
    ];
    all.extend(headers);
    if asked.header("if-none-match") == Some(&etag) {
        return answer("304 Not Modified", &all, "");
    }
    answer("200 OK", &all, body)
}

#[test]
fn an_unchanged_organisation_costs_nothing() {
    block_on(async {
        let changed = Rc::new(Cell::new(false));
        let is_changed = Rc::clone(&changed);
        let server = Server::start(move |asked| {
            let host = asked.header("host").unwrap_or_default();
            let (path, query) =
                asked.line.trim_start_matches("GET ").split_once('?').unwrap_or_default();
            let body = match (path, query) {
                ("/orgs/acme/repos", _) => {
                    r#"[{"full_name": "acme/app"}, {"full_name": "acme/old", "archived": true}]"#
                }
                ("/repos/acme/app/actions/runs", "status=queued&per_page=100") => {
                    r#"{"total_count": 1, "workflow_runs": [{"id": 7, "status": "queued"}]}"#
                }
                // It began in between.
                ("/repos/acme/app/actions/runs", _) if is_changed.get() => {
                    r#"{"total_count": 1, "workflow_runs": [{"id": 7, "status": "in_progress"}]}"#
                }
                ("/repos/acme/app/actions/runs", _) => {
                    r#"{"total_count": 0, "workflow_runs": []}"#
                }
                ("/repos/acme/app/actions/runs/7/jobs", "page=2") => {
                    r#"{"total_count": 9, "jobs": [{"id": 1, "status": "queued", "labels": ["linux"]}]}"#
                }
                ("/repos/acme/app/actions/runs/7/jobs", _) => {
                    let next = format!("<http://{host}{path}?page=2>; rel=\"next\"");
                    return Some(page(asked, JOBS, &[("link", &next)]));
                }
                _ => return Some(answer("404 Not Found", &[], "{}")),
            };
            Some(page(asked, body, &[]))
        })
        .await;
        let spec = spec(&server.url, "org = 'acme'");
        assert_eq!(spec.check(), Ok(()));
        assert_eq!(spec.queue(), Queue::new("linux,x64"));
        let mut source = spec.open(&Http::new());
        let queue = [spec.queue()];
        let first = source.read(&queue).await.expect("told");
        assert_eq!(first.hints.every, None);
        let jobs = |harvest: &Harvest| {
            let demand = harvest.demands[0].1.as_ref().expect("known");
            (demand.waiting, demand.running)
        };
        assert_eq!(jobs(&first), (3, Some(1)));
        assert_eq!(
            first.remarks,
            ["1 queued jobs name no label, and do not count"]
        );
        assert_eq!(server.asked().len(), 5);
        // The repositories are not listed again, and nothing else has changed.
        let second = source.read(&queue).await.expect("told");
        assert_eq!(second.hints.every, None);
        assert_eq!(jobs(&second), (3, Some(1)));
        assert_eq!(server.asked().len(), 9);
        changed.set(true);
        let third = source.read(&queue).await.expect("told");
        assert_eq!(jobs(&third), (3, Some(1)));
        // Of the 100 calls that are left, 90 are spread over 900 seconds.
        assert_eq!(third.hints.every, Some(Duration::from_secs(10)));
        let asked = server.asked();
        assert!(
            asked
                .iter()
                .all(|asked| asked.header("authorization") == Some("Bearer clockout"))
        );
    });
}

#[test]
fn a_repository_that_cannot_be_read_leaves_all_unknown() {
    block_on(async {
        let server = Server::start(|asked| {
            let is_there = asked.line.contains("/repos/acme/app/");
            Some(match is_there {
                true => page(asked, r#"{"workflow_runs": []}"#, &[]),
                false => answer("404 Not Found", &[], r#"{"message": "Not Found"}"#),
            })
        })
        .await;
        let one = spec(&server.url, "repos = ['acme/app']");
        let harvest = one
            .open(&Http::new())
            .read(&[one.queue()])
            .await
            .expect("told");
        assert_eq!(
            harvest.demands[0].1.as_ref().map(|demand| demand.waiting),
            Ok(0)
        );
        let two = spec(&server.url, "repos = ['acme/app', 'acme/gone']");
        let error = two
            .open(&Http::new())
            .read(&[two.queue()])
            .await
            .expect_err("unknown");
        assert!(
            matches!(&error, SourceError::Missing(text) if text.contains("acme/gone")),
            "{error}"
        );
    });
}

#[test]
fn a_used_up_rate_limit_says_when_to_come_again() {
    block_on(async {
        let server = Server::start(|_| {
            let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "90")];
            Some(answer(
                "403 Forbidden",
                &headers,
                r#"{"message": "API rate limit exceeded"}"#,
            ))
        })
        .await;
        let spec = spec(&server.url, "repos = ['acme/app']");
        let told = spec.open(&Http::new()).read(&[spec.queue()]).await;
        assert_eq!(
            told,
            Err(SourceError::Limited(Some(Duration::from_secs(90))))
        );
    });
}

#[test]
fn the_configuration_must_say_whose_jobs() {
    let url = "https://api.github.com";
    for (rest, complaint) in [
        ("repos = ['acme/app', 'acme/.github']", None),
        ("org = 'acme'", None),
        ("", Some("give 'repos' or 'org'")),
        (
            "org = 'acme'\nrepos = ['acme/app']",
            Some("give 'repos' or 'org'"),
        ),
        ("repos = ['app']", Some("repos: \"app\" is not OWNER/NAME")),
        (
            "repos = ['a/b/c']",
            Some("repos: \"a/b/c\" is not OWNER/NAME"),
        ),
        (
            "repos = ['a/..']",
            Some("repos: \"a/..\" is not OWNER/NAME"),
        ),
        ("org = 'a/b'", Some("org: \"a/b\" is no name")),
    ] {
        assert_eq!(
            spec(url, rest).check().err().as_deref(),
            complaint,
            "{rest}"
        );
    }
}
