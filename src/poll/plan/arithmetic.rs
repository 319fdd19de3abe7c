//! How many instances are missing: pure arithmetic, one formula for each thing a source can tell.
//!
//! A chain (a group and its fallbacks) serves one queue. What the other groups of the chain have
//! counts in jobs; the group that is asked about counts in instances. `h` is the headroom, which
//! the chain has once; `others` are the slots of the other groups' usable instances, `boots` those
//! of them that boot.
//!
//! Running jobs known:
//!
//! ```text
//! want = round((waiting + running - others) / slots) + h
//! need = min(want - usable, round((waiting - boots) / slots) + h - booting)
//! ```
//!
//! The second bound is for jobs on instances that are no longer listed (draining, detached, being
//! ended): they are `running`, but nothing that waits. It never needs more than what waits.
//!
//! Running unknown, free slots known:
//!
//! ```text
//! need = round((waiting - free - boots - booting * slots) / slots) + h
//! ```
//!
//! Neither known, so that busy and free instances look alike. Only what boots is sure to be free;
//! headroom is then the least number of instances, because more would be added again and again:
//!
//! ```text
//! need = max(round((waiting - boots) / slots) - booting, h - usable)
//! ```

use std::num::NonZeroU32;

use super::words::{Demand, Round};

/// What arithmetic knows of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jobs {
    pub waiting: u32,
    pub running: Option<u32>,
    /// Slots that are connected and free; only looked at where `running` is unknown.
    pub free: Option<u32>,
}

impl From<&Demand> for Jobs {
    fn from(demand: &Demand) -> Jobs {
        Jobs {
            waiting: demand.waiting,
            running: demand.running,
            free: demand.free,
        }
    }
}

/// One group of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    pub slots: NonZeroU32,
    pub round: Round,
    /// Alive, and neither stale nor on the way to a group whose launches fail.
    pub usable: u32,
    /// Of the usable: those that cannot have a job yet.
    pub booting: u32,
    /// Up so recently that their agents may not have asked for a job yet. They count as booting
    /// where busy and free instances cannot be told apart.
    pub settling: u32,
}

impl Part {
    fn jobs(&self, instances: u32) -> u64 {
        u64::from(instances) * u64::from(self.slots.get())
    }
}

/// What is missing, and how that came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Instances that this group would have if it could: with those that it has.
    pub want: u32,
    pub need: u32,
    /// Jobs that the other groups of the chain have instances for.
    pub others: u64,
    /// The second bound, where it is the one that counts.
    pub bound: Option<u32>,
}

/// What is missing if the group `index` of the chain has to bring it all.
pub fn need(jobs: Jobs, headroom: u32, parts: &[Part], index: usize) -> Need {
    let part = &parts[index];
    let of_others = |count: fn(&Part) -> u32| {
        parts
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .fold(0u64, |sum, (_, other)| {
                sum.saturating_add(other.jobs(count(other)))
            })
    };
    let sum = Sum { part, headroom };
    let usable = i64::from(part.usable);
    let waiting = u64::from(jobs.waiting);
    let (need, others, bound) = match (jobs.running, jobs.free) {
        (Some(running), _) => {
            let others = of_others(|other| other.usable);
            let boots = of_others(|other| other.booting);
            let first = sum.instances(waiting + u64::from(running), others) - usable;
            let second = sum.instances(waiting, boots) - i64::from(part.booting);
            (
                first.min(second),
                others,
                (second < first).then_some(second),
            )
        }
        (None, Some(free)) => {
            let booting = part.booting.saturating_add(part.settling);
            let others = of_others(|other| other.booting.saturating_add(other.settling));
            let covered = others
                .saturating_add(u64::from(free))
                .saturating_add(part.jobs(booting));
            (sum.instances(waiting, covered), others, None)
        }
        (None, None) => {
            let booting = part.booting.saturating_add(part.settling);
            let others = of_others(|other| other.booting.saturating_add(other.settling));
            let missing = sum.without_headroom(waiting, others) - i64::from(booting);
            let all = of_others(|other| other.usable) / u64::from(part.slots.get());
            let least = i64::from(headroom) - usable - i64::try_from(all).unwrap_or(i64::MAX / 2);
            (missing.max(least), others, None)
        }
    };
    let need = clamp(need);
    Need {
        want: match jobs.running {
            Some(running) => clamp(sum.instances(waiting + u64::from(running), others)),
            None => part.usable.saturating_add(need),
        },
        need,
        others,
        bound: bound.map(clamp),
    }
}

