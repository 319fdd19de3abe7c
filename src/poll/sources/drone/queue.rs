//! The queue of Drone 1.x and 2.x: which of its stages wait for one of our runners.
//!
//! The rules are those by which the server itself hands out stages (`scheduler/queue/queue.go` of
//! 2.9.1): what it would not hand out is nothing to start a machine for.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::Runner;
use crate::poll::sources::tally::{Ages, Tally, or_null, since};

/// A stage of a build: what one runner runs at a time.
#[derive(Debug, Clone, Deserialize)]
pub struct Stage {
    id: i64,
    repo_id: i64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    pipeline: String,
    status: String,
    /// Who has it already.
    #[serde(default)]
    machine: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    kernel: String,
    /// How many of this name may run at once in its repository; 0: any number.
    #[serde(default)]
    limit: usize,
    /// How many of its repository may run at once; 0: any number.
    #[serde(default)]
    throttle: usize,
    #[serde(default)]
    created: u64,
    #[serde(default, deserialize_with = "or_null")]
    labels: BTreeMap<String, String>,
}

pub fn count(stages: &[Stage], runner: &Runner, ages: Ages, now: SystemTime) -> Tally {
    let mut tally = Tally::new(ages);
    for stage in stages.iter().filter(|stage| fits(stage, runner)) {
        let taken = !stage.machine.is_empty();
        match stage.status.as_str() {
            "running" => tally.run(),
            "pending" if taken => tally.run(),
            "pending" if is_allowed(stage, stages) => tally.wait(age(stage, now)),
            _ => {}
        }
    }
    tally
}

fn age(stage: &Stage, now: SystemTime) -> Option<Duration> {
    let created = Duration::from_secs(stage.created);
    let created = SystemTime::UNIX_EPOCH.checked_add(created)?;
    (stage.created > 0).then(|| since(created, now))
}

fn fits(stage: &Stage, runner: &Runner) -> bool {
    // A stage without a type is from before there were any.
    let pipeline = match stage.pipeline.as_str() {
        "" => "docker",
        other => other,
    };
    runner
        .pipeline
        .as_ref()
        .is_none_or(|wanted| wanted == pipeline)
        && stage.os == runner.os
        && stage.arch == runner.arch
        && (stage.variant.is_empty() || stage.variant == runner.variant)
        && (stage.kernel.is_empty() || stage.kernel == runner.kernel)
        && stage.labels == runner.labels
}

/// Whether the server would hand it out now, as far as limits go.
fn is_allowed(stage: &Stage, all: &[Stage]) -> bool {
    let others = || {
        let same = all.iter().filter(|other| other.repo_id == stage.repo_id);
        same.filter(|other| other.id != stage.id)
    };
    let before = others()
        .filter(|other| other.name == stage.name)
        .filter(|other| other.id < stage.id || other.status == "running");
    let earlier = others().filter(|other| other.id < stage.id);
    (stage.limit == 0 || before.count() < stage.limit)
        && (stage.throttle == 0 || earlier.count() < stage.throttle)
}
