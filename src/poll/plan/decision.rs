//! What was decided, and the one line that tells why.

use std::fmt;
use std::num::NonZeroU32;

use serde::Serialize;

use crate::lifecycle::Instant;

use super::arithmetic::Why;
use super::words::GroupId;

/// One group, decided on. The numbers are those of the arithmetic, so that the line adds up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub group: GroupId,
    pub at: Instant,
    pub waiting: u32,
    pub running: Option<u32>,
    /// Free slots, where they were looked at.
    pub free: Option<u32>,
    pub slots: NonZeroU32,
    pub headroom: u32,
    /// Jobs that the other groups of the chain have instances for.
    pub others: u64,
    pub want: u32,
    pub alive: u32,
    /// Of `alive`: on their way.
    pub booting: u32,
    /// Of `alive`: past their boot deadline, no supply.
    pub stale: u32,
    /// Of `alive`: asked for from a provider that refuses, no supply.
    pub phantom: u32,
    pub desired: u32,
    /// The least of the group's own and the configured; [`u32::MAX`]: none.
    pub max: u32,
    pub need: u32,
    /// What `need` may be at most for the jobs that wait, where that is less than `want` is short.
    pub bound: Option<u32>,
    pub room: u32,
    pub launch: u32,
    pub why: Why,
    /// Why the group takes no orders, if it is so.
    pub held: Option<String>,
    /// Who takes what this group may not launch.
    pub passed_to: Option<GroupId>,
}

impl Decision {
    /// Whether it says the same, apart from when.
    pub fn same(&self, other: &Decision) -> bool {
        let at = self.at;
        *self
            == Decision {
                at,
                ..other.clone()
            }
    }

    fn jobs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usable = self.alive.saturating_sub(self.stale + self.phantom);
        match (self.running, self.free) {
            (Some(running), _) => write!(
                f,
                "want {} = ceil(({} waiting + {running} running{}) / {}) + {} headroom",
                self.want,
                self.waiting,
                Less(self.others, "on other groups"),
                Slots(self.slots),
                self.headroom
            ),
            (None, Some(free)) => write!(
                f,
                "want {} = {usable} usable + ceil(({} waiting - {free} free{} - {} booting x {} \
                 slots) / {}) + {} headroom",
                self.want,
                self.waiting,
                Less(self.others, "on other groups"),
                self.booting,
                self.slots,
                Slots(self.slots),
                self.headroom
            ),
            (None, None) => write!(
                f,
                "want {} = {usable} usable + ceil(({} waiting{}) / {}) - {} booting, at least \
                 {} headroom",
                self.want,
                self.waiting,
                Less(self.others, "on other groups"),
                Slots(self.slots),
                self.booting,
                self.headroom
            ),
        }
    }
}

struct Slots(NonZeroU32);

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get() {
            1 => f.write_str("1 slot"),
            count => write!(f, "{count} slots"),
        }
    }
}

struct Less(u64, &'static str);

impl fmt::Display for Less {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Less(0, _) => Ok(()),
            Less(count, what) => write!(f, " - {count} {what}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occupied = self.desired.max(self.alive);
        match self.launch {
            0 => write!(f, "launch nothing (desired {})", self.desired)?,
            count => write!(
                f,
                "launch {count} (desired {} -> {})",
                self.desired,
                occupied.saturating_add(count)
            )?,
        }
        f.write_str(": ")?;
        self.jobs(f)?;
        write!(
            f,
            "; have {} = {} alive{}{}",
            self.alive.saturating_sub(self.stale + self.phantom),
            self.alive,
            Less(self.stale.into(), "stale"),
            Less(self.phantom.into(), "that the provider refuses"),
        )?;
        if let Some(bound) = self.bound {
            write!(f, "; at most {bound} for the jobs that wait")?;
        }
        match self.max {
            u32::MAX => f.write_str("; room without limit")?,
            max => write!(f, "; room {} = {max} max - {occupied}", self.room)?,
        }
        write!(f, "; not more: {}", self.why)?;
        if let (Why::Held, Some(held)) = (self.why, &self.held) {
            write!(f, ": {held}")?;
        }
        match self.passed_to {
            Some(ref group) => write!(f, ", the rest goes to {group}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Enough | Why::Launched => "enough",
            Why::Max => "the group's maximum",
            Why::Budget => "max_instances",
            Why::Step => "the group's step",
            Why::Breaker => "launches of this group fail",
            Why::Fallback => "the group before it takes them",
            Why::Held => "the group is held",
            Why::NotLeader => "another poller has the lease",
            Why::Unsure => "nobody knows what became of the last order",
            Why::Throttled => "the last order was throttled",
        })
    }
}
