//! The demonstration's CI agent: takes a job, runs it, takes the next. It is as real as a small
//! agent can be: jobs are processes of their own, reported by `clockout job exec`; SIGINT lets the
//! job finish, SIGTERM cancels it.

use std::io::{self, Read, Write, stdout};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::Status;

/// What stands here for a machine that boots.
const BOOT: Duration = Duration::from_millis(1800);
/// Between two questions for a job, and two looks at one that runs.
const AGAIN: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Job {
    id: u64,
    seconds: f32,
}

struct Wishes {
    drain: Arc<AtomicBool>,
    cancel: Arc<AtomicBool>,
}

impl Wishes {
    fn hear() -> io::Result<Wishes> {
        let wishes = Wishes {
            drain: Arc::default(),
            cancel: Arc::default(),
        };
        signal_hook::flag::register(SIGINT, Arc::clone(&wishes.drain))?;
        signal_hook::flag::register(SIGTERM, Arc::clone(&wishes.cancel))?;
        Ok(wishes)
    }

    fn cancels(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn ends(&self) -> bool {
        self.cancels() || self.drain.load(Ordering::Relaxed)
    }
}

/// The hidden subcommand `internal-demo-agent`.
pub fn agent(queue: SocketAddr) -> anyhow::Result<Status> {
    let wishes = Wishes::hear().context("cannot handle signals")?;
    sleep(BOOT);
    writeln!(stdout(), "ready")?;
    while !wishes.ends() {
        match claim(queue) {
            Ok(Some(job)) => run(queue, &job, &wishes)?,
            // A server that is away for a while may come back; the idle timeout is not ours.
            Ok(None) | Err(_) => sleep(AGAIN),
        }
    }
    Ok(Status::Success)
}

/// The hidden subcommand `internal-demo-job`: works for so long.
pub fn job(seconds: f32) -> Status {
    sleep(Duration::try_from_secs_f32(seconds).unwrap_or_default());
    Status::Success
}

fn claim(queue: SocketAddr) -> io::Result<Option<Job>> {
    match call(queue, "POST", "/claim")? {
        (200, body) => Ok(Some(serde_json::from_slice(&body)?)),
        _ => Ok(None),
    }
}

fn run(queue: SocketAddr, job: &Job, wishes: &Wishes) -> anyhow::Result<()> {
    let own = || {
        // Not by name: the file may have been replaced or removed since we were started.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("clockout");
        command
    };
    writeln!(stdout(), "job {} takes {:.1} s", job.id, job.seconds)?;
    let mut child = own()
        .args(["job", "exec", "--id", &format!("job-{}", job.id), "--"])
        .args([
            "/proc/self/exe",
            "internal-demo-job",
            &job.seconds.to_string(),
        ])
        .spawn()
        .context("cannot start a job")?;
    let status = wait(&mut child, wishes)?;
    let end = if status.success() { "passed" } else { "failed" };
    writeln!(stdout(), "job {} {end}", job.id)?;
    // Told again and again, as a real agent would; a server that is gone for good ends nothing.
    while call(queue, "POST", &format!("/{end}/{}", job.id)).is_err() && !wishes.ends() {
        sleep(AGAIN);
    }
    Ok(())
}

fn wait(child: &mut Child, wishes: &Wishes) -> io::Result<ExitStatus> {
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if wishes.cancels() && !told {
            told = true;
            // It is not reaped, so the number is its own.
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        }
        sleep(AGAIN);
    }
}

/// One request without a body, on a connection of its own: its status and answer.
pub fn call(to: SocketAddr, method: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(1024 * 1024).read_to_end(&mut answer)?;
    let broken = || io::Error::other("that is no HTTP");
    let head = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or_else(broken)?;
    let status = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .ok_or_else(broken)?;
    Ok((status, answer.split_off(head + 4)))
}
