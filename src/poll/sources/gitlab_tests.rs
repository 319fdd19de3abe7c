use super::*;
use crate::poll::http::testing::{Server, answer, block_on, ok};
use crate::poll::source::Spec as _;

/// From GitLab's documentation of the jobs API, with pending ones added.
const JOBS: &str = include_str!("fixtures/gitlab_jobs.json");

fn read(queue: &str, max: Option<u64>) -> (u32, Option<u32>, Option<u64>) {
    let jobs: Vec<Job> = serde_json::from_str(JOBS).expect("jobs");
    let ages = Ages {
        min: None,
        max: max.map(Duration::from_secs),
    };
    let now = moment("2015-12-24T15:53:00Z").expect("a time");
    let (demand, _) = demand(&jobs, queue, ages, now);
    (
        demand.waiting,
        demand.running,
        demand.oldest.map(|age| age.as_secs()),
    )
}

#[test]
fn jobs_count_for_runners_that_have_all_of_their_tags() {
    assert_eq!(read("ubuntu18", None), (1, Some(1), Some(180)));
    assert_eq!(
        read("docker runner,ubuntu18", None),
        (2, Some(1), Some(180))
    );
    assert_eq!(
        read("docker runner,ubuntu18", Some(100)),
        (1, Some(1), Some(95))
    );
    assert_eq!(read("docker runner", None), (0, Some(0), None));
    assert_eq!(read(UNTAGGED, None), (2, Some(0), Some(5)));
    assert_eq!(read("ubuntu18 and untagged", None), (3, Some(1), Some(180)));
}

#[test]
fn what_is_no_list_of_jobs_is_refused() {
    for bad in [
        "{}",
        "null",
        r#"{"message": "404 Project Not Found"}"#,
        "[{}]",
        r#"[{"status": null}]"#,
    ] {
        assert!(serde_json::from_str::<Vec<Job>>(bad).is_err(), "{bad}");
    }
}

fn spec(url: &str, rest: &str) -> Spec {
    let text = format!("url = '{url}'\ntoken_env = 'CARGO_PKG_NAME'\n{rest}");
    toml::from_str(&text).expect("a source")
}

#[test]
fn the_configuration_must_say_whose_jobs() {
    let url = "https://gitlab.example.com";
    for (rest, complaint) in [
        ("projects = ['a/b']\ntags = ['x']", None),
        ("group = 'a'\nuntagged = true", None),
        ("tags = ['x']", Some("give 'projects' or 'group'")),
        (
            "group = 'a'\nprojects = ['a/b']\ntags = ['x']",
            Some("give 'projects' or 'group'"),
        ),
        ("group = 'a'", Some("give 'tags', or untagged = true")),
    ] {
        assert_eq!(
            spec(url, rest).check().err().as_deref(),
            complaint,
            "{rest}"
        );
    }
    let spec = spec(
        url,
        "group = 'a'\ntags = ['y', 'x']\nuntagged = true\nmax_age = '6h'",
    );
    assert_eq!(spec.queue(), Queue::new("x,y and untagged"));
    assert_eq!(
        spec.server(),
        "https://gitlab.example.com (token: variable CARGO_PKG_NAME) group a max_age 6h"
    );
}

#[test]
fn a_groups_projects_are_asked_page_by_page() {
    block_on(async {
        let server = Server::start(|asked| {
            let host = asked.header("host").unwrap_or_default();
            let path = asked.line.trim_start_matches("GET ").split('?').next();
            Some(match path.unwrap_or_default() {
                "/api/v4/groups/top%2Fsub/projects" => {
                    ok(r#"[{"id": 1, "builds_access_level": "enabled"},
                        {"id": 2, "builds_access_level": "disabled"}]"#)
                }
                "/api/v4/projects/1/jobs" if asked.line.contains("cursor") => ok("[]"),
                "/api/v4/projects/1/jobs" => {
                    let next =
                        format!("<http://{host}/api/v4/projects/1/jobs?cursor=x>; rel=\"next\"");
                    answer(
                        "200 OK",
                        &[
                            ("link", &next),
                            ("ratelimit-remaining", "0"),
                            ("ratelimit-reset", "7"),
                        ],
                        JOBS,
                    )
                }
                _ => answer("403 Forbidden", &[], "no"),
            })
        })
        .await;
        let spec = spec(&server.url, "group = 'top/sub'\ntags = ['ubuntu18']");
        assert_eq!(spec.check(), Ok(()));
        let mut source = spec.open(&Http::new());
        for _ in 0..2 {
            let harvest = source.read(&[spec.queue()]).await.expect("told");
            let demand = harvest.demands[0].1.as_ref().expect("known");
            assert_eq!((demand.waiting, demand.running), (1, Some(1)));
            assert_eq!(harvest.hints.not_before, Some(Duration::from_secs(7)));
        }
        // The projects once, two pages of jobs twice.
        let asked = server.asked();
        assert_eq!(asked.len(), 5);
        assert_eq!(
            asked[1].line,
            "GET /api/v4/projects/1/jobs?scope%5B%5D=pending&scope%5B%5D=running\
             &pagination=keyset&order_by=id&sort=desc&per_page=100"
        );
        assert!(
            asked
                .iter()
                .all(|asked| asked.header("private-token") == Some("clockout"))
        );
    });
}

#[test]
fn one_project_that_cannot_be_read_leaves_all_unknown() {
    block_on(async {
        let page = "GET /api/v4/projects/a%2Fb/jobs?scope%5B%5D=pending&scope%5B%5D=running\
                    &pagination=keyset&order_by=id&sort=desc&per_page=100";
        let server = Server::of_pages(vec![(page, JOBS.to_owned())]).await;
        let one = spec(&server.url, "projects = ['a/b']\ntags = ['ubuntu18']");
        assert!(one.open(&Http::new()).read(&[one.queue()]).await.is_ok());
        let two = spec(
            &server.url,
            "projects = ['a/b', 'a/c']\ntags = ['ubuntu18']",
        );
        let error = two
            .open(&Http::new())
            .read(&[two.queue()])
            .await
            .expect_err("unknown");
        assert!(
            matches!(&error, SourceError::Missing(text) if text.contains("a%2Fc")),
            "{error}"
        );
    });
}
