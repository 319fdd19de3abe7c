//! What pollers are answered: the source, the cloud, and the network between.

use std::time::Duration;

use super::super::plan::{
    Demand, GroupId, Harvest, Hints, Launched, Queue, Supply, Trouble, TroubleKind,
};
use super::deeds::{Asker, Happening, throttling};
use super::group::{shortage, trouble};
use super::instance::member;
use super::wire::{Ask, Told, Write};
use super::{World, nature};
use crate::lifecycle::Instant;

/// A call that takes this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

impl World<'_> {
    pub(super) fn asks(&mut self, asker: Asker, ask: Ask) {
        match &ask {
            Ask::Fetch { calls, .. } => self.tally.queue_calls += u64::from(*calls),
            Ask::Describe { calls, .. } => self.tally.cloud_calls += u64::from(*calls),
            Ask::Write {
                group,
                write,
                token,
            } => {
                self.says(|| format!("poller {} wants {group}: {write:?}", asker.seat));
                if !self.may_write(asker) {
                    let why = trouble(TroubleKind::Conflict, "the lease is lost");
                    let told = Told::Launched {
                        group: group.clone(),
                        token: token.clone(),
                        told: Launched::Refused(why),
                    };
                    return self.later(Duration::ZERO, Happening::Told(asker, told));
                }
                self.tally.cloud_calls += 1;
            }
            Ask::Troubles(_) => self.tally.cloud_calls += 1,
        }
        let wait = self.leg();
        self.later(wait, Happening::Asked(asker, self.now, ask));
    }

    /// One way through the network.
    fn leg(&mut self) -> Duration {
        let (least, most) = self.nature.network;
        self.chance.between(least, most)
    }

    pub(super) fn asked(&mut self, asker: Asker, asked: Instant, ask: Ask) {
        let mut wait = self.leg();
        let slow = self.nature.faults.slow;
        if self.strikes(slow) {
            wait += PATIENCE - 2 * self.nature.network.1;
        }
        let told = match ask {
            Ask::Fetch { queues, .. } => Told::Demand {
                asked,
                told: self.tells_demand(queues),
            },
            Ask::Describe { groups, .. } => Told::Supply {
                asked,
                told: self.tells_supply(groups),
            },
            Ask::Write {
                group,
                write,
                token,
            } => {
                let told = self.write(&group, write, &token);
                if matches!(told, Launched::Unknown(_)) {
                    wait = PATIENCE;
                }
                Told::Launched { group, token, told }
            }
            Ask::Troubles(group) => {
                let throttled = self.nature.faults.throttled;
                let told = match (self.strikes(throttled), self.at(&group)) {
                    (false, Some(at)) => Ok(self.groups[at].troubles(self.now)),
                    _ => Err(throttling().message),
                };
                Told::Troubles { group, told }
            }
        };
        self.later(wait, Happening::Told(asker, told));
    }

    fn tells_demand(&mut self, queues: Vec<Queue>) -> Result<Harvest, (String, Hints)> {
        let faults = self.nature.faults.clone();
        if self.strikes(faults.limited) {
            let hints = Hints {
                not_before: Some(self.chance.seconds(1, 60)),
                every: None,
            };
            return Err(("asked too often".to_owned(), hints));
        }
        if self.strikes(faults.demand) {
            return Err(("502 Bad Gateway".to_owned(), Hints::default()));
        }
        let lag = self.nature.demand_lag;
        let age = self.chance.between(Duration::ZERO, lag);
        let then = Instant(self.now.0.saturating_sub(age));
        let mut harvest = Harvest::default();
        for name in queues {
            let chain = (0..self.queues.len()).find(|chain| nature::queue(*chain) == name);
            let Some(chain) = chain.filter(|_| !self.strikes(faults.missing)) else {
                continue;
            };
            let past = self.queues[chain].past.at(then).filter(|_| !lag.is_zero());
            let demand = past.cloned().unwrap_or_else(|| self.demand(chain));
            harvest.demands.push((name, Ok(demand)));
        }
        Ok(harvest)
    }

    /// What a source that lies about nothing tells of this queue.
    fn demand(&self, chain: usize) -> Demand {
        let queue = &self.queues[chain];
        let here = self.instances.iter().filter(|(_, instance)| {
            instance.connected && self.groups[instance.group].chain == chain
        });
        let free = |instance: &super::Instance| {
            instance.free(self.groups[instance.group].nature.slots.get())
        };
        let tells = self.nature.tells;
        let oldest = queue.waiting.front().map(|job| queue.jobs[*job].arrived);
        let name = |number: &u32| format!("ip-10-0-0-1 {}", member(*number));
        Demand {
            waiting: match self.is_paused() {
                true => 0,
                false => queue.waiting.len() as u32,
            },
            running: tells.running.then_some(queue.running),
            free: tells.free.then(|| here.clone().map(|(_, i)| free(i)).sum()),
            agents: tells.agents.then(|| here.clone().count() as u32),
            names: tells
                .names
                .then(|| here.map(|(number, _)| name(number)).collect()),
            oldest: oldest.map(|arrived| self.now.since(arrived)),
        }
    }

    fn tells_supply(&mut self, groups: Vec<GroupId>) -> Vec<(GroupId, Result<Supply, String>)> {
        let faults = self.nature.faults.clone();
        let throttled = self.strikes(faults.throttled);
        let fails = self.strikes(faults.supply);
        let tell = |id: GroupId| {
            let told = if throttled {
                Err(throttling().message)
            } else if fails && self.chance.one_in(2) {
                Err("Internal Server Error".to_owned())
            } else {
                match self.at(&id) {
                    Some(at) => Ok(self.supply_told(at)),
                    None => Err("there is no such group".to_owned()),
                }
            };
            (id, told)
        };
        groups.into_iter().map(tell).collect()
    }

    fn supply_told(&mut self, at: usize) -> Supply {
        let lag = self.nature.supply_lag;
        if lag.is_zero() {
            return self.supply(at);
        }
        let age = self.chance.between(Duration::ZERO, lag);
        let then = Instant(self.now.0.saturating_sub(age));
        let past = self.groups[at].past.at(then).cloned();
        past.unwrap_or_else(|| self.supply(at))
    }

    fn supply(&self, at: usize) -> Supply {
        let group = &self.groups[at];
        let members = group.members.iter();
        Supply {
            desired: group.desired,
            max: Some(group.nature.max),
            members: members
                .filter_map(|number| Some(self.instances.get(number)?.listed(*number)))
                .collect(),
            held: None,
        }
    }

    fn write(&mut self, group: &GroupId, write: Write, token: &str) -> Launched {
        let Some(at) = self.at(group) else {
            let message = "AutoScalingGroup name not found";
            return Launched::Refused(trouble(TroubleKind::Denied, message));
        };
        let faults = self.nature.faults.clone();
        if self.strikes(faults.throttled) {
            return Launched::Refused(throttling());
        }
        let lost = self.strikes(faults.lost);
        if lost && self.chance.one_in(2) {
            return Launched::Unknown("no answer".to_owned());
        }
        let told = match write {
            Write::SetDesired(desired) => self.sets_desired(at, desired),
            Write::Launch(count) => self.launches_instances(at, count, token),
            Write::Run(_) if self.is_short(at) => Launched::Refused(shortage()),
            Write::Run(count) => {
                self.raises(at, self.groups[at].desired + count);
                self.accepted(at, count)
            }
        };
        self.note_group(at);
        match lost {
            true => Launched::Unknown("the answer was lost".to_owned()),
            false => told,
        }
    }

    fn sets_desired(&mut self, at: usize, desired: u32) -> Launched {
        let group = &self.groups[at];
        if desired < group.nature.min || desired > group.nature.max {
            return Launched::Refused(out_of_bounds());
        }
        let count = desired.saturating_sub(group.desired);
        self.raises(at, desired);
        self.reconcile(at);
        Launched::Accepted {
            count,
            members: Vec::new(),
        }
    }

    fn launches_instances(&mut self, at: usize, count: u32, token: &str) -> Launched {
        let group = &self.groups[at];
        if let Some((before, told)) = group.tokens.get(token) {
            let mismatch = trouble(TroubleKind::Conflict, "IdempotentParameterMismatch");
            return match *before == count {
                true => told.clone(),
                false => Launched::Refused(mismatch),
            };
        }
        if group.desired + count > group.nature.max {
            return Launched::Refused(out_of_bounds());
        }
        let told = if self.is_short(at) {
            self.tally.faults += 1;
            Launched::Refused(shortage())
        } else {
            self.raises(at, self.groups[at].desired + count);
            self.accepted(at, count)
        };
        let tokens = &mut self.groups[at].tokens;
        tokens.insert(token.to_owned(), (count, told.clone()));
        told
    }

    /// The instances are there at once, and their ids are told.
    fn accepted(&mut self, at: usize, count: u32) -> Launched {
        let members = (0..count).map(|_| member(self.launches(at))).collect();
        Launched::Accepted { count, members }
    }

    fn raises(&mut self, at: usize, desired: u32) {
        let before = self.groups[at].desired;
        self.groups[at].desired = desired;
        self.judge_write(at, before);
    }

    fn at(&self, group: &GroupId) -> Option<usize> {
        let name = |at: &usize| nature::group(self.groups[*at].chain, self.groups[*at].place);
        (0..self.groups.len()).find(|at| name(at) == *group)
    }

    pub(super) fn note_queue(&mut self, chain: usize) {
        self.queues[chain].note(self.now);
        if !self.nature.demand_lag.is_zero() {
            let demand = self.demand(chain);
            self.queues[chain].past.is(self.now, demand);
        }
    }

    pub(super) fn note_group(&mut self, at: usize) {
        if !self.nature.supply_lag.is_zero() {
            let supply = self.supply(at);
            self.groups[at].past.is(self.now, supply);
        }
    }
}

fn out_of_bounds() -> Trouble {
    trouble(
        TroubleKind::Conflict,
        "ValidationError: New SetDesiredCapacity value is outside of [min, max]",
    )
}
