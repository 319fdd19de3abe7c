//! The rules, looked at from outside: with what is true, not with what a poller believes.

use std::time::Duration;

use super::nature::{How, Nature, Pollers};
use super::tally::{Broken, Rule};
use super::{Instant, World};

/// More than these of one world say nothing new.
const ENOUGH: usize = 20;
/// How long it takes, beside the lag, until a poller has acted upon its first answers.
const MISLED: Duration = Duration::from_secs(60);

pub struct Judge {
    pub broken: Vec<Broken>,
    /// One poller at a time writes.
    alone: bool,
    /// Until then a poller that was started anew may believe what was true before its last life's
    /// writes: that is lag, and nothing it could remember.
    misled_until: Instant,
    has_started: bool,
    /// What is known of the jobs and of the instances is enough to launch exactly what is
    /// missing, whatever calls fail.
    exact: bool,
}

impl Judge {
    pub fn new(nature: &Nature) -> Judge {
        let alone = nature.pollers != Pollers::Two;
        let faults = &nature.faults;
        Judge {
            broken: Vec::new(),
            alone,
            misled_until: Instant::default(),
            has_started: false,
            exact: alone && nature.tells.running && faults.spares_instances(),
        }
    }

    /// A poller begins to live, or to write.
    pub fn starts(&mut self, now: Instant, lag: Duration) {
        if !lag.is_zero() && self.has_started {
            self.misled_until = now.after(lag + MISLED);
        }
        self.has_started = true;
    }

    /// Whether what is wrong now is the poller's fault.
    fn is_strict(&self, now: Instant) -> bool {
        self.alone && now >= self.misled_until
    }

    pub fn endless(&mut self, now: Instant) {
        self.breaks(now, Rule::Endless, "time does not pass".to_owned());
    }

    fn breaks(&mut self, at: Instant, rule: Rule, what: String) {
        if self.broken.len() < ENOUGH {
            self.broken.push(Broken { at, rule, what });
        }
    }
}

impl World<'_> {
    /// A write has just had its effect on the group's desired capacity.
    pub(super) fn judge_write(&mut self, at: usize, before: u32) {
        let group = &self.groups[at];
        let (chain, desired) = (group.chain, group.desired);
        self.says(|| format!("q{chain} is set from {before} to {desired}"));
        if desired < before {
            match self.judge.is_strict(self.now) {
                true => {
                    let what = format!("group {at} from {before} to {desired}");
                    self.judge.breaks(self.now, Rule::Lowered, what);
                }
                false => self.tally.lowered += 1,
            }
        }
        if desired > before {
            self.tally.raised += u64::from(desired - before);
            self.judge_maximum(at);
            self.judge_budget(at);
            self.judge_need(at, before);
        }
    }

    fn judge_maximum(&mut self, at: usize) {
        let group = &self.groups[at];
        let (desired, limit) = (group.desired, group.nature.limit());
        if desired > limit {
            // What the group's own maximum does not forbid, two additions may bring about.
            let strict = self.judge.is_strict(self.now);
            if strict || group.nature.how == How::SetDesired {
                let what = format!("group {at} is {desired}, its maximum {limit}");
                self.judge.breaks(self.now, Rule::AboveMaximum, what);
            }
            self.tally.exceeded = self.tally.exceeded.max(desired - limit);
        }
    }

    fn judge_budget(&mut self, at: usize) {
        let all: u32 = self.groups.iter().map(|group| group.counts()).sum();
        let budget = self.nature.max_instances.unwrap_or(u32::MAX);
        if all > budget {
            if self.judge.is_strict(self.now) {
                let what = format!("{all} instances with group {at}, the budget is {budget}");
                self.judge.breaks(self.now, Rule::AboveBudget, what);
            }
            self.tally.exceeded = self.tally.exceeded.max(all - budget);
        }
    }

    /// Never more instances than the jobs need, and never more new ones than wait.
    fn judge_need(&mut self, at: usize, before: u32) {
        let group = &self.groups[at];
        let strict = self.judge.exact && self.judge.is_strict(self.now);
        if !strict || self.nature.chains[group.chain].groups.len() > 1 {
            return;
        }
        let queue = &self.queues[group.chain];
        let (slots, headroom) = (group.nature.slots.get(), group.nature.headroom);
        let desired = group.desired;
        let jobs = queue.believable.greatest(self.now);
        let waiting = queue.believable_waiting.greatest(self.now);
        // Members that were up and have no agent now are no capacity, as agents or their names
        // show: they are on their way out, or return to service. Nor are those that boot for too
        // long.
        let least = group.nature.bounds.least;
        let there = group
            .members
            .iter()
            .filter_map(|number| self.instances.get(number));
        let leaving = there
            .filter(|it| it.is_between_agents() || it.is_slow(self.now, least))
            .count() as u32;
        // Who decides while an instance takes itself out cannot see the decrement: an absolute
        // desired capacity is then one too high for each.
        let gone = queue.left(self.now);
        let most = (jobs.div_ceil(slots) + headroom + leaving + gone).max(before);
        if desired > most {
            let what = format!("group {at} is {desired}, its {jobs} jobs need {most}");
            self.judge.breaks(self.now, Rule::MoreThanNeeded, what);
        }
        let new = desired - before;
        if new > waiting.div_ceil(slots) + headroom + gone {
            let what = format!("group {at} gets {new} more for {waiting} waiting jobs");
            self.judge.breaks(self.now, Rule::MoreThanNeeded, what);
        }
    }

    /// The end of the world: everything that goes wrong has long stopped.
    pub(super) fn judge_end(&mut self) {
        for at in 0..self.queues.len() {
            let queue = &self.queues[at];
            let began = queue.jobs.iter().filter_map(|job| Some((job, job.began?)));
            let waits = began.map(|(job, began)| began.since(job.arrived));
            self.tally.waits.extend(waits);
            let open = queue.jobs.iter().filter(|job| !job.ended).count();
            let may_run = self.nature.chains[at]
                .groups
                .iter()
                .any(|group| group.limit() > 0)
                && self.nature.max_instances != Some(0);
            if may_run && open > 0 {
                let what = format!("{open} jobs of q{at} are not done");
                self.judge.breaks(self.now, Rule::NotServed, what);
            }
        }
        let unused = self.instances.values().filter(|i| i.up && !i.used).count();
        self.tally.never_used += unused as u64;
        for at in 0..self.queues.len() {
            let groups = || self.groups.iter().filter(|group| group.chain == at);
            let kept = |group: &super::Group| match group.place {
                // Headroom ends itself when it is idle, and may be replaced just then.
                0 => group.nature.min + 2 * group.nature.headroom,
                _ => group.nature.min,
            };
            let desired: u32 = groups().map(|group| group.desired).sum();
            let most: u32 = groups().map(kept).sum();
            if self.queues[at].is_done() && desired > most {
                let what = format!("the groups of q{at} are {desired} and need {most}");
                self.judge.breaks(self.now, Rule::LeftBehind, what);
            }
        }
    }

    /// Instances of the chain that no job needed for long; see [`super::tally::Tally`].
    pub(super) fn over(&self, chain: usize) -> u32 {
        let works = |instance: &&super::Instance| {
            instance.fate == super::instance::Fate::Works
                && !instance.told
                && self.groups[instance.group].chain == chain
        };
        let there = self.instances.values().filter(works).count() as u32;
        there.saturating_sub(self.queues[chain].needed.greatest(self.now))
    }
}
