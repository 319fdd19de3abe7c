//! What is asked, and when.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::poll::plan::testing::{Bench, group, jobs, members, settings, slots, supply, up};
use crate::poll::plan::{Action, Event, Hints, Queue, SourceId, Stage};

#[test]
fn a_quiet_world_is_read_once_a_minute() {
    let groups = (0..500).map(|index| group(&format!("g{index}"), &format!("q{index}")));
    let mut bench = Bench::new(settings(groups));
    for index in 0..500 {
        bench.queue(&format!("q{index}"), jobs(0, 0));
    }
    bench.run(60);
    bench.log.clear();
    bench.run(3600);
    let (fetches, describes, troubles) = bench.questions();
    assert_eq!((fetches, describes, troubles), (360, 60, 0));
}

#[test]
fn running_jobs_and_idle_instances_are_quiet() {
    let mut bench = Bench::of_one(|_| ());
    bench.group("g", up(5));
    bench.queue("q", jobs(0, 3));
    bench.run(60);
    bench.log.clear();
    bench.run(600);
    assert_eq!(bench.questions(), (60, 10, 0));
}

#[test]
fn instances_on_their_way_and_missing_headroom_are_read_each_round() {
    let mut bench = Bench::of_one(|group| group.headroom = 1);
    bench.queue("q", jobs(0, 0));
    assert_eq!(bench.launches(), [("g".into(), 1)]);
    bench.group("g", supply(1, [members("new", 1, Stage::Booting)]));
    bench.log.clear();
    bench.run(100);
    let (_, describes, _) = bench.questions();
    assert!(describes >= 10, "{describes}");
    bench.group("g", supply(1, [members("new", 1, Stage::Up)]));
    bench.run(60);
    bench.log.clear();
    bench.run(120);
    assert_eq!(bench.questions(), (12, 2, 0));
}

#[test]
fn only_groups_of_interest_are_read_and_all_of_one_backend_at_once() {
    let groups = (0..9).map(|index| group(&format!("g{index}"), &format!("q{index}")));
    let mut bench = Bench::new(settings(groups));
    for index in 0..9 {
        bench.queue(&format!("q{index}"), jobs(index / 6, 0));
    }
    bench.run(9);
    bench.log.clear();
    bench.run(2);
    let described: Vec<_> = bench
        .log
        .iter()
        .filter_map(|action| match action {
            Action::Describe { groups, .. } => {
                Some(groups.iter().map(|id| id.as_str()).collect::<Vec<_>>())
            }
            _ => None,
        })
        .collect();
    assert_eq!(described, [["g6", "g7", "g8"]]);
}

#[test]
fn quiet_queues_of_a_source_that_is_asked_one_by_one_are_asked_once_a_minute() {
    let groups = (0..60).map(|index| group(&format!("g{index}"), &format!("q{index}")));
    let mut settings = settings(groups);
    settings.one_by_one = vec![SourceId::new("ci")];
    let mut bench = Bench::new(settings);
    for index in 0..60 {
        bench.queue(&format!("q{index}"), jobs(u32::from(index == 7), 0));
    }
    bench.send(Event::Tick);
    let first = bench.log.iter().find_map(|action| match action {
        Action::Fetch { queues, .. } => Some(queues.len()),
        _ => None,
    });
    assert_eq!(first, Some(60));
    bench.run(1);
    bench.log.clear();
    bench.run(600);
    let fetched: Vec<&Vec<Queue>> = bench
        .log
        .iter()
        .filter_map(|action| match action {
            Action::Fetch { queues, .. } => Some(queues),
            _ => None,
        })
        .collect();
    assert_eq!(fetched.len(), 60);
    let busy = Queue::new("q7");
    assert!(fetched.iter().all(|queues| queues.contains(&busy)));
    assert_eq!(
        fetched.iter().map(|queues| queues.len()).sum::<usize>(),
        60 + 590
    );
    assert!(fetched.iter().all(|queues| queues.len() < 30));
}

#[test]
fn a_source_that_asks_to_wait_is_left_alone_and_no_other_one() {
    let (mut a, mut b) = (group("a", "qa"), group("b", "qb"));
    a.queue = Some((SourceId::new("limited"), Queue::new("qa")));
    b.slots = NonZeroU32::MIN;
    let mut bench = Bench::new(settings([a, b]));
    bench.queue("qb", jobs(2, 0));
    // The phase of two sources is within a second.
    let mut fetched = Vec::new();
    let start = bench.now;
    while bench.now.since(start) < Duration::from_secs(100) {
        let next = bench.planner.next_deadline().expect("there are sources");
        bench.now = bench.now.max(next);
        for action in bench.planner.handle(bench.now, Event::Tick) {
            let Action::Fetch { source, .. } = action else {
                continue;
            };
            fetched.push((source.as_str().to_owned(), bench.now.since(start).as_secs()));
            if source.as_str() == "limited" {
                let hints = Hints {
                    not_before: Some(Duration::from_secs(60)),
                    every: None,
                };
                let told = Err(("asked too often".to_owned(), hints));
                let asked = bench.now;
                let event = Event::Demand {
                    source,
                    asked,
                    told,
                };
                bench.planner.handle(asked, event);
            } else {
                let asked = bench.now;
                let told = Ok(crate::poll::plan::Harvest {
                    demands: vec![(Queue::new("qb"), Ok(jobs(0, 0)))],
                    ..Default::default()
                });
                let event = Event::Demand {
                    source,
                    asked,
                    told,
                };
                bench.planner.handle(asked, event);
            }
        }
    }
    let of = |id: &str| fetched.iter().filter(|(source, _)| source == id).count();
    assert_eq!((of("limited"), of("ci")), (2, 11), "{fetched:?}");
}

#[test]
fn a_group_that_cannot_be_read_is_tried_ever_less_often_and_delays_nobody() {
    let mut bench = Bench::new(settings([group("bad", "q-bad"), group("good", "q-good")]));
    bench.queue("q-bad", jobs(1, 0));
    bench.queue("q-good", jobs(1, 0));
    let bad = crate::poll::plan::GroupId::new("bad");
    bench
        .groups
        .insert(bad.clone(), Err("no such group".into()));
    assert_eq!(bench.launches(), [("good".into(), 1)]);
    bench.run(600);
    bench.log.clear();
    bench.run(600);
    let asked = bench
        .log
        .iter()
        .filter(|action| matches!(action, Action::Describe { groups, .. } if groups.contains(&bad)))
        .count();
    assert!((10..=21).contains(&asked), "{asked}");
    bench.group("bad", up(0));
    let launched: Vec<_> = (0..7).flat_map(|_| bench.launches()).collect();
    assert_eq!(launched, [("bad".into(), 1)]);
}

#[test]
fn nothing_is_asked_twice_while_an_answer_is_outstanding() {
    let mut bench = Bench::of_one(|group| group.slots = slots(2));
    let actions = bench.planner.handle(bench.now, Event::Tick);
    assert_eq!(actions.len(), 2, "{actions:?}");
    for _ in 0..200 {
        bench.now = bench.now.after(Duration::from_secs(1));
        assert_eq!(bench.planner.handle(bench.now, Event::Tick), []);
    }
}
