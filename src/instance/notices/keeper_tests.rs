//! The keeper against a small Auto Scaling, in virtual time: stories first, then properties.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::lifecycle::Instant;

const MARGIN: Duration = Duration::from_secs(20);
const HOUR: u64 = 3600;

fn at(second: u64) -> Instant {
    Instant(Duration::from_secs(second))
}

fn hook(timeout: u64) -> Hook {
    let timeout = Duration::from_secs(timeout);
    Hook {
        name: "clockout".to_owned(),
        transition: Transition::Terminating,
        heartbeat_timeout: timeout,
        global_timeout: Duration::from_secs(48 * HOUR).min(timeout * 100),
        has_target: false,
        abandons: true,
    }
}

/// What Auto Scaling does with one action, and with the calls about it.
#[derive(Debug, Clone)]
struct World {
    transition: Transition,
    timeout: u64,
    /// The action begins then.
    begins: Instant,
    /// Calls fail in this time, in this way.
    fault: (Instant, Instant, Failure),
    /// When the action ends, once it has begun.
    lapses: Option<Instant>,
    completed: bool,
    calls: Vec<(Instant, Ask)>,
    beats: Vec<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Refused(HookFailure),
    /// Done, and the answer is lost.
    Lost,
}

impl World {
    fn new(transition: Transition, timeout: u64) -> World {
        World {
            transition,
            timeout,
            begins: at(0),
            fault: (at(0), at(0), Failure::Lost),
            lapses: None,
            completed: false,
            calls: Vec::new(),
            beats: Vec::new(),
        }
    }

    fn begins(mut self, second: u64) -> World {
        self.begins = at(second);
        self
    }

    fn fails(mut self, from: u64, to: u64, how: Failure) -> World {
        self.fault = (at(from), at(to), how);
        self
    }

    fn throttled(self, from: u64, to: u64) -> World {
        self.fails(from, to, Failure::Refused(HookFailure::Retry))
    }

    fn cap(&self) -> Instant {
        let cap = (self.timeout * 100).min(48 * HOUR);
        self.begins.after(Duration::from_secs(cap))
    }

    /// When the action ends if it is told nothing more.
    fn lapses(&self) -> Instant {
        let first = self.begins.after(Duration::from_secs(self.timeout));
        self.lapses.unwrap_or(first).min(self.cap())
    }

    fn is_active(&self, now: Instant) -> bool {
        now >= self.begins && now < self.lapses() && !self.completed
    }

    fn state(&self, now: Instant) -> &'static str {
        match self.transition {
            Transition::Launching if now < self.begins => "Pending",
            Transition::Launching if self.is_active(now) => "Pending:Wait",
            Transition::Launching if self.completed => "InService",
            Transition::Launching => "Terminating",
            Transition::Terminating if now < self.begins => "Terminating",
            Transition::Terminating if self.is_active(now) => "Terminating:Wait",
            Transition::Terminating => "Terminating:Proceed",
        }
    }

    fn answer(&mut self, now: Instant, ask: Ask) -> Answer {
        self.calls.push((now, ask));
        let (from, to, how) = self.fault;
        let failure = Some(how).filter(|_| (from..to).contains(&now));
        if let Some(Failure::Refused(failure)) = failure {
            return Answer::Failed(failure);
        }
        let answer = match ask {
            Ask::Hooks => Answer::Hooks(vec![hook(self.timeout)]),
            Ask::State => Answer::State(Some(self.state(now).to_owned())),
            _ if !self.is_active(now) => Answer::NoAction,
            Ask::Heartbeat => {
                self.beats.push(now);
                self.lapses = Some(now.after(Duration::from_secs(self.timeout)));
                Answer::Done
            }
            Ask::Complete => {
                self.completed = true;
                Answer::Done
            }
        };
        match failure {
            Some(Failure::Lost) => Answer::Failed(HookFailure::Retry),
            _ => answer,
        }
    }
}

/// A keeper that began at zero, and its world.
struct Story {
    keeper: Keeper,
    world: World,
    now: Instant,
    /// How long calls take.
    latency: Duration,
    /// The deadlines that were told, and when.
    deadlines: Vec<(Instant, Option<Instant>)>,
}

impl Story {
    fn new(world: World) -> Story {
        Story {
            keeper: Keeper::new(world.transition, MARGIN, at(0)),
            world,
            now: at(0),
            latency: Duration::from_millis(100),
            deadlines: Vec::new(),
        }
    }

    /// Runs until then, or until it is over.
    fn run(&mut self, second: u64) -> Turn {
        let until = at(second);
        let mut quick = 0;
        loop {
            let turn = self.keeper.next(self.now);
            match turn {
                Turn::Over => return turn,
                _ if self.now >= until => return turn,
                Turn::Wait(next) => {
                    assert!(next > self.now, "waits for the past");
                    self.now = next.min(until);
                    quick = 0;
                }
                Turn::Ask(ask) => {
                    quick += 1;
                    assert!(quick < 5, "never waits: {ask:?}");
                    let answer = self.world.answer(self.now, ask);
                    self.now = self.now.after(self.latency);
                    self.keeper.told(self.now, ask, answer);
                    let deadline = self.keeper.deadline();
                    if self.deadlines.last().map(|(_, last)| *last) != Some(deadline) {
                        self.deadlines.push((self.now, deadline));
                    }
                }
            }
        }
    }

    fn finish(&mut self) {
        self.keeper.finish(self.now);
    }

    fn asks(&self) -> Vec<Ask> {
        self.world.calls.iter().map(|(_, ask)| *ask).collect()
    }

    /// The soonest deadline that was told.
    fn soonest(&self) -> Option<Instant> {
        self.deadlines
            .iter()
            .filter_map(|(_, deadline)| *deadline)
            .min()
    }
}

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
