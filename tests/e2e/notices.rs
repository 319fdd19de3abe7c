//! What the tests of notices share: a machine that looks often, and how its life reads afterwards.

use serde_json::Value;

use crate::support::{Agent, Clockout, TestBed, wait_until};

/// Options of a run around the simulated buildkite-agent. Looks ten times a second.
pub const WATCHFUL: &str = "--preset buildkite --notice-interval 100ms";

/// A job that ends only when it is cancelled.
pub const ENDLESS: &str = "--job-ms 600000";

/// Starts `clockout run`, and waits until so many jobs run.
#[track_caller]
pub fn busy(bed: &TestBed, options: &str, agent: &Agent, jobs: usize) -> Clockout {
    let run = bed.run(&format!("{WATCHFUL} {options}"), &agent.argv());
    wait_until("the jobs", || agent.count("started") >= jobs);
    run.wait_events("job.started", jobs);
    run
}

/// The last words.
#[track_caller]
pub fn record(run: &Clockout) -> Value {
    let record = run.wait_event("retire.done").field("record");
    serde_json::from_str(&record).expect("JSON")
}

/// What the drain began for.
#[track_caller]
pub fn drains_for(run: &Clockout) -> String {
    run.wait_event("drain.began").field("reason")
}

/// Waits until the metadata service was asked for this so many times more.
#[track_caller]
pub fn rounds(bed: &TestBed, path: &str, count: usize) {
    let imds = bed.imds();
    let before = imds.count(path);
    wait_until("looks at the metadata service", || {
        imds.count(path) >= before + count
    });
}

/// No agent was started, not even one that had no time to say so itself.
#[track_caller]
pub fn assert_no_agent(run: &Clockout, agent: &Agent) {
    assert!(run.events("agent.started").is_empty(), "{}", run.stderr());
    assert!(agent.events().is_empty());
}

/// Jobs that were begun, finished and cancelled.
pub fn jobs(agent: &Agent) -> (usize, usize, usize) {
    let count = |name| agent.count(name);
    (count("started"), count("finished"), count("canceled"))
}
