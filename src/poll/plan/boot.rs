//! The instances of one group over time: how long they take to boot, which take too long, and
//! which never come.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::lifecycle::Instant;

use super::names::Names;
use super::words::{BootBounds, Listed, Member, Stage};

/// How many boots are remembered.
const REMEMBERED: usize = 32;
/// How many must have been seen before they set the deadline.
const TRUSTED: usize = 5;
/// A listing is not believed the first time that it lacks an instance: reads lie.
const MISSES: u8 = 2;
/// How long an agent may take to ask for its first job once its instance is up, or may be gone
/// between two jobs.
pub const SETTLE: Duration = Duration::from_secs(60);

/// One instance.
#[derive(Debug, Clone)]
struct Seen {
    first: Instant,
    stage: Stage,
    /// It was there when the group was first read, so nobody knows how long it has been booting.
    found: bool,
    /// It was up then, for nobody knows how long.
    found_up: bool,
    /// When it was seen up.
    up: Option<Instant>,
    /// When its agent was last seen connected.
    registered: Option<Instant>,
    /// It has done what counts as booted: up, or registered where names tell.
    booted: bool,
    /// Its failure to boot was told.
    failed: bool,
    /// Reads in a row that did not list it.
    missing: u8,
}

impl Seen {
    /// `before`: the read before the one that lists it first.
    fn new(now: Instant, stage: Stage, before: Option<Instant>) -> Seen {
        let found = before.is_none();
        Seen {
            first: match (stage, before) {
                // It came up between two reads: it took at most the time between them.
                (Stage::Up, Some(before)) => before,
                _ => now,
            },
            stage,
            found,
            found_up: found && stage == Stage::Up,
            up: None,
            registered: None,
            booted: stage == Stage::Away || (found && stage == Stage::Up),
            failed: false,
            missing: 0,
        }
    }

    /// It is listed in this stage now.
    fn turn(&mut self, now: Instant, stage: Stage) {
        if self.stage == Stage::Away && stage != Stage::Away {
            // Out of the warm pool or back from standby: its time begins.
            self.first = now;
            self.booted &= stage != Stage::Booting;
        }
        self.stage = stage;
    }

    /// Whether this is the moment at which it has booted. Where names tell, `up` is not enough.
    fn comes_up(&mut self, now: Instant, named: bool) -> bool {
        if self.stage != Stage::Up || self.up.is_some() {
            return false;
        }
        self.up = Some(now);
        let comes = !self.booted && !named;
        self.booted |= comes;
        comes
    }

    /// How long it took, if its beginning was seen.
    fn took(&self, now: Instant) -> Option<Duration> {
        (!self.found).then(|| now.since(self.first))
    }

    /// Told once: it is still on its way, and should not be.
    fn is_late(&mut self, now: Instant, deadline: Duration) -> bool {
        let late = self.stage == Stage::Booting && now.since(self.first) > deadline && !self.failed;
        self.failed |= late;
        late
    }

    /// Told once: it ends without ever having been up.
    fn gives_up(&mut self) -> bool {
        let gives_up =
            self.stage == Stage::Away && self.up.is_none() && !self.booted && !self.failed;
        self.failed |= gives_up;
        gives_up
    }
}

/// What a read, or the names of agents, made of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    Done,
    /// Told once, when its deadline has passed.
    Late(Member),
    /// Told once, when it is gone without ever having been up.
    Vanished(Member),
}

/// How a group's listed instances count now. An instance is in exactly one of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// On the way, or up without its agent where names tell; within the deadline.
    pub booting: u32,
    /// Past the deadline without being up, or its agent gone for a while where names tell.
    pub stale: u32,
    /// Up.
    pub up: u32,
    /// Of `up`: for such a short time that the agent may still be connecting.
    pub settling: u32,
    /// Of `up`: for longer than the deadline.
    pub mature: u32,
}

impl Tally {
    pub fn listed(&self) -> u32 {
        self.booting + self.stale + self.up
    }
}

#[derive(Debug, Clone)]
pub struct Boots {
    bounds: BootBounds,
    seen: BTreeMap<Member, Seen>,
    /// First seen to booted, the last first.
    took: VecDeque<Duration>,
    /// What follows from them.
    deadline: Duration,
    /// An instance's id was in an agent's name, so names tell which instances are registered.
    named: bool,
    last_read: Option<Instant>,
    /// Asked for, and not listed yet: since when, and how many.
    flight: VecDeque<(Instant, u32)>,
}

impl Boots {
    pub fn new(bounds: BootBounds) -> Boots {
        Boots {
            bounds,
            seen: BTreeMap::new(),
            took: VecDeque::new(),
            deadline: bounds.most,
            named: false,
            last_read: None,
            flight: VecDeque::new(),
        }
    }

    pub fn set_bounds(&mut self, bounds: BootBounds) {
        self.bounds = bounds;
        self.deadline = self.learned();
    }

