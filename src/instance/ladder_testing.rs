//! A cloud that answers as it is told to, and a machine to end.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::api::{Call, Cloud, Reply};
use super::identity::{Identity, Placement};
use super::ladder::climb;
use super::mode::Mode;
use super::position::Position;
use super::position_tests::in_group;
use super::poweroff::Runner;
use super::record::Work;
use super::retirement::{Host, LadderOutcome, Plan, Retirement, Timing, Told};
use super::rung::Rung;
use crate::aws::ApiError;
use crate::lifecycle::{Exit, Reason};

/// Answers in this order, then `Done` to everything.
#[derive(Default)]
pub struct Script {
    pub answers: Mutex<VecDeque<Result<Reply, ApiError>>>,
    pub calls: Mutex<Vec<Call>>,
    /// The first call is never answered.
    pub hangs: AtomicBool,
}

impl Script {
    pub fn new(answers: impl IntoIterator<Item = Result<Reply, ApiError>>) -> Script {
        Script {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Script::default()
        }
    }

    pub fn calls(&self) -> Vec<Call> {
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
pub struct FakeHost {
    pub commands: Vec<Vec<String>>,
    /// What each of them got, and the rung that had been recorded when it ran.
    pub ran: Vec<(Duration, Option<Rung>)>,
    /// Programs that fail.
    pub failing: Vec<&'static str>,
    pub stored: Vec<Position>,
    pub forgot: bool,
    pub dead_man: Vec<Duration>,
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

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub fn plan() -> Plan {
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

pub fn retirement<'a>(
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
        told: Told::default(),
    }
}

pub async fn retire(
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

pub fn failed(status: u16, code: &str, message: &str) -> Result<Reply, ApiError> {
    Err(ApiError::Service {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    })
}

pub fn throttled() -> Result<Reply, ApiError> {
    failed(400, "Throttling", "Rate exceeded")
}

pub fn denied() -> Result<Reply, ApiError> {
    failed(403, "AccessDenied", "not authorized")
}

pub fn at_minimum() -> Result<Reply, ApiError> {
    failed(
        400,
        "ValidationError",
        "Currently, desiredSize equals minSize (1).",
    )
}

pub fn lost() -> Result<Reply, ApiError> {
    Err(ApiError::Unanswered("connection reset".to_owned()))
}

pub const DETACH: Call = Call::Detach { decrement: true };
pub const IN_GROUP: Call = Call::TerminateInGroup { decrement: true };

pub fn no_action() -> Result<Reply, ApiError> {
    failed(
        400,
        "ValidationError",
        "No active Lifecycle Action found with instance ID i-1",
    )
}
