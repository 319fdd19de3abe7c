//! While the machine works: agents that come, go and crash, their jobs, and the limits.

use super::agents::{Agent, RESPAWN_PACE, Stage};
use super::event::{Action, Report};
use super::hold::Hold;
use super::ledger::{Change, Ledger};
use super::steps::Steps;
use super::words::{AgentIndex, DetectorIndex, Exit, Observation, Outcome, Reason};
use super::{DrainMethod, Instant, Lifecycle, Phase};

impl Lifecycle {
    pub(super) fn spawned(&mut self, index: AgentIndex) {
        if !self.settings.sees_ready {
            self.ready(index);
        }
    }

    pub(super) fn observed(&mut self, index: AgentIndex, by: DetectorIndex, seen: Observation) {
        let Some(at) = self.position(index) else {
            return;
        };
        if !self.agents[at].stage.has_process() {
            return;
        }
        let before = self.started();
        let was_idle = self.running() == 0;
        let begun_before = self.agents[at].ledger.started();
        let changes = match seen {
            Observation::Ready => return self.ready(index),
            seen => self.agents[at].sees(by, seen, self.now),
        };
        if !changes.is_empty() {
            // Who has a job is ready, whatever happened to the line that should have said so.
            self.ready(index);
        }
        let ended = |change: &Change| matches!(change, Change::Finished { .. });
        let some_ended = changes.iter().any(ended);
        let began = |change: &Change| matches!(change, Change::Started { .. });
        let agent = &self.agents[at];
        // Its drain step, which ends jobs, was sent before the start of this one was seen.
        let too_late = agent.stage == Stage::AwaitExit
            && agent.drain_method(&self.settings) != DrainMethod::Signal
            && changes.iter().any(began);
        self.tell(index, changes);
        if some_ended {
            self.cordon_after_job(at);
        }
        if was_idle && self.running() > 0 {
            self.hasten_sample();
        }
        self.latest = (self.agents[at].ledger.started() > begun_before).then_some(index);
        let allowed = self.settings.limits.max_jobs.get().unwrap_or(u32::MAX);
        if too_late || self.started() > before.max(allowed) {
            self.report(Report::RaceLost { agent: index });
        }
    }

    fn ready(&mut self, index: AgentIndex) {
        let Some(at) = self.position(index) else {
            return;
        };
        if self.agents[at].stage != Stage::Starting {
            return;
        }
        self.agents[at].stage = Stage::Ready;
        self.report(Report::AgentReady(index));
        self.idle_since.get_or_insert(self.now);
        if self.settings.sampling.is_some() {
            self.sample_at = Some(self.now);
        }
    }

    pub(super) fn tell(&mut self, agent: AgentIndex, changes: Vec<Change>) {
        for change in changes {
            // Also for a job that began and ended between two events.
            self.idle_since = None;
            self.returns = 0;
            match change {
                Change::Started { id } => self.report(Report::JobStarted { agent, id }),
                Change::Finished { id, outcome } => {
                    let count = match outcome {
                        Outcome::Passed => &mut self.tally.passed,
                        Outcome::Failed => &mut self.tally.failed,
                        Outcome::Canceled => &mut self.tally.canceled,
                        Outcome::Lost => &mut self.tally.lost,
                        Outcome::Unknown => &mut self.tally.unknown,
                    };
                    *count = count.saturating_add(1);
                    self.report(Report::JobFinished { agent, id, outcome });
                }
            }
        }
    }

