//! Flags, environment and file become one validated [`Config`].

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use tracing::warn;

use crate::agent::User;
use crate::cli::{RunOptions, Words};
use crate::exit::Usage;
use crate::instance::{HookNames, Mode, NoticePolicy, Protect};
use crate::lifecycle::{Limit, Limits};
use crate::presets::{self, Launch, Preset};
use crate::toml_error;

pub const DEFAULT_FILE: &str = "/etc/clockout/clockout.toml";

/// Everything `run` and `retire` need to know, checked.
#[derive(Debug)]
pub struct Config {
    /// The agent and its arguments; empty for `retire`.
    pub agent: Vec<OsString>,
    pub preset: Arc<Preset>,
    /// How the preset has the agents started.
    pub launch: Launch,
    pub limits: Limits,
    /// Agent processes, at least 1.
    pub agents: u32,
    /// Jobs one process runs at a time, at least 1.
    pub slots: u32,
    /// The slots were given, or the preset read them off the agent's arguments.
    pub slots_known: bool,
    pub user: Option<User>,
    pub retire: Retire,
    pub notices: NoticePolicy,
    pub protect: Protect,
    /// The group's hooks that are ours, where somebody said so.
    pub hooks: HookNames,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
}

/// How the machine ends.
#[derive(Debug, Clone)]
pub struct Retire {
    pub mode: Mode,
    pub detach_early: bool,
    /// `None`: systemd, else `reboot(2)`.
    pub poweroff_command: Option<Vec<String>>,
    /// Commands, each with its arguments.
    pub before_retire: Vec<Vec<String>>,
    pub hook_timeout: Duration,
    pub dry_run: bool,
}

/// The log's form, which is needed before anything can fail.
#[derive(Debug, Clone, Copy)]
pub struct Logging {
    /// `None`: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
    pub level: LogLevel,
}

/// What `run` reads of the file; the rest is the poller's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    run: RunOptions,
    poll: IgnoredAny,
    group: IgnoredAny,
    discover: IgnoredAny,
}

/// The options with the file's values where neither flag nor environment has one.
pub fn gather(given: &RunOptions) -> Result<RunOptions, Usage> {
    let mut options = given.clone();
    let file = read_file::<File>(given.config.as_deref())?.run;
    macro_rules! fill {
        ($($field:ident),*) => { $(options.$field = options.$field.take().or(file.$field);)* };
    }
    fill!(
        preset,
        max_jobs,
        idle_timeout,
        max_lifetime,
        boot_timeout,
        drain_timeout,
        agents,
        slots,
        user,
        retire,
        detach_early,
        on_rebalance,
        rebalance_min_age,
        cancel_before,
        notice_interval,
        protect,
        launch_hook,
        terminate_hook,
        poweroff_command,
        before_retire,
        hook_timeout,
        state_dir,
        socket,
        log_format,
        log_level,
        dry_run
    );
    Ok(options)
}

/// The configuration, from the usual place unless another is given. An absent file is an empty
/// one.
pub fn read_file<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Usage> {
    let path = path.unwrap_or(Path::new(DEFAULT_FILE));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => {
            let path = path.display();
            return Err(Usage(format!(
                "cannot read the configuration {path}: {error}"
            )));
        }
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Usage(format!(
            "{}:{line}: not UTF-8, save the file as UTF-8",
            path.display()
        ))
    })?;
    let name = path.display().to_string();
    toml::from_str(&text).map_err(|error| Usage(toml_error::explain(&name, &text, &error)))
}

