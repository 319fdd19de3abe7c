//! buildkite-agent-scaler 1.12 with its defaults, scale-in left to the agents: scheduled and
//! running jobs over agents an instance; one more at each round while less than half of the
//! agents that the instances should have are connected.

use std::time::Duration;

use super::super::super::plan::{Demand, Supply};
use super::super::nature::GroupNature;
use super::super::wire::Write;
use super::{Formula, Round, in_service};
use crate::lifecycle::Instant;

const PAUSE: Duration = Duration::from_secs(10);

struct Buildkite {
    slots: u32,
    min: u32,
}

pub fn make(group: &GroupNature) -> Box<dyn Formula> {
    Box::new(Buildkite {
        slots: group.slots.get(),
        min: group.min,
    })
}

impl Formula for Buildkite {
    fn fetches(&self, _: Option<&Demand>) -> u32 {
        1
    }

    /// The group and its scaling activities.
    fn describes(&self) -> u32 {
        2
    }

    fn round(&mut self, _: Instant, demand: Option<&Demand>, supply: Option<&Supply>) -> Round {
        let (Some(demand), Some(supply)) = (demand, supply) else {
            return Round::nothing(PAUSE);
        };
        let jobs = demand.waiting + demand.running.unwrap_or(0);
        let mut wanted = jobs.div_ceil(self.slots);
        let there = in_service(supply);
        let expected = there * self.slots;
        // Its agents are slots: it starts one agent a job.
        let online = demand.agents.map_or(expected, |agents| agents * self.slots);
        if expected > 0 && online * 2 < expected && there == supply.desired {
            wanted = wanted.max(supply.desired + 1);
        }
        let desired = wanted.clamp(self.min, supply.max.unwrap_or(u32::MAX).max(self.min));
        let current = if there == 0 { supply.desired } else { there };
        let out = desired > current && desired > supply.desired;
        Round {
            write: out.then_some(Write::SetDesired(desired)),
            pause: PAUSE,
        }
    }
}
