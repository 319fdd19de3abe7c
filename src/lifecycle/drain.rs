//! The end of work: drain, cancel, kill, sweep, retire. Every step has a timer of its own.

use std::time::Duration;

use super::agents::{DRAIN_AGAIN, KILL_AGAIN, KILL_TRIES, Stage, TERMINATE_GRACE};
use super::event::{Action, Report, Stop, Sweep};
use super::words::{Outcome, Reason};
use super::{DrainMethod, Instant, Lifecycle, Limits, Phase, Urgency};

/// What processes that outlived their agent get between SIGTERM and SIGKILL.
pub(super) const SWEEP_GRACE: Duration = Duration::from_secs(2);
const SWEEP_AGAIN: Duration = Duration::from_millis(100);
const SWEEP_ROUNDS: u32 = 50;
/// Longer than all rungs of the ladder with their budgets, its hour of holding a broken machine
/// at the group's minimum included.
const RETIRE_WATCH: Duration = Duration::from_secs(2 * 3600);
const POWER_OFF_WATCH: Duration = Duration::from_secs(300);

impl Lifecycle {
    /// Asked to end the work. While it ends already, the word can only make it sooner.
    pub(super) fn drain(&mut self, reason: Reason, deadline: Option<Instant>) {
        self.condemn(reason);
        match self.phase {
            // No agent has to be waited for.
            Phase::Parked { .. } => {
                self.report(Report::DrainBegan { reason, deadline });
                self.start_retiring(reason);
            }
            Phase::Working => self.begin_drain(reason, deadline),
            Phase::Draining {
                reason: old,
                since,
                deadline: agreed,
                urgency,
            } => {
                let reason = if supersedes(reason, old) { reason } else { old };
                let sooner = [deadline, agreed].into_iter().flatten().min();
                if (reason, sooner) != (old, agreed) {
                    self.phase = Phase::Draining {
                        reason,
                        since,
                        deadline: sooner,
                        urgency,
                    };
                    let deadline = sooner;
                    self.report(Report::DrainTightened { reason, deadline });
                }
            }
            Phase::Sweeping {
                reason: old,
                kill_at,
                rounds,
            } if supersedes(reason, old) => {
                self.phase = Phase::Sweeping {
                    reason,
                    kill_at,
                    rounds,
                };
            }
            Phase::Retiring {
                reason: old,
                since,
                pending,
                powered_off,
            } if supersedes(reason, pending.unwrap_or(old)) => {
                self.phase = Phase::Retiring {
                    reason: old,
                    since,
                    pending: Some(reason),
                    powered_off,
                };
            }
            Phase::Sweeping { .. } | Phase::Retiring { .. } | Phase::Gone { .. } => {}
        }
    }

    /// Remembers what is going to happen to the machine itself.
    pub(super) fn condemn(&mut self, reason: Reason) {
        let condemns = matches!(
            reason,
            Reason::Spot | Reason::Maintenance | Reason::Rebalance
        );
        if condemns && self.condemned.is_none_or(|old| supersedes(reason, old)) {
            self.condemned = Some(reason);
        }
    }

    fn begin_drain(&mut self, reason: Reason, deadline: Option<Instant>) {
        let (reason, deadline) = self.with_leaving(reason, deadline);
        let timeout = self.settings.limits.drain_timeout.get();
        let own = timeout.map(|timeout| self.now.after(timeout));
        let deadline = [own, deadline].into_iter().flatten().min();
        self.phase = Phase::Draining {
            reason,
            since: self.now,
            deadline,
            urgency: Urgency::Drain,
        };
        self.report(Report::DrainBegan { reason, deadline });
        for at in 0..self.agents.len() {
            self.drain_agent(at);
        }
        // After the signals: the agents must not wait for the preparation.
        self.act(Action::PrepareRetire(reason));
    }

    /// New limits; a shorter drain timeout also tightens the drain under way.
    pub(super) fn relimit(&mut self, limits: Limits) {
        self.settings.limits = limits;
        if let Phase::Draining { reason, since, .. } = self.phase {
            let timeout = limits.drain_timeout.get();
            self.drain(reason, timeout.map(|timeout| since.after(timeout)));
        }
    }

    /// One agent takes no further job, in the way that it can.
    pub(super) fn drain_agent(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        match agent.stage {
            Stage::Starting => {
                let until = self.now.after(TERMINATE_GRACE);
                agent.stage = Stage::Terminating { until };
                let action = Action::Stop(agent.index, Stop::Terminate);
                self.act(action);
            }
            Stage::Backoff { .. } => agent.stage = Stage::Ended,
            Stage::Ready => match agent.drain_method(&self.settings) {
                DrainMethod::Signal => self.send_drain(at),
                DrainMethod::WaitIdle | DrainMethod::SingleJob => self.await_idle(at),
            },
            Stage::AwaitIdle
            | Stage::AwaitExit
            | Stage::Cancelling { .. }
            | Stage::Terminating { .. }
            | Stage::Killing { .. }
            | Stage::Ended => {}
        }
    }

