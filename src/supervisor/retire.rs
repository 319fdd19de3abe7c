//! The machine's end, from the supervisor's side: what is made ready while agents drain, the
//! ladder as a task, and where it stands as a file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::input::Input;
use super::{Supervisor, clock};
use crate::agent::Process;
use crate::config::Config;
use crate::exit::Status;
use crate::instance::{
    self, Armed, Clients, Host, LadderOutcome, Mode, Placement, Plan, Position, Retirement, Runner,
    Timing, Work, climb, identify, longest_climb,
};
use crate::lifecycle::{Event, Exit, Instant, Phase, Reason};

/// How long retirement waits to learn what machine this is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to learn it, on a machine of Amazon's.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// After everything failed.
const CLIMB_AGAIN: Duration = Duration::from_secs(60);

/// What retirement needs, kept across its steps.
pub struct Machine {
    plan: Arc<Plan>,
    detach_early: bool,
    shared: Arc<Shared>,
    clients: Option<Arc<Clients>>,
    /// Leaving the group before the drain is over.
    early: Option<JoinHandle<()>>,
}

/// What tasks and the supervisor both look at.
struct Shared {
    journal: PathBuf,
    /// Where the ladder stands, as the journal has it.
    position: Mutex<Option<Position>>,
    dead_man: PathBuf,
    /// The dead-man and when it acts, as its file has it: it outlives us.
    armed: Mutex<Option<(Armed, Instant)>>,
}

impl Machine {
    pub fn new(config: &Config) -> Machine {
        let retire = &config.retire;
        Machine {
            plan: Arc::new(Plan {
                mode: retire.mode,
                before_retire: retire.before_retire.clone(),
                hook_timeout: retire.hook_timeout,
                poweroff_command: retire.poweroff_command.clone(),
                dry_run: retire.dry_run,
                timing: Timing::default(),
            }),
            detach_early: retire.detach_early,
            shared: Arc::new(Shared {
                journal: config.state_dir.join("retirement.json"),
                position: Mutex::new(None),
                dead_man: config.state_dir.join("dead-man.json"),
                armed: Mutex::new(None),
            }),
            clients: None,
            early: None,
        }
    }

    /// Takes up what an earlier process recorded.
    pub fn recall(&self) {
        *lock(&self.shared.position) = read(&self.shared.journal);
        *lock(&self.shared.armed) = read(&self.shared.dead_man);
    }

    /// A new life: an older retirement was not this one's.
    pub fn forget(&self) {
        self.shared.forget();
    }

    /// The dead-man's process, if it is one.
    pub fn watchdog(&self) -> Option<Pid> {
        let armed = lock(&self.shared.armed);
        armed.as_ref().and_then(|(armed, _)| armed.watchdog())
    }

    /// AWS has agreed to end the instance.
    pub fn is_going(&self) -> bool {
        lock(&self.shared.position)
            .as_ref()
            .is_some_and(Position::is_going)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

/// What an earlier process wrote, if that can be read.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    match serde_json::from_slice(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            warn!(path = %path.display(), %error, "state.ignored");
            None
        }
    }
}

impl Shared {
    /// On disk before the call is sent, also against a reboot.
    fn record(&self, position: &Position) {
        if let Err(error) = write_through(&self.journal, position) {
            warn!(path = %self.journal.display(), %error, "retire.position_unwritable");
        }
        *lock(&self.position) = Some(position.clone());
    }

    fn forget(&self) {
        let _ = fs::remove_file(&self.journal);
        *lock(&self.position) = None;
    }

    /// One dead-man at a time; the new one is armed before the old one goes.
    async fn rearm(&self, after: Duration, plan: &Plan, runner: &mut impl Runner) {
        let until = clock::now().after(after);
        if lock(&self.armed)
            .as_ref()
            .is_some_and(|(_, at)| *at >= until)
        {
            return;
        }
        let command = plan.poweroff_command.as_deref();
        let Some(armed) = instance::arm(runner, after, command).await else {
            return;
        };
        let new = (armed, until);
        if let Err(error) = write_through(&self.dead_man, &new) {
            warn!(path = %self.dead_man.display(), %error, "state.unwritable");
        }
        let old = lock(&self.armed).replace(new);
        if let Some((old, _)) = old {
            old.disarm(runner).await;
        }
    }

    async fn disarm(&self, runner: &mut impl Runner) {
        let armed = lock(&self.armed).take();
        if let Some((armed, _)) = armed {
            armed.disarm(runner).await;
            let _ = fs::remove_file(&self.dead_man);
        }
    }
}

