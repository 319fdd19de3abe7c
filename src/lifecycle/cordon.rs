//! Keeping new jobs away from an agent before it is drained.
//!
//! The CI server is asked to give it no more. Some servers refuse while a job runs, so that is
//! tried again; and what was handed out before the server heard of it takes a moment to show.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Lifecycle;
use super::agents::Stage;
use super::event::{Action, Report};
use super::limits::Instant;
use super::words::AgentIndex;

/// Longer than any command of a preset may take; no answer until then is a failure.
const PATIENCE: Duration = Duration::from_secs(70);
const AGAIN: Duration = Duration::from_secs(10);
/// A job that was handed out before is seen by then.
const SETTLE: Duration = Duration::from_secs(1);
/// Failures of an agent without a job, which no running job explains.
const FAILURES: u8 = 3;

/// How far one agent's cordon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cordon {
    step: Step,
    failures: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Step {
    /// Nobody has asked for it.
    #[default]
    Open,
    Asked {
        until: Instant,
        /// A job ended since: that it ran may be why a refusal is on its way.
        job_ended: bool,
    },
    Again {
        at: Instant,
    },
    Settling {
        until: Instant,
    },
    /// Nothing more is done about it: it is cordoned, or cannot be.
    Closed,
}

impl Cordon {
    pub fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Asked { until: at, .. } | Step::Again { at } | Step::Settling { until: at } => {
                Some(at)
            }
            Step::Open | Step::Closed => None,
        }
    }

    /// The drain step need not wait for it.
    pub fn releases(&self) -> bool {
        matches!(self.step, Step::Open | Step::Closed)
    }

    /// A stored one waits for nothing further away than its step ever does.
    pub fn fits(&self, now: Instant) -> bool {
        let within = |at: Instant, wait| at <= now.after(wait);
        match self.step {
            Step::Asked { until, .. } => within(until, PATIENCE),
            Step::Again { at } => within(at, AGAIN),
            Step::Settling { until } => within(until, SETTLE),
            Step::Open | Step::Closed => true,
        }
    }
}

impl Lifecycle {
    /// Asks for the cordon, if there is one and it has not been asked for.
    pub(super) fn begin_cordon(&mut self, at: usize) {
        if self.settings.cordon && self.agents[at].hold.cordon.step == Step::Open {
            self.ask_cordon(at);
        }
    }

    fn ask_cordon(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        agent.hold.cordon.step = Step::Asked {
            until: self.now.after(PATIENCE),
            job_ended: false,
        };
        let action = Action::Cordon(agent.index);
        self.act(action);
    }

    /// The supervisor that should have asked has died.
    pub(super) fn ask_cordons_again(&mut self) {
        for at in 0..self.agents.len() {
            let agent = &self.agents[at];
            let asked = matches!(agent.hold.cordon.step, Step::Asked { .. });
            if agent.stage == Stage::AwaitIdle && asked {
                self.ask_cordon(at);
            }
        }
    }

    /// The answer to [`Action::Cordon`].
    pub(super) fn cordoned(&mut self, index: AgentIndex, done: bool) {
        let Some(at) = self.position(index) else {
            return;
        };
        let now = self.now;
        let agent = &mut self.agents[at];
        if agent.stage != Stage::AwaitIdle {
            return;
        }
        match agent.hold.cordon.step {
            // Also a late answer is an answer.
            Step::Asked { .. } | Step::Again { .. } if done => {
                let until = now.after(SETTLE);
                agent.hold.cordon.step = Step::Settling { until };
                agent.cordoned = true;
            }
            Step::Asked { .. } => self.cordon_failed(at),
            Step::Open | Step::Again { .. } | Step::Settling { .. } | Step::Closed => {}
        }
    }

    fn cordon_failed(&mut self, at: usize) {
        let again = self.now.after(AGAIN);
        let agent = &mut self.agents[at];
        let (index, idle) = (agent.index, agent.ledger.is_idle());
        let cordon = &mut agent.hold.cordon;
        if matches!(cordon.step, Step::Asked { job_ended, .. } if job_ended) {
            return self.ask_cordon(at);
        }
        cordon.step = Step::Again { at: again };
        if idle {
            cordon.failures += 1;
        }
        if cordon.failures >= FAILURES {
            cordon.step = Step::Closed;
            self.report(Report::CordonFailed(index));
            self.confirm_idle(at);
        }
    }

    /// A job of this agent has ended: what the server refused for its sake may be granted now.
    pub(super) fn cordon_after_job(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if agent.stage != Stage::AwaitIdle {
            return;
        }
        match &mut agent.hold.cordon.step {
            Step::Asked { job_ended, .. } => *job_ended = true,
            Step::Again { .. } => self.ask_cordon(at),
            Step::Open | Step::Settling { .. } | Step::Closed => {}
        }
    }

    pub(super) fn fire_cordon_timer(&mut self, at: usize) {
        let cordon = &mut self.agents[at].hold.cordon;
        if cordon.deadline().is_none_or(|due| due > self.now) {
            return;
        }
        match cordon.step {
            Step::Asked { .. } => self.cordon_failed(at),
            Step::Again { .. } => self.ask_cordon(at),
            Step::Settling { .. } => {
                cordon.step = Step::Closed;
                self.confirm_idle(at);
            }
            Step::Open | Step::Closed => {}
        }
    }
}
