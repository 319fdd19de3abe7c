//! Commands that we run beside the agents: hooks, and drain steps that are commands.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tracing::warn;

use super::input::Input;
use super::{Child, Supervisor};
use crate::instance::no_input;
use crate::lifecycle::Exit;

/// Those that run, with who waits for each.
#[derive(Default)]
pub struct Commands {
    running: HashMap<Pid, oneshot::Sender<Option<Exit>>>,
}

impl Commands {
    /// It ended.
    pub fn ended(&mut self, pid: Pid, exit: Exit) {
        if let Some(reply) = self.running.remove(&pid) {
            // Who asked may have given up.
            let _ = reply.send(Some(exit));
        }
    }

    /// Its time is over: it and what it started in its group are killed, unless it has ended.
    pub fn overdue(&self, pid: Pid) {
        if self.running.contains_key(&pid) {
            warn!(%pid, "command.overdue: killed");
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

impl Supervisor {
    /// Starts a command in a process group of its own, without input, for this long at most.
    /// `reply` hears how it ended, or `None` when it could not be started.
    pub(super) fn run_command(
        &mut self,
        argv: Vec<OsString>,
        timeout: Duration,
        reply: oneshot::Sender<Option<Exit>>,
    ) {
        let Some((program, args)) = argv.split_first() else {
            let _ = reply.send(None);
            return;
        };
        let mut command = Command::new(program);
        let spawned = command
            .args(args)
            .process_group(0)
            .stdin(no_input())
            .spawn();
        // The reaper learns of its end; the handle is of no use.
        let pid = match spawned {
            Ok(child) => Pid::from_raw(child.id() as i32),
            Err(error) => {
                warn!(program = %program.display(), %error, "command.failed");
                let _ = reply.send(None);
                return;
            }
        };
        self.children.insert(pid, Child::Command);
        self.commands.running.insert(pid, reply);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            let _ = inbox.send(Input::CommandOverdue(pid)).await;
        });
    }
}
