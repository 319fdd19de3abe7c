//! One machine's life: its agents, its group and its metadata service as they truly are, and the
//! supervisor that hears of them late, in pieces, or not at all. Time jumps from one happening to
//! the next.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agents::{Agents, Manners};
use super::chance::Chance;
use super::fate::Fate;
use super::group::Group;
use super::judge::Judge;
use super::metadata::Metadata;
use super::protection::Steadiness;
use super::story::{Story, Totals};
use super::supervisor::{Deed, Supervisor};
use crate::instance::notices::{
    Answer, Ask, Hook, NoticePolicy, Protect, ProtectFailure, Target, Transition, Warm,
};
use crate::lifecycle::*;

/// What kind of world it is.
#[derive(Debug, Clone)]
pub struct Nature {
    pub settings: Settings,
    pub policy: NoticePolicy,
    pub protect: Protect,
    pub hooks: Vec<Hook>,
    pub manners: Manners,
    /// Slots are idle and jobs last for up to so long; `None` when jobs are fate.
    pub jobs: Option<(Duration, Duration)>,
    /// The group may not get smaller.
    pub at_minimum: bool,
    /// How long the ladder takes at least.
    pub climb: Duration,
    /// It is started only to wait in a warm pool.
    pub pooled: Option<Warm>,
}

/// Something that comes at its time.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Fate(Fate),
    Ready(AgentIndex, u32),
    Begins(AgentIndex, u32, usize, Duration),
    Finishes(AgentIndex, u32, u32),
    Ends(AgentIndex, u32, Exit),
    /// What follows is for the supervisor of this number only.
    Answered(u32, Transition, Ask, Answer),
    Protected(u32, bool, Result<(), ProtectFailure>),
    Told(u32, Event),
    Climbed(u32, Reason, Instant),
    /// A killed supervisor is started again.
    Back,
    /// The system is shut down, into a warm pool of stopped machines.
    ShutsDown,
    /// The metadata service answers again.
    Speaks,
}

pub struct World {
    pub now: Instant,
    pub(super) nature: Nature,
    pub(super) chance: Chance,
    happenings: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    /// `None` while it is dead.
    pub(super) supervisor: Option<Supervisor>,
    /// What a dead one has stored.
    pub(super) stored: Option<String>,
    pub(super) number: u32,
    /// What happened while it was dead.
    pub(super) unheard: Vec<Event>,
    /// It dies before it does the next thing.
    pub(super) doomed: Option<Duration>,
    /// It knows of the group's hooks.
    pub(super) knows_hooks: bool,
    /// An agent has been ready.
    pub(super) was_ready: bool,
    /// The machine is in its warm pool.
    pub(super) is_pooled: bool,
    /// When EC2 takes it away.
    pub(super) taken_at: Option<Instant>,
    pub(super) agents: Agents,
    pub(super) group: Group,
    pub(super) metadata: Metadata,
    looks_at: Option<Instant>,
    pub(super) judge: Judge,
    pub(super) steadiness: Steadiness,
    pub(super) story: Story,
    pub(super) totals: Totals,
    /// What the lifecycle wanted, and when.
    pub wanted: Vec<(Instant, Action)>,
    pub(super) over: bool,
}

impl World {
    /// A machine that has just been booted, and its supervisor started.
    pub fn new(nature: Nature, mut chance: Chance, story: Story) -> World {
        let now = Instant(Duration::from_secs(10) + chance.seconds(0, 120));
        let life = Lifecycle::parked(nature.settings.clone(), now);
        let mut world = World {
            now,
            supervisor: Some(Supervisor::new(now, life, nature.policy, nature.protect)),
            stored: None,
            number: 1,
            unheard: Vec::new(),
            doomed: None,
            knows_hooks: false,
            was_ready: false,
            is_pooled: false,
            taken_at: None,
            agents: Agents::new(&nature.settings, nature.manners),
            group: Group::new(nature.hooks.clone(), chance.fork()),
            metadata: Metadata::default(),
            looks_at: None,
            judge: Judge::new(&nature.settings, &nature.policy),
            steadiness: Steadiness::default(),
            story,
            totals: Totals::default(),
            wanted: Vec::new(),
            over: false,
            happenings: BTreeMap::new(),
            sequence: 0,
            chance,
            nature,
        };
        world.metadata.target = world.nature.pooled.map(Target::Warmed);
        world.group.has_pool = world.nature.pooled.is_some();
        world.group.launch(now);
        world.look_soon();
        world
    }

