//! Agents whose drain step would end a job: it is held back until there certainly is none.
//!
//! A level that was sampled before somebody wished to drain may be of before a job began, so it is
//! asked for again. Where the agent shows moments in which it takes no job, the step is sent in
//! one of them.

use serde::{Deserialize, Serialize};

use super::agents::Stage;
use super::cordon::Cordon;
use super::event::Action;
use super::limits::Instant;
use super::{DrainMethod, Lifecycle, Settings};

/// What holds one agent's drain step back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Hold {
    /// Samples still to come before its levels are believed.
    confirms: u8,
    /// It asked for a job then and got none, and has begun none since.
    safe_at: Option<Instant>,
    patience: Patience,
    pub cordon: Cordon,
}

/// How long an idle agent is still waited for to show a safe moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Patience {
    /// It is not idle, or need not show one.
    #[default]
    Untried,
    Until(Instant),
    Over,
}

impl Hold {
    /// What was stored may wait for nothing that lies too far ahead.
    pub fn fits(&self, settings: &Settings, now: Instant) -> bool {
        let patience = settings.window.map(|window| now.after(window.patience));
        let waits = match self.patience {
            Patience::Until(at) => patience.is_some_and(|latest| at <= latest),
            Patience::Untried | Patience::Over => true,
        };
        waits
            && self.cordon.fits(now)
            && self.confirms <= 2
            && self.safe_at.is_none_or(|at| at <= now)
    }

    /// When it changes by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let patience = match self.patience {
            Patience::Until(at) => Some(at),
            Patience::Untried | Patience::Over => None,
        };
        let all = [patience, self.cordon.deadline()];
        all.into_iter().flatten().min()
    }

    pub fn safe_window(&mut self, now: Instant) {
        self.safe_at = Some(now);
    }

    pub fn job_began(&mut self) {
        self.safe_at = None;
    }

    /// A supervisor that died has lost the samples it asked for.
    pub fn lost_samples(&mut self) {
        self.confirms = self.confirms.min(1);
    }

    /// Nothing holds the step of an idle agent back any more.
    fn releases(&self, settings: &Settings, now: Instant) -> bool {
        let safe = settings.window.is_none_or(|window| {
            self.patience == Patience::Over
                || self.safe_at.is_some_and(|at| now <= at.after(window.lasts))
        });
        self.confirms == 0 && self.cordon.releases() && safe
    }
}

impl Lifecycle {
    /// Its drain step is sent once it certainly has no job.
    pub(super) fn await_idle(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        agent.stage = Stage::AwaitIdle;
        agent.hold.patience = Patience::Untried;
        let single = agent.drain_method(&self.settings) == DrainMethod::SingleJob;
        if single && (agent.ledger.running() > 0 || agent.ledger.started() > 0) {
            agent.ends_itself = true;
            return;
        }
        self.confirm_idle(at);
        self.begin_cordon(at);
        self.drain_idle_agents();
    }

    /// Agents whose signal would cancel a job get it as soon as nothing holds it back.
    pub(super) fn drain_idle_agents(&mut self) {
        for at in 0..self.agents.len() {
            let now = self.now;
            let agent = &mut self.agents[at];
            if agent.stage != Stage::AwaitIdle {
                continue;
            }
            let idle = agent.ledger.is_idle() && !agent.ends_itself;
            agent.hold.patience = match (agent.hold.patience, self.settings.window) {
                (Patience::Untried, Some(window)) if idle => {
                    Patience::Until(now.after(window.patience))
                }
                (_, _) if !idle => Patience::Untried,
                (patience, _) => patience,
            };
            // An agent that was armed since lets its jobs finish.
            let lets_finish = agent.drain_method(&self.settings) == DrainMethod::Signal;
            if lets_finish || (idle && agent.hold.releases(&self.settings, now)) {
                self.send_drain(at);
            }
        }
    }

    pub(super) fn send_drain(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        agent.stage = Stage::AwaitExit;
        let action = Action::Stop(agent.index, agent.drain_step(&self.settings));
        self.act(action);
    }

    /// A deadline of the agent's [`Hold`] has come.
    pub(super) fn fire_hold_timer(&mut self, at: usize) {
        let hold = &mut self.agents[at].hold;
        if matches!(hold.patience, Patience::Until(until) if until <= self.now) {
            hold.patience = Patience::Over;
        }
        self.fire_cordon_timer(at);
    }

    pub(super) fn confirm_idle(&mut self, at: usize) {
        if self.just_sampled || self.settings.sampling.is_none() || !self.has_levels() {
            return;
        }
        // A sample that was asked for earlier may have been taken earlier.
        let asked_now = self.actions.contains(&Action::Sample);
        let stale = self.sample_in_flight && !asked_now;
        self.agents[at].hold.confirms = if stale { 2 } else { 1 };
        if !self.sample_in_flight {
            self.sample();
        }
    }

    /// A sample has been answered.
    pub(super) fn confirm_agents(&mut self) {
        self.sample_in_flight = false;
        let mut again = false;
        for agent in &mut self.agents {
            agent.hold.confirms = agent.hold.confirms.saturating_sub(1);
            again |= agent.hold.confirms > 0;
        }
        if again {
            self.sample();
        }
    }
}
