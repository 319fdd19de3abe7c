//! Orders: what is asked for, in view of what, and what becomes of it.

use std::time::Duration;

use crate::lifecycle::Instant;
use crate::poll::plan::testing::{Bench, jobs, members, slots, supply, trouble, up};
use crate::poll::plan::{
    Action, Event, GroupId, Harvest, Hints, Launched, SourceId, Stage, TroubleKind, Why,
};

#[test]
fn missing_instances_are_launched_in_the_first_round() {
    let mut bench = Bench::of_one(|group| group.slots = slots(4));
    bench.queue("q", jobs(7, 10));
    bench.group("g", up(3));
    let orders = bench.round();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].count.get(), orders[0].desired), (2, 5));
    assert_eq!(
        bench.decision("g").to_string(),
        "launch 2 (desired 3 -> 5): want 5 = ceil((7 waiting + 10 running) / 4 slots) + 0 \
         headroom; have 3 = 3 alive; room 97 = 100 max - 3; not more: enough"
    );
}

#[test]
fn what_was_launched_is_not_launched_again_while_it_boots() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    assert_eq!(bench.launches(), [("g".into(), 3)]);
    assert_eq!(bench.launches(), []);
    bench.group("g", supply(3, [members("new", 2, Stage::Booting)]));
    assert_eq!(bench.launches(), []);
    bench.group("g", supply(3, [members("new", 3, Stage::Up)]));
    assert_eq!(bench.launches(), []);
}

#[test]
fn a_restarted_poller_does_not_launch_what_is_on_its_way() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.group("g", supply(3, [members("new", 1, Stage::Booting)]));
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("g").booting, 3);
}

#[test]
fn an_instance_that_ended_itself_is_replaced_above_what_is_left() {
    // An increment of the 5 that were read before would be 6.
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(1, 4));
    bench.group("g", up(5));
    assert_eq!(bench.launches(), []);
    bench.group("g", up(3));
    let orders = bench.round();
    assert_eq!((orders[0].count.get(), orders[0].desired), (1, 4));
}

#[test]
fn a_read_that_lags_behind_an_order_does_not_lower_what_was_ordered() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.round();
    // The group is read as it was before the order; then more jobs come.
    bench.group("g", up(0));
    bench.queue("q", jobs(4, 0));
    let orders = bench.round();
    assert_eq!((orders[0].count.get(), orders[0].desired), (1, 4));
}

#[test]
fn a_lagging_read_is_believed_after_a_while() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.round();
    bench.group("g", up(0));
    assert_eq!(bench.launches(), []);
    let orders = bench.round();
    assert_eq!((orders[0].count.get(), orders[0].desired), (3, 3));
}

#[test]
fn a_read_that_shows_the_order_ends_the_doubt_in_reads() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.round();
    bench.queue("q", jobs(3, 0));
    bench.round();
    // Seen, and then one of the three took a job, ended itself and lowered the desired capacity.
    bench.group("g", up(2));
    bench.queue("q", jobs(1, 2));
    let orders = bench.round();
    assert_eq!((orders[0].count.get(), orders[0].desired), (1, 3));
}

#[test]
fn an_order_without_an_answer_is_repeated_as_it_was() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.answer(|_| Launched::Unknown("timed out".into()));
    let first = bench.round();
    let second = bench.round();
    assert_eq!(first, second);
    // The answer was definite, so that the next order is one of its own.
    bench.group("g", up(0));
    bench.run(20);
    let errors = bench.view("g").totals.launch_errors;
    assert_eq!(errors.get("unknown"), Some(&1));
    let later = bench.log.iter().rev().find_map(|action| match action {
        Action::Launch(order) => Some(order.clone()),
        _ => None,
    });
    let later = later.expect("it was launched again");
    assert_eq!(later.desired, first[0].desired);
    assert_ne!(later.token, first[0].token);
}

#[test]
fn an_order_in_doubt_is_not_crossed_by_a_smaller_one() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.answer(|_| Launched::Unknown("timed out".into()));
    bench.round();
    bench.queue("q", jobs(1, 0));
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("g").why, Why::Unsure);
    // After a while it is clear that nothing came of it.
    assert_eq!(bench.launches(), [("g".into(), 1)]);
}

#[test]
fn an_order_in_doubt_counts_once_the_view_has_changed() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.answer(|_| Launched::Unknown("timed out".into()));
    bench.round();
    bench.group("g", supply(1, [members("other", 1, Stage::Booting)]));
    bench.queue("q", jobs(4, 0));
    let orders = bench.round();
    assert_eq!((orders[0].count.get(), orders[0].desired), (1, 4));
}

