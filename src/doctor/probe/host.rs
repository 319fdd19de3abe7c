//! Looking at the machine itself. Changes nothing: a file that is written to see whether that
//! works is removed at once.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};
use serde::Deserialize;
use tokio::time::Instant;

use super::command::output;
use crate::agent::User;
use crate::control::{SocketState, socket_state};
use crate::doctor::Subject;
use crate::doctor::facts::{Fact, Host, Polkit, PowerOff, SocketPlace, Unknown, UserFault};
use crate::instance::{has_systemd, is_container};

/// Questions to logind, without a client library (org.freedesktop.login1(5)).
const LOGIND: [&str; 7] = [
    "busctl",
    "--system",
    "--json=short",
    "call",
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
];

pub(super) async fn look(subject: &Subject<'_>, until: Instant) -> Host {
    let config = subject.config;
    let (power_off, inhibitors) = tokio::join!(power_off(subject, until), inhibitors(until));
    let is_root = geteuid().is_root();
    Host {
        is_container: is_container(),
        is_root,
        power_off,
        inhibitors,
        has_timers: is_root && has_systemd() && find("systemd-run".as_ref()).is_some(),
        credentials: credentials(),
        state_dir: writable(&config.state_dir).map_err(|error| error.to_string()),
        socket: socket(&config.socket),
        user: subject.user.map(|name| {
            let found = User::lookup(name);
            let found = found.map_err(|error| UserFault::Unknown(error.to_string()));
            (name.to_owned(), found.and_then(|user| become_user(&user)))
        }),
        missing_hooks: missing(&config.retire.before_retire),
        agent: agent(subject),
    }
}

async fn power_off(subject: &Subject<'_>, until: Instant) -> PowerOff {
    if let Some(command) = &subject.config.retire.poweroff_command {
        let program = command.first().map(OsStr::new).and_then(find);
        return PowerOff::Command(command.join(" "), program.is_some());
    }
    if !has_systemd() || find("systemctl".as_ref()).is_none() {
        return PowerOff::Reboot(may_reboot());
    }
    if geteuid().is_root() {
        return PowerOff::Systemd(Polkit::NotAsked);
    }
    let answer = logind::<(String,)>("CanPowerOff", until).await;
    PowerOff::Systemd(match answer {
        Ok((word,)) if word == "yes" => Polkit::Yes,
        Ok((word,)) => Polkit::No(word),
        Err(why) => Polkit::Unknown(why),
    })
}

/// What, who, why, mode, uid, pid.
type Lock = (String, String, String, String, u32, u32);

async fn inhibitors(until: Instant) -> Fact<Vec<String>> {
    if !has_systemd() {
        return Ok(Vec::new());
    }
    let answer = logind("ListInhibitors", until).await;
    answer.map(blocking).map_err(Unknown::because)
}

async fn logind<T: for<'de> Deserialize<'de>>(method: &str, until: Instant) -> Result<T, String> {
    let argv: Vec<_> = LOGIND.into_iter().chain([method]).collect();
    read_answer(&output(&argv, until).await?)
}

/// busctl writes the type, and a list of what is returned.
fn read_answer<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Answer<T> {
        data: T,
    }
    let answer = serde_json::from_str::<Answer<T>>(text);
    let answer = answer.map_err(|error| format!("logind's answer cannot be read: {error}"))?;
    Ok(answer.data)
}

/// Those that keep a shutdown from happening, and not only from happening at once.
fn blocking((locks,): (Vec<Lock>,)) -> Vec<String> {
    let blocks =
        |lock: &Lock| lock.3 == "block" && lock.0.split(':').any(|what| what == "shutdown");
    let locks = locks.into_iter().filter(blocks);
    locks
        .map(|(_, who, why, ..)| format!("{who} ({why})"))
        .collect()
}

/// CAP_SYS_BOOT, bit 22 (capabilities(7), proc(5)).
fn may_reboot() -> bool {
    const SYS_BOOT: u32 = 22;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << SYS_BOOT) != 0)
}

/// What the SDK takes before it asks the metadata service ("Credential providers" of the AWS SDK
/// for Rust).
fn credentials() -> Vec<String> {
    const VARIABLES: [&str; 5] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let is_set = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut all: Vec<_> = VARIABLES
        .iter()
        .filter(|name| is_set(name))
        .map(|name| (*name).to_owned())
        .collect();
    let named = env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let usual = || Some(PathBuf::from(env::var_os("HOME")?).join(".aws/credentials"));
    let file = named.or_else(usual).filter(|file| file.exists());
    all.extend(file.map(|file| file.display().to_string()));
    all
}

