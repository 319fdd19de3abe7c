use std::time::Duration;

use super::*;
use crate::poll::http::testing::{Server, answer, block_on, ok};
use crate::poll::source::Spec as _;

fn spec(keys: &str) -> Spec {
    toml::from_str(keys).expect("a spec")
}

/// One round of these classes of a server that answers so.
async fn round(
    keys: &str,
    server: &Server,
    classes: &[&str],
) -> Result<Vec<Result<Demand, String>>, SourceError> {
    // Cargo sets the variable.
    let spec = spec(&format!(
        "url = \"{}\"\nresource_class = \"a/b\"\ntoken_env = \"CARGO_PKG_NAME\"\n{keys}",
        server.url
    ));
    spec.check().expect("good");
    let queues: Vec<_> = classes.iter().copied().map(Queue::new).collect();
    let harvest = spec.open(&Http::new()).read(&queues).await?;
    Ok(harvest.demands.into_iter().map(|(_, told)| told).collect())
}

fn tasks(count: u32) -> String {
    format!("{{\"unclaimed_task_count\":{count}}}")
}

fn running(count: u32) -> String {
    format!("{{\"running_runner_tasks\":{count}}}")
}

#[test]
fn waiting_and_running_tasks_are_read_on_the_paths_of_both_versions() {
    let runners = r#"{"items":[{"resource_class":"acme/linux","hostname":"ip-10-0-0-7",
        "name":"i-0123456789abcdef0","first_connected":"2021-01-01T00:00:00Z",
        "last_connected":"2021-01-01T00:00:05Z","last_used":null,"version":"1.0"}]}"#;
    let v3 = [
        "GET /api/v3/runner/tasks/running?resource-class=acme%2Flinux",
        "GET /api/v3/runner/tasks?resource-class=acme%2Flinux",
        "GET /api/v3/runner?resource-class=acme%2Flinux",
    ];
    let v2 = [
        "GET /api/v2/tasks/running?resource-class=acme%2Flinux",
        "GET /api/v2/tasks?resource-class=acme%2Flinux",
        "GET /api/v2/runner?resource-class=acme%2Flinux",
    ];
    for (keys, lines) in [("", v3), ("api = \"v3\"", v3), ("api = \"v2\"", v2)] {
        block_on(async {
            let pages = [running(10), tasks(7), runners.to_owned()];
            let server = Server::of_pages(lines.into_iter().zip(pages).collect()).await;
            let told = round(keys, &server, &["acme/linux"]).await.expect("read");
            let expected = Demand {
                waiting: 7,
                running: Some(10),
                names: Some(vec!["i-0123456789abcdef0".to_owned()]),
                ..Demand::default()
            };
            assert_eq!(told, [Ok(expected)]);
            assert_eq!(server.lines(), lines);
            assert_eq!(server.asked()[0].header("circle-token"), Some("clockout"));
        });
    }
}

#[test]
fn names_are_asked_for_only_while_tasks_wait() {
    for (keys, waiting, calls) in [("", 0, 2), ("", 1, 3), ("names = false", 1, 2)] {
        block_on(async {
            let server = Server::start(move |asked| {
                Some(ok(&match asked.line.as_str() {
                    line if line.contains("running") => running(0),
                    line if line.contains("tasks") => tasks(waiting),
                    _ => r#"{"items":null}"#.to_owned(),
                }))
            })
            .await;
            let told = round(keys, &server, &["a/b"]).await.expect("read");
            let names = (calls == 3).then(Vec::new);
            assert_eq!(told[0].as_ref().expect("known").names, names);
            assert_eq!(server.lines().len(), calls, "{keys}");
        });
    }
}

#[test]
fn without_the_names_what_waits_is_known_all_the_same() {
    block_on(async {
        let server = Server::start(|asked| {
            Some(match asked.line.as_str() {
                line if line.contains("running") => ok(&running(1)),
                line if line.contains("tasks") => ok(&tasks(2)),
                _ => answer("403 Forbidden", &[], "{\"message\":\"no\"}"),
            })
        })
        .await;
        let url = &server.url;
        let spec = spec(&format!(
            "url = \"{url}\"\nresource_class = \"a/b\"\ntoken_env = \"CARGO_PKG_NAME\""
        ));
        let harvest = spec.open(&Http::new()).read(&[spec.queue()]).await;
        let harvest = harvest.expect("read");
        let demand = harvest.demands[0].1.as_ref().expect("known");
        assert_eq!(
            (demand.waiting, demand.running, &demand.names),
            (2, Some(1), &None)
        );
        assert!(
            harvest.remarks[0].starts_with("runners of a/b: "),
            "{:?}",
            harvest.remarks
        );
    });
}

#[test]
fn a_class_that_cannot_be_read_is_unknown_and_the_others_are_not() {
    block_on(async {
        let server = Server::start(|asked| {
            Some(match asked.line.as_str() {
                line if line.contains("gone") => answer("404 Not Found", &[], "{}"),
                line if line.contains("odd") => ok("{\"unclaimed_task_count\":null}"),
                line if line.contains("running") => ok(&running(3)),
                _ => ok(&tasks(0)),
            })
        })
        .await;
        let told = round("", &server, &["a/gone", "a/good", "a/odd"]).await;
        let told = told.expect("read");
        assert!(
            told[0].as_ref().is_err_and(|why| why.contains("404")),
            "{told:?}"
        );
        assert_eq!(told[1].as_ref().map(|demand| demand.running), Ok(Some(3)));
        assert!(told[2].is_err(), "{told:?}");
    });
}

#[test]
fn a_limit_is_kept_to_and_a_refused_token_is_told_with_its_place() {
    block_on(async {
        let wait = Some(Duration::from_secs(9));
        let limit = || answer("429 Too Many Requests", &[("retry-after", "9")], "{}");
        let server = Server::start(move |_| Some(limit())).await;
        let told = round("", &server, &["a/b", "a/c"]).await;
        assert_eq!(told, Err(SourceError::Limited(wait)));
        let body = "{\"message\":\"Unauthorized\"}";
        let server = Server::start(move |_| Some(answer("401 Unauthorized", &[], body))).await;
        let told = round("", &server, &["a/b"]).await.expect_err("refused");
        assert!(matches!(&told, SourceError::Denied(_)), "{told:?}");
        assert!(
            told.to_string()
                .ends_with("(the token is from variable CARGO_PKG_NAME)")
        );
    });
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    for (keys, expected) in [
        (
            "resource_class = \"a/b\"",
            "give 'token_file' or 'token_env'",
        ),
        (
            "token_env = \"T\"",
            "resource_class = \"\": give NAMESPACE/NAME",
        ),
        (
            "token_env = \"T\"\nresource_class = \"a/\"",
            "give NAMESPACE/NAME",
        ),
        (
            "token_env = \"T\"\nurl = \"ftp://x\"",
            "neither https:// nor http://",
        ),
    ] {
        let said = spec(keys).check().expect_err(keys);
        assert!(said.contains(expected), "{said}");
    }
    assert!(toml::from_str::<Spec>("api = \"v1\"").is_err());
    let mut found = spec("token_env = \"T\"");
    found.fill("acme/linux");
    assert_eq!(found.check(), Ok(()));
    assert_eq!(found.queue().as_str(), "acme/linux");
    assert_eq!(
        found.server(),
        "https://runner.circleci.com (token: variable T)"
    );
}
