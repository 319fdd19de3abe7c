//! Agents that run one job a process: they end by themselves after it.
//!
//! One that stays does not know the option that makes it leave, so it takes jobs like any other
//! and is drained like one whose signal would cancel a job.

use std::time::Duration;

use super::Lifecycle;
use super::agents::Stage;
use super::event::Report;
use super::settings::DrainMethod;

/// How long an agent may take to end after its job.
pub(super) const OVERSTAY: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// Notes which agents have had their job and have yet to end.
    pub(super) fn watch_singles(&mut self) {
        for agent in &mut self.agents {
            if agent.drain_method(&self.settings) != DrainMethod::SingleJob {
                continue;
            }
            let running = agent.ledger.running() > 0;
            match agent.stage {
                // It was to be drained while it had no job, and began one first.
                Stage::AwaitIdle if running => agent.ends_itself = true,
                Stage::Ready | Stage::AwaitIdle => {}
                _ => continue,
            }
            let had_job = agent.ends_itself || agent.ledger.started() > 0;
            agent.overstays_at = if running || !had_job {
                None
            } else {
                agent.overstays_at.or(Some(self.now.after(OVERSTAY)))
            };
        }
    }

    /// It should have ended by now.
    pub(super) fn fire_overstay(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        if agent.overstays_at.is_none_or(|due| due > self.now) {
            return;
        }
        agent.overstays_at = None;
        agent.ends_itself = false;
        agent.not_single = true;
        let (index, stage) = (agent.index, agent.stage);
        self.report(Report::NotSingle(index));
        if stage == Stage::AwaitIdle {
            self.await_idle(at);
        }
    }
}
