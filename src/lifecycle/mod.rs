//! The supervisor's decisions, without I/O, clock or async: fed with events and the time, it
//! answers with actions.
//!
//! Its six promises are the rules of the README's "What it promises", each with a property test
//! in `properties.rs`; `table.rs` reads as the specification.
//!
//! - [`Lifecycle::handle`] takes one event and returns what to do, in order.
//! - [`Lifecycle::next_deadline`] says when to send [`Event::Tick`] if nothing else happens.
//! - The whole value can be stored: a supervisor that was killed goes on where it was
//!   ([`Lifecycle::resume`]).

mod after_job;
mod agents;
mod cordon;
mod drain;
mod event;
mod hold;
mod idle;
mod ledger;
mod limits;
mod park;
#[cfg(test)]
mod properties;
mod resume;
mod settings;
mod single;
mod steps;
#[cfg(test)]
mod table;
mod words;
mod work;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use after_job::Leaving;
use agents::Agent;
pub use agents::Stage;
pub use event::{Action, Event, Report, Stop, Sweep};
pub use ledger::DetectorKind;
pub use limits::{Instant, Limit, Limits};
pub use settings::{DrainMethod, Sampling, Settings, Window};
pub use words::{AgentIndex, DetectorIndex, Exit, Observation, Outcome, Reason};

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// No agent runs: what the group wants of this machine is not known yet, or a warm pool owns
    /// it.
    Parked {
        pooled: bool,
    },
    Working,
    Draining {
        reason: Reason,
        since: Instant,
        deadline: Option<Instant>,
        urgency: Urgency,
    },
    /// No agent is left; what they left behind is being ended.
    Sweeping {
        reason: Reason,
        kill_at: Instant,
        rounds: u32,
    },
    Retiring {
        reason: Reason,
        since: Instant,
        /// A weightier reason that came while the group was being left.
        pending: Option<Reason>,
        /// Powering off was the last resort and has been asked for.
        powered_off: bool,
    },
    Gone {
        reason: Reason,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Urgency {
    Drain,
    Cancel,
    Kill,
}

/// What this machine has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub canceled: u32,
    pub lost: u32,
    pub unknown: u32,
    /// Time in which at least one job ran.
    pub busy: Duration,
    /// Time in which an agent was there and no job ran.
    pub idle: Duration,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lifecycle {
    settings: Settings,
    born: Instant,
    now: Instant,
    phase: Phase,
    agents: Vec<Agent>,
    tally: Tally,
    /// Jobs started by processes that have ended.
    started_before: u32,
    /// How many of them before the machine last began to work: they say nothing of its agents.
    woken_after: u32,
    /// Since when no job runs; `None` before the first agent is ready and while one runs.
    idle_since: Option<Instant>,
    /// How often the group's minimum has sent it back to service.
    returns: u32,
    /// The idle timeout is not looked at before this: level detectors are being asked again.
    idle_not_before: Option<Instant>,
    sample_at: Option<Instant>,
    /// A sample has been asked for and not been answered.
    sample_in_flight: bool,
    /// The event being handled is the end of a sample.
    #[serde(skip)]
    just_sampled: bool,
    /// SIGTERM, SIGINT and SIGQUIT since it began to work.
    interrupts: u32,
    /// It drains when a job ends.
    leaving: Option<Leaving>,
    /// What is known to be going to happen to the machine itself, whoever else wants it to leave.
    condemned: Option<Reason>,
    /// Jobs that ran, and that had ended, before the event being handled.
    #[serde(skip)]
    jobs_before: (u32, u32),
    /// The agent of the job whose start is being handled.
    #[serde(skip)]
    latest: Option<AgentIndex>,
    #[serde(skip)]
    actions: Vec<Action>,
}

impl Lifecycle {
    /// A new life, and what it does first. `settings.agents` and `settings.slots` are at least 1.
    pub fn new(settings: Settings, now: Instant) -> (Self, Vec<Action>) {
        let mut life = Lifecycle::parked(settings, now);
        life.begin_work();
        // Without an agent that may take a job it ends at once, not at the first event.
        life.settle();
        let actions = std::mem::take(&mut life.actions);
        (life, actions)
    }

    /// One event; what to do about it, in order.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.pass_time(now);
        self.latest = None;
        self.just_sampled = false;
        self.note_jobs();
        match event {
            Event::Spawned(agent) => self.spawned(agent),
            Event::SpawnFailed(agent, exit) | Event::Exited(agent, exit) => {
                self.exited(agent, exit);
            }
            Event::Observed(agent, by, seen) => self.observed(agent, by, seen),
            Event::Sampled => self.sampled(),
            Event::Cordoned(agent, done) => self.cordoned(agent, done),
            Event::Drain { reason, deadline } => self.drain(reason, deadline),
            Event::DrainAfterJob { reason, deadline } => self.drain_after_job(reason, deadline),
            Event::Wake => self.wake(),
            Event::Pooled => self.pooled(),
            Event::Interrupt => self.interrupt(),
            Event::Quit => self.quit(),
            Event::Limits(limits) => self.relimit(limits),
            Event::PassThrough => self.pass_through(),
            Event::TreeGone => self.tree_gone(),
            Event::AtMinimum => self.at_minimum(),
            Event::Retired => self.retired(),
            Event::Tick => {}
        }
        // A job that began in the same instant as a timeout was told first, so it wins.
        self.settle();
        self.fire_timers();
        self.settle();
        std::mem::take(&mut self.actions)
    }

    /// When to call [`Self::handle`] with [`Event::Tick`] if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Parked { .. } => self.wakes_at(),
            Phase::Working => {
                let limits = [
                    self.lifetime_deadline(),
                    self.boot_deadline(),
                    self.idle_check(),
                    self.leaving.and_then(|leaving| leaving.deadline),
                ];
                limits.into_iter().flatten().min()
            }
            Phase::Draining {
                deadline, urgency, ..
            } => deadline.filter(|_| urgency == Urgency::Drain),
            Phase::Sweeping { kill_at, .. } => Some(kill_at),
            Phase::Retiring {
                since, powered_off, ..
            } => Some(Self::retire_watch(since, powered_off)),
            Phase::Gone { .. } => return None,
        };
        let agents = self.agents.iter().filter_map(Agent::deadline).min();
        let sample = self.sample_at.filter(|_| self.wants_samples());
        [own, agents, sample].into_iter().flatten().min()
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<Reason> {
        match self.phase {
            Phase::Parked { .. } | Phase::Working => None,
            Phase::Draining { reason, .. }
            | Phase::Sweeping { reason, .. }
            | Phase::Retiring { reason, .. }
            | Phase::Gone { reason } => Some(reason),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Jobs that began on this machine.
    pub fn started(&self) -> u32 {
        let now = self.agents.iter().map(|agent| agent.ledger.started());
        now.fold(self.started_before, u32::saturating_add)
    }

    /// Jobs that run now.
    pub fn running(&self) -> u32 {
        let now = self.agents.iter().map(|agent| agent.ledger.running());
        now.fold(0, u32::saturating_add)
    }

    pub fn born(&self) -> Instant {
        self.born
    }

    pub fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// Each agent's index, stage and running jobs.
    pub fn agents(&self) -> impl Iterator<Item = (AgentIndex, Stage, u32)> {
        self.agents
            .iter()
            .map(|agent| (agent.index, agent.stage, agent.ledger.running()))
    }

    /// How the first agent that ended by itself ended.
    pub fn first_exit(&self) -> Option<Exit> {
        self.agents.iter().find_map(|agent| agent.last_exit)
    }

    /// When the idle timeout will be reached, if nothing happens.
    pub fn idle_deadline(&self) -> Option<Instant> {
        let timeout = self.settings.limits.idle_timeout.get()?;
        // Back-off after the group's minimum refused: doubled each time, up to an hour.
        let longest = timeout.max(Duration::from_secs(3600));
        let wait = timeout
            .saturating_mul(1 << self.returns.min(16))
            .min(longest);
        Some(self.idle_since?.after(wait))
    }

    pub fn lifetime_deadline(&self) -> Option<Instant> {
        let lifetime = self.settings.limits.max_lifetime.get()?;
        Some(self.born.after(lifetime))
    }

    fn pass_time(&mut self, now: Instant) {
        let passed = now.since(self.now);
        if self.running() > 0 {
            self.tally.busy = self.tally.busy.saturating_add(passed);
        } else if self.agents.iter().any(|agent| agent.stage.has_process()) {
            self.tally.idle = self.tally.idle.saturating_add(passed);
        }
        self.now = self.now.max(now);
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }

    fn position(&self, index: AgentIndex) -> Option<usize> {
        self.agents.iter().position(|agent| agent.index == index)
    }
}
