//! `clockout job exec`: one job's command, reported from its start to its end.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};

use super::client::Reporter;
use crate::lifecycle::Outcome;

/// Passed on to the command, so that a CI system that stops us stops the job.
const FORWARDED: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

impl Reporter {
    /// Runs a job's command and returns its exit status: its code, 128 + n for a signal, 126 or
    /// 127 when it cannot be started. An error is ours, and only where `strict` or before the
    /// command runs.
    pub fn exec(&self, id: Option<String>, argv: &[OsString]) -> Result<u8> {
        let (program, arguments) = argv.split_first().context("no command given")?;
        let id = Some(id.unwrap_or_else(own_id));
        // Before the command runs: a signal in between would end us and not the job.
        let mut signals = Signals::new().context("cannot handle signals")?;
        self.start(id.clone())?;
        let mut child = match Command::new(program).args(arguments).spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!(
                    "clockout: cannot run {}: {error}",
                    program.to_string_lossy()
                );
                self.finish(id, Outcome::Failed)?;
                let not_found = error.kind() == ErrorKind::NotFound;
                return Ok(if not_found { 127 } else { 126 });
            }
        };
        let status = signals
            .forward_until_end(&mut child)
            .context("cannot wait for the job")?;
        let outcome = match (status.code(), status.signal()) {
            (Some(0), _) => Outcome::Passed,
            (None, Some(_)) => Outcome::Canceled,
            _ => Outcome::Failed,
        };
        self.finish(id, outcome)?;
        Ok(exit_status(status))
    }
}

/// As a shell reports it.
fn exit_status(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128_u8.wrapping_add(signal as u8),
        (None, None) => 1,
    }
}

/// Unlike any other on this machine.
fn own_id() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("exec-{}-{}", std::process::id(), now.as_micros())
}

/// A pipe for each signal, readable once it has come.
struct Signals {
    child_ended: UnixStream,
    forwarded: Vec<(Signal, UnixStream)>,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let mut forwarded = Vec::new();
        for signal in FORWARDED {
            forwarded.push((signal, pipe(signal)?));
        }
        Ok(Signals {
            child_ended: pipe(Signal::SIGCHLD)?,
            forwarded,
        })
    }

    fn forward_until_end(&mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        loop {
            // Nobody else waits for it, so the number is not used again before we know.
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            self.wait()?;
            drain(&mut self.child_ended);
            for (signal, pipe) in &mut self.forwarded {
                if drain(pipe) && !reaches_child_by_itself(*signal) {
                    // It may just have ended.
                    let _ = kill(Pid::from_raw(child.id() as i32), *signal);
                }
            }
        }
    }

    fn wait(&self) -> std::io::Result<()> {
        let pipes = self
            .forwarded
            .iter()
            .map(|(_, pipe)| pipe)
            .chain([&self.child_ended]);
        let mut waited: Vec<_> = pipes
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(&mut waited, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn pipe(signal: Signal) -> std::io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal as i32, write)?;
    Ok(read)
}

/// Whether there was anything to read.
fn drain(pipe: &mut UnixStream) -> bool {
    let mut any = false;
    while pipe.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {
        any = true;
    }
    any
}

/// A key on the terminal is a signal to us and to the command alike; twice is another meaning.
fn reaches_child_by_itself(signal: Signal) -> bool {
    let by_key = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
    let stdin = std::io::stdin();
    by_key && stdin.is_terminal() && tcgetpgrp(stdin.as_fd()).is_ok_and(|group| group == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(script: &str) -> u8 {
        let nobody = tempfile::tempdir().expect("a directory").path().join("s");
        let reporter = Reporter::new(nobody, false);
        let argv: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
        reporter
            .exec(None, &argv)
            .expect("no supervisor is a warning only")
    }

    #[test]
    fn the_commands_own_status_comes_through() {
        for (script, status) in [
            ("exit 0", 0),
            ("exit 3", 3),
            ("exit 255", 255),
            ("kill -TERM $$", 143),
            ("kill -KILL $$", 137),
        ] {
            assert_eq!(ran(script), status, "{script}");
        }
    }

    #[test]
    fn what_cannot_be_run_has_a_shells_status() {
        let reporter = Reporter::new("/nonexistent/socket".into(), false);
        assert_eq!(
            reporter
                .exec(None, &["/nonexistent/x".into()])
                .expect("warned"),
            127
        );
        assert_eq!(
            reporter
                .exec(None, &["/etc/passwd".into()])
                .expect("warned"),
            126
        );
    }

    #[test]
    fn strict_refuses_before_the_command_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let reporter = Reporter::new(dir.path().join("s"), true);
        let trace = dir.path().join("ran");
        let argv = ["touch".into(), trace.clone().into_os_string()];
        let error = reporter.exec(None, &argv).expect_err("nobody listens");
        assert!(format!("{error:#}").contains("no supervisor"), "{error:#}");
        assert!(!trace.exists());
    }
}
