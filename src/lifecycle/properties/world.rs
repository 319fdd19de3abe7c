//! Agents, their jobs and their machine, as they truly are. The lifecycle hears of it later, in
//! order for each agent, and what it does is done.

use std::collections::VecDeque;
use std::time::Duration;

use super::script::Step;
use super::watch::Watch;
use crate::lifecycle::*;

/// What the agents of this world obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obedience {
    Full,
    OnlyKill,
    Nothing,
}

/// What kind of world it is.
#[derive(Debug, Clone)]
pub struct Nature {
    pub obedience: Obedience,
    /// The machine works from the beginning; another is parked.
    pub woken: bool,
    /// Agents can be started at all.
    pub starts: bool,
    /// Agents are ready as soon as they run.
    pub ready_at_once: bool,
    /// Retirement's sweep and samples are answered.
    pub answers: bool,
    /// News of one agent may come after later news of another.
    pub lag: bool,
    /// Jobs have ids.
    pub ids: bool,
    /// Slots that begin or change their job in the instant of every deadline, just before it.
    pub eager: u16,
}

impl Nature {
    /// Everything works as it should.
    pub fn kind() -> Self {
        Nature {
            obedience: Obedience::Full,
            woken: true,
            starts: true,
            ready_at_once: true,
            answers: true,
            lag: false,
            ids: true,
            eager: 0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    number: u32,
    /// The lifecycle knows of its start. A job never ends before that: agents and pipes are
    /// faster than jobs, and this is what rule 1 relies on.
    heard: bool,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) ready: bool,
    /// Somebody told it to end.
    pub(super) told: bool,
    /// It began a job.
    pub(super) spent: bool,
    /// It is given no more jobs.
    pub(super) cordoned: bool,
    pub(super) slots: Vec<Option<Job>>,
}

pub struct World {
    pub life: Lifecycle,
    pub now: Instant,
    pub settings: Settings,
    pub nature: Nature,
    pub watch: Watch,
    /// Jobs that truly began.
    pub jobs: u32,
    pub spawns: u32,
    /// Drain steps that ended a job.
    pub cancelled: u32,
    /// When the lifecycle asked to retire, each time.
    pub retirements: Vec<(Instant, Reason)>,
    pub(super) processes: Vec<Option<Process>>,
    /// Per agent, what the lifecycle has not heard yet.
    pub(super) news: Vec<VecDeque<Event>>,
    pub(super) answers: VecDeque<Event>,
    pub(super) blind: bool,
}

const LOG: DetectorIndex = DetectorIndex(0);

impl World {
    pub fn new(settings: Settings, nature: Nature) -> Self {
        let now = Instant(Duration::from_secs(1000));
        let (life, actions) = match nature.woken {
            true => Lifecycle::new(settings.clone(), now),
            false => (Lifecycle::parked(settings.clone(), now), Vec::new()),
        };
        let agents = settings.agents as usize;
        let mut world = World {
            watch: Watch::new(&settings, &life),
            life,
            now,
            settings,
            nature,
            jobs: 0,
            spawns: 0,
            cancelled: 0,
            retirements: Vec::new(),
            processes: (0..agents).map(|_| None).collect(),
            news: vec![VecDeque::new(); agents],
            answers: VecDeque::new(),
            blind: false,
        };
        world.perform(actions);
        world.settle();
        world
    }

    pub fn plays(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ready(n) => self.become_ready(n % self.processes.len()),
            Step::Work(slots) => self.work(*slots),
            Step::Hear(n) => {
                self.hear(n % self.processes.len());
            }
            Step::Die(n, code) => self.end(n % self.processes.len(), Exit::Code(*code)),
            Step::Arm(n) => self.arm(n % self.processes.len()),
            Step::Safe(n) => self.show_safe(n % self.processes.len()),
            Step::Wait(wait) => self.wait(*wait),
            Step::Blind(blind) => self.blind = *blind,
            Step::Tell(event) => self.tell(event.clone()),
            Step::Restart => self.restart(),
            Step::Lose(event) => {
                self.handle(event.clone());
                self.restart();
            }
        }
        self.settle();
    }

    /// The lifecycle hears of something, and what it wants is done.
    pub fn tell(&mut self, event: Event) {
        let actions = self.handle(event);
        self.perform(actions);
        while let Some(answer) = self.answers.pop_front() {
            let actions = self.handle(answer);
            self.perform(actions);
        }
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        if let Event::Limits(limits) = &event {
            self.settings.limits = *limits;
        }
        self.watch.hears(self.now, &event, &self.life);
        let actions = self.life.handle(self.now, event.clone());
        self.watch.sees(self.now, &event, &actions, &self.life);
        actions
    }

