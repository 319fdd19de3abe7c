//! From demand and supply to orders: when a chain can be decided on, and how.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::arithmetic::{self, Bounds, Grant, Jobs, Need, Part, Why};
use super::budget::{self, Budget};
use super::chain::{Chain, Round, Starved};
use super::decision::Decision;
use super::event::Action;
use super::group::{Count, Group};
use super::words::{Demand, GroupId};
use super::{Planner, ROUND, Work};

/// What is to be done with a chain's round.
enum Step {
    /// Nothing, until something else is told.
    Wait,
    /// These groups must be read.
    Describe(Vec<usize>),
    /// Demand was told, and then supply was read.
    Decide,
    /// Nothing waits and nothing is missing, as far as is known: not worth a read.
    Note,
    GiveUp(String),
}

impl Planner {
    /// Goes on with the chains of which something has become known.
    pub(super) fn progress(&mut self, now: Instant, work: &mut Work) {
        let mut describe: BTreeMap<usize, Vec<GroupId>> = BTreeMap::new();
        // Each turn ends a round of each chain that it goes on with, and a chain has at most two.
        while !work.chains.is_empty() {
            let mut chains = std::mem::take(&mut work.chains);
            chains.sort_unstable();
            chains.dedup();
            let mut ready = Vec::new();
            for index in chains {
                match self.step(now, &self.chains[index]) {
                    Step::Wait => {}
                    Step::Describe(groups) => self.describe(index, groups, &mut describe),
                    Step::Decide => ready.push(index),
                    Step::Note => {
                        self.decide(now, index, None, work);
                        work.chains.push(index);
                    }
                    Step::GiveUp(why) => {
                        self.chains[index].give_up(why);
                        work.chains.push(index);
                    }
                }
            }
            if !ready.is_empty() {
                self.decide_all(now, &mut ready, work);
                work.chains.extend(ready);
            }
        }
        for (backend, groups) in describe {
            let backend = self.backends[backend].id.clone();
            work.actions.push(Action::Describe { backend, groups });
        }
    }

    fn step(&self, now: Instant, chain: &Chain) -> Step {
        let Some(ref round) = chain.round else {
            return Step::Wait;
        };
        let groups = || {
            chain
                .groups
                .iter()
                .map(|&index| (index, &self.groups[index]))
        };
        if groups().any(|(_, group)| group.launching.is_some()) {
            return Step::Wait;
        }
        let old = now.since(round.asked);
        if old > self.interval.saturating_add(ROUND) {
            return Step::GiveUp(format!("the queue was read {} s ago", old.as_secs()));
        }
        if groups().all(|(_, group)| group.fresh(round.came)) {
            return Step::Decide;
        }
        let failure = |(_, group): (usize, &Group)| {
            let id = &group.settings.id;
            let why = group.failure.as_ref();
            why.map(|why| format!("{id} cannot be read: {why}"))
        };
        if !round.describing && !self.wanting(now, chain, &round.demand) {
            return match groups().find_map(failure) {
                Some(why) => Step::GiveUp(why),
                None if groups().all(|(_, group)| group.known()) => Step::Note,
                // The sweep is under way, or will be: what was told is looked at again then.
                None => Step::Wait,
            };
        }
        let missing: Vec<(usize, &Group)> = groups()
            .filter(|(_, group)| !group.fresh(round.came) && !group.describing)
            .collect();
        let failed = missing
            .iter()
            .copied()
            .filter(|(_, group)| round.describing || !group.readable(now))
            .find_map(failure);
        match failed {
            Some(why) => Step::GiveUp(why),
            None if missing.is_empty() => Step::Wait,
            None => Step::Describe(missing.into_iter().map(|(index, _)| index).collect()),
        }
    }

    /// Whether the chain's groups are worth a read: jobs wait, headroom may be missing, or
    /// instances are on their way.
    fn wanting(&self, now: Instant, chain: &Chain, demand: &Demand) -> bool {
        if demand.waiting > 0 {
            return true;
        }
        let groups = || chain.groups.iter().map(|&index| &self.groups[index]);
        let headroom = self.headroom(chain);
        if !groups().all(Group::known) {
            return headroom > 0;
        }
        let counts = self.survey(now, chain, demand);
        let on_their_way = |count: &Count| count.flight > 0 || count.tally.booting > 0;
        counts.iter().any(on_their_way)
            || headroom > 0 && {
                let parts = self.parts(chain, &counts);
                arithmetic::need(Jobs::from(demand), headroom, &parts, 0).need > 0
            }
    }

