//! The jobs of one agent process, as its detectors together see them.
//!
//! Busy is the union of what detectors see; idle needs all to agree, and a detector that cannot
//! tell agrees with nothing. A job that several detectors report is one job: they are matched by
//! id, and by order where one of them has no id.

mod levels;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::words::{DetectorIndex, Outcome};

/// What one detector's word is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DetectorKind {
    /// Sees every start and every end, and is believed: its starts count towards max-jobs and
    /// its ends close a job whatever an advisory detector still thinks.
    Edges,
    /// Sees starts and ends, but may be lied to or miss some: it adds ids and outcomes.
    AdvisoryEdges,
    /// Sees how many run, and is believed: rises are starts that count, falls are ends.
    Level,
    /// Sees only that something runs.
    AdvisoryLevel,
    /// Sees how many run, and is believed about ends alone: jobs that two answers in a row do not
    /// show have ended.
    Census,
}

impl DetectorKind {
    pub fn is_level(self) -> bool {
        use DetectorKind::*;
        matches!(self, Level | AdvisoryLevel | Census)
    }

    /// Its starts count towards max-jobs.
    pub fn counts(self) -> bool {
        matches!(self, DetectorKind::Edges | DetectorKind::Level)
    }
}

/// A change that the rest of the program hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Started {
        id: Option<String>,
    },
    Finished {
        id: Option<String>,
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    id: Option<String>,
    /// Bit sets over detectors.
    began: u64,
    ended: u64,
    /// Censuses whose last answer left it out.
    missing: u64,
    counted: bool,
    outcome: Outcome,
}

impl Job {
    fn new(id: Option<String>, began: u64) -> Self {
        Job {
            id,
            began,
            ended: 0,
            missing: 0,
            counted: false,
            outcome: Outcome::Unknown,
        }
    }
}

/// How many closed jobs are remembered, to recognise a late report of the same job.
const REMEMBERED: usize = 64;
/// No agent runs this many jobs at a time; who says so is lying, and must not cost memory.
pub const MOST_OPEN: usize = 256;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    detectors: Vec<DetectorKind>,
    levels: Vec<Option<u32>>,
    /// Rises seen by each level detector.
    rises: Vec<u32>,
    open: Vec<Job>,
    closed: VecDeque<Job>,
    counted: u32,
    /// When set, an edge detector never has more open jobs than this: a start beyond it means
    /// that an end was missed.
    slots: Option<u32>,
}

impl Ledger {
    pub fn new(detectors: &[DetectorKind], slots: Option<u32>) -> Self {
        assert!(detectors.len() <= 64, "a preset has at most 64 detectors");
        Ledger {
            levels: detectors.iter().map(|_| None).collect(),
            rises: vec![0; detectors.len()],
            detectors: detectors.to_vec(),
            open: Vec::new(),
            closed: VecDeque::new(),
            counted: 0,
            slots,
        }
    }

    /// A stored ledger can be one of these detectors and slots.
    pub fn fits(&self, detectors: &[DetectorKind], slots: Option<u32>) -> bool {
        let levels = || self.levels.iter().zip(&self.detectors);
        self.detectors == detectors
            && self.slots == slots
            && self.levels.len() == detectors.len()
            && self.rises.len() == detectors.len()
            && levels().all(|(level, kind)| level.is_none() || kind.is_level())
    }

    /// Jobs this process started, as far as they count.
    pub fn started(&self) -> u32 {
        let levels = self.detectors.iter().zip(&self.rises);
        let risen = levels.filter(|(kind, _)| **kind == DetectorKind::Level);
        self.counted.max(risen.map(|(_, n)| *n).max().unwrap_or(0))
    }

    /// Some job of this process was told to have ended.
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Jobs that run now: the most that any way of looking shows.
    pub fn running(&self) -> u32 {
        let level = self.levels.iter().flatten().copied().max().unwrap_or(0);
        level.max(self.open.len() as u32)
    }

    /// Every detector agrees that nothing runs.
    pub fn is_idle(&self) -> bool {
        let silent =
            |(kind, level): (&DetectorKind, &Option<u32>)| !kind.is_level() || *level == Some(0);
        self.open.is_empty() && self.detectors.iter().zip(&self.levels).all(silent)
    }

    pub fn start(&mut self, by: DetectorIndex, id: Option<String>) -> Vec<Change> {
        let Some(bit) = self.bit(by) else {
            return Vec::new();
        };
        let mut changes = self.close_missed(bit);
        let position = self.find(&id, |job| job.began & bit == 0 && job.ended & bit == 0);
        match position {
            Some(at) => {
                let job = &mut self.open[at];
                job.began |= bit;
                job.id = job.id.take().or(id);
            }
            None if self.open.len() >= MOST_OPEN && !self.believes(by) => return changes,
            None => {
                if self.open.len() >= MOST_OPEN {
                    changes.push(self.close(0));
                }
                self.open.push(Job::new(id.clone(), bit));
                changes.push(Change::Started { id });
            }
        }
        if self.believes(by) {
            let at = position.unwrap_or(self.open.len() - 1);
            if !std::mem::replace(&mut self.open[at].counted, true) {
                self.counted = self.counted.saturating_add(1);
            }
        }
        changes
    }

