//! How an agent is told to stop taking jobs, in a preset file.

use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use regex::bytes::Regex;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::cordon::Cordon;
use super::pattern::{Pattern, at_least_one, one_or_many, regex_or_none};
use super::template::{Template, Word};
use super::time::duration;
use crate::lifecycle::{self, DrainMethod};
use crate::toml_error;

/// How the agent stops taking jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawDrain")]
pub struct Drain {
    pub method: DrainMethod,
    pub step: Step,
    /// A signal goes to the agent's descendant of this name, if there is one, else to the agent.
    pub process: Option<Regex>,
    /// Idle agents are drained in such a moment.
    pub window: Option<Window>,
    /// Without one of these lines from the agent, it is drained [`Drain::otherwise`].
    pub needs_line: Vec<Pattern>,
    pub otherwise: Option<Otherwise>,
    /// Keeps new jobs away from an agent that waits to be idle.
    pub cordon: Option<Cordon>,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            method: DrainMethod::Signal,
            step: Step::Signal(Signal::SIGINT),
            process: None,
            window: None,
            needs_line: Vec::new(),
            otherwise: None,
            cordon: None,
        }
    }
}

/// What is done to the agent's main process, never to its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Signal(Signal),
    /// A program and its arguments.
    Command(Vec<Template>),
}

/// The drain of an agent process of which a line was not seen.
#[derive(Debug, Clone)]
pub struct Otherwise {
    pub method: DrainMethod,
    pub step: Step,
}

/// A moment in which an idle agent certainly takes no job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Lines with which it begins.
    #[serde(deserialize_with = "at_least_one")]
    pub line: Vec<Pattern>,
    #[serde(deserialize_with = "duration")]
    lasts: Duration,
    #[serde(deserialize_with = "duration")]
    patience: Duration,
}

impl Window {
    pub fn times(&self) -> lifecycle::Window {
        lifecycle::Window {
            lasts: self.lasts,
            patience: self.patience,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDrain {
    method: Option<Method>,
    signal: Option<SignalName>,
    command: Option<Vec<Word>>,
    #[serde(default, deserialize_with = "regex_or_none")]
    process: Option<Regex>,
    window: Option<Window>,
    #[serde(default, deserialize_with = "one_or_many")]
    needs_line: Vec<Pattern>,
    otherwise: Option<RawOtherwise>,
    cordon: Option<Cordon>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOtherwise {
    method: Option<Method>,
    signal: Option<SignalName>,
    command: Option<Vec<Word>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// It finishes its jobs after the signal, and exits.
    Signal,
    /// The same, after a command.
    Command,
    /// The signal or command would cancel a job: it is sent when none runs.
    WaitIdle,
    /// It exits by itself after one job; `exit_ok` ends are that job's.
    SingleJob,
}

impl TryFrom<RawDrain> for Drain {
    type Error = &'static str;

    fn try_from(raw: RawDrain) -> Result<Self, Self::Error> {
        let (method, step) = how(raw.method, raw.signal, raw.command)?;
        if method == DrainMethod::Signal {
            if raw.window.is_some() {
                return Err("'window' belongs to method 'wait-idle'");
            }
            if raw.cordon.is_some() {
                return Err("'cordon' belongs to method 'wait-idle'");
            }
        }
        if raw.needs_line.is_empty() != raw.otherwise.is_none() {
            return Err("'needs_line' and [drain.otherwise] belong together");
        }
        let otherwise = match raw.otherwise {
            Some(raw) => {
                let (method, step) = how(raw.method, raw.signal, raw.command)?;
                Some(Otherwise { method, step })
            }
            None => None,
        };
        Ok(Drain {
            method,
            step,
            process: raw.process,
            window: raw.window,
            needs_line: raw.needs_line,
            otherwise,
            cordon: raw.cordon,
        })
    }
}

fn how(
    method: Option<Method>,
    signal: Option<SignalName>,
    command: Option<Vec<Word>>,
) -> Result<(DrainMethod, Step), &'static str> {
    if method == Some(Method::Signal) && command.is_some() {
        return Err("method 'signal' has a 'signal', no 'command'");
    }
    let step = match step(signal, command)? {
        Some(Step::Signal(_)) | None if method == Some(Method::Command) => {
            return Err("method 'command' needs a 'command', and no 'signal'");
        }
        Some(step) => step,
        None => Drain::default().step,
    };
    let method = match method {
        None | Some(Method::Signal | Method::Command) => DrainMethod::Signal,
        Some(Method::WaitIdle) => DrainMethod::WaitIdle,
        Some(Method::SingleJob) => DrainMethod::SingleJob,
    };
    Ok((method, step))
}

pub(super) fn step(
    signal: Option<SignalName>,
    words: Option<Vec<Word>>,
) -> Result<Option<Step>, &'static str> {
    match (signal, words) {
        (Some(_), Some(_)) => Err("give a 'signal' or a 'command', not both"),
        (Some(SignalName(signal)), None) => Ok(Some(Step::Signal(signal))),
        (None, Some(words)) => command(words).map(Step::Command).map(Some),
        (None, None) => Ok(None),
    }
}

pub(super) fn command(words: Vec<Word>) -> Result<Vec<Template>, &'static str> {
    let words: Vec<_> = words.into_iter().map(|Word(template)| template).collect();
    if words
        .first()
        .is_none_or(|program| program.as_str().is_empty())
    {
        return Err("'command' is empty: give a program and its arguments");
    }
    Ok(words)
}

/// A signal by its name, with or without `SIG`.
pub(super) struct SignalName(Signal);

impl<'de> Deserialize<'de> for SignalName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let short = text.strip_prefix("SIG").unwrap_or(&text);
        Signal::from_str(&format!("SIG{short}"))
            .map(SignalName)
            .map_err(|_| {
                let known: Vec<_> = Signal::iterator().map(|s| &s.as_str()[3..]).collect();
                Error::custom(format!(
                    "unknown signal '{text}'{}",
                    toml_error::hint(short, &known)
                ))
            })
    }
}