    fn describe(
        &mut self,
        index: usize,
        groups: Vec<usize>,
        describe: &mut BTreeMap<usize, Vec<GroupId>>,
    ) {
        if let Some(ref mut round) = self.chains[index].round {
            round.describing = true;
        }
        for group in groups {
            let group = &mut self.groups[group];
            group.describing = true;
            let groups = describe.entry(group.backend).or_default();
            groups.push(group.settings.id.clone());
        }
    }

    fn headroom(&self, chain: &Chain) -> u32 {
        let head = chain.groups.first();
        head.map_or(0, |&head| self.groups[head].settings.headroom)
    }

    /// How the groups of a chain count, in view of what the queue tells of their agents.
    fn survey(&self, now: Instant, chain: &Chain, demand: &Demand) -> Vec<Count> {
        let named = demand.names.is_some();
        let count = |&index: &usize| self.groups[index].count(now, named);
        let mut counts: Vec<Count> = chain.groups.iter().map(count).collect();
        if let Some(agents) = demand.agents {
            let mature = counts
                .iter()
                .fold(0u32, |sum, count| sum.saturating_add(count.tally.mature));
            let mut silent = mature.saturating_sub(agents);
            for count in &mut counts {
                count.silent = count.tally.mature.min(silent);
                silent -= count.silent;
            }
        }
        counts
    }

    fn parts(&self, chain: &Chain, counts: &[Count]) -> Vec<Part> {
        let groups = chain.groups.iter().zip(counts);
        groups
            .map(|(&index, count)| self.groups[index].part(count))
            .collect()
    }

    /// Decides on what is ready; if not everybody can have what is missing, whose job has waited
    /// longest comes first, also before those that could be decided on only now.
    fn decide_all(&mut self, now: Instant, ready: &mut [usize], work: &mut Work) {
        let oldest = |chain: &Chain| {
            let round = chain.round.as_ref();
            let oldest = round.and_then(|round| round.demand.oldest);
            let asked = round.map_or(now, |round| round.asked);
            oldest.map(|oldest| oldest.saturating_add(now.since(asked)))
        };
        let mut budget = Budget::new(self.max_instances, || self.used(now));
        let mut starved = Vec::new();
        if self.max_instances.is_some() {
            ready.sort_by_key(|&index| (Reverse(oldest(&self.chains[index])), index));
            starved = self.starved(now, ready);
        }
        for &index in &*ready {
            let age = oldest(&self.chains[index]);
            let older = |(of, _): &&(Duration, u32)| Some(*of) > age;
            let reserved = starved
                .iter()
                .take_while(older)
                .map(|(_, instances)| u64::from(*instances))
                .sum();
            self.decide(now, index, Some((&mut budget, reserved)), work);
        }
    }

    /// What the budget refused other chains lately, with the age of their oldest job; the oldest
    /// first.
    fn starved(&self, now: Instant, ready: &[usize]) -> Vec<(Duration, u32)> {
        let lately = self.interval.saturating_mul(2).saturating_add(ROUND);
        let ready: std::collections::BTreeSet<usize> = ready.iter().copied().collect();
        let mut starved: Vec<(Duration, u32)> = (0..)
            .zip(&self.chains)
            .filter(|(index, _)| !ready.contains(index))
            .filter_map(|(_, chain)| chain.starved)
            .filter(|starved| now.since(starved.at) <= lately)
            .map(|starved| {
                let age = starved.oldest.saturating_add(now.since(starved.at));
                (age, starved.instances)
            })
            .collect();
        starved.sort_by_key(|(age, _)| Reverse(*age));
        starved
    }

    /// What counts against `max_instances`; `None`: nobody knows.
    pub(super) fn used(&self, now: Instant) -> Option<u64> {
        budget::used(self.groups.iter(), now)
    }

