//! The real planner as a poller of a world, with what the run loop does between.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::plan::{Action, Event, GroupId, Order, Planner};
use super::nature::{How, Nature, group, source};
use super::wire::{Ask, Poller, Told, Write};
use crate::lifecycle::Instant;

/// Wall clock time of the beginning of all worlds, in seconds since 1970.
const WALL: Duration = Duration::from_secs(1_800_000_000);

pub struct Ours {
    planner: Planner,
    how: BTreeMap<GroupId, How>,
    /// Says what it decides on standard output.
    aloud: bool,
}

impl Ours {
    pub fn new(nature: &Nature, now: Instant) -> Ours {
        let chains = nature.chains.iter().enumerate();
        let how = chains.flat_map(|(at, chain)| {
            let groups = chain.groups.iter().enumerate();
            groups.map(move |(place, nature)| (group(at, place), nature.how))
        });
        Ours {
            planner: Planner::new(nature.settings(), now, WALL + now.0),
            how: how.collect(),
            aloud: false,
        }
    }

    pub fn aloud(mut self) -> Self {
        self.aloud = true;
        self
    }

    fn write(&self, order: Order) -> Ask {
        let write = match self.how.get(&order.group) {
            Some(How::LaunchInstances) => Write::Launch(order.count.get()),
            Some(How::SetDesired) | None => Write::SetDesired(order.desired),
        };
        Ask::Write {
            group: order.group,
            write,
            token: order.token,
        }
    }

    fn ask(&self, action: Action) -> Option<Ask> {
        match action {
            // Unclaimed and running tasks are two requests a queue where they are the most.
            Action::Fetch { source: _, queues } => Some(Ask::Fetch {
                calls: 2 * queues.len() as u32,
                queues,
            }),
            Action::Describe { backend: _, groups } => Some(Ask::Describe {
                calls: groups.len().div_ceil(100) as u32,
                groups,
            }),
            Action::Launch(order) => Some(self.write(order)),
            Action::Troubles(group) => Some(Ask::Troubles(group)),
            Action::Decided(decision) => {
                if self.aloud {
                    println!("            {}: {decision}", decision.group);
                }
                None
            }
            Action::Report(report) => {
                if self.aloud {
                    println!("            {report:?}");
                }
                None
            }
        }
    }
}

impl Poller for Ours {
    fn hears(&mut self, now: Instant, told: Told) -> Vec<Ask> {
        let event = match told {
            Told::Demand { asked, told } => Event::Demand {
                source: source(),
                asked,
                told,
            },
            Told::Supply { asked, told } => Event::Supply { asked, told },
            Told::Launched { group, token, told } => Event::Launched { group, token, told },
            Told::Troubles { group, told } => Event::Troubles { group, told },
            Told::Leader(leads) => Event::Leader(leads),
            Told::Time => Event::Tick,
        };
        let actions = self.planner.handle(now, event);
        let asks = actions.into_iter();
        asks.filter_map(|action| self.ask(action)).collect()
    }

    fn next(&self) -> Option<Instant> {
        self.planner.next_deadline()
    }
}
