//! The ladder without a cloud: the table of reasons, and the promises for every order of answers.

use proptest::prelude::*;

use super::api::{Call, Seen, Verdict};
use super::identity::{GroupName, Identity, InstanceId, Membership, Placement};
use super::mode::Mode;
use super::policy::{AtMinimum, Leave, leave};
use super::position::{Answer, Position, Rung, Step};
use crate::lifecycle::Reason;

fn placed(membership: Membership) -> Placement {
    Placement::Ec2(Identity {
        instance_id: InstanceId::new("i-1"),
        region: "eu-west-1".to_owned(),
        availability_zone: None,
        membership,
    })
}

fn in_group() -> Placement {
    placed(Membership::In(GroupName::new("ci")))
}

/// Climbs with these answers to group calls; EC2 accepts everything. What was done, in order.
fn climb(mode: Mode, place: &Placement, reason: Reason, at_minimum: bool) -> Vec<String> {
    let leave = leave(reason);
    let mut position = Position::start(mode, place, leave, true);
    let mut done = Vec::new();
    loop {
        let step = position.next(leave);
        let (word, answer) = match step {
            Step::Call(call) if call.decrements() && at_minimum => {
                (describe(call), Answer::Failed(Verdict::AtMinimum))
            }
            Step::Call(call) => (describe(call), Answer::Done),
            Step::Hold => ("hold".to_owned(), Answer::Done),
            Step::AwaitEnd => return done,
            Step::PowerOff => {
                done.push("power-off".to_owned());
                return done;
            }
            Step::Stay => {
                done.push("stay".to_owned());
                return done;
            }
            Step::Over => return done,
        };
        done.push(word);
        position.answered(step, answer, leave);
    }
}

fn describe(call: Call) -> String {
    let word = match call {
        Call::Detach { .. } => "detach",
        Call::TerminateInGroup { .. } => "terminate-in-group",
        Call::Look => "look",
        Call::Terminate => "terminate",
        other => panic!("the ladder has no use for {other:?}"),
    };
    let sign = match call {
        Call::Detach { decrement: true } | Call::TerminateInGroup { decrement: true } => "-1",
        _ => "",
    };
    format!("{word}{sign}")
}

#[test]
fn each_reason_leaves_in_its_own_way() {
    use Reason::*;
    let shrinks: &[Reason] = &[MaxJobs, MaxLifetime, Operator, Signal];
    let broken: &[Reason] = &[BootTimeout, CrashLoop, AgentExit];
    let taken: &[Reason] = &[Spot, Maintenance, Rebalance];
    let rows: [(&[Reason], &[&str], &[&str]); 5] = [
        (&[Idle], &["detach-1", "terminate"], &["detach-1", "stay"]),
        (
            shrinks,
            &["detach-1", "terminate"],
            &["detach-1", "detach", "terminate"],
        ),
        (
            broken,
            &["detach-1", "terminate"],
            &["detach-1", "hold", "detach-1", "detach", "terminate"],
        ),
        (taken, &["detach", "terminate"], &["detach", "terminate"]),
        (&[ScaleIn], &["terminate"], &["terminate"]),
    ];
    let mut seen = 0;
    for (reasons, room, minimum) in rows {
        for &reason in reasons {
            seen += 1;
            for mode in [Mode::Auto, Mode::Detach] {
                assert_eq!(climb(mode, &in_group(), reason, false), room, "{reason}");
                assert_eq!(climb(mode, &in_group(), reason, true), minimum, "{reason}");
                let alone = placed(Membership::None);
                assert_eq!(
                    climb(mode, &alone, reason, false),
                    ["terminate"],
                    "{reason}"
                );
                let off = climb(mode, &Placement::Unknown, reason, false);
                assert_eq!(off, ["power-off"], "{reason}");
                let elsewhere = climb(mode, &Placement::NotOnEc2, reason, false);
                assert!(elsewhere.is_empty(), "{reason}");
            }
        }
    }
    assert_eq!(seen, Reason::ALL.len());
}

#[test]
fn modes_choose_the_first_rung() {
    let reason = Reason::MaxJobs;
    let group = in_group();
    assert_eq!(
        climb(Mode::Terminate, &group, reason, false),
        ["terminate-in-group-1"]
    );
    assert_eq!(
        climb(Mode::Terminate, &group, reason, true),
        ["terminate-in-group-1", "terminate-in-group"]
    );
    assert_eq!(
        climb(Mode::Terminate, &group, Reason::Idle, true),
        ["terminate-in-group-1", "stay"]
    );
    assert_eq!(climb(Mode::PowerOff, &group, reason, false), ["power-off"]);
    assert_eq!(
        climb(Mode::PowerOff, &Placement::NotOnEc2, reason, false),
        ["power-off"]
    );
    assert!(climb(Mode::Exit, &group, reason, false).is_empty());
    let unknown = placed(Membership::Unknown);
    assert_eq!(
        climb(Mode::Auto, &unknown, reason, false),
        ["terminate-in-group-1"]
    );
}

#[test]
fn without_the_api_a_machine_of_ec2_powers_off() {
    let leave = leave(Reason::Idle);
    let position = Position::start(Mode::Auto, &in_group(), leave, false);
    assert_eq!(position.next(leave), Step::PowerOff);
}

fn at_rung(rung: Rung, leave: Leave) -> Position {
    let mode = match rung {
        Rung::Detach => Mode::Auto,
        _ => Mode::Terminate,
    };
    Position::start(mode, &in_group(), leave, true)
}