/// Whether files can be made there, or the directory itself.
fn writable(dir: &Path) -> io::Result<()> {
    if dir.exists() {
        // Only a write tells of a full disk.
        let path = dir.join(format!(".doctor-{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        let written = file
            .write_all(b"clockout doctor")
            .and_then(|()| file.sync_data());
        fs::remove_file(&path)?;
        return written;
    }
    may_make(dir)
}

/// Whether a file of this name could be made, with the directories above it.
fn may_make(path: &Path) -> io::Result<()> {
    let above = path.ancestors().skip(1).find(|dir| dir.exists());
    // A name alone is in the directory that we are in.
    let above = above.unwrap_or(Path::new("."));
    if !above.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(access(above, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

fn socket(path: &Path) -> SocketPlace {
    match socket_state(path) {
        Err(error) => SocketPlace::Unusable(error.to_string()),
        Ok(SocketState::Taken) => SocketPlace::Taken,
        Ok(SocketState::Free) => match may_make(path) {
            Ok(()) => SocketPlace::Free,
            Err(error) => SocketPlace::Unusable(error.to_string()),
        },
    }
}

fn become_user(user: &User) -> Result<(), UserFault> {
    let own = geteuid();
    match own.is_root() || own == user.uid {
        true => Ok(()),
        false => Err(UserFault::NotAllowed),
    }
}

fn missing(commands: &[Vec<String>]) -> Vec<String> {
    let program = |command: &&Vec<String>| command.first().map(OsStr::new).and_then(find);
    let missing = commands.iter().filter(|command| program(command).is_none());
    missing.map(|command| command.join(" ")).collect()
}

/// The agent's program, as the preset has it started.
fn agent(subject: &Subject<'_>) -> Option<Result<PathBuf, String>> {
    if let Some(refusal) = subject.refused {
        return Some(Err(refusal.to_owned()));
    }
    let program = subject.config.launch.argv.first()?;
    let shown = program.display();
    Some(
        find(program).ok_or_else(|| match program.as_bytes().contains(&b'/') {
            true => format!("{shown} does not exist or cannot be executed"),
            false => format!("{shown} is not in PATH"),
        }),
    )
}

/// The file that would be executed under this name.
fn find(program: &OsStr) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        let file = fs::metadata(path);
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(program)).filter(executable);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_executed_is_found() {
        assert_eq!(find("/bin/sh".as_ref()), Some(PathBuf::from("/bin/sh")));
        assert!(find("sh".as_ref()).is_some());
        assert_eq!(find("/etc/passwd".as_ref()), None);
        assert_eq!(find("/".as_ref()), None);
        assert_eq!(find("no-such-program-here".as_ref()), None);
    }

    #[test]
    fn only_locks_that_block_a_shutdown_count() {
        let lock = |what: &str, who: &str, mode: &str| {
            format!(r#"["{what}","{who}","upgrading","{mode}",0,1]"#)
        };
        let locks = [
            lock("shutdown:sleep", "apt", "block"),
            lock("sleep:shutdown", "network", "delay"),
            lock("handle-lid-switch", "desktop", "block"),
        ];
        let text = format!(r#"{{"type":"a(ssssuu)","data":[[{}]]}}"#, locks.join(","));
        assert_eq!(
            read_answer(&text).map(blocking),
            Ok(vec!["apt (upgrading)".to_owned()])
        );
        let none = r#"{"type":"a(ssssuu)","data":[[]]}"#;
        assert_eq!(read_answer(none).map(blocking), Ok(vec![]));
        let word = read_answer::<(String,)>(r#"{"type":"s","data":["challenge"]}"#);
        assert_eq!(word, Ok(("challenge".to_owned(),)));
        assert!(read_answer::<(String,)>("Access denied").is_err());
    }

    #[test]
    fn a_directory_that_does_not_exist_yet_can_be_made_below_one_that_can_be_written() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(writable(dir.path()).is_ok());
        assert_eq!(
            fs::read_dir(dir.path()).expect("read").count(),
            0,
            "nothing is left behind"
        );
        assert!(writable(&dir.path().join("deep/er")).is_ok());
        assert!(!dir.path().join("deep").exists(), "nothing is made");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(writable(&file).is_err());
        assert!(writable(&file.join("below")).is_err());
    }
}
