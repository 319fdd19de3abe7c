//! Where systemd delegated our cgroup (v2) to us, each agent gets one below it: nothing that the
//! agent starts can leave it, and all of it dies by one write.
//!
//! The mark of a delegated cgroup is an extended attribute of its directory
//! (<https://systemd.io/CGROUP_DELEGATION>); without it the cgroup is not ours to change.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getpid};

use crate::lifecycle::AgentIndex;
use crate::sys;

const MARKS: [&CStr; 2] = [c"trusted.delegate", c"user.delegate"];
/// Where cgroup v2 is: alone, or beside v1 in systemd's hybrid layout.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const PREFIX: &str = "clockout-agent-";

/// Our own cgroup, delegated to us.
#[derive(Debug, Clone)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// `None` where the agents' trees have to be walked.
    pub fn delegated() -> Option<Cgroup> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        MOUNTS
            .iter()
            .map(|mount| Path::new(mount).join(path))
            // In a cgroup namespace, or under a partial mount, the path may name another one.
            // Asked last: the kernel sorts all pids of the cgroup anew for every read.
            .find(|dir| is_marked(dir) && pids_in(dir).contains(&getpid()))
            .map(|dir| Cgroup { dir })
    }

    /// Where a process enters this agent's cgroup by writing `0`.
    ///
    /// The child does so before exec. Moving it from outside afterwards would come too late for
    /// what it forks at once.
    pub(super) fn entrance(&self, agent: AgentIndex) -> io::Result<OwnedFd> {
        let dir = self.dir.join(format!("{PREFIX}{agent}"));
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let entrance = File::options().write(true).open(dir.join("cgroup.procs"))?;
        Ok(entrance.into())
    }

    /// All processes of one agent, or of all.
    pub(super) fn pids(&self, agent: Option<AgentIndex>) -> Vec<Pid> {
        let mut found = Vec::new();
        for dir in self.of_agents(agent) {
            for dir in with_below(dir) {
                found.extend(pids_in(&dir));
            }
        }
        found
    }

    /// Kills all processes of one agent, or of all, at once. Does nothing before Linux 5.14: the
    /// processes are then killed one by one.
    pub(super) fn kill(&self, agent: Option<AgentIndex>) {
        for dir in self.of_agents(agent) {
            // Never created by us: before 5.14 there is no such file.
            let file = File::options().write(true).open(dir.join("cgroup.kill"));
            let _ = file.and_then(|mut file| io::Write::write_all(&mut file, b"1"));
        }
    }

    /// Removes the agents' cgroups that are empty.
    pub(super) fn remove_empty(&self) {
        for dir in self.of_agents(None) {
            for dir in with_below(dir).iter().rev() {
                // Refused while a process is in it.
                let _ = fs::remove_dir(dir);
            }
        }
    }

    fn of_agents(&self, agent: Option<AgentIndex>) -> Vec<PathBuf> {
        match agent {
            Some(agent) => vec![self.dir.join(format!("{PREFIX}{agent}"))],
            None => below(&self.dir)
                .into_iter()
                .filter(|dir| {
                    let name = dir.file_name().unwrap_or_default();
                    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
                })
                .collect(),
        }
    }
}

fn is_marked(dir: &Path) -> bool {
    File::open(dir).is_ok_and(|dir| {
        let has = |mark: &&CStr| sys::has_xattr(dir.as_fd(), mark, b"1");
        MARKS.iter().any(has)
    })
}

/// `dir`, then all directories below it, parents first.
fn with_below(dir: PathBuf) -> Vec<PathBuf> {
    let mut found = vec![dir];
    let mut next = 0;
    while let Some(dir) = found.get(next) {
        let more = below(dir);
        found.extend(more);
        next += 1;
    }
    found
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn pids_in(dir: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.parse().ok())
        .map(Pid::from_raw)
        .collect()
}
