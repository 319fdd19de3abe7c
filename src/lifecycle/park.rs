//! A machine that does not work yet, or not now: before it is known what its group wants of it,
//! and while it waits in a warm pool. No agent runs then, and no limit counts.

use std::time::Duration;

use super::agents::{Agent, Stage};
use super::event::{Action, Report};
use super::limits::{Instant, Limit};
use super::settings::DrainMethod;
use super::words::{AgentIndex, Reason};
use super::{Lifecycle, Phase, Settings, Tally};

/// Who is not told what the group wants starts to work all the same: most machines are in no
/// warm pool, and the metadata service may be down for longer than anybody waits for an agent.
const PATIENCE: Duration = Duration::from_secs(30);

impl Lifecycle {
    /// A new life that begins to work at [`Event::Wake`](super::Event::Wake), or by itself when
    /// nobody says anything. `settings.agents` and `settings.slots` are at least 1.
    pub fn parked(settings: Settings, now: Instant) -> Self {
        let agents = (1..=settings.agents).map(|n| {
            let mut agent = Agent::new(AgentIndex(n), now, &settings);
            agent.stage = Stage::Ended;
            agent
        });
        Lifecycle {
            agents: agents.collect(),
            settings,
            born: now,
            now,
            phase: Phase::Parked { pooled: false },
            tally: Tally::default(),
            started_before: 0,
            woken_after: 0,
            idle_since: None,
            returns: 0,
            idle_not_before: None,
            sample_at: None,
            sample_in_flight: false,
            just_sampled: false,
            interrupts: 0,
            leaving: None,
            condemned: None,
            jobs_before: (0, 0),
            latest: None,
            actions: Vec::new(),
        }
    }

    /// The machine is to work.
    pub(super) fn wake(&mut self) {
        let Phase::Parked { pooled } = self.phase else {
            return;
        };
        if pooled {
            self.report(Report::Woken);
        }
        self.begin_work();
    }

    /// When it begins to work without being told to. A warm pool has all the time it wants.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        (self.phase == Phase::Parked { pooled: false }).then(|| self.born.after(PATIENCE))
    }

    pub(super) fn wake_unasked(&mut self) {
        self.report(Report::WokeUnasked);
        self.begin_work();
    }

    /// Starts the agents. Lifetime and idle time count from now; jobs go on being counted.
    pub(super) fn begin_work(&mut self) {
        if let Some(agent) = self.agents.iter().find(|agent| agent.cordoned) {
            // It would be in service for nobody.
            self.report(Report::CordonIsFinal(agent.index));
            return self.start_retiring(Reason::Operator);
        }
        self.phase = Phase::Working;
        self.born = self.now;
        self.idle_since = None;
        self.idle_not_before = None;
        self.woken_after = self.started_before;
        self.returns = 0;
        self.interrupts = 0;
        self.condemned = None;
        let agents = self.settings.agents;
        let working = self.agents_with_a_job_left().unwrap_or(agents);
        self.agents = (1..=agents)
            .map(|n| Agent::new(AgentIndex(n), self.now, &self.settings))
            .collect();
        for (at, n) in (1..=agents).enumerate() {
            if n <= working {
                self.spawn(at);
            } else {
                self.agents[at].stage = Stage::Ended;
                self.agents[at].limited = true;
            }
        }
    }

    /// An agent for which no job is left would have to be drained before it took one.
    fn agents_with_a_job_left(&self) -> Option<u32> {
        let Limit::At(max) = self.settings.limits.max_jobs else {
            return None;
        };
        let each = match self.settings.needs_line.unwrap_or(self.settings.drain) {
            DrainMethod::SingleJob => 1,
            DrainMethod::Signal | DrainMethod::WaitIdle => self.settings.slots,
        };
        Some(max.saturating_sub(self.started_before) / each)
    }

    /// A warm pool owns the machine: when it was started for one, or has left service for one.
    pub(super) fn pooled(&mut self) {
        match self.phase {
            Phase::Parked { pooled: false } => {}
            Phase::Retiring {
                reason,
                pending,
                powered_off: false,
                ..
            } => {
                let pending = pending.filter(|pending| *pending != Reason::ScaleIn);
                let other = pending.or(self.condemned).filter(|other| *other != reason);
                if let Some(other) = other {
                    // Out of the pool it would come to the same end, and with a job.
                    return self.start_retiring(other);
                }
                if self.interrupts > 0 {
                    // Somebody wanted the supervisor to end, and nothing is left to wait for.
                    return self.shut_down();
                }
            }
            // Once it is powering off, a late answer changes nothing.
            Phase::Parked { .. }
            | Phase::Retiring { .. }
            | Phase::Working
            | Phase::Draining { .. }
            | Phase::Sweeping { .. }
            | Phase::Gone { .. } => return,
        }
        self.phase = Phase::Parked { pooled: true };
        self.woken_after = self.started_before;
        self.idle_since = None;
        self.report(Report::Pooled);
    }

    /// A signal found the machine in a warm pool: the system is being shut down into it, which is
    /// no retirement.
    pub(super) fn shuts_down(&mut self) -> bool {
        let pooled = self.phase == Phase::Parked { pooled: true };
        if pooled {
            self.shut_down();
        }
        pooled
    }

    fn shut_down(&mut self) {
        let reason = Reason::Signal;
        self.phase = Phase::Gone { reason };
        self.act(Action::Exit);
    }
}
