//! Every process of a test is started by one helper, `init.py`, which plays the machine's init:
//! it adopts and reaps orphans, and when this test binary ends, however it does, it kills all.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// A process to start. The environment is complete: nothing is inherited.
pub struct Start {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub stdin: PathBuf,
    pub stdout: PathBuf,
    pub stderr: PathBuf,
}

pub struct Init {
    /// Held from a request to its answer, so that answers need no numbers.
    requests: Mutex<ChildStdin>,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    answer: Option<Value>,
    exits: HashMap<i32, Exit>,
    ended: bool,
}

/// The one of this test binary.
pub fn init() -> &'static Init {
    static INIT: OnceLock<Init> = OnceLock::new();
    INIT.get_or_init(Init::start)
}

impl Init {
    fn start() -> Init {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/support/init.py");
        let mut child = Command::new("python3")
            .args(["-S", "-E"])
            .arg(script)
            // Whoever ends the test run's group must not end who cleans up after it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let requests = child.stdin.take().expect("piped");
        let answers = child.stdout.take().expect("piped");
        let state = Arc::new((Mutex::default(), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            read_answers(answers, &shared);
            let _ = child.wait();
        });
        Init {
            requests: Mutex::new(requests),
            state,
        }
    }

    /// Starts a process in a session of its own; its pid.
    pub fn spawn(&self, start: &Start) -> Result<i32, String> {
        let answer = self.ask(&json!({
            "op": "spawn",
            "argv": start.argv,
            "env": start.env,
            "stdin": start.stdin,
            "stdout": start.stdout,
            "stderr": start.stderr,
        }));
        match answer["pid"].as_i64() {
            Some(pid) => Ok(pid as i32),
            None => Err(format!(
                "cannot start {:?}: {}",
                start.argv, answer["error"]
            )),
        }
    }

    /// Kills every process with this `NAME=value` in its environment, and waits until it is gone.
    pub fn end(&self, mark: &str) {
        self.ask(&json!({"op": "end", "mark": mark}));
    }

    /// Waits for a process that this init can have reaped: its child, or an orphan.
    pub fn wait(&self, pid: i32, patience: Duration) -> Option<Exit> {
        let (lock, changed) = &*self.state;
        let state = lock.lock().expect("no holder panics");
        let (state, _) = changed
            .wait_timeout_while(state, patience, |state| {
                !state.exits.contains_key(&pid) && !state.ended
            })
            .expect("no holder panics");
        state.exits.get(&pid).copied()
    }

    fn ask(&self, request: &Value) -> Value {
        let mut requests = self.requests.lock().expect("no holder panics");
        writeln!(requests, "{request}").expect("init.py runs");
        let (lock, changed) = &*self.state;
        let state = lock.lock().expect("no holder panics");
        let mut state = changed
            .wait_while(state, |state| state.answer.is_none() && !state.ended)
            .expect("no holder panics");
        state.answer.take().unwrap_or_default()
    }
}

fn read_answers(answers: ChildStdout, shared: &(Mutex<State>, Condvar)) {
    let (lock, changed) = shared;
    for line in BufReader::new(answers).lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).expect("init.py writes JSON");
        let mut state = lock.lock().expect("no holder panics");
        if let Some(pid) = message["exit"].as_i64() {
            let number = |value: &Value| value.as_i64().map(|n| n as i32);
            let exit = match number(&message["signal"]) {
                Some(signal) => Exit::Signal(signal),
                None => Exit::Code(number(&message["code"]).expect("code or signal")),
            };
            state.exits.insert(pid as i32, exit);
        } else {
            if let Some(pid) = message["pid"].as_i64() {
                // The number may have been another process's before.
                state.exits.remove(&(pid as i32));
            }
            state.answer = Some(message);
        }
        changed.notify_all();
    }
    lock.lock().expect("no holder panics").ended = true;
    changed.notify_all();
}
