//! The preset file's format, and the reference of all its keys.
//!
//! ```toml
//! summary = "one line for `preset list`"
//!
//! # Which agents it is for. All of those given must hold.
//! match_program = ['my-agent']           # base name of the program; a regex over all of it
//! match_args = 'agent\.jar$'             # some argument of it matches, anywhere in it
//! match_beside = 'bin/Agent.Listener'    # this file is there, seen from the program's directory;
//!                                        # of a list, one of them
//! # `docker run ... IMAGE`, also podman's and nerdctl's: the image's name without registry host,
//! # tag and digest; a regex over all of it. It stands for match_program.
//! match_image = ['acme/my-agent']
//!
//! # Strings below may have places in them, filled when the agent is started: {index} (1 to N),
//! # {port} (a free loopback port of each agent process), {clockout} (our own program), {dir} (the
//! # directory of the agent's program), {config} and {config_dir} (its configuration file),
//! # {pid} (its main process; in commands only), ${NAME} (our own environment variable; what uses
//! # one that is not set is left out, and its value is never logged).
//!
//! # Appended to the agent's arguments, each group unless its first word (up to a '=') is there, or
//! # a Source of `unless` is set. A Source is { flag = "--x" }, { env = "X" }, { positional = 2 }
//! # (of the arguments after the program that do not begin with '-') or { config = 'regex' } (in
//! # the agent's configuration file; the first group).
//! add_args = [["--no-color"], { args = ["--listen=:{port}"], unless = [{ env = "LISTEN" }] }]
//!
//! # Exit statuses besides 0 of an agent that ended as planned.
//! exit_ok = [143]
//!
//! [env]                                  # forced on the agent
//! AGENT_DEBUG = "true"
//! [env_default]                          # given to it unless it has the variable; or, as in
//! AGENT_HEALTH = "127.0.0.1:{port}"      # add_args, a table with a value and Sources of `unless`
//! AGENT_QUIET = { value = "false", unless = [{ flag = "--verbosity" }] }
//!
//! [config]                               # the agent's own configuration file
//! from = [{ flag = "--config" }]         # Sources; the first that is set
//! default = "/etc/agent/agent.toml"      # when none is
//! append = "/agent.cfg"                  # added to what `from` or `default` says
//!
//! [slots]                                # jobs that one process runs at a time
//! from = [{ flag = "--slots" }, { flag = "--slots-per-cpu", times = "cpus" }]
//! default = 1
//!
//! [[require]]                            # else the agent is not started, and `otherwise` says why
//! config = '(?m)^graceful: true'         # or arg = 'regex', or env = "NAME" (set, not empty,
//!                                        # and value = 'regex', for its value)
//! unless_arg = '^--once$'                # or unless_config
//! must_be_seen = true                    # refused too where the file is in a container
//! otherwise = "set `graceful: true` in {config}: without it a drain cancels the running job"
//!
//! [[ready]]                              # a line that says that the agent takes jobs
//! stream = "stderr"                      # or "stdout", or file = "{config_dir}/agent.log"; without
//! line = '^connected$'                   # either, whatever is read of the agent
//!
//! [[detect.log]]                         # jobs seen in lines; stream or file, as above
//! # A pattern is a regex with the groups id, worker, outcome and exit_code, or a table: regex;
//! # outcome; and for JSON lines field, id, worker, outcome_field, exit_code and absent, which are
//! # JSON pointers. The worker joins an outcome's line without an id to the job's last line.
//! start = 'job (?P<id>\d+) started$'     # one or a list; so are finish and outcome
//! finish = { field = "/msg", regex = 'ended$', id = "/job", absent = ["/source"] }
//! outcome = '^(?P<outcome>\w+) (?P<id>\d+)$'   # an earlier line that says how it will end
//! outcomes = { good = "passed", bad = "failed", stopped = "canceled" }
//! counts = true                          # towards max-jobs; else it only keeps the agent busy
//! linger = "10s"                         # it shows steps: a job ends when none was seen so long;
//!                                        # with ends_jobs = true, all jobs that others count do
//!
//! [[detect.http]]                        # a page of the agent's own
//! address = { from = [{ flag = "--listen" }], default = "127.0.0.1:3000" }
//! path = "/metrics"
//! running = { gauge = "jobs_running" }   # or JSON pointers: number, keys, or array with where; or
//! accept_status = [200]                  # the counters started and ended
//! optional = true                        # older agents have no such page
//! headers = { Accept = "text/plain" }
//! basic_auth = ["${AGENT_USER}", "${AGENT_PASSWORD}"]     # or bearer = "${TOKEN}"
//! counts = false
//! ends_jobs = true                       # jobs that two answers in a row do not show have ended
//!
//! [detect.child]                         # processes below the agent
//! comm = '^worker$'                      # the kernel's name; without it and exe, any is work
//! exe = 'agent\.jar run'                 # over its arguments, joined by blanks
//! settle = "1s"                          # who starts this soon after the agent is its helper
//! counts = false
//!
//! [detect.process_env]                   # the agent's processes, also those that left its tree,
//! name = "BUILD_TAG"                     # that have this variable; each value of it is a job
//! counts = true
//!
//! [detect.hook]                          # `clockout job`
//! counts = false
//!
//! [drain]                                # how it stops taking jobs
//! method = "wait-idle"                   # or signal, command, single-job
//! signal = "TERM"                        # or command = ["{dir}/agent.sh", "stop"]
//! process = '^Agent\.Listen'             # to the agent's descendant of this name, if there is one
//! window = { line = 'no job$', lasts = "4s", patience = "30s" }   # only so soon after this line
//! needs_line = 'drain armed$'            # not seen: [drain.otherwise] is used
//! [drain.otherwise]
//! method = "wait-idle"
//! signal = "KILL"
//! [drain.cordon]                         # wait-idle: this first, to keep new jobs away; or command
//! http = { method = "POST", url = "https://ci/cordon", bearer = "${TOKEN}", json = { on = true } }
//!                                        # and accept_status = [302], where 2xx is not the answer
//!
//! [single_job]                           # one job a process, where the agent can
//! when = [{ flag = "--once" }, { env = "AGENT_MODE", is = "once" }]   # it was told so by its user
//! add_args = [["--once"]]                # with one slot we tell it so: arguments
//! env = { AGENT_ONCE = "true" }          # and variables
//!
//! [cancel]                               # ends running jobs so that their server hears of it;
//! signal = "TERM"                        # command and process as in [drain]
//! allow = { from = [{ config = '(?m)^grace: (\w+)' }], default = "30s", plus = "5s" }   # or "12s"
//!
//! [notes]
//! race = "what can happen where draining is a race with the next job, and how often"
//! experimental = true
//! hook = "how to report outcomes, in one line"
//! ```
//!
//! Every rule is checked while the file is read, so that each error has its line
//! ([`crate::toml_error`]); what is in these types is valid.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use regex::bytes::Regex;
use serde::Deserialize;

