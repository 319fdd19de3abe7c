//! One instance. Its end is decided by the real [`Lifecycle`].

use std::time::Duration;

use super::super::plan::{Listed, Member, Stage};
use super::nature::GroupNature;
use crate::lifecycle::{DetectorKind, DrainMethod, Instant, Lifecycle, Limit, Limits, Settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Works,
    /// Its agent is never ready; its supervisor notices.
    Mute,
    /// It never gets as far as a supervisor, and is listed as booting for ever.
    Stuck,
    /// The same, listed as in service.
    StuckUp,
}

#[derive(Debug)]
pub struct Instance {
    pub group: usize,
    pub launched: Instant,
    /// It is a member of its group.
    pub attached: bool,
    pub up: bool,
    pub fate: Fate,
    pub life: Option<Lifecycle>,
    /// Which deadline of the supervisor the world will wake it for.
    pub wakes: Option<Instant>,
    /// The agent's process is there, has been told to end, is connected to the CI server.
    pub runs: bool,
    pub told: bool,
    pub connected: bool,
    pub was_connected: bool,
    pub jobs: Vec<usize>,
    pub used: bool,
}

impl Instance {
    pub fn new(now: Instant, group: usize, attached: bool, fate: Fate) -> Instance {
        Instance {
            group,
            launched: now,
            attached,
            up: false,
            fate,
            life: None,
            wakes: None,
            runs: false,
            told: false,
            connected: false,
            was_connected: false,
            jobs: Vec::new(),
            used: false,
        }
    }

    pub fn listed(&self, number: u32) -> Listed {
        let stage = if self.up { Stage::Up } else { Stage::Booting };
        Listed {
            member: member(number),
            stage,
        }
    }

    /// Its agent has ended; perhaps there will be another.
    pub fn is_between_agents(&self) -> bool {
        self.was_connected && (self.told || !self.connected)
    }

    /// It boots for longer than others may have taught the planner to wait.
    pub fn is_slow(&self, now: Instant, least: Duration) -> bool {
        !self.was_connected && now.since(self.launched) >= least
    }

    /// Slots that take a job now.
    pub fn free(&self, slots: u32) -> u32 {
        let free = slots.saturating_sub(self.jobs.len() as u32);
        if self.connected && !self.told {
            free
        } else {
            0
        }
    }
}

pub fn member(number: u32) -> Member {
    Member::new(format!("i-{number:017x}"))
}

/// The supervisor's settings for an agent with a drain signal, as Buildkite's.
pub fn supervision(group: &GroupNature) -> Settings {
    Settings {
        agents: 1,
        slots: group.slots.get(),
        slots_known: true,
        limits: Limits {
            max_jobs: group.max_jobs.map_or(Limit::Never, Limit::At),
            idle_timeout: Limit::At(group.idle_timeout),
            max_lifetime: Limit::Never,
            boot_timeout: Limit::At(Duration::from_secs(300)),
            drain_timeout: Limit::Never,
        },
        detectors: vec![DetectorKind::Edges],
        sees_ready: true,
        drain: DrainMethod::Signal,
        needs_line: None,
        window: None,
        cordon: false,
        linger: None,
        cancel: Some(Duration::from_secs(30)),
        exit_ok: Vec::new(),
        pass_through: false,
        sampling: None,
    }
}
