//! A queue and the groups that serve it: a group, its fallback, that one's fallback.

use std::collections::VecDeque;
use std::time::Duration;

use crate::lifecycle::Instant;

use super::boot::SETTLE;
use super::event::Report;
use super::words::{Demand, GroupId, Queue, SourceId};

/// Jobs that wait beside free instances for so long are worth a word.
const WAITS: Duration = Duration::from_secs(120);

/// One read of the queue, to be decided on once.
#[derive(Debug, Clone)]
pub struct Round {
    pub demand: Demand,
    pub asked: Instant,
    /// When it was told: supply must be asked for after that.
    pub came: Instant,
    /// Supply was asked for in view of it.
    pub describing: bool,
}

impl Round {
    /// For how long the oldest job has waited by now.
    pub fn oldest(&self, now: Instant) -> Option<Duration> {
        let oldest = self.demand.oldest?;
        Some(oldest.saturating_add(now.since(self.asked)))
    }
}

/// The numbers of the last read, for the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub asked: Instant,
    pub waiting: u32,
    pub running: Option<u32>,
    pub oldest: Option<Duration>,
}

#[derive(Debug)]
pub struct Chain {
    pub source: SourceId,
    pub queue: Queue,
    /// The group with the queue first.
    pub groups: Vec<usize>,
    /// The queue was asked for, and not told yet.
    pub fetching: bool,
    /// What is being decided on.
    pub round: Option<Round>,
    /// What came meanwhile.
    pub newer: Option<Round>,
    /// What was decided on last, if that launched: the next group of the chain may have to.
    pub decided: Option<Round>,
    pub told: Option<Told>,
    /// Why nothing can be decided.
    pub unknown: Option<String>,
    /// It was decided on, or is unknown, since the settings were loaded.
    pub settled: bool,
    /// When something last waited or was on its way.
    pub wanted: Option<Instant>,
    /// The budget refused instances for jobs that have waited since then.
    pub starved: Option<Starved>,
    /// How many agents were connected lately, and when.
    agents: VecDeque<(Instant, u32)>,
    /// Since when jobs wait beside free instances; `None` inside: it was told.
    idle: Option<Option<Instant>>,
}

/// What a chain would have launched, had the budget allowed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starved {
    /// When that was decided.
    pub at: Instant,
    /// For how long the oldest job had waited then.
    pub oldest: Duration,
    pub instances: u32,
}

impl Chain {
    pub fn new(source: SourceId, queue: Queue) -> Chain {
        Chain {
            source,
            queue,
            groups: Vec::new(),
            fetching: false,
            round: None,
            newer: None,
            decided: None,
            told: None,
            unknown: None,
            settled: false,
            wanted: None,
            starved: None,
            agents: VecDeque::new(),
            idle: None,
        }
    }

    /// The settings were loaded anew: the groups are about to be told.
    pub fn reload(&mut self) {
        self.groups.clear();
        self.settled = false;
        if let Some(ref mut round) = self.round {
            round.describing = false;
        }
    }

    /// Takes a read of the queue. One that is being decided on is not replaced: if supply takes
    /// longer to read than demand, nothing would ever be decided.
    pub fn tell(&mut self, now: Instant, asked: Instant, demand: Demand) {
        if demand.waiting > 0 {
            self.wanted = Some(now);
        }
        self.told = Some(Told {
            asked,
            waiting: demand.waiting,
            running: demand.running,
            oldest: demand.oldest,
        });
        match demand.agents {
            Some(agents) => self.agents.push_back((now, agents)),
            None => self.agents.clear(),
        }
        self.agents.retain(|(at, _)| now.since(*at) < SETTLE);
        let round = Round {
            demand,
            asked,
            came: now,
            describing: false,
        };
        self.decided = None;
        match self.round {
            Some(ref current) if current.describing => self.newer = Some(round),
            _ => self.round = Some(round),
        }
    }

