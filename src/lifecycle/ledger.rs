//! The jobs of one agent process, as its detectors together see them.
//!
//! Busy is the union of what detectors see; idle needs all to agree, and a detector that cannot
//! tell agrees with nothing. A job that several detectors report is one job: they are matched by
//! id, and by order where one of them has no id.

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
    /// Sees how many run. Rises count as starts.
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
    counted: bool,
    outcome: Outcome,
}

/// How many closed jobs are remembered, to recognise a late report of the same job.
const REMEMBERED: usize = 64;
/// No agent runs this many jobs at a time; who says so is lying, and must not cost memory.
const MOST_OPEN: usize = 256;

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
            None if self.open.len() >= MOST_OPEN && !self.believed(by) => return changes,
            None => {
                if self.open.len() >= MOST_OPEN {
                    changes.push(self.close(0));
                }
                self.open.push(Job {
                    id: id.clone(),
                    began: bit,
                    ended: 0,
                    counted: false,
                    outcome: Outcome::Unknown,
                });
                changes.push(Change::Started { id });
            }
        }
        if self.believed(by) {
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
        let believed = self.believed(by);
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

    /// A level detector's sample; `None` when it could not tell.
    pub fn level(&mut self, by: DetectorIndex, jobs: Option<u32>) {
        let Some(level) = self.levels.get_mut(by.0) else {
            return;
        };
        if !self.detectors[by.0].is_level() {
            return;
        }
        // An unknown in between is no fall: only a rise above the last known level is a start.
        let before = level.unwrap_or(0);
        if let Some(now) = jobs {
            let rise = now.saturating_sub(before);
            self.rises[by.0] = self.rises[by.0].saturating_add(rise);
        }
        *level = jobs.or(if before > 0 { Some(before) } else { None });
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
        if !self.believed(by) {
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
            let oldest = self.open.iter().position(mine);
            changes.push(self.close(oldest.expect("counted above")));
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

    fn believed(&self, by: DetectorIndex) -> bool {
        self.detectors[by.0] == DetectorKind::Edges
    }

    fn bit(&self, by: DetectorIndex) -> Option<u64> {
        let kind = self.detectors.get(by.0)?;
        (!kind.is_level()).then(|| 1 << by.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: DetectorIndex = DetectorIndex(0);
    const HOOK: DetectorIndex = DetectorIndex(1);
    const CHILD: DetectorIndex = DetectorIndex(2);

    fn ledger() -> Ledger {
        use DetectorKind::*;
        let mut ledger = Ledger::new(&[Edges, AdvisoryEdges, AdvisoryLevel], None);
        ledger.level(CHILD, Some(0));
        ledger
    }

    fn id(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn one_job_seen_by_two_detectors_is_one_job() {
        let mut l = ledger();
        assert_eq!(l.start(LOG, id("a")).len(), 1);
        assert_eq!(l.start(HOOK, id("a")), []);
        assert_eq!((l.started(), l.running()), (1, 1));
        assert_eq!(l.finish(HOOK, id("a"), Outcome::Failed), []);
        let end = l.finish(LOG, id("a"), Outcome::Unknown);
        let (id, outcome) = (id("a"), Outcome::Failed);
        assert_eq!(end, [Change::Finished { id, outcome }]);
        assert!(l.is_idle());
    }

    #[test]
    fn a_hook_that_comes_first_is_the_same_job() {
        let mut l = ledger();
        assert_eq!(l.start(HOOK, id("a")).len(), 1);
        assert_eq!(l.started(), 0, "an advisory start does not count");
        assert_eq!(l.start(LOG, id("a")), []);
        assert_eq!(l.started(), 1);
    }

    #[test]
    fn a_lying_hook_counts_nothing_and_keeps_nothing_open() {
        let mut l = ledger();
        l.start(LOG, id("a"));
        l.start(HOOK, id("a"));
        l.finish(LOG, id("a"), Outcome::Unknown);
        assert!(l.is_idle(), "the believed detector closes it");
        for n in 0..100 {
            l.start(HOOK, id(&n.to_string()));
            l.finish(HOOK, id(&n.to_string()), Outcome::Passed);
        }
        assert_eq!(l.started(), 1);
    }

    #[test]
    fn a_flood_of_starts_costs_no_memory_and_hides_no_job() {
        let mut l = ledger();
        for n in 0..10_000 {
            l.start(HOOK, id(&n.to_string()));
        }
        assert_eq!(l.running(), MOST_OPEN as u32);
        l.start(LOG, id("real"));
        assert_eq!((l.started(), l.running()), (1, MOST_OPEN as u32));
        let ends = l.finish(LOG, id("real"), Outcome::Passed);
        assert_eq!(ends.len(), 1);
    }

    #[test]
    fn late_words_about_a_closed_job_are_no_new_job() {
        let mut l = ledger();
        l.start(LOG, id("a"));
        l.finish(LOG, id("a"), Outcome::Unknown);
        assert_eq!(l.finish(HOOK, id("a"), Outcome::Passed), []);
        assert_eq!((l.started(), l.running()), (1, 0));
    }

    #[test]
    fn a_finish_without_a_start_is_one_job() {
        let mut l = ledger();
        let changes = l.finish(LOG, id("a"), Outcome::Passed);
        assert_eq!(changes.len(), 2);
        assert_eq!((l.started(), l.running()), (1, 0));
    }

    #[test]
    fn without_ids_jobs_end_in_the_order_they_began() {
        let mut l = ledger();
        l.start(LOG, None);
        l.start(LOG, None);
        assert_eq!(l.running(), 2);
        l.finish(LOG, None, Outcome::Unknown);
        assert_eq!((l.started(), l.running()), (2, 1));
    }

    #[test]
    fn an_unknown_level_is_never_idle_and_never_a_new_start() {
        let mut l = Ledger::new(&[DetectorKind::Level], None);
        let level = DetectorIndex(0);
        assert!(!l.is_idle(), "nothing is known before the first sample");
        l.level(level, Some(2));
        l.level(level, None);
        assert!(!l.is_idle());
        l.level(level, Some(2));
        assert_eq!(l.started(), 2);
        l.level(level, Some(0));
        assert!(l.is_idle());
        l.level(level, None);
        assert!(!l.is_idle());
    }

    #[test]
    fn with_known_slots_a_missed_end_is_noticed_at_the_next_start() {
        let mut l = Ledger::new(&[DetectorKind::Edges], Some(1));
        l.start(LOG, id("a"));
        let changes = l.start(LOG, id("b"));
        assert!(matches!(&changes[0], Change::Finished { id, .. } if *id == self::id("a")));
        assert_eq!((l.started(), l.running()), (2, 1));
    }

    #[test]
    fn the_end_of_the_process_closes_every_job() {
        let mut l = ledger();
        l.start(LOG, id("a"));
        l.start(LOG, id("b"));
        l.finish(HOOK, id("b"), Outcome::Passed);
        let ends = l.close_all(Outcome::Lost);
        let outcomes: Vec<_> = ends
            .iter()
            .map(|end| match end {
                Change::Finished { outcome, .. } => *outcome,
                Change::Started { .. } => unreachable!("nothing starts here"),
            })
            .collect();
        assert_eq!(outcomes, [Outcome::Lost, Outcome::Passed]);
        assert!(l.open.is_empty());
    }
}