    pub fn finish(
        &mut self,
        by: DetectorIndex,
        id: Option<String>,
        outcome: Outcome,
    ) -> Vec<Change> {
        let Some(bit) = self.bit(by) else {
            return Vec::new();
        };
        let own = self.find(&id, |job| job.began & bit != 0 && job.ended & bit == 0);
        let position = own.or_else(|| self.find(&id, |job| job.ended & bit == 0));
        let Some(at) = position else {
            return self.finish_unseen(by, bit, id, outcome);
        };
        let believed = self.believes(by);
        let job = &mut self.open[at];
        job.ended |= bit;
        job.id = job.id.take().or(id);
        if outcome != Outcome::Unknown {
            job.outcome = outcome;
        }
        let mut changes = Vec::new();
        if believed && !std::mem::replace(&mut job.counted, true) {
            self.counted = self.counted.saturating_add(1);
        }
        if believed || job.began & !job.ended == 0 {
            changes.push(self.close(at));
        }
        changes
    }

    /// The process is gone: whatever was open ends with `outcome`.
    pub fn close_all(&mut self, outcome: Outcome) -> Vec<Change> {
        for level in &mut self.levels {
            *level = None;
        }
        let mut changes = Vec::new();
        while !self.open.is_empty() {
            if self.open[0].outcome == Outcome::Unknown {
                self.open[0].outcome = outcome;
            }
            changes.push(self.close(0));
        }
        changes
    }

    /// A finish without a start: one short job, unless it is a late word about a closed one.
    fn finish_unseen(
        &mut self,
        by: DetectorIndex,
        bit: u64,
        id: Option<String>,
        outcome: Outcome,
    ) -> Vec<Change> {
        let late = self
            .closed
            .iter_mut()
            .find(|job| job.ended & bit == 0 && (id.is_none() || job.id.is_none() || job.id == id));
        if let Some(job) = late {
            job.ended |= bit;
            return Vec::new();
        }
        if !self.believes(by) {
            return Vec::new();
        }
        let mut changes = self.start(by, id.clone());
        changes.extend(self.finish(by, id, outcome));
        changes
    }

    fn close_missed(&mut self, bit: u64) -> Vec<Change> {
        let Some(slots) = self.slots else {
            return Vec::new();
        };
        let mine = |job: &Job| job.began & bit != 0 && job.ended & bit == 0;
        let mut changes = Vec::new();
        while self.open.iter().filter(|job| mine(job)).count() >= slots as usize {
            // One that somebody else saw end, else the oldest.
            let over = |job: &Job| mine(job) && job.ended != 0;
            let position = self.open.iter().position(over);
            let position = position.or_else(|| self.open.iter().position(mine));
            changes.push(self.close(position.expect("counted above")));
        }
        changes
    }

    fn close(&mut self, at: usize) -> Change {
        let job = self.open.remove(at);
        let change = Change::Finished {
            id: job.id.clone(),
            outcome: job.outcome,
        };
        self.closed.push_back(job);
        if self.closed.len() > REMEMBERED {
            self.closed.pop_front();
        }
        change
    }

    /// The open job with this id, else the oldest that can be meant.
    fn find(&self, id: &Option<String>, eligible: impl Fn(&Job) -> bool) -> Option<usize> {
        let same = |job: &Job| id.is_some() && job.id == *id;
        let maybe = |job: &Job| id.is_none() || job.id.is_none();
        let jobs = || self.open.iter();
        jobs()
            .position(|job| same(job) && eligible(job))
            .or_else(|| jobs().position(|job| maybe(job) && eligible(job)))
    }

    /// A job is open that this detector saw begin and not end.
    pub fn holds(&self, by: DetectorIndex) -> bool {
        let held = |bit| {
            self.open
                .iter()
                .any(|job| job.began & !job.ended & bit != 0)
        };
        self.bit(by).is_some_and(held)
    }

    /// Its word alone begins and ends jobs.
    pub fn believes(&self, by: DetectorIndex) -> bool {
        self.detectors.get(by.0) == Some(&DetectorKind::Edges)
    }

    fn bit(&self, by: DetectorIndex) -> Option<u64> {
        let kind = self.detectors.get(by.0)?;
        (!kind.is_level()).then(|| 1 << by.0)
    }
}
