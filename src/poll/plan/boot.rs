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
mod tests {
    use super::*;

    const BOUNDS: BootBounds = BootBounds {
        least: Duration::from_secs(60),
        most: Duration::from_secs(600),
    };

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(1000 + seconds))
    }

    fn list(members: &[(&str, Stage)]) -> Vec<Listed> {
        let listed = |(member, stage): &(&str, Stage)| Listed {
            member: Member::new(*member),
            stage: *stage,
        };
        members.iter().map(listed).collect()
    }

    /// A group that was empty, and then booted five instances in 100 s each.
    fn learned() -> Boots {
        let mut boots = Boots::new(BOUNDS);
        boots.read(at(0), Vec::new());
        let names = ["a", "b", "c", "d", "e"];
        boots.read(at(10), list(&names.map(|name| (name, Stage::Booting))));
        boots.read(at(110), list(&names.map(|name| (name, Stage::Up))));
        boots
    }

    #[test]
    fn a_deadline_is_the_longest_allowed_until_five_boots_were_seen() {
        let mut boots = Boots::new(BOUNDS);
        boots.read(at(0), Vec::new());
        boots.read(at(10), list(&[("a", Stage::Booting)]));
        boots.read(at(20), list(&[("a", Stage::Up)]));
        assert_eq!(boots.deadline(), BOUNDS.most);
        assert_eq!(learned().deadline(), Duration::from_secs(150));
        assert_eq!(learned().quantile(0.5), Some(Duration::from_secs(100)));
    }

    #[test]
    fn an_instance_past_its_deadline_is_stale_and_told_once() {
        let mut boots = learned();
        let booting = list(&[("x", Stage::Booting)]);
        assert_eq!(boots.read(at(200), booting.clone()), []);
        assert_eq!(boots.read(at(350), booting.clone()), []);
        assert_eq!(boots.tally(at(350), false).booting, 1);
        let late = boots.read(at(351), booting.clone());
        assert_eq!(late, [Boot::Late(Member::new("x"))]);
        assert_eq!(boots.tally(at(351), false).stale, 1);
        assert_eq!(boots.read(at(360), booting), []);
        // Late, but up: it is supply again, and the next ones get more time.
        assert_eq!(boots.read(at(370), list(&[("x", Stage::Up)])), [Boot::Done]);
        assert_eq!(boots.tally(at(370), false).up, 1);
        assert_eq!(boots.deadline(), Duration::from_secs(255));
    }

    #[test]
    fn what_was_found_booting_starts_anew_and_teaches_nothing() {
        let mut boots = Boots::new(BOUNDS);
        boots.read(at(0), list(&[("a", Stage::Booting), ("b", Stage::Up)]));
        assert_eq!(boots.tally(at(600), false).booting, 1);
        assert_eq!(boots.tally(at(601), false).stale, 1);
        boots.read(at(5), list(&[("a", Stage::Up), ("b", Stage::Up)]));
        assert_eq!(boots.quantile(0.5), None);
    }

    #[test]
    fn one_read_without_an_instance_is_not_its_end() {
        let mut boots = learned();
        boots.read(at(200), list(&[("x", Stage::Booting)]));
        assert_eq!(boots.read(at(210), Vec::new()), []);
        assert_eq!(boots.tally(at(210), false).listed(), 0);
        assert_eq!(boots.read(at(220), list(&[("x", Stage::Booting)])), []);
        boots.read(at(230), Vec::new());
        let gone = boots.read(at(240), Vec::new());
        assert_eq!(gone, [Boot::Vanished(Member::new("x"))]);
    }

    #[test]
    fn an_instance_that_ends_while_booting_has_failed_and_one_in_a_warm_pool_has_not() {
        let mut boots = learned();
        boots.read(at(200), list(&[("x", Stage::Booting), ("w", Stage::Away)]));
        let told = boots.read(at(210), list(&[("x", Stage::Away), ("w", Stage::Away)]));
        assert_eq!(told, [Boot::Vanished(Member::new("x"))]);
        boots.read(at(220), Vec::new());
        assert_eq!(boots.read(at(230), Vec::new()), []);
    }

    #[test]
    fn the_time_of_an_instance_begins_when_it_leaves_the_warm_pool() {
        let mut boots = learned();
        boots.read(at(200), list(&[("w", Stage::Away)]));
        assert_eq!(boots.read(at(5000), list(&[("w", Stage::Booting)])), []);
        assert_eq!(boots.tally(at(5000), false).booting, 1);
        assert_eq!(
            boots.read(at(5020), list(&[("w", Stage::Up)])),
            [Boot::Done]
        );
        assert_eq!(boots.took.front(), Some(&Duration::from_secs(20)));
    }

    #[test]
    fn where_names_tell_an_instance_has_booted_when_its_agent_is_registered() {
        let mut boots = learned();
        let agents = ["ci-a", "ci-b"].map(str::to_owned);
        boots.register(at(120), &Names::new(&agents));
        let tally = boots.tally(at(120), true);
        assert_eq!((tally.up, tally.booting, tally.stale), (2, 3, 0));
        // Without names nothing is held against an instance.
        assert_eq!(boots.tally(at(120), false).up, 5);
        boots.register(at(610), &Names::new(&agents));
        let tally = boots.tally(at(611), true);
        assert_eq!((tally.up, tally.booting, tally.stale), (2, 0, 3));
        // Gone for a moment is not gone.
        let tally = boots.tally(at(669), true);
        assert_eq!((tally.up, tally.stale), (2, 3));
        assert_eq!(boots.tally(at(670), true).stale, 5);
        // They had been taken for booted before names told otherwise, so that no one is accused.
        assert_eq!(boots.register(at(611), &Names::new(&agents)), []);
    }

    #[test]
    fn names_that_never_match_say_nothing() {
        let mut boots = learned();
        let agents = ["host-1", "host-2"].map(str::to_owned);
        assert_eq!(boots.register(at(900), &Names::new(&agents)), []);
        assert_eq!(boots.tally(at(900), true).up, 5);
    }

    #[test]
    fn an_agent_that_never_registers_is_late() {
        let mut boots = learned();
        let agents = ["a".to_owned()];
        boots.register(at(120), &Names::new(&agents));
        boots.read(at(130), list(&[("a", Stage::Up), ("x", Stage::Booting)]));
        boots.read(at(140), list(&[("a", Stage::Up), ("x", Stage::Up)]));
        assert_eq!(boots.register(at(730), &Names::new(&agents)), []);
        let late = boots.register(at(731), &Names::new(&agents));
        assert_eq!(late, [Boot::Late(Member::new("x"))]);
    }

    #[test]
    fn what_was_asked_for_first_comes_first() {
        let mut boots = Boots::new(BOUNDS);
        boots.set_flight(at(0), 2);
        boots.set_flight(at(10), 5);
        assert_eq!(boots.overdue(at(31), Duration::from_secs(30)), 2);
        boots.set_flight(at(35), 4);
        assert_eq!(boots.overdue(at(36), Duration::from_secs(30)), 1);
        assert_eq!(boots.overdue(at(41), Duration::from_secs(30)), 4);
        boots.set_flight(at(42), 0);
        assert_eq!(boots.overdue(at(99), Duration::ZERO), 0);
    }
}
