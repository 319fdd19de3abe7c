//! A group and its fallbacks serve one queue.

use crate::poll::plan::testing::{
    Bench, group, jobs, members, settings, slots, supply, trouble, up,
};
use crate::poll::plan::{GroupId, GroupSettings, Launched, Settings, Stage, TroubleKind, Why};

fn spot_and_fallback(change: impl FnOnce(&mut GroupSettings, &mut GroupSettings)) -> Settings {
    let (mut spot, mut other) = (group("spot", "q"), group("other", ""));
    spot.fallback = Some(GroupId::new("other"));
    change(&mut spot, &mut other);
    settings([spot, other])
}

#[test]
fn the_fallback_takes_what_the_group_has_no_room_for() {
    let mut bench = Bench::new(spot_and_fallback(|spot, other| {
        spot.max = Some(2);
        other.slots = slots(2);
    }));
    bench.queue("q", jobs(5, 0));
    let launched = [("spot".into(), 2), ("other".into(), 2)];
    assert_eq!(bench.launches(), launched);
    let decision = bench.decision("spot");
    assert_eq!((decision.why, decision.launch), (Why::Max, 2));
    let line = decision.to_string();
    assert!(
        line.ends_with("the group's maximum, the rest goes to other"),
        "{line}"
    );
    assert_eq!(bench.launches(), []);
}

#[test]
fn the_fallback_is_not_used_while_the_group_can_launch() {
    let mut bench = Bench::new(spot_and_fallback(|_, _| ()));
    bench.queue("q", jobs(5, 0));
    assert_eq!(bench.launches(), [("spot".into(), 5)]);
    assert_eq!(bench.decision("other").why, Why::Fallback);
}

#[test]
fn instances_of_the_fallback_serve_the_queue_too() {
    let mut bench = Bench::new(spot_and_fallback(|_, other| other.slots = slots(2)));
    bench.group("other", up(2));
    bench.queue("q", jobs(3, 2));
    assert_eq!(bench.launches(), [("spot".into(), 1)]);
}

#[test]
fn headroom_is_counted_once() {
    let mut bench = Bench::new(spot_and_fallback(|spot, other| {
        spot.headroom = 2;
        other.headroom = 2;
    }));
    bench.queue("q", jobs(0, 0));
    assert_eq!(bench.launches(), [("spot".into(), 2)]);
    bench.group("spot", up(0));
    bench.group("other", up(2));
    bench.run(60);
    assert_eq!(bench.launches(), []);
}

#[test]
fn a_refused_order_goes_to_the_fallback_at_once() {
    let mut bench = Bench::new(spot_and_fallback(|_, _| ()));
    bench.queue("q", jobs(5, 0));
    bench.answer(|_| Launched::Refused(trouble(TroubleKind::Capacity)));
    let orders = bench.send(crate::poll::plan::Event::Tick);
    let launched = orders
        .iter()
        .map(|order| (order.group.as_str(), order.count.get()));
    assert_eq!(launched.collect::<Vec<_>>(), [("spot", 5), ("other", 5)]);
    assert_eq!(bench.decision("spot").why, Why::Breaker);
}

#[test]
fn what_was_not_launched_of_an_order_goes_to_the_fallback_at_once() {
    let mut bench = Bench::new(spot_and_fallback(|_, _| ()));
    bench.queue("q", jobs(5, 0));
    bench.answer(|_| Launched::Partly {
        count: 2,
        trouble: trouble(TroubleKind::Capacity),
    });
    bench.group("spot", up(0));
    let orders = bench.round();
    let launched = orders
        .iter()
        .map(|order| (order.group.as_str(), order.count.get()));
    // The two were accepted, but are on the way to a group whose provider refuses: until they
    // are listed the fallback brings all five.
    assert_eq!(launched.collect::<Vec<_>>(), [("spot", 5), ("other", 5)]);
}

#[test]
fn what_a_group_asks_for_in_vain_is_no_supply_for_its_chain() {
    let mut bench = Bench::new(spot_and_fallback(|_, _| ()));
    bench.queue("q", jobs(5, 0));
    assert_eq!(bench.launches(), [("spot".into(), 5)]);
    bench.group("spot", supply(5, [members("new", 1, Stage::Booting)]));
    bench
        .troubles
        .insert(GroupId::new("spot"), vec![trouble(TroubleKind::Capacity)]);
    let launched: Vec<_> = (0..5).flat_map(|_| bench.launches()).collect();
    assert_eq!(launched, [("other".into(), 4)]);
    let spot = bench.decision("spot");
    assert_eq!((spot.phantom, spot.desired, spot.alive), (4, 5, 5));
    assert_eq!(bench.questions().2, 1, "asked why, once a minute");
}

#[test]
fn a_step_limit_passes_nothing_on() {
    let mut bench = Bench::new(spot_and_fallback(|spot, _| spot.step = Some(slots(2))));
    bench.queue("q", jobs(5, 0));
    assert_eq!(bench.launches(), [("spot".into(), 2)]);
    assert_eq!(bench.decision("spot").why, Why::Step);
    assert_eq!(bench.launches(), [("spot".into(), 2)]);
}

#[test]
fn a_held_group_leaves_it_to_its_fallback() {
    let mut bench = Bench::new(spot_and_fallback(|_, _| ()));
    bench.queue("q", jobs(5, 0));
    bench.has("spot").held = Some("being deleted".into());
    assert_eq!(bench.launches(), [("other".into(), 5)]);
}

#[test]
fn two_groups_with_the_same_queue_do_not_both_launch_for_it() {
    let mut bench = Bench::new(settings([group("a", "q"), group("b", "q")]));
    bench.queue("q", jobs(5, 0));
    assert_eq!(bench.launches(), [("a".into(), 5)]);
}

#[test]
fn a_circle_of_fallbacks_ends() {
    let (mut a, mut b) = (group("a", "q"), group("b", ""));
    a.fallback = Some(GroupId::new("b"));
    b.fallback = Some(GroupId::new("a"));
    a.max = Some(1);
    let mut bench = Bench::new(settings([a, b]));
    bench.queue("q", jobs(5, 0));
    assert_eq!(bench.launches(), [("a".into(), 1), ("b".into(), 4)]);
}

#[test]
fn a_fallback_that_cannot_be_read_leaves_the_chain_undecided() {
    let mut bench = Bench::new(spot_and_fallback(|_, _| ()));
    bench.queue("q", jobs(5, 0));
    bench
        .groups
        .insert(GroupId::new("other"), Err("no such group".into()));
    assert_eq!(bench.launches(), []);
    let unknown = bench.view("spot").unknown;
    assert_eq!(
        unknown.as_deref(),
        Some("other cannot be read: no such group")
    );
}
