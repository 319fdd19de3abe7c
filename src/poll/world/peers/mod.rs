//! How other pollers decide, re-stated from their published sources so that they can be compared
//! in the same world. Each is its formula and its pauses; what they do when instances end is left
//! out, because instances end themselves here.

mod buildkite;
mod circleci;
mod devextreme;
mod kraken;
mod woodpecker;

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::plan::{Demand, GroupId, Queue, Supply};
use super::nature::{GroupNature, Nature, group, queue};
use super::wire::{Ask, Poller, Told, Write};
use crate::lifecycle::Instant;

/// What a round came to.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub write: Option<Write>,
    /// Until the next round.
    pub pause: Duration,
}

impl Round {
    fn nothing(pause: Duration) -> Round {
        Round { write: None, pause }
    }
}

/// A peer's decision for one group. It keeps what the peer keeps in memory.
pub trait Formula {
    /// Requests to the CI server of the next round, after a round that told this.
    fn fetches(&self, last: Option<&Demand>) -> u32;

    /// Requests to the cloud of the next round, beside the write.
    fn describes(&self) -> u32;

    /// `None` is what could not be read.
    fn round(&mut self, now: Instant, demand: Option<&Demand>, supply: Option<&Supply>) -> Round;
}

/// Makes the formula of a peer for a group.
pub type Make = fn(&GroupNature) -> Box<dyn Formula>;

/// The peers, by name.
pub const PEERS: [(&str, Make); 5] = [
    ("circleci-runner-autoscaler", circleci::make),
    ("DevExtreme scaler", devextreme::make),
    ("Kraken", kraken::make),
    ("buildkite-agent-scaler", buildkite::make),
    ("Woodpecker autoscaler", woodpecker::make),
];

/// The loop that they all have, for the first group of each chain: none knows of a fallback.
pub struct Peer {
    groups: BTreeMap<GroupId, State>,
}

struct State {
    queue: Queue,
    formula: Box<dyn Formula>,
    demand: Option<Demand>,
    /// When the next round begins; `None` while one is under way.
    next: Option<Instant>,
    pause: Duration,
}

impl Peer {
    pub fn new(nature: &Nature, make: Make, now: Instant) -> Peer {
        let chains = nature.chains.iter().enumerate();
        let groups = chains.filter_map(|(at, chain)| {
            let state = State {
                queue: queue(at),
                formula: make(chain.groups.first()?),
                demand: None,
                next: Some(now),
                pause: Duration::ZERO,
            };
            Some((group(at, 0), state))
        });
        Peer {
            groups: groups.collect(),
        }
    }

    fn supplied(&mut self, now: Instant, id: GroupId, supply: Option<Supply>) -> Option<Ask> {
        let state = self.groups.get_mut(&id)?;
        let round = state
            .formula
            .round(now, state.demand.as_ref(), supply.as_ref());
        state.pause = round.pause;
        if let Some(write) = round.write {
            return Some(Ask::Write {
                group: id,
                write,
                token: String::new(),
            });
        }
        state.next = Some(now.after(round.pause));
        None
    }
}

impl Poller for Peer {
    fn hears(&mut self, now: Instant, told: Told) -> Vec<Ask> {
        match told {
            Told::Demand { told, asked: _ } => {
                let demands = told.map(|harvest| harvest.demands).unwrap_or_default();
                // One question at a time a group; a failure has no names, so it is everybody's
                // whose answer is missing.
                let mut asks = Vec::new();
                for (id, state) in &mut self.groups {
                    let asked = state.next.is_none();
                    let told = demands.iter().find(|(queue, _)| *queue == state.queue);
                    if asked && (told.is_some() || demands.is_empty()) {
                        state.demand = told.and_then(|(_, demand)| demand.clone().ok());
                        asks.push(Ask::Describe {
                            groups: vec![id.clone()],
                            calls: state.formula.describes(),
                        });
                    }
                }
                asks
            }
            Told::Supply { told, asked: _ } => {
                let asks = told.into_iter();
                asks.filter_map(|(id, supply)| self.supplied(now, id, supply.ok()))
                    .collect()
            }
            Told::Launched { group, .. } => {
                if let Some(state) = self.groups.get_mut(&group) {
                    state.next = Some(now.after(state.pause));
                }
                Vec::new()
            }
            Told::Troubles { .. } | Told::Leader(_) => Vec::new(),
            Told::Time => {
                let mut asks = Vec::new();
                for state in self.groups.values_mut() {
                    if state.next.take_if(|at| *at <= now).is_some() {
                        asks.push(Ask::Fetch {
                            queues: vec![state.queue.clone()],
                            calls: state.formula.fetches(state.demand.as_ref()),
                        });
                    }
                }
                asks
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.groups.values().filter_map(|state| state.next).min()
    }
}

/// Instances that are there and in service.
fn in_service(supply: &Supply) -> u32 {
    use super::super::plan::Stage;
    let up = supply
        .members
        .iter()
        .filter(|listed| listed.stage == Stage::Up);
    up.count() as u32
}
