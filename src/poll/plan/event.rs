//! What comes into the [`super::Planner`], and what it wants done.

use std::time::Duration;

use crate::lifecycle::Instant;

use super::decision::Decision;
use super::words::{
    BackendId, GroupId, Harvest, Hints, Launched, Member, Order, Queue, Settings, SourceId, Supply,
    Trouble,
};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A round of a source has ended. A failure that has `not_before` (zero where the server does
    /// not say how long) was "asked too often": the source is then asked ever less often.
    Demand {
        source: SourceId,
        /// When the question was sent.
        asked: Instant,
        told: Result<Harvest, (String, Hints)>,
    },
    /// A read of a backend has ended. Groups that are not in it were not asked for. If it failed
    /// as a whole, each group that was asked for has the failure.
    Supply {
        asked: Instant,
        told: Vec<(GroupId, Result<Supply, String>)>,
    },
    Launched {
        group: GroupId,
        /// The order's.
        token: String,
        told: Launched,
    },
    Troubles {
        group: GroupId,
        told: Result<Vec<Trouble>, String>,
    },
    /// The configuration was loaded anew, or discovery found or lost groups. What is known of
    /// groups and sources that stay is kept.
    Settings(Settings),
    /// This poller got the lease, or lost it. A planner that is never told is the leader.
    Leader(bool),
    /// [`super::Planner::next_deadline`] has come.
    Tick,
}

/// What to do. `Fetch`, `Describe`, `Launch` and `Troubles` are each answered by one event, and
/// are not asked again before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask a source for these queues: all that are due, at once.
    Fetch {
        source: SourceId,
        queues: Vec<Queue>,
    },
    /// Read these groups of one backend.
    Describe {
        backend: BackendId,
        groups: Vec<GroupId>,
    },
    Launch(Order),
    /// Ask why this group does not get what it asks for.
    Troubles(GroupId),
    /// For the log and `--explain`: a group was decided on.
    Decided(Decision),
    Report(Report),
}

/// What a person should be told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The group launches nothing for this long; its fallback takes over.
    BreakerOpened {
        group: GroupId,
        why: String,
        wait: Duration,
    },
    BreakerClosed {
        group: GroupId,
    },
    /// The instance is no supply any more: it is not up, or its agent never registered.
    BootedTooLate {
        group: GroupId,
        member: Member,
        deadline: Duration,
    },
    /// The instance went while it booted.
    Vanished {
        group: GroupId,
        member: Member,
    },
    /// Jobs wait although instances should have slots for them: wrong labels, a paused queue,
    /// agents that do not connect.
    JobsWait {
        group: GroupId,
        waiting: u32,
        free: u64,
    },
}
