//! Commands that we run beside the agents: hooks of ours, and what presets tell agents by.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tracing::warn;

use super::input::Input;
use super::{Child, Supervisor};
use crate::agent::{self, Spec};
use crate::lifecycle::{AgentIndex, Exit};

/// A command to be run, in a process group of its own.
#[derive(Debug)]
pub struct Order {
    pub argv: Vec<OsString>,
    /// What the log may say of it: the arguments can be secrets.
    pub shown: String,
    /// As this agent, instead of ourselves.
    pub agent: Option<(Arc<Spec>, AgentIndex)>,
    pub stdin: Stdio,
    /// What it says is thrown away.
    pub is_silent: bool,
    /// When it takes longer it is killed.
    pub timeout: Duration,
    /// Hears how it ended, or `None` when it could not be started.
    pub reply: oneshot::Sender<Option<Exit>>,
}

/// Those that run, with who waits for each.
#[derive(Default)]
pub struct Commands {
    running: HashMap<Pid, Running>,
}

struct Running {
    shown: String,
    reply: oneshot::Sender<Option<Exit>>,
}

impl Commands {
    /// It ended.
    pub fn ended(&mut self, pid: Pid, exit: Exit) {
        if let Some(command) = self.running.remove(&pid) {
            // Who asked may have given up.
            let _ = command.reply.send(Some(exit));
        }
    }

    /// Its time is over: it and what it started in its group are killed, unless it has ended.
    pub fn overdue(&self, pid: Pid) {
        if let Some(command) = self.running.get(&pid) {
            warn!(%pid, command = command.shown, "command.overdue: killed");
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

impl Supervisor {
    pub(super) fn run_command(&mut self, order: Order) {
        let started = match &order.agent {
            Some((spec, agent)) => {
                let beside = agent::Beside {
                    argv: &order.argv,
                    stdin: order.stdin,
                    is_silent: order.is_silent,
                };
                agent::spawn_beside(spec, *agent, beside)
            }
            None => spawn(&order.argv, order.stdin),
        };
        let pid = match started {
            Ok(pid) => pid,
            Err(error) => {
                warn!(command = order.shown, %error, "command.failed");
                let _ = order.reply.send(None);
                return;
            }
        };
        self.children.insert(pid, Child::Command);
        let running = Running {
            shown: order.shown,
            reply: order.reply,
        };
        self.commands.running.insert(pid, running);
        let (inbox, timeout) = (self.inbox.clone(), order.timeout);
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            let _ = inbox.send(Input::CommandOverdue(pid)).await;
        });
    }
}

/// The reaper learns of its end; the handle is of no use.
fn spawn(argv: &[OsString], stdin: Stdio) -> std::io::Result<Pid> {
    let Some((program, args)) = argv.split_first() else {
        return Err(std::io::Error::other("it has no words"));
    };
    let mut command = Command::new(program);
    let child = command.args(args).process_group(0).stdin(stdin).spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}
