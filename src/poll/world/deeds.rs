//! What happens in a world, and to what it leads.

use std::time::Duration;

use super::super::plan::TroubleKind;
use super::instance::Fate;
use super::nature::Dispatch;
use super::wire::{Ask, Told};
use super::{BEGIN, World};
use crate::lifecycle::{AgentIndex, DetectorIndex, Event, Instant, Observation, Outcome, Reason};

/// Something that comes at its time.
#[derive(Debug)]
pub enum Happening {
    /// The next job of this queue.
    Arrives(usize),
    /// Agents ask this queue for jobs.
    Picks(usize),
    /// An instance's job ends by itself.
    Finishes(u32, usize),
    /// A launch of this group comes to an instance, or fails.
    Lists(usize),
    ComesUp(u32),
    Ready(u32),
    /// The deadline of an instance's supervisor.
    Wakes(u32),
    /// The supervisor's ladder has got through.
    Leaves(u32, Reason),
    Vanishes(u32),
    /// A question of a poller arrives.
    Asked(Asker, Instant, Ask),
    /// Its answer does.
    Told(Asker, Told),
    /// The deadline of a poller.
    Time(Asker),
    Dies(Asker),
    Starts(usize),
    /// The lease is free to take.
    LeaseIsFree,
}

/// One life of one poller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub seat: usize,
    pub life: u32,
}

const AGENT: AgentIndex = AgentIndex(1);
const LOG: DetectorIndex = DetectorIndex(0);

impl World<'_> {
    pub(super) fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(chain) => self.arrives(chain),
            Happening::Picks(chain) => self.picks(chain),
            Happening::Finishes(number, job) => self.finishes(number, job),
            Happening::Lists(group) => self.lists(group),
            Happening::ComesUp(number) => self.comes_up(number),
            Happening::Ready(number) => self.is_ready(number),
            Happening::Wakes(number) => self.wakes(number),
            Happening::Leaves(number, reason) => self.leaves(number, reason),
            Happening::Vanishes(number) => self.vanishes(number, "is taken away"),
            Happening::Asked(asker, asked, ask) => self.asked(asker, asked, ask),
            Happening::Told(asker, told) => self.hears(asker, told),
            Happening::Time(asker) => self.ticks(asker),
            Happening::Dies(asker) => self.dies(asker),
            Happening::Starts(seat) => self.starts(seat),
            Happening::LeaseIsFree => self.lease_is_free(),
        }
    }

    pub(super) fn awaits_arrival(&mut self, chain: usize) {
        if let Some(at) = self.queues[chain].next() {
            let wait = BEGIN.after(at).since(self.now);
            self.later(wait, Happening::Arrives(chain));
        }
    }

    fn arrives(&mut self, chain: usize) {
        self.queues[chain].arrives(self.now);
        self.says(|| format!("a job arrives in q{chain}"));
        self.note_queue(chain);
        self.awaits_arrival(chain);
        self.picks_soon(chain);
    }

    /// Agents that are free ask again within seconds.
    pub(super) fn picks_soon(&mut self, chain: usize) {
        if !self.queues[chain].picks && !self.queues[chain].waiting.is_empty() {
            self.queues[chain].picks = true;
            let wait = self.chance.seconds(0, 2);
            self.later(wait, Happening::Picks(chain));
        }
    }

    fn picks(&mut self, chain: usize) {
        self.queues[chain].picks = false;
        if self.is_paused() {
            self.queues[chain].picks = true;
            return self.later(Duration::from_secs(5), Happening::Picks(chain));
        }
        loop {
            let free = self.instances.iter().filter(|(_, instance)| {
                let group = &self.groups[instance.group];
                group.chain == chain && instance.free(group.nature.slots.get()) > 0
            });
            let free: Vec<u32> = free.map(|(number, _)| *number).collect();
            if free.is_empty() {
                break;
            }
            let Some((job, lasts)) = self.queues[chain].take(self.now) else {
                break;
            };
            let number = match self.nature.dispatch {
                Dispatch::Any => self.chance.pick(&free),
                Dispatch::Oldest => free[0],
            };
            self.begins(number, job, lasts);
        }
        self.note_queue(chain);
    }

    fn begins(&mut self, number: u32, job: usize, lasts: Duration) {
        self.says(|| format!("i-{number} begins job {job}"));
        if let Some(instance) = self.instances.get_mut(&number) {
            instance.jobs.push(job);
            instance.used = true;
        }
        self.later(lasts, Happening::Finishes(number, job));
        let id = Some(job.to_string());
        let seen = Observation::Started { id };
        self.lives_on(number, Event::Observed(AGENT, LOG, seen));
    }

    fn finishes(&mut self, number: u32, job: usize) {
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        let chain = self.groups[instance.group].chain;
        instance.jobs.retain(|its| *its != job);
        self.queues[chain].ends(job);
        self.says(|| format!("i-{number} ends job {job}"));
        let seen = Observation::Finished {
            id: Some(job.to_string()),
            outcome: Outcome::Passed,
        };
        self.lives_on(number, Event::Observed(AGENT, LOG, seen));
        self.note_queue(chain);
        self.picks_soon(chain);
    }

    fn is_ready(&mut self, number: u32) {
        let Some(instance) = self.instances.get_mut(&number) else {
            return;
        };
        if instance.fate != Fate::Works || !instance.runs || instance.connected {
            return;
        }
        instance.connected = true;
        instance.was_connected = true;
        let chain = self.groups[instance.group].chain;
        self.says(|| format!("i-{number} takes jobs"));
        self.lives_on(number, Event::Observed(AGENT, LOG, Observation::Ready));
        self.note_queue(chain);
        self.picks_soon(chain);
    }

    pub(super) fn is_paused(&self) -> bool {
        let since = self.now.since(BEGIN);
        let paused = self.nature.faults.paused;
        paused.is_some_and(|(from, until)| (from..until).contains(&since))
    }

    /// The cloud has no instance for this group now.
    pub(super) fn is_short(&self, group: usize) -> bool {
        let (group, since) = (&self.groups[group], self.now.since(BEGIN));
        self.nature.faults.shortages.iter().any(|shortage| {
            (shortage.chain, shortage.group) == (group.chain, group.place)
                && (shortage.from..shortage.until).contains(&since)
        })
    }
}

/// What the cloud says when it is asked too often.
pub(super) fn throttling() -> super::super::plan::Trouble {
    super::group::trouble(TroubleKind::Throttled, "Throttling: Rate exceeded")
}
