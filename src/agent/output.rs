//! The agent's output: passed through as it comes, and shown to detectors on the way.
//!
//! A stream that no detector reads is inherited and costs nothing. A tapped one is a pipe with a
//! thread of its own, because neither its reading nor a stuck terminal may hold up the event
//! loop. Bytes, not lines: memory does not depend on what the agent prints.
//!
//! The agent outlives `kill -9` of the supervisor. Its end of the pipe is open for reading too,
//! so a dead reader is no SIGPIPE to it: it goes on, at worst waits with a full pipe, until the
//! next supervisor picks the pipe up ([`reopen`]).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{fchown, pipe2, read, write};
use serde::Deserialize;
use tokio::sync::oneshot;
use tracing::warn;

use super::process::Process;
use super::user::User;

const CHUNK: usize = 64 * 1024;
/// What an agent can print while a supervisor is restarted before it has to wait. The kernel
/// takes the memory only when it is used; this is the most that it gives to any user.
const PIPE_SIZE: i32 = 1024 * 1024;
/// A read takes at least one of its pages, if it has any.
const PIPE_PAGES: i32 = PIPE_SIZE / 4096;

/// One of the agent's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    fn number(self) -> u8 {
        match self {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        }
    }

    /// Our own stream of this name.
    fn own(self) -> io::Result<OwnedFd> {
        match self {
            Stream::Stdout => io::stdout().as_fd().try_clone_to_owned(),
            Stream::Stderr => io::stderr().as_fd().try_clone_to_owned(),
        }
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Stream::Stdout),
            "stderr" => Ok(Stream::Stderr),
            _ => Err("use stdout or stderr".to_owned()),
        }
    }
}

/// The two ends of a tapped stream.
pub(super) struct Pipe {
    pub ours: OwnedFd,
    pub agents: OwnedFd,
}

impl Pipe {
    pub fn new(user: Option<&User>) -> nix::Result<Pipe> {
        let (ours, write_end) = pipe2(OFlag::O_CLOEXEC)?;
        // Without a usable /proc the agent gets a plain end, and SIGPIPE if we are killed.
        let both_ways = format!("/proc/self/fd/{}", write_end.as_raw_fd());
        let agents = open(
            both_ways.as_str(),
            OFlag::O_RDWR | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .unwrap_or(write_end);
        if let Some(user) = user {
            // So that the agent may open /dev/stdout. Its inherited descriptor works regardless.
            let _ = fchown(&agents, Some(user.uid), Some(user.gid));
        }
        // Refused when this user's pipes take too much already: then it stays at 64 KiB.
        let _ = fcntl(&agents, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Ok(Pipe { ours, agents })
    }
}

/// Our end of a tapped stream of an agent that an earlier supervisor started.
///
/// Fails when the stream was not tapped, or the agent has redirected it: a pipe that is open both
/// ways is ours, nobody else makes those.
pub fn reopen(agent: &Process, stream: Stream) -> io::Result<OwnedFd> {
    let (pid, number) = (agent.pid(), stream.number());
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))?;
    let flags = info
        .lines()
        .find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok())
        .map(OFlag::from_bits_truncate);
    let path = format!("/proc/{pid}/fd/{number}");
    let is_pipe = fs::read_link(&path)?
        .as_os_str()
        .as_encoded_bytes()
        .starts_with(b"pipe:");
    if !is_pipe || flags.map(|flags| flags & OFlag::O_ACCMODE) != Some(OFlag::O_RDWR) {
        let stream = stream.as_str();
        return Err(io::Error::other(format!(
            "{stream} of process {pid} is no pipe of clockout"
        )));
    }
    // Non-blocking only for the call: the agent may have closed its end since.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let ours = open(path.as_str(), flags, Mode::empty())?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::empty()))?;
    if !agent.runs() {
        return Err(io::Error::from(Errno::ESRCH));
    }
    Ok(ours)
}

/// What a tap shows to its detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The next bytes of the stream, cut anywhere.
    Bytes(&'a [u8]),
    /// All that was written before [`Tap::catch_up`] was called has been shown.
    CaughtUp,
}

/// The thread that passes one stream on. Dropping this does not stop it: it ends with the stream.
#[derive(Debug)]
pub struct Tap {
    /// Its sender is dropped at the end of the stream.
    finished: oneshot::Receiver<()>,
    /// One byte for each call of `catch_up`. Closed, it tells the thread that none will follow.
    asks: OwnedFd,
}

