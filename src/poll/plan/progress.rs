//! When a chain can be decided on: demand, then supply that was asked for after it.

use std::collections::BTreeMap;

use crate::lifecycle::Instant;

use super::arithmetic::{self, Jobs};
use super::chain::Chain;
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
        if groups().any(|(_, group)| group.orders.open.is_some()) {
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
        counts.iter().any(Count::coming)
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

    pub(super) fn headroom(&self, chain: &Chain) -> u32 {
        let head = chain.groups.first();
        head.map_or(0, |&head| self.groups[head].settings.headroom)
    }
}
