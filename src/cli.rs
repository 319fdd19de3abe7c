//! The command line: what can be asked, and nothing of what it means.

use std::ffi::OsString;
#[cfg(feature = "poll")]
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

use crate::config::{DurationLimit, JobLimit, LogFormat, Time};
use crate::iam::{Account, SelfTerminate};
use crate::instance::{Mode, OnRebalance, Protect};
use crate::lifecycle::{Outcome, Reason};
use crate::presets::Stream;

/// Wraps any CI agent on a rented machine, counts its jobs, drains it, and ends the machine.
#[derive(Parser)]
#[command(name = "clockout", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Supervise an agent until a limit is reached, then retire this machine.
    Run {
        #[command(flatten)]
        options: Box<RunOptions>,
        /// The agent and its arguments; `{index}` becomes 1..N with --agents N.
        #[arg(last = true, required = true, value_name = "AGENT")]
        agent: Vec<OsString>,
    },
    /// Tell the supervisor of a job; called from an agent's hooks.
    Job {
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Say what the supervisor on this machine is doing, and why.
    Status {
        #[command(flatten)]
        socket: SocketArg,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask the supervisor to drain its agents and retire.
    Drain {
        #[command(flatten)]
        socket: SocketArg,
        /// Cancel the jobs that still run after this time.
        #[arg(long, value_name = "DURATION")]
        deadline: Option<Time>,
        /// Return when no agent is left.
        #[arg(long)]
        wait: bool,
    },
    /// End this machine now, without a supervisor (ExecStopPost, scripts).
    Retire {
        /// Why; it decides what becomes of the group's desired capacity.
        #[arg(long, default_value = "operator")]
        reason: Reason,
        #[command(flatten)]
        options: Box<RunOptions>,
    },
    /// Read the CI queues and start exactly the capacity that is missing. It only scales out.
    #[cfg(feature = "poll")]
    Poll {
        #[command(flatten)]
        options: PollOptions,
        #[command(flatten)]
        manner: PollManner,
    },
    /// Check this machine, its group and its permissions: one line each, with the fix.
    ///
    /// Changes nothing. The exit status is 1 when there is an error among the lines.
    #[command(args_conflicts_with_subcommands = true)]
    Doctor {
        #[command(subcommand)]
        command: Option<DoctorCommand>,
        #[command(flatten)]
        run: DoctorRun,
    },
    /// Print the least IAM policy for this configuration, and the reasons on standard error.
    #[command(args_conflicts_with_subcommands = true)]
    Policy {
        #[command(subcommand)]
        command: Option<PolicyCommand>,
        #[command(flatten)]
        run: PolicyRun,
    },
    /// The built-in agent presets, and those in /etc/clockout/presets.
    Preset {
        #[command(subcommand)]
        command: PresetCommand,
    },
    /// Show the whole loop on this machine, in about a minute, without a cloud or a configuration.
    ///
    /// A queue of 40 jobs, the poller, and machines that are processes, each under `run`. Nothing
    /// is left running. The exit status is 0 when all jobs ran.
    #[cfg(feature = "poll")]
    Demo {
        /// Ten jobs only.
        #[arg(long)]
        fast: bool,
    },
    /// The agent of `demo`.
    #[cfg(feature = "poll")]
    #[command(hide = true)]
    InternalDemoAgent {
        #[arg(long)]
        queue: SocketAddr,
    },
    /// A job of `demo`.
    #[cfg(feature = "poll")]
    #[command(hide = true)]
    InternalDemoJob { seconds: f32 },
    /// Powers the machine off when retirement has failed; started by `run`.
    #[command(hide = true)]
    InternalDeadman {
        #[arg(long)]
        after_seconds: u64,
        #[arg(last = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
pub enum JobCommand {
    /// A job begins.
    Start {
        #[command(flatten)]
        call: JobCall,
        /// The CI system's id of the job.
        id: Option<String>,
    },
    /// A job has ended.
    Finish {
        #[command(flatten)]
        call: JobCall,
        /// The CI system's id of the job; without it, the oldest that runs.
        id: Option<String>,
        #[arg(long, value_name = "passed|failed|canceled", value_parser = parse_outcome)]
        outcome: Option<Outcome>,
        /// The job's exit status, instead: 0 is passed, any other failed, none unknown.
        #[arg(
            long,
            value_name = "N",
            value_parser = parse_exit_code,
            allow_hyphen_values = true,
            conflicts_with = "outcome"
        )]
        exit_code: Option<Outcome>,
    },
    /// Run one job's command: start, run, finish with its exit status.
    Exec {
        #[command(flatten)]
        call: JobCall,
        /// The CI system's id of the job [default: one of our own].
        #[arg(long)]
        id: Option<String>,
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

#[derive(Args)]
pub struct JobCall {
    #[command(flatten)]
    pub socket: SocketArg,
    /// Fail when no supervisor answers, instead of warning.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Args)]
pub struct SocketArg {
    /// The supervisor's control socket.
    #[arg(long, env = "CLOCKOUT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum DoctorCommand {
    /// Check a machine that runs agents; without a word, this is what is done.
    Run(DoctorRun),
    /// Check a poller's queues, groups and permissions.
    #[cfg(feature = "poll")]
    Poll(DoctorPoll),
}

#[cfg(feature = "poll")]
#[derive(Args)]
pub struct DoctorPoll {
    #[command(flatten)]
    pub options: PollOptions,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct DoctorRun {
    #[command(flatten)]
    pub options: Box<RunOptions>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The agent that `run` would start, to check it too.
    #[arg(last = true, value_name = "AGENT")]
    pub agent: Vec<OsString>,
}

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Print that of a machine that runs agents; without a word, this is what is done.
    Run(PolicyRun),
    /// Print that of a poller: what its groups and queues need.
    #[cfg(feature = "poll")]
    Poll(PolicyPoll),
}

#[cfg(feature = "poll")]
#[derive(Args)]
pub struct PolicyPoll {
    #[command(flatten)]
    pub options: PollOptions,
    /// The region of groups that have none in the configuration [default: this instance's].
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The account [default: this instance's].
    #[arg(long, value_name = "ID")]
    pub account: Option<Account>,
    /// Allow what `clockout doctor poll` reads beside.
    #[arg(long)]
    pub for_doctor: bool,
    /// Print the policy and the reasons as one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct PolicyRun {
    #[command(flatten)]
    pub options: Box<RunOptions>,
    #[command(flatten)]
    pub wanted: PolicyOptions,
    /// Print the policy and the reasons as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What a policy is narrowed by, beside the configuration.
#[derive(Args)]
pub struct PolicyOptions {
    /// The Auto Scaling group [default: this instance's].
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// The machine is in no group.
    #[arg(long, conflicts_with_all = ["group", "no_hooks"])]
    pub no_group: bool,
    /// The group has no lifecycle hooks.
    #[arg(long)]
    pub no_hooks: bool,
    /// The region [default: this instance's].
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The account [default: this instance's].
    #[arg(long, value_name = "ID")]
    pub account: Option<Account>,
    /// How the policy says that an instance may terminate itself only [default: documented].
    #[arg(long, value_name = "documented|aws-arn")]
    pub self_terminate: Option<SelfTerminate>,
    /// Allow what `clockout doctor` reads beside.
    #[arg(long)]
    pub for_doctor: bool,
}

#[derive(Subcommand)]
pub enum PresetCommand {
    /// Their names, one a line.
    List,
    /// One preset's file, to read or to start your own from.
    Show {
        /// Its name, or a file.
        name: String,
    },
    /// Read an agent's log on standard input and print the events that the preset sees in it.
    Test {
        /// Its name, or a file.
        name: String,
        /// Which of the agent's streams the log is [default: both].
        #[arg(long, value_name = "stdout|stderr")]
        stream: Option<Stream>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what `run` would make of an agent: its preset, jobs, drain, and what is added to it.
    Explain {
        /// A preset's name or file [default: by the agent's command line].
        #[arg(long, env = "CLOCKOUT_PRESET", value_name = "NAME")]
        preset: Option<String>,
        /// As of `run`.
        #[arg(long, env = "CLOCKOUT_SLOTS", value_name = "N")]
        slots: Option<NonZeroU32>,
        #[arg(last = true, required = true, value_name = "AGENT")]
        agent: Vec<OsString>,
    },
}

/// Everything that can be set for `poll` beside its groups: as a flag, as `CLOCKOUT_<FLAG>` in the
/// environment, or as a key of `[poll]` in the configuration file, in this order of precedence.
#[cfg(feature = "poll")]
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PollOptions {
    /// Configuration file [default: /etc/clockout/clockout.toml].
    #[arg(long, env = "CLOCKOUT_CONFIG", value_name = "PATH")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// How often each queue is read [default: 10s].
    #[arg(long, env = "CLOCKOUT_INTERVAL", value_name = "DURATION")]
    pub interval: Option<Time>,

    /// Serve metrics, health and a status page here, for example 127.0.0.1:9466 [default: off].
    #[arg(long, env = "CLOCKOUT_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// The most instances that all groups may have together [default: no limit].
    #[arg(long, env = "CLOCKOUT_MAX_INSTANCES", value_name = "N")]
    pub max_instances: Option<u32>,

    /// Launch only while holding the lock on this file, so that a second poller can stand by.
    #[arg(long, env = "CLOCKOUT_LEASE_FILE", value_name = "PATH")]
    pub lease_file: Option<PathBuf>,

    /// Log lines for people or for machines [default: text on a terminal, else json].
    #[arg(long, env = "CLOCKOUT_LOG_FORMAT", value_name = "text|json")]
    pub log_format: Option<LogFormat>,

    /// The least important lines to log [default: info].
    #[arg(long, env = "CLOCKOUT_LOG_LEVEL", value_name = "error|warn|info|debug")]
    pub log_level: Option<crate::config::LogLevel>,

    /// Say what would be launched, and launch nothing.
    #[arg(long, env = "CLOCKOUT_DRY_RUN", num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub dry_run: Option<bool>,
}

/// What `poll` is to do this time.
#[cfg(feature = "poll")]
#[derive(Debug, Clone, Args)]
pub struct PollManner {
    /// One round: read every queue and group, launch what is missing, end.
    #[arg(long)]
    pub once: bool,

    /// Print the arithmetic of this group's last decision, and why it did not launch more.
    ///
    /// Asks the poller that runs at --listen; without one it reads the queue and the group itself,
    /// and launches nothing.
    #[arg(long, value_name = "GROUP", conflicts_with = "once")]
    pub explain: Option<String>,
}

/// Everything that can be set for `run`: as a flag, as `CLOCKOUT_<FLAG>` in the environment, or
/// as a key of `[run]` in the configuration file, in this order of precedence.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunOptions {
    /// Configuration file; it may be absent [default: /etc/clockout/clockout.toml].
    #[arg(long, env = "CLOCKOUT_CONFIG", value_name = "PATH")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// How this agent shows its jobs and drains [default: by the agent's program name].
    #[arg(long, env = "CLOCKOUT_PRESET", value_name = "NAME")]
    pub preset: Option<String>,

    /// Retire after this many jobs, or `unlimited` [default: unlimited].
    #[arg(long, env = "CLOCKOUT_MAX_JOBS", value_name = "N")]
    pub max_jobs: Option<JobLimit>,

    /// Retire after this long without a job, or `never` [default: 10m].
    #[arg(long, env = "CLOCKOUT_IDLE_TIMEOUT", value_name = "DURATION")]
    pub idle_timeout: Option<DurationLimit>,

    /// Drain after this long, or `never` [default: never].
    #[arg(long, env = "CLOCKOUT_MAX_LIFETIME", value_name = "DURATION")]
    pub max_lifetime: Option<DurationLimit>,

    /// The agent must be seen ready within this time, or `never` [default: 5m].
    #[arg(long, env = "CLOCKOUT_BOOT_TIMEOUT", value_name = "DURATION")]
    pub boot_timeout: Option<DurationLimit>,

    /// How long running jobs may take once drained, or `never` [default: 1h].
    #[arg(long, env = "CLOCKOUT_DRAIN_TIMEOUT", value_name = "DURATION")]
    pub drain_timeout: Option<DurationLimit>,

    /// Agent processes on this machine, or `cpus` for one a core [default: 1].
    #[arg(long, env = "CLOCKOUT_AGENTS", value_name = "N|cpus")]
    #[serde(deserialize_with = "crate::config::text_or_number")]
    pub agents: Option<String>,

    /// Jobs that one agent process runs at a time [default: by the preset, else 1].
    #[arg(long, env = "CLOCKOUT_SLOTS", value_name = "N")]
    pub slots: Option<u32>,

    /// Run the agent as this user [default: the same user].
    #[arg(long, env = "CLOCKOUT_USER", value_name = "NAME")]
    pub user: Option<String>,

    /// How this machine ends [default: auto].
    #[arg(
        long,
        env = "CLOCKOUT_RETIRE",
        value_name = "auto|detach|terminate|poweroff|exit"
    )]
    pub retire: Option<Mode>,

    /// Leave the group when the drain begins, so that it can grow at once.
    #[arg(long, env = "CLOCKOUT_DETACH_EARLY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub detach_early: Option<bool>,

    /// Whether a spot machine that may be taken away soon leaves by itself [default: ignore].
    #[arg(
        long,
        env = "CLOCKOUT_ON_REBALANCE",
        value_name = "ignore|after-job|now"
    )]
    pub on_rebalance: Option<OnRebalance>,

    /// A younger machine does not leave for a rebalance recommendation [default: 30m].
    #[arg(long, env = "CLOCKOUT_REBALANCE_MIN_AGE", value_name = "DURATION")]
    pub rebalance_min_age: Option<Time>,

    /// Cancel running jobs this long before the machine is taken away [default: 20s].
    #[arg(long, env = "CLOCKOUT_CANCEL_BEFORE", value_name = "DURATION")]
    pub cancel_before: Option<Time>,

    /// How often the metadata service is asked for notices [default: 5s].
    #[arg(long, env = "CLOCKOUT_NOTICE_INTERVAL", value_name = "DURATION")]
    pub notice_interval: Option<Time>,

    /// Keep the group from choosing this machine when it shrinks [default: off].
    #[arg(long, env = "CLOCKOUT_PROTECT", value_name = "busy|always|off")]
    pub protect: Option<Protect>,

    /// The group's launch hook to complete when the agent is ready [default: found].
    #[arg(long, env = "CLOCKOUT_LAUNCH_HOOK", value_name = "NAME")]
    pub launch_hook: Option<String>,

    /// The group's termination hook to keep until the jobs have ended [default: found].
    #[arg(long, env = "CLOCKOUT_TERMINATE_HOOK", value_name = "NAME")]
    pub terminate_hook: Option<String>,

    /// What powers this machine off [default: systemctl poweroff, else reboot(2)].
    #[arg(long, env = "CLOCKOUT_POWEROFF_COMMAND", value_name = "COMMAND")]
    #[serde(deserialize_with = "crate::config::words")]
    pub poweroff_command: Option<Words>,

    /// Commands run before the machine leaves its group; in the file only.
    #[arg(skip)]
    pub before_retire: Option<Vec<Vec<String>>>,

    /// How long each of them may take [default: 1m].
    #[arg(long, env = "CLOCKOUT_HOOK_TIMEOUT", value_name = "DURATION")]
    pub hook_timeout: Option<Time>,

    /// Where a restarted supervisor finds where it was [default: /var/lib/clockout].
    #[arg(long, env = "CLOCKOUT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The control socket [default: /run/clockout/clockout.sock].
    #[arg(long, env = "CLOCKOUT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Log lines for people or for machines [default: text on a terminal, else json].
    #[arg(long, env = "CLOCKOUT_LOG_FORMAT", value_name = "text|json")]
    pub log_format: Option<LogFormat>,

    /// The least important lines to log [default: info].
    #[arg(long, env = "CLOCKOUT_LOG_LEVEL", value_name = "error|warn|info|debug")]
    pub log_level: Option<crate::config::LogLevel>,

    /// Say what would be called to end the machine; call nothing.
    #[arg(long, env = "CLOCKOUT_DRY_RUN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub dry_run: Option<bool>,
}

/// A command as separate words: in the file a list, elsewhere split at white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl std::str::FromStr for Words {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err("no command given".to_owned());
        }
        Ok(Words(words))
    }
}

