#![deny(unsafe_code)]
// They panic when nobody reads, or the disk is full.
#![cfg_attr(not(test), deny(clippy::print_stdout))]

//! `clockout`: the end of a CI machine's work. Parse, dispatch, exit status; the promises are
//! kept in `lifecycle` (when), `agent` and `jobs` (whose work), `instance` (how it ends), and
//! `supervisor` ties them together.

mod agent;
mod aws;
mod cli;
mod clock;
mod config;
mod control;
mod doctor;
mod exit;
mod iam;
mod instance;
mod jobs;
mod lifecycle;
#[cfg(feature = "poll")]
mod poll;
mod presets;
#[cfg(test)]
mod simulation;
mod supervisor;
mod sys;
mod telemetry;
mod tls;
mod toml_error;

use std::io::{ErrorKind, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cli::{
    Cli, Command, DoctorCommand, JobCall, JobCommand, PolicyCommand, PresetCommand, SocketArg,
};
use config::{Config, Logging, default_socket, gather};
use control::Reporter;
use exit::{Status, Usage};
use lifecycle::Outcome;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let parsed = cli::parse().map_err(anyhow::Error::from);
    parsed.and_then(dispatch).unwrap_or_else(complain).into()
}

fn dispatch(cli: Cli) -> anyhow::Result<Status> {
    match cli.command {
        Command::Run { options, agent } => {
            let gathered = gather(&options)?;
            telemetry::init(Logging::of(&gathered));
            supervisor::run(Config::new(gathered, agent)?, *options)
        }
        Command::Retire { reason, options } => {
            let gathered = gather(&options)?;
            telemetry::init(Logging::of(&gathered));
            supervisor::retire_now(Config::new(gathered, Vec::new())?, reason)
        }
        Command::Job { command } => job(command),
        Command::Status { socket, json } => {
            let report = control::status(&path(socket))?;
            let mut out = stdout().lock();
            if json {
                writeln!(out, "{}", serde_json::to_string(&report)?)?;
            } else {
                write!(out, "{report}")?;
            }
            Ok(Status::Success)
        }
        Command::Drain {
            socket,
            deadline,
            wait,
        } => {
            control::drain(&path(socket), deadline.map(|time| time.0), wait)?;
            Ok(Status::Success)
        }
        #[cfg(feature = "poll")]
        Command::Poll { options, manner } => poll::poll(options, &manner),
        Command::Doctor { command, run } => match command.unwrap_or(DoctorCommand::Run(run)) {
            DoctorCommand::Run(run) => doctor::doctor(gather(&run.options)?, run.agent, run.json),
            #[cfg(feature = "poll")]
            DoctorCommand::Poll(poll) => doctor::doctor_poll(poll),
        },
        Command::Policy { command, run } => match command.unwrap_or(PolicyCommand::Run(run)) {
            PolicyCommand::Run(run) => iam::policy(&gather(&run.options)?, run.wanted, run.json),
            #[cfg(feature = "poll")]
            PolicyCommand::Poll(poll) => iam::policy_poll(poll),
        },
        Command::Preset { command } => preset(command),
        #[cfg(feature = "poll")]
        Command::Demo { fast } => poll::demo(fast),
        #[cfg(feature = "poll")]
        Command::InternalDemoAgent { queue } => poll::demo_agent(queue),
        #[cfg(feature = "poll")]
        Command::InternalDemoJob { seconds } => Ok(poll::demo_job(seconds)),
        Command::InternalDeadman {
            after_seconds,
            command,
        } => Ok(instance::watchdog_main(
            Duration::from_secs(after_seconds),
            command,
        )),
    }
}

fn job(command: JobCommand) -> anyhow::Result<Status> {
    let reporter = |call: JobCall| Reporter::new(path(call.socket), call.strict);
    match command {
        JobCommand::Start { call, id } => reporter(call).start(id)?,
        JobCommand::Finish {
            call,
            id,
            outcome,
            exit_code,
        } => {
            let outcome = outcome.or(exit_code).unwrap_or(Outcome::Unknown);
            reporter(call).finish(id, outcome)?;
        }
        JobCommand::Exec { call, id, command } => {
            let code = reporter(call).exec(id, &command)?;
            return Ok(Status::PassedThrough(code));
        }
    }
    Ok(Status::Success)
}

fn preset(command: PresetCommand) -> anyhow::Result<Status> {
    let mut out = stdout().lock();
    match command {
        PresetCommand::List => presets::list(&mut out)?,
        PresetCommand::Show { name } => presets::show(&name, &mut out)?,
        PresetCommand::Test { name, stream, json } => {
            let (mut log, mut summary) = (stdin().lock(), stderr().lock());
            presets::test(&name, stream, json, &mut log, &mut out, &mut summary)?;
        }
        PresetCommand::Explain {
            preset,
            slots,
            agent,
        } => presets::explain(preset.as_deref(), slots, &agent, &mut out)?,
    }
    Ok(Status::Success)
}

fn path(socket: SocketArg) -> PathBuf {
    socket.socket.unwrap_or_else(default_socket)
}

/// One line on standard error; the status says whether the person or the world is to blame.
fn complain(error: anyhow::Error) -> Status {
    let io = error.downcast_ref::<std::io::Error>();
    if io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        // Whoever read our output has read enough.
        return Status::Success;
    }
    eprintln!("clockout: {error:#}");
    if error.is::<Usage>() || error.is::<presets::PresetError>() {
        Status::Usage
    } else {
        Status::Failure
    }
}
