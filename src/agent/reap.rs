//! The one place that waits for processes.
//!
//! A subreaper or PID 1 must wait for strangers, and `waitpid(-1)` beside another waiter steals
//! that one's exits (32 of 200 lost beside tokio's process module). So everything the supervisor
//! starts is spawned, its handle dropped, and its end learned from here.

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use crate::lifecycle::Exit;
use crate::sys::{self, WaitStatus};

/// All children that have ended since the last call, own ones and adopted orphans alike.
///
/// To be called for each SIGCHLD, which stands for any number of ends, and once more before the
/// supervisor exits. Never blocks.
pub fn reap() -> Vec<(Pid, Exit)> {
    let mut ended = Vec::new();
    loop {
        match sys::wait_any() {
            Ok(Some((pid, WaitStatus::Exited(code)))) => ended.push((pid, Exit::Code(code))),
            Ok(Some((pid, WaitStatus::Signaled(signal)))) => {
                ended.push((pid, Exit::Signal(signal)));
            }
            Err(Errno::EINTR) => {}
            // ECHILD: there are no children at all.
            Ok(None) | Err(_) => return ended,
        }
    }
}

/// Whether any child is left, ended or not. Without one there is no descendant either: every
/// orphan below a subreaper becomes its child.
pub fn has_children() -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) != Err(Errno::ECHILD)
}

/// Makes orphaned descendants children of this process, as they are of PID 1 anyway.
pub fn become_subreaper() -> nix::Result<()> {
    if getpid().as_raw() == 1 {
        return Ok(());
    }
    nix::sys::prctl::set_child_subreaper(true)
}
