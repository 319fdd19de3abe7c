//! What retirement keeps, in memory and on disk: where the ladder stands, and its dead-man.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::warn;

use super::commands::Order;
use super::input::Input;
use crate::clock;
use crate::config::Config;
use crate::instance::{self, Armed, Clients, Host, Plan, Position, Runner, Timing};
use crate::lifecycle::{Exit, Instant};

/// What retirement needs, kept across its steps.
pub struct Machine {
    pub plan: Arc<Plan>,
    pub detach_early: bool,
    pub shared: Arc<Shared>,
    pub clients: Option<Arc<Clients>>,
    /// Leaving the group before the drain is over.
    pub early: Option<JoinHandle<()>>,
}

/// What tasks and the supervisor both look at: each value is what its file has.
pub struct Shared {
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

    /// Where its files are kept.
    pub fn make_dir(&self) {
        if let Some(dir) = self.shared.journal.parent() {
            // Without it everything is kept in memory only.
            let _ = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir);
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
    /// Where an earlier climb stood.
    pub fn position(&self) -> Option<Position> {
        lock(&self.position).clone()
    }

    /// On disk before the call is sent, also against a reboot.
    pub fn record(&self, position: &Position) {
        if let Err(error) = write_through(&self.journal, position) {
            warn!(path = %self.journal.display(), %error, "retire.position_unwritable");
        }
        *lock(&self.position) = Some(position.clone());
    }

    pub fn forget(&self) {
        let _ = fs::remove_file(&self.journal);
        *lock(&self.position) = None;
    }

    /// One dead-man at a time; the new one is armed before the old one goes.
    pub async fn rearm(&self, after: Duration, plan: &Plan, runner: &mut impl Runner) {
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

    pub async fn disarm(&self, runner: &mut impl Runner) {
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
pub struct Hands {
    pub shared: Arc<Shared>,
    pub plan: Arc<Plan>,
    pub inbox: mpsc::Sender<Input>,
}

impl Runner for Hands {
    async fn run(&mut self, argv: Vec<String>, timeout: Duration) -> Option<Exit> {
        let (reply, ended) = oneshot::channel();
        let order = Order {
            shown: argv.first().cloned().unwrap_or_default(),
            argv: argv.into_iter().map(OsString::from).collect(),
            agent: None,
            stdin: instance::no_input(),
            is_silent: false,
            timeout,
            reply,
        };
        self.inbox.send(Input::Run(Box::new(order))).await.ok()?;
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
