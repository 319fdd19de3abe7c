//! A queue's jobs, as they truly are.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::plan::Demand;
use super::nature::{Arrival, Chain, GroupNature, Nature};
use super::past::{Past, Peak};
use crate::lifecycle::Instant;

#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub arrived: Instant,
    pub lasts: Duration,
    /// When an agent first took it.
    pub began: Option<Instant>,
    pub ended: bool,
}

#[derive(Debug)]
pub struct Queue {
    trace: Vec<Arrival>,
    pub jobs: Vec<Job>,
    pub waiting: VecDeque<usize>,
    pub running: u32,
    /// Agents are about to look for jobs.
    pub picks: bool,
    /// What the source told, or could have told.
    pub past: Past<Demand>,
    /// Jobs, and waiting jobs, that a poller may still believe in.
    pub believable: Peak,
    pub believable_waiting: Peak,
    /// When instances took themselves out of their groups, lately.
    left: VecDeque<Instant>,
    stale: Duration,
    /// Instances that the jobs needed not long ago.
    pub needed: Peak,
    slots: u32,
    headroom: u32,
    least: u32,
}

impl Queue {
    pub fn new(nature: &Nature, chain: &Chain) -> Queue {
        let groups = &chain.groups;
        // How old a reading may be when its consequence takes effect.
        let slow = if nature.faults.is_none() { 1 } else { 40 };
        let stale = nature.demand_lag + Duration::from_secs(slow) + 4 * nature.network.1;
        let longest = |of: fn(&GroupNature) -> Duration| groups.iter().map(of).max();
        let comes_up = |group: &GroupNature| group.listed.1 + group.boot.1 + group.ready.1;
        let unavoidable = longest(|group| group.idle_timeout).unwrap_or_default()
            + longest(comes_up).unwrap_or_default()
            + Duration::from_secs(30);
        Queue {
            trace: chain.jobs.clone(),
            jobs: Vec::new(),
            waiting: VecDeque::new(),
            running: 0,
            picks: false,
            past: Past::new(nature.demand_lag + Duration::from_secs(1)),
            believable: Peak::new(stale),
            believable_waiting: Peak::new(stale),
            left: VecDeque::new(),
            stale,
            needed: Peak::new(unavoidable),
            slots: groups.first().map_or(1, |group| group.slots.get()),
            headroom: groups.first().map_or(0, |group| group.headroom),
            least: groups.iter().map(|group| group.min).sum(),
        }
    }

    /// When the next job arrives, since the beginning of the world.
    pub fn next(&self) -> Option<Duration> {
        self.trace.get(self.jobs.len()).map(|arrival| arrival.at)
    }

    pub fn arrives(&mut self, now: Instant) {
        if let Some(arrival) = self.trace.get(self.jobs.len()) {
            self.waiting.push_back(self.jobs.len());
            self.jobs.push(Job {
                arrived: now,
                lasts: arrival.lasts,
                began: None,
                ended: false,
            });
        }
    }

    /// The job that has waited longest is taken.
    pub fn take(&mut self, now: Instant) -> Option<(usize, Duration)> {
        let number = self.waiting.pop_front()?;
        let job = &mut self.jobs[number];
        job.began.get_or_insert(now);
        self.running += 1;
        Some((number, job.lasts))
    }

    pub fn ends(&mut self, number: usize) {
        self.jobs[number].ended = true;
        self.running -= 1;
    }

    /// Its instance is gone: somebody else must run it, from the beginning.
    pub fn is_lost(&mut self, number: usize) {
        self.running -= 1;
        self.waiting.push_front(number);
    }

    pub fn leaves(&mut self, now: Instant) {
        let stale = self.stale;
        self.left.retain(|at| now.since(*at) <= stale);
        self.left.push_back(now);
    }

    /// How many left so lately that a poller may still believe they are there.
    pub fn left(&self, now: Instant) -> u32 {
        let lately = self.left.iter().filter(|at| now.since(**at) <= self.stale);
        lately.count() as u32
    }

    pub fn is_done(&self) -> bool {
        self.jobs.len() == self.trace.len() && self.waiting.is_empty() && self.running == 0
    }

    /// To be called after each change.
    pub fn note(&mut self, now: Instant) {
        let waiting = self.waiting.len() as u32;
        let jobs = waiting + self.running;
        self.believable.is(now, jobs);
        self.believable_waiting.is(now, waiting);
        let needed = jobs.div_ceil(self.slots) + self.headroom;
        self.needed.is(now, needed.max(self.least));
    }
}
