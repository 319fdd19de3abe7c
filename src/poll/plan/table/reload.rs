//! The configuration is loaded anew, and discovery finds and loses groups.

use crate::poll::plan::testing::{Bench, group, jobs, settings, up};
use crate::poll::plan::{Event, GroupId};

#[test]
fn what_is_known_of_groups_that_stay_is_kept() {
    let mut bench = Bench::new(settings([group("a", "qa"), group("b", "qb")]));
    bench.queue("qa", jobs(3, 0));
    bench.queue("qb", jobs(1, 0));
    bench.run(5);
    let before = bench.view("a");
    let mut changed = group("a", "qa");
    changed.max = Some(2);
    bench.queue("qc", jobs(2, 0));
    bench.group("c", up(0));
    bench.send(Event::Settings(settings([changed, group("c", "qc")])));
    assert!(bench.planner.view(&GroupId::new("b")).is_none());
    let after = bench.view("a");
    assert_eq!(after.totals, before.totals);
    assert_eq!(after.waiting, before.waiting);
    assert_eq!(after.max, Some(2));
    assert!(!bench.planner.settled());
    // The new group is served in the next round, the old one is not served twice.
    let launched: Vec<_> = (0..2).flat_map(|_| bench.launches()).collect();
    assert_eq!(launched, [("c".into(), 2)]);
    assert!(bench.planner.settled());
}

#[test]
fn a_new_queue_is_asked_for_within_a_second() {
    let mut bench = Bench::new(settings([group("a", "qa")]));
    bench.queue("qa", jobs(0, 0));
    bench.queue("qb", jobs(2, 0));
    bench.run(3);
    bench.group("b", up(0));
    bench.send(Event::Settings(settings([
        group("a", "qa"),
        group("b", "qb"),
    ])));
    assert_eq!(bench.run(2).len(), 1);
}

#[test]
fn a_group_that_is_now_another_one_is_read_anew() {
    let mut bench = Bench::new(settings([group("a", "qa")]));
    bench.queue("qa", jobs(0, 5));
    bench.group("a", up(5));
    bench.round();
    let mut moved = group("a", "qa");
    moved.place = crate::poll::plan::Place::new("elsewhere");
    bench.group("a", up(1));
    bench.send(Event::Settings(settings([moved])));
    let supply = bench.view("a").supply.expect("it was read");
    assert_eq!((supply.desired, supply.alive), (1, 1));
}

#[test]
fn no_groups_are_nothing_to_do() {
    let mut bench = Bench::new(settings([]));
    assert_eq!(bench.planner.next_deadline(), None);
    assert!(bench.planner.settled());
    assert_eq!(bench.send(Event::Tick), []);
}

#[test]
fn two_groups_of_one_name_are_one() {
    let mut bench = Bench::new(settings([group("a", "qa"), group("a", "qb")]));
    bench.queue("qa", jobs(1, 0));
    bench.queue("qb", jobs(2, 0));
    assert_eq!(bench.launches(), [("a".into(), 1)]);
}
