//! Ending what agents leave behind: jobs' processes that left their group, their session, or
//! their parent.
//!
//! With a delegated cgroup the kernel knows them all. Else we are the subreaper, so orphans come
//! to us, and the tree below is walked: stop everybody, so that nobody forks on, then kill. An
//! agent that an earlier supervisor started has its orphans elsewhere; those are known by the
//! `CLOCKOUT_*` variables that every agent is started with.

use std::collections::HashSet;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpid};

use super::cgroup::Cgroup;
use super::proc::{self, ProcInfo};
use super::process::Process;
use super::reap::has_children;
use super::spawn::Spec;
use crate::lifecycle::{AgentIndex, Sweep};

/// Looks for newcomers while a tree is being stopped. Each finds only what was forked since the
/// last, by a process that was not stopped yet.
const STOP_PASSES: u32 = 8;

/// Whose processes are meant.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// One agent's: its main process, if that may still run, all below, and orphans with its
    /// mark. With several agents, an orphan that cleared its environment is nobody's.
    Agent {
        index: AgentIndex,
        main: Option<&'a Process>,
    },
    /// Everything below the supervisor, and all agents' orphans. As PID 1: everybody else.
    Everything,
}

impl Owner<'_> {
    fn index(self) -> Option<AgentIndex> {
        match self {
            Owner::Agent { index, .. } => Some(index),
            Owner::Everything => None,
        }
    }
}

/// The processes of all agents of this supervisor.
#[derive(Debug)]
pub struct Tree {
    /// The control socket that the agents were told: their mark.
    socket: PathBuf,
    cgroup: Option<Cgroup>,
}

impl Tree {
    /// Of the agents that are started by this.
    pub fn of(spec: &Spec) -> Tree {
        Tree {
            socket: spec.socket.clone(),
            cgroup: spec.cgroup.clone(),
        }
    }

    /// How many run now. Without a usable `/proc` nobody can tell: then 0.
    pub fn count(&self, owner: Owner<'_>, spare: &[Pid]) -> usize {
        self.processes(owner, spare).len()
    }

    /// All of them that run now. Without a usable `/proc` nobody can tell: then none.
    pub fn processes(&self, owner: Owner<'_>, spare: &[Pid]) -> Vec<ProcInfo> {
        if proc::is_usable() {
            self.members(owner, spare)
        } else {
            Vec::new()
        }
    }

    /// Removes what this made in the cgroup hierarchy. For the end, when no agent is left.
    pub fn remove_cgroups(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove_empty();
        }
    }

    /// One round, without waiting: signals whoever is left, and says how many still run.
    ///
    /// The caller reaps between rounds and decides how many there are: a process in an
    /// uninterruptible wait may stay for ever. `spare` and all below it is left alone (the
    /// dead-man).
    pub fn sweep(&self, owner: Owner<'_>, how: Sweep, spare: &[Pid]) -> usize {
        if !proc::is_usable() {
            return sweep_blindly(owner, how);
        }
        match how {
            Sweep::Terminate => {
                let members = self.members(owner, spare);
                for member in &members {
                    send(member, Signal::SIGTERM);
                    // A stopped process can not act on it.
                    send(member, Signal::SIGCONT);
                }
                members.len()
            }
            Sweep::Kill => self.kill(owner, spare),
        }
    }

    fn kill(&self, owner: Owner<'_>, spare: &[Pid]) -> usize {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill(owner.index());
        }
        let mut members = self.members(owner, spare);
        let mut stopped = HashSet::new();
        for _ in 0..STOP_PASSES {
            let is_new = |member: &&ProcInfo| stopped.insert((member.pid, member.start_time));
            let newcomers: Vec<_> = members.iter().filter(is_new).collect();
            if newcomers.is_empty() {
                break;
            }
            for newcomer in newcomers {
                send(newcomer, Signal::SIGSTOP);
            }
            members = self.members(owner, spare);
        }
        for member in &members {
            send(member, Signal::SIGKILL);
        }
        // A look at /proc is no snapshot: who was forked during one can be missing in it. But the
        // kernel knows whether a child is left, and whoever lost its parent is our child.
        match self.count(owner, spare) {
            0 if matches!(owner, Owner::Everything) && spare.is_empty() => {
                usize::from(has_children())
            }
            0 => self.count(owner, spare),
            left => left,
        }
    }

    /// Who of them runs now.
    fn members(&self, owner: Owner<'_>, spare: &[Pid]) -> Vec<ProcInfo> {
        let all = proc::all();
        let spared = spared(&all, spare);
        let mut found = HashSet::new();
        let mut add_with_below = |root: Pid| {
            if found.insert(root) {
                found.extend(proc::descendants_among(&all, root).iter().map(|p| p.pid));
            }
        };
        match owner {
            Owner::Everything if getpid().as_raw() == 1 => {
                found.extend(all.iter().map(|process| process.pid));
            }
            Owner::Everything => add_with_below(getpid()),
            Owner::Agent { main, .. } => {
                if let Some(main) = main.filter(|main| main.runs()) {
                    add_with_below(main.pid());
                }
            }
        }
        for process in &all {
            if !found.contains(&process.pid)
                && !spared.contains(&process.pid)
                && proc::is_marked(process, &self.socket, owner.index())
            {
                found.insert(process.pid);
                found.extend(
                    proc::descendants_among(&all, process.pid)
                        .iter()
                        .map(|p| p.pid),
                );
            }
        }
        if let Some(cgroup) = &self.cgroup {
            found.extend(cgroup.pids(owner.index()));
        }
        all.into_iter()
            .filter(|process| found.contains(&process.pid) && !spared.contains(&process.pid))
            .collect()
    }
}

/// Ourselves, those above us (somebody may start a supervisor from a job's shell), and what the
/// caller spares.
fn spared(all: &[ProcInfo], spare: &[Pid]) -> HashSet<Pid> {
    let mut spared: HashSet<Pid> = spare.iter().copied().collect();
    for root in spare {
        spared.extend(proc::descendants_among(all, *root).iter().map(|p| p.pid));
    }
    let mut above = Some(getpid());
    while let Some(pid) = above {
        spared.insert(pid);
        let process = all.iter().find(|process| process.pid == pid);
        above = process
            .map(|process| process.ppid)
            .filter(|parent| !spared.contains(parent));
    }
    spared
}

/// Through start time and pidfd: between the look and the signal the pid may have passed to
/// somebody else.
fn send(to: &ProcInfo, signal: Signal) {
    if let Some(process) = Process::adopt(to.pid, to.start_time) {
        // Not permitted to signal it: it stays, and is counted as left.
        let _ = process.signal(signal);
    }
}

/// Without `/proc` there is no tree to walk: only what one call reaches.
fn sweep_blindly(owner: Owner<'_>, how: Sweep) -> usize {
    let signal = match how {
        Sweep::Terminate => Signal::SIGTERM,
        Sweep::Kill => Signal::SIGKILL,
    };
    let sent = match owner {
        Owner::Agent {
            main: Some(main), ..
        } => killpg(main.pid(), signal).is_ok(),
        // Everybody in the namespace but ourselves; the spared die with it anyway.
        Owner::Everything if getpid().as_raw() == 1 => kill(Pid::from_raw(-1), signal).is_ok(),
        Owner::Agent { main: None, .. } | Owner::Everything => false,
    };
    usize::from(sent)
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
