//! What the lifecycle must know of the configuration and the preset.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::{DetectorKind, Ledger};
use super::limits::{Limit, Limits};
use super::steps::Steps;

/// How this kind of agent stops taking jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrainMethod {
    /// A signal or command after which it finishes its jobs and exits.
    Signal,
    /// Its signal cancels a job, so it is sent when none runs.
    WaitIdle,
    /// One job a process: it exits by itself after its job.
    SingleJob,
}

/// How often level detectors are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    pub while_idle: Duration,
    pub while_busy: Duration,
}

/// When an idle agent certainly takes no job: shortly after it asked for one and got none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// How long after [`Observation::SafeWindow`](super::Observation::SafeWindow) that holds.
    pub lasts: Duration,
    /// How long an idle agent is waited for to show one, before its drain step is sent anyway.
    pub patience: Duration,
}

/// The configuration and the preset, as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Agent processes on this machine, at least 1.
    pub agents: u32,
    /// Jobs that one agent process runs at a time, at least 1.
    pub slots: u32,
    /// The slots were told or read off the agent's arguments, not assumed.
    pub slots_known: bool,
    #[serde(skip, default = "Limits::none")]
    pub limits: Limits,
    pub detectors: Vec<DetectorKind>,
    /// The preset can see when the agent is ready; otherwise it is once started.
    pub sees_ready: bool,
    pub drain: DrainMethod,
    /// `drain` is safe only for an agent process that was seen armed for it
    /// ([`Observation::DrainArmed`](super::Observation::DrainArmed)); any other is drained by this
    /// method, and its step is [`Stop::Otherwise`](super::Stop::Otherwise).
    pub needs_line: Option<DrainMethod>,
    /// The drain step of an idle agent is sent only in such a moment.
    pub window: Option<Window>,
    /// Before an idle agent gets its drain step, the CI server is asked to give it no more jobs.
    pub cordon: bool,
    /// The starts and ends seen are those of a job's steps: the job is over when none was seen
    /// for so long.
    pub linger: Option<Duration>,
    /// What the cancel step is given before the kill; `None` when there is no cancel step.
    pub cancel: Option<Duration>,
    /// Exit statuses besides 0 that are a planned end.
    pub exit_ok: Vec<i32>,
    /// There is no machine to end: an agent that ends by itself ends the supervisor.
    pub pass_through: bool,
    /// `None`: nobody needs to know, so nobody wakes up.
    pub sampling: Option<Sampling>,
}

impl Settings {
    /// The jobs of a process that has just been started.
    pub(super) fn fresh_ledger(&self) -> Ledger {
        Ledger::new(&self.detectors, self.told_slots())
    }

    /// The same for an agent that shows the steps of its jobs.
    pub(super) fn fresh_steps(&self) -> Option<Steps> {
        Some(Steps::new(self.linger?, self.detectors.len()))
    }

    pub(super) fn told_slots(&self) -> Option<u32> {
        self.slots_known.then_some(self.slots)
    }
}

impl Limits {
    pub(super) fn none() -> Limits {
        Limits {
            max_jobs: Limit::Never,
            idle_timeout: Limit::Never,
            max_lifetime: Limit::Never,
            boot_timeout: Limit::Never,
            drain_timeout: Limit::Never,
        }
    }
}
