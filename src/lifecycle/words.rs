//! The vocabulary that events, logs, status and the socket share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why this machine retires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Idle,
    MaxJobs,
    MaxLifetime,
    BootTimeout,
    AgentExit,
    CrashLoop,
    Spot,
    Rebalance,
    Maintenance,
    ScaleIn,
    Operator,
    Signal,
}

impl Reason {
    pub const ALL: [Reason; 12] = [
        Reason::Idle,
        Reason::MaxJobs,
        Reason::MaxLifetime,
        Reason::BootTimeout,
        Reason::AgentExit,
        Reason::CrashLoop,
        Reason::Spot,
        Reason::Rebalance,
        Reason::Maintenance,
        Reason::ScaleIn,
        Reason::Operator,
        Reason::Signal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Idle => "idle",
            Reason::MaxJobs => "max-jobs",
            Reason::MaxLifetime => "max-lifetime",
            Reason::BootTimeout => "boot-timeout",
            Reason::AgentExit => "agent-exit",
            Reason::CrashLoop => "crash-loop",
            Reason::Spot => "spot",
            Reason::Rebalance => "rebalance",
            Reason::Maintenance => "maintenance",
            Reason::ScaleIn => "scale-in",
            Reason::Operator => "operator",
            Reason::Signal => "signal",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| {
                let all: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
                format!("unknown reason '{text}', use one of: {}", all.join(", "))
            })
    }
}

/// One agent process of this machine, 1 to N, in the order of `{index}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentIndex(pub u32);

impl fmt::Display for AgentIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A detector of the preset, by its place in the preset's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DetectorIndex(pub usize);

/// How one job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passed,
    Failed,
    Canceled,
    /// The agent ended while the job ran, and was not meant to.
    Lost,
    /// It ended; nobody said how.
    Unknown,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Canceled => "canceled",
            Outcome::Lost => "lost",
            Outcome::Unknown => "unknown",
        }
    }
}

/// What one detector saw of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// The agent can take jobs.
    Ready,
    /// A job began. `id` is the CI system's, where it tells one.
    Started { id: Option<String> },
    /// A job ended. Without `id` it is the oldest that runs.
    Finished {
        id: Option<String>,
        outcome: Outcome,
    },
    /// This many jobs run now (a detector that sees levels, not edges).
    /// `None`: it could not tell, which is never the same as idle.
    Running { jobs: Option<u32> },
    /// This agent has nothing that this detector could look at: it says nothing against idle, and
    /// of no job that it has ended.
    Absent,
    /// It has just asked for a job and got none, so for a moment it takes none.
    SafeWindow,
    /// From now on this process survives its drain step.
    DrainArmed,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It was started by an earlier supervisor, so nobody could wait for it.
    Unknown,
}

impl Exit {
    /// As a shell reports it: the code, or 128 + the signal.
    pub fn status(self) -> u8 {
        match self {
            Exit::Code(code) => code as u8,
            Exit::Signal(signal) => 128_u8.wrapping_add(signal as u8),
            Exit::Unknown => 1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
            Exit::Unknown => f.write_str("an unknown status"),
        }
    }
}
