//! What a chain launches, once demand and supply are known.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::arithmetic::{self, Bounds, Grant, Jobs, Part, Why};
use super::budget::{self, Budget};
use super::chain::{Chain, Starved};
use super::decision::Decision;
use super::event::Action;
use super::group::{Count, Group};
use super::words::{Demand, GroupId, Order};
use super::{Planner, ROUND, Work};

/// What may be spent on a chain.
pub(super) struct Means<'a> {
    budget: &'a mut Budget,
    /// Of it, what is kept for those whose jobs have waited longer.
    reserved: u64,
}

impl Planner {
    /// How the groups of a chain count, in view of what the queue tells of their agents.
    pub(super) fn survey(&self, now: Instant, chain: &Chain, demand: &Demand) -> Vec<Count> {
        let named = demand.names.is_some();
        let count = |&index: &usize| self.groups[index].count(now, named);
        let mut counts: Vec<Count> = chain.groups.iter().map(count).collect();
        if let Some(agents) = chain.connected() {
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

    pub(super) fn parts(&self, chain: &Chain, counts: &[Count]) -> Vec<Part> {
        let groups = chain.groups.iter().zip(counts);
        groups
            .map(|(&index, count)| self.groups[index].part(count))
            .collect()
    }

    /// Decides on what is ready; if not everybody can have what is missing, whose job has waited
    /// longest comes first, also before those that could be decided on only now.
    pub(super) fn decide_all(&mut self, now: Instant, ready: &mut [usize], work: &mut Work) {
        let oldest = |chain: &Chain| chain.round.as_ref().and_then(|round| round.oldest(now));
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
            let means = Means {
                budget: &mut budget,
                reserved,
            };
            self.decide(now, index, Some(means), work);
        }
    }

    /// What the budget refused other chains lately, with the age of their oldest job; the oldest
    /// first.
    fn starved(&self, now: Instant, ready: &[usize]) -> Vec<(Duration, u32)> {
        let lately = self.interval.saturating_mul(2).saturating_add(ROUND);
        let ready: BTreeSet<usize> = ready.iter().copied().collect();
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
        budget::used(self.groups.iter(), now, self.led)
    }

    /// Decides on a chain's round. Without means nothing is launched.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        index: usize,
        means: Option<Means<'_>>,
        work: &mut Work,
    ) {
        let Some(round) = self.chains[index].round.take() else {
            return;
        };
        let chain = &self.chains[index];
        let members = chain.groups.clone();
        let counts = self.survey(now, chain, &round.demand);
        // A quiet group says the same again and again.
        let quiet = means.is_none();
        let mut walk = Walk {
            now,
            jobs: Jobs::from(&round.demand),
            headroom: self.headroom(chain),
            leader: self.leader,
            parts: self.parts(chain, &counts),
            means,
            left: None,
            starved: 0,
            missing: false,
            orders: Vec::new(),
        };
        for (place, (&member, count)) in members.iter().zip(&counts).enumerate() {
            let next = members.get(place + 1);
            let next = next.map(|&next| self.groups[next].settings.id.clone());
            let group = &mut self.groups[member];
            let decision = walk.visit(place, group, count, next);
            let said = |last: &Decision| quiet && last.same(&decision);
            if !group.decision.as_ref().is_some_and(said) {
                work.actions.push(Action::Decided(decision.clone()));
            }
            group.decision = Some(decision);
        }
        let launches = !walk.orders.is_empty();
        let coming = launches || counts.iter().any(Count::coming);
        let free = if walk.missing || coming {
            0
        } else {
            free(walk.jobs, &walk.parts)
        };
        work.actions
            .extend(walk.orders.into_iter().map(Action::Launch));
        let chain = &mut self.chains[index];
        if coming {
            chain.wanted = Some(now);
        }
        chain.starved = (walk.starved > 0).then(|| Starved {
            at: now,
            oldest: round.oldest(now).unwrap_or_default(),
            instances: walk.starved,
        });
        if let Some(&head) = members.first() {
            let id = &self.groups[head].settings.id;
            let report = chain.waits(now, id, round.demand.waiting, free);
            work.actions.extend(report.map(Action::Report));
        }
        chain.done();
        if launches {
            chain.decided = Some(round);
        }
    }
}

/// The way through a chain, from a group to its fallback.
struct Walk<'a> {
    now: Instant,
    jobs: Jobs,
    headroom: u32,
    leader: bool,
    /// What each group has, with what was launched on the way.
    parts: Vec<Part>,
    means: Option<Means<'a>>,
    /// Jobs that the groups before left to those that follow; `None`: there are none before.
    left: Option<u64>,
    /// Instances that the budget refused.
    starved: u32,
    missing: bool,
    orders: Vec<Order>,
}

impl Walk<'_> {
    /// Decides what this group launches.
    fn visit(
        &mut self,
        place: usize,
        group: &mut Group,
        count: &Count,
        next: Option<GroupId>,
    ) -> Decision {
        let mut asked = arithmetic::need(self.jobs, self.headroom, &self.parts, place);
        let slots = u64::from(group.settings.slots.get());
        if let Some(left) = self.left {
            let most = u32::try_from(left.div_ceil(slots)).unwrap_or(u32::MAX);
            asked.need = asked.need.min(most);
        }
        let means = self.means.as_ref();
        let bounds = Bounds {
            room: group.room(count),
            budget: means.map_or(0, |means| means.budget.left(means.reserved)),
            step: group.settings.step,
            breaker: group.allowance(self.now, count),
            held: group.held().is_some(),
            leader: self.leader,
        };
        let mut grant = self.order(group, count, group.grant(self.now, asked.need, bounds));
        if grant.why == Why::Enough && place > 0 {
            grant.why = Why::Fallback;
        }
        if grant.why == Why::Budget {
            let refused = asked.need.saturating_sub(grant.launch);
            self.starved = self.starved.saturating_add(refused);
        }
        self.missing |= asked.need > 0;
        self.left = Some(u64::from(grant.rest) * slots);
        let part = &mut self.parts[place];
        part.usable = part.usable.saturating_add(grant.launch);
        part.booting = part.booting.saturating_add(grant.launch);
        Decision {
            group: group.settings.id.clone(),
            at: self.now,
            waiting: self.jobs.waiting,
            running: self.jobs.running,
            free: self.jobs.running.map_or(self.jobs.free, |_| None),
            slots: group.settings.slots,
            headroom: self.headroom,
            others: asked.others,
            want: asked.want,
            alive: count.alive(),
            booting: count.booting(),
            stale: count.stale(),
            phantom: count.phantom,
            desired: count.desired,
            max: group.max().unwrap_or(u32::MAX),
            need: asked.need,
            bound: asked.bound,
            room: bounds.room,
            launch: grant.launch,
            why: grant.why,
            held: group.held().map(str::to_owned),
            passed_to: next.filter(|_| grant.rest > 0),
        }
    }

    /// Makes the order for what was granted, and pays for it.
    fn order(&mut self, group: &mut Group, count: &Count, grant: Grant) -> Grant {
        let Some(launch) = NonZeroU32::new(grant.launch) else {
            return grant;
        };
        let Some(order) = group.order(self.now, launch, count) else {
            return Grant {
                launch: 0,
                why: Why::Unsure,
                rest: 0,
            };
        };
        let launch = order.count.get();
        if let Some(ref mut means) = self.means {
            means.budget.spend(launch);
        }
        self.orders.push(order);
        Grant { launch, ..grant }
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
