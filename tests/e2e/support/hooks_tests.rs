//! The model of a hooked instance, against the rules of the user guide.

use std::time::{Duration, Instant};

use super::hooks::{Fate, Hook, Passage, Way};

const MINUTE: Duration = Duration::from_secs(60);

fn out(hooks: &[Hook]) -> (Passage, Instant) {
    let now = Instant::now();
    (Passage::new(Way::Out, hooks, 0, now), now)
}

fn hook(name: &str) -> Hook {
    Hook::terminating(name).heartbeat(MINUTE)
}

#[test]
fn an_action_is_announced_before_it_can_be_completed() {
    let now = Instant::now();
    let mut it = Passage::new(Way::Out, &[hook("a")], 3, now);
    assert_eq!(it.look(now).as_deref(), Some("Terminating"));
    assert!(!it.complete("a", false, now), "too early");
    assert!(!it.heartbeat("a", now), "too early");
    assert_eq!(it.look(now).as_deref(), Some("Terminating:Wait"));
    assert!(it.complete("a", false, now));
    assert!(!it.complete("a", false, now), "too late");
    assert_eq!(it.take_fate(now), Some(Fate::Dies));
    assert_eq!(it.take_fate(now), None, "told once");
    assert_eq!(it.look(now).as_deref(), Some("Terminating:Proceed"));
    assert_eq!(it.look(now), None);
}

#[test]
fn heartbeats_keep_an_action_until_its_cap() {
    let (mut it, began) = out(&[hook("a").global(5 * MINUTE)]);
    for halves in 1..10 {
        let now = began + halves * MINUTE / 2;
        assert!(it.heartbeat("a", now));
        assert_eq!(it.take_fate(now), None);
    }
    let last = began + 5 * MINUTE - Duration::from_secs(1);
    assert!(it.heartbeat("a", last));
    assert_eq!(it.take_fate(began + 5 * MINUTE), Some(Fate::Dies));
}

#[test]
fn without_a_heartbeat_an_action_lapses() {
    let (mut it, began) = out(&[hook("a")]);
    assert_eq!(
        it.look(began + MINUTE / 2).as_deref(),
        Some("Terminating:Wait")
    );
    assert!(!it.heartbeat("a", began + MINUTE));
    assert_eq!(it.take_fate(began + MINUTE), Some(Fate::Dies));
}

#[test]
fn every_hook_must_be_completed_and_one_abandon_ends_all() {
    let hooks = [hook("a"), hook("b"), Hook::launching("other")];
    let (mut it, now) = out(&hooks);
    assert!(it.complete("a", false, now));
    assert!(!it.complete("other", false, now));
    assert_eq!(it.take_fate(now), None);
    assert!(it.complete("b", false, now));
    assert_eq!(it.take_fate(now), Some(Fate::Dies));

    let (mut it, now) = out(&hooks);
    assert!(it.complete("a", true, now));
    assert!(!it.complete("b", false, now));
    assert_eq!(it.take_fate(now), Some(Fate::Dies));
}

#[test]
fn a_group_may_retain_what_was_abandoned() {
    let (it, began) = out(&[hook("a")]);
    let mut lapsed = it.clone().retaining(true);
    assert_eq!(lapsed.take_fate(began + MINUTE), Some(Fate::Retained));
    assert_eq!(
        lapsed.look(began + MINUTE).as_deref(),
        Some("Terminating:Retained")
    );
    let mut completed = it.retaining(true);
    assert!(completed.complete("a", false, began));
    assert_eq!(completed.take_fate(began), Some(Fate::Dies));
}

#[test]
fn a_launch_arrives_or_dies() {
    let now = Instant::now();
    let hooks = [Hook::launching("up").heartbeat(MINUTE)];
    let launch = Passage::new(Way::IntoService, &hooks, 0, now);
    let mut good = launch.clone();
    assert_eq!(good.look(now).as_deref(), Some("Pending:Wait"));
    assert!(good.complete("up", false, now));
    assert_eq!(good.take_fate(now), Some(Fate::Arrives));
    assert_eq!(good.look(now).as_deref(), Some("Pending:Proceed"));
    assert_eq!(good.look(now).as_deref(), Some("InService"));
    let mut late = launch.clone();
    assert_eq!(late.take_fate(now + MINUTE), Some(Fate::Dies));
    let mut bad = launch;
    assert!(bad.complete("up", true, now));
    assert_eq!(bad.take_fate(now), Some(Fate::Dies));
    assert_eq!(bad.look(now).as_deref(), Some("Terminating:Proceed"));
    assert_eq!(bad.look(now), None);
}

#[test]
fn the_pool_has_states_of_its_own() {
    let now = Instant::now();
    let hooks = [hook("down"), Hook::launching("up")];
    let mut back = Passage::new(Way::BackIntoPool, &hooks, 0, now);
    assert_eq!(back.look(now).as_deref(), Some("Warmed:Pending:Wait"));
    assert!(back.complete("down", false, now));
    assert_eq!(back.take_fate(now), Some(Fate::Arrives));
    assert_eq!(back.look(now).as_deref(), Some("Warmed:Pending:Proceed"));
    assert_eq!(back.look(now).as_deref(), Some("Warmed:Stopped"));
    let mut launched = Passage::new(Way::LaunchedIntoPool, &hooks, 0, now);
    assert!(!launched.complete("down", false, now));
    assert!(launched.complete("up", false, now));
    assert_eq!(launched.take_fate(now), Some(Fate::Arrives));
}

#[test]
fn without_hooks_the_way_is_short() {
    let (mut it, now) = out(&[]);
    assert_eq!(it.take_fate(now), Some(Fate::Dies));
}
