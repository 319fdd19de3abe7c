//! Agents that show only the steps of their jobs: a job begins with its first step, and is over
//! when every step has ended and for a while no other has begun.
//!
//! What runs at a time on such an agent is one job, since nothing tells whose step a step is. The
//! [`Ledger`] hears of jobs only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::{Change, Ledger, MOST_OPEN};
use super::limits::Instant;
use super::words::{DetectorIndex, Outcome};

/// What one detector shows of the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Burst {
    /// The ids of the steps that run.
    open: Vec<Option<String>>,
    /// The last of them ended then, and the job may be over.
    quiet_since: Option<Instant>,
    outcome: Outcome,
}

impl Burst {
    fn new() -> Self {
        Burst {
            open: Vec::new(),
            quiet_since: None,
            outcome: Outcome::Unknown,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Steps {
    linger: Duration,
    /// By detector.
    bursts: Vec<Burst>,
}

impl Steps {
    pub fn new(linger: Duration, detectors: usize) -> Self {
        Steps {
            linger,
            bursts: (0..detectors).map(|_| Burst::new()).collect(),
        }
    }

    /// Stored steps can be of these settings, and wait for nothing that lies too far ahead.
    pub fn fits(&self, linger: Duration, detectors: usize, now: Instant) -> bool {
        let quiet = self.bursts.iter().filter_map(|burst| burst.quiet_since);
        self.linger == linger && self.bursts.len() == detectors && { quiet }.all(|at| at <= now)
    }

    /// When a job may be over.
    pub fn deadline(&self) -> Option<Instant> {
        let quiet = self.bursts.iter().filter_map(|burst| burst.quiet_since);
        Some(quiet.min()?.after(self.linger))
    }

    pub fn start(
        &mut self,
        ledger: &mut Ledger,
        by: DetectorIndex,
        id: Option<String>,
    ) -> Vec<Change> {
        let Some(burst) = self.bursts.get_mut(by.0) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        if !ledger.holds(by) {
            // The job of the steps before is over, whoever told.
            *burst = Burst::new();
            changes = ledger.start(by, None);
        }
        burst.quiet_since = None;
        let known = id.is_some() && burst.open.contains(&id);
        if !known && burst.open.len() < MOST_OPEN {
            burst.open.push(id);
        }
        changes
    }

    pub fn finish(
        &mut self,
        ledger: &mut Ledger,
        by: DetectorIndex,
        id: Option<String>,
        outcome: Outcome,
        now: Instant,
    ) -> Vec<Change> {
        let Some(burst) = self.bursts.get_mut(by.0) else {
            return Vec::new();
        };
        let mut changes = Vec::new();
        if !ledger.holds(by) {
            *burst = Burst::new();
            if !ledger.believes(by) {
                return changes;
            }
            // Its start was missed, and it need not have been the last step.
            changes = ledger.start(by, None);
        }
        let open = &mut burst.open;
        let same = open.iter().position(|step| id.is_none() || *step == id);
        let position = same.or_else(|| open.iter().position(Option::is_none));
        position.map(|at| open.remove(at));
        burst.outcome = worse(burst.outcome, outcome);
        if burst.open.is_empty() {
            burst.quiet_since = Some(now);
        }
        changes
    }

    /// Jobs whose steps have all ended, and long enough ago, are over.
    pub fn end_due(&mut self, ledger: &mut Ledger, now: Instant) -> Vec<Change> {
        let linger = self.linger;
        self.end(ledger, |quiet_since| quiet_since.after(linger) <= now)
    }

    /// No step will come any more: jobs whose steps have all ended are over.
    pub fn end_quiet(&mut self, ledger: &mut Ledger) -> Vec<Change> {
        self.end(ledger, |_| true)
    }

    fn end(&mut self, ledger: &mut Ledger, over: impl Fn(Instant) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for (at, burst) in self.bursts.iter_mut().enumerate() {
            if !burst.quiet_since.is_some_and(&over) {
                continue;
            }
            let by = DetectorIndex(at);
            let ended = std::mem::replace(burst, Burst::new());
            if ledger.holds(by) {
                changes.extend(ledger.finish(by, None, ended.outcome));
            }
        }
        changes
    }
}

/// A job is as good as its worst step.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    let badness = |outcome| match outcome {
        Outcome::Unknown => 0,
        Outcome::Passed => 1,
        Outcome::Canceled => 2,
        Outcome::Failed => 3,
        Outcome::Lost => 4,
    };
    if badness(other) > badness(one) {
        other
    } else {
        one
    }
}
