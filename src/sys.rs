//! The only unsafe code of the program: system calls that neither std nor nix offers safely.
//!
//! Nothing here decides anything. Each function does one call, or the few that must happen
//! between fork and exec.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Gid, Pid, Uid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Gives every signal its default disposition and empties the mask, whatever this process
/// inherited (`nohup`, `trap '' INT`, `&` in a shell script).
///
/// Agents inherit both through exec. Setting them right once in the supervisor, before it
/// registers its own handlers (which exec resets), keeps std's fast vfork path for every spawn.
/// SIGPIPE stays ignored here: std gives children its default back.
pub fn reset_signals() -> nix::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGPIPE) {
            continue;
        }
        // SAFETY: zeroed bytes are a valid sigaction, and a null new action only reads. The C
        // library refuses its own two real-time signals with EINVAL, which leaves them alone.
        unsafe {
            let mut old: libc::sigaction = mem::zeroed();
            if libc::sigaction(signal, ptr::null(), &mut old) == 0
                && old.sa_sigaction == libc::SIG_IGN
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Lets this process set the terminal's foreground group, and write to the terminal, while it is
/// in the background itself. Children must undo it: [`ChildSetup::terminal`].
pub fn ignore_terminal_stops() {
    for signal in [libc::SIGTTOU, libc::SIGTTIN] {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The user that a child becomes.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub uid: Uid,
    pub gid: Gid,
    /// All of them, the primary one included.
    pub groups: Vec<Gid>,
}

/// What a child does about the terminal on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildTerminal {
    /// Standard input is no terminal.
    None,
    /// It stays in the background.
    Background,
    /// Its process group becomes the foreground one.
    Foreground,
}

/// What happens in the child between fork and exec.
#[derive(Debug)]
pub struct ChildSetup {
    pub credentials: Option<Credentials>,
    pub terminal: ChildTerminal,
    /// A `cgroup.procs` file, open for writing, of the cgroup that it enters.
    pub cgroup: Option<OwnedFd>,
}

impl ChildSetup {
    /// Adds the steps to `command`. Does nothing, and so keeps std's vfork path, when there is
    /// nothing to do.
    pub fn apply(self, command: &mut Command) {
        if self.credentials.is_none()
            && self.terminal == ChildTerminal::None
            && self.cgroup.is_none()
        {
            return;
        }
        let credentials = self.credentials.map(|credentials| {
            let groups: Vec<libc::gid_t> = credentials.groups.iter().map(|g| g.as_raw()).collect();
            (credentials.uid.as_raw(), credentials.gid.as_raw(), groups)
        });
        let (terminal, cgroup) = (self.terminal, self.cgroup);
        // SAFETY: the closure runs in the forked child. It only makes system calls that are
        // async-signal-safe and allocates nothing: the list of groups was built above.
        unsafe {
            command.pre_exec(move || {
                if let Some(cgroup) = &cgroup {
                    // A refusal is no reason not to start it: its tree can be walked.
                    libc::write(cgroup.as_raw_fd(), c"0".as_ptr().cast(), 1);
                }
                if terminal == ChildTerminal::Foreground {
                    // Without the terminal the agent still works, so a failure is no reason not
                    // to start it. std has put the child into its own group before.
                    libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpid());
                }
                if terminal != ChildTerminal::None {
                    libc::signal(libc::SIGTTOU, libc::SIG_DFL);
                    libc::signal(libc::SIGTTIN, libc::SIG_DFL);
                }
                if let Some((uid, gid, groups)) = &credentials {
                    // Groups first: they cannot be changed any more once root is given up.
                    check(libc::setgroups(groups.len(), groups.as_ptr()))?;
                    check(libc::setgid(*gid))?;
                    check(libc::setuid(*uid))?;
                }
                Ok(())
            });
        }
    }
}

#[cfg(feature = "poll")]
/// The child leads a session of its own: no terminal, and nobody who ends ours, reaches it.
pub fn new_session(command: &mut Command) {
    // SAFETY: setsid(2) is async-signal-safe, and the closure allocates nothing. It can only fail
    // for the leader of a process group, which a forked child is not.
    unsafe { command.pre_exec(|| check(libc::setsid().min(0))) };
}

#[cfg(feature = "poll")]
/// The child is asked to end when we do, however we end. To be started by the main thread: the
/// kernel takes the end of the thread that forked for ours.
pub fn end_with_us(command: &mut Command) {
    let us = std::process::id();
    let asked = move || {
        // SAFETY: prctl(2) and getppid(2) are async-signal-safe, and nothing is allocated.
        unsafe {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
            if libc::getppid().cast_unsigned() == us {
                return Ok(());
            }
        }
        // We have ended before the call.
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    };
    // SAFETY: see `asked`; an error of a number is not allocated either.
    unsafe { command.pre_exec(asked) };
}

/// One child that has ended, or `None` when all that are left still run.
///
/// Not nix's `waitpid`: it fails, after the child is reaped, when a real-time signal killed it.
pub fn wait_any() -> nix::Result<Option<(Pid, WaitStatus)>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) })?;
    Ok((pid != 0).then(|| (Pid::from_raw(pid), WaitStatus::decode(status))))
}

/// How a reaped process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStatus {
    Exited(i32),
    Signaled(i32),
}

impl WaitStatus {
    /// Without WUNTRACED and WCONTINUED there is no third kind.
    fn decode(status: c_int) -> Self {
        if libc::WIFSIGNALED(status) {
            WaitStatus::Signaled(libc::WTERMSIG(status))
        } else {
            WaitStatus::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// A descriptor that stands for one process, whoever gets its pid later. Linux 5.3 or newer;
/// `ENOSYS` (or `EPERM` under an old seccomp profile) before.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes two integers; it always sets close-on-exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(fd)? as c_int;
    // SAFETY: the kernel has just made this descriptor for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes it behave as kill(2); the descriptor is borrowed for the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as c_int,
            info,
            0,
        )
    };
    Errno::result(done).map(drop)
}

/// Registers `fd` with the current tokio runtime.
pub fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd answers the same open descriptor until it is dropped, and AsyncFd
    // deregisters before it drops it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

#[cfg(feature = "poll")]
/// How many columns the terminal has.
pub fn columns(terminal: BorrowedFd<'_>) -> Option<u16> {
    // SAFETY: a winsize is four numbers, and zeroes are some; it outlives the call.
    let (done, size) = unsafe {
        let mut size: libc::winsize = mem::zeroed();
        let done = libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size);
        (done, size)
    };
    (done == 0 && size.ws_col > 0).then_some(size.ws_col)
}

/// Whether the file has this extended attribute with this value.
pub fn has_xattr(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> bool {
    let mut found = [0_u8; 16];
    // SAFETY: the buffer and its true length are given, the name ends with a NUL.
    let length = unsafe {
        libc::fgetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            found.as_mut_ptr().cast(),
            found.len(),
        )
    };
    usize::try_from(length).is_ok_and(|length| found.get(..length) == Some(value))
}

/// For use between fork and exec: no allocation.
fn check(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
