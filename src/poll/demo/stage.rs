//! Where the demonstration plays: a directory of its own, the poller, and the certainty that
//! nothing of it is left.

use std::fs::{DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::agent::{Process, free_port};
use crate::control;
use crate::poll::targets::{GroupDir, Occupied};
use crate::sys;

/// Machines that may run at once.
pub const MACHINES: usize = 6;
const GROUP: &str = "demo";
/// A job that is cancelled has two seconds, its agent and its supervisor a little more.
const GOING: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(100);

/// A ready line, jobs reported by hooks, and a drain that lets the job finish.
const PRESET: &str = r#"summary = "the agent of `clockout demo`"
[[ready]]
stream = "stdout"
line = '^ready$'
[detect.hook]
counts = true
[drain]
method = "signal"
signal = "INT"
[cancel]
signal = "TERM"
allow = "2s"
"#;

pub struct Stage {
    dir: PathBuf,
    poller: Child,
    /// Where the status page is.
    pub page: SocketAddr,
    pub machines: GroupDir,
}

impl Stage {
    /// Starts the poller on this queue. The caller must be the main thread: see
    /// [`sys::end_with_us`].
    pub fn set(queue: SocketAddr) -> anyhow::Result<Stage> {
        let dir = make_dir().context("cannot make a directory for temporary files")?;
        Stage::set_in(&dir, queue).inspect_err(|_| {
            // It says why; what may be left is an empty directory.
            let _ = std::fs::remove_dir_all(&dir);
        })
    }

    fn set_in(dir: &Path, queue: SocketAddr) -> anyhow::Result<Stage> {
        let page = SocketAddr::from(([127, 0, 0, 1], free_port(&[queue.port()])?));
        let presets = dir.join("presets");
        std::fs::create_dir(&presets)?;
        std::fs::write(presets.join("demo.toml"), PRESET)?;
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let file = dir.join("clockout.toml");
        std::fs::write(&file, configuration(dir, &program, queue, page))?;
        let log = File::create(dir.join("poll.log"))?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("clockout")
            .args(["poll", "--log-format=text", "--config"])
            .arg(file)
            // Ctrl-C is for us: we end it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (name, _) in std::env::vars_os() {
            // What is meant for another poller must not change this one.
            if name.as_encoded_bytes().starts_with(b"CLOCKOUT_")
                && name != "CLOCKOUT_POWEROFF_COMMAND"
            {
                command.env_remove(name);
            }
        }
        command.env("CLOCKOUT_PRESETS_DIR", presets);
        sys::end_with_us(&mut command);
        Ok(Stage {
            poller: command.spawn().context("cannot start the poller")?,
            dir: dir.to_owned(),
            page,
            machines: GroupDir::new(dir.join(GROUP)),
        })
    }

    /// The instances that run now.
    pub async fn occupied(&self) -> Result<Vec<Occupied>, String> {
        match self.machines.lock_shared().await? {
            Some(lock) => lock.occupied().map_err(|error| error.to_string()),
            None => Ok(Vec::new()),
        }
    }

    /// Why the poller has ended, which it should not.
    pub fn poller_failed(&mut self) -> Option<String> {
        let status = self.poller.try_wait().ok()??;
        Some(format!("the poller ended with {status}"))
    }

    /// The end of the poller's log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("poll.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// What runs and belongs to this demonstration, the poller left out.
    pub fn players(&self) -> Vec<Player> {
        let poller = Pid::from_raw(self.poller.id().cast_signed());
        let mut players = players(&self.dir);
        players.retain(|player| player.pid != poller);
        players
    }

    /// Ends the poller, has the instances that still run cancel and end, kills what does not, and
    /// removes every file. What is left then, which should be nothing.
    pub async fn clear(mut self) -> Vec<Player> {
        self.end_poller().await;
        for occupied in self.occupied().await.unwrap_or_default() {
            let at_once = Some(Duration::from_secs(1));
            let asked = tokio::task::spawn_blocking(move || {
                // One that cannot be asked is killed below.
                let _ = control::drain(&occupied.socket, at_once, false);
            });
            // It has limits of its own.
            let _ = asked.await;
        }
        if !self.gone_within(GOING).await {
            for player in self.players() {
                // Taken again just before: the number is its own, but for microseconds.
                let _ = kill(player.pid, Signal::SIGKILL);
            }
            self.gone_within(GOING).await;
        }
        let left = self.players();
        // A file that cannot be removed runs nothing.
        let _ = std::fs::remove_dir_all(&self.dir);
        left
    }

    async fn end_poller(&mut self) {
        let pid = Pid::from_raw(self.poller.id().cast_signed());
        let process = Process::of_child(pid);
        let _ = process.signal(Signal::SIGTERM);
        if tokio::time::timeout(GOING, process.exited()).await.is_err() {
            let _ = self.poller.kill();
        }
        let _: io::Result<ExitStatus> = self.poller.wait();
    }

    async fn gone_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.players().is_empty() {
            if Instant::now() >= until {
                return false;
            }
            sleep(AGAIN).await;
        }
        true
    }
}

