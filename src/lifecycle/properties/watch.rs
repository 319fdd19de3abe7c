//! What must hold after every event, in every world.

use std::collections::HashMap;

use std::time::Duration;

use crate::lifecycle::*;

/// What the lifecycle was told of one agent's process.
#[derive(Debug, Default)]
struct Known {
    ready: bool,
    running: u32,
    levels: HashMap<usize, Option<u32>>,
    /// It showed a safe moment then, and has begun no job since.
    safe: Option<Instant>,
    armed: bool,
    /// Since when it has no job.
    quiet: Option<Instant>,
}

pub struct Watch {
    settings: Settings,
    born: Instant,
    before: Phase,
    /// Jobs that ran after the last event.
    running: u32,
    /// It said that it leaves when a job ends.
    leaves: bool,
    agents: Vec<Known>,
    /// Job starts that the lifecycle was told of by the believed detector.
    pub heard: u32,
    /// Job starts and ends that the lifecycle reported.
    pub told: (u32, u32),
    /// Since when the lifecycle cannot know of a job.
    quiet_since: Option<Instant>,
    /// When an idle machine was last sent back to service, and how long it was to wait then.
    pub waits: Vec<Duration>,
}

impl Watch {
    pub fn new(settings: &Settings, life: &Lifecycle) -> Self {
        Watch {
            settings: settings.clone(),
            born: life.born(),
            before: life.phase(),
            running: 0,
            leaves: false,
            agents: (0..settings.agents).map(|_| Known::default()).collect(),
            heard: 0,
            told: (0, 0),
            quiet_since: None,
            waits: Vec::new(),
        }
    }

    /// Before the event is handled.
    pub fn hears(&mut self, now: Instant, event: &Event, life: &Lifecycle) {
        self.before = life.phase();
        let of = match event {
            Event::Observed(index, ..) => life.agents().find(|(of, ..)| of == index),
            _ => None,
        };
        if of.is_some_and(|(_, stage, _)| !stage.has_process()) {
            // An unkillable process: the machine goes without it, whatever it does.
            return;
        }
        match event {
            Event::Limits(limits) => self.settings.limits = *limits,
            Event::Spawned(index) if !self.settings.sees_ready => self.ready(now, *index),
            Event::Exited(index, _) | Event::SpawnFailed(index, _) => {
                let known = std::mem::take(self.agent(*index));
                if known.running > 0 || known.levels.values().any(|jobs| jobs.unwrap_or(0) > 0) {
                    self.quiet_since = Some(now);
                }
            }
            Event::Observed(index, by, seen) => self.observes(now, *index, by.0, seen),
            _ => {}
        }
    }

    fn observes(&mut self, now: Instant, index: AgentIndex, by: usize, seen: &Observation) {
        match seen {
            Observation::Ready => self.ready(now, index),
            Observation::Started { .. } if by == 0 => {
                self.ready(now, index);
                self.heard += 1;
                self.agent(index).running += 1;
                self.agent(index).safe = None;
            }
            Observation::Finished { .. } if by == 0 => {
                self.agent(index).running -= 1;
                self.agent(index).quiet = Some(now);
                self.quiet_since = Some(now);
            }
            Observation::Running { jobs } => {
                let before = self.agent(index).levels.insert(by, *jobs);
                if jobs.unwrap_or(0) > 0 || before.flatten().unwrap_or(0) > 0 {
                    self.quiet_since = Some(now);
                }
            }
            // Whoever has seen a job is not believed that there is nothing to see.
            Observation::Absent => {
                let level = self.agent(index).levels.entry(by).or_default();
                if level.is_none() {
                    *level = Some(0);
                }
            }
            Observation::SafeWindow => self.agent(index).safe = Some(now),
            Observation::DrainArmed => self.agent(index).armed = true,
            Observation::Started { .. } | Observation::Finished { .. } => {}
        }
    }

    fn ready(&mut self, now: Instant, index: AgentIndex) {
        self.agent(index).ready = true;
        self.agent(index).quiet.get_or_insert(now);
        self.quiet_since.get_or_insert(now);
    }

