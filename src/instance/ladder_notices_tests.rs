//! The ladder of a machine that is taken out, taken away, or taken back into its pool.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::api::{Call, Reply, Seen};
use super::deadman::uptime;
use super::ladder::climb;
use super::ladder_testing::{
    DETACH, FakeHost, IN_GROUP, Script, at_minimum, denied, lost, no_action, plan, retire,
    retirement, throttled, words,
};
use super::mode::Mode;
use super::notices::Notice;
use super::position_tests::{ABANDON, CONTINUE, in_group};
use super::retirement::{LadderOutcome, Retirement, Told};
use super::rung::Rung;
use crate::lifecycle::{Instant, Reason};

#[tokio::test]
async fn a_scale_in_is_let_go_with_patience_and_ended_when_the_group_does_not() {
    let still = Ok(Reply::Seen(Seen::Ending));
    let cloud = Script::new([throttled(), no_action(), still, lost(), Ok(Reply::Done)]);
    let (outcome, host) = retire(&plan(), &cloud, Reason::ScaleIn, None).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    let expected = [
        CONTINUE,
        CONTINUE,
        Call::Look,
        CONTINUE,
        CONTINUE,
        Call::Terminate,
    ];
    assert_eq!(cloud.calls(), expected);
    let going: Vec<_> = host.stored.iter().filter(|at| at.is_going()).collect();
    assert_eq!(going[0].rung(), Rung::AwaitGroup);
}

#[tokio::test]
async fn a_scale_in_without_a_hook_of_ours_is_the_groups_affair() {
    let cloud = Script::new([Ok(Reply::Nothing)]);
    let (_, host) = retire(&plan(), &cloud, Reason::ScaleIn, None).await;
    assert_eq!(cloud.calls(), [CONTINUE, Call::Terminate]);
    let last = host.stored.last().expect("recorded");
    assert_eq!(last.calls.len(), 1, "what was not sent is not counted");
}

#[tokio::test]
async fn hooks_of_others_are_waited_for() {
    let cloud = Script::new([Ok(Reply::NotOurs)]);
    let (_, host) = retire(&plan(), &cloud, Reason::ScaleIn, None).await;
    assert_eq!(host.stored[0].rung(), Rung::AwaitGroup);
    assert!(
        host.stored[0].calls.is_empty(),
        "what was not sent is not counted"
    );
}

#[tokio::test]
async fn a_machine_that_the_group_chose_does_not_change_its_capacity() {
    let (plan, placement, cloud) = (plan(), in_group(), Script::default());
    let retirement = Retirement {
        told: Told {
            notices: vec![notice(Reason::ScaleIn)],
            ..Told::default()
        },
        ..retirement(&plan, &placement, &cloud, Reason::MaxJobs)
    };
    climb(&retirement, None, &mut FakeHost::default()).await;
    assert_eq!(cloud.calls(), [CONTINUE, Call::Terminate]);
}

#[tokio::test]
async fn a_machine_that_is_pooled_is_neither_ended_nor_told_so() {
    let mut plan = plan();
    plan.before_retire = vec![words(&["deregister"])];
    let placement = in_group();
    for answers in [
        vec![],
        vec![throttled(), no_action(), Ok(Reply::Seen(Seen::Pooled))],
        vec![denied()],
        vec![Ok(Reply::Nothing)],
        (0..10_000).map(|_| lost()).collect(),
    ] {
        let cloud = Script::new(answers);
        let mut host = FakeHost::default();
        let retirement = Retirement {
            told: Told {
                pooled: true,
                ends: Some(Instant(uptime())),
                ..Told::default()
            },
            ..retirement(&plan, &placement, &cloud, Reason::ScaleIn)
        };
        let outcome = climb(&retirement, None, &mut host).await;
        assert_eq!(outcome, LadderOutcome::Pooled);
        assert!(host.forgot && host.commands.is_empty() && host.dead_man.is_empty());
        let calls = cloud.calls();
        assert!(
            calls
                .iter()
                .all(|call| [CONTINUE, Call::Look].contains(call))
        );
        // Woken up and done one day, it retires like any other.
        let cloud = Script::default();
        let found = host.stored.last().cloned();
        retire(&plan, &cloud, Reason::MaxJobs, found).await;
        assert_eq!(cloud.calls(), [DETACH, Call::Terminate]);
    }
}