    /// How many agents are connected: the most of the last minute, because agents that take one
    /// job each are gone for a moment between two. `None`: the source does not tell.
    pub fn connected(&self) -> Option<u32> {
        self.agents.iter().map(|(_, agents)| *agents).max()
    }

    /// Nothing is known of the queue. That is not "nothing waits".
    pub fn lose(&mut self, why: String) {
        self.round = None;
        self.newer = None;
        self.decided = None;
        self.told = None;
        self.starved = None;
        self.give_up(why);
    }

    /// The round cannot be decided on.
    pub fn give_up(&mut self, why: String) {
        self.round = self.newer.take();
        self.unknown = Some(why);
        self.settled = true;
    }

    /// The round was decided on.
    pub fn done(&mut self) {
        self.round = self.newer.take();
        self.unknown = None;
        self.settled = true;
    }

    /// An order was refused: what was decided on is decided on again, with what the refusal tells,
    /// unless the queue was read since.
    pub fn again(&mut self) {
        if self.round.is_none()
            && let Some(round) = self.decided.take()
        {
            self.round = Some(Round {
                describing: false,
                ..round
            });
        }
    }

    /// Tells once when jobs wait for long although instances should have slots for them.
    pub fn waits(
        &mut self,
        now: Instant,
        group: &GroupId,
        waiting: u32,
        free: u64,
    ) -> Option<Report> {
        if waiting == 0 || free == 0 {
            self.idle = None;
            return None;
        }
        let since = (*self.idle.get_or_insert(Some(now)))?;
        if now.since(since) < WAITS {
            return None;
        }
        self.idle = Some(None);
        Some(Report::JobsWait {
            group: group.clone(),
            waiting,
            free,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn waiting(waiting: u32) -> Demand {
        Demand {
            waiting,
            ..Demand::default()
        }
    }

    #[test]
    fn a_round_that_is_being_decided_on_is_not_replaced() {
        let mut chain = Chain::new(SourceId::new("s"), Queue::new("q"));
        chain.tell(at(1), at(0), waiting(1));
        chain.tell(at(2), at(1), waiting(2));
        let round = chain.round.as_mut().expect("it was told");
        assert_eq!(round.demand.waiting, 2);
        round.describing = true;
        chain.tell(at(3), at(2), waiting(3));
        chain.tell(at(4), at(3), waiting(4));
        assert_eq!(
            chain.round.as_ref().map(|round| round.demand.waiting),
            Some(2)
        );
        chain.done();
        assert_eq!(
            chain.round.as_ref().map(|round| round.demand.waiting),
            Some(4)
        );
    }

    #[test]
    fn agents_that_are_gone_for_a_moment_are_connected() {
        let mut chain = Chain::new(SourceId::new("s"), Queue::new("q"));
        let mut connected = |now, agents| {
            let demand = Demand {
                agents,
                ..Demand::default()
            };
            chain.tell(at(now), at(now), demand);
            chain.connected()
        };
        assert_eq!(connected(0, Some(3)), Some(3));
        assert_eq!(connected(10, Some(1)), Some(3));
        assert_eq!(connected(59, Some(2)), Some(3));
        assert_eq!(connected(60, Some(1)), Some(2));
        assert_eq!(connected(70, None), None);
    }

    #[test]
    fn jobs_that_wait_beside_free_instances_are_told_once_each_time() {
        let mut chain = Chain::new(SourceId::new("s"), Queue::new("q"));
        let group = GroupId::new("g");
        let mut told = |now, waiting, free| chain.waits(at(now), &group, waiting, free).is_some();
        assert!(!told(0, 5, 3));
        assert!(!told(119, 5, 3));
        assert!(told(120, 5, 3));
        assert!(!told(130, 5, 3));
        assert!(!told(140, 5, 0));
        assert!(!told(150, 5, 3));
        assert!(told(270, 5, 3));
    }
}
