//! The protector in virtual time: stories first, then properties.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::lifecycle::Instant;

fn at(second: u64) -> Instant {
    Instant(Duration::from_secs(second))
}

/// A protector and every call it made.
struct Story {
    protector: Protector,
    now: Instant,
    calls: Vec<(u64, bool)>,
    answer: Result<(), ProtectFailure>,
}

impl Story {
    fn new(mode: Protect) -> Story {
        Story {
            protector: Protector::new(mode),
            now: at(0),
            calls: Vec::new(),
            answer: Ok(()),
        }
    }

    /// Time goes on to this second, and with it every call that is due.
    fn until(&mut self, second: u64) -> &mut Story {
        loop {
            match self.protector.next(self.now) {
                ProtectTurn::Call(protect) => {
                    self.calls.push((self.now.0.as_secs(), protect));
                    self.protector.told(self.now, protect, self.answer);
                    let again = self.protector.next(self.now);
                    assert_ne!(again, ProtectTurn::Call(protect), "never waits");
                }
                ProtectTurn::Wait(next) => {
                    assert!(next > self.now, "waits for the past");
                    if next > at(second) {
                        break;
                    }
                    self.now = next;
                }
                ProtectTurn::Rest => break,
            }
        }
        self.now = at(second);
        self
    }

    fn work(&mut self, second: u64, busy: bool) -> &mut Story {
        self.until(second);
        self.protector.work(self.now, busy);
        self.until(second)
    }
}

#[test]
fn protection_follows_the_work() {
    let mut story = Story::new(Protect::Busy);
    story.work(10, true).work(100, false).until(1000);
    assert_eq!(story.calls, [(10, true), (105, false)]);
}

#[test]
fn a_job_that_soon_follows_another_costs_no_call() {
    let mut story = Story::new(Protect::Busy);
    story.work(10, true).work(100, false).work(104, true);
    story.work(200, false).work(203, true).until(1000);
    assert_eq!(story.calls, [(10, true)]);
}

#[test]
fn protection_that_was_there_before_is_lifted_without_hurry() {
    let mut story = Story::new(Protect::Busy);
    story.work(10, false).until(1000);
    let [(second, false)] = story.calls[..] else {
        panic!("{:?}", story.calls)
    };
    assert!((40..=70).contains(&second), "{second}");
}

#[test]
fn off_and_silence_call_nothing() {
    let mut off = Story::new(Protect::Off);
    off.work(10, true).work(20, false).until(1000);
    assert_eq!(off.calls, []);
    let mut silent = Story::new(Protect::Busy);
    silent.until(1000);
    assert_eq!(silent.calls, []);
}

#[test]
fn always_is_from_in_service_on() {
    let mut story = Story::new(Protect::Always);
    story.protector.in_service(false);
    story.until(100);
    assert_eq!(story.calls, []);
    story.protector.in_service(true);
    story
        .until(100)
        .work(200, true)
        .work(300, false)
        .until(1000);
    assert_eq!(story.calls, [(100, true)]);
    // Out of the pool again, or back from where protection is lost.
    story.protector.in_service(false);
    story.protector.in_service(true);
    story.until(2000);
    assert_eq!(story.calls, [(100, true), (1000, true)]);
}

#[test]
fn a_throttled_call_is_repeated_until_it_is_done_or_not_wanted() {
    let mut story = Story::new(Protect::Busy);
    story.answer = Err(ProtectFailure::Retry);
    story.work(10, true).until(3610);
    assert!(
        (120..=260).contains(&story.calls.len()),
        "{}",
        story.calls.len()
    );
    story.answer = Ok(());
    story.until(3700);
    assert_eq!(story.protector.next(story.now), ProtectTurn::Rest);
    assert!(story.calls.iter().all(|(_, protect)| *protect));
    let calls = story.calls.len();
    story.until(7000);
    assert_eq!(story.calls.len(), calls);
}

#[test]
fn what_may_have_been_done_is_undone() {
    let mut story = Story::new(Protect::Busy);
    story.answer = Err(ProtectFailure::Retry);
    story.work(10, true);
    story.answer = Ok(());
    // Before the next try there is no work any more.
    story.work(10, false).until(100);
    assert_eq!(story.calls, [(10, true), (15, false)]);
}

