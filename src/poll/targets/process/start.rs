//! Starting an instance so that it owes the poller nothing: its own session, its own log, the
//! lock on its slot, and no secret of ours.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use super::Spec;
use super::slots::Slot;
use crate::poll::plan::Member;
use crate::sys;

/// What every program expects. Nothing of `run`'s own is private to it: agents get none of it.
const PASSED: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "CLOCKOUT_PRESETS_DIR",
    "CLOCKOUT_POWEROFF_COMMAND",
];

/// Options of `run` that are the target's own business.
const OURS: [&str; 3] = ["state_dir", "socket", "dry_run"];

/// The options of a `run` table as arguments, or which of them cannot be had.
pub fn flags(run: &toml::Table) -> Result<Vec<String>, String> {
    let mut flags = Vec::new();
    for (key, value) in run {
        if OURS.contains(&key.as_str()) {
            return Err(format!("run.{key}: is set by the target; remove it"));
        }
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(is) => is.to_string(),
            _ => return Err(format!("run.{key}: cannot be set for processes; remove it")),
        };
        if key == "retire" && value != "exit" {
            return Err(format!(
                "run.retire = \"{value}\": instances on this machine can only 'exit'; remove it"
            ));
        }
        flags.push(format!("--{}={value}", key.replace('_', "-")));
    }
    Ok(flags)
}

/// Starts the instance, which `program` runs, in its slot.
pub fn start(
    program: &Path,
    spec: &Spec,
    slot: Slot,
    member: &Member,
    token: &str,
) -> io::Result<Child> {
    let dir = slot.dir().to_owned();
    let mut command = Command::new(program);
    dress(&mut command, spec, slot.number, member, &dir).map_err(io::Error::other)?;
    let work = dir.join("work");
    std::fs::create_dir_all(&work)?;
    let log = new_log(&dir)?;
    command
        .current_dir(work)
        .stdout(log.try_clone()?)
        .stderr(log)
        // It reads as empty, and stays locked as long as any of its copies is open: no process
        // but the instance and what it starts has one.
        .stdin(slot.lock.try_clone()?);
    slot.write_record(member, token)?;
    command.spawn()
}

/// Arguments, environment and session.
fn dress(
    command: &mut Command,
    spec: &Spec,
    slot: u32,
    member: &Member,
    dir: &Path,
) -> Result<(), String> {
    command.arg0("clockout");
    let option = |name: &str, value: &Path| {
        let mut option = OsString::from(format!("--{name}="));
        option.push(value);
        option
    };
    command
        .args(["run", "--config=/dev/null", "--retire=exit"])
        .arg(option("state-dir", &dir.join("state")))
        .arg(option("socket", &dir.join("socket")))
        .args(
            flags(&spec.run)?
                .iter()
                .filter(|flag| *flag != "--retire=exit"),
        )
        .arg("--");
    for word in &spec.command {
        let word = word.replace("{slot}", &slot.to_string());
        command.arg(word.replace("{instance}", member.as_str()));
    }
    command.env_clear();
    let passed = PASSED
        .into_iter()
        .chain(spec.pass_env.iter().map(String::as_str));
    for name in passed {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    sys::new_session(command);
    Ok(())
}

/// The log of the instance before is kept.
fn new_log(dir: &Path) -> io::Result<File> {
    let log = dir.join("log");
    match std::fs::rename(&log, dir.join("log.old")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create(log)
}