/// A process of this demonstration.
#[derive(Debug, PartialEq, Eq)]
pub struct Player {
    pub pid: Pid,
    /// As it was started.
    pub line: String,
}

/// All of them name its directory: the supervisors in their arguments, the agents and the jobs in
/// their environment, where their supervisor's socket is.
fn players(dir: &Path) -> Vec<Player> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let name = dir.as_os_str().as_encoded_bytes();
    let mut players = Vec::new();
    for entry in entries.flatten() {
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = number.map(Pid::from_raw).filter(|pid| *pid != getpid()) else {
            continue;
        };
        // Empty for zombies, unreadable for strangers.
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let line = read("cmdline");
        let names = |bytes: &[u8]| memchr::memmem::find(bytes, name).is_some();
        if names(&line) || names(&read("environ")) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            players.push(Player { pid, line });
        }
    }
    players
}

fn make_dir() -> io::Result<PathBuf> {
    let name = format!("clockout-demo-{}", std::process::id());
    let mut base = std::env::temp_dir();
    // The instances' sockets are below it, and their paths are short.
    if base.as_os_str().len() > 40 || base.is_relative() {
        base = "/tmp".into();
    }
    let dir = base.join(name);
    DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}

fn configuration(dir: &Path, program: &Path, queue: SocketAddr, page: SocketAddr) -> String {
    // A JSON string is a TOML string.
    let text = |path: &Path| json!(path.to_string_lossy()).to_string();
    let (dir, program) = (text(dir), text(program));
    format!(
        r#"[poll]
interval = "1s"
listen = "{page}"

[[group]]
name = "{GROUP}"
max = {MACHINES}

[group.source]
kind = "http"
url = "http://{queue}/queue"
waiting = "/waiting"
running = "/running"
oldest = "/oldest"

[group.target]
kind = "process"
name = "{GROUP}"
dir = {dir}
command = [{program}, "internal-demo-agent", "--queue", "{queue}"]
run = {{ preset = "demo", idle_timeout = "5s", boot_timeout = "30s", max_lifetime = "5m", drain_timeout = "30s", log_format = "text" }}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_for_it_is_found_by_its_arguments_and_by_its_environment() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut by_arguments = Command::new("sh")
            .args(["-c", "read never", "sh"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut by_environment = Command::new("sh")
            .args(["-c", "read never"])
            .env("CLOCKOUT_SOCKET", dir.path().join("demo/1/socket"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let pids = || -> Vec<_> {
            players(dir.path())
                .iter()
                .map(|it| it.pid.as_raw())
                .collect()
        };
        let found = pids();
        for child in [&mut by_arguments, &mut by_environment] {
            assert!(found.contains(&child.id().cast_signed()), "{found:?}");
            drop(child.stdin.take());
            child.wait().expect("it reads the end");
        }
        assert_eq!(pids(), [0; 0]);
    }

    #[test]
    fn the_configuration_survives_strange_paths() {
        let strange = Path::new("/tmp/it's \"so\"\\ \u{e4}");
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let text = configuration(strange, strange, address, address);
        let table: toml::Table = text.parse().expect("TOML");
        let target = &table["group"][0]["target"];
        assert_eq!(target["dir"].as_str(), strange.to_str());
    }
}
