//! Doing what the lifecycle decided: processes started, signalled, reaped and swept.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::warn;

use super::input::Input;
use super::{Child, Supervisor, report};
use crate::agent::{self, Owner, Process};
use crate::clock;
use crate::lifecycle::{Action, AgentIndex, Event, Exit, Phase, Report, Sweep};

/// How long the last output of an ended process may take to be read, when whoever reads ours is
/// slow.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(agent) => self.spawn(agent),
                Action::Stop(agent, how) => self.stop(agent, how),
                Action::Sample => self.sample(),
                Action::Cordon(agent) => self.cordon(agent),
                Action::Sweep(how) => self.sweep(how),
                Action::PrepareRetire(reason) => self.prepare_retire(reason),
                Action::Retire(reason) => self.retire(reason),
                Action::PowerOff => self.power_off(),
                Action::Exit => self.done = true,
                Action::Report(report) => self.say(report),
            }
        }
    }

    fn say(&mut self, report: Report) {
        report::log(&report, clock::now());
        match report {
            Report::RaceLost { .. } => {
                if let Some(race) = &self.config.preset.notes.race {
                    warn!(preset = self.config.preset.name, note = race, "preset.race");
                }
            }
            Report::AgentReady(agent) => {
                self.notices.look_now();
                self.hooks.launched();
                self.take_baseline(agent);
                self.warn_unarmed(agent);
            }
            // Connections made when the drain began may have been closed since.
            Report::JobFinished { .. } if self.preparing && self.life.running() == 0 => {
                self.prepare_clients();
            }
            Report::ReturnedToService { .. } => self.returned_to_service(),
            _ => {}
        }
    }

    pub(super) fn kill(&mut self, agent: AgentIndex) {
        // When that hangs, the lifecycle's next try kills the client.
        if self.end_container(agent) {
            return;
        }
        let spared = self.spared();
        if let Some(running) = self.running.get(&agent) {
            let owner = self.owner(agent, Some(&running.process));
            self.tree.sweep(owner, Sweep::Kill, &spared);
        }
    }

    /// With one agent, everything below us is that agent's, marked or not. As PID 1 that would
    /// take in whoever was started in the container from outside.
    pub(super) fn owner<'a>(&self, index: AgentIndex, main: Option<&'a Process>) -> Owner<'a> {
        if self.config.agents == 1 && std::process::id() != 1 {
            Owner::Everything
        } else {
            Owner::Agent { index, main }
        }
    }

    /// Every child that has ended.
    pub(super) fn reap(&mut self) {
        for (pid, exit) in agent::reap() {
            match self.children.remove(&pid) {
                Some(Child::Agent(agent)) => {
                    agent::take_back_terminal();
                    self.agent_ended(agent, exit);
                }
                Some(Child::Command) => self.commands.ended(pid, exit),
                // An orphan that became ours.
                None => {}
            }
        }
        self.look_for_leftovers();
    }

    /// Its process is gone. What it wrote before may still tell of jobs that ended.
    pub(super) fn agent_ended(&mut self, agent: AgentIndex, exit: Exit) {
        if let Some(running) = self.running.get_mut(&agent) {
            running.ended = Some(exit);
        }
        if self.outputs.see_all(agent) {
            self.exit_known(agent);
            return;
        }
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(OUTPUT_PATIENCE).await;
            let _ = inbox.send(Input::OutputLate(agent)).await;
        });
    }

    /// It has ended and everything it wrote has been seen.
    pub(super) fn exit_known(&mut self, agent: AgentIndex) {
        let ended = self.running.get(&agent).and_then(|running| running.ended);
        if let Some(exit) = ended {
            self.client_ended(agent, exit);
            self.running.remove(&agent);
            self.feed(Event::Exited(agent, exit));
        }
    }

    fn sweep(&mut self, how: Sweep) {
        for reply in self.waiting.drain(..) {
            reply.ok();
        }
        let gently = how == Sweep::Terminate && self.config.launch.client().is_some();
        let left = match how {
            _ if !self.may_have_leftovers() => 0,
            // The engine's helper below us still removes its container.
            _ if gently => self.tree.count(Owner::Everything, &self.spared()),
            how => self.tree.sweep(Owner::Everything, how, &self.spared()),
        };
        if left == 0 && self.endings.is_empty() {
            self.events.push_back(Event::TreeGone);
        }
    }

    pub(super) fn look_for_leftovers(&mut self) {
        if matches!(self.life.phase(), Phase::Sweeping { .. })
            && self.endings.is_empty()
            && (!self.may_have_leftovers()
                || self.tree.count(Owner::Everything, &self.spared()) == 0)
        {
            self.feed(Event::TreeGone);
        }
    }

    /// Everything that our agents started is below us, or was adopted by us; so without a child
    /// there is nothing to look for. Only agents of an earlier supervisor have other parents.
    fn may_have_leftovers(&self) -> bool {
        self.adopted || agent::has_children()
    }

    /// Processes of ours that are no agent's: they must survive every sweep.
    pub(super) fn spared(&self) -> Vec<Pid> {
        let is_command = |(_, child): &(_, &Child)| matches!(child, Child::Command);
        let commands = self.children.iter().filter(is_command).map(|(pid, _)| *pid);
        commands.chain(self.machine.watchdog()).collect()
    }

    /// Signals that mean nothing to us are for the agents.
    pub(super) fn forward(&mut self, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else {
            return;
        };
        for running in self.running.values() {
            let _ = running.process.signal(signal);
        }
        if signal == Signal::SIGTSTP {
            // As a shell's job we stop with our agents; SIGCONT wakes us and, forwarded, them.
            let _ = nix::sys::signal::raise(Signal::SIGSTOP);
        }
    }
}
