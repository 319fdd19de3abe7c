//! `process`: instances on this machine, each a `clockout run` with an agent of its own.
//!
//! Each has a numbered directory of its group, the slot, and holds a lock in it for as long as
//! anything of it runs ([`slots`]). That lock is the only state: a poller that starts anew finds
//! its instances again, they outlive it, and two pollers cannot fill a slot twice.

mod look;
mod slots;
mod start;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Deserialize;
use tracing::{info, warn};

use crate::agent::Process;
use crate::cli::RunOptions;
use crate::config::{Config, default_state_dir};
use crate::poll::plan::{
    BackendId, Launched, Listed, Member, Order, Place, Stage, Supply, Trouble, TroubleKind,
};
use crate::poll::source::Later;
use crate::poll::target::{self, Described, Found, Target};
use slots::{GroupLock, Slot};

pub use look::report;
pub use slots::{GroupDir, Occupied};

/// What a `sockaddr_un` holds, less the longest that follows a group's directory:
/// `/4294967295/socket`.
const LONGEST_DIR: usize = 107 - 18;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What the group's directory and its instances are called.
    name: String,
    /// The agent and its arguments; `{slot}` becomes the number of the instance's slot, `{instance}`
    /// its name. Its working directory is the slot's `work`.
    command: Vec<String>,
    /// Where the group's directory is [default: `groups` in clockout's state directory].
    dir: Option<PathBuf>,
    /// Options of `clockout run`, as under `[run]`.
    #[serde(default)]
    run: toml::Table,
    /// Environment variables of the poller that the instances get, besides `PATH`, `HOME` and the
    /// like. The others, the poller's tokens among them, are not for agents and their jobs.
    #[serde(default)]
    pass_env: Vec<String>,
    /// The most instances on this machine at once, those included that take no more jobs and finish
    /// those they have [default: these are not counted].
    max: Option<u32>,
}

impl Spec {
    fn group_dir(&self) -> PathBuf {
        let dir = self.dir.clone();
        dir.unwrap_or_else(|| default_state_dir().join("groups"))
            .join(&self.name)
    }
}

impl target::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=64).contains(&self.name.len())
            || self.name.starts_with(['.', '-'])
            || !self.name.chars().all(is_plain)
        {
            return Err(format!(
                "name = \"{}\": use 1 to 64 letters, digits, '-', '_' and '.', a letter or digit first",
                self.name
            ));
        }
        let dir = self.group_dir();
        if dir.is_relative() {
            return Err(format!("dir = \"{}\": give its full path", dir.display()));
        }
        if dir.as_os_str().len() > LONGEST_DIR {
            return Err(format!(
                "{}: at most {LONGEST_DIR} bytes, or the instances' sockets cannot be made; \
                 choose a shorter dir or name",
                dir.display()
            ));
        }
        if self.command.first().is_none_or(String::is_empty) {
            return Err("command: give the agent and its arguments, as a list".to_owned());
        }
        start::flags(&self.run)?;
        let options: RunOptions = toml::Value::Table(self.run.clone())
            .try_into()
            .map_err(|error: toml::de::Error| format!("run: {}", error.message()))?;
        let agent = self.command.iter().map(OsString::from).collect();
        Config::new(options, agent).map_err(|error| format!("run: {error}"))?;
        Ok(())
    }

    fn backend(&self) -> BackendId {
        BackendId::new("this machine")
    }

    fn place(&self) -> Place {
        Place::new(self.group_dir().display().to_string())
    }

    /// None is ever discovered.
    fn fill(&mut self, _place: &Place) {}

    fn open(&self) -> Box<dyn Target> {
        Box::new(ThisMachine::default())
    }
}

#[derive(Default)]
struct ThisMachine {
    groups: RefCell<BTreeMap<Place, Rc<Group>>>,
    /// Instances started so far.
    started: RefCell<u64>,
}

struct Group {
    spec: Spec,
    dir: GroupDir,
    /// Ourselves; in tests another one.
    program: PathBuf,
}

impl ThisMachine {
    fn group(&self, place: &Place) -> Result<Rc<Group>, String> {
        let groups = self.groups.borrow();
        let unknown = || format!("no process group of the configuration is in {place}");
        groups.get(place).cloned().ok_or_else(unknown)
    }
}

impl Target for ThisMachine {
    fn adopt(&self, spec: &super::Spec) {
        if let super::Spec::Process(spec) = spec {
            let group = Group {
                spec: spec.clone(),
                dir: GroupDir::new(spec.group_dir()),
                // Not by name: the file may have been replaced or removed since we were started.
                program: "/proc/self/exe".into(),
            };
            let place = target::Spec::place(spec);
            self.groups.borrow_mut().insert(place, Rc::new(group));
        }
    }

    fn describe<'a>(&'a self, places: &'a [Place]) -> Later<'a, Result<Described, Trouble>> {
        Box::pin(async move {
            let mut described = Described::new();
            for place in places {
                let supply = match self.group(place) {
                    Ok(group) => group.supply().await,
                    Err(error) => Err(error),
                };
                described.insert(place.clone(), supply);
            }
            Ok(described)
        })
    }

    fn discover<'a>(&'a self, _tag: &'a str) -> Later<'a, Result<Vec<Found>, Trouble>> {
        Box::pin(async {
            Err(Trouble {
                kind: TroubleKind::Denied,
                scope: String::new(),
                message: "groups of processes have no tags to be found by".to_owned(),
            })
        })
    }

