//! What a world came to, and which rules were broken in it.

use std::fmt;
use std::time::Duration;

use crate::lifecycle::Instant;

/// Figures of one world, or the sum of many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub lasted: Duration,
    /// From a job's arrival until an agent first took it, of every job that began.
    pub waits: Vec<Duration>,
    pub jobs_lost: u64,
    /// Instances that were listed, whoever wanted them.
    pub started: u64,
    /// Those that came up, and went without a job.
    pub never_used: u64,
    /// Seconds from being listed to the end, of all instances.
    pub instance_seconds: f64,
    /// Instance-seconds that no job needed.
    ///
    /// At any moment, the instances of a chain that take jobs or will take them, beyond the most
    /// that its jobs (waiting and running) needed at any time in the last while, with headroom
    /// and the groups' minimum. "The last while" is what nobody can avoid who does not know the
    /// future: an idle timeout, the longest time to come up, and half a minute for reading
    /// queues. So who starts an instance for a job that somebody else runs meanwhile is not
    /// blamed; who starts two for one job is, until the second has ended itself.
    pub over_seconds: f64,
    pub queue_calls: u64,
    pub cloud_calls: u64,
    /// Instances that were requested by writes that took effect.
    pub raised: u64,
    /// Writes that lowered a desired capacity, where that is not forbidden.
    pub lowered: u64,
    /// The most instances above a maximum, where that is not forbidden.
    pub exceeded: u32,
    /// What happened that is not usual: a world without it proves little.
    pub faults: u64,
    pub restarts: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.lasted += other.lasted;
        self.waits.extend(&other.waits);
        self.jobs_lost += other.jobs_lost;
        self.started += other.started;
        self.never_used += other.never_used;
        self.instance_seconds += other.instance_seconds;
        self.over_seconds += other.over_seconds;
        self.queue_calls += other.queue_calls;
        self.cloud_calls += other.cloud_calls;
        self.raised += other.raised;
        self.lowered += other.lowered;
        self.exceeded = self.exceeded.max(other.exceeded);
        self.faults += other.faults;
        self.restarts += other.restarts;
    }

    /// A wait that this share of the jobs did not exceed.
    pub fn wait(&self, percent: usize) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let at = (waits.len() * percent).div_ceil(100).saturating_sub(1);
        waits.get(at).copied().unwrap_or_default()
    }
}

/// What a poller must never do, or bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A write made a group larger than its configured maximum.
    AboveMaximum,
    /// A write made all groups together larger than the budget.
    AboveBudget,
    /// A write lowered a desired capacity.
    Lowered,
    /// A write asked for more than the jobs need that anybody could still believe in.
    MoreThanNeeded,
    /// Jobs that the maximum allows were not run.
    NotServed,
    /// When all was quiet, groups were still larger than they must be.
    LeftBehind,
    /// The poller wants to do ever more without time passing.
    Endless,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub at: Instant,
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.rule, self.at, self.what)
    }
}
