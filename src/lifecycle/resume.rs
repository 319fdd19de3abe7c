//! Going on with a stored life. What was stored may be truncated, of another configuration or
//! written by somebody else: it is believed only if this machine can have been in that state.

use std::time::Duration;

use super::agents::{Agent, CRASH_WINDOW, KILL_AGAIN, Stage, TERMINATE_GRACE};
use super::drain::SWEEP_GRACE;
use super::event::{Action, Sweep};
use super::idle::SAMPLE_PATIENCE;
use super::limits::Instant;
use super::single::OVERSTAY;
use super::words::AgentIndex;
use super::{Lifecycle, Phase, Settings};

impl Lifecycle {
    /// Goes on with a stored life. The agents' processes are those of the life before; the caller
    /// reports the ones that are gone. `None` when it does not fit the settings, lies in the
    /// future, or contradicts itself.
    pub fn resume(mut self, settings: Settings, now: Instant) -> Option<(Self, Vec<Action>)> {
        if !self.fits(&settings) || self.now > now || !self.is_consistent() {
            return None;
        }
        let pass_through = self.settings.pass_through || settings.pass_through;
        self.settings = Settings {
            pass_through,
            ..settings
        };
        self.now = now;
        self.sample_in_flight = false;
        for agent in &mut self.agents {
            agent.hold.lost_samples();
            if agent.stage == Stage::AwaitExit {
                agent.drain_doubtful = Some(now);
            }
        }
        match self.phase {
            Phase::Retiring {
                powered_off: true, ..
            } => self.act(Action::PowerOff),
            Phase::Retiring { reason, .. } => self.act(Action::Retire(reason)),
            Phase::Sweeping { .. } => self.act(Action::Sweep(Sweep::Terminate)),
            Phase::Draining { reason, .. } => self.act(Action::PrepareRetire(reason)),
            Phase::Gone { .. } => self.act(Action::Exit),
            Phase::Parked { .. } => {}
            Phase::Working => self.sample_at = self.settings.sampling.map(|_| now),
        }
        self.ask_cordons_again();
        // The limits may be others than before.
        self.note_jobs();
        self.settle();
        let actions = std::mem::take(&mut self.actions);
        Some((self, actions))
    }

    /// It was stored under these settings. Limits may change, and with them how often is looked;
    /// what was learned since stays.
    fn fits(&self, settings: &Settings) -> bool {
        let ours = Settings {
            limits: self.settings.limits,
            sampling: self.settings.sampling,
            pass_through: self.settings.pass_through,
            ..settings.clone()
        };
        self.settings == ours && self.agents.len() == settings.agents as usize
    }

    /// No stored time is further away than its step ever waits, so none can hold the machine.
    fn is_consistent(&self) -> bool {
        let past = |at: Instant| at <= self.now;
        let maybe_past = |at: Option<Instant>| at.is_none_or(past);
        let within = |at: Instant, wait: Duration| at <= self.now.after(wait);
        let phase = match self.phase {
            Phase::Parked { .. } | Phase::Working | Phase::Gone { .. } => true,
            Phase::Draining { since, .. } | Phase::Retiring { since, .. } => past(since),
            Phase::Sweeping { kill_at, .. } => within(kill_at, SWEEP_GRACE),
        };
        let patience = |at: Instant| within(at, SAMPLE_PATIENCE);
        phase
            && (self.leaving.is_none() || self.phase == Phase::Working)
            && past(self.born)
            && maybe_past(self.idle_since)
            && self.idle_not_before.is_none_or(patience)
            && self.agents.iter().zip(1..).all(|(agent, n)| {
                agent.index == AgentIndex(n)
                    && past(agent.unready_since)
                    && past(agent.spawned_at)
                    && self.is_possible(agent)
            })
    }

    fn is_possible(&self, agent: &Agent) -> bool {
        let settings = &self.settings;
        let within = |at: Instant, wait: Duration| at <= self.now.after(wait);
        let on_time = match agent.stage {
            Stage::Cancelling { until } => within(until, settings.cancel.unwrap_or_default()),
            Stage::Terminating { until } => within(until, TERMINATE_GRACE),
            Stage::Killing { again, .. } => within(again, KILL_AGAIN),
            Stage::Backoff { until } => within(until, CRASH_WINDOW),
            Stage::AwaitExit => agent.drain_doubtful.is_none_or(|at| at <= self.now),
            Stage::Starting | Stage::Ready | Stage::AwaitIdle | Stage::Ended => true,
        };
        let on_time = on_time && agent.overstays_at.is_none_or(|at| within(at, OVERSTAY));
        let in_phase = match self.phase {
            Phase::Working => true,
            Phase::Draining { .. } => !agent.stage.takes_jobs(),
            Phase::Parked { .. }
            | Phase::Sweeping { .. }
            | Phase::Retiring { .. }
            | Phase::Gone { .. } => agent.stage == Stage::Ended,
        };
        let slots = settings.told_slots();
        let detectors = settings.detectors.len();
        let steps = match (&agent.steps, settings.linger) {
            (Some(steps), Some(linger)) => steps.fits(linger, detectors, self.now),
            (steps, linger) => steps.is_none() && linger.is_none(),
        };
        let hold = agent.hold.fits(settings, self.now);
        on_time && in_phase && steps && hold && agent.ledger.fits(&settings.detectors, slots)
    }
}
