//! The poller's decisions, without I/O, clock or async: fed with events and the time, it answers
//! with actions.
//!
//! It promises, whatever the events (each is a property in `properties/`):
//!
//! 1. No order exceeds the group's own maximum, the configured one, or `max_instances`, as far as
//!    reads and its own orders tell.
//! 2. No order is for a desired capacity at or below the one that was read, or that was ordered
//!    moments ago.
//! 3. It orders only if demand was read, and then supply was read after that, and each pair of
//!    reads is decided on once. What is unknown is not zero.
//! 4. The same events give the same actions; the same view gives the same client token.
//! 5. Instances on their way are supply until their deadline. Then they count against every
//!    maximum and for nothing else, and the third in a row closes the group to launches for a
//!    while.
//! 6. It needs no memory: what was ordered before a restart is `desired` above what is listed.
//! 7. What one source or group does not tell delays no other chain. (A chain is decided on as a
//!    whole: if its fallback cannot be read, nobody knows what is missing.)
//!
//! - [`Planner::handle`] takes one event and returns what to do, in order.
//! - [`Planner::next_deadline`] says when to send [`Event::Tick`] if nothing else happens.

mod arithmetic;
mod boot;
mod breaker;
mod budget;
mod chain;
mod decide;
mod decision;
mod event;
mod group;
mod names;
mod orders;
mod pace;
mod progress;
#[cfg(test)]
mod properties;
mod reload;
#[cfg(test)]
mod table;
#[cfg(test)]
mod testing;
mod token;
mod view;
mod words;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::lifecycle::Instant;

pub use arithmetic::Why;
pub use breaker::BreakerView;
pub use decision::Decision;
pub use event::{Action, Event, Report};
#[cfg(test)]
pub use view::GroupView;
pub use view::SourceView;
pub use words::{
    BackendId, BootBounds, Demand, GroupId, GroupSettings, Harvest, Hints, Launched, Listed,
    Member, Order, Place, Queue, Round, Settings, SourceId, Stage, Supply, Trouble, TroubleKind,
};

use chain::Chain;
use group::Group;
use names::Names;
use pace::Pace;

/// A group of which nothing was told for so long is read, whether or not anything wants it.
const SWEEP: Duration = Duration::from_secs(60);
/// Such reads wait for each other.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(20);
/// How long a round may take: demand older than an interval and this is not decided on.
const ROUND: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct Planner {
    /// When the last event came.
    now: Instant,
    interval: Duration,
    max_instances: Option<u32>,
    leader: bool,
    /// Since when: what was read before is no measure of what another leader has launched.
    led: Instant,
    groups: Vec<Group>,
    chains: Vec<Chain>,
    sources: Vec<Source>,
    backends: Vec<Backend>,
    group_of: BTreeMap<GroupId, usize>,
    source_of: BTreeMap<SourceId, usize>,
    /// What counts against `max_instances`, for the view: counted when somebody looks.
    used: OnceCell<Option<u64>>,
    /// Since 1970 at the time zero of [`Instant`]: only for tokens.
    epoch: Duration,
}

#[derive(Debug)]
struct Source {
    id: SourceId,
    pace: Pace,
    one_by_one: bool,
    /// A Fetch is not answered yet.
    fetching: bool,
    /// It has told something, or failed, since the settings were loaded.
    settled: bool,
    chains: BTreeMap<Queue, usize>,
}

#[derive(Debug)]
struct Backend {
    id: BackendId,
    groups: Vec<usize>,
    /// When groups that were not read for long are read next.
    sweep: Instant,
}

/// What one event leads to.
#[derive(Debug, Default)]
struct Work {
    /// Chains of which something has become known.
    chains: Vec<usize>,
    actions: Vec<Action>,
}

impl Planner {
    /// `wall`: since 1970; only for tokens.
    pub fn new(settings: Settings, now: Instant, wall: Duration) -> Planner {
        let mut planner = Planner {
            now,
            interval: Duration::ZERO,
            max_instances: None,
            leader: true,
            led: Instant::default(),
            groups: Vec::new(),
            chains: Vec::new(),
            sources: Vec::new(),
            backends: Vec::new(),
            group_of: BTreeMap::new(),
            source_of: BTreeMap::new(),
            used: OnceCell::new(),
            epoch: wall.saturating_sub(now.0),
        };
        planner.load(now, settings);
        planner
    }