    fn agent(&mut self, index: AgentIndex) -> &mut Known {
        &mut self.agents[index.0 as usize - 1]
    }

    /// After the event was handled.
    pub fn sees(&mut self, now: Instant, event: &Event, actions: &[Action], life: &Lifecycle) {
        let returned = actions.iter().find_map(|action| match action {
            Action::Report(Report::ReturnedToService { idle_deadline }) => Some(*idle_deadline),
            _ => None,
        });
        self.rule_2(now, actions);
        self.drains_as_it_may(now, actions);
        self.rule_3(now, life);
        self.rule_4(now, event, actions, returned.is_some());
        self.parked(now, event, actions, life);
        self.leaves_after_job(actions, life);
        self.rule_5(now, actions, life);
        if let Some(idle_deadline) = returned {
            self.quiet_since = Some(now);
            self.waits.extend(idle_deadline.map(|at| at.since(now)));
        }
        for action in actions {
            match action {
                Action::Report(Report::JobStarted { .. }) => self.told.0 += 1,
                Action::Report(Report::JobFinished { .. }) => self.told.1 += 1,
                _ => {}
            }
        }
        let (begun, ended) = self.told;
        assert!(begun >= ended, "{ended} of {begun} jobs ended");
        assert!(begun - ended <= life.running(), "a job ended in silence");
        let started = life.started();
        // With steps, what it hears of are no jobs yet.
        assert!(
            started >= self.heard || self.settings.linger.is_some(),
            "{started} jobs of {}",
            self.heard
        );
    }

    pub fn resumes(&mut self, now: Instant, actions: &[Action], life: &Lifecycle) {
        let spawn = |action: &Action| matches!(action, Action::Spawn(_));
        assert!(!actions.iter().any(spawn), "its processes are still there");
        self.rule_3(now, life);
        self.before = life.phase();
        self.running = life.running();
    }

    /// Idle is a full idle time without a job, by the word of everybody who can tell.
    fn rule_2(&self, now: Instant, actions: &[Action]) {
        let idle = Action::Report(Report::LimitReached(Reason::Idle));
        if !actions.contains(&idle) {
            return;
        }
        let timeout = self.settings.limits.idle_timeout.get();
        let timeout = timeout.expect("idle has a limit");
        let since = self.quiet_since.expect("somebody was ready");
        assert!(since.after(timeout) <= now, "idle only since {since}");
        for known in &self.agents {
            assert_eq!(known.running, 0, "a job runs: {known:?}");
            if known.ready {
                let kinds = self.settings.detectors.iter().enumerate();
                for (by, _) in kinds.filter(|(_, kind)| kind.is_level()) {
                    let level = known.levels.get(&by).copied().flatten();
                    assert_eq!(level, Some(0), "nobody knows: {known:?}");
                }
            }
        }
    }

    /// The drain step is that of an agent in its state; one that would end a job is sent in a
    /// safe moment, or when patience is over.
    fn drains_as_it_may(&self, now: Instant, actions: &[Action]) {
        for action in actions {
            let (index, method) = match action {
                Action::Stop(index, Stop::Drain) => (index, Some(self.settings.drain)),
                Action::Stop(index, Stop::Otherwise) => (index, self.settings.needs_line),
                _ => continue,
            };
            let known = &self.agents[index.0 as usize - 1];
            let otherwise = matches!(action, Action::Stop(_, Stop::Otherwise));
            let unarmed = self.settings.needs_line.is_some() && !known.armed;
            assert_eq!(otherwise, unarmed, "{action:?} for {known:?}");
            if method == Some(DrainMethod::Signal) {
                continue;
            }
            assert_eq!(known.running, 0, "a job runs: {known:?}");
            let Some(window) = self.settings.window else {
                continue;
            };
            let safe = known.safe.is_some_and(|at| now <= at.after(window.lasts));
            let quiet = known
                .quiet
                .is_none_or(|at| at.after(window.patience) <= now);
            assert!(safe || quiet, "neither safe nor quiet at {now}: {known:?}");
        }
    }