#[tokio::test]
async fn a_failed_boot_is_abandoned_while_its_launch_hook_waits() {
    let (plan, placement) = (plan(), in_group());
    for (answer, then) in [
        (Ok(Reply::Done), vec![CONTINUE, Call::Terminate]),
        (denied(), vec![IN_GROUP, CONTINUE, Call::Terminate]),
    ] {
        let cloud = Script::new([throttled(), answer]);
        let retirement = Retirement {
            told: Told {
                launch_pending: true,
                ..Told::default()
            },
            ..retirement(&plan, &placement, &cloud, Reason::BootTimeout)
        };
        climb(&retirement, None, &mut FakeHost::default()).await;
        assert_eq!(cloud.calls()[..2], [ABANDON, ABANDON]);
        assert_eq!(cloud.calls()[2..], then);
    }
}

fn notice(reason: Reason) -> Notice {
    Notice {
        reason,
        what: "terminate".to_owned(),
        id: None,
        at: None,
        acted_on: true,
    }
}

/// Taken away in so many seconds, with a minute for each hook.
async fn taken_away(
    seconds: u64,
    cloud: &Script,
    reason: Reason,
    mode: Mode,
) -> (LadderOutcome, FakeHost) {
    let mut plan = plan();
    plan.mode = mode;
    plan.before_retire = vec![words(&["upload"])];
    let (placement, mut host) = (in_group(), FakeHost::default());
    let retirement = Retirement {
        told: Told {
            ends: Some(Instant(uptime() + Duration::from_secs(seconds))),
            ..Told::default()
        },
        ..retirement(&plan, &placement, cloud, reason)
    };
    let outcome = climb(&retirement, None, &mut host).await;
    (outcome, host)
}

#[tokio::test]
async fn a_machine_that_is_taken_away_leaves_its_group_before_its_hooks_run() {
    let cloud = Script::default();
    let (_, host) = taken_away(15, &cloud, Reason::Spot, Mode::Auto).await;
    let replace = Call::Detach { decrement: false };
    assert_eq!(cloud.calls(), [replace, Call::Terminate]);
    let (given, at) = host.ran[0];
    assert_eq!(at, Some(Rung::Terminate), "detached before");
    assert!(
        given <= Duration::from_secs(10) && given > Duration::ZERO,
        "{given:?}"
    );
}

#[tokio::test]
async fn a_machine_that_is_taken_away_in_hours_is_in_no_hurry() {
    let cloud = Script::default();
    let (_, host) = taken_away(40 * 3600, &cloud, Reason::Maintenance, Mode::Auto).await;
    assert_eq!(
        host.ran[0],
        (Duration::from_secs(60), None),
        "before all else"
    );
}

#[tokio::test]
async fn hooks_that_cannot_end_in_time_are_not_begun() {
    for seconds in [0, 3] {
        let cloud = Script::default();
        let (outcome, host) = taken_away(seconds, &cloud, Reason::Spot, Mode::Terminate).await;
        assert_eq!(outcome, LadderOutcome::PoweredOff);
        assert_eq!(host.commands, [words(&["off"])], "no hook");
        assert_eq!(
            cloud.calls()[0],
            Call::TerminateInGroup { decrement: false }
        );
    }
}

#[tokio::test]
async fn no_answer_is_waited_for_longer_than_half_of_what_is_left() {
    let cloud = Script {
        hangs: AtomicBool::new(true),
        ..Script::default()
    };
    let (outcome, _) = taken_away(3, &cloud, Reason::Spot, Mode::Auto).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    let calls = cloud.calls();
    assert_eq!(calls[0], Call::Detach { decrement: false });
    assert_eq!(calls.last(), Some(&Call::Terminate));
}

#[tokio::test]
async fn an_idle_machine_that_is_taken_away_does_not_return_to_service() {
    let cloud = Script::new([at_minimum(), at_minimum()]);
    let (outcome, _) = taken_away(100, &cloud, Reason::Idle, Mode::Auto).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    let replace = Call::Detach { decrement: false };
    assert_eq!(cloud.calls(), [DETACH, DETACH, replace, Call::Terminate]);
}