    /// This is to happen after so long.
    pub fn fate(&mut self, wait: Duration, fate: Fate) {
        self.later(wait, Happening::Fate(fate));
    }

    pub(super) fn later(&mut self, wait: Duration, happening: Happening) {
        self.sequence += 1;
        let at = self.now.after(wait);
        self.happenings.insert((at, self.sequence), happening);
    }

    /// The metadata service says something else than before: the next round will find it. Rounds
    /// that find nothing new are left out of this world.
    pub(super) fn look_soon(&mut self) {
        let interval = self.nature.policy.interval.as_millis();
        let now = self.now.0.as_millis();
        let round = now.div_ceil(interval) * interval;
        let at = Instant(Duration::from_millis(round as u64));
        if self.looks_at.is_none_or(|looks| at < looks) {
            self.looks_at = Some(at);
        }
    }

    pub(super) fn look_at(&mut self, at: Instant) {
        let (now, before) = (self.now, self.looks_at.take());
        self.now = at.max(now);
        self.look_soon();
        self.now = now;
        self.looks_at = [self.looks_at, before].into_iter().flatten().min();
    }

    /// Lives until then, or to its end.
    pub fn plays(&mut self, until: Instant) {
        let mut idle_turns = 0;
        while !self.over {
            let before = self.now;
            self.settle();
            self.note_steadiness();
            let Some(at) = self.next().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.judge_protection();
            if self.now == before {
                idle_turns += 1;
                assert!(idle_turns < 1000, "it never gets beyond {before}");
            } else {
                idle_turns = 0;
            }
            self.happens();
        }
        if !self.over {
            self.now = self.now.max(until);
        }
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The pool may keep the machine for as long as it likes.
    pub fn is_asleep(&self) -> bool {
        self.is_pooled
    }

    /// What it all came to.
    pub fn totals(&self) -> Totals {
        Totals {
            lives: 1,
            lived: self.now.0,
            ..self.totals
        }
    }

    fn next(&self) -> Option<Instant> {
        let happening = self.happenings.keys().next().map(|(at, _)| *at);
        let supervisor = self.supervisor.as_ref();
        let own = supervisor.and_then(|supervisor| supervisor.next(self.now));
        let looks = self.looks_at.filter(|_| supervisor.is_some());
        let all = [happening, own, looks, self.group.next(), self.taken_at];
        all.into_iter().flatten().min()
    }

    /// One thing that is due happens. What comes from outside is told before a deadline.
    fn happens(&mut self) {
        let first = self.happenings.first_entry();
        if let Some(entry) = first.filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            return self.happen(happening);
        }
        if let Some(moved) = self.group.advance(self.now) {
            return self.group_moved(moved);
        }
        if self.taken_at.is_some_and(|at| at <= self.now) {
            return self.is_taken_away();
        }
        if self.looks_at.is_some_and(|at| at <= self.now) {
            return self.look();
        }
        let now = self.now;
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.feed(now, Event::Tick);
        }
    }

    /// What the supervisor wants is done, until it wants nothing more.
    fn settle(&mut self) {
        let now = self.now;
        for _ in 0..1000 {
            let Some(supervisor) = &mut self.supervisor else {
                return self.follows_the_group();
            };
            supervisor.turn(now);
            self.judge.phase(now, supervisor.life.phase());
            let Some(deed) = supervisor.deed() else {
                self.judge
                    .late(now, supervisor.life.phase(), self.agents.running());
                return self.follows_the_group();
            };
            if let (Some(down), Deed::Act(_)) = (self.doomed, &deed) {
                return self.dies(down);
            }
            self.perform(deed);
            if self.over {
                return;
            }
        }
        panic!("the supervisor wants ever more at {now}");
    }

    /// The supervisor hears of this, at once or when it is there again.
    pub(super) fn tell(&mut self, event: Event) {
        let now = self.now;
        match &mut self.supervisor {
            Some(supervisor) => supervisor.feed(now, event),
            None => self.unheard.push(event),
        }
    }

    pub(super) fn look(&mut self) {
        self.looks_at = None;
        self.totals.rounds += 1;
        let (now, round) = (self.now, self.metadata.look());
        let Some(supervisor) = &mut self.supervisor else {
            return;
        };
        self.judge.looked(now, &round);
        supervisor.looked(now, &round);
        let grown_up = Instant(self.nature.policy.rebalance_min_age);
        if self.metadata.rebalance.is_some() && now < grown_up {
            self.look_at(grown_up);
        }
    }

    pub(super) fn ends(&mut self, why: &str) {
        self.story.tells(self.now, || why.to_owned());
        self.over = true;
    }
}
