//! The words that sources, the plan and targets have in common. No I/O, no clock.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

/// Names that a person wrote, or that a service gave; compared as text, shown as they are.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> $name {
                $name(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

names! {
    /// A group of the configuration, or a discovered one.
    GroupId,
    /// A CI server with one set of credentials and filters: one fetch serves all its groups.
    SourceId,
    /// What one group serves of its source: a queue, a resource class, labels. The source's own
    /// canonical text.
    Queue,
    /// Where groups live that one read can describe together: a region, this machine.
    BackendId,
    /// What a group is called where it lives: the Auto Scaling group's name.
    Place,
    /// One instance, as its backend calls it.
    Member,
}

/// What a queue wants, as one read of its source tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Demand {
    /// Jobs that an instance of the group could run now, and that none runs.
    pub waiting: u32,
    /// Jobs that run on the group's instances; `None` where the source cannot tell.
    pub running: Option<u32>,
    /// Slots that are connected and free; only looked at where `running` is unknown.
    pub free: Option<u32>,
    /// Agents that are connected, busy or free; `None` where the source cannot tell.
    pub agents: Option<u32>,
    /// Their names, where the source tells them. An instance is recognised by its id in one.
    pub names: Option<Vec<String>>,
    /// How long the oldest of `waiting` has waited.
    pub oldest: Option<Duration>,
}

/// What a group has, as one read of its backend tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Supply {
    /// How many instances the group tries to have.
    pub desired: u32,
    /// The group's own maximum; `None` where it has none.
    pub max: Option<u32>,
    /// Every instance that is listed, whatever its state.
    pub members: Vec<Listed>,
    /// Why nothing may be launched although it would be accepted (suspended, being deleted).
    pub held: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub member: Member,
    pub stage: Stage,
}

/// Where an instance stands, as far as its backend knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// On its way: `Pending`, `Pending:Wait`, `Pending:Proceed`.
    Booting,
    /// `InService`. The agent may still be starting.
    Up,
    /// It takes no new job, and does not count as desired: `Terminating*`, `Detaching`,
    /// `Standby`, `EnteringStandby`, `Warmed:*`.
    Away,
}

/// What to launch, and in view of what that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    pub group: GroupId,
    /// How many more; positive.
    pub count: NonZeroU32,
    /// The desired capacity that comes of it: above the one that was read.
    pub desired: u32,
    /// The same for the same view, so that a repeated order has no further effect: 1 to 64
    /// characters of `[A-Za-z0-9_-]` (Auto Scaling's and EC2's `ClientToken`).
    pub token: String,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launched {
    /// Accepted: this many were started, or asked for; their ids where they are told.
    Accepted { count: u32, members: Vec<Member> },
    /// Some, and why not the others. `count` may be zero.
    Partly { count: u32, trouble: Trouble },
    /// Definitely nothing.
    Refused(Trouble),
    /// Nobody knows: no answer, or an unreadable one. The same token is used again.
    Unknown(String),
}

/// Why a group does not get what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// Where: zone, instance type, market ("us-east-1a c5.large spot"); empty: the whole group.
    pub scope: String,
    /// The service's own words.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
// Some of them only AWS tells apart.
#[cfg_attr(not(feature = "aws"), allow(dead_code))]
pub enum TroubleKind {
    /// The provider has no such machine now. Passes by itself.
    Capacity,
    /// The account may not have more. A person or time must help.
    Quota,
    /// Permissions or a wrong configuration. A person must help.
    Denied,
    /// Too many calls.
    Throttled,
    /// The group is busy, or somebody else acted just now: look again.
    Conflict,
    Other,
}

/// How soon a source wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// Not before this much time has passed (`Retry-After`, an exhausted rate limit).
    pub not_before: Option<Duration>,
    /// Not more often than this (Buildkite's `Buildkite-Agent-Metrics-Poll-Duration`).
    pub every: Option<Duration>,
}

/// One round of one source. A queue that is not in it is unknown, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Harvest {
    pub demands: Vec<(Queue, Result<Demand, String>)>,
    pub hints: Hints,
    /// What a person should know of the queue itself: zombie builds, a paused server.
    pub remarks: Vec<String>,
}

/// Fractions of an instance that are not worth one.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Round(f64);

impl Round {
    /// Every fraction gets an instance.
    pub const UP: Round = Round(0.0);

    /// `fraction` of an instance's slots stay without an instance of their own: 0 to below 1.
    pub fn new(fraction: f64) -> Option<Round> {
        (0.0..1.0).contains(&fraction).then_some(Round(fraction))
    }

    /// Instances for `jobs`: at least one for any job.
    pub fn instances(self, jobs: u32, slots: NonZeroU32) -> u32 {
        let (whole, rest) = (jobs / slots, jobs % slots);
        let over = f64::from(rest) / f64::from(slots.get()) > self.0;
        (whole + u32::from(over)).max(jobs.min(1))
    }
}

/// How the plan sees one group of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSettings {
    pub id: GroupId,
    pub backend: BackendId,
    pub place: Place,
    /// `None`: it is somebody's fallback, and serves that group's queue.
    pub queue: Option<(SourceId, Queue)>,
    /// Takes what this group cannot launch. Chains end, and no group is the fallback of two.
    pub fallback: Option<GroupId>,
    /// Jobs that an instance runs at once.
    pub slots: NonZeroU32,
    /// `None`: the backend's own maximum alone.
    pub max: Option<u32>,
    /// Instances beyond what the jobs need.
    pub headroom: u32,
    /// The most instances that one decision launches; `None`: as many as are missing.
    pub step: Option<NonZeroU32>,
    pub round: Round,
    pub boot: BootBounds,
}

/// How long an instance may take until it is up. What was seen sets it, within these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootBounds {
    pub least: Duration,
    /// Also while nothing has been seen.
    pub most: Duration,
}

/// Everything that the plan must be told of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How often each source is asked.
    pub interval: Duration,
    /// Over all groups.
    pub max_instances: Option<u32>,
    pub groups: Vec<GroupSettings>,
    /// Sources whose queues are asked one by one; they are asked less often while nothing waits.
    pub one_by_one: Vec<SourceId>,
}
