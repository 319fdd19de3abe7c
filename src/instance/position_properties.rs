//! The ladder's promises, for every order of answers, against a cloud that keeps the truth.

use proptest::prelude::*;

use super::api::{Call, Seen};
use super::identity::Membership;
use super::mode::Mode;
use super::policy::{AtMinimum, Leave, leave};
use super::position::{Ground, Position};
use super::position_tests::{ABANDON, CONTINUE, in_group, on, placed};
use super::rung::{Answer, Step};
use super::verdict::Verdict;
use crate::lifecycle::Reason;

/// What a call does, and what is heard of it.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// It works as AWS does.
    Works,
    /// Nothing is done.
    Fails(Verdict),
    /// It is done, and the answer is lost.
    DoneUnheard,
    /// As the one before, and the supervisor is killed before it notices.
    Killed {
        done: bool,
    },
    TooLate,
    /// It works as AWS does, and the rung's time is used up.
    LastTry,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let verdict = proptest::sample::select(vec![
        Verdict::AtMinimum,
        Verdict::NoAction,
        Verdict::NotInService,
        Verdict::Denied,
        Verdict::Retry,
        Verdict::Ambiguous,
        Verdict::Refused,
    ]);
    let turn = prop_oneof![
        2 => Just(Turn::Works),
        4 => verdict.prop_map(Turn::Fails),
        2 => Just(Turn::DoneUnheard),
        2 => any::<bool>().prop_map(|done| Turn::Killed { done }),
        1 => Just(Turn::TooLate),
    ];
    proptest::collection::vec(turn, 0..40)
}

/// The truth about the machine.
#[derive(Debug, Default)]
struct World {
    /// A launch hook of ours keeps it from going into service.
    launching: bool,
    /// The group has a termination hook of ours.
    has_hook: bool,
    /// The group wants it out, to end it or to pool it.
    going: bool,
    /// Its hook has been completed, or never began.
    let_go: bool,
    detached: bool,
    desired_taken: u32,
    /// A call was carried out that ends it.
    ended: bool,
}

impl World {
    /// Carries the call out as AWS does for the group's part.
    fn carry_out(&mut self, call: Call) -> Answer {
        match call {
            Call::Look if self.detached || self.let_go => Answer::Seen(Seen::Leaving),
            Call::Look if self.going => Answer::Seen(Seen::Ending),
            Call::Look if self.launching => Answer::Seen(Seen::Pending),
            Call::Look => Answer::Seen(Seen::StillIn),
            Call::Terminate => {
                self.ended = true;
                Answer::Done
            }
            Call::Detach { .. } if self.detached => Answer::Failed(Verdict::AlreadyLeaving),
            Call::Detach { .. } if self.going || self.launching => {
                Answer::Failed(Verdict::NotInService)
            }
            Call::Detach { .. } => {
                self.desired_taken += u32::from(call.decrements());
                self.detached = true;
                Answer::Done
            }
            Call::TerminateInGroup { .. } => {
                // What a second one does is not documented: assume the worst.
                self.desired_taken += u32::from(call.decrements());
                self.go();
                self.ended = true;
                Answer::Done
            }
            ABANDON if self.launching => {
                self.launching = false;
                self.go();
                self.ended = true;
                Answer::Done
            }
            CONTINUE if !self.has_hook => Answer::Done,
            CONTINUE if self.going && !self.let_go => {
                self.let_go = true;
                Answer::Done
            }
            ABANDON | CONTINUE => Answer::Failed(Verdict::NoAction),
            other => panic!("the ladder has no use for {other:?}"),
        }
    }

    fn go(&mut self) {
        self.going = true;
        self.let_go = !self.has_hook;
    }
}

fn leaves() -> impl Strategy<Value = Leave> {
    let mut all: Vec<_> = Reason::ALL.map(leave).into();
    all.push(Leave::Pool);
    proptest::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_ladder_ends_as_it_should_and_decrements_at_most_once(
        turns in turns(),
        leave in leaves(),
        mode in proptest::sample::select(vec![Mode::Auto, Mode::Terminate]),
        known in any::<bool>(),
        launching in any::<bool>(),
        is_our_launch in any::<bool>(),
        has_hook in any::<bool>(),
    ) {
        let place = if known { in_group() } else { placed(Membership::Unknown) };
        let launch_pending = launching && is_our_launch;
        let ground = Ground { launch_pending, ..on(mode, &place) };
        let mut position = Position::start(ground, leave);
        let mut world = World { launching, has_hook, ..World::default() };
        if matches!(leave, Leave::Chosen | Leave::Pool) {
            world.go();
        }
        let mut turns = turns.into_iter();
        let (mut stayed, mut pooled) = (false, false);
        for round in 0.. {
            prop_assert!(round < 200, "it must end");
            let step = position.next(leave);
            let Step::Call(call) = step else {
                match step {
                    Step::PowerOff => { world.ended = true; break; }
                    Step::Stay => { stayed = true; break; }
                    Step::Pool => { pooled = true; break; }
                    Step::Over => break,
                    _ => {}
                }
                position.answered(step, Answer::Done, leave);
                continue;
            };
            if call == ABANDON {
                prop_assert!(launch_pending && leave.is_failed_boot());
            }
            if call == CONTINUE {
                prop_assert!(world.going, "completed before the group wants it out");
            }
            let sending = position.sending(call);
            let answer = match turns.next().unwrap_or(Turn::LastTry) {
                Turn::Works => world.carry_out(call),
                // AWS's own judgement of a group's size comes with a machine that is in it.
                Turn::Fails(Verdict::AtMinimum)
                    if world.detached || world.going || !call.decrements() =>
                {
                    Answer::Failed(Verdict::Refused)
                }
                Turn::Fails(verdict) => Answer::Failed(verdict),
                Turn::DoneUnheard => {
                    world.carry_out(call);
                    Answer::Failed(Verdict::Ambiguous)
                }
                Turn::Killed { done } => {
                    if done {
                        world.carry_out(call);
                    }
                    let stored = serde_json::to_string(&sending).expect("stored");
                    position = serde_json::from_str(&stored).expect("restored");
                    continue;
                }
                Turn::TooLate => Answer::TooLate(Verdict::Ambiguous),
                Turn::LastTry => match world.carry_out(call) {
                    Answer::Failed(verdict) if !verdict.is_final() => Answer::TooLate(verdict),
                    answer => answer,
                },
            };
            position.answered(step, answer, leave);
        }
        prop_assert!(world.desired_taken <= 1, "decremented {} times", world.desired_taken);
        if !matches!(leave, Leave::Shrink(_)) {
            prop_assert_eq!(world.desired_taken, 0);
        }
        prop_assert_eq!(pooled, leave == Leave::Pool);
        if pooled {
            prop_assert!(!world.ended && !world.detached);
        } else if stayed {
            prop_assert_eq!(leave, Leave::Shrink(AtMinimum::Stay));
            prop_assert!(!world.detached && !world.ended);
        } else {
            prop_assert!(world.ended);
        }
    }
}
