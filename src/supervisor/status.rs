//! The supervisor's view of itself, as `clockout status` shows it.

use super::Supervisor;
use crate::clock;
use crate::control::StatusReport;
use crate::control::{AgentStatus, InstanceStatus, JobStatus, LimitStatus, Next, State};
use crate::instance::Placement;
use crate::lifecycle::{Instant, Lifecycle, Phase, Stage};

/// The state's name.
pub fn state(life: &Lifecycle) -> State {
    match life.phase() {
        Phase::Working if life.running() > 0 => State::Busy,
        Phase::Working if life.idle_since().is_some() => State::Idle,
        Phase::Working => State::Starting,
        Phase::Parked { .. } => State::Parked,
        Phase::Draining { .. } => State::Draining,
        Phase::Sweeping { .. } | Phase::Retiring { .. } => State::Retiring,
        Phase::Gone { .. } => State::Gone,
    }
}

impl Supervisor {
    pub(super) fn status_report(&self) -> StatusReport {
        let now = clock::now();
        let life = &self.life;
        let tally = life.tally();
        let (state, since) = self.state_since;
        let placement = self.placement.borrow();
        StatusReport {
            state,
            since_seconds: now.since(since).as_secs(),
            reason: life.reason(),
            why: why(life),
            next: next(life, now),
            agents: self.agents(),
            jobs: JobStatus {
                started: life.started(),
                running: life.running(),
                passed: tally.passed,
                failed: tally.failed,
                canceled: tally.canceled,
                lost: tally.lost,
                unknown: tally.unknown,
            },
            limits: LimitStatus::from(life.limits()),
            instance: placement
                .as_ref()
                .and_then(Placement::identity)
                .map(|identity| InstanceStatus {
                    id: identity.instance_id.to_string(),
                    group: identity.group().map(ToString::to_string),
                }),
            notices: self.notices.status(now),
            retire: self.config.retire.mode.to_string(),
            uptime_seconds: now.since(life.born()).as_secs(),
        }
    }

    fn agents(&self) -> Vec<AgentStatus> {
        let agents = self.life.agents();
        agents
            .map(|(index, stage, jobs_running)| AgentStatus {
                index: index.0,
                pid: self
                    .running
                    .get(&index)
                    .map(|agent| agent.process.pid().as_raw()),
                state: name(stage).to_owned(),
                jobs_running,
            })
            .collect()
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Ready => "ready",
        Stage::AwaitIdle => "waiting for its job to end, then drained",
        Stage::AwaitExit => "draining",
        Stage::Cancelling { .. } => "cancelling its jobs",
        Stage::Terminating { .. } => "ending",
        Stage::Killing { .. } => "being killed",
        Stage::Backoff { .. } => "crashed, waiting to be started again",
        Stage::Ended => "ended",
    }
}

fn why(life: &Lifecycle) -> String {
    let running = life.running();
    let jobs = if running == 1 {
        "1 job runs".to_owned()
    } else {
        format!("{running} jobs run")
    };
    match life.phase() {
        Phase::Parked { pooled: true } => "the machine is in its group's warm pool".to_owned(),
        Phase::Parked { pooled: false } => "its group has not said what it wants yet".to_owned(),
        Phase::Working if running > 0 => jobs,
        Phase::Working if life.idle_since().is_some() => "no agent has a job".to_owned(),
        Phase::Working => "no agent has been ready yet".to_owned(),
        Phase::Draining { reason, .. } if running > 0 => format!("{reason}; {jobs} to its end"),
        Phase::Draining { reason, .. } => format!("{reason}; the agents are ending"),
        Phase::Sweeping { reason, .. } => format!("{reason}; no agent is left"),
        Phase::Retiring { reason, .. } => format!("{reason}; the machine is being ended"),
        Phase::Gone { reason } => format!("{reason}; the machine has been ended"),
    }
}

fn next(life: &Lifecycle, now: Instant) -> Option<Next> {
    let at = |what: &str, when: Option<Instant>| {
        let what = what.to_owned();
        Some((when?, what))
    };
    let (when, what) = match life.phase() {
        Phase::Working => {
            let idle = at("drain for idle", life.idle_deadline());
            let lifetime = at("drain for max-lifetime", life.lifetime_deadline());
            let boot = at("drain for boot-timeout", life.boot_deadline());
            [idle, lifetime, boot]
                .into_iter()
                .flatten()
                .min_by_key(|(when, _)| *when)?
        }
        Phase::Draining { deadline, .. } => at("cancel the jobs that still run", deadline)?,
        Phase::Parked { .. }
        | Phase::Sweeping { .. }
        | Phase::Retiring { .. }
        | Phase::Gone { .. } => return None,
    };
    Some(Next {
        what,
        in_seconds: when.since(now).as_secs(),
    })
}
