//! What the lifecycle has to say, as log lines: one an event, in the vocabulary of the README.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::lifecycle::{Instant, Report};

/// Writes one report to the log. Deadlines become seconds from `now`.
pub fn log(report: &Report, now: Instant) {
    let left = |deadline: &Option<Instant>| deadline.map(|at| seconds(at.since(now)));
    match report {
        Report::AgentReady(agent) => info!(%agent, "agent.ready"),
        Report::AgentExited {
            agent,
            exit,
            crashed: true,
        } => warn!(%agent, %exit, "agent.exited"),
        Report::AgentExited { agent, exit, .. } => info!(%agent, %exit, "agent.exited"),
        Report::JobStarted { agent, id } => {
            info!(%agent, job = id.as_deref(), "job.started");
        }
        Report::JobFinished { agent, id, outcome } => {
            let (job, outcome) = (id.as_deref(), outcome.as_str());
            info!(%agent, job, outcome, "job.finished");
        }
        Report::RaceLost { agent } => warn!(
            %agent,
            "job.started too late: this agent took a job before it could hear of its drain"
        ),
        Report::CordonFailed(agent) => warn!(
            %agent,
            "drain.uncordoned: the CI server may give this agent a job that its drain ends"
        ),
        Report::CordonIsFinal(agent) => warn!(
            %agent,
            "drain.cordoned: the CI server gives this agent no more jobs, so the machine is replaced"
        ),
        Report::NotSingle(agent) => warn!(
            %agent,
            "agent.not_single: it was told to run one job and stayed after it"
        ),
        Report::LimitReached(reason) => info!(%reason, "limit.reached"),
        Report::DrainBegan { reason, deadline } => {
            info!(%reason, deadline_in = left(deadline), "drain.began");
        }
        Report::DrainTightened { reason, deadline } => {
            info!(%reason, deadline_in = left(deadline), "drain.tightened");
        }
        Report::LeavesAfterJob { reason, deadline } => {
            info!(%reason, deadline_in = left(deadline), "drain.after_job");
        }
        Report::CancelledJobs { running } => warn!(running, "drain.cancelled"),
        Report::KilledAgents => warn!("drain.killed"),
        Report::Unkillable(agent) => error!(
            %agent,
            "agent.unkillable: it does not die of SIGKILL; going on without it"
        ),
        Report::ReturnedToService { idle_deadline } => info!(
            next_idle_in = left(idle_deadline),
            "retire.refused: the group is at its minimum, this machine goes back to work"
        ),
        Report::Woken => info!("instance.woken"),
        Report::WokeUnasked => warn!(
            "instance.woken: it is not known what the group wants of this machine, so it works"
        ),
        Report::Pooled => info!("instance.pooled: the machine waits in a warm pool"),
    }
}

/// Whole milliseconds, as seconds.
pub fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
