//! The simulated CI agent: what it is told to do, and what it wrote down.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A scenario for `agent.py`. Without further words: one slot, endless jobs of 0 ms, each
/// starting when the last has ended, and the log and signals of buildkite-agent.
#[derive(Debug, Clone)]
pub struct Agent {
    options: Vec<String>,
    events: PathBuf,
}

/// One thing that really happened in an agent.
#[derive(Debug, Clone)]
pub struct AgentEvent {
    pub name: String,
    pub pid: i32,
    pub fields: Value,
}

impl Agent {
    pub fn new(dir: &Path) -> Agent {
        Agent {
            options: Vec::new(),
            events: dir.join("agent-events"),
        }
    }

    /// Adds an option of `agent.py`: `--job-ms 20 40`.
    pub fn with(mut self, option: &str) -> Agent {
        self.options
            .extend(option.split_whitespace().map(str::to_owned));
        self
    }

    /// Reports its jobs by `clockout job start|finish`, and by nothing else.
    pub fn with_hooks(self) -> Agent {
        let clockout = env!("CARGO_BIN_EXE_clockout");
        self.with("--log silent --hook").with(clockout)
    }

    pub fn argv(&self) -> Vec<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/support/agent.py");
        let head = [script, "--events".into(), self.events.clone()];
        let head = head.iter().map(|part| part.display().to_string());
        head.chain(self.options.iter().cloned()).collect()
    }

    pub fn events(&self) -> Vec<AgentEvent> {
        let text = std::fs::read_to_string(&self.events).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| {
                let fields: Value = serde_json::from_str(line).expect("agent.py writes JSON");
                AgentEvent {
                    name: fields["event"].as_str().expect("named").to_owned(),
                    pid: fields["pid"].as_i64().expect("a pid") as i32,
                    fields,
                }
            })
            .collect()
    }

    pub fn count(&self, name: &str) -> usize {
        self.events()
            .iter()
            .filter(|event| event.name == name)
            .count()
    }

    /// The names of the signals it got, in order.
    pub fn signals(&self) -> Vec<String> {
        let events = self.events().into_iter();
        let signals = events.filter(|event| event.name == "signal");
        signals
            .map(|event| {
                event.fields["signal"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }
}
