//! What the instance metadata service says. It never lies; at times it says nothing.

use std::time::{Duration, SystemTime};

use crate::instance::notices::{Clock, Maintenance, Reading, Round, SpotAction, Target};
use crate::lifecycle::Instant;

/// Wall time when the machine booted.
const BOOTED: u64 = 1_800_000_000;

pub fn clock(now: Instant) -> Clock {
    Clock {
        boot: now,
        wall: wall(now),
    }
}

pub fn wall(at: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(BOOTED) + at.0
}

/// The reverse.
pub fn boot(at: SystemTime) -> Instant {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH);
    let booted = Duration::from_secs(BOOTED);
    Instant(since_1970.unwrap_or_default().saturating_sub(booted))
}

#[derive(Debug, Default)]
pub struct Metadata {
    pub spot: Option<SpotAction>,
    pub rebalance: Option<SystemTime>,
    pub maintenance: Vec<Maintenance>,
    pub target: Option<Target>,
    /// It answers this many of the four questions of a round, then fails.
    pub answers: Option<usize>,
}

impl Metadata {
    /// One look at the four paths; the first failure ends it.
    pub fn look(&self) -> Round {
        let answered = self.answers.unwrap_or(4);
        let events = Some(&self.maintenance).filter(|events| !events.is_empty());
        Round {
            spot: read(&self.spot, answered > 0),
            rebalance: read(&self.rebalance, answered > 1),
            maintenance: read(&events.cloned(), answered > 2),
            target: read(&self.target, answered > 3),
        }
    }
}

fn read<T: Clone>(what: &Option<T>, answered: bool) -> Reading<T> {
    match what {
        _ if !answered => Reading::Unknown,
        None => Reading::Nothing,
        Some(what) => Reading::Is(what.clone()),
    }
}