impl Config {
    /// Checks the gathered options. `agent` is empty for commands that start none.
    pub fn new(options: RunOptions, agent: Vec<OsString>) -> Result<Config, Usage> {
        let preset = match (&options.preset, agent.first()) {
            (Some(name), _) => presets::load(name),
            (None, Some(_)) => presets::for_agent(&agent),
            (None, None) => presets::load("generic"),
        };
        let preset = preset.map_err(|error| Usage(format!("{error:#}")))?;
        let agents = count_agents(options.agents.as_deref())?;
        if options.slots == Some(0) {
            return Err(Usage(
                "--slots 0 is refused: an agent runs at least 1 job".to_owned(),
            ));
        }
        let preset = Arc::new(preset);
        let launch = Launch::new(preset.clone(), &agent, options.slots);
        if let Some(refusal) = launch.refusal().filter(|_| !agent.is_empty()) {
            return Err(Usage(refusal));
        }
        for warning in launch.warnings() {
            warn!(preset = preset.name, "preset.warning: {warning}");
        }
        let limits = limits(&options);
        check_max_jobs(limits.max_jobs, launch.slots)?;
        let notices = notices(&options);
        let user = options.user.as_deref().map(User::lookup).transpose();
        Ok(Config {
            user: user.map_err(|error| Usage(format!("--user: {error}")))?,
            agent,
            preset,
            limits,
            agents,
            slots: launch.slots,
            slots_known: launch.slots_known,
            launch,
            retire: Retire {
                mode: options.retire.unwrap_or(Mode::Auto),
                detach_early: options.detach_early.unwrap_or(false),
                poweroff_command: options.poweroff_command.map(|words| words.0),
                before_retire: options.before_retire.unwrap_or_default(),
                hook_timeout: options
                    .hook_timeout
                    .map_or(Duration::from_secs(60), |t| t.0),
                dry_run: options.dry_run.unwrap_or(false),
            },
            notices,
            protect: options.protect.unwrap_or_default(),
            hooks: HookNames {
                launch: options.launch_hook,
                terminate: options.terminate_hook,
            },
            state_dir: options.state_dir.unwrap_or_else(default_state_dir),
            socket: options.socket.unwrap_or_else(default_socket),
        })
    }
}

impl Logging {
    pub fn of(options: &RunOptions) -> Logging {
        Logging::new(options.log_format, options.log_level)
    }

    pub fn new(format: Option<LogFormat>, level: Option<LogLevel>) -> Logging {
        Logging {
            format,
            level: level.unwrap_or(LogLevel::Info),
        }
    }
}

/// The limits alone, which can change while the supervisor runs.
pub fn limits(options: &RunOptions) -> Limits {
    let minutes = |n: u64| Limit::At(Duration::from_secs(60 * n));
    let or = |value: Option<DurationLimit>, default| value.map_or(default, |limit| limit.0);
    Limits {
        max_jobs: options.max_jobs.map_or(Limit::Never, |limit| limit.0),
        idle_timeout: or(options.idle_timeout, minutes(10)),
        max_lifetime: or(options.max_lifetime, Limit::Never),
        boot_timeout: or(options.boot_timeout, minutes(5)),
        drain_timeout: or(options.drain_timeout, minutes(60)),
    }
}

fn notices(options: &RunOptions) -> NoticePolicy {
    let usual = NoticePolicy::default();
    let or = |value: Option<Time>, default| value.map_or(default, |time| time.0);
    NoticePolicy {
        on_rebalance: options.on_rebalance.unwrap_or(usual.on_rebalance),
        rebalance_min_age: or(options.rebalance_min_age, usual.rebalance_min_age),
        cancel_before: or(options.cancel_before, usual.cancel_before),
        interval: or(options.notice_interval, usual.interval),
    }
}

/// An agent with more slots than jobs are allowed could take them all before it hears of it.
pub fn check_max_jobs(max_jobs: Limit<u32>, slots: u32) -> Result<(), Usage> {
    match max_jobs {
        Limit::At(max) if max < slots => Err(Usage(format!(
            "--max-jobs {max} cannot be kept: this agent takes {slots} jobs at once; \
             give it at most {max} slots, or allow at least {slots} jobs"
        ))),
        _ => Ok(()),
    }
}

fn count_agents(text: Option<&str>) -> Result<u32, Usage> {
    const MOST: u32 = 1024;
    match text {
        None => Ok(1),
        Some("cpus") => {
            let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
            Ok(cpus as u32)
        }
        Some(text) => match text.parse() {
            Ok(count @ 1..=MOST) => Ok(count),
            _ => Err(Usage(format!(
                "--agents {text}: use a number from 1 to {MOST}, or 'cpus'"
            ))),
        },
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// What outlives a process is here when nobody says otherwise.
pub fn default_state_dir() -> PathBuf {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let own = home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")));
    match own {
        Some(dir) if !is_root() => dir.join("clockout"),
        _ => "/var/lib/clockout".into(),
    }
}

/// Where the supervisor listens and its clients look when nobody says otherwise.
pub fn default_socket() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if is_root() => "/run/clockout/clockout.sock".into(),
        Some(dir) => PathBuf::from(dir).join("clockout/clockout.sock"),
        // Outside a login session, in a container for example.
        None => format!("/tmp/clockout-{}/clockout.sock", nix::unistd::geteuid()).into(),
    }
}

/// A positive duration: `90s`, `10m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A positive duration or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationLimit(pub Limit<Duration>);