fn write_through(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    let mut options = fs::OpenOptions::new();
    let options = options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

/// The ladder's hands: commands go through the supervisor's reaper.
struct Hands {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    inbox: mpsc::Sender<Input>,
}

impl Runner for Hands {
    async fn run(&mut self, argv: Vec<String>, timeout: Duration) -> Option<Exit> {
        let (reply, ended) = oneshot::channel();
        let command = Input::RunCommand(argv, timeout, reply);
        self.inbox.send(command).await.ok()?;
        ended.await.ok()?
    }
}

impl Host for Hands {
    fn record(&mut self, position: &Position) {
        self.shared.record(position);
    }

    fn forget(&mut self) {
        self.shared.forget();
    }

    async fn rearm_dead_man(&mut self, after: Duration) {
        let (shared, plan) = (self.shared.clone(), self.plan.clone());
        shared.rearm(after, &plan, self).await;
    }
}

impl Supervisor {
    /// Learns in the background what machine this is.
    pub(super) fn find_placement(&self) {
        if self.config.retire.mode == Mode::Auto && instance::is_container() {
            // Its host may be everybody's; who means it says so with --retire.
            info!("instance.container: there is no machine to end, only this container");
            let inbox = self.inbox.clone();
            let told = Input::Placement(Placement::NotOnEc2);
            tokio::spawn(async move { inbox.send(told).await });
            return;
        }
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            loop {
                let placement = identify(PATIENCE).await;
                let known = placement != Placement::Unknown;
                if inbox.send(Input::Placement(placement)).await.is_err() || known {
                    return;
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
    }

    pub(super) fn placed(&mut self, placement: Placement) {
        if placement == Placement::NotOnEc2 && self.config.retire.mode != Mode::PowerOff {
            self.feed(Event::PassThrough);
        }
        if let Some(identity) = placement.identity() {
            self.machine.clients = Clients::new(&identity.region).map(Arc::new);
            let here = identity.instance_id.as_str().to_owned();
            let unfinished = self.unfinished.take();
            if let Some((_, reason)) = unfinished.filter(|(instance, _)| *instance == here) {
                info!(%reason, "retire.taken_up: the machine was restarted while it was leaving");
                let deadline = None;
                self.feed(Event::Drain { reason, deadline });
            }
        }
        self.placement.send_replace(Some(placement));
        if self.preparing {
            self.prepare_clients();
        }
    }

    /// The drain has begun: what retirement needs is made ready while jobs end.
    pub(super) fn prepare_retire(&mut self, reason: Reason) {
        if self.config.retire.mode == Mode::Exit || self.config.retire.dry_run {
            return;
        }
        self.preparing = true;
        self.prepare_clients();
        if let Phase::Draining {
            deadline: Some(deadline),
            ..
        } = self.life.phase()
        {
            self.arm_dead_man(deadline.since(clock::now()));
        }
        if self.machine.detach_early {
            self.leave_early(reason);
        }
    }

    /// The first call of the ladder must not wait for credentials and TLS.
    pub(super) fn prepare_clients(&self) {
        let placement = self.placement.borrow();
        let identity = placement.as_ref().and_then(Placement::identity).cloned();
        if let (Some(identity), Some(clients)) = (identity, self.machine.clients.clone()) {
            tokio::spawn(async move { clients.warm(&identity).await });
        }
    }

    /// In good time after everything that is to happen before.
    fn arm_dead_man(&self, drain: Duration) {
        let after = drain.saturating_add(longest_climb(&self.machine.plan));
        let mut hands = self.hands();
        let mut placement = self.placement.subscribe();
        tokio::spawn(async move {
            if hands.plan.mode == Mode::PowerOff || is_machine(&mut placement).await {
                hands.rearm_dead_man(after).await;
            }
        });
    }

    fn leave_early(&mut self, reason: Reason) {
        let mut hands = self.hands();
        let mut placement = self.placement.subscribe();
        let clients = self.machine.clients.clone();
        let work = self.work();
        self.machine.early = Some(tokio::spawn(async move {
            let placement = known(&mut placement).await;
            let plan = hands.plan.clone();
            let found = lock(&hands.shared.position).clone();
            let clients = clients.or_else(|| clients_for(&placement));
            let retirement = Retirement {
                plan: &plan,
                placement: &placement,
                cloud: clients.as_deref(),
                reason,
                work,
            };
            instance::detach_early(&retirement, found, &mut hands).await;
        }));
    }

    /// Climbs the ladder, and tells how far.
    pub(super) fn retire(&mut self, reason: Reason) {
        let mut hands = self.hands();
        let mut placement = self.placement.subscribe();
        let clients = self.machine.clients.clone();
        let early = self.machine.early.take();
        let work = self.work();
        tokio::spawn(async move {
            if let Some(early) = early {
                // Two climbers at once could decrement twice.
                let _ = early.await;
            }
            let plan = hands.plan.clone();
            let placement = match plan.mode {
                Mode::PowerOff | Mode::Exit => Placement::Unknown,
                _ => known(&mut placement).await,
            };
            let clients = clients.or_else(|| clients_for(&placement));
            let retirement = Retirement {
                plan: &plan,
                placement: &placement,
                cloud: clients.as_deref(),
                reason,
                work,
            };
            loop {
                let found = lock(&hands.shared.position).clone();
                let outcome = climb(&retirement, found, &mut hands).await;
                let stuck = outcome == LadderOutcome::Stuck;
                if hands.inbox.send(Input::Ladder(outcome)).await.is_err() || !stuck {
                    return;
                }
                tokio::time::sleep(CLIMB_AGAIN).await;
            }
        });
    }

    pub(super) fn climbed(&mut self, outcome: LadderOutcome) {
        match outcome {
            LadderOutcome::PoweredOff => self.feed(Event::Retired),
            LadderOutcome::ReturnToService => self.feed(Event::AtMinimum),
            LadderOutcome::Exit => {
                self.stays = true;
                self.feed(Event::Retired);
            }
            LadderOutcome::Stuck => error!(
                again_in = CLIMB_AGAIN.as_secs(),
                "retire.stuck: no rung could end this machine"
            ),
        }
    }

    /// The group would only replace it: the machine stays.
    pub(super) fn returned_to_service(&mut self) {
        self.preparing = false;
        self.disarm_dead_man();
    }

    pub(super) fn disarm_dead_man(&self) {
        let mut hands = self.hands();
        tokio::spawn(async move { hands.shared.clone().disarm(&mut hands).await });
    }

    /// The ladder never answered.
    pub(super) fn power_off(&mut self) {
        error!("retire.overdue");
        let mut hands = self.hands();
        tokio::spawn(async move {
            let plan = hands.plan.clone();
            let command = plan.poweroff_command.as_deref();
            if !plan.dry_run && instance::power_off(&mut hands, command).await {
                let _ = hands
                    .inbox
                    .send(Input::Ladder(LadderOutcome::PoweredOff))
                    .await;
            }
        });
    }

    fn work(&self) -> Work {
        Work {
            started: self.life.started(),
            tally: self.life.tally(),
        }
    }

    fn hands(&self) -> Hands {
        Hands {
            shared: self.machine.shared.clone(),
            plan: self.machine.plan.clone(),
            inbox: self.inbox.clone(),
        }
    }
}

fn clients_for(placement: &Placement) -> Option<Arc<Clients>> {
    let region = &placement.identity()?.region;
    Clients::new(region).map(Arc::new)
}

/// What machine this is, as soon as that is known.
async fn known(placement: &mut watch::Receiver<Option<Placement>>) -> Placement {
    let told = tokio::time::timeout(PATIENCE, placement.wait_for(Option::is_some)).await;
    match told {
        Ok(Ok(placement)) => placement.clone().unwrap_or(Placement::Unknown),
        _ => Placement::Unknown,
    }
}

/// There is a machine to end.
async fn is_machine(placement: &mut watch::Receiver<Option<Placement>>) -> bool {
    known(placement).await != Placement::NotOnEc2
}

/// `clockout retire`: the ladder alone.
pub fn retire_now(config: Config, reason: Reason) -> anyhow::Result<Status> {
    if let Ok(status) = crate::control::status(&config.socket) {
        let state = status.state.as_str();
        anyhow::bail!("a supervisor runs here ({state}): use 'clockout drain'");
    }
    let machine = Machine::new(&config);
    if let Some(dir) = machine.shared.journal.parent() {
        // Without it the position is kept in memory only.
        let _ = fs::create_dir_all(dir);
    }
    machine.recall();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let outcome = runtime.block_on(async {
        let placement = match machine.plan.mode {
            Mode::PowerOff | Mode::Exit => Placement::Unknown,
            _ => identify(PATIENCE).await,
        };
        let clients = clients_for(&placement);
        let retirement = Retirement {
            plan: &machine.plan,
            placement: &placement,
            cloud: clients.as_deref(),
            reason,
            work: Work::default(),
        };
        let found = lock(&machine.shared.position).clone();
        let outcome = climb(&retirement, found, &mut Alone(&machine)).await;
        if outcome == LadderOutcome::ReturnToService {
            machine.shared.disarm(&mut Alone(&machine)).await;
        }
        outcome
    });
    info!(?outcome, "retire.over");
    Ok(match outcome {
        LadderOutcome::PoweredOff | LadderOutcome::Exit => Status::Success,
        LadderOutcome::ReturnToService | LadderOutcome::Stuck => Status::Failure,
    })
}

/// The hands of a ladder that has no supervisor: it waits for its own commands.
struct Alone<'a>(&'a Machine);

impl Runner for Alone<'_> {
    async fn run(&mut self, argv: Vec<String>, timeout: Duration) -> Option<Exit> {
        use std::os::unix::process::ExitStatusExt;
        let (program, args) = argv.split_first()?;
        let mut command = std::process::Command::new(program);
        let spawned = command.args(args).stdin(instance::no_input()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                warn!(%program, %error, "command.failed");
                return None;
            }
        };
        let process = Process::of_child(Pid::from_raw(child.id().cast_signed()));
        if tokio::time::timeout(timeout, process.exited())
            .await
            .is_err()
        {
            warn!(%program, "command.overdue: killed");
            let _ = child.kill();
        }
        let status = child.wait().ok()?;
        Some(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
        })
    }
}

impl Host for Alone<'_> {
    fn record(&mut self, position: &Position) {
        self.0.shared.record(position);
    }

    fn forget(&mut self) {
        self.0.shared.forget();
    }

    async fn rearm_dead_man(&mut self, after: Duration) {
        let machine = self.0;
        machine.shared.rearm(after, &machine.plan, self).await;
    }
}
