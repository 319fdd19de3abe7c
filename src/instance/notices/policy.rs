//! What a person decides about notices: `--on-rebalance` and its neighbours.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How notices are acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticePolicy {
    pub on_rebalance: OnRebalance,
    /// A younger machine goes on working: most recommendations are followed by nothing, and who
    /// follows every one of them replaces machines for ever
    /// (aws-node-termination-handler issue 141: 21 of 30).
    pub rebalance_min_age: Duration,
    /// Running jobs are cancelled so long before the machine is taken away, for the CI server to
    /// hear of it.
    pub cancel_before: Duration,
    /// Between two looks at the metadata service.
    pub interval: Duration,
}

impl Default for NoticePolicy {
    fn default() -> Self {
        NoticePolicy {
            on_rebalance: OnRebalance::default(),
            rebalance_min_age: Duration::from_secs(30 * 60),
            cancel_before: Duration::from_secs(20),
            interval: Duration::from_secs(5),
        }
    }
}

/// What a rebalance recommendation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRebalance {
    #[default]
    Ignore,
    /// The machine leaves when a job ends, or at once when none runs.
    AfterJob,
    /// It takes no further job; those that run may finish.
    Now,
}

impl OnRebalance {
    pub const ALL: [OnRebalance; 3] =
        [OnRebalance::Ignore, OnRebalance::AfterJob, OnRebalance::Now];

    pub fn as_str(self) -> &'static str {
        match self {
            OnRebalance::Ignore => "ignore",
            OnRebalance::AfterJob => "after-job",
            OnRebalance::Now => "now",
        }
    }
}

impl fmt::Display for OnRebalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OnRebalance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = OnRebalance::ALL
            .into_iter()
            .find(|choice| choice.as_str() == text);
        known.ok_or_else(|| {
            let all = OnRebalance::ALL.map(OnRebalance::as_str).join(", ");
            format!("unknown answer to a rebalance recommendation '{text}', use one of: {all}")
        })
    }
}
