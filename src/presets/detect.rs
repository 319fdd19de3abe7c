//! What a preset says of how jobs are seen.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::bytes::Regex;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::page::{Headers, Page};
use super::pattern::{Pattern, at_least_one, one_or_many, regex_or_none};
use super::source::Setting;
use super::template::Template;
use super::time::{duration, duration_or_none};
use crate::agent::Stream;
use crate::lifecycle::Outcome;

/// Ways to see jobs. Busy is what any of them sees; idle needs all to agree.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    #[serde(default, deserialize_with = "one_or_many")]
    pub log: Vec<LogDetector>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub http: Vec<HttpDetector>,
    pub child: Option<ChildDetector>,
    pub process_env: Option<EnvDetector>,
    /// `clockout job` is always listened to; this says whether it counts.
    #[serde(default)]
    pub hook: HookDetector,
}

/// Where the agent writes a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// Not said.
    Any,
    Stream(Stream),
    /// A file that it appends to.
    File(Template),
}

impl On {
    pub(super) fn new(stream: Option<Stream>, file: Option<Template>) -> Result<On, &'static str> {
        match (stream, file) {
            (None, None) => Ok(On::Any),
            (Some(stream), None) => Ok(On::Stream(stream)),
            (None, Some(file)) => Ok(On::File(file)),
            (Some(_), Some(_)) => Err("give a 'stream' or a 'file', not both"),
        }
    }
}

/// Lines of the agent's own output that say that a job began or ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawLog")]
pub struct LogDetector {
    /// [`On::Any`] is both streams.
    pub on: On,
    pub start: Vec<Pattern>,
    /// May be empty where a page of the agent's ends jobs (`ends_jobs`).
    pub finish: Vec<Pattern>,
    /// Lines before the last that say how the job will end.
    pub outcome: Vec<Pattern>,
    /// The agent's words for outcomes.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Its starts count towards max-jobs, and its ends are believed.
    pub counts: bool,
    /// It shows steps of jobs: a job is over when nothing of it was seen for so long.
    pub linger: Option<Duration>,
    /// It shows steps of jobs that others count: all are over when no step was seen for so long.
    pub ends_jobs: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    stream: Option<Stream>,
    file: Option<Template>,
    #[serde(deserialize_with = "at_least_one")]
    start: Vec<Pattern>,
    #[serde(default, deserialize_with = "one_or_many")]
    finish: Vec<Pattern>,
    #[serde(default, deserialize_with = "one_or_many")]
    outcome: Vec<Pattern>,
    #[serde(default)]
    outcomes: BTreeMap<String, Outcome>,
    counts: Option<bool>,
    #[serde(default, deserialize_with = "duration_or_none")]
    linger: Option<Duration>,
    #[serde(default)]
    ends_jobs: bool,
}

impl TryFrom<RawLog> for LogDetector {
    type Error = &'static str;

    fn try_from(raw: RawLog) -> Result<Self, Self::Error> {
        if raw.ends_jobs && raw.counts == Some(true) {
            return Err("'ends_jobs' is for jobs that others count: it needs counts = false");
        }
        if raw.ends_jobs && raw.linger.is_none() {
            return Err("'ends_jobs' needs 'linger': without a step for so long no job runs");
        }
        let (linger, ends_jobs) = match raw.ends_jobs {
            true => (None, raw.linger),
            false => (raw.linger, None),
        };
        Ok(LogDetector {
            on: On::new(raw.stream, raw.file)?,
            start: raw.start,
            finish: raw.finish,
            outcome: raw.outcome,
            outcomes: raw.outcomes,
            counts: raw.counts.unwrap_or(!raw.ends_jobs),
            linger,
            ends_jobs,
        })
    }
}

/// The agent's own page of what it does, on this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawHttp")]
pub struct HttpDetector {
    /// Where the agent listens; a detector whose address nothing tells is left out.
    pub address: Setting<Template>,
    pub path: String,
    pub accept_status: Vec<u16>,
    pub headers: Headers,
    /// Who asks; left out when nothing tells.
    pub auth: Option<Auth>,
    /// How the page says how many jobs run.
    pub running: Page,
    /// Older agents have no such page: a 404 before the first good answer means so.
    pub optional: bool,
    pub counts: bool,
    /// Jobs that two answers in a row do not show have ended.
    pub ends_jobs: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    address: Setting<Template>,
    path: String,
    #[serde(default = "status_200")]
    accept_status: Vec<u16>,
    #[serde(default)]
    headers: Headers,
    basic_auth: Option<[Template; 2]>,
    bearer: Option<Template>,
    running: Page,
    #[serde(default)]
    optional: bool,
    counts: Option<bool>,
    #[serde(default)]
    ends_jobs: bool,
}

impl TryFrom<RawHttp> for HttpDetector {
    type Error = &'static str;

    fn try_from(raw: RawHttp) -> Result<Self, Self::Error> {
        if raw.ends_jobs && raw.counts == Some(true) {
            return Err("'ends_jobs' is for jobs that others count: it needs counts = false");
        }
        Ok(HttpDetector {
            address: raw.address,
            path: raw.path,
            accept_status: raw.accept_status,
            headers: raw.headers,
            auth: Auth::new(raw.basic_auth, raw.bearer)?,
            running: raw.running,
            optional: raw.optional,
            counts: raw.counts.unwrap_or(!raw.ends_jobs),
            ends_jobs: raw.ends_jobs,
        })
    }
}

/// Who asks a page or calls a server.
#[derive(Debug, Clone)]
pub enum Auth {
    Basic { user: Template, password: Template },
    Bearer(Template),
}

impl Auth {
    pub(super) fn new(
        basic: Option<[Template; 2]>,
        bearer: Option<Template>,
    ) -> Result<Option<Auth>, &'static str> {
        match (basic, bearer) {
            (None, None) => Ok(None),
            (Some([user, password]), None) => Ok(Some(Auth::Basic { user, password })),
            (None, Some(token)) => Ok(Some(Auth::Bearer(token))),
            (Some(_), Some(_)) => Err("give 'basic_auth' or 'bearer', not both"),
        }
    }
}

/// Processes that the agent started after it was ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildDetector {
    /// Only those with this name (the kernel keeps its first 15 bytes).
    #[serde(default, deserialize_with = "regex_or_none")]
    pub comm: Option<Regex>,
    /// Only those with these arguments, program included, joined by blanks.
    #[serde(default, deserialize_with = "regex_or_none")]
    pub exe: Option<Regex>,
    /// What starts this soon after the agent is its own: a script's agent, a helper.
    #[serde(default, deserialize_with = "duration")]
    pub settle: Duration,
    #[serde(default)]
    pub counts: bool,
}

/// Processes of the agent, wherever they are now, that have this variable in their environment;
/// each value of it is a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvDetector {
    #[serde(deserialize_with = "not_empty")]
    pub name: String,
    #[serde(default = "yes")]
    pub counts: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookDetector {
    #[serde(default)]
    pub counts: bool,
}

fn not_empty<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    match String::deserialize(input)? {
        name if name.is_empty() || name.contains('=') => {
            Err(Error::custom(format!("'{name}' is no variable's name")))
        }
        name => Ok(name),
    }
}

fn yes() -> bool {
    true
}

fn status_200() -> Vec<u16> {
    vec![200]
}
