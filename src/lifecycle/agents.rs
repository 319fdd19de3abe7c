//! One agent process, from the lifecycle's point of view.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Stop;
use super::hold::Hold;
use super::ledger::{Change, Ledger};
use super::limits::Instant;
use super::settings::{DrainMethod, Settings};
use super::steps::Steps;
use super::words::{AgentIndex, DetectorIndex, Exit, Observation};

/// Crashes within [`CRASH_WINDOW`] that make a crash loop.
pub const CRASH_LOOP: usize = 5;
pub const CRASH_WINDOW: Duration = Duration::from_secs(60);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// One-job agents whose jobs nobody sees start no faster than this: one that ends at once would
/// otherwise take a whole core.
pub const RESPAWN_PACE: Duration = Duration::from_secs(1);
/// What an agent that was never ready gets between SIGTERM and SIGKILL.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(10);
pub const KILL_AGAIN: Duration = Duration::from_secs(1);
/// SIGKILLs before a process counts as unkillable (it waits in the kernel).
pub const KILL_TRIES: u32 = 10;
/// A supervisor that died between deciding and sending may have lost the drain signal. An agent
/// of its that shows no job for this long is told again: there is no job that it could harm.
pub const DRAIN_AGAIN: Duration = Duration::from_secs(30);

/// Where one agent process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Asked for or running, but not seen ready.
    Starting,
    Ready,
    /// To be drained once it has no job (its signals would cancel one).
    AwaitIdle,
    /// Told to drain, or certain to end after its job.
    AwaitExit,
    Cancelling {
        until: Instant,
    },
    Terminating {
        until: Instant,
    },
    Killing {
        again: Instant,
        tries: u32,
    },
    /// Crashed, to be started again.
    Backoff {
        until: Instant,
    },
    /// Will not be started again.
    Ended,
}

impl Stage {
    pub fn has_process(self) -> bool {
        !matches!(self, Stage::Backoff { .. } | Stage::Ended)
    }

    /// Its process was seen ready, and nobody has tried to end it since by other than its drain.
    pub fn was_ready(self) -> bool {
        matches!(self, Stage::Ready | Stage::AwaitIdle | Stage::AwaitExit)
    }

    /// It takes jobs, or soon will.
    pub fn takes_jobs(self) -> bool {
        matches!(self, Stage::Starting | Stage::Ready | Stage::Backoff { .. })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agent {
    pub index: AgentIndex,
    pub stage: Stage,
    pub ledger: Ledger,
    /// Where what is seen are the steps of jobs.
    pub steps: Option<Steps>,
    /// Its process, to be drained, has a job or had one: it ends after that by itself.
    pub ends_itself: bool,
    /// It has had its one job, and should have ended by then.
    pub overstays_at: Option<Instant>,
    /// A process of it stayed after its one job, and so will the next.
    pub not_single: bool,
    /// Its process was seen to survive the drain step that wants it armed.
    pub armed: bool,
    /// What holds back its drain step, where that would end a job.
    pub hold: Hold,
    /// The CI server gives it no more jobs, and nothing takes that back.
    pub cordoned: bool,
    /// When its process was last asked for.
    pub spawned_at: Instant,
    /// Since when it has not been ready; the boot timeout counts from here.
    pub unready_since: Instant,
    pub last_exit: Option<Exit>,
    /// It was drained or never started because max-jobs leaves nothing for it.
    pub limited: bool,
    /// Since when it was told to drain by a supervisor that died, and has shown no job.
    pub drain_doubtful: Option<Instant>,
    /// Ends that nobody asked for, within the crash window.
    crashes: VecDeque<Instant>,
}

impl Agent {
    pub fn new(index: AgentIndex, now: Instant, settings: &Settings) -> Self {
        Agent {
            index,
            stage: Stage::Starting,
            ledger: settings.fresh_ledger(),
            steps: settings.fresh_steps(),
            ends_itself: false,
            overstays_at: None,
            not_single: false,
            armed: false,
            hold: Hold::default(),
            cordoned: false,
            spawned_at: now,
            unready_since: now,
            last_exit: None,
            limited: false,
            drain_doubtful: None,
            crashes: VecDeque::new(),
        }
    }

    /// A detector saw this; what became of its jobs.
    pub fn sees(&mut self, by: DetectorIndex, seen: Observation, now: Instant) -> Vec<Change> {
        let ledger = &mut self.ledger;
        let changes = match (seen, &mut self.steps) {
            (Observation::Started { id }, None) => ledger.start(by, id),
            (Observation::Started { id }, Some(steps)) => steps.start(ledger, by, id),
            (Observation::Finished { id, outcome }, None) => ledger.finish(by, id, outcome),
            (Observation::Finished { id, outcome }, Some(steps)) => {
                steps.finish(ledger, by, id, outcome, now)
            }
            (Observation::Running { jobs }, _) => ledger.level(by, jobs),
            (Observation::Absent, _) => {
                ledger.absent(by);
                Vec::new()
            }
            (Observation::SafeWindow, _) => {
                self.hold.safe_window(now);
                Vec::new()
            }
            (Observation::DrainArmed, _) => {
                self.armed = true;
                Vec::new()
            }
            (Observation::Ready, _) => Vec::new(),
        };
        let began = |change: &Change| matches!(change, Change::Started { .. });
        if changes.iter().any(began) {
            self.hold.job_began();
        }
        changes
    }

    /// How this process stops taking jobs.
    pub fn drain_method(&self, settings: &Settings) -> DrainMethod {
        match settings.needs_line {
            Some(other) if !self.armed => other,
            _ if settings.drain == DrainMethod::SingleJob && self.not_single => {
                DrainMethod::WaitIdle
            }
            _ => settings.drain,
        }
    }

    /// How that method is begun.
    pub fn drain_step(&self, settings: &Settings) -> Stop {
        if settings.needs_line.is_some() && !self.armed {
            Stop::Otherwise
        } else {
            Stop::Drain
        }
    }

    /// Counts a crash; when it may be started again, or `None` when this is a crash loop.
    pub fn crashed(&mut self, now: Instant) -> Option<Instant> {
        while self
            .crashes
            .front()
            .is_some_and(|at| now.since(*at) > CRASH_WINDOW)
        {
            self.crashes.pop_front();
        }
        self.crashes.push_back(now);
        let crashes = self.crashes.len();
        if crashes >= CRASH_LOOP {
            return None;
        }
        let wait = Duration::from_secs(1 << (crashes - 1)).min(BACKOFF_MAX);
        Some(now.after(wait))
    }

    /// When this agent needs attention by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let steps = self.steps.as_ref().and_then(Steps::deadline);
        [self.stage_deadline(), steps].into_iter().flatten().min()
    }

    /// When its stage ends by itself.
    pub fn stage_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Cancelling { until } | Stage::Terminating { until } => Some(until),
            Stage::Killing { again, .. } => Some(again),
            Stage::Backoff { until } => Some(until),
            Stage::Ready => self.overstays_at,
            Stage::AwaitIdle => {
                let both = [self.hold.deadline(), self.overstays_at];
                both.into_iter().flatten().min()
            }
            Stage::AwaitExit => self.drain_doubtful.map(|at| at.after(DRAIN_AGAIN)),
            Stage::Starting | Stage::Ended => None,
        }
    }
}
