//! The keeper's stories, in virtual time.

use std::time::Duration;

use super::keeper_world::*;
use super::*;

#[test]
fn a_termination_is_kept_from_its_wait_until_the_work_is_over() {
    let mut story = Story::new(World::new(Transition::Terminating, 3600).begins(5));
    story.run(4 * HOUR);
    assert_eq!(story.asks()[0], Ask::Hooks);
    let beats = &story.world.beats;
    assert!(beats[0] < at(40), "{beats:?}");
    // Fifteen minutes at most, spread.
    assert!((16..=32).contains(&beats.len()), "{beats:?}");
    assert!(story.world.is_active(story.now));
    story.finish();
    assert_eq!(story.run(5 * HOUR), Turn::Over);
    assert!(
        !story.asks().contains(&Ask::Complete),
        "the ladder does that"
    );
}

#[test]
fn without_a_hook_of_ours_nothing_is_kept() {
    for transition in [Transition::Launching, Transition::Terminating] {
        let mut keeper = Keeper::new(transition, MARGIN, at(0));
        assert_eq!(keeper.next(at(0)), Turn::Ask(Ask::Hooks));
        assert_eq!(keeper.deadline(), None);
        keeper.told(at(0), Ask::Hooks, Answer::Hooks(Vec::new()));
        assert_eq!(keeper.next(at(0)), Turn::Over);
        assert_eq!(keeper.deadline(), None);
    }
}

#[test]
fn of_several_hooks_the_strictest_counts() {
    let mut keeper = Keeper::new(Transition::Terminating, MARGIN, at(0));
    let mut short = hook(7200);
    short.global_timeout = Duration::from_secs(3000);
    let hooks = vec![hook(600), short, hook(3600)];
    keeper.told(at(0), Ask::Hooks, Answer::Hooks(hooks));
    assert_eq!(keeper.deadline(), Some(at(3000 - 20)));
    keeper.told(
        at(1),
        Ask::State,
        Answer::State(Some("Terminating:Wait".to_owned())),
    );
    keeper.told(at(1), Ask::Heartbeat, Answer::Done);
    let Turn::Wait(next) = keeper.next(at(1)) else {
        panic!("beats at once again")
    };
    assert!((at(101)..=at(201)).contains(&next), "{next}");
    assert_eq!(keeper.next(at(3000)), Turn::Over);
}

#[test]
fn a_machine_that_boots_quickly_completes_its_launch_with_two_calls() {
    let mut story = Story::new(World::new(Transition::Launching, 300));
    story.run(30);
    assert_eq!(story.asks(), [Ask::Hooks]);
    story.finish();
    assert_eq!(story.run(60), Turn::Over);
    assert_eq!(story.asks(), [Ask::Hooks, Ask::Complete]);
    assert!(story.world.completed);
}

#[test]
fn a_machine_that_boots_for_long_keeps_its_launch() {
    let mut story = Story::new(World::new(Transition::Launching, 300));
    story.run(2000);
    assert!(story.world.is_active(story.now));
    assert!(!story.asks().contains(&Ask::State), "{:?}", story.asks());
    story.finish();
    story.run(2001);
    assert!(story.world.completed);
}

#[test]
fn a_launch_that_was_ready_before_its_hooks_were_known_is_completed() {
    let mut story = Story::new(World::new(Transition::Launching, 300).throttled(0, 60));
    story.run(30);
    story.finish();
    assert_eq!(story.run(120), Turn::Over);
    assert!(story.world.completed);
}

#[test]
fn a_ready_machine_that_may_not_learn_of_hooks_stops_asking() {
    let denied = Failure::Refused(HookFailure::Denied);
    let world = World::new(Transition::Launching, 300).fails(0, 100_000, denied);
    let mut story = Story::new(world);
    story.finish();
    assert_eq!(story.run(1000), Turn::Over);
    assert_eq!(story.asks(), [Ask::Hooks; 5]);
}

#[test]
fn a_launch_whose_answer_was_lost_is_asked_about() {
    let world = World::new(Transition::Launching, 300).fails(10, 12, Failure::Lost);
    let mut story = Story::new(world);
    story.run(10);
    story.finish();
    assert_eq!(story.run(60), Turn::Over);
    assert!(story.world.completed);
    assert_eq!(story.asks().last(), Some(&Ask::State));
}

#[test]
fn a_launch_that_is_completed_before_its_action_begins_is_completed_then() {
    let mut story = Story::new(World::new(Transition::Launching, 300).begins(40));
    story.run(10);
    story.finish();
    assert_eq!(story.run(120), Turn::Over);
    assert!(story.world.completed);
}

