//! Agents that run in a container, started through its client.
//!
//! A container outlives a client that is killed (docker, podman and nerdctl alike), and docker's
//! ends by itself at a third SIGTERM (docker/cli, `cmd/docker/docker.go`). So the client is told
//! to write down the container's id, and what is to be ended is ended through the engine.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::fchown;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::Supervisor;
use super::commands::Order;
use super::input::Input;
use crate::agent::{Spec, User};
use crate::clock;
use crate::config::Config;
use crate::instance::no_input;
use crate::lifecycle::{AgentIndex, Event, Exit};
use crate::presets::{Launch, Seat};

/// For each command to the engine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ids have 64 digits.
const LONGEST_ID: u64 = 128;

/// The container of one agent process.
#[derive(Debug, Clone)]
pub struct Container {
    /// The client with its own options, to which a command is added.
    client: Vec<OsString>,
    cidfile: PathBuf,
    /// It is not to be kept after its end (`--rm`).
    is_temporary: bool,
    /// The engine has been told to end it.
    told: bool,
}

/// What waits for a container's end.
#[derive(Debug, Default)]
pub struct Ending {
    /// Containers that have not ended yet.
    left: u32,
    /// The agent is to be started again.
    respawn: bool,
}

/// A file that is not there, where the agent's user can make one. Without a place for it the
/// agent works all the same.
pub fn new_cidfile(config: &Config, agent: AgentIndex) -> Option<PathBuf> {
    let dir = cidfiles(config);
    if let Err(error) = make_dir(&dir, config.user.as_ref()) {
        warn!(dir = %dir.display(), %error, "container.untraced: it may outlive its client");
        return None;
    }
    let now = clock::now().0.as_nanos();
    Some(dir.join(format!("{agent}-{now}")))
}

/// The file's name, to be stored.
pub fn name_of(seat: &Seat) -> Option<String> {
    let name = seat.cidfile.as_ref()?.file_name()?;
    name.to_str().map(str::to_owned)
}

/// The file of this name.
pub fn named(config: &Config, name: Option<&str>) -> Option<PathBuf> {
    name.map(|name| cidfiles(config).join(name))
}

/// The files of this agent's containers that an earlier supervisor left.
fn left_cidfiles(config: &Config, agent: AgentIndex) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cidfiles(config)) else {
        return Vec::new();
    };
    let prefix = format!("{agent}-");
    let entries = entries.filter_map(Result::ok);
    let own = entries.filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().starts_with(prefix.as_bytes())
    });
    own.map(|entry| entry.path()).collect()
}

/// Where they are, beside the socket: nobody else can make anything there.
fn cidfiles(config: &Config) -> PathBuf {
    let mut dir = config.socket.clone().into_os_string();
    dir.push(".containers");
    dir.into()
}

