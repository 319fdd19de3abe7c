//! A second set of books: what the planner was told, and what it may do in view of that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lifecycle::Instant;
use crate::poll::plan::{
    Action, Demand, Event, GroupId, Launched, Order, Planner, Queue, Settings, SourceId, Stage,
    Supply,
};

#[derive(Debug, Clone)]
struct Known {
    asked: Instant,
    desired: u32,
    alive: u32,
    max: Option<u32>,
}

/// Stands around a planner.
pub struct Watch {
    pub planner: Planner,
    settings: Settings,
    /// The groups of each group's chain, and its queue.
    chains: BTreeMap<GroupId, Vec<GroupId>>,
    known: BTreeMap<GroupId, Known>,
    /// When the demand of a chain, by its first group, was told; nothing after a failure.
    told: BTreeMap<GroupId, Vec<Instant>>,
    pub fetching: BTreeSet<SourceId>,
    pub describing: BTreeSet<GroupId>,
    pub launching: BTreeMap<GroupId, Order>,
    pub asking: BTreeSet<GroupId>,
    leader: bool,
}

impl Watch {
    pub fn new(settings: Settings, now: Instant, wall: Duration) -> Watch {
        let mut chains = BTreeMap::new();
        for head in settings.groups.iter().filter(|group| group.queue.is_some()) {
            let mut chain = vec![head.id.clone()];
            let mut next = head.fallback.clone();
            while let Some(id) = next {
                let group = settings.groups.iter().find(|group| group.id == id);
                next = group.and_then(|group| group.fallback.clone());
                chain.push(id);
            }
            for id in &chain {
                chains.insert(id.clone(), chain.clone());
            }
        }
        Watch {
            planner: Planner::new(settings.clone(), now, wall),
            settings,
            chains,
            known: BTreeMap::new(),
            told: BTreeMap::new(),
            fetching: BTreeSet::new(),
            describing: BTreeSet::new(),
            launching: BTreeMap::new(),
            asking: BTreeSet::new(),
            leader: true,
        }
    }

