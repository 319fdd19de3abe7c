//! One `clockout` process: its arguments, its output, its log, its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::init::{Exit, Start, init};
use super::{PATIENCE, wait_for, wait_until};

pub struct Clockout {
    pid: i32,
    logs: PathBuf,
}

/// How a finished process ended, and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// The end, and the one line on standard error that explains it.
    #[track_caller]
    pub fn refused(&self, status: i32) -> &str {
        assert_eq!(self.exit, Exit::Code(status), "{}", self.stderr);
        let lines: Vec<_> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one line says it: {}", self.stderr);
        lines[0]
    }
}

/// One event of the log.
#[derive(Debug, Clone)]
pub struct LogLine(pub Value);

impl LogLine {
    /// Its name, without the explanation that may follow.
    pub fn event(&self) -> &str {
        let message = self.0["message"].as_str().unwrap_or_default();
        message.split_once(':').map_or(message, |(name, _)| name)
    }

    /// A field, as text whatever its type.
    pub fn field(&self, name: &str) -> String {
        match &self.0[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}

impl Clockout {
    /// Private to the bed, whose environment keeps the host safe.
    pub(super) fn start(argv: Vec<String>, env: BTreeMap<String, String>, logs: &Path) -> Clockout {
        let guarded = env.contains_key("CLOCKOUT_POWEROFF_COMMAND");
        let unguarded = argv.iter().any(|word| word.contains("--poweroff-command"));
        assert!(
            guarded && !unguarded,
            "tests never use another power-off command"
        );
        let stream = |name: &str| logs.with_extension(name);
        fs::write(stream("argv"), format!("{argv:?}")).expect("a file");
        // env(1) finds programs on PATH.
        let env_program = ["/usr/bin/env".to_owned()];
        let start = Start {
            argv: env_program.into_iter().chain(argv).collect(),
            env,
            stdin: "/dev/null".into(),
            stdout: stream("stdout"),
            stderr: stream("stderr"),
        };
        Clockout {
            pid: init().spawn(&start).expect("env(1) is executable"),
            logs: logs.to_owned(),
        }
    }

    pub fn signal(&self, signal: Signal) {
        // Gone already: the test will see how it ended.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Ends it as a crash or the OOM killer would, and waits until it is gone.
    pub fn kill_9(&self) {
        self.signal(Signal::SIGKILL);
        init().wait(self.pid, PATIENCE).expect("SIGKILL ends it");
    }

    #[track_caller]
    pub fn wait_exit(&self) -> Exit {
        match init().wait(self.pid, PATIENCE) {
            Some(exit) => exit,
            None => panic!("clockout still runs"),
        }
    }

    #[track_caller]
    pub fn output(&self) -> Output {
        Output {
            exit: self.wait_exit(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    pub fn has_ended(&self) -> bool {
        init().wait(self.pid, std::time::Duration::ZERO).is_some()
    }

    pub fn stdout(&self) -> Vec<u8> {
        fs::read(self.logs.with_extension("stdout")).unwrap_or_default()
    }

    /// Its log and its agent's standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.raw_stderr()).into_owned()
    }

    pub fn raw_stderr(&self) -> Vec<u8> {
        fs::read(self.logs.with_extension("stderr")).unwrap_or_default()
    }

    /// Its log so far, without what the agent wrote between.
    pub fn log(&self) -> Vec<LogLine> {
        let lines = self.stderr();
        let json = lines.lines().filter(|line| line.starts_with('{'));
        json.filter_map(|line| serde_json::from_str(line).ok().map(LogLine))
            .collect()
    }

    pub fn events(&self, name: &str) -> Vec<LogLine> {
        let log = self.log().into_iter();
        log.filter(|line| line.event() == name).collect()
    }

    /// Waits for the first event of this name.
    #[track_caller]
    pub fn wait_event(&self, name: &str) -> LogLine {
        wait_for(name, || self.events(name).into_iter().next())
    }

    /// Waits for so many events of this name.
    #[track_caller]
    pub fn wait_events(&self, name: &str, count: usize) {
        wait_until(name, || self.events(name).len() >= count);
    }
}
