//! The event loop: what happens goes into the [`Lifecycle`], what it decides is done.
//!
//! One thread, one `select!`, one timer. Nothing in the loop waits: whatever takes time is a task
//! or a thread that sends an [`Input`] when it is done.

mod act;
mod alone;
mod commands;
mod container;
mod cordon;
mod follow;
mod hooks;
mod input;
mod machine;
mod notices;
mod output;
mod protection;
mod repeat;
mod report;
mod retire;
mod sample;
mod setup;
mod start;
mod state;
mod status;
mod steps;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use signal_hook_tokio::Signals;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::agent::{self, Process, Spec, Tree};
use crate::cli::RunOptions;
use crate::clock::{self, Alarm};
use crate::config::{self, Config};
use crate::control::{BindError, Incoming, Reply, Request, Server, State};
use crate::exit::{Status, Usage};
use crate::instance::{Mode, Placement};
use crate::lifecycle::{
    Action, AgentIndex, DetectorIndex, Event, Exit, Instant, Lifecycle, Observation, Phase, Reason,
};
use crate::presets::{Launch, Seat};
use commands::Commands;
use container::{Container, Ending};
use hooks::Hooks;
use input::{INBOX, Input};
use machine::Machine;
use notices::Notices;
use output::Outputs;
use protection::Protection;
use sample::{Probes, Rounds};
use state::{Found, StateFile};

pub use alone::retire_now;

/// Signals that mean something to us; the rest of `FORWARDED` goes to the agent.
const HANDLED: [i32; 5] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
];
const FORWARDED: [i32; 7] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGALRM,
    libc::SIGIO,
];

/// What a child process of ours is.
enum Child {
    Agent(AgentIndex),
    Command,
}

/// One agent process that runs.
struct Running {
    process: Process,
    /// How it was started, for commands that are run as it.
    spec: Arc<Spec>,
    launch: Launch,
    /// What it has of its own.
    seat: Seat,
    probes: Probes,
    container: Option<Container>,
    /// It survives its drain step, where that is in doubt.
    armed: bool,
    /// The last signal of a step.
    signalled: Option<Signal>,
    /// It ended; its last output is being read.
    ended: Option<Exit>,
}

struct Supervisor {
    config: Config,
    /// As given on the command line, to read the rest again on SIGHUP.
    given: RunOptions,
    spec: Spec,
    tree: Tree,
    hook: DetectorIndex,
    life: Lifecycle,
    state_since: (State, Instant),
    events: VecDeque<Event>,
    running: HashMap<AgentIndex, Running>,
    /// Agents that have had a process before.
    spawned: HashSet<AgentIndex>,
    /// Some of them are an earlier supervisor's.
    adopted: bool,
    children: HashMap<Pid, Child>,
    commands: Commands,
    /// Containers that are being ended.
    endings: HashMap<AgentIndex, Ending>,
    rounds: Rounds,
    outputs: Outputs,
    inbox: mpsc::Sender<Input>,
    /// `None` when there is no machine to end: then nothing has to be gone on with.
    state: Option<StateFile>,
    /// A retirement that a reboot interrupted, to be taken up when this is the same instance.
    unfinished: Option<(String, Reason)>,
    /// `None` until it is known, or known that it cannot be.
    placement: watch::Sender<Option<Placement>>,
    machine: Machine,
    notices: Notices,
    hooks: Hooks,
    protection: Protection,
    /// Retirement is near: what it needs is made ready.
    preparing: bool,
    /// It ended without ending the machine.
    stays: bool,
    /// Callers of `drain --wait`.
    waiting: Vec<Reply>,
    /// How the agent could not be started, for the exit status.
    spawn_failure: Option<Exit>,
    done: bool,
}