#[test]
fn a_launching_instance_may_not_be_listed_yet_but_not_for_ever() {
    let mut keeper = Keeper::new(Transition::Launching, MARGIN, at(0));
    keeper.told(at(0), Ask::Hooks, Answer::Hooks(vec![hook(300)]));
    keeper.finish(at(1));
    let mut now = at(1);
    let mut looks = 0;
    loop {
        match keeper.next(now) {
            Turn::Over => break,
            Turn::Wait(next) => now = next,
            Turn::Ask(Ask::State) => {
                looks += 1;
                keeper.told(now, Ask::State, Answer::State(None));
            }
            Turn::Ask(ask) => keeper.told(now, ask, Answer::NoAction),
        }
    }
    assert_eq!(looks, 5);
    assert!(now > at(10), "{now}");
}

#[test]
fn an_instance_that_is_already_going_has_no_time_left() {
    let mut story = Story::new(World::new(Transition::Terminating, 30));
    story.world.completed = true;
    assert_eq!(story.run(60), Turn::Over);
    assert_eq!(story.keeper.deadline(), Some(story.now));
}

#[test]
fn an_instance_that_was_detached_has_all_the_time() {
    for state in [Some("Detaching"), Some("Terminating:Retained"), None] {
        let mut keeper = Keeper::new(Transition::Terminating, MARGIN, at(0));
        keeper.told(at(0), Ask::Hooks, Answer::Hooks(vec![hook(300)]));
        let state = Answer::State(state.map(str::to_owned));
        keeper.told(at(1), Ask::State, state);
        assert_eq!(keeper.next(at(1)), Turn::Over);
        assert_eq!(keeper.deadline(), None);
    }
}

#[test]
fn an_instance_that_is_back_in_service_is_kept_no_longer() {
    let mut story = Story::new(World::new(Transition::Terminating, 300));
    story.run(1000);
    assert!(story.world.is_active(story.now));
    // It was hibernated into the warm pool and has come back.
    let now = at(3 * HOUR);
    let mut keeper = story.keeper;
    assert_eq!(keeper.next(now), Turn::Ask(Ask::Heartbeat));
    keeper.told(now, Ask::Heartbeat, Answer::NoAction);
    keeper.told(now, Ask::State, Answer::State(Some("InService".to_owned())));
    assert_eq!(keeper.next(now), Turn::Over);
    assert_eq!(keeper.deadline(), None);
}

#[test]
fn a_termination_is_kept_where_the_state_may_not_be_looked_at() {
    let mut world = World::new(Transition::Terminating, 120).begins(30);
    let mut keeper = Keeper::new(Transition::Terminating, MARGIN, at(0));
    let mut now = at(0);
    while now < at(2 * HOUR) {
        match keeper.next(now) {
            Turn::Over => panic!("over at {now}"),
            Turn::Wait(next) => now = next,
            Turn::Ask(Ask::State) => {
                keeper.told(now, Ask::State, Answer::Failed(HookFailure::Denied));
            }
            Turn::Ask(ask) => {
                let answer = world.answer(now, ask);
                keeper.told(now, ask, answer);
            }
        }
    }
    assert!(world.is_active(now));
    // Somebody else ends it.
    world.completed = true;
    while let Turn::Wait(next) = keeper.next(now) {
        now = next;
    }
    keeper.told(now, Ask::Heartbeat, Answer::NoAction);
    assert_eq!(keeper.next(now), Turn::Over);
}

#[test]
fn a_short_throttle_cancels_nothing() {
    for timeout in [30, 60, 300, 3600] {
        let begin = 20 * timeout;
        let world = World::new(Transition::Terminating, timeout);
        let mut story = Story::new(world.throttled(begin, begin + timeout / 4));
        story.run(30 * timeout);
        assert!(story.world.is_active(story.now), "{timeout}");
        let cap = at(100 * timeout - 20);
        assert_eq!(
            story.soonest(),
            Some(cap.min(at(48 * HOUR - 20))),
            "{timeout}"
        );
    }
}

#[test]
fn heartbeats_that_are_let_through_again_loosen_the_deadline() {
    let mut story = Story::new(World::new(Transition::Terminating, 90));
    story.run(200);
    let beaten = story.world.lapses().0.as_secs() - 90;
    story.world = story.world.throttled(200, beaten + 62);
    story.run(beaten + 62);
    assert!(story.soonest() < Some(at(beaten + 71)));
    story.run(600);
    assert!(story.world.is_active(story.now));
    assert_eq!(story.keeper.deadline(), Some(at(9000 - 20)));
}
