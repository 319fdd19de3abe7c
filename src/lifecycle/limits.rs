//! The values a person sets: limits that are a positive amount or explicitly `never`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A limit: a positive amount, or never. Zero cannot be written (see [`crate::config`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    Never,
    At(T),
}

impl<T: Copy> Limit<T> {
    pub fn get(self) -> Option<T> {
        match self {
            Limit::Never => None,
            Limit::At(value) => Some(value),
        }
    }
}

/// When a machine's work ends. Every field can change while the supervisor runs (SIGHUP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs this machine may start in its life.
    pub max_jobs: Limit<u32>,
    /// How long every agent may be without a job.
    pub idle_timeout: Limit<Duration>,
    /// Counted from the supervisor's start.
    pub max_lifetime: Limit<Duration>,
    /// How long an agent may take until it is seen ready.
    pub boot_timeout: Limit<Duration>,
    /// How long running jobs may take once drained.
    pub drain_timeout: Limit<Duration>,
}

/// A point on the clock that runs through suspend (`CLOCK_BOOTTIME`), as time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub Duration);

impl Instant {
    pub fn after(self, wait: Duration) -> Instant {
        Instant(self.0.saturating_add(wait))
    }

    /// Zero when `earlier` is in fact later.
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s after boot", self.0.as_secs_f64())
    }
}