/// Supervises the agent until the machine retires.
pub fn run(config: Config, given: RunOptions) -> anyhow::Result<Status> {
    crate::sys::reset_signals().context("cannot reset signals")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let status = runtime.block_on(supervise(config, given));
    // A task that hangs in a lookup must not hold us up, and the process ends now.
    std::mem::forget(runtime);
    status
}

async fn supervise(config: Config, given: RunOptions) -> anyhow::Result<Status> {
    let signals = HANDLED.iter().chain(&FORWARDED);
    let mut signals = Signals::new(signals).context("cannot handle signals")?;
    agent::become_subreaper().context("cannot adopt orphans")?;
    let agent_uid = config.user.as_ref().map(|user| user.uid.as_raw());
    let mut control = listen(&config.socket, agent_uid)?;
    let mut alarm = Alarm::new().context("cannot make a timer")?;
    let (sender, mut inbox) = mpsc::channel(INBOX);

    let mut supervisor = Supervisor::start(config, given, sender);
    while !supervisor.done {
        alarm.set(supervisor.life.next_deadline())?;
        tokio::select! {
            Some(input) = inbox.recv() => supervisor.take(input),
            Some(signal) = signals.next() => supervisor.signalled(signal),
            Some(call) = next_call(&mut control) => supervisor.called(call),
            rung = alarm.ring() => {
                rung.context("the timer failed")?;
                // What happened before a deadline is told before the deadline.
                for _ in 0..INBOX {
                    let Ok(input) = inbox.try_recv() else { break };
                    supervisor.take(input);
                }
                supervisor.feed(Event::Tick);
            }
        }
    }
    supervisor.clean_up();
    if let Some(control) = control {
        control.close().await;
    }
    // Nobody reads it any more: threads that still have something to tell go on without.
    drop(inbox);
    let status = supervisor.status();
    supervisor.outputs.finish().await;
    // To unregister each signal takes longer than all the rest of the end.
    std::mem::forget(signals);
    Ok(status)
}

/// The control socket. Without one, jobs cannot be reported and nobody can ask, but the machine
/// still has its limits; so only a wrong path or another supervisor is a reason not to start.
fn listen(path: &Path, agent_uid: Option<u32>) -> anyhow::Result<Option<Server>> {
    match Server::bind(path, agent_uid) {
        Ok(server) => Ok(Some(server)),
        Err(error @ (BindError::TooLong { .. } | BindError::NoSocket { .. })) => {
            Err(Usage(error.to_string()).into())
        }
        Err(error @ BindError::Taken { .. }) => Err(error.into()),
        Err(error @ BindError::Io { .. }) => {
            warn!(%error, "control.unavailable");
            Ok(None)
        }
    }
}

async fn next_call(control: &mut Option<Server>) -> Option<Incoming> {
    match control {
        Some(server) => server.next().await,
        None => std::future::pending().await,
    }
}