    pub(super) fn exited(&mut self, index: AgentIndex, exit: Exit) {
        let Some(at) = self.position(index) else {
            return;
        };
        let stage = self.agents[at].stage;
        if !stage.has_process() {
            return;
        }
        let asked = !stage.takes_jobs();
        let single = self.settings.drain == DrainMethod::SingleJob;
        let clean = match exit {
            Exit::Code(code) => code == 0 || self.settings.exit_ok.contains(&code),
            Exit::Signal(_) => false,
            // It may have ended after its job: to be counted rather than run once too often.
            Exit::Unknown => single && stage.was_ready(),
        };
        let crashed = !asked && !clean && !self.settings.pass_through;
        let method = self.agents[at].drain_method(&self.settings);
        let outcome = match stage {
            Stage::Cancelling { .. } | Stage::Killing { .. } | Stage::Terminating { .. } => {
                Outcome::Canceled
            }
            // Its drain let it finish them, and it ended well.
            Stage::AwaitExit if clean && method == DrainMethod::Signal => Outcome::Unknown,
            _ if single && clean => Outcome::Unknown,
            _ => Outcome::Lost,
        };
        if clean {
            self.end_steps(at, Steps::end_quiet);
        }
        let changes = self.agents[at].ledger.close_all(outcome);
        self.tell(index, changes);
        let saw_job = self.count_process(at, single && clean && stage.was_ready());
        self.agents[at].last_exit = Some(exit);
        self.report(Report::AgentExited {
            agent: index,
            exit,
            crashed,
        });
        if asked || self.phase != Phase::Working {
            self.agents[at].stage = Stage::Ended;
        } else if single && clean {
            self.next_single(at, saw_job);
        } else if clean || self.settings.pass_through {
            self.agents[at].stage = Stage::Ended;
        } else {
            self.crashed(at);
        }
    }

    /// Ends the jobs of an agent that shows steps, in this way.
    pub(super) fn end_steps(
        &mut self,
        at: usize,
        end: impl FnOnce(&mut Steps, &mut Ledger) -> Vec<Change>,
    ) {
        let agent = &mut self.agents[at];
        if let Some(steps) = &mut agent.steps {
            let (index, changes) = (agent.index, end(steps, &mut agent.ledger));
            self.tell(index, changes);
        }
    }

    /// Adds an ended process's jobs to the machine's; whether a detector saw any.
    pub(super) fn count_process(&mut self, at: usize, planned_single: bool) -> bool {
        let counted = self.settings.detectors.iter().any(|kind| kind.counts());
        let fresh = self.settings.fresh_ledger();
        let ended = std::mem::replace(&mut self.agents[at].ledger, fresh);
        self.agents[at].steps = self.settings.fresh_steps();
        let agent = &mut self.agents[at];
        agent.ends_itself = false;
        agent.overstays_at = None;
        agent.armed = false;
        agent.hold = Hold::default();
        agent.drain_doubtful = None;
        let seen = ended.started();
        // Where nobody counts this agent's jobs its exits do: one job a process.
        let exit_counts = planned_single && !counted;
        let jobs = seen.max(u32::from(exit_counts));
        if exit_counts {
            self.idle_since = None;
        }
        if exit_counts && !ended.has_closed() {
            self.tally.unknown = self.tally.unknown.saturating_add(1);
        }
        self.started_before = self.started_before.saturating_add(jobs);
        seen > 0
    }

    /// The process of a one-job agent ended as planned: the next one, if a job is left for it.
    fn next_single(&mut self, at: usize, saw_job: bool) {
        self.unready(at);
        self.agents[at].stage = Stage::Starting;
        let paced = self.agents[at].spawned_at.after(RESPAWN_PACE);
        if self.jobs_left().is_some_and(|left| self.potential() > left) {
            self.agents[at].stage = Stage::Ended;
            self.agents[at].limited = true;
        } else if saw_job || paced <= self.now {
            self.spawn(at);
        } else {
            self.agents[at].stage = Stage::Backoff { until: paced };
        }
    }

    pub(super) fn spawn(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        agent.stage = Stage::Starting;
        agent.spawned_at = self.now;
        let index = agent.index;
        self.act(Action::Spawn(index));
    }

    /// The boot timeout counts from the last time it was ready, however often it ends before.
    fn unready(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if agent.stage == Stage::Ready {
            agent.unready_since = self.now;
        }
    }

    fn crashed(&mut self, at: usize) {
        self.unready(at);
        let agent = &mut self.agents[at];
        match agent.crashed(self.now) {
            Some(until) => agent.stage = Stage::Backoff { until },
            None => {
                agent.stage = Stage::Ended;
                self.report(Report::LimitReached(Reason::CrashLoop));
                self.drain(Reason::CrashLoop, None);
            }
        }
    }

