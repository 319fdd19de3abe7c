//! Rebalance recommendations, which mostly come to nothing: ignored, followed after the current
//! job, or at once.

use crate::notices::{WATCHFUL, busy, drains_for, jobs, record, rounds};
use crate::retire_ladder::{REPLACED, end, machine, wait_terminated};
use crate::support::{Agent, REBALANCE, wait_until};
use nix::sys::signal::Signal;

/// The computer that runs the tests is older than that, and so are the machines on it.
const ANY_AGE: &str = "--rebalance-min-age 1ms";

#[test]
fn a_recommendation_is_only_noted_by_default() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 200");
    let run = busy(&bed, "", &agent, 1);
    bed.imds().rebalance();
    let notice = run.wait_event("notice.received");
    assert_eq!(notice.field("kind"), "rebalance");
    assert_eq!(notice.field("acted_on"), "false");
    rounds(&bed, REBALANCE, 5);
    assert!(run.events("drain.began").is_empty());
    assert_eq!(run.events("notice.received").len(), 1, "told once");
    let status = bed.call("status").stdout;
    let status = String::from_utf8_lossy(&status).into_owned();
    assert!(status.contains("rebalance"), "{status}");
    run.signal(Signal::SIGTERM);
    wait_terminated(&bed, &instance);
    let record = record(&run);
    assert_eq!(record["reason"], "signal");
    assert_eq!(record["notices"][0]["kind"], "rebalance");
    assert_eq!(record["notices"][0]["acted_on"], false);
    assert_eq!(record["seconds_left"], serde_json::Value::Null);
}

#[test]
fn a_machine_with_one_slot_leaves_after_its_job() {
    for answer in ["after-job", "now"] {
        let (bed, group, instance) = machine(0, 2);
        let agent = bed.agent("--job-ms 800");
        let options = format!("--on-rebalance {answer} {ANY_AGE}");
        let run = busy(&bed, &options, &agent, 1);
        bed.imds().rebalance();
        assert_eq!(drains_for(&run), "rebalance", "{answer}");
        wait_terminated(&bed, &instance);
        let (started, finished, _) = jobs(&agent);
        assert_eq!(started, finished, "{answer}: no job was cancelled");
        assert_eq!(end(&bed, &group, &instance), REPLACED);
    }
}

#[test]
fn a_machine_with_several_slots_goes_on_until_a_job_ends() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--slots 2 --job-ms 1000 2500");
    let options = format!("--on-rebalance after-job {ANY_AGE}");
    let run = busy(&bed, &options, &agent, 2);
    let before = agent.count("finished");
    bed.imds().rebalance();
    wait_terminated(&bed, &instance);
    assert!(
        finished_before_signal(&agent) > before,
        "a job ended before the drain"
    );
    let (started, finished, _) = jobs(&agent);
    assert_eq!(started, finished);
    assert_eq!(run.events("drain.after_job").len(), 1);
    assert_eq!(drains_for(&run), "rebalance");
}

fn finished_before_signal(agent: &Agent) -> usize {
    let events = agent.events();
    let before = events.iter().take_while(|event| event.name != "signal");
    before.filter(|event| event.name == "finished").count()
}

#[test]
fn now_means_now_and_still_cancels_nothing() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--slots 2 --job-ms 4000");
    let options = format!("--on-rebalance now {ANY_AGE}");
    let _run = busy(&bed, &options, &agent, 2);
    bed.imds().rebalance();
    wait_until("the drain", || !agent.signals().is_empty());
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (2, 2, 0));
}

#[test]
fn an_idle_machine_leaves_at_once() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--slots 2 --jobs 0");
    let options = format!("{WATCHFUL} --on-rebalance after-job {ANY_AGE}");
    let run = bed.run(&options, &agent.argv());
    run.wait_event("agent.ready");
    bed.imds().rebalance();
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), REPLACED);
}

#[test]
fn a_young_machine_stays_until_it_is_old_enough() {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc is there");
    let uptime: f64 = uptime
        .split(' ')
        .next()
        .and_then(|t| t.parse().ok())
        .expect("seconds");
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 200");
    // Old enough six seconds from now.
    let options = format!(
        "--on-rebalance now --rebalance-min-age {}s",
        uptime as u64 + 6
    );
    bed.imds().rebalance();
    let run = busy(&bed, &options, &agent, 1);
    wait_terminated(&bed, &instance);
    let acted: Vec<_> = run
        .events("notice.received")
        .iter()
        .map(|it| it.field("acted_on"))
        .collect();
    assert_eq!(acted, ["false", "true"]);
    assert_eq!(drains_for(&run), "rebalance");
}

#[test]
fn other_answers_are_refused() {
    let bed = crate::support::TestBed::new();
    let refused = bed.call("run --on-rebalance sometimes -- true");
    assert_eq!(refused.exit, crate::support::Exit::Code(2));
    assert!(refused.stderr.contains("after-job"), "{}", refused.stderr);
}
