//! Where demand is read. One file of `sources/` a CI system, each a [`Spec`] and a [`Source`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::http::Http;
use super::plan::{Harvest, Hints, Queue};

/// A future of one thread.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The keys of a `source = { kind = "...", ... }` table: one queue of one server.
pub trait Spec {
    /// What a person wrote, checked before anything starts: one line that names the key and the
    /// fix.
    fn check(&self) -> Result<(), String>;

    /// For a discovered group: the queue is what its tag says.
    fn fill(&mut self, tag: &str);

    /// Which server, with which credentials and filters. Groups with the same text share a
    /// [`Source`]. Shown in logs and on the status page: where a token comes from, never the
    /// token.
    fn server(&self) -> String;

    /// The queue in its canonical text, the key of [`Harvest::demands`].
    fn queue(&self) -> Queue;

    /// Does nothing yet. Reads the environment only for what is not in the file.
    fn open(&self, http: &Http) -> Box<dyn Source>;
}

/// A CI server that is asked again and again.
pub trait Source {
    /// Whether one round tells of all queues at once, however many are asked for.
    fn bulk(&self) -> bool;

    /// The demand of these queues, now. What could not be read is an error, never zero: of one
    /// queue within the harvest, of all of them as a [`SourceError`].
    ///
    /// Ends within the time limit of [`Http`], and is not called again before it ended. May be
    /// dropped at any point.
    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>>;
}

/// Why nothing is known of a source's queues. Never has a secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No name, no connection, no answer in time, or a broken one.
    #[error("{0}")]
    Unreachable(String),
    /// 401, 403, or no token to be had: says which, and where the token was looked for.
    #[error("{0}")]
    Denied(String),
    /// 429, or a refusal because a rate limit is used up. How long it asks to wait.
    #[error("asked too often{}", after(.0))]
    Limited(Option<Duration>),
    /// 404 and 410: nothing is there, or the token may not see it.
    #[error("{0}")]
    Missing(String),
    /// Any other status: with the first words of the answer.
    #[error("{0}")]
    Status(String),
    /// As [`SourceError::Status`], of a server that says when to come again.
    #[error("{0}")]
    Busy(String, Duration),
    /// The answer is not what was expected: says what, and where in it.
    #[error("{0}")]
    Unreadable(String),
}

impl SourceError {
    /// When to ask again, as far as the server said so.
    pub fn hints(&self) -> Hints {
        let not_before = match self {
            SourceError::Limited(wait) => *wait,
            SourceError::Busy(_, wait) => Some(*wait),
            _ => None,
        };
        Hints {
            not_before,
            every: None,
        }
    }
}

fn after(wait: &Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| {
        format!("; it asks to wait {} s", wait.as_secs())
    })
}
