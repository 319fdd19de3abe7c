//! DevExtreme's scaler for Drone 0.8: jobs over jobs an agent, where a rest of up to 0.35 gets no
//! agent. One request for the builds, and one more a build. When the server does not answer, the
//! last answer holds for five minutes, then nothing waits.

use std::time::Duration;

use super::super::super::plan::{Demand, Supply};
use super::super::nature::GroupNature;
use super::super::wire::Write;
use super::{Formula, Round};
use crate::lifecycle::Instant;

const PAUSE: Duration = Duration::from_secs(5);
const BELIEVED: Duration = Duration::from_secs(5 * 60);

struct Devextreme {
    slots: u32,
    last: Option<(Instant, u32)>,
}

pub fn make(group: &GroupNature) -> Box<dyn Formula> {
    Box::new(Devextreme {
        slots: group.slots.get(),
        last: None,
    })
}

fn jobs(demand: &Demand) -> u32 {
    demand.waiting + demand.running.unwrap_or(0)
}

impl Formula for Devextreme {
    fn fetches(&self, last: Option<&Demand>) -> u32 {
        1 + last.map_or(0, jobs)
    }

    fn describes(&self) -> u32 {
        1
    }

    fn round(&mut self, now: Instant, demand: Option<&Demand>, supply: Option<&Supply>) -> Round {
        if let Some(demand) = demand {
            self.last = Some((now, jobs(demand)));
        }
        let believed = self.last.filter(|(at, _)| now.since(*at) <= BELIEVED);
        let jobs = believed.map_or(0, |(_, jobs)| jobs);
        let Some(supply) = supply else {
            return Round::nothing(PAUSE);
        };
        let rest = f64::from(jobs % self.slots) / f64::from(self.slots);
        let wanted = jobs / self.slots + u32::from(rest > 0.35);
        let max = supply.max.unwrap_or(u32::MAX);
        let desired = wanted.max(jobs.min(1)).min(max);
        Round {
            write: (supply.desired < desired).then_some(Write::SetDesired(desired)),
            pause: PAUSE,
        }
    }
}