use super::added::{Added, Given, SingleJob};
use super::cancel::Cancel;
use super::choose::WholeName;
use super::detect::{Detect, On};
use super::drain::Drain;
use super::pattern::{Pattern, one_or_many, regex_or_none};
use super::require::Require;
use super::source::{Setting, Source};
use super::template::Template;
use crate::agent::Stream;
use crate::lifecycle::DrainMethod;

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
    #[serde(default)]
    pub(super) match_program: Vec<WholeName>,
    #[serde(default, deserialize_with = "regex_or_none")]
    pub(super) match_args: Option<Regex>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) match_beside: Vec<String>,
    #[serde(default)]
    pub(super) match_image: Vec<WholeName>,
    /// Forced on the agent.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Given to it unless it has them.
    #[serde(default)]
    pub env_default: BTreeMap<String, Given>,
    #[serde(default)]
    pub add_args: Vec<Added>,
    #[serde(default)]
    pub config: ConfigFile,
    /// Jobs that one agent process runs at a time.
    #[serde(default = "Setting::one")]
    pub slots: Setting<Slots>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub require: Vec<Require>,
    /// Lines that say that the agent takes jobs; without any it does once started.
    #[serde(default, deserialize_with = "one_or_many")]
    pub ready: Vec<Ready>,
    #[serde(default)]
    pub detect: Detect,
    #[serde(default)]
    pub drain: Drain,
    #[serde(default)]
    pub single_job: SingleJob,
    /// What ends running jobs so that their CI server hears of it; without it they are killed.
    pub cancel: Option<Cancel>,
    /// Exit statuses besides 0 of an agent that ended as planned.
    #[serde(default)]
    pub exit_ok: Vec<i32>,
    #[serde(default)]
    pub notes: Notes,
}

