use super::*;
use crate::poll::http::testing::{Server, answer, block_on, ok};
use crate::poll::source::Spec as _;

/// As Woodpecker 3.8 writes it, shortened.
const BUSY: &str = include_str!("fixtures/woodpecker_busy.json");
/// As Woodpecker 2 writes it when nothing happens.
const IDLE: &str = r#"{"pending": null, "waiting_on_deps": null, "running": null,
    "stats": {"worker_count": 3, "pending_count": 0, "waiting_on_deps_count": 0,
    "running_count": 0}, "paused": false}"#;

fn read(body: &str, queue: &str) -> (u32, Option<u32>) {
    let info: Info = serde_json::from_str(body).expect("a queue");
    let harvest = info.harvest(&[Queue::new(queue)]);
    let (_, demand) = &harvest.demands[0];
    let demand = demand.as_ref().expect("known");
    (demand.waiting, demand.running)
}

#[test]
fn tasks_are_counted_for_the_agents_that_would_take_them() {
    for (queue, expected) in [
        ("", (2, 1)),
        ("platform=linux/amd64", (1, 1)),
        ("platform=linux/arm64", (1, 0)),
        ("platform=*,size=big", (3, 1)),
        ("platform=linux/amd64,size=small", (1, 1)),
        ("!size=big", (1, 0)),
        ("repo=octocat/hello", (2, 1)),
        ("repo=other/repo", (0, 0)),
        ("org-id=99", (0, 0)),
    ] {
        assert_eq!(read(BUSY, queue), (expected.0, Some(expected.1)), "{queue}");
    }
}

#[test]
fn an_empty_queue_of_nulls_is_known_to_be_empty() {
    assert_eq!(read(IDLE, "platform=linux/amd64"), (0, Some(0)));
}

#[test]
fn nobody_waits_in_a_paused_queue_and_it_is_told() {
    let paused = BUSY.replace("\"paused\": false", "\"paused\": true");
    assert_eq!(read(&paused, ""), (0, Some(1)));
    let info: Info = serde_json::from_str(&paused).expect("a queue");
    assert_eq!(info.harvest(&[]).remarks, ["the server's queue is paused"]);
}

#[test]
fn an_answer_without_its_lists_is_no_queue() {
    for bad in [
        "{}",
        "[]",
        "null",
        r#"{"pending": []}"#,
        r#"{"pending": 3, "running": []}"#,
    ] {
        assert!(serde_json::from_str::<Info>(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_agent_is_given_what_the_server_would_give_it() {
    let table = [
        ("", "", true),
        ("", "size=big", false),
        ("size=big", "", true),
        ("size=big", "size=big", true),
        ("size=big", "size=small", false),
        ("size=*", "size=small", true),
        ("size=big", "size=", true),
        ("!size=big", "", false),
        ("!size=big", "size=big", true),
        ("!size=big", "size=small", false),
        ("", "woodpecker-ci.org/branch=main", true),
        ("", "hostname=builder-1", false),
        (
            "",
            "repo=a/b,org-id=3,platform=linux/amd64,backend=docker",
            true,
        ),
    ];
    for (own, task, expected) in table {
        assert_eq!(
            takes(&agent(own), &labels(task)),
            expected,
            "{own} and {task}"
        );
    }
}

#[test]
fn a_tag_says_the_labels() {
    let mut spec: Spec = toml::from_str(
        "url = 'https://ci.example.com'\ntoken_env = 'CI_TOKEN'\nlabels = { a = 'b' }",
    )
    .expect("a source");
    assert_eq!(spec.check(), Ok(()));
    assert_eq!(
        spec.server(),
        "https://ci.example.com (token: variable CI_TOKEN)"
    );
    spec.fill("size=big, platform=linux/arm64");
    assert_eq!(spec.queue(), Queue::new("platform=linux/arm64,size=big"));
    assert_eq!(spec.check(), Ok(()));
    spec.fill("big");
    assert!(spec.check().expect_err("refused").contains("big = \"\""));
}

#[test]
fn one_call_serves_all_queues() {
    block_on(async {
        let server = Server::start(|asked| {
            Some(match asked.line.as_str() {
                "GET /ci/api/queue/info" => ok(BUSY),
                _ => answer("404 Not Found", &[], ""),
            })
        })
        .await;
        // Cargo sets the variable.
        let keys = format!("url = '{}/ci/'\ntoken_env = 'CARGO_PKG_NAME'", server.url);
        let spec: Spec = toml::from_str(&keys).expect("a source");
        let mut source = spec.open(&Http::new());
        let queues = [spec.queue(), Queue::new("platform=linux/arm64")];
        let harvest = source.read(&queues).await.expect("told");
        let waiting = harvest
            .demands
            .iter()
            .map(|(_, demand)| demand.as_ref().map(|it| it.waiting));
        assert_eq!(waiting.collect::<Vec<_>>(), [Ok(2), Ok(1)]);
        let asked = server.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].header("authorization"), Some("Bearer clockout"));
    });
}

#[test]
fn whoever_is_no_administrator_knows_nothing() {
    block_on(async {
        let server =
            Server::start(|_| Some(answer("403 Forbidden", &[], "User not authorized"))).await;
        let keys = format!("url = '{}'\ntoken_env = 'CARGO_PKG_NAME'", server.url);
        let spec: Spec = toml::from_str(&keys).expect("a source");
        let error = spec
            .open(&Http::new())
            .read(&[spec.queue()])
            .await
            .expect_err("unknown");
        assert!(
            matches!(&error, SourceError::Denied(text) if text.contains("CARGO_PKG_NAME")),
            "{error}"
        );
    });
}
