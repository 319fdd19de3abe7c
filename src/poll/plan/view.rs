//! What the status page shows of a group.

use std::time::Duration;

use crate::lifecycle::Instant;

use super::Planner;
use super::breaker::BreakerView;
use super::decision::Decision;
use super::group::{Group, Totals};
use super::words::GroupId;

/// One group, as far as it is known now.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupView {
    /// The queue's; `None`: unknown now, or it is a fallback's.
    pub waiting: Option<u32>,
    pub running: Option<u32>,
    /// How long the oldest waiting job had waited when it was read.
    pub oldest: Option<Duration>,
    /// When that was.
    pub demand_asked: Option<Instant>,
    /// `None`: the group was never read.
    pub supply: Option<SupplyView>,
    /// The least of the group's own, the configured, and what `max_instances` leaves it.
    pub max: Option<u32>,
    pub boot_deadline: Duration,
    pub boot_p50: Option<Duration>,
    pub boot_p95: Option<Duration>,
    pub breaker: BreakerView,
    /// The last one, also if nothing can be decided now.
    pub decision: Option<Decision>,
    /// Why nothing can be decided now.
    pub unknown: Option<String>,
    pub totals: Totals,
}

/// The last read of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupplyView {
    pub desired: u32,
    pub alive: u32,
    pub booting: u32,
    pub stale: u32,
}

impl Planner {
    /// For the status page, as of the last event. `None`: there is no such group.
    pub fn view(&self, group: &GroupId) -> Option<GroupView> {
        let now = self.now;
        let group = &self.groups[*self.group_of.get(group)?];
        let chain = group.chain.map(|index| &self.chains[index]);
        // What waits is shown where it is asked for, once.
        let told = chain
            .filter(|_| group.settings.queue.is_some())
            .and_then(|chain| chain.told);
        let supply = group.known().then(|| supply(group, now));
        Some(GroupView {
            waiting: told.map(|told| told.waiting),
            running: told.and_then(|told| told.running),
            oldest: told.and_then(|told| told.oldest),
            demand_asked: told.map(|told| told.asked),
            supply,
            max: self.most(group, supply),
            boot_deadline: group.boots.deadline(),
            boot_p50: group.boots.quantile(0.5),
            boot_p95: group.boots.quantile(0.95),
            breaker: group.breaker.view(now),
            decision: group.decision.clone(),
            unknown: chain
                .and_then(|chain| chain.unknown.clone())
                .or_else(|| group.failure.clone()),
            totals: group.totals.clone(),
        })
    }

    /// What counts against `max_instances`; `None`: a group counts that nobody knows the size of.
    pub fn used_instances(&self) -> Option<u64> {
        *self.used.get_or_init(|| self.used(self.now))
    }

    fn most(&self, group: &Group, supply: Option<SupplyView>) -> Option<u32> {
        let max = group.max();
        let Some(budget) = self.max_instances else {
            return max;
        };
        let has = supply.map_or(0, |supply| supply.desired.max(supply.alive));
        let used = self.used_instances();
        let left = used.map_or(0, |used| u64::from(budget).saturating_sub(used));
        let left = u32::try_from(left).unwrap_or(u32::MAX).saturating_add(has);
        Some(max.map_or(left, |max| max.min(left)))
    }
}

fn supply(group: &Group, now: Instant) -> SupplyView {
    let count = group.count(now, false);
    SupplyView {
        desired: count.desired,
        alive: count.alive(),
        booting: count.booting(),
        stale: count.stale(),
    }
}

/// When a source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceView {
    pub next: Instant,
    /// How often it wants to be asked, where that is less often than the interval.
    pub every: Option<Duration>,
}