/// A positive number of jobs or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimit(pub Limit<u32>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(time) if time.is_zero() => Err("zero is refused: write how long".to_owned()),
            Ok(time) => Ok(Time(time)),
            Err(_) => Err(format!(
                "'{text}' is no duration: write it with its units, like 90s, 10m or 1h30m"
            )),
        }
    }
}

impl FromStr for DurationLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(DurationLimit(Limit::Never));
        }
        let zero = || "zero is refused: for no limit, write 'never'".to_owned();
        match humantime::parse_duration(text) {
            Ok(time) if time.is_zero() => Err(zero()),
            Ok(time) => Ok(DurationLimit(Limit::At(time))),
            Err(_) => Err(format!(
                "'{text}' is no duration: write it with its units, like 90s, 10m or 1h30m, or 'never'"
            )),
        }
    }
}

impl FromStr for JobLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("unlimited", _) => Ok(JobLimit(Limit::Never)),
            (_, Ok(0)) => Err("zero is refused: for no limit, write 'unlimited'".to_owned()),
            (_, Ok(jobs)) => Ok(JobLimit(Limit::At(jobs))),
            (_, Err(_)) => Err(format!(
                "'{text}' is no number of jobs: write a positive number, or 'unlimited'"
            )),
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("use text or json".to_owned()),
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(LogLevel::Error),
            "warn" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            _ => Err("use error, warn, info or debug".to_owned()),
        }
    }
}

/// In the file, a value may be written as a string or a bare number.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        input.deserialize_any(Visitor)
    }
}

/// Deserialises by the same `FromStr` that flags and environment go through.
macro_rules! from_text {
    ($($type:ty),*) => { $(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(input)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}

from_text!(Time, DurationLimit, JobLimit, LogFormat, LogLevel);

pub fn text_or_number<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(Some(Text::deserialize(input)?.0))
}

/// A command as a list of words, or as one string split at white space.
pub fn words<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Words>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(String),
        List(Vec<String>),
    }
    let words = match Form::deserialize(input)? {
        Form::One(text) => text.parse().map_err(serde::de::Error::custom)?,
        Form::List(list) if list.is_empty() => {
            return Err(serde::de::Error::custom("no command given"));
        }
        Form::List(list) => Words(list),
    };
    Ok(Some(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> DurationLimit {
        DurationLimit(Limit::At(Duration::from_secs(n)))
    }

    #[test]
    fn durations_have_units_and_zero_is_refused() {
        assert_eq!("90s".parse(), Ok(seconds(90)));
        assert_eq!("1h30m".parse(), Ok(seconds(5400)));
        assert_eq!("never".parse(), Ok(DurationLimit(Limit::Never)));
        for zero in ["0s", "0", "0h0m"] {
            let error = zero.parse::<DurationLimit>().expect_err("refused");
            assert!(error.contains("never"), "{zero}: {error}");
        }
        for bad in ["", "10", "-5m", "10 parsecs", "∞"] {
            assert!(bad.parse::<DurationLimit>().is_err(), "{bad}");
        }
        assert!(
            "0".parse::<JobLimit>()
                .expect_err("refused")
                .contains("unlimited")
        );
    }

    #[test]
    fn flags_come_before_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("clockout.toml");
        std::fs::write(
            &path,
            "[run]\nmax_jobs = 3\nidle_timeout = \"5m\"\nagents = 2\n",
        )
        .expect("written");
        let given = RunOptions {
            config: Some(path),
            idle_timeout: Some(seconds(60)),
            ..RunOptions::default()
        };
        let options = gather(&given).expect("good");
        assert_eq!(options.idle_timeout, Some(seconds(60)));
        assert_eq!(options.max_jobs, Some(JobLimit(Limit::At(3))));
        assert_eq!(options.agents.as_deref(), Some("2"));
    }

    #[test]
    fn a_bad_file_is_one_line_with_the_place_and_the_nearest_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("clockout.toml");
        let explain = |text: &[u8]| {
            std::fs::write(&path, text).expect("written");
            read_file::<File>(Some(&path)).expect_err("refused").0
        };
        let error = explain(b"[run]\nmax_job = 3\n");
        assert!(
            error.contains(":2:") && error.contains("'max_jobs'"),
            "{error}"
        );
        let error = explain(b"[run]\nidle_timeout = 0\n");
        assert!(error.contains(":2:") && error.contains("never"), "{error}");
        let error = explain(b"[run]\n# \xff\n");
        assert!(error.contains(":2: not UTF-8"), "{error}");
        assert!(!error.contains('\n'));
    }
}
