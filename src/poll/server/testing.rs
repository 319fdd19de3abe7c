//! A poller's day, made up: what the tests of the page, the metrics and the health look at.

use std::collections::BTreeMap;

use crate::poll::snapshot::{Backend, Breaker, Group, Snapshot, Source};

/// 2023-11-14T22:13:20Z.
pub const NOW: f64 = 1_700_000_000.0;

/// A quiet group that is known.
pub fn group(id: &str) -> Group {
    Group {
        id: id.to_owned(),
        target: format!("asg {id} in us-east-1"),
        source: Some("circleci https://runner.circleci.com".to_owned()),
        queue: Some(format!("acme/{id}")),
        slots: 4,
        waiting: Some(0),
        running: Some(0),
        desired: Some(0),
        alive: Some(0),
        booting: Some(0),
        stale: Some(0),
        max: Some(20),
        boot_deadline: 600.0,
        ..Group::default()
    }
}

/// Something of everything: a busy group, one in trouble, one unknown, one with a hostile name.
pub fn snapshot() -> Snapshot {
    Snapshot {
        version: "0.1.0",
        started: NOW - 7200.0,
        now: NOW,
        interval: 10.0,
        dry_run: false,
        leader: true,
        instances: 17,
        max_instances: Some(200),
        groups: vec![busy(), broken(), unknown(), group(HOSTILE)],
        sources: vec![
            Source {
                id: "circleci https://runner.circleci.com".to_owned(),
                kind: "circleci".to_owned(),
                queues: 3,
                good: Some(NOW - 2.0),
                fetches_total: 720,
                took: Some(0.183),
                next: Some(NOW + 8.0),
                ..Source::default()
            },
            Source {
                id: "drone https://drone.example.org".to_owned(),
                kind: "drone".to_owned(),
                queues: 1,
                good: Some(NOW - 12.0),
                error: Some("503 Service Unavailable: <html>".to_owned()),
                remarks: vec!["2 builds have waited for more than 24 h".to_owned()],
                fetches_total: 719,
                errors_total: 4,
                took: Some(1.5),
                next: Some(NOW + 28.0),
                every: Some(30.0),
            },
        ],
        backends: vec![Backend {
            id: "asg us-east-1".to_owned(),
            kind: "asg".to_owned(),
            good: Some(NOW - 2.0),
            calls_total: BTreeMap::from([
                ("DescribeAutoScalingGroups".to_owned(), 842),
                ("SetDesiredCapacity".to_owned(), 31),
            ]),
            ..Backend::default()
        }],
    }
}

/// Names are text from tags.
pub const HOSTILE: &str = "<script>alert('x')</script>\"&\\\n{{groups}}";

fn busy() -> Group {
    Group {
        waiting: Some(7),
        running: Some(10),
        oldest: Some(42.0),
        desired: Some(5),
        alive: Some(4),
        booting: Some(2),
        stale: Some(1),
        fallback: Some("linux-small-on-demand".to_owned()),
        boot_p50: Some(48.0),
        boot_p95: Some(93.5),
        decision: Some(
            "launch 2 (desired 3 -> 5): want 5 = ceil((7 waiting + 10 running) / 4 slots) + 0 \
             headroom; have 3 = 4 alive - 1 stale; room 16 = 20 max - 4; not more: enough"
                .to_owned(),
        ),
        decided: Some(NOW - 4.0),
        launched_total: 212,
        launch_errors_total: BTreeMap::from([("capacity".to_owned(), 3)]),
        decisions_total: 96,
        boot_failures_total: 2,
        ..group("linux-small")
    }
}

fn broken() -> Group {
    Group {
        waiting: Some(3),
        running: None,
        desired: Some(8),
        alive: Some(8),
        booting: Some(3),
        max: Some(8),
        discovered: true,
        breaker: Breaker::Open {
            why: "3 instances in a row never came up".to_owned(),
            until: NOW + 90.0,
        },
        decision: Some("launch 0: the breaker is open".to_owned()),
        decided: Some(NOW - 4.0),
        ..group("gpu-large")
    }
}

fn unknown() -> Group {
    Group {
        waiting: None,
        running: None,
        source: Some("drone https://drone.example.org".to_owned()),
        unknown: Some("503 Service Unavailable: <html>".to_owned()),
        ..group("legacy-drone")
    }
}
