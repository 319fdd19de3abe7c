//! The ladder as it is climbed: retries, refusals, crashes, hooks.

use std::time::Duration;

use super::api::{Call, Reply, Seen};
use super::deadman::uptime;
use super::identity::Placement;
use super::ladder::{climb, detach_early};
use super::ladder_testing::{
    DETACH, FakeHost, IN_GROUP, Script, at_minimum, denied, lost, plan, retire, retirement,
    throttled, words,
};
use super::mode::Mode;
use super::position::Position;
use super::position_tests::{CONTINUE, in_group};
use super::retirement::LadderOutcome;
use super::rung::Rung;
use crate::lifecycle::Reason;

#[tokio::test]
async fn the_plain_way_is_detach_terminate_and_power_off_when_it_stays() {
    let cloud = Script::default();
    let (outcome, host) = retire(&plan(), &cloud, Reason::MaxJobs, None).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    assert_eq!(cloud.calls(), [DETACH, Call::Terminate]);
    assert_eq!(host.commands, [words(&["off"])]);
    assert_eq!(host.dead_man.len(), 1);
    let rungs: Vec<_> = host.stored.iter().map(Position::rung).collect();
    assert_eq!(
        rungs,
        [
            Rung::Detach,
            Rung::Terminate,
            Rung::AwaitEnd,
            Rung::PowerOff
        ]
    );
    assert!(host.stored[2].is_going());
}

#[tokio::test]
async fn throttling_is_retried_on_the_same_rung() {
    let cloud = Script::new([throttled(), throttled(), Ok(Reply::Done), throttled()]);
    retire(&plan(), &cloud, Reason::MaxJobs, None).await;
    let expected = [DETACH, DETACH, DETACH, Call::Terminate, Call::Terminate];
    assert_eq!(cloud.calls(), expected);
}

#[tokio::test]
async fn a_rung_that_is_throttled_for_ever_gives_way_to_the_next() {
    let cloud = Script::new((0..10_000).map(|_| throttled()));
    let (outcome, _) = retire(&plan(), &cloud, Reason::MaxJobs, None).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    let mut order = cloud.calls();
    order.dedup();
    assert_eq!(order, [DETACH, IN_GROUP, Call::Terminate]);
}

