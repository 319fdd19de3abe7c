//! One process that cannot be mistaken for another: signals reach it or nobody.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use super::proc;
use crate::sys;

/// How often the end of somebody else's process is looked for where the kernel cannot tell it.
const POLL: Duration = Duration::from_secs(1);

/// Waits for a child that nobody else reaps; after `limit` it is killed. Whether it ended in time,
/// and how.
pub async fn wait_in_time(child: &mut Child, limit: Duration) -> io::Result<(bool, ExitStatus)> {
    let process = Process::of_child(Pid::from_raw(child.id().cast_signed()));
    let in_time = timeout(limit, process.exited()).await.is_ok();
    if !in_time {
        // That it is gone already is no error.
        let _ = child.kill();
    }
    Ok((in_time, child.wait()?))
}

/// A process, by its pid and the time of its start: pids come round again.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    start_time: u64,
    /// `None` before Linux 5.3, or where a seccomp profile forbids it.
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// A child that this process has just spawned and not yet reaped.
    pub fn of_child(pid: Pid) -> Process {
        Process {
            pid,
            // Zero only without a usable /proc: then nothing can be adopted after a restart.
            start_time: proc::stat(pid).map_or(0, |info| info.start_time),
            pidfd: sys::pidfd_open(pid).ok(),
        }
    }

    /// The very process that had this pid and start time, if it still runs: an agent of an
    /// earlier life of the supervisor.
    pub fn adopt(pid: Pid, start_time: u64) -> Option<Process> {
        // Opened before looking: what the descriptor means cannot change in between.
        let process = Process {
            pid,
            start_time,
            pidfd: sys::pidfd_open(pid).ok(),
        };
        process.runs().then_some(process)
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// In clock ticks since boot, to be stored with the pid for [`Process::adopt`].
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Whether it has not ended.
    pub fn runs(&self) -> bool {
        proc::stat(self.pid).is_some_and(|info| info.start_time == self.start_time && info.runs())
    }

    /// Sends it, and only it, a signal. That it is gone already is no error.
    pub fn signal(&self, signal: Signal) -> nix::Result<()> {
        let sent = match &self.pidfd {
            Some(pidfd) => sys::pidfd_send_signal(pidfd.as_fd(), signal),
            // The pid may be somebody else's by now. The check leaves microseconds for that.
            None if self.is_stranger() => Ok(()),
            None => kill(self.pid, signal),
        };
        match sent {
            Err(Errno::ESRCH) => Ok(()),
            sent => sent,
        }
    }

    /// Whether it was sent this signal and has not taken it yet.
    pub fn has_pending(&self, signal: Signal) -> bool {
        proc::pending_signals(self.pid).is_some_and(|mask| mask & (1 << (signal as u32 - 1)) != 0)
    }

    /// Resolves when it has ended. For a process that is no child, whose end the reaper will
    /// not report. May be dropped and called again.
    pub async fn exited(&self) {
        let watched = self.pidfd.as_ref().and_then(|fd| fd.try_clone().ok());
        if let Some(watched) = watched.and_then(|fd| sys::watch_readable(fd).ok())
            && watched.readable().await.is_ok()
        {
            return;
        }
        while self.runs() {
            tokio::time::sleep(POLL).await;
        }
    }

    fn is_stranger(&self) -> bool {
        proc::stat(self.pid).is_some_and(|info| info.start_time != self.start_time)
    }
}
