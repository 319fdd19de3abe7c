//! Woodpecker's autoscaler: once a minute, pending and running workflows over workflows an agent,
//! less free and busy workers over the same. What boots is neither.

use std::time::Duration;

use super::super::super::plan::{Demand, Supply};
use super::super::nature::GroupNature;
use super::super::wire::Write;
use super::{Formula, Round};
use crate::lifecycle::Instant;

const PAUSE: Duration = Duration::from_secs(60);

struct Woodpecker {
    slots: u32,
    max: u32,
}

pub fn make(group: &GroupNature) -> Box<dyn Formula> {
    Box::new(Woodpecker {
        slots: group.slots.get(),
        max: group.limit(),
    })
}

impl Formula for Woodpecker {
    fn fetches(&self, _: Option<&Demand>) -> u32 {
        1
    }

    fn describes(&self) -> u32 {
        1
    }

    fn round(&mut self, _: Instant, demand: Option<&Demand>, supply: Option<&Supply>) -> Round {
        let (Some(demand), Some(supply)) = (demand, supply) else {
            return Round::nothing(PAUSE);
        };
        let running = demand.running.unwrap_or(0);
        let available = (demand.free.unwrap_or(0) + running).div_ceil(self.slots);
        let required = (demand.waiting + running).div_ceil(self.slots);
        let pool = supply.desired.max(supply.members.len() as u32);
        let room = self.max.saturating_sub(pool);
        let missing = required.saturating_sub(available).min(room);
        Round {
            write: (missing > 0).then_some(Write::Run(missing)),
            pause: PAUSE,
        }
    }
}
