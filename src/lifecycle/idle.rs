//! The idle timeout, and the samples without which nobody knows whether a machine is idle.

use std::time::Duration;

use super::agents::Stage;
use super::event::{Action, Report};
use super::words::Reason;
use super::{Instant, Lifecycle, Phase};

/// How long the answer to [`Action::Sample`] may take before the idle timeout is looked at again.
pub(super) const SAMPLE_PATIENCE: Duration = Duration::from_secs(5);

impl Lifecycle {
    /// When the idle timeout must be looked at.
    pub(super) fn idle_check(&self) -> Option<Instant> {
        let deadline = self.idle_deadline()?;
        Some(deadline.max(self.idle_not_before.unwrap_or(deadline)))
    }

    pub(super) fn wants_samples(&self) -> bool {
        self.settings.sampling.is_some()
            && matches!(self.phase, Phase::Working | Phase::Draining { .. })
    }

    /// The idle time is over. Where levels are sampled, the last word is a fresh sample.
    pub(super) fn idle_timeout(&mut self) {
        if self.has_levels() {
            self.idle_not_before = Some(self.now.after(SAMPLE_PATIENCE));
            self.sample();
        } else {
            self.idle_reached();
        }
    }

    pub(super) fn has_levels(&self) -> bool {
        self.settings.detectors.iter().any(|kind| kind.is_level())
    }

    pub(super) fn sampled(&mut self) {
        self.just_sampled = true;
        self.confirm_agents();
        if self.idle_not_before.take().is_none() || self.phase != Phase::Working {
            return;
        }
        // The samples came just before this event, so a job they showed has ended the idle time.
        let running = self.running() > 0;
        if running || self.idle_deadline().is_none_or(|at| at > self.now) {
            return;
        }
        let live = self.agents.iter().filter(|agent| agent.stage.has_process());
        let mut seen_ready = live.filter(|agent| agent.stage != Stage::Starting);
        if seen_ready.all(|agent| agent.ledger.is_idle()) {
            self.idle_reached();
        } else {
            // Somebody could not tell. Unknown is not idle: ask again later.
            self.idle_not_before = Some(self.now.after(SAMPLE_PATIENCE));
        }
    }

    fn idle_reached(&mut self) {
        self.report(Report::LimitReached(Reason::Idle));
        self.drain(Reason::Idle, None);
    }

    /// The next sample was put off as far as an idle machine can wait.
    pub(super) fn hasten_sample(&mut self) {
        if let (Some(at), Some(rates)) = (self.sample_at, self.settings.sampling) {
            self.sample_at = Some(at.min(self.now.after(rates.while_busy)));
        }
    }

    pub(super) fn sample(&mut self) {
        self.sample_in_flight = true;
        // Two timers at once want one sample.
        if !self.actions.contains(&Action::Sample) {
            self.act(Action::Sample);
        }
        self.sample_at = self.settings.sampling.map(|rates| {
            let watched = self.running() > 0 || self.phase != Phase::Working;
            let wait = if watched {
                rates.while_busy
            } else {
                rates.while_idle
            };
            self.now.after(wait)
        });
    }
}