    /// Hands an event on, and checks what comes of it.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.enter(now, &event);
        let actions = self.planner.handle(now, event);
        for action in &actions {
            self.check(now, action);
        }
        let next = self.planner.next_deadline();
        assert!(
            next.is_none_or(|next| next > now || !self.fetching.is_empty()),
            "a tick at {now:?} would be due at once"
        );
        actions
    }

    fn enter(&mut self, now: Instant, event: &Event) {
        match event {
            Event::Demand { source, told, .. } => {
                self.fetching.remove(source);
                // Only those that were asked for are lost; fewer promises are checked here than
                // are kept.
                let demands = told.as_ref().map_or(&[][..], |told| &told.demands[..]);
                for group in &self.settings.groups {
                    let of_group = |(queue, demand): &(Queue, Result<Demand, String>)| {
                        let of = group.queue.as_ref();
                        demand.is_ok() && of.is_some_and(|of| of.0 == *source && of.1 == *queue)
                    };
                    if demands.iter().any(of_group) {
                        self.told.entry(group.id.clone()).or_default().push(now);
                    }
                }
            }
            Event::Supply { asked, told } => {
                for (group, supply) in told {
                    self.describing.remove(group);
                    self.learn(*asked, group, supply);
                }
            }
            Event::Launched { group, told, .. } => {
                if let Some(order) = self.launching.remove(group)
                    && let Launched::Accepted { count, .. } = told
                {
                    assert!(
                        *count <= order.count.get(),
                        "the test gives what was asked for"
                    );
                }
            }
            Event::Troubles { group, .. } => {
                self.asking.remove(group);
            }
            Event::Leader(leader) => self.leader = *leader,
            Event::Settings(_) | Event::Tick => {}
        }
    }

    /// A read that failed takes nothing back of what was read well before.
    fn learn(&mut self, asked: Instant, group: &GroupId, told: &Result<Supply, String>) {
        let overtaken = |known: &Known| known.asked > asked;
        let Ok(supply) = told else {
            return;
        };
        if self.known.get(group).is_some_and(overtaken) {
            return;
        }
        // Of an instance that is listed twice, the last counts.
        let listed = supply.members.iter();
        let stages: BTreeMap<_, _> = listed
            .map(|listed| (&listed.member, listed.stage))
            .collect();
        let alive = stages.values().filter(|stage| **stage != Stage::Away);
        let known = Known {
            asked,
            desired: supply.desired,
            alive: u32::try_from(alive.count()).expect("a test has few"),
            max: supply.max,
        };
        self.known.insert(group.clone(), known);
    }

    fn check(&mut self, now: Instant, action: &Action) {
        match action {
            Action::Fetch { source, queues } => {
                assert!(
                    self.fetching.insert(source.clone()),
                    "asked twice: {source}"
                );
                assert!(!queues.is_empty());
            }
            Action::Describe { groups, .. } => {
                assert!(!groups.is_empty());
                for group in groups {
                    assert!(self.describing.insert(group.clone()), "read twice: {group}");
                }
            }
            Action::Troubles(group) => {
                assert!(
                    self.asking.insert(group.clone()),
                    "asked twice why: {group}"
                );
            }
            Action::Launch(order) => {
                self.check_order(now, order);
                let before = self.launching.insert(order.group.clone(), order.clone());
                assert_eq!(before, None, "ordered twice");
            }
            Action::Decided(decision) => {
                // Its line has to be writable, whatever the numbers.
                assert!(!decision.to_string().is_empty());
            }
            Action::Report(_) => {}
        }
    }

    fn check_order(&self, now: Instant, order: &Order) {
        assert!(self.leader, "ordered without the lease");
        assert!((1..=64).contains(&order.token.len()));
        let chain = &self.chains[&order.group];
        assert!(
            chain
                .iter()
                .all(|group| !self.launching.contains_key(group) || order.group != *group),
            "an order is outstanding"
        );
        let known = self
            .known
            .get(&order.group)
            .expect("ordered for a group never read");
        // Never down, and never in vain.
        assert!(order.desired > known.desired, "{order:?} of {known:?}");
        assert!(
            order.desired >= known.desired.max(known.alive) + order.count.get(),
            "{order:?} of {known:?}"
        );
        // Never above a maximum.
        let settings = self
            .settings
            .groups
            .iter()
            .find(|group| group.id == order.group);
        let set = settings.and_then(|group| group.max);
        for max in [known.max, set].into_iter().flatten() {
            assert!(order.desired <= max, "{order:?} above {max}");
        }
        if let Some(max) = self.settings.max_instances {
            let used: u64 = self
                .settings
                .groups
                .iter()
                .map(|group| self.uses(group))
                .sum();
            let after = used + u64::from(order.count.get());
            assert!(after <= u64::from(max), "{order:?} makes {after} of {max}");
        }
        // Only with both readings, supply after demand, and neither old.
        let told = self.told.get(&chain[0]).map_or(&[][..], Vec::as_slice);
        let asked = chain.iter().map(|group| {
            let known = self.known.get(group);
            known.expect("a group of the chain was not read").asked
        });
        let asked = asked.min().expect("a chain has a group");
        let in_view = told.iter().rfind(|told| **told <= asked);
        let in_view = in_view.expect("supply was not asked for after demand was told");
        assert!(now.since(*in_view) <= Duration::from_secs(40) + self.settings.interval);
    }

    fn uses(&self, group: &crate::poll::plan::GroupSettings) -> u64 {
        let ordered = self
            .launching
            .get(&group.id)
            .map_or(0, |order| order.count.get());
        let has = match self.known.get(&group.id) {
            Some(known) => known.desired.max(known.alive),
            None => group.max.expect("a group of unknown size leaves no budget"),
        };
        u64::from(has) + u64::from(ordered)
    }
}
