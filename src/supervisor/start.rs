//! Agents' processes: started, and taken over from a supervisor that was killed.

use std::sync::Arc;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{info, warn};

use super::container::{self, Container};
use super::input::Input;
use super::sample::Probes;
use super::{Child, Running, Supervisor, output, state};
use crate::agent::{self, Process, Spec, Stream};
use crate::lifecycle::{AgentIndex, Event, Exit, Sweep};
use crate::presets::{Launch, Seat, Step};

/// Told to the agent.
const PORT: &str = "CLOCKOUT_PORT";

impl Supervisor {
    pub(super) fn spawn(&mut self, agent: AgentIndex) {
        if self.waits_for_container(agent) {
            return;
        }
        let is_first = self.spawned.insert(agent);
        // What is left of a container is ended by its engine, which must not be killed at it.
        if !is_first && self.config.launch.client().is_none() {
            // What a crashed agent left behind works for nobody, and could hold its port or lock.
            self.tree
                .sweep(self.owner(agent, None), Sweep::Kill, &self.spared());
        }
        let seat = match self.seat(agent) {
            Ok(seat) => seat,
            Err(error) => {
                warn!(%agent, %error, "agent.failed: no port is free for it");
                return self.spawn_failed(agent, Exit::Code(1));
            }
        };
        let (launch, spec) = self.seated(seat.clone());
        let tails = output::tails(&launch);
        match agent::spawn(&spec, agent) {
            Ok(started) => {
                let pid = started.process.pid();
                info!(%agent, %pid, "agent.started");
                self.children.insert(pid, Child::Agent(agent));
                let ends = [
                    (Stream::Stdout, started.stdout),
                    (Stream::Stderr, started.stderr),
                ];
                self.outputs.tap(agent, &launch, ends, tails);
                self.insert(seat, launch, spec, started.process);
                self.spawn_failure = None;
                self.save();
                self.events.push_back(Event::Spawned(agent));
            }
            Err(error) => {
                warn!(%agent, %error, "agent.failed");
                self.spawn_failed(agent, Exit::Code(error.exit_status().into()));
            }
        }
    }

    fn spawn_failed(&mut self, agent: AgentIndex, exit: Exit) {
        self.spawn_failure = Some(exit);
        self.events.push_back(Event::SpawnFailed(agent, exit));
    }

    /// What the next process of this agent has of its own.
    fn seat(&self, agent: AgentIndex) -> std::io::Result<Seat> {
        let launch = &self.config.launch;
        let taken: Vec<_> = self.running.values().filter_map(|r| r.seat.port).collect();
        let wants_port = launch.wants_port();
        Ok(Seat {
            index: agent,
            port: wants_port.then(|| agent::free_port(&taken)).transpose()?,
            cidfile: launch
                .client()
                .and_then(|_| container::new_cidfile(&self.config, agent)),
        })
    }

    pub(super) fn seated(&self, seat: Seat) -> (Launch, Arc<Spec>) {
        let port = seat.port;
        let launch = self.config.launch.seated(seat);
        let mut spec = self.spec.clone();
        spec.program = launch.argv[0].clone();
        spec.args = launch.argv[1..].to_vec();
        spec.env = launch.env.clone();
        spec.env
            .extend(port.map(|port| (PORT.into(), port.to_string().into())));
        (launch, Arc::new(spec))
    }

    fn insert(&mut self, seat: Seat, launch: Launch, spec: Arc<Spec>, process: Process) {
        let agent = seat.index;
        let running = Running {
            seat,
            process,
            spec,
            probes: Probes::new(&launch.detectors()),
            container: Container::of(&launch),
            launch,
            armed: false,
            signalled: None,
            ended: None,
        };
        self.running.insert(agent, running);
    }

    /// Goes on with the agents of a supervisor that was killed.
    pub(super) fn adopt(&mut self, processes: Vec<state::Process>) {
        let expected: Vec<_> = self.life.agents().collect();
        for (agent, stage, _) in expected {
            if !stage.has_process() {
                continue;
            }
            let known = processes.iter().find(|process| process.agent == agent);
            let alive = known.and_then(|known| {
                let process = Process::adopt(Pid::from_raw(known.pid), known.start_time)?;
                Some((known, process))
            });
            let Some((known, process)) = alive else {
                self.has_ended_meanwhile(agent, known);
                continue;
            };
            info!(%agent, pid = %process.pid(), "agent.adopted");
            let seat = Seat {
                index: agent,
                port: known.port,
                cidfile: container::named(&self.config, known.cidfile.as_deref()),
            };
            let (launch, spec) = self.seated(seat.clone());
            self.outputs
                .tap_again(agent, &launch, &process, &known.read);
            self.watch(agent, &process);
            let started = process.start_time();
            self.insert(seat, launch, spec, process);
            if let Some(running) = self.running.get_mut(&agent) {
                running.probes.set_baseline(known.own.clone(), started);
                running.probes.set_open_steps(known.steps.clone());
            }
            self.spawned.insert(agent);
            self.adopted = true;
        }
    }

    /// It ended while no supervisor ran.
    fn has_ended_meanwhile(&mut self, agent: AgentIndex, known: Option<&state::Process>) {
        let read = known.map_or(&[][..], |known| &known.read);
        let launch = self.config.launch.seated(Seat {
            index: agent,
            ..Seat::default()
        });
        for (by, seen) in output::last_words(&launch, read) {
            self.events.push_back(Event::Observed(agent, by, seen));
        }
        self.end_left_containers(agent);
        self.events.push_back(Event::Exited(agent, Exit::Unknown));
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
}
