//! Doing what the lifecycle decided: processes started, signalled, reaped and swept.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::input::Input;
use super::state;
use super::{Child, Running, Supervisor, clock, report};
use crate::agent::{self, Owner, Process, Stream};
use crate::lifecycle::{Action, AgentIndex, Event, Exit, Phase, Report, Stop, Sweep};
use crate::presets::{Launch, Seat, Step, Template};

/// A drain or cancel command that hangs must not outlive its agent by much.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
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
                // No preset can cordon yet, so nobody asks for it.
                Action::Cordon(agent) => self.events.push_back(Event::Cordoned(agent, false)),
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
            Report::AgentReady(agent) => self.take_baseline(agent),
            // Connections made when the drain began may have been closed since.
            Report::JobFinished { .. } if self.preparing && self.life.running() == 0 => {
                self.prepare_clients();
            }
            Report::ReturnedToService { .. } => self.returned_to_service(),
            _ => {}
        }
    }

    fn spawn(&mut self, agent: AgentIndex) {
        if !self.spawned.insert(agent) {
            // What a crashed agent left behind works for nobody, and could hold its port or lock.
            self.tree
                .sweep(self.owner(agent, None), Sweep::Kill, &self.spared());
        }
        match agent::spawn(&self.spec, agent) {
            Ok(started) => {
                let pid = started.process.pid();
                info!(%agent, %pid, "agent.started");
                self.children.insert(pid, Child::Agent(agent));
                let launch = self.launch(agent);
                let detectors = launch.detectors();
                let ends = [
                    (Stream::Stdout, started.stdout),
                    (Stream::Stderr, started.stderr),
                ];
                self.outputs.tap(agent, &launch, ends);
                self.running
                    .insert(agent, Running::new(started.process, &detectors));
                self.spawn_failure = None;
                self.save();
                self.events.push_back(Event::Spawned(agent));
            }
            Err(error) => {
                warn!(%agent, %error, "agent.failed");
                let exit = Exit::Code(error.exit_status().into());
                self.spawn_failure = Some(exit);
                self.events.push_back(Event::SpawnFailed(agent, exit));
            }
        }
    }

    fn launch(&self, agent: AgentIndex) -> Launch {
        self.config.launch.seated(Seat {
            index: agent,
            ..Seat::default()
        })
    }

    /// Goes on with the agents of a supervisor that was killed.
    pub(super) fn adopt(&mut self, processes: Vec<state::Process>) {
        let expected: Vec<_> = self.life.agents().collect();
        for (agent, stage, _) in expected {
            if !stage.has_process() {
                continue;
            }
            let known = processes.iter().find(|process| process.agent == agent);
            let alive =
                known.and_then(|known| Process::adopt(Pid::from_raw(known.pid), known.start_time));
            let Some(process) = alive else {
                self.events.push_back(Event::Exited(agent, Exit::Unknown));
                continue;
            };
            info!(%agent, pid = %process.pid(), "agent.adopted");
            let launch = self.launch(agent);
            let detectors = launch.detectors();
            self.outputs.tap_again(agent, &launch, &process);
            self.watch(agent, &process);
            let mut running = Running::new(process, &detectors);
            let own = known.into_iter().flat_map(|known| known.own.clone());
            let started = running.process.start_time();
            running.probes.set_baseline(own, started);
            self.running.insert(agent, running);
            self.spawned.insert(agent);
            self.adopted = true;
        }
    }

    /// Tells the end of a process that is not our child.
    fn watch(&self, agent: AgentIndex, process: &Process) {
        let watched = Process::adopt(process.pid(), process.start_time());
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            // None: it has ended since.
            if let Some(process) = watched {
                process.exited().await;
            }
            let _ = inbox.send(Input::AdoptedExited(agent)).await;
        });
    }

    /// Agents of a supervisor whose state does not fit this configuration: new ones are about to
    /// start in their place. Their jobs may finish; what is left of them goes with the machine.
    pub(super) fn drain_strangers(&mut self, processes: Vec<state::Process>) {
        let signal = match self.config.preset.drain.step {
            Step::Signal(signal) => signal,
            Step::Command(_) => Signal::SIGTERM,
        };
        for known in processes {
            let stranger = Process::adopt(Pid::from_raw(known.pid), known.start_time);
            if let Some(process) = stranger {
                warn!(pid = %process.pid(), %signal, "agent.replaced: the configuration has changed");
                if let Err(error) = process.signal(signal) {
                    warn!(pid = %process.pid(), %error, "agent.unsignalled");
                }
            }
        }
    }

    fn stop(&mut self, agent: AgentIndex, how: Stop) {
        let Some(running) = self.running.get(&agent) else {
            return;
        };
        let preset = &self.config.preset;
        let step = match (how, &preset.cancel) {
            (Stop::Drain | Stop::Otherwise, _) => preset.drain.step.clone(),
            (Stop::Cancel, Some(cancel)) => cancel.step.clone(),
            (Stop::Terminate, _) => Step::Signal(Signal::SIGTERM),
            (Stop::Kill | Stop::Cancel, _) => return self.kill(agent),
        };
        match step {
            Step::Signal(signal) => match running.process.signal(signal) {
                Ok(()) => info!(%agent, %signal, "agent.signalled"),
                Err(error) => warn!(%agent, %signal, %error, "agent.unsignalled"),
            },
            Step::Command(words) => {
                let pid = running.process.pid().as_raw();
                let argv = match self.launch(agent).words(&words, pid) {
                    Ok(argv) => argv,
                    Err(error) => {
                        warn!(%agent, %error, "agent.untold");
                        return;
                    }
                };
                let shown = words.iter().map(Template::as_str);
                info!(%agent, command = ?shown.collect::<Vec<_>>(), "agent.told");
                let (reply, _ignored) = oneshot::channel();
                self.run_command(argv, STEP_TIMEOUT, reply);
            }
        }
    }

    fn kill(&mut self, agent: AgentIndex) {
        let spared = self.spared();
        if let Some(running) = self.running.get(&agent) {
            let owner = self.owner(agent, Some(&running.process));
            self.tree.sweep(owner, Sweep::Kill, &spared);
        }
    }

    /// With one agent, everything below us is that agent's, marked or not. As PID 1 that would
    /// take in whoever was started in the container from outside.
    fn owner<'a>(&self, index: AgentIndex, main: Option<&'a Process>) -> Owner<'a> {
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
            self.running.remove(&agent);
            self.feed(Event::Exited(agent, exit));
        }
    }

    fn sweep(&mut self, how: Sweep) {
        for reply in self.waiting.drain(..) {
            reply.ok();
        }
        if !self.may_have_leftovers()
            || self.tree.sweep(Owner::Everything, how, &self.spared()) == 0
        {
            self.events.push_back(Event::TreeGone);
        }
    }

    fn look_for_leftovers(&mut self) {
        if matches!(self.life.phase(), Phase::Sweeping { .. })
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
    fn spared(&self) -> Vec<Pid> {
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