    /// It turned out that there is no machine to end: who waits to be started again has ended.
    pub(super) fn pass_through(&mut self) {
        self.settings.pass_through = true;
        for agent in &mut self.agents {
            if matches!(agent.stage, Stage::Backoff { .. }) {
                agent.stage = Stage::Ended;
            }
        }
    }

    /// Consequences of the new state, whatever brought it about.
    pub(super) fn settle(&mut self) {
        if self.running() > 0 {
            self.idle_since = None;
            self.returns = 0;
        } else if self.idle_since.is_none() && self.was_ready() {
            self.idle_since = Some(self.now);
        }
        self.watch_singles();
        self.drain_idle_agents();
        if self.phase == Phase::Working {
            self.leave_after_job();
        }
        if self.phase == Phase::Working {
            self.enforce_max_jobs();
        }
        if self.phase == Phase::Working && self.agents.iter().all(|a| a.stage == Stage::Ended) {
            self.drain(Reason::AgentExit, None);
        }
        self.finish_drain();
    }

    fn was_ready(&self) -> bool {
        let mut agents = self.agents.iter();
        agents.any(|agent| agent.stage.was_ready()) || self.started_before > self.woken_after
    }

    /// Jobs that may still start, if there is a limit.
    fn jobs_left(&self) -> Option<u32> {
        let max = self.settings.limits.max_jobs.get()?;
        Some(max.saturating_sub(self.started()))
    }

    /// Jobs that could start before any signal arrives: each free or freed slot takes one.
    fn potential(&self) -> u32 {
        let agents = self.agents.iter().filter(|agent| agent.stage.takes_jobs());
        agents
            .map(|agent| match agent.drain_method(&self.settings) {
                DrainMethod::SingleJob => u32::from(agent.ledger.started() == 0),
                _ => self.settings.slots.max(agent.ledger.running()),
            })
            .fold(0, u32::saturating_add)
    }

    /// Never more than max-jobs: whoever could take a job too many is drained before it can.
    fn enforce_max_jobs(&mut self) {
        let Some(left) = self.jobs_left() else {
            return;
        };
        while self.potential() > left {
            // Who has no process cannot have begun a job unheard. Then the one whose job was
            // just heard of: with one slot it cannot begin another before its drain arrives.
            let rank = |agent: &Agent| {
                let absent = matches!(agent.stage, Stage::Backoff { .. });
                let latest = self.latest == Some(agent.index);
                (absent, latest, agent.ledger.running())
            };
            let takers = self.agents.iter().enumerate();
            let safest = takers
                .filter(|(_, agent)| agent.stage.takes_jobs())
                .max_by_key(|(_, agent)| rank(agent));
            let Some((at, _)) = safest else {
                break;
            };
            self.agents[at].limited = true;
            self.drain_agent(at);
        }
        let limited = self.agents.iter().any(|agent| agent.limited);
        let none_left = self.agents.iter().all(|agent| !agent.stage.takes_jobs());
        if left == 0 || (limited && none_left) {
            self.report(Report::LimitReached(Reason::MaxJobs));
            self.drain(Reason::MaxJobs, None);
        }
    }

    pub fn boot_deadline(&self) -> Option<Instant> {
        let timeout = self.settings.limits.boot_timeout.get()?;
        let unready = self
            .agents
            .iter()
            .filter(|agent| matches!(agent.stage, Stage::Starting | Stage::Backoff { .. }));
        Some(
            unready
                .map(|agent| agent.unready_since)
                .min()?
                .after(timeout),
        )
    }

    pub(super) fn fire_work_timers(&mut self) {
        let due = |deadline: Option<Instant>, now| deadline.is_some_and(|at| at <= now);
        if self.wants_samples() && due(self.sample_at, self.now) {
            self.sample();
        }
        if self.phase != Phase::Working {
            return;
        }
        if due(self.boot_deadline(), self.now) {
            self.report(Report::LimitReached(Reason::BootTimeout));
            self.drain(Reason::BootTimeout, None);
        } else if due(self.lifetime_deadline(), self.now) {
            self.report(Report::LimitReached(Reason::MaxLifetime));
            self.drain(Reason::MaxLifetime, None);
        } else if due(self.idle_check(), self.now) {
            self.idle_timeout();
        }
    }
}
