//! `max_instances` over all groups.

use std::time::Duration;

use crate::poll::plan::testing::{Bench, group, jobs, settings, up};
use crate::poll::plan::{Action, Demand, Event, GroupId, Harvest, Queue, Settings, SourceId, Why};

fn limited(max: u32, ids: &[&str]) -> Settings {
    let mut settings = settings(ids.iter().map(|id| group(id, &format!("q-{id}"))));
    settings.max_instances = Some(max);
    settings
}

fn old(waiting: u32, oldest: u64) -> Demand {
    Demand {
        oldest: Some(Duration::from_secs(oldest)),
        ..jobs(waiting, 0)
    }
}

#[test]
fn a_short_budget_goes_to_the_job_that_waits_longest() {
    let mut bench = Bench::new(limited(10, &["a", "b", "c"]));
    bench.group("c", up(4));
    bench.queue("q-a", old(5, 10));
    bench.queue("q-b", old(4, 99));
    bench.queue("q-c", jobs(0, 4));
    let launched = [("b".into(), 4), ("a".into(), 2)];
    assert_eq!(bench.launches(), launched);
    assert_eq!(bench.decision("a").why, Why::Budget);
    assert_eq!(bench.view("a").max, Some(2));
    assert_eq!(bench.planner.used_instances(), Some(10));
    assert_eq!(bench.launches(), []);
}

#[test]
fn what_is_on_its_way_counts() {
    let mut bench = Bench::new(limited(5, &["a", "b"]));
    bench.queue("q-a", jobs(5, 0));
    bench.queue("q-b", jobs(0, 0));
    assert_eq!(bench.launches(), [("a".into(), 5)]);
    bench.queue("q-b", jobs(1, 0));
    assert_eq!(bench.launches(), []);
}

#[test]
fn a_group_that_was_never_read_counts_with_its_maximum() {
    let mut limited = limited(20, &["a", "b"]);
    limited.groups[1].max = Some(17);
    let mut bench = Bench::new(limited.clone());
    bench.queue("q-a", jobs(5, 0));
    bench.queue("q-b", jobs(5, 0));
    bench.groups.insert(GroupId::new("b"), Err("denied".into()));
    assert_eq!(bench.launches(), [("a".into(), 3)]);
    // Without a maximum nobody knows how many it has.
    limited.groups[1].max = None;
    let mut bench = Bench::new(limited);
    bench.queue("q-a", jobs(5, 0));
    bench.groups.insert(GroupId::new("b"), Err("denied".into()));
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("a").why, Why::Budget);
}

#[test]
fn what_becomes_free_is_kept_for_the_older_job_of_another_source() {
    let mut settings = limited(4, &["a", "b"]);
    let queue = settings.groups[1].queue.as_mut().expect("it has one");
    queue.0 = SourceId::new("other");
    let mut bench = Bench::new(settings);
    bench.group("a", up(4));
    bench.queue("q-a", jobs(0, 4));
    bench.queue("q-b", old(3, 500));
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("b").why, Why::Budget);
    // Two end themselves; a new job of a's comes first, b's have waited for longer.
    bench.group("a", up(2));
    let new = Demand {
        running: Some(2),
        ..old(1, 1)
    };
    bench.queue("q-a", new);
    assert_eq!(bench.launches(), [("b".into(), 2)]);
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("a").why, Why::Budget);
}

#[test]
fn an_order_that_is_not_answered_counts() {
    let mut settings = limited(5, &["a", "b"]);
    let queue = settings.groups[1].queue.as_mut().expect("it has one");
    queue.0 = SourceId::new("other");
    let mut bench = Bench::new(settings);
    let now = bench.now.after(Duration::from_secs(1));
    let supply = |id: &str| Event::Supply {
        asked: now,
        told: vec![(GroupId::new(id), Ok(up(0)))],
    };
    let demand = |source: &str, queue: &str| Event::Demand {
        source: SourceId::new(source),
        asked: now,
        told: Ok(Harvest {
            demands: vec![(Queue::new(queue), Ok(jobs(4, 0)))],
            ..Harvest::default()
        }),
    };
    let mut launched = Vec::new();
    for event in [
        Event::Tick,
        supply("a"),
        supply("b"),
        demand("ci", "q-a"),
        demand("other", "q-b"),
        supply("a"),
        supply("b"),
    ] {
        for action in bench.planner.handle(now, event) {
            if let Action::Launch(order) = action {
                launched.push((order.group.as_str().to_owned(), order.count.get()));
            }
        }
    }
    assert_eq!(launched, [("a".to_owned(), 4), ("b".to_owned(), 1)]);
}

#[test]
fn an_order_counts_until_a_read_can_show_it_however_long_reads_fail() {
    let mut bench = Bench::new(limited(4, &["a", "b"]));
    bench.queue("q-a", jobs(4, 0));
    bench.queue("q-b", jobs(0, 0));
    assert_eq!(bench.launches(), [("a".into(), 4)]);
    bench
        .groups
        .insert(GroupId::new("a"), Err("throttled".into()));
    bench.queue("q-b", jobs(1, 0));
    let more: Vec<_> = (0..12).flat_map(|_| bench.launches()).collect();
    assert_eq!(more, []);
}
