//! What happened, for people: a world is quiet until it breaks a rule, and is then told again
//! aloud.

use std::fmt::Display;
use std::time::Duration;

use crate::lifecycle::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    Quiet,
    Aloud,
}

impl Story {
    pub fn tells<T: Display>(self, now: Instant, what: impl FnOnce() -> T) {
        if self == Story::Aloud {
            println!("{:>10.3}  {}", now.0.as_secs_f64(), what());
        }
    }
}

/// What the lives of a simulation came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub lives: u32,
    pub lived: Duration,
    pub rounds: u64,
    pub notices: u64,
    pub jobs: u64,
    pub finished: u64,
    /// Ended by us, at a deadline.
    pub cancelled: u64,
    /// Taken away with the machine, which had told nobody in time.
    pub lost: u64,
    pub drains: u64,
    pub returned: u64,
    pub pooled: u64,
    pub heartbeats: u64,
    pub lapses: u64,
    pub calls: u64,
    pub failed_calls: u64,
    pub protected: u64,
    /// Scale-ins that protection kept away.
    pub refused: u64,
    pub restarts: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        let Totals {
            lives,
            lived,
            rounds,
            notices,
            jobs,
            finished,
            cancelled,
            lost,
            drains,
            returned,
            pooled,
            heartbeats,
            lapses,
            calls,
            failed_calls,
            protected,
            refused,
            restarts,
        } = other;
        self.lives += lives;
        self.lived += *lived;
        self.rounds += rounds;
        self.notices += notices;
        self.jobs += jobs;
        self.finished += finished;
        self.cancelled += cancelled;
        self.lost += lost;
        self.drains += drains;
        self.returned += returned;
        self.pooled += pooled;
        self.heartbeats += heartbeats;
        self.lapses += lapses;
        self.calls += calls;
        self.failed_calls += failed_calls;
        self.protected += protected;
        self.refused += refused;
        self.restarts += restarts;
    }
}

impl Totals {
    /// A world in which nothing happens breaks no rule either.
    pub fn assert_eventful(&self) {
        for (what, count) in [
            ("notice", self.notices),
            ("cancelled job", self.cancelled),
            ("heartbeat", self.heartbeats),
            ("lapsed action", self.lapses),
            ("failed call", self.failed_calls),
            ("protection", self.protected),
            ("scale-in that was refused", self.refused),
            ("return to service", self.returned),
            ("pool", self.pooled),
            ("restart", self.restarts),
        ] {
            assert!(count > 0, "there was no {what}");
        }
    }
}
