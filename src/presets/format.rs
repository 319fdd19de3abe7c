//! The preset file's format: what its keys are, and what each may say.
//!
//! Every rule is checked while the file is read, so that each error has its line
//! ([`crate::toml_error`]); what is in these types is valid.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::Regex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::drain::duration;
use super::drain::{Cancel, Drain};
use super::find::Setting;
use super::pattern::{Pattern, Pointer, compile, one_or_many};
pub use crate::agent::Stream;
use crate::lifecycle::Outcome;

/// How one kind of agent shows its jobs and can be drained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    #[serde(skip)]
    pub origin: Origin,
    /// The file's text.
    #[serde(skip)]
    pub text: String,
    /// One line for `preset list`.
    #[serde(default)]
    pub summary: String,
    /// Base names of programs for which this preset is chosen.
    #[serde(default)]
    match_program: Vec<ProgramName>,
    /// Forced on the agent.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Jobs that one agent process runs at a time.
    #[serde(default = "Setting::one")]
    pub slots: Setting<Slots>,
    /// Lines that say that the agent takes jobs; without any it does once started.
    #[serde(default, deserialize_with = "one_or_many")]
    pub ready: Vec<Ready>,
    #[serde(default)]
    pub detect: Detect,
    #[serde(default)]
    pub drain: Drain,
    /// What ends running jobs so that their CI server hears of it; without it they are killed.
    pub cancel: Option<Cancel>,
    /// Exit statuses besides 0 of an agent that ended as planned.
    #[serde(default)]
    pub exit_ok: Vec<i32>,
    #[serde(default)]
    pub notes: Notes,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    #[default]
    BuiltIn,
    File(PathBuf),
}

/// A positive number of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Slots(pub u32);

impl TryFrom<u32> for Slots {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number == 0 {
            Err("an agent runs at least 1 job")
        } else {
            Ok(Slots(number))
        }
    }
}

impl Setting<Slots> {
    fn one() -> Self {
        Setting {
            from: Vec::new(),
            default: Some(Slots(1)),
        }
    }
}

/// A line of the agent's that says it is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Without it, both streams are read.
    pub stream: Option<Stream>,
    pub line: Pattern,
}

/// Ways to see jobs. Busy is what any of them sees; idle needs all to agree.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    #[serde(default, deserialize_with = "one_or_many")]
    pub log: Vec<LogDetector>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub http: Vec<HttpDetector>,
    pub child: Option<ChildDetector>,
    /// `clockout job` is always listened to; this says whether it counts.
    #[serde(default)]
    pub hook: HookDetector,
}

/// Lines of the agent's own output that say that a job began or ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogDetector {
    /// Without it, both streams are read.
    pub stream: Option<Stream>,
    #[serde(deserialize_with = "at_least_one")]
    pub start: Vec<Pattern>,
    #[serde(deserialize_with = "at_least_one")]
    pub finish: Vec<Pattern>,
    /// Lines before the last that say how the job will end.
    #[serde(default, deserialize_with = "one_or_many")]
    pub outcome: Vec<Pattern>,
    /// The agent's words for outcomes.
    #[serde(default)]
    pub outcomes: BTreeMap<String, Outcome>,
    /// Its starts count towards max-jobs, and its ends are believed.
    #[serde(default = "yes")]
    pub counts: bool,
}

/// The agent's own page of what it does, on this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpDetector {
    /// Where the agent listens; a detector whose address nothing tells is left out.
    pub address: Setting<String>,
    pub path: String,
    #[serde(default = "status_200")]
    pub accept_status: Vec<u16>,
    #[serde(default)]
    pub headers: Headers,
    /// How the page says how many jobs run.
    pub running: Page,
    /// Older agents have no such page: a 404 before the first good answer means so.
    #[serde(default)]
    pub optional: bool,
    #[serde(default = "yes")]
    pub counts: bool,
}

/// What is sent with each question.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Headers(pub HeaderMap);

impl TryFrom<BTreeMap<String, String>> for Headers {
    type Error = String;

