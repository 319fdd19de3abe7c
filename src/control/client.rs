//! The caller's side: blocking and quick, because it runs in hooks of every job.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{self as sys, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use thiserror::Error;

use super::{Request, Response, StatusReport};
use crate::lifecycle::{AgentIndex, Outcome};

/// For an answer that needs no waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// A status of a thousand agents is a tenth of this.
const LONGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("no supervisor listens on {path}", path = path.display())]
    NoSupervisor { path: PathBuf },
    #[error(
        "the supervisor on {path} hung up: only root, its own user and the agent's user get an answer, \
         and it may just have ended", path = path.display()
    )]
    HungUp { path: PathBuf },
    #[error("the supervisor on {path} did not answer within {seconds} s",
        path = path.display(), seconds = after.as_secs())]
    Silent { path: PathBuf, after: Duration },
    #[error("cannot talk to the supervisor on {path}: {error}", path = path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the supervisor refused: {0}")]
    Refused(String),
    #[error("the supervisor's answer is not understood; is it of another version?")]
    NotUnderstood,
}

/// Asks, and waits for the answer: `None` as long as it takes. A refusal is an error.
pub fn call(
    path: &Path,
    request: &Request,
    patience: Option<Duration>,
) -> Result<Response, ClientError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent {
            path: path.to_owned(),
            after: patience.unwrap_or(PATIENCE),
        },
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::HungUp {
            path: path.to_owned(),
        },
        _ => ClientError::Io {
            path: path.to_owned(),
            error,
        },
    };
    let mut stream = connect(path).map_err(|error| match error {
        Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTDIR => ClientError::NoSupervisor {
            path: path.to_owned(),
        },
        error => failed(error.into()),
    })?;
    stream.set_read_timeout(patience).map_err(failed)?;
    let mut line = serde_json::to_vec(request).expect("a request is plain data");
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream.take(LONGEST_ANSWER));
    reader.read_until(b'\n', &mut answer).map_err(failed)?;
    if answer.is_empty() {
        return Err(ClientError::HungUp {
            path: path.to_owned(),
        });
    }
    match serde_json::from_slice(&answer) {
        Ok(Response::Refused(error)) => Err(ClientError::Refused(error)),
        Ok(response) => Ok(response),
        Err(_) => Err(ClientError::NotUnderstood),
    }
}

/// Like [`UnixStream::connect`], but it does not wait for ever when a supervisor that is stuck
/// has a full queue.
fn connect(path: &Path) -> nix::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = sys::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let patience = TimeVal::new(PATIENCE.as_secs() as i64, 0);
    sys::setsockopt(&fd, sockopt::SendTimeout, &patience)?;
    sys::connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)?;
    Ok(UnixStream::from(fd))
}

/// The status of the supervisor.
pub fn status(path: &Path) -> Result<StatusReport, ClientError> {
    match call(path, &Request::Status, Some(PATIENCE))? {
        Response::Status(report) => Ok(*report),
        _ => Err(ClientError::NotUnderstood),
    }
}

/// Asks to drain. With `wait` it returns when no agent is left.
pub fn drain(path: &Path, deadline: Option<Duration>, wait: bool) -> Result<(), ClientError> {
    let patience = (!wait).then_some(PATIENCE);
    call(path, &Request::Drain { deadline, wait }, patience).map(drop)
}

/// Tells the supervisor of jobs.
#[derive(Debug, Clone)]
pub struct Reporter {
    pub socket: PathBuf,
    /// Whose jobs; the agent's environment says it in `CLOCKOUT_INDEX`.
    pub agent: AgentIndex,
    /// Without it a report that nobody takes is a warning: a CI job must not fail by us.
    pub strict: bool,
}

impl Reporter {
    /// For the agent that the environment names.
    pub fn new(socket: PathBuf, strict: bool) -> Reporter {
        let index = std::env::var("CLOCKOUT_INDEX").ok();
        let index = index.and_then(|index| index.parse().ok()).unwrap_or(1);
        Reporter {
            socket,
            agent: AgentIndex(index),
            strict,
        }
    }

    /// A job begins.
    pub fn start(&self, id: Option<String>) -> Result<(), ClientError> {
        self.report(&Request::JobStart {
            id,
            agent: self.agent,
        })
    }

    /// A job has ended; without an id, the oldest that runs.
    pub fn finish(&self, id: Option<String>, outcome: Outcome) -> Result<(), ClientError> {
        self.report(&Request::JobFinish {
            id,
            outcome,
            agent: self.agent,
        })
    }

    fn report(&self, request: &Request) -> Result<(), ClientError> {
        match call(&self.socket, request, Some(PATIENCE)) {
            Ok(_) => Ok(()),
            Err(error) if self.strict => Err(error),
            Err(error) => {
                // Straight to standard error: it is the CI job's log that this line goes to.
                // Nobody may read that, and that is no reason to fail either.
                let _ = writeln!(
                    io::stderr(),
                    "clockout: warning: this job is not counted: {error}"
                );
                Ok(())
            }
        }
    }
}