    /// Ids of all that are listed, whatever their stage.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.seen
            .iter()
            .filter(|(_, seen)| seen.missing == 0)
            .map(|(member, _)| member)
    }

    /// Takes a read. Tells what became of instances that were on their way.
    pub fn read(&mut self, now: Instant, listed: Vec<Listed>) -> Vec<Boot> {
        let mut told = Vec::new();
        let before = self.last_read.replace(now);
        let deadline = self.deadline;
        for seen in self.seen.values_mut() {
            seen.missing = seen.missing.saturating_add(1);
        }
        let mut took = Vec::new();
        for Listed { member, stage } in listed {
            let Some(seen) = self.seen.get_mut(&member) else {
                let mut seen = Seen::new(now, stage, before);
                if seen.comes_up(now, self.named) {
                    took.extend(seen.took(now));
                    told.push(Boot::Done);
                }
                self.seen.insert(member, seen);
                continue;
            };
            seen.missing = 0;
            seen.turn(now, stage);
            if seen.comes_up(now, self.named) {
                took.extend(seen.took(now));
                told.push(Boot::Done);
            } else if seen.is_late(now, deadline) {
                told.push(Boot::Late(member));
            } else if seen.gives_up() {
                told.push(Boot::Vanished(member));
            }
        }
        for took in took {
            self.remember(took);
        }
        self.forget(&mut told);
        told
    }

    fn forget(&mut self, told: &mut Vec<Boot>) {
        self.seen.retain(|member, seen| {
            let gone = seen.missing >= MISSES;
            if gone && seen.up.is_none() && !seen.booted && !seen.failed {
                told.push(Boot::Vanished(member.clone()));
            }
            !gone
        });
    }

    /// Takes the names of the connected agents.
    pub fn register(&mut self, now: Instant, names: &Names<'_>) -> Vec<Boot> {
        let mut told = Vec::new();
        let mut took = Vec::new();
        for (member, seen) in &mut self.seen {
            if seen.missing > 0 || !names.have(member.as_str()) {
                continue;
            }
            seen.registered = Some(now);
            if !self.named {
                // Until now "up" was taken for booted, which is sooner.
                self.named = true;
                self.took.clear();
                self.deadline = self.bounds.most;
            }
            if !seen.booted {
                seen.booted = true;
                took.extend(seen.took(now));
                told.push(Boot::Done);
            }
        }
        for took in took {
            self.remember(took);
        }
        if self.named {
            let deadline = self.deadline;
            for (member, seen) in &mut self.seen {
                let late = seen.stage == Stage::Up
                    && !seen.booted
                    && !seen.failed
                    && now.since(seen.first) > deadline;
                if late {
                    seen.failed = true;
                    told.push(Boot::Late(member.clone()));
                }
            }
        }
        told
    }

    fn remember(&mut self, took: Duration) {
        self.took.push_front(took);
        self.took.truncate(REMEMBERED);
        self.deadline = self.learned();
    }

    /// How the instances count. `told`: the names of agents are known.
    pub fn tally(&self, now: Instant, told: bool) -> Tally {
        let deadline = self.deadline;
        let settle = SETTLE.min(self.bounds.least);
        // Agents that take one job each are gone for a moment between two.
        let registered = |seen: &Seen| seen.registered.is_some_and(|at| now.since(at) < SETTLE);
        let by_name = told && self.named;
        let mut tally = Tally::default();
        for seen in self.seen.values().filter(|seen| seen.missing == 0) {
            let past = now.since(seen.first) > deadline;
            let up = match seen.stage {
                Stage::Away => continue,
                Stage::Booting => false,
                Stage::Up => !by_name || registered(seen),
            };
            match (up, past) {
                (false, false) => tally.booting += 1,
                (false, true) => tally.stale += 1,
                (true, past) => {
                    tally.up += 1;
                    tally.mature += u32::from(past && !by_name);
                    let settling = !by_name
                        && !seen.found_up
                        && seen.up.is_some_and(|up| now.since(up) < settle);
                    tally.settling += u32::from(settling);
                }
            }
        }
        tally
    }

    /// Tells how many are asked for and not listed. The oldest are the first to come.
    pub fn set_flight(&mut self, now: Instant, count: u32) {
        let known: u32 = self.flight.iter().map(|(_, count)| *count).sum();
        if count > known {
            self.flight.push_back((now, count - known));
            return;
        }
        let mut come = known - count;
        while come > 0 {
            let (_, oldest) = self.flight.front_mut().expect("they add up to `known`");
            let these = come.min(*oldest);
            *oldest -= these;
            come -= these;
            if *oldest == 0 {
                self.flight.pop_front();
            }
        }
    }

    /// How many were asked for longer ago than this, and are not listed.
    pub fn overdue(&self, now: Instant, wait: Duration) -> u32 {
        self.flight
            .iter()
            .filter(|(since, _)| now.since(*since) > wait)
            .map(|(_, count)| *count)
            .sum()
    }

    /// How long an instance may take to boot.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    fn learned(&self) -> Duration {
        if self.took.len() < TRUSTED {
            return self.bounds.most;
        }
        let learned = self.quantile(0.95).map(|took| took.saturating_mul(3) / 2);
        learned
            .unwrap_or(self.bounds.most)
            .min(self.bounds.most)
            .max(self.bounds.least)
    }

    /// How long boots took: 0.5 is the median. `None` while none was seen.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut took: Vec<Duration> = self.took.iter().copied().collect();
        took.sort();
        let last = took.len().checked_sub(1)?;
        took.get((last as f64 * share).ceil() as usize).copied()
    }
}

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;
