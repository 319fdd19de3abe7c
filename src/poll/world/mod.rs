//! A deterministic world for pollers: queues, Auto Scaling groups, instances that end themselves
//! by the real [`Lifecycle`](crate::lifecycle::Lifecycle), a network and its faults. One seed is
//! one world; a thousand hours of it take seconds.
//!
//! - [`Nature`](nature::Nature) says what a world is like, [`World`] lives through it, and
//!   [`Tally`](tally::Tally) is what it came to: waits, instance-hours, calls, broken rules.
//! - The real planner ([`ours`]) and others' formulas ([`peers`]) live in the same worlds.
//! - [`wild`] makes worlds by chance and looks for broken rules; [`traces`] makes the ones that
//!   pollers are compared in.

mod bench;
mod calls;
mod deeds;
mod group;
mod instance;
mod judge;
mod machines;
mod nature;
mod ours;
mod past;
mod peers;
mod queue;
mod seats;
mod tally;
mod traces;
mod wild;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lifecycle::Instant;
use crate::simulation::chance::Chance;
use deeds::Happening;
use group::Group;
use instance::Instance;
use judge::Judge;
use nature::Nature;
use queue::Queue;
use seats::{Maker, Seat};
use tally::{Broken, Tally};

/// Clocks do not begin at zero.
const BEGIN: Instant = Instant(Duration::from_secs(10_000));

pub struct World<'a> {
    now: Instant,
    nature: Nature,
    chance: Chance,
    agenda: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    queues: Vec<Queue>,
    groups: Vec<Group>,
    instances: BTreeMap<u32, Instance>,
    launched: u32,
    seats: Vec<Seat>,
    maker: &'a Maker<'a>,
    /// Which poller holds the lease.
    holder: Option<usize>,
    judge: Judge,
    tally: Tally,
    aloud: bool,
    /// Since when every job is done, for good.
    done: Option<Instant>,
    is_over: bool,
}

impl<'a> World<'a> {
    pub fn new(nature: Nature, seed: u64, maker: &'a Maker<'a>) -> World<'a> {
        let lag = nature.supply_lag;
        let groups = nature.chains.iter().enumerate().flat_map(|(at, chain)| {
            let groups = chain.groups.iter().enumerate();
            groups.map(move |(place, group)| Group::new(at, place, group.clone(), lag))
        });
        let mut world = World {
            now: BEGIN,
            chance: Chance::of(seed),
            agenda: BTreeMap::new(),
            sequence: 0,
            queues: nature
                .chains
                .iter()
                .map(|c| Queue::new(&nature, c))
                .collect(),
            groups: groups.collect(),
            instances: BTreeMap::new(),
            launched: 0,
            seats: Vec::new(),
            maker,
            holder: None,
            judge: Judge::new(&nature),
            tally: Tally::default(),
            aloud: false,
            done: None,
            is_over: false,
            nature,
        };
        for group in 0..world.groups.len() {
            world.reconcile(group);
            world.note_group(group);
        }
        for chain in 0..world.queues.len() {
            world.note_queue(chain);
            world.awaits_arrival(chain);
        }
        world.seat_pollers();
        world
    }

    /// Says on standard output what happens.
    pub fn aloud(mut self) -> Self {
        self.aloud = true;
        self
    }

    /// Lives to the end.
    pub fn lives(mut self) -> (Tally, Vec<Broken>) {
        let end = BEGIN.after(self.nature.ends);
        let mut turns = 0;
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            if at > end || self.is_over {
                break;
            }
            let happening = entry.remove();
            turns = if at > self.now { 0 } else { turns + 1 };
            if turns > 10_000 {
                self.judge.endless(self.now);
                break;
            }
            self.passes(at);
            self.happens(happening);
            if turns == 0 {
                self.is_over = self.is_quiet();
            }
        }
        self.judge_end();
        self.tally.lasted = self.now.since(BEGIN);
        (self.tally, self.judge.broken)
    }

    fn later(&mut self, wait: Duration, happening: Happening) {
        self.sequence += 1;
        let at = self.now.after(wait);
        self.agenda.insert((at, self.sequence), happening);
    }

    /// By chance, while things go wrong in this world.
    fn strikes(&mut self, one_in: u64) -> bool {
        let strikes = one_in != 0 && self.is_faulty() && self.chance.one_in(one_in);
        self.tally.faults += u64::from(strikes);
        strikes
    }

    fn is_faulty(&self) -> bool {
        self.now.since(BEGIN) < self.nature.faults.until
    }

    fn says(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{:>10.3}  {}", self.now.since(BEGIN).as_secs_f64(), what());
        }
    }

    /// Nothing that matters is left to happen.
    fn is_quiet(&mut self) -> bool {
        if self.is_faulty() || !self.queues.iter().all(Queue::is_done) {
            return false;
        }
        // Headroom is launched again whenever it has ended itself, for ever.
        let done = *self.done.get_or_insert(self.now);
        let restless = self.groups.iter().any(|group| group.nature.headroom > 0);
        if restless {
            return self.now.since(done) > Duration::from_secs(1800);
        }
        let lean =
            |group: &Group| group.desired == group.nature.min && group.alive() == group.desired;
        let alive = self.groups.iter().map(Group::alive).sum::<u32>();
        self.groups.iter().all(lean) && self.instances.len() as u32 == alive
    }

    /// Time passes, and instances cost.
    fn passes(&mut self, at: Instant) {
        let passed = at.since(self.now).as_secs_f64();
        self.now = self.now.max(at);
        if passed > 0.0 {
            self.tally.instance_seconds += passed * self.instances.len() as f64;
            for chain in 0..self.queues.len() {
                let over = self.over(chain);
                self.tally.over_seconds += passed * f64::from(over);
            }
        }
    }
}