    /// The deadline never moves later, and never is later than the drain timeout allows.
    fn rule_3(&self, now: Instant, life: &Lifecycle) {
        let Phase::Draining {
            deadline, since, ..
        } = life.phase()
        else {
            return;
        };
        if let Phase::Draining {
            deadline: Some(before),
            ..
        } = self.before
        {
            assert!(
                deadline.is_some_and(|at| at <= before),
                "later: {deadline:?}"
            );
        } else if since == now
            && let Some(timeout) = life.limits().drain_timeout.get()
        {
            assert!(deadline.is_some_and(|at| at <= now.after(timeout)));
        }
    }

    /// Once draining, never back to work, but from `idle` at the group's minimum.
    fn rule_4(&self, now: Instant, event: &Event, actions: &[Action], returned: bool) {
        let back = matches!(
            self.before,
            Phase::Retiring {
                reason: Reason::Idle,
                pending: None,
                powered_off: false,
                ..
            }
        ) && *event == Event::AtMinimum;
        assert!(!returned || back, "returned from {:?}", self.before);
        let spawns = actions
            .iter()
            .any(|action| matches!(action, Action::Spawn(_)));
        assert!(
            !spawns || returned || self.woken(now, event) || self.before == Phase::Working,
            "starts an agent in {:?}",
            self.before
        );
    }

    /// A parked machine that may begin to work now: it is told to, or nobody owns it and nobody
    /// has told it anything for a while.
    fn woken(&self, now: Instant, event: &Event) -> bool {
        let patience = Duration::from_secs(30);
        match self.before {
            Phase::Parked { pooled } => {
                *event == Event::Wake || (!pooled && self.born.after(patience) <= now)
            }
            _ => false,
        }
    }

    /// A parked machine has no agent, and only a warm pool keeps it without a timer.
    fn parked(&mut self, now: Instant, event: &Event, actions: &[Action], life: &Lifecycle) {
        let retires = actions.iter().any(|act| matches!(act, Action::Retire(_)));
        match (self.before, life.phase()) {
            (before, Phase::Parked { pooled }) => {
                assert!(life.agents().all(|(_, stage, _)| stage == Stage::Ended));
                assert_eq!(life.running(), 0);
                assert_eq!(life.next_deadline().is_none(), pooled);
                let stays = before == Phase::Parked { pooled };
                assert!(stays || *event == Event::Pooled, "parked by {event:?}");
                assert!(!retires, "it retires in a pool");
            }
            (Phase::Parked { pooled: true }, Phase::Gone { .. }) => {
                assert!(!retires, "it shuts down into its pool");
            }
            (Phase::Parked { .. }, Phase::Working | Phase::Draining { .. }) => {
                assert_eq!(life.born(), now, "its life begins");
                self.quiet_since = None;
            }
            _ => {}
        }
    }

    /// Whoever waits for a job's end goes on working, until one has ended.
    fn leaves_after_job(&mut self, actions: &[Action], life: &Lifecycle) {
        let (phase, running) = (life.phase(), life.running());
        let ended = |act: &Action| matches!(act, Action::Report(Report::JobFinished { .. }));
        let one_ended = running < self.running || actions.iter().any(ended);
        let told = |act: &Action| matches!(act, Action::Report(Report::LeavesAfterJob { .. }));
        self.leaves |= actions.iter().any(told);
        if self.leaves && phase == Phase::Working {
            assert!(!one_ended && running > 0, "a job ended, and it stays");
        }
        self.leaves &= phase == Phase::Working;
        self.running = running;
    }

    /// What it waits for lies ahead, and at the end nothing does.
    fn rule_5(&self, now: Instant, actions: &[Action], life: &Lifecycle) {
        let next = life.next_deadline();
        assert!(
            next.is_none_or(|at| at > now),
            "{next:?} is not after {now}"
        );
        if let Phase::Gone { .. } = life.phase() {
            assert_eq!(next, None);
            let first = !matches!(self.before, Phase::Gone { .. });
            assert_eq!(actions.contains(&Action::Exit), first);
        } else {
            assert!(!actions.contains(&Action::Exit));
        }
    }
}
