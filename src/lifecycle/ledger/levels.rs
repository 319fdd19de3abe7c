//! What detectors that see levels, not edges, make of an agent's jobs: a rise opens jobs, a fall
//! closes the oldest. A census is believed about ends alone.

use super::{Change, DetectorKind, Job, Ledger, MOST_OPEN};
use crate::lifecycle::words::DetectorIndex;

impl Ledger {
    /// A level detector's answer; `None` when it could not tell.
    pub fn level(&mut self, by: DetectorIndex, jobs: Option<u32>) -> Vec<Change> {
        let Some(kind) = self.detectors.get(by.0).filter(|kind| kind.is_level()) else {
            return Vec::new();
        };
        let kind = *kind;
        // An unknown in between is no fall: only a rise above the last known level is a start.
        let before = self.levels[by.0];
        self.levels[by.0] = jobs.or(before.filter(|jobs| *jobs > 0));
        match (kind, jobs) {
            (DetectorKind::Level, Some(now)) => self.shift(by, before.unwrap_or(0), now),
            (DetectorKind::Census, Some(_)) => self.take_census(1 << by.0),
            (DetectorKind::Census, None) => {
                self.no_census(1 << by.0);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Nothing is to be seen by this detector. One that has seen jobs before is not believed:
    /// then they are unknown, as they were.
    pub fn absent(&mut self, by: DetectorIndex) {
        let kind = self.detectors.get(by.0);
        if kind.is_some_and(|kind| kind.is_level())
            && self.levels[by.0].is_none_or(|jobs| jobs == 0)
        {
            self.levels[by.0] = Some(0);
            self.no_census(1 << by.0);
        }
    }

    /// The next answer is the first in its row.
    fn no_census(&mut self, bit: u64) {
        let missing = self.open.iter_mut().map(|job| &mut job.missing);
        missing.for_each(|censuses| *censuses &= !bit);
    }

    fn shift(&mut self, by: DetectorIndex, before: u32, now: u32) -> Vec<Change> {
        let bit = 1 << by.0;
        let mut changes = Vec::new();
        for _ in now..before {
            // Fewer are held than were told when the teller lies or was drowned out.
            if !self.has_fallen(bit, &mut changes) {
                break;
            }
        }
        let rise = now.saturating_sub(before);
        self.rises[by.0] = self.rises[by.0].saturating_add(rise);
        for _ in 0..rise {
            if self.recognise(bit) {
                continue;
            }
            if self.open.len() >= MOST_OPEN {
                break;
            }
            self.open.push(Job::new(None, bit));
            changes.push(Change::Started { id: None });
        }
        changes
    }

    /// One job less: one that is known to be over, else one that somebody saw end, else the oldest.
    fn has_fallen(&mut self, bit: u64, changes: &mut Vec<Change>) -> bool {
        let held = |job: &Job| job.began & !job.ended & bit != 0;
        if let Some(job) = self.closed.iter_mut().find(|job| held(job)) {
            job.ended |= bit;
            return true;
        }
        let ended = |job: &Job| held(job) && job.ended != 0;
        let position = self.open.iter().position(ended);
        let Some(at) = position.or_else(|| self.open.iter().position(held)) else {
            return false;
        };
        let believed = self.bits(DetectorKind::counts);
        let job = &mut self.open[at];
        job.ended |= bit;
        if job.began & !job.ended & believed == 0 {
            changes.push(self.close(at));
        }
        true
    }

    /// One job more is one that others have told of, if there is one that this level did not show
    /// yet. Only who sees every edge can have told its end as well.
    fn recognise(&mut self, bit: u64) -> bool {
        let edges = self.bits(|kind| kind == DetectorKind::Edges);
        let new = |job: &&mut Job| (job.began | job.ended) & bit == 0;
        let over = |job: &&mut Job| new(job) && job.began & edges != 0;
        let open = self.open.iter_mut().find(new);
        let Some(job) = open.or_else(|| self.closed.iter_mut().find(over)) else {
            return false;
        };
        job.began |= bit;
        true
    }

    /// Jobs that two answers in a row left out have ended. One answer may be of the moment before
    /// the job began, so a job is only ever closed by the second that finds it open.
    fn take_census(&mut self, bit: u64) -> Vec<Change> {
        let levels = self.detectors.iter().zip(&self.levels);
        let censuses = levels.filter(|(kind, _)| **kind == DetectorKind::Census);
        let shown = censuses.filter_map(|(_, jobs)| *jobs).max().unwrap_or(0);
        let surplus = self.open.len().saturating_sub(shown as usize);
        // Those that somebody saw end, then the oldest; never one that a level still shows.
        let counting = self.bits(|kind| kind == DetectorKind::Level);
        let closable = |at: &usize| self.open[*at].began & !self.open[*at].ended & counting == 0;
        let mut left_out: Vec<_> = (0..self.open.len()).filter(closable).collect();
        left_out.sort_by_key(|at| self.open[*at].ended == 0);
        left_out.truncate(surplus);
        let mut gone = Vec::new();
        for (at, job) in self.open.iter_mut().enumerate() {
            if !left_out.contains(&at) {
                job.missing &= !bit;
            } else if job.missing & bit != 0 {
                gone.push(at);
            } else {
                job.missing |= bit;
            }
        }
        let closed = gone.into_iter().enumerate();
        closed.map(|(n, at)| self.close(at - n)).collect()
    }

    fn bits(&self, of: impl Fn(DetectorKind) -> bool) -> u64 {
        let kinds = self.detectors.iter().enumerate();
        kinds
            .filter(|(_, kind)| of(**kind))
            .fold(0, |bits, (at, _)| bits | 1 << at)
    }
}
