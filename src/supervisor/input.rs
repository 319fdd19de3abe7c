//! Everything that can happen to the supervisor, apart from signals, socket calls and its alarm.

use super::commands::Order;
use super::sample::Sampled;
use crate::instance::{LadderOutcome, News, Placement};
use crate::jobs::Mark;
use crate::lifecycle::{AgentIndex, DetectorIndex, Instant, Observation};

/// From the output threads and the background tasks.
pub enum Input {
    /// A detector saw something in an agent's output, in this tap of it.
    Seen(AgentIndex, u64, DetectorIndex, Observation),
    /// What follows of this tap is from the lines of its file up to here.
    Read(u64, Mark),
    /// All that one tap held before its process ended has been seen.
    OutputSeen(AgentIndex, u64),
    /// The output of an ended process took too long to read: it is treated as seen.
    OutputLate(AgentIndex),
    /// The CI server was asked to give an agent no more jobs; whether it agreed.
    Cordoned(AgentIndex, bool),
    /// An agent of an earlier supervisor ended.
    AdoptedExited(AgentIndex),
    /// What machine this is.
    Placement(Placement),
    /// The machine has been told something.
    News(News),
    /// What the group wants of the machine, or that it is in none, is known.
    MayWork,
    /// The group's termination hook waits no longer than this.
    HookEnds(Instant),
    /// Level detectors answered.
    Sampled(Vec<Sampled>),
    /// Run this command, and tell how it ended.
    Run(Box<Order>),
    /// The container of an agent that has ended is gone.
    ContainerEnded(AgentIndex),
    /// This command's time is over.
    CommandOverdue(nix::unistd::Pid),
    /// The ladder has been climbed as far as it goes.
    Ladder(LadderOutcome),
}

impl From<News> for Input {
    fn from(news: News) -> Input {
        Input::News(news)
    }
}

/// Detectors in other threads can wait for the supervisor; it never waits for them.
pub const INBOX: usize = 1024;
