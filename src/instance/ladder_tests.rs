//! The ladder against a cloud that answers as it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::api::{ApiError, Call, Cloud, Reply, Seen};
use super::deadman::uptime;
use super::identity::{GroupName, Identity, InstanceId, Membership, Placement};
use super::ladder::{Host, LadderOutcome, Plan, Retirement, Timing, climb, detach_early};
use super::mode::Mode;
use super::position::{Position, Rung};
use super::poweroff::Runner;
use super::record::Work;
use crate::lifecycle::{Exit, Reason};

/// Answers in this order, then `Done` to everything.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Reply, ApiError>>>,
    calls: Mutex<Vec<Call>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<Reply, ApiError>>) -> Script {
        Script {
            answers: Mutex::new(answers.into_iter().collect()),
            calls: Mutex::default(),
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("unpoisoned").clone()
    }
}

impl Cloud for Script {
    async fn send(&self, _: &Identity, call: Call) -> Result<Reply, ApiError> {
        self.calls.lock().expect("unpoisoned").push(call);
        let answer = self.answers.lock().expect("unpoisoned").pop_front();
        answer.unwrap_or(Ok(Reply::Done))
    }
}

#[derive(Default)]
struct FakeHost {
    commands: Vec<Vec<String>>,
    /// Programs that fail.
    failing: Vec<&'static str>,
    stored: Vec<Position>,
    forgot: bool,
    dead_man: Vec<Duration>,
}

impl Runner for FakeHost {
    async fn run(&mut self, argv: Vec<String>, _: Duration) -> Option<Exit> {
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

async fn retire(
    plan: &Plan,
    cloud: &Script,
    reason: Reason,
    found: Option<Position>,
) -> (LadderOutcome, FakeHost) {
    let mut host = FakeHost::default();
    let placement = in_group();
    let retirement = Retirement {
        plan,
        placement: &placement,
        cloud: Some(cloud),
        reason,
        work: Work::default(),
    };
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
    let retirement = Retirement {
        plan: &plan,
        placement: &placement,
        cloud: Some(&cloud),
        reason: Reason::MaxJobs,
        work: Work::default(),
    };
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
    let retirement = Retirement {
        plan: &plan,
        placement: &Placement::NotOnEc2,
        cloud: Some(&cloud),
        reason: Reason::Idle,
        work: Work::default(),
    };
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
    let retirement = Retirement {
        plan: &plan,
        placement: &placement,
        cloud: Some(&cloud),
        reason: Reason::MaxJobs,
        work: Work::default(),
    };
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
        (denied(), vec![IN_GROUP, Call::Terminate]),
    ] {
        let cloud = Script::new([answer]);
        let mut host = FakeHost::default();
        let retirement = Retirement {
            plan: &plan,
            placement: &placement,
            cloud: Some(&cloud),
            reason: Reason::MaxJobs,
            work: Work::default(),
        };
        detach_early(&retirement, None, &mut host).await;
        assert_eq!(cloud.calls(), [DETACH]);
        let found = host.stored.last().cloned();
        climb(&retirement, found, &mut host).await;
        assert_eq!(cloud.calls()[1..], then);
    }
}