#[tokio::test]
async fn what_is_denied_gives_way_at_once() {
    let cloud = Script::new([denied(), denied(), denied()]);
    let (outcome, host) = retire(&plan(), &cloud, Reason::MaxJobs, None).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    assert_eq!(cloud.calls(), [DETACH, IN_GROUP, Call::Terminate]);
    let last = host.stored.last().expect("recorded");
    assert_eq!(last.calls.len(), 3);
    assert!(
        last.calls
            .iter()
            .all(|call| call.last_error.as_deref() == Some("AccessDenied"))
    );
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_before_the_group_is_decremented_again() {
    let seen = |seen| Ok(Reply::Seen(seen));
    let cloud = Script::new([lost(), seen(Seen::StillIn), lost(), seen(Seen::Leaving)]);
    retire(&plan(), &cloud, Reason::MaxJobs, None).await;
    let expected = [DETACH, Call::Look, DETACH, Call::Look, Call::Terminate];
    assert_eq!(cloud.calls(), expected);
}

#[tokio::test]
async fn a_killed_supervisor_goes_on_from_what_was_stored_before_sending() {
    let (_, host) = retire(&plan(), &Script::default(), Reason::MaxJobs, None).await;
    let sent = host.stored[0].clone();
    let cloud = Script::new([Ok(Reply::Seen(Seen::Leaving))]);
    let (outcome, _) = retire(&plan(), &cloud, Reason::MaxJobs, Some(sent)).await;
    assert_eq!(outcome, LadderOutcome::PoweredOff);
    assert_eq!(cloud.calls(), [Call::Look, Call::Terminate]);
}

#[tokio::test]
async fn idle_instance_at_minimum_returns_to_service() {
    let cloud = Script::new([at_minimum()]);
    let (outcome, host) = retire(&plan(), &cloud, Reason::Idle, None).await;
    assert_eq!(outcome, LadderOutcome::ReturnToService);
    assert_eq!(cloud.calls(), [DETACH]);
    assert!(host.forgot && host.commands.is_empty());
}

#[tokio::test]
async fn a_broken_instance_at_minimum_is_replaced_once_it_is_old_enough() {
    let mut plan = plan();
    plan.timing.replace_age = uptime() + Duration::from_millis(50);
    let cloud = Script::new([at_minimum(), at_minimum()]);
    let (_, host) = retire(&plan, &cloud, Reason::CrashLoop, None).await;
    assert!(uptime() >= plan.timing.replace_age);
    let replace = Call::Detach { decrement: false };
    assert_eq!(cloud.calls(), [DETACH, DETACH, replace, Call::Terminate]);
    assert_eq!(host.dead_man.len(), 2);
}

#[tokio::test]
async fn hooks_run_first_and_their_failure_stops_nothing() {
    let mut plan = plan();
    plan.before_retire = vec![words(&["deregister", "me"]), words(&["sync"])];
    let cloud = Script::default();
    let mut host = FakeHost {
        failing: vec!["deregister"],
        ..FakeHost::default()
    };
    let placement = in_group();
    let retirement = retirement(&plan, &placement, &cloud, Reason::MaxJobs);
    climb(&retirement, None, &mut host).await;
    assert_eq!(
        host.commands,
        [
            words(&["deregister", "me"]),
            words(&["sync"]),
            words(&["off"])
        ]
    );
    // After a crash each hook that has run stays run.
    let after_first = host.stored[0].clone();
    let mut host = FakeHost::default();
    climb(&retirement, Some(after_first), &mut host).await;
    assert_eq!(host.commands, [words(&["sync"]), words(&["off"])]);
}

#[tokio::test]
async fn a_rehearsal_changes_nothing() {
    let mut plan = plan();
    plan.dry_run = true;
    plan.before_retire = vec![words(&["deregister"])];
    let cloud = Script::default();
    for mode in Mode::ALL {
        plan.mode = mode;
        let (outcome, host) = retire(&plan, &cloud, Reason::MaxJobs, None).await;
        assert_eq!(outcome, LadderOutcome::Exit, "{mode}");
        assert!(host.commands.is_empty() && host.stored.is_empty() && host.dead_man.is_empty());
    }
    assert!(cloud.calls().is_empty());
}

#[tokio::test]
async fn nothing_is_called_where_there_is_nothing_to_end() {
    let cloud = Script::default();
    let (plan, mut host) = (plan(), FakeHost::default());
    let retirement = retirement(&plan, &Placement::NotOnEc2, &cloud, Reason::Idle);
    assert_eq!(
        climb(&retirement, None, &mut host).await,
        LadderOutcome::Exit
    );
    assert!(cloud.calls().is_empty() && host.commands.is_empty() && host.dead_man.is_empty());
}

#[tokio::test]
async fn a_machine_that_does_not_power_off_is_stuck() {
    let cloud = Script::new([denied(), denied(), denied()]);
    let mut host = FakeHost {
        failing: vec!["off"],
        ..FakeHost::default()
    };
    let (plan, placement) = (plan(), in_group());
    let retirement = retirement(&plan, &placement, &cloud, Reason::MaxJobs);
    assert_eq!(
        climb(&retirement, None, &mut host).await,
        LadderOutcome::Stuck
    );
}

#[tokio::test]
async fn detaching_early_leaves_the_rest_to_the_climb() {
    let (plan, placement) = (plan(), in_group());
    for (answer, then) in [
        (Ok(Reply::Done), vec![Call::Terminate]),
        (at_minimum(), vec![DETACH, Call::Terminate]),
        (denied(), vec![IN_GROUP, CONTINUE, Call::Terminate]),
    ] {
        let cloud = Script::new([answer]);
        let mut host = FakeHost::default();
        let retirement = retirement(&plan, &placement, &cloud, Reason::MaxJobs);
        detach_early(&retirement, None, &mut host).await;
        assert_eq!(cloud.calls(), [DETACH]);
        let found = host.stored.last().cloned();
        climb(&retirement, found, &mut host).await;
        assert_eq!(cloud.calls()[1..], then);
    }
}