#[test]
fn a_decrement_in_doubt_is_looked_at_before_it_is_repeated() {
    let leave = leave(Reason::MaxJobs);
    // First rung, what looking says, what follows.
    let rows = [
        (
            Rung::Detach,
            Answer::Seen(Seen::StillIn),
            Step::Call(Call::Detach { decrement: true }),
        ),
        (
            Rung::Detach,
            Answer::Seen(Seen::Leaving),
            Step::Call(Call::Terminate),
        ),
        // AWS refuses the second itself: "is not part of Auto Scaling group".
        (
            Rung::Detach,
            Answer::Failed(Verdict::Denied),
            Step::Call(Call::Detach { decrement: true }),
        ),
        (
            Rung::Detach,
            Answer::TooLate(Verdict::Retry),
            Step::Call(Call::Terminate),
        ),
        (
            Rung::TerminateInGroup,
            Answer::Seen(Seen::StillIn),
            Step::Call(Call::TerminateInGroup { decrement: true }),
        ),
        (
            Rung::TerminateInGroup,
            Answer::Seen(Seen::Leaving),
            Step::AwaitEnd,
        ),
        (
            Rung::TerminateInGroup,
            Answer::Failed(Verdict::Denied),
            Step::Call(Call::Terminate),
        ),
        (
            Rung::TerminateInGroup,
            Answer::Failed(Verdict::Retry),
            Step::Call(Call::Look),
        ),
    ];
    for (rung, looked, then) in rows {
        let mut position = at_rung(rung, leave);
        let step = position.next(leave);
        position.answered(step, Answer::Failed(Verdict::Ambiguous), leave);
        assert_eq!(position.next(leave), Step::Call(Call::Look));
        position.answered(Step::Call(Call::Look), looked, leave);
        assert_eq!(position.next(leave), then, "{rung:?} {looked:?}");
    }
}

#[test]
fn a_restart_between_sending_and_the_answer_looks_first() {
    let leave = leave(Reason::MaxJobs);
    for rung in [Rung::Detach, Rung::TerminateInGroup] {
        let position = at_rung(rung, leave);
        let Step::Call(call) = position.next(leave) else {
            panic!("a call");
        };
        let stored = serde_json::to_string(&position.sending(call)).expect("stored");
        let restored: Position = serde_json::from_str(&stored).expect("restored");
        assert_eq!(restored.next(leave), Step::Call(Call::Look));
    }
}

#[test]
fn a_position_belongs_to_one_instance() {
    let position = Position::start(Mode::Auto, &in_group(), leave(Reason::Idle), true);
    assert!(position.is_of(&in_group()));
    assert!(position.is_of(&Placement::Unknown));
    assert!(!position.is_of(&Placement::NotOnEc2));
    let mut other = in_group();
    if let Placement::Ec2(identity) = &mut other {
        identity.instance_id = InstanceId::new("i-2");
    }
    assert!(!position.is_of(&other));
}

/// A cloud that really counts: what a call does, and what is heard of it.
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
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let verdict = prop_oneof![
        Just(Verdict::AtMinimum),
        Just(Verdict::Denied),
        Just(Verdict::Retry),
        Just(Verdict::Ambiguous),
        Just(Verdict::Refused),
    ];
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
#[derive(Default)]
struct World {
    left: bool,
    desired_taken: u32,
    ends: bool,
}

impl World {
    /// Carries the call out as AWS does for the group's part.
    fn carry_out(&mut self, call: Call) -> Answer {
        match call {
            Call::Look if self.left => Answer::Seen(Seen::Leaving),
            Call::Look => Answer::Seen(Seen::StillIn),
            Call::Terminate => {
                self.ends = true;
                Answer::Done
            }
            Call::Detach { .. } if self.left => Answer::Failed(Verdict::AlreadyLeaving),
            Call::TerminateInGroup { .. } | Call::Detach { .. } => {
                // What a second TerminateInstanceInAutoScalingGroup does is not documented:
                // assume the worst.
                self.desired_taken += u32::from(call.decrements());
                self.ends |= matches!(call, Call::TerminateInGroup { .. });
                self.left = true;
                Answer::Done
            }
            other => panic!("the ladder has no use for {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_ladder_ends_and_decrements_at_most_once(
        turns in turns(),
        reason in proptest::sample::select(Reason::ALL.to_vec()),
        mode in proptest::sample::select(vec![Mode::Auto, Mode::Terminate]),
        known in any::<bool>(),
    ) {
        let place = if known { in_group() } else { placed(Membership::Unknown) };
        let leave = leave(reason);
        let mut position = Position::start(mode, &place, leave, true);
        let mut world = World::default();
        let mut turns = turns.into_iter();
        let mut stayed = false;
        for round in 0.. {
            prop_assert!(round < 200, "it must end");
            let step = position.next(leave);
            let Step::Call(call) = step else {
                match step {
                    Step::PowerOff => { world.ends = true; break; }
                    Step::Stay => { stayed = true; break; }
                    Step::Over => break,
                    _ => {}
                }
                position.answered(step, Answer::Done, leave);
                continue;
            };
            let sending = position.sending(call);
            let answer = match turns.next().unwrap_or(Turn::Works) {
                Turn::Works => world.carry_out(call),
                // AWS's own judgement of a group's size comes with a machine that is in it.
                Turn::Fails(Verdict::AtMinimum) if world.left || !call.decrements() => {
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
                    position = sending;
                    continue;
                }
                Turn::TooLate => Answer::TooLate(Verdict::Ambiguous),
            };
            position.answered(step, answer, leave);
        }
        prop_assert!(world.desired_taken <= 1, "decremented {} times", world.desired_taken);
        if matches!(leave, Leave::Replace | Leave::Chosen) {
            prop_assert_eq!(world.desired_taken, 0);
        }
        if stayed {
            prop_assert_eq!(leave, Leave::Shrink(AtMinimum::Stay));
            prop_assert!(!world.left);
        } else {
            prop_assert!(world.ends);
        }
    }
}
