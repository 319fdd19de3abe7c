//! How an agent is told to stop, in a preset file: first taking jobs, then running them.

use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::lifecycle::DrainMethod;
use crate::toml_error;

/// How the agent stops taking jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawDrain")]
pub struct Drain {
    pub method: DrainMethod,
    pub step: Step,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            method: DrainMethod::Signal,
            step: Step::Signal(Signal::SIGINT),
        }
    }
}

/// What is done to the agent's main process, never to its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Signal(Signal),
    /// A program and its arguments.
    Command(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDrain {
    method: Option<Method>,
    signal: Option<SignalName>,
    command: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
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
        let wants_command = matches!(raw.method, Some(Method::Command));
        let method = match raw.method {
            None | Some(Method::Signal | Method::Command) => DrainMethod::Signal,
            Some(Method::WaitIdle) => DrainMethod::WaitIdle,
            Some(Method::SingleJob) => DrainMethod::SingleJob,
        };
        if matches!(raw.method, Some(Method::Signal)) && raw.command.is_some() {
            return Err("method 'signal' has a 'signal', no 'command'");
        }
        let step = match step(raw.signal, raw.command)? {
            Some(Step::Signal(_)) | None if wants_command => {
                return Err("method 'command' needs a 'command', and no 'signal'");
            }
            Some(step) => step,
            None => Drain::default().step,
        };
        Ok(Drain { method, step })
    }
}

/// How running jobs are ended, and how long that may take until the agent is killed.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCancel")]
pub struct Cancel {
    pub step: Step,
    pub allow: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCancel {
    signal: Option<SignalName>,
    command: Option<Vec<String>>,
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    allow: Duration,
}

impl TryFrom<RawCancel> for Cancel {
    type Error = &'static str;

    fn try_from(raw: RawCancel) -> Result<Self, Self::Error> {
        let step = step(raw.signal, raw.command)?.ok_or("give a 'signal' or a 'command'")?;
        Ok(Cancel {
            step,
            allow: raw.allow,
        })
    }
}

fn step(
    signal: Option<SignalName>,
    command: Option<Vec<String>>,
) -> Result<Option<Step>, &'static str> {
    match (signal, command) {
        (Some(_), Some(_)) => Err("give a 'signal' or a 'command', not both"),
        (Some(SignalName(signal)), None) => Ok(Some(Step::Signal(signal))),
        (None, Some(words)) if words.first().is_none_or(String::is_empty) => {
            Err("'command' is empty: give a program and its arguments")
        }
        (None, Some(words)) => Ok(Some(Step::Command(words))),
        (None, None) => Ok(None),
    }
}

/// A signal by its name, with or without `SIG`.
struct SignalName(Signal);

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

pub(super) fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    match humantime::parse_duration(&text) {
        Ok(time) if time.is_zero() => Err(Error::custom("zero is refused: write how long")),
        Ok(time) => Ok(time),
        Err(_) => Err(Error::custom(format!(
            "'{text}' is no duration: write it with its units, like 90s, 10m or 1h30m"
        ))),
    }
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
