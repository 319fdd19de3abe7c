//! Everything that can happen to the supervisor, apart from signals, socket calls and its alarm.

use std::time::Duration;

use tokio::sync::oneshot;

use super::sample::Sampled;
use crate::instance::{LadderOutcome, Placement};
use crate::lifecycle::{AgentIndex, DetectorIndex, Exit, Observation};

/// From the output threads and the background tasks.
pub enum Input {
    /// A detector saw something in an agent's output.
    Seen(AgentIndex, DetectorIndex, Observation),
    /// All that one stream held before its process ended has been seen.
    OutputSeen(AgentIndex, u64),
    /// The output of an ended process took too long to read: it is treated as seen.
    OutputLate(AgentIndex),
    /// An agent of an earlier supervisor ended.
    AdoptedExited(AgentIndex),
    /// What machine this is.
    Placement(Placement),
    /// Level detectors answered.
    Sampled(Vec<Sampled>),
    /// Run this command, and tell how it ended.
    RunCommand(Vec<String>, Duration, oneshot::Sender<Option<Exit>>),
    /// This command's time is over.
    CommandOverdue(nix::unistd::Pid),
    /// The ladder has been climbed as far as it goes.
    Ladder(LadderOutcome),
}

/// Detectors in other threads can wait for the supervisor; it never waits for them.
pub const INBOX: usize = 1024;
