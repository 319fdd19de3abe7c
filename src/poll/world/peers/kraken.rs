//! Kraken CI: queued jobs less all agents, busy ones too, by `RunInstances` that nothing clamps
//! to the limit; the limit only stops further rounds. It waits for the machines to run before it
//! goes on, and they are agents of its database from then on. It is the CI server itself, so
//! reading the queue costs nothing.

use std::time::Duration;

use super::super::super::plan::{Demand, Supply};
use super::super::nature::GroupNature;
use super::super::wire::Write;
use super::{Formula, Round};
use crate::lifecycle::Instant;

const PAUSE: Duration = Duration::from_secs(5);
/// From `RunInstances` to `running`; EC2 takes about so long.
const RUNNING: Duration = Duration::from_secs(30);

struct Kraken {
    limit: u32,
}

pub fn make(group: &GroupNature) -> Box<dyn Formula> {
    Box::new(Kraken {
        limit: group.limit(),
    })
}

impl Formula for Kraken {
    fn fetches(&self, _: Option<&Demand>) -> u32 {
        0
    }

    fn describes(&self) -> u32 {
        0
    }

    fn round(&mut self, _: Instant, demand: Option<&Demand>, supply: Option<&Supply>) -> Round {
        let (Some(demand), Some(supply)) = (demand, supply) else {
            return Round::nothing(PAUSE);
        };
        let agents = supply.members.len() as u32;
        let missing = demand.waiting.saturating_sub(agents);
        if agents >= self.limit || missing == 0 {
            return Round::nothing(PAUSE);
        }
        Round {
            write: Some(Write::Run(missing)),
            pause: RUNNING,
        }
    }
}
