//! Commands that the poller asks, or has something done by: short, bounded, and nothing left of
//! them when they take too long.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe::Receiver;

use crate::agent::Process;

/// Of each of its streams, in bytes.
pub const MOST_OUTPUT: usize = 1024 * 1024;

/// What a command that ended in time said.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot run {program}: {error}")]
    NotStarted { program: String, error: io::Error },
    #[error("{program} was killed: it took longer than {} s", limit.as_secs_f64())]
    TooLong { program: String, limit: Duration },
    #[error("{program} was killed: it printed more than {MOST_OUTPUT} bytes")]
    TooMuch { program: String },
    #[error("cannot read what {program} says: {error}")]
    Io { program: String, error: io::Error },
}

impl Ran {
    /// Its last line on standard error, for a message: at most 200 characters.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty());
        match line {
            Some(line) => line.chars().take(200).collect(),
            None => format!("it ended with {}, and said nothing", self.status),
        }
    }
}

/// Runs it to its end, with these variables beside our own. It gets a process group of its own,
/// which is killed when it takes too long, prints too much, or nobody waits for it any more.
pub async fn run(
    argv: &[String],
    env: &[(&str, String)],
    limit: Duration,
) -> Result<Ran, CommandError> {
    let program = || argv.first().cloned().unwrap_or_default();
    let failed = |error| CommandError::Io {
        program: program(),
        error,
    };
    let mut running = Running::start(argv, env).map_err(|error| CommandError::NotStarted {
        program: program(),
        error,
    })?;
    let ended = tokio::time::timeout(limit, running.finish()).await;
    match ended {
        Err(_) => Err(CommandError::TooLong {
            program: program(),
            limit,
        }),
        Ok(Err(error)) if error.kind() == ErrorKind::FileTooLarge => {
            Err(CommandError::TooMuch { program: program() })
        }
        Ok(ran) => ran.map_err(failed),
    }
}

struct Running {
    /// `None` once it is reaped.
    child: Option<Child>,
}

impl Running {
    fn start(argv: &[String], env: &[(&str, String)]) -> io::Result<Running> {
        let (program, args) = argv
            .split_first()
            .ok_or_else(|| io::Error::other("it has no words"))?;
        let child = Command::new(program)
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Running { child: Some(child) })
    }

    async fn finish(&mut self) -> io::Result<Ran> {
        let child = self.child.as_mut().expect("it is reaped last, and once");
        let process = Process::of_child(pid(child));
        let mut stdout = Stream::new(child.stdout.take().map(OwnedFd::from))?;
        let mut stderr = Stream::new(child.stderr.take().map(OwnedFd::from))?;
        // A daemon that it left behind may keep the pipes open for ever: its end is what counts.
        let mut ended = std::pin::pin!(process.exited());
        loop {
            tokio::select! {
                () = &mut ended => break,
                read = stdout.read(), if stdout.is_open() => read?,
                read = stderr.read(), if stderr.is_open() => read?,
            }
        }
        let status = child.wait()?;
        self.child = None;
        stdout.rest()?;
        stderr.rest()?;
        Ok(Ran {
            status,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // It is not reaped, so the number is still its own.
        let _ = killpg(pid(&child), Signal::SIGKILL);
        // It may be a while in the kernel; nobody else has to wait for that.
        std::thread::spawn(move || child.wait());
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// One of its output streams.
struct Stream {
    /// `None` at its end.
    pipe: Option<Receiver>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Stream> {
        Ok(Stream {
            pipe: pipe.map(Receiver::from_owned_fd).transpose()?,
            bytes: Vec::new(),
        })
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Takes what is there, once something is.
    async fn read(&mut self) -> io::Result<()> {
        if let Some(pipe) = &self.pipe {
            pipe.readable().await?;
        }
        self.rest()
    }

    /// Takes what is there now.
    fn rest(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while let Some(pipe) = &self.pipe {
            match pipe.try_read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if self.bytes.len() > MOST_OUTPUT {
                return Err(ErrorKind::FileTooLarge.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn sh(line: &str, limit: Duration) -> Result<Ran, CommandError> {
        let argv = ["/bin/sh", "-c", line].map(str::to_owned);
        run(&argv, &[("WORD", "hello".to_owned())], limit).await
    }

    #[tokio::test]
    async fn what_it_says_and_how_it_ends_is_told() {
        let ran = sh("echo $WORD; echo no >&2; exit 3", LONG)
            .await
            .expect("it ran");
        assert_eq!(ran.status.code(), Some(3));
        assert_eq!(
            (ran.stdout.as_slice(), ran.complaint().as_str()),
            (&b"hello\n"[..], "no")
        );
        let quiet = sh("exit 4", LONG).await.expect("it ran");
        assert!(quiet.complaint().contains('4'), "{}", quiet.complaint());
    }

    #[tokio::test]
    async fn more_than_a_pipe_holds_is_read_whole() {
        let ran = sh("head -c 300000 /dev/zero", LONG).await.expect("it ran");
        assert_eq!(ran.stdout.len(), 300_000);
    }

    #[tokio::test]
    async fn endless_output_is_cut_off() {
        let error = sh("exec cat /dev/zero", LONG).await.expect_err("killed");
        assert!(matches!(error, CommandError::TooMuch { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let error = run(&["/nonexistent/x".to_owned()], &[], LONG)
            .await
            .expect_err("not there");
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
        assert!(run(&[], &[], LONG).await.is_err());
    }

    /// Its background child has the pipe too, and would keep it open for ten minutes.
    #[tokio::test]
    async fn a_daemon_left_behind_does_not_keep_us() {
        let dir = tempfile::tempdir().expect("a directory");
        let note = dir.path().join("pid");
        let line = format!("sleep 600 & echo $! > {}; echo done", note.display());
        let ran = sh(&line, LONG).await.expect("it ran");
        assert_eq!(ran.stdout, b"done\n");
        let left = std::fs::read_to_string(&note).expect("written");
        let left = Pid::from_raw(left.trim().parse().expect("a pid"));
        nix::sys::signal::kill(left, Signal::SIGKILL).expect("our own process");
    }

    #[tokio::test]
    async fn at_its_limit_its_whole_group_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("alive");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        // A pipe that a grandchild holds open is at its end when that is gone, and not before.
        let line = format!("(exec 3> {}; sleep 600) & wait", fifo.display());
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::read(fifo)
        });
        let error = sh(&line, Duration::from_secs(2))
            .await
            .expect_err("too long");
        assert!(matches!(error, CommandError::TooLong { .. }), "{error}");
        // Should it have been killed before it had opened the pipe, the reader still waits.
        let _ = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo);
        let read = reader.join().expect("no panic").expect("a pipe");
        assert_eq!(read, b"");
    }
}
