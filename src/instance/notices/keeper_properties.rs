//! What holds for the keeper whatever happens, in virtual time.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::keeper_world::*;
use super::*;

fn transition() -> impl Strategy<Value = Transition> {
    select(vec![Transition::Launching, Transition::Terminating])
}

fn failure() -> impl Strategy<Value = Failure> {
    select(vec![
        Failure::Lost,
        Failure::Refused(HookFailure::Retry),
        Failure::Refused(HookFailure::Denied),
    ])
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let states = select(vec![
        None,
        Some("Pending"),
        Some("Pending:Wait"),
        Some("InService"),
        Some("Terminating"),
        Some("Terminating:Wait"),
        Some("Terminating:Proceed"),
        Some("Warmed:Stopped"),
        Some("New"),
    ]);
    prop_oneof![
        2 => Just(Answer::Done),
        2 => Just(Answer::NoAction),
        1 => (0..2_usize, 30..7200_u64).prop_map(|(n, t)| Answer::Hooks(vec![hook(t); n])),
        2 => states.prop_map(|state| Answer::State(state.map(str::to_owned))),
        1 => Just(Answer::Failed(HookFailure::Retry)),
        1 => Just(Answer::Failed(HookFailure::Denied)),
    ]
}

proptest! {
    #[test]
    fn while_calls_succeed_an_action_lives_until_its_cap(
        transition in transition(),
        timeout in 30..7200_u64,
        lag in 0..120_u64,
        latency in 0..2000_u64,
    ) {
        let mut story = Story::new(World::new(transition, timeout).begins(lag));
        story.latency = Duration::from_millis(latency);
        let cap = (100 * timeout).min(48 * HOUR);
        prop_assert_eq!(story.run(cap + 10), Turn::Over);
        // The keeper cannot know how late the action began, so it counts from its own beginning.
        prop_assert!(story.now >= at(cap));
        prop_assert!(story.world.is_active(at(cap - 1)), "lapsed at {}", story.world.lapses());
        prop_assert!(story.world.beats.iter().all(|beat| *beat < at(cap)));
        prop_assert!(story.deadlines.iter().all(|(_, told)| *told == Some(at(cap - 20))));
    }

    /// However calls fail, and however long.
    #[test]
    fn when_an_action_lapses_the_deadline_was_told_in_time(
        timeout in 30..7200_u64,
        from in 0..20_000_u64,
        lasts in 0..10_000_u64,
        how in select(vec![HookFailure::Retry, HookFailure::Denied]),
    ) {
        let world = World::new(Transition::Terminating, timeout);
        let mut story = Story::new(world.fails(from, from + lasts, Failure::Refused(how)));
        let end = 40_000.min(100 * timeout);
        story.run(end);
        let lapsed = story.world.lapses();
        let was_known = story.world.calls.iter().any(|(at, ask)| {
            *ask == Ask::Hooks && !(from..from + lasts).contains(&at.0.as_secs())
        });
        if lapsed >= at(end) || !was_known {
            return Ok(());
        }
        // Of a hook that is learned of too late nothing can be told in time.
        let known = story.deadlines.iter().find(|(_, told)| told.is_some());
        let (known, _) = known.expect("the hook was known");
        if known.after(Duration::from_secs(timeout / 3)) > lapsed {
            return Ok(());
        }
        let spare = Duration::from_secs(timeout / 3).min(MARGIN);
        let in_time = story.deadlines.iter().any(|(told, deadline)| {
            let deadline = deadline.expect("a hook of ours");
            deadline.after(spare) <= lapsed.after(story.latency * 2)
                && *told <= deadline.after(story.latency * 2)
        });
        prop_assert!(in_time, "lapsed at {lapsed}, told {:?}", story.deadlines);
    }

    #[test]
    fn a_finished_action_is_over_as_soon_as_calls_succeed(
        transition in transition(),
        timeout in 30..7200_u64,
        lag in 0..100_u64,
        ready in 0..1000_u64,
        from in 0..1000_u64,
        lasts in 0..1000_u64,
        how in failure(),
    ) {
        let world = World::new(transition, timeout).begins(lag);
        let mut story = Story::new(world.fails(from, from + lasts, how));
        let turn = story.run(ready);
        if turn == Turn::Over {
            // It lapsed unkept, which only failures can do.
            prop_assert!(lasts > 0);
            return Ok(());
        }
        story.finish();
        let fair = ready.max(from + lasts).max(lag);
        prop_assert_eq!(story.run(fair + 200), Turn::Over, "{:?}", story.keeper);
        let lapsed = story.world.lapses() <= story.now;
        if transition == Transition::Launching && !lapsed {
            prop_assert!(story.world.completed);
        }
    }

    #[test]
    fn refusals_cost_few_calls(
        transition in transition(),
        timeout in 90..7200_u64,
        how in select(vec![HookFailure::Retry, HookFailure::Denied]),
        from in 0..600_u64,
        finished in any::<bool>(),
    ) {
        let fault = Failure::Refused(how);
        let mut story = Story::new(World::new(transition, timeout).fails(from, from + 4000, fault));
        story.run(from);
        if finished {
            story.finish();
        }
        let before = story.world.calls.len();
        story.run(from + HOUR);
        let calls = story.world.calls.len() - before;
        prop_assert!(calls <= 260, "{calls} calls in an hour");
    }

    /// Whatever is answered, to whatever was or was not asked, and whenever the work ends.
    #[test]
    fn no_answer_is_too_strange(
        transition in transition(),
        steps in proptest::collection::vec((any_answer(), 0..2000_u64), 1..60),
        finish in 0..60_usize,
    ) {
        let mut keeper = Keeper::new(transition, MARGIN, at(0));
        let mut now = at(0);
        let asks = [Ask::Hooks, Ask::State, Ask::Heartbeat, Ask::Complete];
        for (step, (answer, pause)) in steps.into_iter().enumerate() {
            if step == finish {
                keeper.finish(now);
            }
            let ask = match keeper.next(now) {
                Turn::Ask(ask) => ask,
                Turn::Wait(next) => {
                    prop_assert!(next > now);
                    asks[step % asks.len()]
                }
                Turn::Over => {
                    keeper.told(now, Ask::Heartbeat, answer);
                    prop_assert_eq!(keeper.next(now), Turn::Over);
                    continue;
                }
            };
            keeper.told(now, ask, answer);
            now = now.after(Duration::from_secs(pause));
        }
        prop_assert_eq!(keeper.next(at(49 * HOUR)), Turn::Over);
    }
}