    /// Takes one event; tells what to do, in order.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.now = now;
        self.used = OnceCell::new();
        let mut work = Work::default();
        match event {
            Event::Demand {
                source,
                asked,
                told,
            } => self.demand(now, &source, asked, told, &mut work),
            Event::Supply { asked, told } => self.supply(now, asked, told, &mut work),
            Event::Launched { group, token, told } => {
                self.launched(now, &group, &token, told, &mut work);
            }
            Event::Troubles { group, told } => self.troubles(now, &group, told, &mut work),
            Event::Settings(settings) => {
                self.load(now, settings);
                work.chains.extend(0..self.chains.len());
            }
            Event::Leader(leader) => self.lead(now, leader),
            Event::Tick => {}
        }
        self.progress(now, &mut work);
        self.fetch(now, &mut work);
        self.sweep(now, &mut work);
        work.actions
    }

    /// When to send [`Event::Tick`] if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let fetches = self
            .sources
            .iter()
            .filter(|source| !source.fetching)
            .map(|source| source.pace.next());
        let sweeps = self.backends.iter().map(|backend| backend.sweep);
        fetches.chain(sweeps).min()
    }

    /// Whether every source was asked and every group was decided on (or is unknown) since the
    /// start or since [`Event::Settings`], and nothing is outstanding: what `--once` waits for.
    pub fn settled(&self) -> bool {
        let sources = self
            .sources
            .iter()
            .all(|source| source.settled && !source.fetching);
        let chains = self
            .chains
            .iter()
            .all(|chain| chain.settled && chain.round.is_none() && !chain.fetching);
        let groups = self
            .groups
            .iter()
            .all(|group| !group.describing && group.orders.open.is_none() && !group.asking);
        sources && chains && groups
    }

    /// When this source is asked, for the status page.
    pub fn source(&self, id: &SourceId) -> Option<SourceView> {
        let pace = &self.sources[*self.source_of.get(id)?].pace;
        Some(SourceView {
            next: pace.next(),
            every: pace.wish(),
        })
    }

    fn wall(&self, now: Instant) -> Duration {
        self.epoch.saturating_add(now.0)
    }

    fn demand(
        &mut self,
        now: Instant,
        source: &SourceId,
        asked: Instant,
        told: Result<Harvest, (String, Hints)>,
        work: &mut Work,
    ) {
        let Some(&source) = self.source_of.get(source) else {
            return;
        };
        let source = &mut self.sources[source];
        source.fetching = false;
        source.settled = true;
        let failed = told.is_err();
        let (demands, hints, why) = match told {
            Ok(harvest) => (
                harvest.demands,
                harvest.hints,
                "the source does not tell of it".to_owned(),
            ),
            Err((why, hints)) => (Vec::new(), hints, why),
        };
        source.pace.ended(now, self.interval, hints, failed);
        for (queue, demand) in demands {
            let Some(&index) = source.chains.get(&queue) else {
                continue;
            };
            let chain = &mut self.chains[index];
            chain.fetching = false;
            match demand {
                Ok(demand) => {
                    if let Some(ref names) = demand.names {
                        let names = Names::new(names);
                        for &group in &chain.groups {
                            let reports = self.groups[group].register(now, &names);
                            work.actions.extend(reports.into_iter().map(Action::Report));
                        }
                    }
                    chain.tell(now, asked, demand);
                    work.chains.push(index);
                }
                Err(why) => chain.lose(why),
            }
        }
        for &index in source.chains.values() {
            let chain = &mut self.chains[index];
            if chain.fetching {
                chain.fetching = false;
                chain.lose(why.clone());
            }
        }
    }

    fn supply(
        &mut self,
        now: Instant,
        asked: Instant,
        told: Vec<(GroupId, Result<Supply, String>)>,
        work: &mut Work,
    ) {
        let wall = self.wall(now);
        for (id, supply) in told {
            let Some(&index) = self.group_of.get(&id) else {
                continue;
            };
            let group = &mut self.groups[index];
            group.describing = false;
            group.told = Some(now);
            match supply {
                Ok(supply) => {
                    let reports = group.take(now, wall, asked, supply);
                    work.actions.extend(reports.into_iter().map(Action::Report));
                }
                Err(why) => group.fail(now, self.interval, why),
            }
            if self.leader && group.ask_troubles(now) {
                work.actions.push(Action::Troubles(id));
            }
            work.chains.extend(group.chain);
        }
    }

    fn launched(
        &mut self,
        now: Instant,
        id: &GroupId,
        token: &str,
        told: Launched,
        work: &mut Work,
    ) {
        let wall = self.wall(now);
        let Some(&index) = self.group_of.get(id) else {
            return;
        };
        let group = &mut self.groups[index];
        let Some(order) = group.orders.take(now, token) else {
            return;
        };
        let (reports, again) = group.answered(now, self.interval, wall, order, told);
        work.actions.extend(reports.into_iter().map(Action::Report));
        let Some(index) = group.chain else {
            return;
        };
        if again {
            self.chains[index].again();
        }
        work.chains.push(index);
    }

    fn troubles(
        &mut self,
        now: Instant,
        id: &GroupId,
        told: Result<Vec<Trouble>, String>,
        work: &mut Work,
    ) {
        let Some(&index) = self.group_of.get(id) else {
            return;
        };
        // Why the question failed is in the log of who asked it; it is asked again in a minute.
        let told = told.unwrap_or_default();
        let reports = self.groups[index].troubles(now, &told);
        work.actions.extend(reports.into_iter().map(Action::Report));
    }

    fn lead(&mut self, now: Instant, leader: bool) {
        if leader && !self.leader {
            for source in &mut self.sources {
                source.pace.hurry(now);
            }
            self.led = now;
            for group in &mut self.groups {
                group.told = None;
            }
            for backend in &mut self.backends {
                backend.sweep = now;
            }
        }
        self.leader = leader;
    }

    /// Asks the sources that are due.
    fn fetch(&mut self, now: Instant, work: &mut Work) {
        for source in &mut self.sources {
            if source.fetching || source.pace.next() > now {
                continue;
            }
            let round = source.pace.round();
            source.pace.began(now, self.interval);
            let queues: Vec<Queue> = source
                .chains
                .iter()
                .filter(|&(queue, &index)| {
                    let chain = &mut self.chains[index];
                    chain.fetching = !source.one_by_one
                        || !chain.settled
                        || pace::due(queue.as_str(), round, self.interval, now, chain.wanted);
                    chain.fetching
                })
                .map(|(queue, _)| queue.clone())
                .collect();
            if !queues.is_empty() {
                source.fetching = true;
                work.actions.push(Action::Fetch {
                    source: source.id.clone(),
                    queues,
                });
            }
        }
    }

    /// Reads the groups of which nothing was told for long. Those that are read for other reasons
    /// (jobs wait, discovery) cost nothing here.
    fn sweep(&mut self, now: Instant, work: &mut Work) {
        for backend in &mut self.backends {
            if backend.sweep > now {
                continue;
            }
            backend.sweep = now.after(SWEEP);
            let mut due = Vec::new();
            for &index in &backend.groups {
                let group = &mut self.groups[index];
                match group.told.map(|told| told.after(SWEEP)) {
                    Some(later) if later > now => backend.sweep = backend.sweep.min(later),
                    _ if !std::mem::replace(&mut group.describing, true) => {
                        due.push(group.settings.id.clone());
                    }
                    _ => {}
                }
            }
            // One read of many groups is cheaper than many reads.
            backend.sweep = backend.sweep.max(now.after(BETWEEN_SWEEPS));
            if !due.is_empty() {
                work.actions.push(Action::Describe {
                    backend: backend.id.clone(),
                    groups: due,
                });
            }
        }
    }
}