struct Sum<'a> {
    part: &'a Part,
    headroom: u32,
}

impl Sum<'_> {
    /// Instances for the jobs that are not covered, and the headroom that what covers leaves.
    fn instances(&self, jobs: u64, covered: u64) -> i64 {
        let spare = covered.saturating_sub(jobs) / u64::from(self.part.slots.get());
        let headroom = u64::from(self.headroom).saturating_sub(spare);
        self.without_headroom(jobs, covered) + i64::try_from(headroom).unwrap_or(0)
    }

    fn without_headroom(&self, jobs: u64, covered: u64) -> i64 {
        let jobs = u32::try_from(jobs.saturating_sub(covered)).unwrap_or(u32::MAX);
        i64::from(self.part.round.instances(jobs, self.part.slots))
    }
}

fn clamp(instances: i64) -> u32 {
    u32::try_from(instances.max(0)).unwrap_or(u32::MAX)
}

/// What may be launched at most, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `min(own max, configured max) - max(desired, alive)`.
    pub room: u32,
    /// What `max_instances` leaves.
    pub budget: u32,
    pub step: Option<NonZeroU32>,
    pub breaker: Allowance,
    /// The group takes orders but does not act on them.
    pub held: bool,
    pub leader: bool,
}

/// What a group's breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    Any,
    /// A probe.
    One,
    None,
}

/// What bound a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Nothing is missing.
    Enough,
    /// All that is missing is launched.
    Launched,
    /// The group's own maximum, or the configured one.
    Max,
    /// `max_instances` over all groups.
    Budget,
    /// The group's step.
    Step,
    /// Launches of this group failed; its fallback takes them.
    Breaker,
    /// The groups before it in the chain have or take what is missing.
    Fallback,
    /// The group accepts orders, but is suspended or going away.
    Held,
    /// Another poller has the lease.
    NotLeader,
    /// Nobody knows what became of the last order.
    Unsure,
    /// The last order was throttled, and is not repeated yet.
    Throttled,
}

/// What a group launches of what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub launch: u32,
    pub why: Why,
    /// For the next group of the chain: what room, breaker or hold refused. Step and budget
    /// refuse for the whole chain.
    pub rest: u32,
}

pub fn grant(need: u32, bounds: Bounds) -> Grant {
    if need == 0 || !bounds.leader {
        let why = if need == 0 {
            Why::Enough
        } else {
            Why::NotLeader
        };
        return Grant {
            launch: 0,
            why,
            rest: 0,
        };
    }
    let breaker = match bounds.breaker {
        Allowance::Any => u32::MAX,
        Allowance::One => 1,
        Allowance::None => 0,
    };
    let held = if bounds.held { 0 } else { u32::MAX };
    let step = bounds.step.map_or(u32::MAX, NonZeroU32::get);
    let own = [
        (held, Why::Held),
        (breaker, Why::Breaker),
        (bounds.room, Why::Max),
    ];
    let for_all = [(step, Why::Step), (bounds.budget, Why::Budget)];
    let (most, why) = own
        .into_iter()
        .chain(for_all)
        .min_by_key(|(most, _)| *most)
        .expect("there are five bounds");
    if need <= most {
        return Grant {
            launch: need,
            why: Why::Launched,
            rest: 0,
        };
    }
    Grant {
        launch: most,
        why,
        rest: need.min(step).min(bounds.budget) - most,
    }
}
