//! circleci-runner-autoscaler: adds the unclaimed tasks to the desired capacity, then waits until
//! every instance in service is a runner by name, for fifteen minutes at most.
//!
//! Its wait polls with a pause that grows from half a second to a minute by half each time (the
//! defaults of its back-off library).

use std::time::Duration;

use super::super::super::plan::{Demand, Stage, Supply};
use super::super::nature::GroupNature;
use super::super::wire::Write;
use super::{Formula, Round};
use crate::lifecycle::Instant;

const PAUSE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(15 * 60);
const FIRST: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_secs(60);

struct Circleci {
    /// Since when it waits, and its pause.
    waits: Option<(Instant, Duration)>,
}

pub fn make(_: &GroupNature) -> Box<dyn Formula> {
    Box::new(Circleci { waits: None })
}

impl Formula for Circleci {
    fn fetches(&self, _: Option<&Demand>) -> u32 {
        1
    }

    fn describes(&self) -> u32 {
        1
    }

    fn round(&mut self, now: Instant, demand: Option<&Demand>, supply: Option<&Supply>) -> Round {
        if let Some((since, pause)) = self.waits {
            let over = now.since(since) > LONGEST;
            if over
                || demand
                    .zip(supply)
                    .is_some_and(|(d, s)| all_registered(d, s))
            {
                self.waits = None;
                return Round::nothing(PAUSE);
            }
            self.waits = Some((since, (pause * 3 / 2).min(SLOWEST)));
            return Round::nothing(pause);
        }
        let (Some(demand), Some(supply)) = (demand, supply) else {
            return Round::nothing(PAUSE);
        };
        let max = supply.max.unwrap_or(u32::MAX);
        if demand.waiting == 0 || supply.desired == max {
            return Round::nothing(PAUSE);
        }
        self.waits = Some((now, FIRST));
        let desired = supply.desired.saturating_add(demand.waiting).min(max);
        Round {
            write: Some(Write::SetDesired(desired)),
            pause: FIRST,
        }
    }
}

fn all_registered(demand: &Demand, supply: &Supply) -> bool {
    let names = demand.names.as_deref().unwrap_or_default();
    let registered = supply.members.iter().filter(|listed| {
        let id = listed.member.as_str();
        listed.stage == Stage::Up && names.iter().any(|name| name.contains(id))
    });
    registered.count() as u32 == supply.desired
}
