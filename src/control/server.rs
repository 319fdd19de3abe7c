//! The supervisor's side: who connects, what they may ask, and what is cut off.
//!
//! Rights, by the kernel's word (`SO_PEERCRED`): root and clockout's own user may do all; the
//! agent's user may report jobs and ask the status; anyone else is hung up on. Without `--user`
//! the agent is clockout's own user, so its jobs may do all.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::warn;

use super::connection::{self, Fault};
use super::socket::{self, BindError, SocketFile};
use super::{Request, Response, StatusReport};

/// Connections at a time. The agent's user gets half, so that a job cannot lock others out.
const MOST_CONNECTIONS: usize = 64;
const MOST_OF_AGENT: usize = 32;
/// Requests that wait for the supervisor; more wait at their connections.
const BACKLOG: usize = 16;
/// After a failed accept: there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// What must be without complaint until the next is worth a line.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// What the last answers get to be written.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Listens on the control socket. Everything happens while [`Server::next`] is awaited.
pub struct Server {
    file: SocketFile,
    listener: UnixListener,
    agent_uid: Option<u32>,
    own_uid: u32,
    connections: JoinSet<(Peer, Rights, Result<(), Fault>)>,
    of_agent: usize,
    sender: mpsc::Sender<Incoming>,
    requests: mpsc::Receiver<Incoming>,
    accept_after: Option<Instant>,
    complaints: Complaints,
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Incoming {
    pub peer: Peer,
    pub request: Request,
    pub reply: Reply,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// 0 when the kernel does not tell (another PID namespace).
    pub pid: i32,
    pub uid: u32,
}

/// Answers one request; may be kept. Dropped without an answer, it says that the supervisor has
/// ended.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Response>);

impl Reply {
    pub fn ok(self) {
        self.send(Response::Done);
    }

    pub fn status(self, status: StatusReport) {
        self.send(Response::Status(Box::new(status)));
    }

    fn send(self, response: Response) {
        // Who asked may be gone.
        let _ = self.0.send(response);
    }

    pub(super) fn channel() -> (Reply, oneshot::Receiver<Response>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(sender), receiver)
    }
}

/// What a peer may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    All,
    /// Report jobs, ask the status.
    Jobs,
}

impl Rights {
    fn of(uid: u32, own: u32, agent: Option<u32>) -> Option<Rights> {
        match uid {
            0 => Some(Rights::All),
            _ if uid == own => Some(Rights::All),
            _ if Some(uid) == agent => Some(Rights::Jobs),
            _ => None,
        }
    }

    pub(super) fn allow(self, request: &Request) -> bool {
        self == Rights::All || !matches!(request, Request::Drain { .. })
    }
}

impl Server {
    /// Makes the socket. `agent_uid` is the agent's user where it has one of its own. Must be
    /// called within a tokio runtime.
    pub fn bind(path: &Path, agent_uid: Option<u32>) -> Result<Server, BindError> {
        let (file, listener) = socket::bind(path)?;
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| UnixListener::from_std(listener))
            .map_err(|error| BindError::Io {
                path: path.to_owned(),
                error,
            })?;
        let (sender, requests) = mpsc::channel(BACKLOG);
        Ok(Server {
            file,
            listener,
            agent_uid,
            own_uid: nix::unistd::geteuid().as_raw(),
            connections: JoinSet::new(),
            of_agent: 0,
            sender,
            requests,
            accept_after: None,
            complaints: Complaints::default(),
        })
    }

    /// The next request; never `None`. Nothing is lost when it is cancelled.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            tokio::select! {
                incoming = self.requests.recv() => return incoming,
                Some(ended) = self.connections.join_next() => self.ended(ended),
                accepted = self.listener.accept(), if self.accept_after.is_none() => {
                    match accepted {
                        Ok((stream, _)) => self.accepted(stream),
                        Err(error) => self.accept_failed(&error),
                    }
                }
                () = until(self.accept_after) => self.accept_after = None,
            }
        }
    }

    /// Removes the socket and lets the answers that were given be written. Requests still
    /// waiting are told that the supervisor has ended.
    pub async fn close(self) {
        let Server {
            file,
            listener,
            mut connections,
            requests,
            sender,
            ..
        } = self;
        drop((file, listener, requests, sender));
        let written = async { while connections.join_next().await.is_some() {} };
        // Who does not read its answer goes without.
        let _ = tokio::time::timeout(LAST_ANSWERS, written).await;
    }

    fn accepted(&mut self, stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else {
            return;
        };
        let uid = credentials.uid();
        let peer = Peer {
            pid: credentials.pid().unwrap_or(0),
            uid,
        };
        let Some(rights) = Rights::of(uid, self.own_uid, self.agent_uid) else {
            return self
                .complaints
                .add(peer, &"nobody who may talk to clockout");
        };
        let full = self.connections.len() >= MOST_CONNECTIONS
            || (rights == Rights::Jobs && self.of_agent >= MOST_OF_AGENT);
        if full {
            return self.complaints.add(peer, &"too many connections");
        }
        self.of_agent += usize::from(rights == Rights::Jobs);
        let sender = self.sender.clone();
        self.connections.spawn(async move {
            let result = connection::serve(stream, peer, rights, sender).await;
            (peer, rights, result)
        });
    }

    fn ended(&mut self, ended: Result<(Peer, Rights, Result<(), Fault>), JoinError>) {
        match ended {
            Ok((peer, rights, result)) => {
                self.of_agent -= usize::from(rights == Rights::Jobs);
                if let Err(fault) = result {
                    self.complaints.add(peer, &fault);
                }
            }
            // Cannot happen: a panic ends the program, and connections end only by themselves.
            Err(error) => warn!(%error, "control.failed"),
        }
    }

    fn accept_failed(&mut self, error: &io::Error) {
        self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
        self.complaints.add(
            Peer {
                pid: 0,
                uid: self.own_uid,
            },
            error,
        );
    }
}

/// One log line for as long as bad connections keep coming, however many they are.
#[derive(Default)]
struct Complaints {
    quiet_until: Option<Instant>,
    suppressed: u64,
}

impl Complaints {
    fn add(&mut self, peer: Peer, what: &dyn std::fmt::Display) {
        let now = Instant::now();
        let quiet = self.quiet_until.is_some_and(|until| now < until);
        // Each one prolongs the episode, so a steady stream is a single line.
        self.quiet_until = Some(now + LOG_PAUSE);
        if quiet {
            self.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut self.suppressed);
        warn!(pid = peer.pid, uid = peer.uid, error = %what, suppressed, "control.refused");
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