    fn try_from(raw: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in raw {
            // The value may be a secret: it is not shown.
            let wrong = || format!("header '{name}' cannot be sent");
            let value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?,
                value,
            );
        }
        Ok(Headers(headers))
    }
}

/// Where a page says how many jobs run: exactly one way.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawPage")]
pub enum Page {
    /// A number in JSON.
    Number(Pointer),
    /// The entries of a JSON array that are jobs: those in which each of these has one of its
    /// values.
    Array {
        array: Pointer,
        only: BTreeMap<Pointer, Vec<String>>,
    },
    /// Each key of a JSON object is a job.
    Keys(Pointer),
    /// Prometheus text: the sum of all series of this name.
    Gauge(String),
    /// Prometheus text: the first counter's sum less the second's.
    Counters { started: String, ended: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    number: Option<Pointer>,
    array: Option<Pointer>,
    #[serde(rename = "where")]
    only: Option<BTreeMap<Pointer, Values>>,
    keys: Option<Pointer>,
    gauge: Option<String>,
    started: Option<String>,
    ended: Option<String>,
}

impl TryFrom<RawPage> for Page {
    type Error = &'static str;

    fn try_from(raw: RawPage) -> Result<Self, Self::Error> {
        let only = raw.only;
        match (
            raw.number,
            raw.array,
            raw.keys,
            raw.gauge,
            raw.started,
            raw.ended,
        ) {
            (None, Some(array), None, None, None, None) => {
                let only = only.unwrap_or_default();
                let only = only
                    .into_iter()
                    .map(|(at, values)| (at, values.0))
                    .collect();
                Ok(Page::Array { array, only })
            }
            _ if only.is_some() => Err("'where' belongs to 'array'"),
            (Some(at), None, None, None, None, None) => Ok(Page::Number(at)),
            (None, None, Some(at), None, None, None) => Ok(Page::Keys(at)),
            (None, None, None, Some(metric), None, None) => Ok(Page::Gauge(metric)),
            (None, None, None, None, Some(started), Some(ended)) => {
                Ok(Page::Counters { started, ended })
            }
            _ => Err("give exactly one of 'number', 'array', 'keys', 'gauge', \
                      or 'started' with 'ended'"),
        }
    }
}

struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        one_or_many(input).map(Values)
    }
}

/// Processes that the agent started after it was ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildDetector {
    /// Only those with this name (the kernel keeps its first 15 bytes); without it, any.
    #[serde(default, deserialize_with = "regex_or_none")]
    pub comm: Option<Regex>,
    /// What starts this soon after the agent is its own: a script's agent, a helper.
    #[serde(default, deserialize_with = "duration")]
    pub settle: Duration,
    #[serde(default)]
    pub counts: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookDetector {
    #[serde(default)]
    pub counts: bool,
}

/// What a person should know.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// What can go wrong where draining is only ever a race with the next job.
    pub race: Option<String>,
}

/// A program's base name, as a regex over all of it.
#[derive(Debug, Clone)]
struct ProgramName(Regex);

impl<'de> Deserialize<'de> for ProgramName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        // Compiled alone first: the error then shows what the file says.
        compile(&text).map_err(Error::custom)?;
        compile(&format!("^(?:{text})$"))
            .map(ProgramName)
            .map_err(Error::custom)
    }
}

impl Preset {
    /// Whether it is chosen for a program of this base name.
    pub fn matches(&self, program: &[u8]) -> bool {
        self.match_program
            .iter()
            .any(|name| name.0.is_match(program))
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Pattern>, D::Error> {
    match one_or_many::<D, Pattern>(input) {
        Ok(none) if none.is_empty() => Err(Error::custom("the list is empty")),
        patterns => patterns,
    }
}

fn regex_or_none<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(input)?;
    compile(&text).map(Some).map_err(Error::custom)
}

fn yes() -> bool {
    true
}

fn status_200() -> Vec<u16> {
    vec![200]
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File(path) => write!(f, "{}", path.display()),
        }
    }
}
