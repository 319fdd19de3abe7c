//! What a world is like. The same nature and the same seed are the same world.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::plan::{
    BackendId, BootBounds, GroupId, GroupSettings, Place, Queue, Round, Settings, SourceId,
};

#[derive(Debug, Clone)]
pub struct Nature {
    /// How often a poller that may choose asks.
    pub interval: Duration,
    /// Over all groups.
    pub max_instances: Option<u32>,
    pub chains: Vec<Chain>,
    pub tells: Tells,
    pub dispatch: Dispatch,
    /// What a source tells is up to so old.
    pub demand_lag: Duration,
    /// What the cloud tells of its groups is up to so old, and may be older than what it told
    /// before.
    pub supply_lag: Duration,
    /// How long a request, and an answer, is on its way.
    pub network: Span,
    pub pollers: Pollers,
    pub faults: Faults,
    /// The world ends then, or earlier when nothing is left to happen.
    pub ends: Duration,
}

/// From the shortest to the longest.
pub type Span = (Duration, Duration);

/// A queue, and the groups whose instances serve it: each but the first is the fallback of the
/// one before it.
#[derive(Debug, Clone)]
pub struct Chain {
    pub jobs: Vec<Arrival>,
    pub groups: Vec<GroupNature>,
}

/// A job, as the trace has it. Times count from the beginning of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub at: Duration,
    pub lasts: Duration,
}

#[derive(Debug, Clone)]
pub struct GroupNature {
    pub min: u32,
    pub max: u32,
    /// The maximum of the poller's configuration.
    pub cap: Option<u32>,
    pub slots: NonZeroU32,
    pub headroom: u32,
    pub step: Option<NonZeroU32>,
    pub round: Round,
    pub how: How,
    /// From a raised desired capacity to an instance that is listed.
    pub listed: Span,
    /// From there to `InService`.
    pub boot: Span,
    /// From there to an agent that takes jobs.
    pub ready: Span,
    pub bounds: BootBounds,
    pub idle_timeout: Duration,
    pub max_jobs: Option<u32>,
    /// Instances leave the group when their drain begins, not when it ends.
    pub detach_early: bool,
}

/// By which call the poller makes the group larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    SetDesired,
    LaunchInstances,
}

/// What the source tells beside the waiting jobs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tells {
    pub running: bool,
    pub free: bool,
    pub agents: bool,
    pub names: bool,
}

/// Which of the agents that are free gets the next job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// Any. Instances that nobody needs any more get a job now and then, and stay for long.
    Any,
    /// The one that is there for longest, so that instances that nobody needs are idle and end
    /// themselves. What is there too much is then the poller's doing alone.
    Oldest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pollers {
    One,
    /// Neither knows of the other.
    Two,
    /// Only the holder of the lease writes.
    TwoWithLease,
}

/// What goes wrong. Numbers are "one in so many"; zero is never.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Nothing goes wrong later than this.
    pub until: Duration,
    /// Reads of the source that fail.
    pub demand: u64,
    /// Queues that are missing in an answer.
    pub missing: u64,
    /// Reads of the source that are answered with 429 and a time to wait.
    pub limited: u64,
    /// Reads of the groups that fail, one group or all of them.
    pub supply: u64,
    /// Calls to the cloud that are throttled.
    pub throttled: u64,
    /// Launches of which nobody hears; every second one had its effect.
    pub lost: u64,
    /// Calls that take ten seconds.
    pub slow: u64,
    /// Instances that never work and never leave: a health check replaces them.
    pub stuck: u64,
    /// Instances whose agent is never ready: their supervisor gives up.
    pub mute: u64,
    /// Instances that vanish within minutes.
    pub reclaimed: u64,
    /// How long a poller lives before it is killed, on average; zero is for ever.
    pub lives: Duration,
    pub shortages: Vec<Shortage>,
    /// The queues are paused: nothing starts, and the source tells that nothing waits.
    pub paused: Option<Span>,
}

/// For this long the cloud has no instance for the group.
#[derive(Debug, Clone, Copy)]
pub struct Shortage {
    pub chain: usize,
    pub group: usize,
    pub from: Duration,
    pub until: Duration,
}

impl Faults {
    /// Every instance comes up and stays until it leaves by itself.
    pub fn spares_instances(&self) -> bool {
        self.stuck == 0 && self.mute == 0 && self.reclaimed == 0 && self.shortages.is_empty()
    }

    /// Nothing ever fails.
    pub fn is_none(&self) -> bool {
        let Faults {
            until: _,
            demand,
            missing,
            limited,
            supply,
            throttled,
            lost,
            slow,
            stuck: _,
            mute: _,
            reclaimed: _,
            lives,
            shortages: _,
            paused,
        } = self;
        let calls = [demand, missing, limited, supply, throttled, lost, slow];
        calls.iter().all(|n| **n == 0)
            && lives.is_zero()
            && paused.is_none()
            && self.spares_instances()
    }
}

pub fn source() -> SourceId {
    SourceId::new("queue")
}

pub fn backend() -> BackendId {
    BackendId::new("asg nowhere-1")
}

pub fn queue(chain: usize) -> Queue {
    Queue::new(format!("q{chain}"))
}

/// A group's name: its chain and its place there.
pub fn group(chain: usize, place: usize) -> GroupId {
    GroupId::new(format!("q{chain}-{place}"))
}

impl Nature {
    /// What a poller is told of this world.
    pub fn settings(&self) -> Settings {
        let chains = self.chains.iter().enumerate();
        let groups = chains.flat_map(|(at, chain)| {
            let groups = chain.groups.iter().enumerate();
            groups.map(move |(place, nature)| nature.settings(at, place, chain.groups.len()))
        });
        Settings {
            interval: self.interval,
            max_instances: self.max_instances,
            groups: groups.collect(),
            one_by_one: Vec::new(),
        }
    }
}

impl GroupNature {
    /// The most that a poller may make of the group.
    pub fn limit(&self) -> u32 {
        self.cap.map_or(self.max, |cap| cap.min(self.max))
    }

    fn settings(&self, chain: usize, place: usize, groups: usize) -> GroupSettings {
        let id = group(chain, place);
        GroupSettings {
            place: Place::new(id.as_str()),
            id,
            backend: backend(),
            queue: (place == 0).then(|| (source(), queue(chain))),
            fallback: (place + 1 < groups).then(|| group(chain, place + 1)),
            slots: self.slots,
            max: self.cap,
            headroom: if place == 0 { self.headroom } else { 0 },
            step: self.step,
            round: self.round,
            boot: self.bounds,
        }
    }
}
