//! Leaving when a job ends: a machine with several slots that is asked to leave, but not at once,
//! goes on working until one of its jobs is over.

use serde::{Deserialize, Serialize};

use super::drain::supersedes;
use super::event::Report;
use super::limits::Instant;
use super::words::Reason;
use super::{Lifecycle, Phase, Tally};

/// A drain that waits for a job to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    pub reason: Reason,
    /// It waits no longer than that.
    pub deadline: Option<Instant>,
}

impl Lifecycle {
    /// Drains after the first job that ends. With one slot that is the drain itself: its job
    /// finishes, and no other begins.
    pub(super) fn drain_after_job(&mut self, reason: Reason, deadline: Option<Instant>) {
        self.condemn(reason);
        let slots = self.settings.agents.saturating_mul(self.settings.slots);
        let several = slots.max(self.running()) > 1;
        if self.phase != Phase::Working || self.running() == 0 || !several {
            return self.drain(reason, deadline);
        }
        let leaving = merged(self.leaving, Leaving { reason, deadline });
        if self.leaving != Some(leaving) {
            self.leaving = Some(leaving);
            let Leaving { reason, deadline } = leaving;
            self.report(Report::LeavesAfterJob { reason, deadline });
        }
    }

    /// Drains if it waits for a job's end and one has ended, or its time is over.
    pub(super) fn leave_after_job(&mut self) {
        let Some(Leaving { reason, deadline }) = self.leaving else {
            return;
        };
        let (running, ended) = self.jobs_before;
        let one_ended = self.running() < running || self.tally.ended() > ended;
        let overdue = deadline.is_some_and(|at| at <= self.now);
        if one_ended || overdue || self.running() == 0 {
            self.drain(reason, deadline);
        }
    }

    /// A drain begins: what waited for a job's end goes into it.
    pub(super) fn with_leaving(
        &mut self,
        reason: Reason,
        deadline: Option<Instant>,
    ) -> (Reason, Option<Instant>) {
        let merged = merged(self.leaving.take(), Leaving { reason, deadline });
        (merged.reason, merged.deadline)
    }

    /// From here on the end of a job is one that this event has brought about.
    pub(super) fn note_jobs(&mut self) {
        self.jobs_before = (self.running(), self.tally.ended());
    }
}

/// Two wishes in one: the sooner deadline, and the weightier reason.
fn merged(old: Option<Leaving>, new: Leaving) -> Leaving {
    let Some(old) = old else {
        return new;
    };
    Leaving {
        reason: if supersedes(new.reason, old.reason) {
            new.reason
        } else {
            old.reason
        },
        deadline: [old.deadline, new.deadline].into_iter().flatten().min(),
    }
}

impl Tally {
    /// Jobs that have ended, however.
    fn ended(&self) -> u32 {
        let all = [
            self.passed,
            self.failed,
            self.canceled,
            self.lost,
            self.unknown,
        ];
        all.into_iter().fold(0, u32::saturating_add)
    }
}
