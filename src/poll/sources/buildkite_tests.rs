use super::*;
use crate::poll::http::testing::{Server, answer, block_on, ok};
use crate::poll::plan::Hints;
use crate::poll::source::Spec as _;

/// As the API's page shows it, with what else servers send.
const METRICS: &str = r#"{
  "agents": {
    "idle": 3, "busy": 5, "total": 8,
    "queues": {
      "default": { "idle": 1, "busy": 4, "total": 5 },
      "deploy": { "idle": 2, "busy": 1, "total": 3 }
    }
  },
  "jobs": {
    "scheduled": 9, "running": 5, "waiting": 4, "total": 18,
    "queues": {
      "default": { "scheduled": 7, "running": 4, "waiting": 4, "total": 15 },
      "gpu": { "scheduled": 2, "running": 1, "total": 3 }
    }
  },
  "organization": { "slug": "acme" },
  "cluster": { "name": "CI" }
}"#;

fn demand(body: &str, queue: &str, include_waiting: bool) -> Result<Demand, String> {
    let metrics: Metrics = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let mut demands = metrics.demands(&[Queue::new(queue)], include_waiting);
    demands.pop().expect("one each").1
}

fn numbers(queue: &str, include_waiting: bool) -> (u32, u32, u32) {
    let demand = demand(METRICS, queue, include_waiting).expect("known");
    assert_eq!(
        (demand.free, demand.names, demand.oldest),
        (None, None, None)
    );
    (
        demand.waiting,
        demand.running.expect("told"),
        demand.agents.expect("told"),
    )
}

#[test]
fn scheduled_jobs_wait_and_blocked_ones_only_on_request() {
    assert_eq!(numbers("default", false), (7, 4, 5));
    assert_eq!(numbers("default", true), (11, 4, 5));
    assert_eq!(numbers("gpu", true), (2, 1, 0));
}

#[test]
fn a_queue_that_a_whole_answer_does_not_have_is_empty() {
    assert_eq!(numbers("deploy", false), (0, 0, 3));
    assert_eq!(numbers("nobody-uses-it", false), (0, 0, 0));
    let empty = r#"{"agents":{"queues":{}},"jobs":{"queues":{}}}"#;
    assert_eq!(demand(empty, "default", false).expect("known").waiting, 0);
}

#[test]
fn an_answer_that_is_not_whole_is_not_zero() {
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"agents":{"queues":{}}}"#,
        r#"{"jobs":{"queues":{}}}"#,
        r#"{"agents":{"queues":{}},"jobs":{"scheduled":0}}"#,
        r#"{"agents":{"queues":{}},"jobs":{"queues":null}}"#,
        r#"{"agents":null,"jobs":{"queues":{}}}"#,
        r#"{"agents":{"queues":{}},"jobs":{"queues":{"default":{"running":1}}}}"#,
        r#"{"agents":{"queues":{}},"jobs":{"queues":{"default":{"scheduled":-1,"running":1}}}}"#,
        r#"{"message":"Forbidden"}"#,
    ] {
        assert!(demand(body, "default", false).is_err(), "{body}");
    }
}

fn spec(keys: &str) -> Spec {
    toml::from_str(keys).expect("a spec")
}

/// Reads the queues once, from a server that answers so.
fn read(bytes: Vec<u8>, queues: &[&str]) -> (Result<Harvest, SourceError>, Vec<String>) {
    block_on(async {
        let server = Server::start(move |asked| {
            let known = asked.header("authorization") == Some("Token clockout");
            Some(if known {
                bytes.clone()
            } else {
                answer("401 Unauthorized", &[], "")
            })
        })
        .await;
        // Cargo sets the variable.
        let spec = spec(&format!(
            "url = \"{}/v3/\"\ntoken_env = \"CARGO_PKG_NAME\"",
            server.url
        ));
        spec.check().expect("good");
        let queues: Vec<_> = queues.iter().copied().map(Queue::new).collect();
        let told = spec.open(&Http::new()).read(&queues).await;
        (told, server.lines())
    })
}

#[test]
fn one_call_serves_all_queues_and_says_how_often_to_ask() {
    let header = ("buildkite-agent-metrics-poll-duration", "10");
    let names: Vec<String> = (0..1000).map(|n| format!("queue-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (told, asked) = read(answer("200 OK", &[header], METRICS), &names);
    let harvest = told.expect("read");
    assert_eq!(asked, ["GET /v3/metrics"]);
    assert_eq!(harvest.demands.len(), 1000);
    let every = Some(std::time::Duration::from_secs(10));
    let hints = Hints {
        not_before: None,
        every,
    };
    assert_eq!(harvest.hints, hints);
}

#[test]
fn what_is_no_answer_tells_nothing_of_any_queue() {
    let (told, _) = read(ok("<html>Sign in</html>"), &["default"]);
    assert!(matches!(told, Err(SourceError::Unreadable(_))), "{told:?}");
    let limited = answer("429 Too Many Requests", &[("retry-after", "3")], "{}");
    let (told, _) = read(limited, &["default"]);
    let wait = Some(std::time::Duration::from_secs(3));
    assert_eq!(told, Err(SourceError::Limited(wait)));
}

#[test]
fn groups_share_a_server_unless_they_count_otherwise() {
    let one = spec("token_file = \"/t\"\nqueue = \"a\"");
    let mut two = spec("token_file = \"/t\"");
    assert_eq!(two.queue().as_str(), "default");
    two.fill("b");
    assert_eq!((one.queue().as_str(), two.queue().as_str()), ("a", "b"));
    assert_eq!(
        one.server(),
        "https://agent.buildkite.com/v3 (token: file /t)"
    );
    assert_eq!(one.server(), two.server());
    let third = spec("token_file = \"/t\"\ninclude_waiting = true");
    assert_ne!(one.server(), third.server());
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    for (keys, expected) in [
        ("", "give 'token_file' or 'token_env'"),
        ("token_env = \"T\"\nqueue = \"\"", "queue: give its key"),
        ("token_env = \"T\"\nurl = \"http://10.0.0.1\"", "allow_http"),
    ] {
        let said = spec(keys).check().expect_err(keys);
        assert!(said.contains(expected), "{said}");
    }
    assert!(toml::from_str::<Spec>("tokenfile = \"/t\"").is_err());
}
