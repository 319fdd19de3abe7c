//! The ladder against a cloud that answers as it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::api::{ApiError, Call, Cloud, Reply, Seen};
use super::deadman::uptime;
use super::identity::{GroupName, Identity, InstanceId, Membership, Placement};
use super::ladder::{climb, detach_early};
use super::mode::Mode;
use super::notices::Notice;
use super::position::Position;
use super::position_tests::{ABANDON, CONTINUE};
use super::poweroff::Runner;
use super::record::Work;
use super::retirement::{Host, LadderOutcome, Plan, Retirement, Timing};
use super::rung::Rung;
use crate::lifecycle::{Exit, Instant, Reason};

/// Answers in this order, then `Done` to everything.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Reply, ApiError>>>,
    calls: Mutex<Vec<Call>>,
    /// The first call is never answered.
    hangs: AtomicBool,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<Reply, ApiError>>) -> Script {
        Script {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Script::default()
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("unpoisoned").clone()
    }
}

impl Cloud for Script {
    async fn send(&self, _: &Identity, call: Call) -> Result<Reply, ApiError> {
        self.calls.lock().expect("unpoisoned").push(call);
        if self.hangs.swap(false, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let answer = self.answers.lock().expect("unpoisoned").pop_front();
        answer.unwrap_or(Ok(Reply::Done))
    }
}

#[derive(Default)]
struct FakeHost {
    commands: Vec<Vec<String>>,
    /// What each of them got, and the rung that had been recorded when it ran.
    ran: Vec<(Duration, Option<Rung>)>,
    /// Programs that fail.
    failing: Vec<&'static str>,
    stored: Vec<Position>,
    forgot: bool,
    dead_man: Vec<Duration>,
}

impl Runner for FakeHost {
    async fn run(&mut self, argv: Vec<String>, timeout: Duration) -> Option<Exit> {
        self.ran
            .push((timeout, self.stored.last().map(Position::rung)));
        let fails = self.failing.contains(&argv[0].as_str());
        self.commands.push(argv);
        Some(Exit::Code(i32::from(fails)))
    }
}

impl Host for FakeHost {
    fn record(&mut self, position: &Position) {
        self.stored.push(position.clone());
    }

    fn forget(&mut self) {
        self.forgot = true;
    }

    async fn rearm_dead_man(&mut self, after: Duration) {
        self.dead_man.push(after);
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn plan() -> Plan {
    let millis = Duration::from_millis;
    Plan {
        mode: Mode::Auto,
        before_retire: Vec::new(),
        hook_timeout: Duration::from_secs(60),
        poweroff_command: Some(words(&["off"])),
        dry_run: false,
        timing: Timing {
            rung_budget: millis(100),
            backoff: millis(1),
            backoff_cap: millis(5),
            look_delay: millis(1),
            end_patience: millis(1),
            replace_age: Duration::ZERO,
        },
    }
}

fn in_group() -> Placement {
    Placement::Ec2(Identity {
        instance_id: InstanceId::new("i-1"),
        region: "eu-west-1".to_owned(),
        availability_zone: None,
        membership: Membership::In(GroupName::new("ci")),
    })
}

fn retirement<'a>(
    plan: &'a Plan,
    placement: &'a Placement,
    cloud: &'a Script,
    reason: Reason,
) -> Retirement<'a, Script> {
    Retirement {
        plan,
        placement,
        cloud: Some(cloud),
        reason,
        work: Work::default(),
        launch_pending: false,
        pooled: false,
        ends: None,
        notices: &[],
    }
}

async fn retire(
    plan: &Plan,
    cloud: &Script,
    reason: Reason,
    found: Option<Position>,
) -> (LadderOutcome, FakeHost) {
    let mut host = FakeHost::default();
    let placement = in_group();
    let retirement = retirement(plan, &placement, cloud, reason);
    let outcome = climb(&retirement, found, &mut host).await;
    (outcome, host)
}

fn failed(status: u16, code: &str, message: &str) -> Result<Reply, ApiError> {
    Err(ApiError::Service {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    })
}

fn throttled() -> Result<Reply, ApiError> {
    failed(400, "Throttling", "Rate exceeded")
}

fn denied() -> Result<Reply, ApiError> {
    failed(403, "AccessDenied", "not authorized")
}

fn at_minimum() -> Result<Reply, ApiError> {
    failed(
        400,
        "ValidationError",
        "Currently, desiredSize equals minSize (1).",
    )
}

fn lost() -> Result<Reply, ApiError> {
    Err(ApiError::Unanswered("connection reset".to_owned()))
}

const DETACH: Call = Call::Detach { decrement: true };
const IN_GROUP: Call = Call::TerminateInGroup { decrement: true };

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

fn no_action() -> Result<Reply, ApiError> {
    failed(
        400,
        "ValidationError",
        "No active Lifecycle Action found with instance ID i-1",
    )
}

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
async fn a_machine_that_the_group_chose_does_not_change_its_capacity() {
    let (plan, placement, cloud) = (plan(), in_group(), Script::default());
    let chosen = [notice(Reason::ScaleIn)];
    let retirement = Retirement {
        notices: &chosen,
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
            pooled: true,
            ends: Some(Instant(uptime())),
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
            launch_pending: true,
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
        ends: Some(Instant(uptime() + Duration::from_secs(seconds))),
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
