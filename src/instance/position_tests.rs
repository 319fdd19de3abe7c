//! The ladder without a cloud: the tables of reasons and of answers.

use super::api::{ActionResult, Call, Seen};
use super::identity::{GroupName, Identity, InstanceId, Membership, Placement};
use super::mode::Mode;
use super::notices::Transition;
use super::policy::{Leave, leave};
use super::position::{Ground, Position};
use super::rung::{Answer, Rung, Step};
use super::verdict::Verdict;
use crate::lifecycle::Reason;

pub fn placed(membership: Membership) -> Placement {
    Placement::Ec2(Identity {
        instance_id: InstanceId::new("i-1"),
        region: "eu-west-1".to_owned(),
        availability_zone: None,
        membership,
    })
}

pub fn in_group() -> Placement {
    placed(Membership::In(GroupName::new("ci")))
}

/// A machine in service, with a way to call AWS.
pub fn on(mode: Mode, placement: &Placement) -> Ground<'_> {
    Ground {
        mode,
        placement,
        api: true,
        launch_pending: false,
    }
}

pub const CONTINUE: Call = Call::Complete(Transition::Terminating, ActionResult::Continue);
pub const ABANDON: Call = Call::Complete(Transition::Launching, ActionResult::Abandon);

/// Climbs with these answers to group calls; EC2 accepts everything. What was done, in order.
fn climb(mode: Mode, place: &Placement, reason: Reason, at_minimum: bool) -> Vec<String> {
    climb_from(on(mode, place), leave(reason), at_minimum)
}

fn climb_from(ground: Ground<'_>, leave: Leave, at_minimum: bool) -> Vec<String> {
    let mut position = Position::start(ground, leave);
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
            Step::Pool => {
                done.push("pool".to_owned());
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
        CONTINUE => "continue",
        ABANDON => "abandon",
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
        (&[ScaleIn], &["continue"], &["continue"]),
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
        ["terminate-in-group-1", "continue"]
    );
    assert_eq!(
        climb(Mode::Terminate, &group, reason, true),
        ["terminate-in-group-1", "terminate-in-group", "continue"]
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
        ["terminate-in-group-1", "continue"]
    );
}

#[test]
fn a_machine_that_is_not_in_service_yet_is_not_detached() {
    let place = in_group();
    let ground = Ground {
        launch_pending: true,
        ..on(Mode::Auto, &place)
    };
    for reason in Reason::ALL {
        let expected: &[&str] = match reason {
            Reason::BootTimeout | Reason::CrashLoop | Reason::AgentExit => &["abandon", "continue"],
            Reason::Spot | Reason::Maintenance | Reason::Rebalance => {
                &["terminate-in-group", "continue"]
            }
            Reason::ScaleIn => &["continue"],
            _ => &["terminate-in-group-1", "continue"],
        };
        assert_eq!(
            climb_from(ground, leave(reason), false),
            expected,
            "{reason}"
        );
    }
}

#[test]
fn a_machine_that_goes_into_the_pool_is_only_let_go() {
    let place = in_group();
    assert_eq!(
        climb_from(on(Mode::Auto, &place), Leave::Pool, false),
        ["continue", "pool"]
    );
    let lone = placed(Membership::None);
    for (mode, place) in [
        (Mode::PowerOff, &Placement::Unknown),
        (Mode::Auto, &Placement::Unknown),
        (Mode::Terminate, &lone),
    ] {
        assert_eq!(climb_from(on(mode, place), Leave::Pool, false), ["pool"]);
    }
    // Nor does it go on where a retirement of another kind had come to.
    for earlier in Reason::ALL {
        let earlier = leave(earlier);
        let mut position = Position::start(on(Mode::Auto, &place), earlier);
        if position.rung() == Rung::Complete {
            continue;
        }
        for _ in 0..4 {
            assert_eq!(position.next(Leave::Pool), Step::Pool);
            let step = position.next(earlier);
            position.answered(step, Answer::Failed(Verdict::Denied), earlier);
        }
    }
}

#[test]
fn a_launch_that_cannot_be_abandoned_ends_in_the_group() {
    let leave = leave(Reason::BootTimeout);
    let place = in_group();
    let ground = Ground {
        launch_pending: true,
        ..on(Mode::Auto, &place)
    };
    let in_group = Step::Call(Call::TerminateInGroup { decrement: true });
    for (answer, then) in [
        (Answer::Failed(Verdict::Retry), Step::Call(ABANDON)),
        (Answer::Failed(Verdict::Ambiguous), Step::Call(ABANDON)),
        // Its time is over already, one way or the other.
        (Answer::Failed(Verdict::NoAction), in_group),
        (Answer::Failed(Verdict::Denied), in_group),
        (Answer::Failed(Verdict::Refused), in_group),
        (Answer::TooLate(Verdict::Retry), in_group),
    ] {
        let mut position = Position::start(ground, leave);
        position.answered(Step::Call(ABANDON), answer, leave);
        assert_eq!(position.next(leave), then, "{answer:?}");
    }
}

