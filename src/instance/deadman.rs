//! The last rung: something outside this process that powers the machine off when all else fails.
//!
//! A systemd timer where there is systemd, because it outlives the supervisor's unit; else a
//! small process of our own in its own session. Both are meant to be armed anew, later, rather
//! than to be right the first time.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::{Pid, geteuid, setsid};
use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

use super::poweroff::{Runner, halt, has_systemd, no_input};
use crate::exit::Status;
use crate::lifecycle::Exit;

const SYSTEMD_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the watchdog's attempts, which get harder.
const AGAIN: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 5;

/// An armed dead-man. To be stored, so that a later supervisor can disarm it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Armed {
    /// A transient systemd timer of this name.
    Timer { unit: String },
    /// A process of ours, told from a later one with its pid by when it started.
    Watchdog { pid: i32, start_time: u64 },
}

/// Has the machine powered off in `after` from now, by `command` if there is one. `None`: nothing
/// could be armed, which is logged.
pub async fn arm(
    runner: &mut impl Runner,
    after: Duration,
    command: Option<&[String]>,
) -> Option<Armed> {
    let timer = if has_systemd() && geteuid().is_root() {
        arm_timer(runner, after, command).await
    } else {
        None
    };
    let armed = timer.or_else(|| start_watchdog(after, command));
    match &armed {
        Some(armed) => info!(after = after.as_secs(), ?armed, "deadman.armed"),
        None => warn!("deadman.unarmed: nothing ends this machine if retirement fails"),
    }
    armed
}

async fn arm_timer(
    runner: &mut impl Runner,
    after: Duration,
    command: Option<&[String]>,
) -> Option<Armed> {
    let unit = format!("clockout-deadman-{}", uptime().as_millis());
    let mut argv: Vec<String> = ["systemd-run", "--quiet", "--collect"]
        .map(str::to_owned)
        .into();
    argv.push(format!("--unit={unit}"));
    argv.push(format!("--on-active={}s", after.as_secs()));
    argv.extend(["--timer-property=AccuracySec=1s", "--"].map(str::to_owned));
    match command {
        Some(command) => argv.extend_from_slice(command),
        // Whatever keeps an orderly shutdown from ending must not keep this one.
        None => argv.extend(["systemctl", "poweroff", "--force"].map(str::to_owned)),
    }
    let exit = runner.run(argv, SYSTEMD_TIMEOUT).await;
    if exit == Some(Exit::Code(0)) {
        return Some(Armed::Timer { unit });
    }
    let exit = exit.map(|exit| exit.to_string());
    warn!(exit, "deadman.timer_failed");
    None
}

fn start_watchdog(after: Duration, command: Option<&[String]>) -> Option<Armed> {
    // Not by name: the file may have been replaced or removed since we were started.
    let mut watchdog = Command::new("/proc/self/exe");
    watchdog
        .arg0("clockout-deadman")
        .args(["internal-deadman", "--after-seconds"])
        .arg(after.as_secs().to_string())
        .arg("--")
        .args(command.unwrap_or_default())
        .current_dir("/")
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        // Whoever reads our output must not wait for this one to close it.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // The reaper learns of its end; the handle is of no use.
    let pid = match watchdog.spawn() {
        Ok(child) => child.id() as i32,
        Err(error) => {
            warn!(%error, "deadman.watchdog_failed");
            return None;
        }
    };
    let start_time = start_time(pid)?;
    Some(Armed::Watchdog { pid, start_time })
}

impl Armed {
    /// The process that must survive whatever is done to our other children.
    pub fn watchdog(&self) -> Option<Pid> {
        match self {
            Armed::Watchdog { pid, .. } => Some(Pid::from_raw(*pid)),
            Armed::Timer { .. } => None,
        }
    }

    /// The machine stays. To arm anew, arm the new one before this one is disarmed.
    pub async fn disarm(self, runner: &mut impl Runner) {
        debug!(armed = ?self, "deadman.disarmed");
        match self {
            Armed::Timer { unit } => {
                let argv = ["systemctl", "stop", "--quiet"]
                    .map(str::to_owned)
                    .into_iter();
                let argv = argv.chain([format!("{unit}.timer")]).collect();
                let exit = runner.run(argv, SYSTEMD_TIMEOUT).await;
                if exit != Some(Exit::Code(0)) {
                    let exit = exit.map(|exit| exit.to_string());
                    warn!(%unit, exit, "deadman.not_disarmed");
                }
            }
            Armed::Watchdog {
                pid,
                start_time: armed_at,
            } => {
                if start_time(pid) == Some(armed_at) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

/// The hidden subcommand `internal-deadman`: sleeps, then powers off by `command`, or by systemd
/// and reboot(2) when there is none.
pub fn watchdog_main(after: Duration, command: Vec<String>) -> Status {
    // Blocked rather than ignored: nobody ends this by accident, and the command that it runs in
    // the end gets a clean mask from std.
    if let Err(error) = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None) {
        warn!(%error, "deadman.signals_unblocked");
    }
    if let Err(error) = setsid() {
        // It leads its session already.
        debug!(%error, "deadman.setsid");
    }
    sleep_until(uptime().saturating_add(after));
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep_until(uptime().saturating_add(AGAIN));
        }
        if fire(&command, attempt) && !command.is_empty() {
            return Status::Success;
        }
    }
    Status::Failure
}

/// One attempt; whether it was accepted.
fn fire(command: &[String], attempt: u32) -> bool {
    let run = |program: &str, args: &[String]| {
        let status = Command::new(program).args(args).stdin(no_input()).status();
        status.is_ok_and(|status| status.success())
    };
    match command.split_first() {
        Some((program, args)) => run(program, args),
        None if attempt == 0 && has_systemd() => {
            run("systemctl", &["poweroff".to_owned(), "--force".to_owned()])
        }
        None => {
            halt();
            false
        }
    }
}

/// On the clock that runs through suspend: a machine asleep is a machine paid for.
fn sleep_until(at: Duration) {
    let at = TimeSpec::from_duration(at);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_BOOTTIME, flags, &at) == Err(Errno::EINTR) {}
}

/// Time since the machine started, suspend included.
pub(super) fn uptime() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME);
    time.map_or(Duration::ZERO, Duration::from)
}

/// Field 22 of `/proc/PID/stat`. The second field, the name, may hold anything but ends with the
/// last parenthesis.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firing_runs_the_command_and_reports_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let mark = dir.path().join("off");
        let command = ["touch".to_owned(), mark.display().to_string()];
        assert!(fire(&command, 0));
        assert!(mark.exists());
        assert!(!fire(&["false".to_owned()], 0));
    }

    #[test]
    fn sleeping_until_the_past_returns() {
        sleep_until(Duration::ZERO);
        let soon = uptime() + Duration::from_millis(20);
        sleep_until(soon);
        assert!(uptime() >= soon);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id() as i32;
        assert!(start_time(own).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(-1), None);
    }

    struct NoRunner;

    impl Runner for NoRunner {
        async fn run(&mut self, _: Vec<String>, _: Duration) -> Option<Exit> {
            None
        }
    }

    #[tokio::test]
    async fn disarming_kills_that_process_and_no_later_one() {
        let mut child = Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("sleep runs");
        let pid = child.id() as i32;
        let started = start_time(pid).expect("it runs");
        let armed = |start_time| Armed::Watchdog { pid, start_time };
        armed(started + 1).disarm(&mut NoRunner).await;
        assert!(matches!(child.try_wait(), Ok(None)));
        armed(started).disarm(&mut NoRunner).await;
        let ended = child.wait().expect("it was killed");
        assert!(!ended.success());
    }
}