    /// SIGTERM and SIGINT: drain, the same again: cancel, a third time: kill.
    pub(super) fn interrupt(&mut self) {
        if self.shuts_down() {
            return;
        }
        self.interrupts = self.interrupts.saturating_add(1);
        self.drain(Reason::Signal, None);
        match self.interrupts {
            1 => {}
            2 => self.escalate(Urgency::Cancel),
            _ => self.escalate(Urgency::Kill),
        }
    }

    /// SIGQUIT: kill.
    pub(super) fn quit(&mut self) {
        if self.shuts_down() {
            return;
        }
        self.interrupts = self.interrupts.saturating_add(1);
        self.drain(Reason::Signal, None);
        self.escalate(Urgency::Kill);
    }

    pub(super) fn escalate(&mut self, to: Urgency) {
        let Phase::Draining { urgency, .. } = &mut self.phase else {
            return;
        };
        if *urgency >= to {
            return;
        }
        *urgency = to;
        let running = self.running();
        match to {
            Urgency::Drain => {}
            Urgency::Cancel => {
                self.report(Report::CancelledJobs { running });
                for at in 0..self.agents.len() {
                    self.cancel_agent(at);
                }
            }
            Urgency::Kill => {
                self.report(Report::KilledAgents);
                for at in 0..self.agents.len() {
                    self.kill_agent(at);
                }
            }
        }
    }

    fn cancel_agent(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        match (agent.stage, self.settings.cancel) {
            (Stage::AwaitIdle | Stage::AwaitExit | Stage::Ready, Some(allow)) => {
                let until = self.now.after(allow);
                agent.stage = Stage::Cancelling { until };
                let action = Action::Stop(agent.index, Stop::Cancel);
                self.act(action);
            }
            (Stage::AwaitIdle | Stage::AwaitExit | Stage::Ready, None) => self.kill_agent(at),
            _ => {}
        }
    }

    fn kill_agent(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if !agent.stage.has_process() || matches!(agent.stage, Stage::Killing { .. }) {
            return;
        }
        let again = self.now.after(KILL_AGAIN);
        agent.stage = Stage::Killing { again, tries: 1 };
        let action = Action::Stop(agent.index, Stop::Kill);
        self.act(action);
    }

    pub(super) fn fire_timers(&mut self) {
        for at in 0..self.agents.len() {
            let now = self.now;
            self.end_steps(at, |steps, ledger| steps.end_due(ledger, now));
            let due = self.agents[at].stage_deadline();
            let due = due.is_some_and(|due| due <= now);
            if due {
                self.fire_agent_timer(at);
            }
        }
        self.fire_work_timers();
        match self.phase {
            Phase::Parked { .. } if self.wakes_at().is_some_and(|at| at <= self.now) => {
                self.wake_unasked();
            }
            Phase::Draining {
                deadline: Some(deadline),
                ..
            } if deadline <= self.now => self.escalate(Urgency::Cancel),
            Phase::Sweeping { kill_at, .. } if kill_at <= self.now => self.sweep_again(),
            Phase::Retiring {
                since, powered_off, ..
            } if Self::retire_watch(since, powered_off) <= self.now => self.retire_overdue(),
            _ => {}
        }
    }

    fn fire_agent_timer(&mut self, at: usize) {
        let now = self.now;
        let agent = &mut self.agents[at];
        let index = agent.index;
        match agent.stage {
            Stage::Backoff { .. } => self.spawn(at),
            Stage::Cancelling { .. } | Stage::Terminating { .. } => self.kill_agent(at),
            Stage::Killing { tries, .. } if tries < KILL_TRIES => {
                agent.stage = Stage::Killing {
                    again: now.after(KILL_AGAIN),
                    tries: tries + 1,
                };
                self.act(Action::Stop(index, Stop::Kill));
            }
            Stage::Killing { .. } => {
                agent.stage = Stage::Ended;
                let changes = agent.ledger.close_all(Outcome::Canceled);
                self.tell(index, changes);
                self.count_process(at, false);
                self.report(Report::Unkillable(index));
            }
            Stage::Ready => self.fire_overstay(at),
            Stage::AwaitIdle => {
                self.fire_overstay(at);
                self.fire_hold_timer(at);
            }
            Stage::AwaitExit => self.drain_again(at),
            Stage::Starting | Stage::Ended => {}
        }
    }

