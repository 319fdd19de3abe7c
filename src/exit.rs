//! Exit statuses are a type, so that each has one meaning.

use std::fmt;
use std::process::ExitCode;

/// The exit status of every command of `clockout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It did what it was asked; `run`: the machine retired as planned.
    Success,
    /// Anything that has no status of its own.
    Failure,
    /// Bad usage or configuration: nothing was done.
    Usage,
    /// The agent cannot be executed.
    CannotExecute,
    /// The agent does not exist.
    NotFound,
    /// Another process's own status, passed through (128 + n for a signal).
    PassedThrough(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(match status {
            Status::Success => 0,
            Status::Failure => 1,
            Status::Usage => 2,
            Status::CannotExecute => 126,
            Status::NotFound => 127,
            Status::PassedThrough(code) => code,
        })
    }
}

/// What a person gave us cannot be used; the text says what and how to mend it.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