impl Supervisor {
    fn start(config: Config, given: RunOptions, inbox: mpsc::Sender<Input>) -> Supervisor {
        let ends_machine = config.retire.mode != Mode::Exit;
        // Without a machine to end there is nothing to go on with after being killed.
        let state = ends_machine.then(|| StateFile::new(&config.state_dir));
        let found = state.as_ref().map_or(Found::Nothing, StateFile::load);
        let settings = setup::settings(&config);
        let now = clock::now();
        let mut unfinished = None;
        let (resumed, processes) = match found {
            Found::Nothing => (None, Vec::new()),
            Found::OtherBoot { instance, reason } => {
                unfinished = Some((instance, reason));
                (None, Vec::new())
            }
            Found::Interrupted(life, processes) => (life.resume(settings.clone(), now), processes),
        };
        let fits = resumed.is_some();
        let notices = Notices::new();
        let (life, actions) = resumed.unwrap_or_else(|| {
            if notices.gate() {
                (Lifecycle::parked(settings, now), Vec::new())
            } else {
                Lifecycle::new(settings, now)
            }
        });
        let spec = setup::spec(&config);
        let mut supervisor = Supervisor {
            tree: Tree::of(&spec),
            hook: config.launch.hook(),
            outputs: Outputs::new(config.preset.clone(), inbox.clone()),
            machine: Machine::new(&config),
            notices,
            hooks: Hooks::default(),
            protection: Protection::default(),
            preparing: false,
            stays: false,
            placement: watch::Sender::new(None),
            state_since: (status::state(&life), now),
            spec,
            config,
            given,
            life,
            events: VecDeque::new(),
            running: HashMap::new(),
            spawned: HashSet::new(),
            adopted: false,
            children: HashMap::new(),
            commands: Commands::default(),
            endings: HashMap::new(),
            rounds: Rounds::default(),
            inbox,
            state,
            unfinished,
            waiting: Vec::new(),
            spawn_failure: None,
            done: false,
        };
        if ends_machine {
            supervisor.find_placement();
            supervisor.machine.recall();
        }
        if fits {
            if supervisor.life.idle_since().is_some() || supervisor.life.running() > 0 {
                // An agent was ready; whether the group has heard of it, nobody knows.
                supervisor.hooks.launched();
            }
            supervisor.adopt(processes);
        } else {
            if ends_machine && supervisor.unfinished.is_none() {
                supervisor.machine.forget();
                supervisor.disarm_dead_man();
            }
            supervisor.drain_strangers(processes);
        }
        supervisor.watch_notices();
        supervisor.perform(actions);
        supervisor.feed_queued();
        supervisor
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Seen(agent, tap, by, seen) => {
                // What an earlier process left behind may still write.
                if self.outputs.is_open(tap)
                    && let Some(running) = self.running.get_mut(&agent)
                {
                    running.armed |= seen == Observation::DrainArmed;
                    running.probes.heard(by, &seen);
                    self.feed(Event::Observed(agent, by, seen));
                }
            }
            Input::Read(tap, mark) => self.outputs.read_to(tap, mark),
            Input::OutputSeen(agent, tap) => {
                if self.outputs.seen(agent, tap) {
                    self.exit_known(agent);
                }
            }
            Input::OutputLate(agent) => self.exit_known(agent),
            Input::Cordoned(agent, agreed) => self.feed(Event::Cordoned(agent, agreed)),
            Input::AdoptedExited(agent) => self.agent_ended(agent, Exit::Unknown),
            Input::Placement(placement) => self.placed(placement),
            Input::News(news) => self.news(news),
            Input::MayWork => self.may_work(),
            Input::HookEnds(deadline) => self.hook_ends(deadline),
            Input::Sampled(answers) => self.sampled(answers),
            Input::Run(order) => self.run_command(*order),
            Input::ContainerEnded(agent) => self.container_ended(agent),
            Input::CommandOverdue(pid) => self.commands.overdue(pid),
            Input::Ladder(outcome) => self.climbed(outcome),
        }
    }

    /// Tells the lifecycle, and does what it decides.
    fn feed(&mut self, event: Event) {
        self.events.push_back(event);
        self.feed_queued();
    }

    fn feed_queued(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let now = clock::now();
            let actions = self.life.handle(now, event);
            let state = status::state(&self.life);
            if state != self.state_since.0 {
                self.state_since = (state, now);
            }
            // Before it is done: a drain signal that is sent twice cancels jobs. To look again
            // changes nothing.
            if actions.iter().any(|action| *action != Action::Sample) {
                self.save();
            }
            self.perform(actions);
            self.protection.work(self.life.running() > 0);
        }
    }

    fn save(&mut self) {
        let processes = self
            .running
            .iter()
            .filter(|(_, running)| running.ended.is_none());
        let processes = processes
            .map(|(agent, running)| state::Process {
                agent: *agent,
                pid: running.process.pid().as_raw(),
                start_time: running.process.start_time(),
                own: running.probes.baseline(),
                steps: running.probes.open_steps(),
                read: self.outputs.marks(*agent),
                port: running.seat.port,
                cidfile: container::name_of(&running.seat),
            })
            .collect();
        if let Some(state) = &mut self.state {
            let placement = self.placement.borrow();
            let identity = placement.as_ref().and_then(Placement::identity);
            let instance = identity.map(|identity| identity.instance_id.as_str());
            state.save(&self.life, processes, instance);
        }
    }

    fn signalled(&mut self, signal: i32) {
        match signal {
            libc::SIGCHLD => self.reap(),
            libc::SIGTERM | libc::SIGINT => {
                info!(signal, "signal.received");
                if self.machine.is_going() {
                    // It is the machine's shutdown, which must not wait for us.
                    self.feed(Event::Retired);
                } else {
                    // A machine that is shut down into its warm pool is to come back.
                    self.stays |= self.is_parked() && self.notices.is_pooled();
                    self.feed(Event::Interrupt);
                }
            }
            libc::SIGQUIT => {
                info!(signal, "signal.received");
                self.feed(Event::Quit);
            }
            libc::SIGHUP => self.reload(),
            other => self.forward(other),
        }
    }

    /// Reads the configuration anew. A bad one changes nothing.
    fn reload(&mut self) {
        let checked = config::gather(&self.given).and_then(|options| {
            let limits = config::limits(&options);
            config::check_max_jobs(limits.max_jobs, self.config.slots)?;
            Ok(limits)
        });
        match checked {
            Ok(limits) => {
                info!(?limits, "config.reloaded");
                self.feed(Event::Limits(limits));
            }
            Err(error) => warn!(%error, "config.kept: the new one is bad"),
        }
    }

    fn called(&mut self, call: Incoming) {
        match call.request {
            Request::Status => {
                self.sample_children();
                self.feed_queued();
                call.reply.status(self.status_report());
            }
            Request::Drain { deadline, wait } => {
                info!(pid = call.peer.pid, "drain.requested");
                let deadline = deadline.map(|wait| clock::now().after(wait));
                let reason = Reason::Operator;
                self.feed(Event::Drain { reason, deadline });
                if wait && self.has_agents() {
                    self.waiting.push(call.reply);
                } else {
                    call.reply.ok();
                }
            }
            Request::JobStart { agent, id } => {
                let seen = Observation::Started { id };
                self.feed(Event::Observed(agent, self.hook, seen));
                call.reply.ok();
            }
            Request::JobFinish { agent, id, outcome } => {
                let seen = Observation::Finished { id, outcome };
                self.feed(Event::Observed(agent, self.hook, seen));
                call.reply.ok();
            }
        }
    }

    fn has_agents(&self) -> bool {
        matches!(self.life.phase(), Phase::Working | Phase::Draining { .. })
    }

    /// A machine that stays keeps nothing that would keep a next supervisor from working.
    fn clean_up(&mut self) {
        self.tree.remove_cgroups();
        container::clean_up(&self.config);
        if self.stays {
            self.machine.forget();
            if let Some(state) = &self.state {
                state.remove();
            }
        } else {
            self.save();
        }
    }

    /// The exit status of `run`.
    fn status(&self) -> Status {
        let passed_through = matches!(self.life.reason(), Some(Reason::AgentExit | Reason::Signal));
        let nothing_to_end = self.config.retire.mode == Mode::Exit
            || *self.placement.borrow() == Some(Placement::NotOnEc2);
        match (self.spawn_failure, self.life.first_exit()) {
            (Some(Exit::Code(126)), _) => Status::CannotExecute,
            (Some(_), _) => Status::NotFound,
            (None, Some(exit)) if passed_through && nothing_to_end => {
                Status::PassedThrough(exit.status())
            }
            _ if matches!(
                self.life.reason(),
                Some(Reason::CrashLoop | Reason::BootTimeout)
            ) =>
            {
                Status::Failure
            }
            _ => Status::Success,
        }
    }
}