    fn drain_again(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if !agent.ledger.is_idle() {
            agent.drain_doubtful = Some(self.now);
            return;
        }
        if agent
            .drain_doubtful
            .is_some_and(|at| at.after(DRAIN_AGAIN) <= self.now)
        {
            agent.drain_doubtful = None;
            match agent.drain_method(&self.settings) {
                DrainMethod::Signal => self.send_drain(at),
                DrainMethod::WaitIdle | DrainMethod::SingleJob => self.await_idle(at),
            }
        }
    }

    /// When the last agent is gone, what they left behind goes; then the machine.
    pub(super) fn finish_drain(&mut self) {
        let Phase::Draining { reason, .. } = self.phase else {
            return;
        };
        if self.agents.iter().all(|agent| agent.stage == Stage::Ended) {
            self.phase = Phase::Sweeping {
                reason,
                kill_at: self.now.after(SWEEP_GRACE),
                rounds: 0,
            };
            self.act(Action::Sweep(Sweep::Terminate));
        }
    }

    fn sweep_again(&mut self) {
        let Phase::Sweeping { reason, rounds, .. } = self.phase else {
            return;
        };
        if rounds >= SWEEP_ROUNDS {
            self.tree_gone();
            return;
        }
        self.phase = Phase::Sweeping {
            reason,
            kill_at: self.now.after(SWEEP_AGAIN),
            rounds: rounds + 1,
        };
        self.act(Action::Sweep(Sweep::Kill));
    }

    pub(super) fn tree_gone(&mut self) {
        if let Phase::Sweeping { reason, .. } = self.phase {
            self.start_retiring(reason);
        }
    }

    pub(super) fn start_retiring(&mut self, reason: Reason) {
        self.phase = Phase::Retiring {
            reason,
            since: self.now,
            pending: None,
            powered_off: false,
        };
        self.act(Action::Retire(reason));
    }

    /// Only an idle machine stays: the group wants it, and nothing is wrong with it.
    pub(super) fn at_minimum(&mut self) {
        // Once the machine is powering off, a late answer from the group changes nothing.
        let Phase::Retiring {
            reason,
            pending,
            powered_off: false,
            ..
        } = self.phase
        else {
            return;
        };
        if let Some(reason) = pending {
            self.start_retiring(reason);
            return;
        }
        if reason != Reason::Idle {
            // Nothing but `idle` may be sent back, so nothing is left to ask the group.
            self.retire_overdue();
            return;
        }
        if let Some(agent) = self.agents.iter().find(|agent| agent.cordoned) {
            // It would be in service for nobody. Who asked for a cordon asked for this.
            self.report(Report::CordonIsFinal(agent.index));
            self.start_retiring(Reason::Operator);
            return;
        }
        self.returns = self.returns.saturating_add(1);
        self.phase = Phase::Working;
        self.idle_since = Some(self.now);
        self.idle_not_before = None;
        for at in 0..self.agents.len() {
            if !self.agents[at].limited {
                self.agents[at].unready_since = self.now;
                self.spawn(at);
            }
        }
        let idle_deadline = self.idle_deadline();
        self.report(Report::ReturnedToService { idle_deadline });
    }

    pub(super) fn retired(&mut self) {
        if let Phase::Retiring { reason, .. } = self.phase {
            self.phase = Phase::Gone { reason };
            self.act(Action::Exit);
        }
    }

    pub(super) fn retire_watch(since: Instant, powered_off: bool) -> Instant {
        since.after(if powered_off {
            POWER_OFF_WATCH
        } else {
            RETIRE_WATCH
        })
    }

    fn retire_overdue(&mut self) {
        match self.phase {
            Phase::Retiring {
                powered_off: true, ..
            } => self.retired(),
            Phase::Retiring {
                reason, pending, ..
            } => {
                self.phase = Phase::Retiring {
                    reason,
                    since: self.now,
                    pending,
                    powered_off: true,
                };
                self.act(Action::PowerOff);
            }
            _ => {}
        }
    }
}

/// Whether a new reason takes the place of the old one. An idle machine leaves for any better
/// reason, since only `idle` may send it back to service; and what happens to the machine from
/// outside says how to leave, whatever we wanted.
pub(super) fn supersedes(new: Reason, old: Reason) -> bool {
    let weight = |reason| match reason {
        Reason::Idle => 0,
        Reason::Rebalance => 2,
        Reason::Maintenance => 3,
        Reason::Spot => 4,
        Reason::ScaleIn => 5,
        Reason::MaxJobs
        | Reason::MaxLifetime
        | Reason::BootTimeout
        | Reason::AgentExit
        | Reason::CrashLoop
        | Reason::Operator
        | Reason::Signal => 1,
    };
    weight(new) > weight(old)
}