fn parse_outcome(text: &str) -> Result<Outcome, String> {
    [Outcome::Passed, Outcome::Failed, Outcome::Canceled]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| "use passed, failed or canceled".to_owned())
}

/// An empty one is what a hook passes on when the agent tells it none.
fn parse_exit_code(text: &str) -> Result<Outcome, String> {
    match text.trim().parse::<i64>() {
        Ok(0) => Ok(Outcome::Passed),
        Ok(_) => Ok(Outcome::Failed),
        Err(_) if text.trim().is_empty() => Ok(Outcome::Unknown),
        Err(_) => Err("use the job's exit status, a number".to_owned()),
    }
}

/// Parses the command line. On bad input: one line that names the thing and the fix, and the
/// exit status; help and version are printed as asked.
pub fn parse() -> Result<Cli, crate::exit::Usage> {
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        crate::exit::Usage(one_line(&error.render().to_string()))
    })
}

/// clap explains itself in a paragraph with the usage below; the log wants a line.
fn one_line(text: &str) -> String {
    let paragraph = text.split("\nUsage:").next().unwrap_or(text);
    let lines = paragraph
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let noise = ["For more information", "tip: to pass"];
    let kept = lines.filter(|line| !noise.iter().any(|start| line.starts_with(start)));
    let joined = kept.collect::<Vec<_>>().join("; ");
    let line = joined.strip_prefix("error: ").unwrap_or(&joined);
    line.replace(":;", ":").replace("; tip:", ";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_hook_may_pass_any_exit_status_on() {
        let outcome = |args: &[&str]| {
            let line = ["clockout", "job", "finish", "7"].iter().chain(args);
            match Cli::try_parse_from(line).ok()?.command {
                Command::Job {
                    command: JobCommand::Finish { exit_code, .. },
                } => exit_code,
                _ => None,
            }
        };
        for (args, expected) in [
            (&["--exit-code", "0"][..], Some(Outcome::Passed)),
            (&["--exit-code", "1"], Some(Outcome::Failed)),
            (&["--exit-code=255"], Some(Outcome::Failed)),
            (&["--exit-code", "-1"], Some(Outcome::Failed)),
            (&["--exit-code", ""], Some(Outcome::Unknown)),
            (&["--exit-code", "x"], None),
            (&["--exit-code", "0", "--outcome", "failed"], None),
        ] {
            assert_eq!(outcome(args), expected, "{args:?}");
        }
    }

    #[test]
    fn bad_usage_is_one_line_that_names_the_fix() {
        let error = Cli::try_parse_from(["clockout", "run", "--max-job", "3", "--", "x"]);
        let line = one_line(&error.err().expect("refused").render().to_string());
        assert_eq!(
            line,
            "unexpected argument '--max-job' found; a similar argument exists: '--max-jobs'"
        );
        let error = Cli::try_parse_from(["clockout", "run", "--max-jobs", "0", "--", "x"]);
        let line = one_line(&error.err().expect("refused").render().to_string());
        assert!(!line.contains('\n') && line.contains("unlimited"), "{line}");
    }
}