#[test]
fn nothing_is_launched_for_a_queue_or_group_that_is_unknown() {
    let mut bench = Bench::of_one(|group| group.headroom = 5);
    assert_eq!(bench.launches(), []);
    let unknown = bench.view("g").unknown;
    assert_eq!(unknown.as_deref(), Some("the source does not tell of it"));
    bench.queue("q", jobs(3, 0));
    bench
        .groups
        .insert(GroupId::new("g"), Err("denied".to_owned()));
    assert_eq!(bench.launches(), []);
    let unknown = bench.view("g").unknown;
    assert_eq!(unknown.as_deref(), Some("g cannot be read: denied"));
    assert_eq!(bench.view("g").waiting, Some(3));
}

#[test]
fn a_demand_is_decided_on_once() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.round();
    bench.group("g", up(0));
    // A read without a new demand: the jobs of the old one may long be done.
    let told = vec![(GroupId::new("g"), Ok(up(0)))];
    let asked = bench.now;
    assert_eq!(bench.send(Event::Supply { asked, told }), []);
}

#[test]
fn old_demand_is_not_decided_on() {
    let mut bench = Bench::of_one(|_| ());
    let tick = bench.planner.handle(bench.now, Event::Tick);
    assert_eq!(tick.len(), 2, "{tick:?}");
    let asked = bench.now;
    let late = Instant(asked.0 + Duration::from_secs(41));
    let demand = Event::Demand {
        source: SourceId::new("ci"),
        asked,
        told: Ok(Harvest {
            demands: vec![(crate::poll::plan::Queue::new("q"), Ok(jobs(3, 0)))],
            ..Harvest::default()
        }),
    };
    bench.planner.handle(late, demand);
    let unknown = bench.view("g").unknown.expect("the demand is old");
    assert!(unknown.contains("41 s ago"), "{unknown}");
}

#[test]
fn supply_that_was_asked_for_before_the_demand_came_is_read_again() {
    let mut bench = Bench::of_one(|_| ());
    let start = bench.now;
    bench.planner.handle(start, Event::Tick);
    let later = start.after(Duration::from_secs(1));
    let demand = Event::Demand {
        source: SourceId::new("ci"),
        asked: start,
        told: Ok(Harvest {
            demands: vec![(crate::poll::plan::Queue::new("q"), Ok(jobs(3, 0)))],
            ..Harvest::default()
        }),
    };
    // The sweep is under way: the group is not asked for twice at once.
    assert_eq!(bench.planner.handle(later, demand), []);
    let told = |asked| Event::Supply {
        asked,
        told: vec![(GroupId::new("g"), Ok(up(0)))],
    };
    let actions = bench.planner.handle(later, told(start));
    assert!(
        matches!(actions[..], [Action::Describe { .. }]),
        "{actions:?}"
    );
    let actions = bench.planner.handle(later, told(later));
    assert!(
        matches!(actions[..], [Action::Decided(_), Action::Launch(_)]),
        "{actions:?}"
    );
}

#[test]
fn a_poller_without_the_lease_decides_and_does_not_launch() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.send(Event::Leader(false));
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("g").why, Why::NotLeader);
    let orders = bench.send(Event::Leader(true));
    assert_eq!(orders.len(), 1);
}

#[test]
fn throttled_orders_are_repeated_ever_less_often_and_not_passed_on() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    for _ in 0..9 {
        bench.answer(|_| Launched::Refused(trouble(TroubleKind::Throttled)));
    }
    let rounds = (0..16).map(|_| bench.round().len()).collect::<Vec<_>>();
    assert_eq!(rounds, [1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    bench.round();
    assert_eq!(bench.decision("g").why, Why::Throttled);
}

#[test]
fn a_conflict_is_looked_at_again_in_the_next_round() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.answer(|_| Launched::Refused(trouble(TroubleKind::Conflict)));
    assert_eq!(bench.round().len(), 1);
    assert_eq!(bench.round().len(), 1);
}

#[test]
fn a_group_that_is_held_is_not_asked_for_more() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    bench.has("g").held = Some("Launch is suspended".into());
    assert_eq!(bench.launches(), []);
    assert_eq!(bench.decision("g").why, Why::Held);
}

#[test]
fn once_is_settled_when_everything_was_decided_on_and_answered() {
    let mut bench = Bench::of_one(|_| ());
    bench.queue("q", jobs(3, 0));
    assert!(!bench.planner.settled());
    bench.send(Event::Tick);
    assert!(bench.planner.settled());
    // A source that fails is settled too: nothing more will be known.
    let mut bench = Bench::of_one(|_| ());
    let actions = bench.planner.handle(bench.now, Event::Tick);
    assert_eq!(actions.len(), 2);
    let told = vec![(GroupId::new("g"), Ok(up(0)))];
    let asked = bench.now;
    bench.planner.handle(asked, Event::Supply { asked, told });
    assert!(!bench.planner.settled());
    let source = SourceId::new("ci");
    let told = Err(("HTTP 503".to_owned(), Hints::default()));
    let failed = Event::Demand {
        source,
        asked,
        told,
    };
    bench.planner.handle(asked, failed);
    assert!(bench.planner.settled());
    assert_eq!(bench.view("g").unknown.as_deref(), Some("HTTP 503"));
}
