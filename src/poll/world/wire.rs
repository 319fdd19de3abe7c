//! What a poller asks of a world, and what it is told. [`super::ours`] is the real one, in
//! [`super::peers`] are others' formulas.

use super::super::plan::{GroupId, Harvest, Hints, Launched, Queue, Supply, Trouble};
use crate::lifecycle::Instant;

/// A poller without its I/O: fed with what it is told and the time.
pub trait Poller {
    fn hears(&mut self, now: Instant, told: Told) -> Vec<Ask>;

    /// When it wants [`Told::Time`] if nothing else happens.
    fn next(&self) -> Option<Instant>;
}

#[derive(Debug, Clone)]
pub enum Ask {
    Fetch {
        queues: Vec<Queue>,
        /// Requests to the CI server that this takes.
        calls: u32,
    },
    Describe {
        groups: Vec<GroupId>,
        /// Requests to the cloud that this takes.
        calls: u32,
    },
    Write {
        group: GroupId,
        write: Write,
        /// The same token again has no further effect, where the call knows tokens.
        token: String,
    },
    Troubles(GroupId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// `SetDesiredCapacity`: absolute, within the group's minimum and maximum, and down as well
    /// as up.
    SetDesired(u32),
    /// `LaunchInstances`: so many more, once a token.
    Launch(u32),
    /// `RunInstances`: so many more, whatever the group's maximum.
    Run(u32),
}

#[derive(Debug, Clone)]
pub enum Told {
    Demand {
        asked: Instant,
        told: Result<Harvest, (String, Hints)>,
    },
    Supply {
        asked: Instant,
        told: Vec<(GroupId, Result<Supply, String>)>,
    },
    Launched {
        group: GroupId,
        token: String,
        told: Launched,
    },
    Troubles {
        group: GroupId,
        told: Result<Vec<Trouble>, String>,
    },
    Leader(bool),
    Time,
}