    /// Decides on a chain's round. `means`: what the budget has, and what of it is kept for
    /// others; without means nothing is launched.
    fn decide(
        &mut self,
        now: Instant,
        index: usize,
        mut means: Option<(&mut Budget, u64)>,
        work: &mut Work,
    ) {
        let Some(round) = self.chains[index].round.take() else {
            return;
        };
        let chain = &self.chains[index];
        let members = chain.groups.clone();
        let headroom = self.headroom(chain);
        let jobs = Jobs::from(&round.demand);
        let counts = self.survey(now, chain, &round.demand);
        let mut parts = self.parts(chain, &counts);
        // Jobs that the groups before left to those that follow.
        let mut left: Option<u64> = None;
        let mut starved = 0u32;
        let mut missing = false;
        let mut orders = Vec::new();
        for (place, (&member, count)) in members.iter().zip(&counts).enumerate() {
            let mut asked = arithmetic::need(jobs, headroom, &parts, place);
            let slots = u64::from(parts[place].slots.get());
            if let Some(left) = left {
                let most = u32::try_from(left.div_ceil(slots)).unwrap_or(u32::MAX);
                asked.need = asked.need.min(most);
            }
            missing |= asked.need > 0;
            let group = &mut self.groups[member];
            let budget = match means {
                Some((ref budget, reserved)) => budget.left(reserved),
                None => 0,
            };
            let bounds = Bounds {
                room: group.room(count),
                budget,
                step: group.settings.step,
                breaker: group.allowance(now, count),
                held: group.held().is_some(),
                leader: self.leader,
            };
            let mut grant = group.grant(now, asked.need, bounds);
            if let Some(launch) = NonZeroU32::new(grant.launch) {
                match group.order(now, launch, count) {
                    Some(order) => {
                        grant.launch = order.count.get();
                        orders.push(order);
                    }
                    None => {
                        grant = Grant {
                            launch: 0,
                            why: Why::Unsure,
                            rest: 0,
                        }
                    }
                }
            }
            if grant.why == Why::Enough && place > 0 {
                grant.why = Why::Fallback;
            }
            if grant.why == Why::Budget {
                starved = starved.saturating_add(asked.need.saturating_sub(grant.launch));
            }
            if let Some((ref mut budget, _)) = means {
                budget.spend(grant.launch);
            }
            let part = &mut parts[place];
            part.usable = part.usable.saturating_add(grant.launch);
            part.booting = part.booting.saturating_add(grant.launch);
            left = Some(u64::from(grant.rest) * slots);
            let passed_to = match (grant.rest, members.get(place + 1)) {
                (1.., Some(&next)) => Some(self.groups[next].settings.id.clone()),
                _ => None,
            };
            let decision = Told {
                now,
                jobs,
                headroom,
                asked,
                count,
                bounds,
                grant,
                passed_to,
            }
            .of(&self.groups[member]);
            let group = &mut self.groups[member];
            // A quiet group says the same again and again.
            let news = group
                .decision
                .as_ref()
                .is_none_or(|last| !last.same(&decision));
            if means.is_some() || news {
                work.actions.push(Action::Decided(decision.clone()));
            }
            group.decision = Some(decision);
        }
        let on_their_way = |count: &Count| count.flight > 0 || count.tally.booting > 0;
        let coming = !orders.is_empty() || counts.iter().any(on_their_way);
        let free = if missing || coming {
            0
        } else {
            free(jobs, &parts)
        };
        let launches = !orders.is_empty();
        work.actions.extend(orders.into_iter().map(Action::Launch));
        let chain = &mut self.chains[index];
        if coming {
            chain.wanted = Some(now);
        }
        chain.starved = (starved > 0).then(|| Starved {
            at: now,
            oldest: round
                .demand
                .oldest
                .unwrap_or_default()
                .saturating_add(now.since(round.asked)),
            instances: starved,
        });
        if let Some(&head) = members.first() {
            let id = &self.groups[head].settings.id;
            let report = chain.waits(now, id, jobs.waiting, free);
            work.actions.extend(report.map(Action::Report));
        }
        chain.done();
        if launches {
            chain.decided = Some(round);
        }
    }
}

/// Slots that should be free: connected ones where that is told, those of instances otherwise.
fn free(jobs: Jobs, parts: &[Part]) -> u64 {
    let Some(running) = jobs.running else {
        return jobs.free.unwrap_or(0).into();
    };
    let slots = parts.iter().fold(0u64, |sum, part| {
        let up = part.usable.saturating_sub(part.settling);
        sum.saturating_add(u64::from(up) * u64::from(part.slots.get()))
    });
    slots.saturating_sub(running.into())
}

/// What a [`Decision`] is made of.
struct Told<'a> {
    now: Instant,
    jobs: Jobs,
    headroom: u32,
    asked: Need,
    count: &'a Count,
    bounds: Bounds,
    grant: Grant,
    passed_to: Option<GroupId>,
}

impl Told<'_> {
    fn of(self, group: &Group) -> Decision {
        Decision {
            group: group.settings.id.clone(),
            at: self.now,
            waiting: self.jobs.waiting,
            running: self.jobs.running,
            free: self.jobs.running.map_or(self.jobs.free, |_| None),
            slots: group.settings.slots,
            headroom: self.headroom,
            others: self.asked.others,
            want: self.asked.want,
            alive: self.count.alive(),
            booting: self.count.booting(),
            stale: self.count.stale(),
            phantom: self.count.phantom,
            desired: self.count.desired,
            max: group.max().unwrap_or(u32::MAX),
            need: self.asked.need,
            bound: self.asked.bound,
            room: self.bounds.room,
            launch: self.grant.launch,
            why: self.grant.why,
            passed_to: self.passed_to,
        }
    }
}
