//! Tests that own their whole process: `reap` waits for every child there is, and signal
//! dispositions and the subreaper flag belong to the process too.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::spawn::{Output, Spec};

const ROLE: &str = "TEST_ROLE";

/// Runs `body` alone in a process: in this one if it was started for that, else in a new one,
/// which must pass. `test` is the full name of the calling test.
pub fn alone(test: &str, body: impl FnOnce()) {
    alone_under(&[], test, body);
}

/// The same, with the new process started through this command line.
pub fn alone_under(wrapper: &[&str], test: &str, body: impl FnOnce()) {
    if role().is_some() {
        return body();
    }
    let output = command(wrapper, test, "alone").output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{test} alone: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What this process was started for by [`command`].
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// This test binary, running only `test`, in this role.
pub fn command(wrapper: &[&str], test: &str, role: &str) -> Command {
    let own = env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let mut line = [
        wrapper,
        &[own, test, "--exact", "--nocapture", "--test-threads=1"],
    ]
    .concat();
    let mut command = Command::new(line.remove(0));
    command.args(line).env(ROLE, role).stdin(Stdio::null());
    command
}

/// `sh -c SCRIPT`, with nothing tapped.
pub fn shell(script: &str) -> Spec {
    Spec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        user: None,
        env: Vec::new(),
        stdout: Output::Inherit,
        stderr: Output::Inherit,
        socket: socket(),
        interactive: true,
        cgroup: None,
    }
}

pub fn socket() -> PathBuf {
    PathBuf::from(format!("/run/clockout-test-{}.sock", std::process::id()))
}

/// Waits for something that other processes do, for as long as a busy machine may need.
#[allow(
    clippy::disallowed_methods,
    reason = "there is no event for what other processes do to each other"
)]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
