//! The words of the ladder: its rungs, what to do on one, and what came of it.

use serde::{Deserialize, Serialize};

use super::api::{Call, Seen};
use super::verdict::Verdict;

/// A rung of the ladder. Stored: the names are the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The launch is given up before the instance goes into service.
    Abandon,
    Detach,
    TerminateInGroup,
    /// The group's end of the instance waits for a lifecycle hook of ours.
    Complete,
    /// The group ends the instance; it should be gone soon.
    AwaitGroup,
    Terminate,
    /// EC2 ends the instance; it should be gone soon.
    AwaitEnd,
    PowerOff,
    /// The group is at its minimum and the machine is to stay in it.
    Stay,
    /// The machine goes back into its group's warm pool.
    Pool,
    /// There is no machine to end here.
    Nothing,
}

impl Rung {
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Abandon => "abandon",
            Rung::Detach => "detach",
            Rung::TerminateInGroup => "terminate-in-group",
            Rung::Complete => "complete",
            Rung::AwaitGroup => "await-group",
            Rung::Terminate => "terminate",
            Rung::AwaitEnd => "await-end",
            Rung::PowerOff => "power-off",
            Rung::Stay => "stay",
            Rung::Pool => "pool",
            Rung::Nothing => "nothing",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Call(Call),
    /// Wait until the machine is old enough to be replaced.
    Hold,
    /// Wait for the machine to go.
    AwaitEnd,
    /// The end of the ladder.
    PowerOff,
    /// The end of this retirement.
    Stay,
    /// The end of this retirement, too: the pool has the machine.
    Pool,
    /// There is nothing to end.
    Over,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Accepted, or waited for.
    Done,
    /// There was nothing to ask for.
    Nothing,
    Seen(Seen),
    Failed(Verdict),
    /// It failed with this verdict, and the rung's time is used up.
    TooLate(Verdict),
}
