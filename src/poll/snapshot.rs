//! What the poller knows of itself, for its status page, its metrics and `--explain`: made once a
//! change, read by everyone who asks.

use std::collections::BTreeMap;

use serde::Serialize;

/// Times are seconds since 1970 (UTC), durations seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    pub version: &'static str,
    pub started: f64,
    pub now: f64,
    pub interval: f64,
    pub dry_run: bool,
    /// Whether this poller may launch: it has the lease, or needs none.
    pub leader: bool,
    /// Of all groups: what counts against `max_instances`.
    pub instances: u32,
    pub max_instances: Option<u32>,
    pub groups: Vec<Group>,
    pub sources: Vec<Source>,
    pub backends: Vec<Backend>,
}

impl Snapshot {
    /// The group of that name.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// Jobs of all groups that are known; `None` while none is.
    pub fn waiting(&self) -> Option<u32> {
        sum(self.groups.iter().map(|group| group.waiting))
    }

    /// As [`Snapshot::waiting`].
    pub fn running(&self) -> Option<u32> {
        sum(self.groups.iter().map(|group| group.running))
    }

    /// Instances that exist, of all groups that are known; `None` while none is.
    pub fn alive(&self) -> Option<u32> {
        sum(self.groups.iter().map(|group| group.alive))
    }
}

fn sum(numbers: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    numbers.flatten().reduce(u32::saturating_add)
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Group {
    pub id: String,
    /// `asg ci-linux-small in us-east-1`
    pub target: String,
    pub source: Option<String>,
    pub queue: Option<String>,
    /// Found by its tag, not named in the file.
    pub discovered: bool,
    pub fallback: Option<String>,
    pub slots: u32,
    pub headroom: u32,
    /// `None`: unknown now.
    pub waiting: Option<u32>,
    pub running: Option<u32>,
    /// Seconds the oldest waiting job has waited.
    pub oldest: Option<f64>,
    pub desired: Option<u32>,
    pub alive: Option<u32>,
    pub booting: Option<u32>,
    /// Past their boot deadline: no supply any more, but they count.
    pub stale: Option<u32>,
    /// The least of the group's own, the configured and what the budget leaves.
    pub max: Option<u32>,
    /// Seconds an instance may take to boot.
    pub boot_deadline: f64,
    pub boot_p50: Option<f64>,
    pub boot_p95: Option<f64>,
    pub breaker: Breaker,
    /// The arithmetic of the last decision in one line, and why not more.
    pub decision: Option<String>,
    pub decided: Option<f64>,
    /// Why nothing is decided now.
    pub unknown: Option<String>,
    pub launched_total: u64,
    pub launch_errors_total: BTreeMap<String, u64>,
    /// Decisions that launched, and instances that were asked for and are gone without ever
    /// having been up.
    pub decisions_total: u64,
    pub boot_failures_total: u64,
}

impl Group {
    /// The last decision and what keeps the next one from being made, in one line.
    pub fn explain(&self) -> String {
        let told = match (&self.decision, &self.unknown) {
            (Some(decision), Some(why)) => format!("{decision} (since then unknown: {why})"),
            (Some(decision), None) => decision.clone(),
            (None, Some(why)) => format!("not decided: {why}"),
            (None, None) => "not decided yet".to_owned(),
        };
        // Errors of services may have more lines.
        format!("{}: {told}", self.id).replace(['\r', '\n'], " ")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Breaker {
    #[default]
    Closed,
    /// Nothing is launched until then.
    Open { why: String, until: f64 },
    /// One is tried.
    HalfOpen { why: String },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Source {
    pub id: String,
    pub kind: String,
    pub queues: usize,
    /// When it last told something.
    pub good: Option<f64>,
    pub error: Option<String>,
    pub remarks: Vec<String>,
    pub fetches_total: u64,
    pub errors_total: u64,
    /// How long the last round took.
    pub took: Option<f64>,
    /// When it is asked next.
    pub next: Option<f64>,
    /// How often it wants to be asked, where that is less often than the interval.
    pub every: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Backend {
    pub id: String,
    pub kind: String,
    pub good: Option<f64>,
    pub error: Option<String>,
    /// By operation: `DescribeAutoScalingGroups`.
    pub calls_total: BTreeMap<String, u64>,
    pub errors_total: u64,
}