    fn launch<'a>(&'a self, place: &'a Place, order: &'a Order) -> Later<'a, Launched> {
        Box::pin(async move {
            let told = match self.group(place) {
                Ok(group) => group.launch(order).await,
                Err(error) => Launched::Refused(trouble(TroubleKind::Other, error)),
            };
            if let Launched::Accepted { count, .. } | Launched::Partly { count, .. } = told {
                *self.started.borrow_mut() += u64::from(count);
            }
            told
        })
    }

    /// An instance is started, or it is not, and that is told at once.
    fn troubles<'a>(&'a self, _place: &'a Place) -> Later<'a, Result<Vec<Trouble>, Trouble>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn calls(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([("Start", *self.started.borrow())])
    }
}

impl Group {
    async fn supply(&self) -> Result<Supply, String> {
        let seen = match self.dir.lock_shared().await? {
            Some(lock) => look(&lock).await.map_err(|error| self.failed(&error))?,
            None => Vec::new(),
        };
        let members: Vec<_> = seen.into_iter().map(|seen| seen.listed).collect();
        let count = |is: fn(Stage) -> bool| members.iter().filter(|it| is(it.stage)).count() as u32;
        let away = count(|stage| stage == Stage::Away);
        Ok(Supply {
            desired: count(|stage| stage != Stage::Away),
            max: self.spec.max.map(|max| max.saturating_sub(away)),
            members,
            held: None,
        })
    }

    /// Fills free slots until there are as many instances as the order wants, and starts no more
    /// than it says. Who repeats it while they run, or gives the same one from elsewhere, finds that
    /// done.
    async fn launch(&self, order: &Order) -> Launched {
        let refused = |kind, message| Launched::Refused(trouble(kind, message));
        let lock = match self.dir.lock_exclusive().await {
            Ok(lock) => lock,
            Err(error) => return refused(TroubleKind::Conflict, error),
        };
        let seen = match look(&lock).await {
            Ok(seen) => seen,
            Err(error) => return refused(TroubleKind::Other, self.failed(&error)),
        };
        let occupied = seen.len() as u32;
        let working: Vec<_> = seen
            .into_iter()
            .filter(|seen| seen.listed.stage != Stage::Away)
            .collect();
        let alive = working.len() as u32;
        // One that has ended since is missing again, whatever it was started for.
        let mut members: Vec<_> = working
            .into_iter()
            .filter(|seen| seen.token == order.token)
            .map(|seen| seen.listed.member)
            .collect();
        let mut left = order.count.get().saturating_sub(members.len() as u32);
        left = left.min(order.desired.saturating_sub(alive));
        if let Some(max) = self.spec.max {
            left = left.min(max.saturating_sub(occupied));
        }
        let mut problem = None;
        for number in 1.. {
            if left == 0 {
                break;
            }
            let slot = match lock.take(number) {
                Ok(Some(slot)) => slot,
                Ok(None) => continue,
                Err(error) => {
                    problem = Some(trouble(TroubleKind::Other, self.failed(&error)));
                    break;
                }
            };
            match self.start(slot, order) {
                Ok(member) => members.push(member),
                Err(trouble) => {
                    problem = Some(trouble);
                    break;
                }
            }
            left -= 1;
        }
        let count = members.len() as u32;
        if count >= order.count.get() {
            return Launched::Accepted { count, members };
        }
        let overtaken = || {
            let why = "somebody else started instances, or some still finish their jobs";
            trouble(TroubleKind::Conflict, why.to_owned())
        };
        let trouble = problem.unwrap_or_else(overtaken);
        match count {
            0 => Launched::Refused(trouble),
            count => Launched::Partly { count, trouble },
        }
    }

    fn start(&self, slot: Slot, order: &Order) -> Result<Member, Trouble> {
        let member = slot.next_member(&self.spec.name);
        let log = slot.dir().join("log");
        let child = start::start(&self.program, &self.spec, slot, &member, &order.token).map_err(
            |error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                        TroubleKind::Denied
                    }
                    // EAGAIN: the user has as many processes as it may.
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::OutOfMemory => {
                        TroubleKind::Capacity
                    }
                    _ => TroubleKind::Other,
                };
                trouble(kind, format!("cannot start {member}: {error}"))
            },
        )?;
        info!(instance = %member, pid = child.id(), log = %log.display(), "poll.instance_started");
        tokio::spawn(reap(child, member.clone(), log));
        Ok(member)
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}: {error}", self.dir.path().display())
    }
}

/// Leaves no zombie, and tells of an instance that did not end as planned. Ends with it, or with
/// the poller: the instance is init's child then.
async fn reap(mut child: std::process::Child, member: Member, log: PathBuf) {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    Process::of_child(pid).exited().await;
    match child.wait() {
        Ok(status) if status.success() => info!(instance = %member, "poll.instance_ended"),
        Ok(status) => {
            warn!(instance = %member, %status, log = %log.display(), "poll.instance_failed");
        }
        Err(error) => warn!(instance = %member, %error, "poll.instance_failed"),
    }
}

/// An instance that runs.
struct Seen {
    listed: Listed,
    /// Of the order that it was started for.
    token: String,
}

/// Who is there, and how each of them stands.
async fn look(lock: &GroupLock) -> std::io::Result<Vec<Seen>> {
    let mut asked = Vec::new();
    for occupied in lock.occupied()? {
        // All are asked at once: one that hangs must not make the others late.
        let stage = tokio::spawn(look::stage(occupied.socket));
        asked.push((occupied.member, occupied.token, stage));
    }
    let mut seen = Vec::new();
    for (member, token, stage) in asked {
        let stage = stage.await.map_err(std::io::Error::other)?;
        let listed = Listed { member, stage };
        seen.push(Seen { listed, token });
    }
    Ok(seen)
}

fn trouble(kind: TroubleKind, message: String) -> Trouble {
    Trouble {
        kind,
        scope: String::new(),
        message,
    }
}

#[cfg(test)]
#[path = "process/tests.rs"]
mod tests;