#[test]
fn a_completion_is_tried_until_it_is_confirmed() {
    use Answer::{Done, Failed, TooLate};
    use Verdict::{Ambiguous, Denied, NoAction, Refused, Retry};
    let (again, look) = (Step::Call(CONTINUE), Step::Call(Call::Look));
    let terminate = Step::Call(Call::Terminate);
    let seen = Answer::Seen;
    // The answers, one after the other; what follows where the group chose the machine, and where
    // this program asked the group to end it.
    let rows: [(&[Answer], Step, Step); 15] = [
        (&[Done], Step::AwaitEnd, Step::AwaitEnd),
        (&[Failed(Retry)], again, again),
        (&[Failed(Ambiguous)], again, again),
        (&[Failed(NoAction)], look, look),
        (&[Failed(NoAction), Failed(Retry)], look, look),
        (&[Failed(NoAction), seen(Seen::StillIn)], again, again),
        (&[Failed(NoAction), seen(Seen::Ending)], again, again),
        (
            &[Failed(NoAction), seen(Seen::Leaving)],
            Step::AwaitEnd,
            Step::AwaitEnd,
        ),
        (
            &[Failed(NoAction), seen(Seen::Retained)],
            terminate,
            terminate,
        ),
        (&[Failed(NoAction), Failed(Denied)], again, again),
        (
            &[Failed(NoAction), Failed(Denied), Failed(NoAction)],
            again,
            again,
        ),
        (
            &[Failed(NoAction), TooLate(Retry)],
            terminate,
            Step::AwaitEnd,
        ),
        (&[Failed(Denied)], terminate, Step::AwaitEnd),
        (&[Failed(Refused)], terminate, Step::AwaitEnd),
        (&[TooLate(NoAction)], terminate, Step::AwaitEnd),
    ];
    for (answers, chosen, asked) in rows {
        let asked_for = leave(Reason::MaxJobs);
        let mut after_asking = at_rung(Rung::TerminateInGroup, asked_for);
        let step = after_asking.next(asked_for);
        after_asking.answered(step, Done, asked_for);
        let given = Position::start(on(Mode::Auto, &in_group()), Leave::Chosen);
        for (mut position, leave, expected) in [
            (given, Leave::Chosen, chosen),
            (after_asking, asked_for, asked),
        ] {
            for answer in answers {
                let step = position.next(leave);
                position.answered(step, *answer, leave);
            }
            assert_eq!(position.next(leave), expected, "{leave:?} {answers:?}");
        }
    }
}

#[test]
fn a_chosen_machine_that_was_about_to_detach_is_let_go() {
    let mut position = at_rung(Rung::Detach, leave(Reason::MaxJobs));
    let step = position.next(Leave::Chosen);
    assert_eq!(step, Step::Call(Call::Detach { decrement: false }));
    position.answered(step, Answer::Failed(Verdict::AlreadyLeaving), Leave::Chosen);
    assert_eq!(position.next(Leave::Chosen), Step::Call(CONTINUE));
}

#[test]
fn without_the_api_a_machine_of_ec2_powers_off() {
    let (place, leave) = (in_group(), leave(Reason::Idle));
    let ground = Ground {
        api: false,
        ..on(Mode::Auto, &place)
    };
    let position = Position::start(ground, leave);
    assert_eq!(position.next(leave), Step::PowerOff);
}

fn at_rung(rung: Rung, leave: Leave) -> Position {
    let mode = match rung {
        Rung::Detach => Mode::Auto,
        _ => Mode::Terminate,
    };
    Position::start(on(mode, &in_group()), leave)
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
            Answer::Seen(Seen::Ending),
            Step::Call(CONTINUE),
        ),
        (
            Rung::TerminateInGroup,
            Answer::Seen(Seen::Retained),
            Step::Call(Call::Terminate),
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
fn a_machine_that_cannot_be_detached_yet_shrinks_its_group_all_the_same() {
    let shrink = leave(Reason::MaxJobs);
    let in_group = Step::Call(Call::TerminateInGroup { decrement: true });
    let terminate = Step::Call(Call::Terminate);
    for (looked, then) in [
        (Answer::Seen(Seen::Pending), in_group),
        // It was in service once, so a Detach that was not heard of may have been carried out.
        (Answer::Seen(Seen::StillIn), terminate),
        (Answer::Seen(Seen::Leaving), terminate),
        (Answer::Seen(Seen::Ending), terminate),
        (Answer::Failed(Verdict::Retry), Step::Call(Call::Look)),
        (Answer::Failed(Verdict::Denied), terminate),
        (Answer::TooLate(Verdict::Retry), terminate),
    ] {
        let mut position = at_rung(Rung::Detach, shrink);
        let step = position.next(shrink);
        position.answered(step, Answer::Failed(Verdict::NotInService), shrink);
        assert_eq!(position.next(shrink), Step::Call(Call::Look));
        position.answered(Step::Call(Call::Look), looked, shrink);
        assert_eq!(position.next(shrink), then, "{looked:?}");
    }
    // What is replaced anyway need not look.
    let replace = leave(Reason::Spot);
    let mut position = at_rung(Rung::Detach, replace);
    let step = position.next(replace);
    position.answered(step, Answer::Failed(Verdict::NotInService), replace);
    assert_eq!(position.next(replace), terminate);
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
fn a_position_of_an_older_release_is_taken_up() {
    let stored = r#"{"instance":"i-1","rung":"terminate-in-group","doubt":"look",
        "minimum":"replace","hooks_run":1,"calls":[{"name":"DetachInstances","count":2,
        "errors":1,"last_error":"AccessDenied"}],
        "since":{"secs_since_epoch":1700000000,"nanos_since_epoch":0}}"#;
    let position: Position = serde_json::from_str(stored).expect("restored");
    assert!(position.is_of(&in_group()));
    assert_eq!(
        position.next(leave(Reason::MaxJobs)),
        Step::Call(Call::Look)
    );
}

#[test]
fn a_position_belongs_to_one_instance() {
    let position = Position::start(on(Mode::Auto, &in_group()), leave(Reason::Idle));
    assert!(position.is_of(&in_group()));
    assert!(position.is_of(&Placement::Unknown));
    assert!(!position.is_of(&Placement::NotOnEc2));
    let mut other = in_group();
    if let Placement::Ec2(identity) = &mut other {
        identity.instance_id = InstanceId::new("i-2");
    }
    assert!(!position.is_of(&other));
}