    /// Time passes, and each deadline of the lifecycle on the way is kept to the instant.
    pub fn wait(&mut self, wait: Duration) {
        let until = self.now.after(wait);
        let mut ticks = 0;
        while let Some(at) = self.life.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            if self.nature.eager != 0 {
                self.work(self.nature.eager);
                self.hear_all();
            }
            self.tell(Event::Tick);
            self.settle();
            ticks += 1;
            assert!(ticks < 20_000, "it ticks and gets nowhere");
        }
        self.now = until;
    }

    /// Nothing ever happens any more but time: how long until it is gone.
    pub fn fall_silent(&mut self) -> Duration {
        self.nature.answers = false;
        self.nature.starts = false;
        let silence = self.now;
        for _ in 0..20_000 {
            if matches!(self.life.phase(), Phase::Gone { .. }) {
                return self.now.since(silence);
            }
            let at = self.life.next_deadline().expect("something is waited for");
            self.now = at;
            let actions = self.handle(Event::Tick);
            // Spawns and signals have no effect that anybody hears of.
            drop(actions);
        }
        panic!("it ticks and is never gone: {:?}", self.life);
    }

    /// The supervisor dies and comes back. It reports the processes that are gone.
    fn restart(&mut self) {
        let stored = serde_json::to_string(&self.life).expect("a life can be stored");
        let stored: Lifecycle = serde_json::from_str(&stored).expect("and be read again");
        let resumed = stored.resume(self.settings.clone(), self.now);
        let (life, actions) = resumed.expect("a true life fits");
        self.life = life;
        self.watch.resumes(self.now, &actions, &self.life);
        self.perform(actions);
        let agents: Vec<_> = self.life.agents().collect();
        for (at, (index, stage, _)) in agents.into_iter().enumerate() {
            let ends = |event: &Event| matches!(event, Event::Exited(..) | Event::SpawnFailed(..));
            let told = self.news[at].iter().any(ends);
            if stage.has_process() && self.processes[at].is_none() && !told {
                self.news[at].push_back(Event::Exited(index, Exit::Unknown));
            }
        }
    }

    /// Every slot in the set that can ends its job, if it has one, and begins another.
    pub fn work(&mut self, slots: u16) {
        let per_agent = self.settings.slots as usize;
        if !self.lags() {
            self.hear_all();
        }
        for at in 0..self.processes.len() {
            for slot in 0..per_agent {
                if slots & (1 << ((at * per_agent + slot) % 16)) != 0 {
                    self.turn(at, slot);
                }
            }
        }
    }

    /// With several slots a drained agent may have begun jobs that are heard of late. That these
    /// are heard before other agents' jobs end is the second thing that rule 1 relies on.
    fn lags(&self) -> bool {
        self.nature.lag && self.settings.slots == 1
    }

    pub(super) fn turn(&mut self, at: usize, slot: usize) {
        let single = self.settings.drain == DrainMethod::SingleJob;
        let stubborn = self.nature.obedience != Obedience::Full;
        let Some(process) = self.processes[at].as_mut().filter(|process| process.ready) else {
            return;
        };
        match process.slots[slot] {
            Some(Job { heard: false, .. }) => return,
            Some(Job { number, .. }) => {
                process.slots[slot] = None;
                let outcome = Outcome::Passed;
                self.report(at, number, |id| Observation::Finished { id, outcome });
            }
            None => {}
        }
        let process = self.processes[at].as_mut().expect("it was there");
        let ends = (process.told && !stubborn) || (single && process.spent);
        if !ends && !process.cordoned {
            self.jobs += 1;
            process.spent = true;
            process.slots[slot] = Some(Job {
                number: self.jobs,
                heard: false,
            });
            self.report(at, self.jobs, |id| Observation::Started { id });
        } else if ends && process.slots.iter().all(Option::is_none) {
            self.end(at, Exit::Code(0));
        }
    }

    /// Every detector that sees edges sees this one.
    fn report(&mut self, at: usize, job: u32, seen: impl Fn(Option<String>) -> Observation) {
        let agent = AgentIndex(at as u32 + 1);
        let id = || self.nature.ids.then(|| job.to_string());
        for (by, kind) in self.settings.detectors.iter().enumerate() {
            if !kind.is_level() {
                let event = Event::Observed(agent, DetectorIndex(by), seen(id()));
                self.news[at].push_back(event);
            }
        }
    }

    pub(super) fn become_ready(&mut self, at: usize) {
        if let Some(process) = self.processes[at].as_mut().filter(|process| !process.ready) {
            process.ready = true;
            let agent = AgentIndex(at as u32 + 1);
            let ready = Event::Observed(agent, LOG, Observation::Ready);
            self.news[at].push_back(ready);
        }
    }

    fn arm(&mut self, at: usize) {
        if self.processes[at].is_some() {
            let armed = Observation::DrainArmed;
            let armed = Event::Observed(AgentIndex(at as u32 + 1), LOG, armed);
            self.news[at].push_back(armed);
        }
    }

    fn show_safe(&mut self, at: usize) {
        let process = self.processes[at].as_ref();
        if process.is_some_and(|process| process.slots.iter().all(Option::is_none)) {
            let agent = AgentIndex(at as u32 + 1);
            let safe = Event::Observed(agent, LOG, Observation::SafeWindow);
            self.news[at].push_back(safe);
        }
    }

    pub(super) fn end(&mut self, at: usize, exit: Exit) {
        if self.processes[at].take().is_some() {
            let exited = Event::Exited(AgentIndex(at as u32 + 1), exit);
            self.news[at].push_back(exited);
        }
    }

    fn hear(&mut self, at: usize) -> bool {
        let Some(event) = self.news[at].pop_front() else {
            return false;
        };
        if let Event::Observed(_, LOG, Observation::Started { .. }) = event {
            let process = self.processes[at].as_mut();
            let jobs = process
                .into_iter()
                .flat_map(|p| p.slots.iter_mut().flatten());
            let unheard = jobs.filter(|job| !job.heard);
            if let Some(job) = unheard.min_by_key(|job| job.number) {
                job.heard = true;
            }
        }
        self.tell(event);
        true
    }

    /// All is told that has happened, agent by agent.
    pub fn hear_all(&mut self) {
        while (0..self.news.len()).any(|at| self.hear(at)) {}
    }

    fn settle(&mut self) {
        if !self.lags() {
            self.hear_all();
        }
    }
}