/// The keys that are no tables.
const TOP_KEYS: [&str; 7] = [
    "summary",
    "match_program",
    "match_args",
    "match_beside",
    "match_image",
    "add_args",
    "exit_ok",
];

/// The key of the file's top that an error calls unknown, because it stands in a table.
pub(super) fn misplaced(error: &str) -> Option<&'static str> {
    let (_, rest) = error.split_once(": unknown key '")?;
    let (key, _) = rest.split_once('\'')?;
    TOP_KEYS.into_iter().find(|top| *top == key)
}

/// The lifecycle keeps a bit a detector; no agent needs a tenth of them.
const MOST_DETECTORS: usize = 32;

impl Preset {
    /// What cannot be so though each part alone could: the table, and what is wrong.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String)> {
        let detect = &self.detect;
        if detect.log.len() + detect.http.len() > MOST_DETECTORS - 3 {
            let what = format!("more than {MOST_DETECTORS} detectors are of no use");
            return Some(("detect", what));
        }
        let ends = detect.http.iter().any(|http| http.ends_jobs)
            || detect.log.iter().any(|log| log.ends_jobs.is_some())
            || self.single_job.can_be_told()
            || !self.single_job.when.is_empty()
            || self.drain.method == DrainMethod::SingleJob;
        let endless = detect.log.iter().any(|log| log.finish.is_empty());
        (endless && !ends).then(|| {
            let what = "missing field `finish`: nothing else says when a job ends, as \
                        `ends_jobs` or [single_job] would";
            ("detect.log", what.to_owned())
        })
    }
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
#[serde(try_from = "RawReady")]
pub struct Ready {
    pub on: On,
    pub line: Pattern,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReady {
    stream: Option<Stream>,
    file: Option<Template>,
    line: Pattern,
}

impl TryFrom<RawReady> for Ready {
    type Error = &'static str;

    fn try_from(raw: RawReady) -> Result<Self, Self::Error> {
        Ok(Ready {
            on: On::new(raw.stream, raw.file)?,
            line: raw.line,
        })
    }
}

/// Where the agent's own configuration file is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "RawConfigFile")]
pub struct ConfigFile {
    /// The first that is set wins.
    pub from: Vec<Source>,
    pub default: Option<Template>,
    pub append: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfigFile {
    #[serde(default)]
    from: Vec<Source>,
    default: Option<Template>,
    append: Option<String>,
}

impl TryFrom<RawConfigFile> for ConfigFile {
    type Error = &'static str;

    fn try_from(raw: RawConfigFile) -> Result<Self, Self::Error> {
        if raw.from.iter().any(Source::is_config) {
            return Err(
                "the configuration file cannot say where it is: use flag, env or positional",
            );
        }
        if raw.from.is_empty() && raw.default.is_none() {
            return Err("give 'from' or 'default'");
        }
        Ok(ConfigFile {
            from: raw.from,
            default: raw.default,
            append: raw.append,
        })
    }
}

/// What a person should know.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// What can go wrong where draining is only ever a race with the next job.
    pub race: Option<String>,
    /// It was made from documents alone.
    #[serde(default)]
    pub experimental: bool,
    /// How the agent's hooks report outcomes.
    pub hook: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File(path) => write!(f, "{}", path.display()),
        }
    }
}