impl Tap {
    /// Reads `from` to its end: shows each chunk to `sink`, then writes it to our own `stream`.
    ///
    /// `sink` is called on the tap's thread, and may wait. Fails if there are no descriptors or
    /// no thread for it.
    pub fn start(
        from: OwnedFd,
        stream: Stream,
        sink: impl FnMut(Chunk<'_>) + Send + 'static,
    ) -> io::Result<Tap> {
        Self::start_to(from, stream.own()?, stream, sink)
    }

    fn start_to(
        from: OwnedFd,
        to: OwnedFd,
        stream: Stream,
        sink: impl FnMut(Chunk<'_>) + Send + 'static,
    ) -> io::Result<Tap> {
        let (running, finished) = oneshot::channel();
        let (asked, asks) = pipe2(OFlag::O_CLOEXEC)?;
        let mut pump = Pump {
            from,
            to,
            stream,
            asked,
            sink,
            buffer: vec![0; CHUNK],
            warned: false,
        };
        thread::Builder::new()
            .name(format!("tap-{}", stream.as_str()))
            .spawn(move || pump.run(running))?;
        Ok(Tap { finished, asks })
    }

    /// Asks for one [`Chunk::CaughtUp`] after everything written so far, also when the stream has
    /// ended. So the last words of a process are known even while others hold its stream.
    ///
    /// `false` if none will come, because the thread is gone.
    pub fn catch_up(&self) -> bool {
        write(&self.asks, &[0]) == Ok(1)
    }

    /// Waits for the end of the stream: everybody who could write to it has ended, and all of it
    /// has been passed on. `false` if that takes longer, as it does when a process that the agent
    /// left behind holds the stream. May be called again.
    pub async fn join_within(&mut self, wait: Duration) -> bool {
        if self.finished.is_terminated() {
            return true;
        }
        tokio::time::timeout(wait, &mut self.finished).await.is_ok()
    }
}

/// What the thread works on.
struct Pump<S> {
    from: OwnedFd,
    to: OwnedFd,
    stream: Stream,
    asked: OwnedFd,
    sink: S,
    buffer: Vec<u8>,
    warned: bool,
}

/// What a tap's thread has to do next.
enum Next {
    Output,
    Asked,
}

impl<S: FnMut(Chunk<'_>)> Pump<S> {
    fn run(&mut self, running: oneshot::Sender<()>) {
        // A failure of these two system calls would be a bug, not an end that can be planned for;
        // dropping our end then still leaves the agent unharmed.
        if let Err(error) = self.pass_on() {
            warn!(stream = self.stream.as_str(), %error, "output.unreadable");
        }
        drop(running);
        while let Ok(true) = self.take_ask() {
            (self.sink)(Chunk::CaughtUp);
        }
    }

    fn pass_on(&mut self) -> nix::Result<()> {
        let mut listens = true;
        loop {
            match self.wait(listens)? {
                Next::Output if self.pass_one_on()? => {}
                Next::Output => return Ok(()),
                Next::Asked => {
                    listens = self.take_ask()?;
                    if listens {
                        let goes_on = self.pass_rest_on()?;
                        (self.sink)(Chunk::CaughtUp);
                        if !goes_on {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Output comes first, so that an ask is answered after what preceded it.
    fn wait(&self, listens: bool) -> nix::Result<Next> {
        loop {
            let mut both = [
                PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.asked.as_fd(), PollFlags::POLLIN),
            ];
            let watched = if listens {
                &mut both[..]
            } else {
                &mut both[..1]
            };
            match poll(watched, PollTimeout::NONE) {
                Ok(_) if both[0].any() == Some(true) => return Ok(Next::Output),
                Ok(_) => return Ok(Next::Asked),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `false` once nobody can ask any more.
    fn take_ask(&self) -> nix::Result<bool> {
        loop {
            match read(&self.asked, &mut [0]) {
                Err(Errno::EINTR) => {}
                done => return done.map(|length| length == 1),
            }
        }
    }

    /// Passes on what is in the pipe now: no more than it can hold, in case more comes all the
    /// time. `false` at the end of the stream.
    fn pass_rest_on(&mut self) -> nix::Result<bool> {
        for _ in 0..=PIPE_PAGES {
            let mut from = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
            match poll(&mut from, PollTimeout::ZERO) {
                Ok(0) => break,
                Ok(_) if !self.pass_one_on()? => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once; `false` at the end of the stream.
    fn pass_one_on(&mut self) -> nix::Result<bool> {
        let chunk = match read(&self.from, &mut self.buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => &self.buffer[..length],
            Err(Errno::EINTR) => return Ok(true),
            Err(error) => return Err(error),
        };
        (self.sink)(Chunk::Bytes(chunk));
        // A full disk or a reader that went away is our problem, never the agent's: go on
        // reading. It may also pass, so each chunk is tried.
        if let Err(error) = write_all(self.to.as_fd(), chunk)
            && !self.warned
        {
            self.warned = true;
            warn!(stream = self.stream.as_str(), %error, "output.lost");
        }
        Ok(true)
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            // Whoever shares our stdout may have made it non-blocking.
            Err(Errno::EAGAIN) => {
                poll(
                    &mut [PollFd::new(to, PollFlags::POLLOUT)],
                    PollTimeout::NONE,
                )
                .or_else(|error| {
                    if error == Errno::EINTR {
                        Ok(0)
                    } else {
                        Err(error)
                    }
                })?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