#[test]
fn an_instance_that_is_not_in_service_yet_is_asked_for_again() {
    let mut story = Story::new(Protect::Busy);
    story.answer = Err(ProtectFailure::NotInService);
    story.work(10, true).until(70);
    assert!((5..=9).contains(&story.calls.len()), "{:?}", story.calls);
    // The group says so at last.
    story.protector.in_service(false);
    let calls = story.calls.len();
    story.until(200);
    assert_eq!(story.calls.len(), calls);
    story.answer = Ok(());
    story.protector.in_service(true);
    story.until(200);
    assert_eq!(story.calls.last(), Some(&(200, true)));
}

#[test]
fn who_may_not_protect_asks_once() {
    let mut story = Story::new(Protect::Busy);
    story.answer = Err(ProtectFailure::Denied);
    story
        .work(10, true)
        .work(100, false)
        .work(200, true)
        .until(9000);
    assert_eq!(story.calls, [(10, true)]);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Work(bool),
    InService(bool),
    Answers(Result<(), ProtectFailure>),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let answers = select(vec![
        Ok(()),
        Ok(()),
        Err(ProtectFailure::Retry),
        Err(ProtectFailure::NotInService),
    ]);
    let step = prop_oneof![
        4 => any::<bool>().prop_map(Step::Work),
        1 => any::<bool>().prop_map(Step::InService),
        2 => answers.prop_map(Step::Answers),
    ];
    vec((0..40_u64, step), 0..60)
}

proptest! {
    #[test]
    fn the_latest_wish_wins_and_no_call_is_in_vain(
        mode in select(vec![Protect::Busy, Protect::Always, Protect::Off]),
        steps in steps(),
    ) {
        let mut story = Story::new(mode);
        let mut second = 0;
        let (mut busy, mut in_service) = (None, true);
        // What the instance's protection is.
        let mut protected = None;
        for (pause, step) in steps {
            second += pause;
            let before = story.calls.len();
            story.until(second);
            let made = &story.calls[before..];
            prop_assert!(made.is_empty() || in_service, "called while not in service");
            for (_, protect) in made {
                let wanted = match mode {
                    Protect::Off => None,
                    Protect::Always => Some(true),
                    Protect::Busy => busy,
                };
                prop_assert_eq!(Some(*protect), wanted, "an older wish was called for");
                if story.answer.is_ok() {
                    prop_assert_ne!(protected, Some(*protect), "told what it is already");
                    protected = Some(*protect);
                } else {
                    protected = None;
                }
            }
            match step {
                Step::Work(is_busy) => {
                    busy = Some(is_busy);
                    story.protector.work(story.now, is_busy);
                }
                Step::InService(yes) => {
                    if yes && !in_service {
                        protected = None;
                    }
                    in_service = yes;
                    story.protector.in_service(yes);
                }
                Step::Answers(answer) => story.answer = answer,
            }
        }
        let calls = story.calls.len();
        story.answer = Ok(());
        story.protector.in_service(true);
        story.until(second + 100);
        prop_assert_eq!(story.protector.next(story.now), ProtectTurn::Rest);
        if let Some((_, protect)) = story.calls[calls..].last() {
            protected = Some(*protect);
        }
        let wanted = match mode {
            Protect::Off => None,
            Protect::Always => Some(true),
            Protect::Busy => busy,
        };
        prop_assert_eq!(protected, wanted);
    }

    /// A job is protected as it begins, if anybody answers.
    #[test]
    fn work_is_protected_at_once(gaps in vec((0..100_u64, 1..100_u64), 1..20)) {
        let mut story = Story::new(Protect::Busy);
        let mut second = 0;
        for (idle, busy) in gaps {
            second += idle;
            story.work(second, true);
            prop_assert_eq!(story.calls.last().map(|(_, protect)| *protect), Some(true));
            second += busy;
            story.work(second, false);
            // And stays so through pauses of less than five seconds.
            story.until(second + 4);
            prop_assert_eq!(story.calls.last().map(|(_, protect)| *protect), Some(true));
            second += 4;
        }
    }
}
