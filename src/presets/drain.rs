//! How an agent is told to stop, in a preset file: first taking jobs, then running them.

use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use regex::bytes::Regex;
use reqwest::Method as HttpMethod;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::detect::Auth;
use super::pattern::{Pattern, at_least_one, one_or_many, regex_or_none};
use super::source::Setting;
use super::template::{Template, Word};
use super::view::View;
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

/// How the CI server is told to give this agent no more jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCordon")]
pub enum Cordon {
    /// Success is exit status 0.
    Command(Vec<Template>),
    /// Success is a 2xx answer.
    Http(Box<HttpCall>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCordon {
    command: Option<Vec<Word>>,
    http: Option<HttpCall>,
}

impl TryFrom<RawCordon> for Cordon {
    type Error = &'static str;

    fn try_from(raw: RawCordon) -> Result<Self, Self::Error> {
        match (raw.command, raw.http) {
            (Some(words), None) => command(words).map(Cordon::Command),
            (None, Some(call)) => Ok(Cordon::Http(Box::new(call))),
            _ => Err("give a 'command' or 'http'"),
        }
    }
}

/// A call to the CI server.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCall")]
pub struct HttpCall {
    pub method: HttpMethod,
    pub url: Template,
    pub auth: Option<Auth>,
    pub json: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCall {
    method: String,
    url: Template,
    basic_auth: Option<[Template; 2]>,
    bearer: Option<Template>,
    json: Option<serde_json::Value>,
}

impl TryFrom<RawCall> for HttpCall {
    type Error = String;

    fn try_from(raw: RawCall) -> Result<Self, Self::Error> {
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        if !known.contains(&raw.method.as_str()) {
            let hint = toml_error::hint(&raw.method.to_ascii_uppercase(), &known);
            return Err(format!("unknown method '{}'{hint}", raw.method));
        }
        Ok(HttpCall {
            method: HttpMethod::from_bytes(raw.method.as_bytes()).map_err(|e| e.to_string())?,
            url: raw.url,
            auth: Auth::new(raw.basic_auth, raw.bearer)?,
            json: raw.json,
        })
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

/// How running jobs are ended, and how long that may take until the agent is killed.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawCancel")]
pub struct Cancel {
    pub step: Step,
    /// As in [`Drain::process`].
    pub process: Option<Regex>,
    allow: Allow,
}

impl Cancel {
    /// How long this agent may take.
    pub fn allow(&self, view: &View) -> Duration {
        match &self.allow {
            Allow::Fixed(time) => *time,
            Allow::Told { setting, plus } => {
                let told = setting.time(view).unwrap_or_default();
                let time = told.saturating_add(plus.map_or(Duration::ZERO, |time| time.0));
                if time.is_zero() { TEN_SECONDS } else { time }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Allow {
    Fixed(Duration),
    Told {
        setting: Setting<Time>,
        plus: Option<Time>,
    },
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        use serde::de::value::{MapAccessDeserializer, StrDeserializer};
        struct Form;
        impl<'de> serde::de::Visitor<'de> for Form {
            type Value = Allow;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration like \"10s\", or a table with 'from' and 'default'")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Allow, E> {
                duration(StrDeserializer::new(text)).map(Allow::Fixed)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Allow, A::Error> {
                let told = Told::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Allow::Told {
                    setting: Setting {
                        from: told.from,
                        default: Some(told.default),
                    },
                    plus: told.plus,
                })
            }
        }
        input.deserialize_any(Form)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    from: Vec<super::source::Source>,
    default: Time,
    plus: Option<Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCancel {
    signal: Option<SignalName>,
    command: Option<Vec<Word>>,
    #[serde(default, deserialize_with = "regex_or_none")]
    process: Option<Regex>,
    allow: Option<Allow>,
}

const TEN_SECONDS: Duration = Duration::from_secs(10);

impl TryFrom<RawCancel> for Cancel {
    type Error = &'static str;

    fn try_from(raw: RawCancel) -> Result<Self, Self::Error> {
        Ok(Cancel {
            step: step(raw.signal, raw.command)?.ok_or("give a 'signal' or a 'command'")?,
            process: raw.process,
            allow: raw.allow.unwrap_or(Allow::Fixed(TEN_SECONDS)),
        })
    }
}

fn step(
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

fn command(words: Vec<Word>) -> Result<Vec<Template>, &'static str> {
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

/// A positive duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        duration(input).map(Time)
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

pub(super) fn duration_or_none<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Duration>, D::Error> {
    duration(input).map(Some)
}