fn make_dir(dir: &Path, user: Option<&User>) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(user) = user {
        // It may be there from a run with another user.
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(dir)?;
        fchown(&dir, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// A supervisor that ends leaves nothing behind.
pub fn clean_up(config: &Config) {
    let _ = fs::remove_dir(cidfiles(config));
}

impl Container {
    /// `None` when it runs in none, or nobody knows its id.
    pub fn of(launch: &Launch) -> Option<Container> {
        Some(Container {
            client: launch.client()?.to_vec(),
            cidfile: launch.cidfile()?.to_owned(),
            is_temporary: launch.container_is_temporary(),
            told: false,
        })
    }

    /// What ends it. First the kill, because `podman rm --force` alone waits for a SIGTERM to
    /// work; then the removal, because a container that was not started yet cannot be killed.
    fn commands(&self) -> Vec<Vec<OsString>> {
        let Some(id) = read_id(&self.cidfile) else {
            return Vec::new();
        };
        let command = |words: &[&str]| {
            let words = words.iter().map(OsString::from);
            self.client.iter().cloned().chain(words).collect()
        };
        let mut commands = vec![command(&["kill", &id])];
        if self.is_temporary {
            commands.push(command(&["rm", "--force", &id]));
        }
        commands
    }
}

/// The agent's user may have put anything there: only what is an id becomes part of a command.
fn read_id(path: &Path) -> Option<String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)
        .ok()?;
    let mut id = String::new();
    file.take(LONGEST_ID).read_to_string(&mut id).ok()?;
    let id = id.trim_ascii();
    let is_id = id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

impl Supervisor {
    /// Begins to end an agent's container, once. `false` when there is nothing to do.
    pub(super) fn end_container(&mut self, agent: AgentIndex) -> bool {
        let Some(running) = self.running.get_mut(&agent) else {
            return false;
        };
        let Some(container) = running.container.as_mut() else {
            return false;
        };
        if std::mem::replace(&mut container.told, true) {
            return false;
        }
        let (container, spec) = (container.clone(), running.spec.clone());
        self.begin_ending(agent, container, spec)
    }

    /// An agent and its supervisor were killed, as when the unit of both was: its containers work
    /// for nobody.
    pub(super) fn end_left_containers(&mut self, agent: AgentIndex) {
        for path in left_cidfiles(&self.config, agent) {
            let (launch, spec) = self.seated(Seat {
                index: agent,
                port: None,
                cidfile: Some(path),
            });
            if let Some(container) = Container::of(&launch) {
                self.begin_ending(agent, container, spec);
            }
        }
    }

    fn begin_ending(&mut self, agent: AgentIndex, container: Container, spec: Arc<Spec>) -> bool {
        let commands = container.commands();
        if commands.is_empty() {
            return false;
        }
        info!(%agent, "container.killed");
        self.endings.entry(agent).or_default().left += 1;
        tokio::spawn(end(self.inbox.clone(), agent, container, spec, commands));
        true
    }

    /// The client has ended: so has the container, unless it was the client that failed.
    pub(super) fn client_ended(&mut self, agent: AgentIndex, exit: Exit) {
        if exit != Exit::Code(0) && self.end_container(agent) {
            return;
        }
        let container = self.running.get(&agent).and_then(|r| r.container.as_ref());
        if let Some(container) = container
            && !self.endings.contains_key(&agent)
        {
            let _ = fs::remove_file(&container.cidfile);
        }
    }

    /// A container has ended, or cannot be ended.
    pub(super) fn container_ended(&mut self, agent: AgentIndex) {
        let Some(ending) = self.endings.get_mut(&agent) else {
            return;
        };
        ending.left -= 1;
        if ending.left > 0 {
            return;
        }
        let respawn = ending.respawn;
        self.endings.remove(&agent);
        if respawn {
            self.spawn(agent);
            self.feed_queued();
        }
        self.look_for_leftovers();
    }

    /// The agent is started when its old container has ended: two would both take jobs.
    pub(super) fn waits_for_container(&mut self, agent: AgentIndex) -> bool {
        let ending = self.endings.get_mut(&agent);
        ending.map(|ending| ending.respawn = true).is_some()
    }

    /// To stop an agent that waits to be started is not to start it.
    pub(super) fn give_up_waiting(&mut self, agent: AgentIndex) -> bool {
        let ending = self.endings.get_mut(&agent);
        let waited = ending.is_some_and(|ending| std::mem::take(&mut ending.respawn));
        if waited {
            self.events.push_back(Event::Exited(agent, Exit::Unknown));
        }
        waited
    }
}

/// With the client's environment, and so with its engine. Whether it works is seen by the end of
/// the container; and nobody wants to read that it was gone already.
async fn end(
    inbox: mpsc::Sender<Input>,
    agent: AgentIndex,
    container: Container,
    spec: Arc<Spec>,
    commands: Vec<Vec<OsString>>,
) {
    for argv in commands {
        let (reply, ended) = oneshot::channel();
        let order = Order {
            shown: argv.join(" ".as_ref()).to_string_lossy().into_owned(),
            argv,
            agent: Some((spec.clone(), agent)),
            stdin: no_input(),
            is_silent: true,
            timeout: PATIENCE,
            reply,
        };
        if inbox.send(Input::Run(Box::new(order))).await.is_err() {
            return;
        }
        let _ = ended.await;
    }
    let _ = fs::remove_file(&container.cidfile);
    let _ = inbox.send(Input::ContainerEnded(agent)).await;
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
