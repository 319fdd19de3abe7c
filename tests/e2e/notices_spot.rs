//! Spot interruptions: drain at once, cancel early enough, leave with what time is left.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::notices::{ENDLESS, WATCHFUL, assert_no_agent, busy, drains_for, jobs, record, rounds};
use crate::retire_ladder::{REPLACED, end, machine, wait_terminated};
use crate::support::{Exit, ImdsFault, SPOT, Times, wait_until};

const HOUR: Duration = Duration::from_secs(3600);

/// Far more than a busy machine takes to do what is asked of it.
const WIDE: Duration = Duration::from_secs(40);

#[test]
fn an_interrupted_machine_cancels_its_job_in_time_and_is_replaced() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "--cancel-before 36s", &agent, 1);
    bed.imds().spot("terminate", WIDE);
    wait_until("the drain", || agent.signals().len() == 1);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert_eq!(end(&bed, &group, &instance), REPLACED);
    assert_eq!(run.events("drain.began").len(), 1);
    assert_eq!(drains_for(&run), "spot");
    let record = record(&run);
    assert_eq!(record["reason"], "spot");
    assert_eq!(record["jobs"]["started"], 1);
    let left = record["seconds_left"].as_u64().expect("known");
    assert!((1..=36).contains(&left), "{record}");
    let notice = &record["notices"][0];
    assert_eq!(
        (&notice["kind"], &notice["what"]),
        (&"spot".into(), &"terminate".into())
    );
    assert_eq!(notice["acted_on"], true);
    let at = notice["at"].as_str().expect("a time");
    assert!(humantime::parse_rfc3339(at).is_ok(), "{at}");
}

#[test]
fn the_group_replaces_an_interrupted_machine_while_its_job_runs() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent(ENDLESS);
    let _run = busy(&bed, "", &agent, 1);
    bed.imds().spot("terminate", HOUR);
    wait_until("the detach", || !group.members().contains(&instance));
    assert_eq!(jobs(&agent), (1, 0, 0));
    assert_eq!(bed.cloud().changes(), ["DetachInstances replace: 200"]);
    assert_eq!(bed.cloud().instance_state(&instance), "running");
    assert_eq!(group.members().len() as i64, group.desired());
}

#[test]
fn a_job_that_ends_before_the_machine_is_not_cancelled() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 1500");
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    bed.imds().spot("terminate", WIDE);
    wait_terminated(&bed, &instance);
    let (started, finished, canceled) = jobs(&agent);
    assert_eq!((finished, canceled), (started, 0));
    assert_eq!(end(&bed, &group, &instance), REPLACED);
    assert!(run.events("drain.cancelled").is_empty());
}

#[test]
fn machines_that_are_stopped_or_hibernated_leave_too() {
    for action in ["stop", "hibernate"] {
        let (bed, group, instance) = machine(0, 2);
        let agent = bed.agent("--jobs 0");
        let run = bed.run(WATCHFUL, &agent.argv());
        run.wait_event("agent.ready");
        bed.imds().spot(action, HOUR);
        wait_terminated(&bed, &instance);
        assert_eq!(end(&bed, &group, &instance), REPLACED, "{action}");
        let record = record(&run);
        assert_eq!(record["notices"][0]["what"], action);
        assert_eq!(record["reason"], "spot");
    }
}

#[test]
fn a_time_that_keeps_moving_away_is_not_believed() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    bed.imds().spot_moving("terminate", Duration::from_secs(4));
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1), "at the first time that was told");
    assert_eq!(run.events("notice.received").len(), 1, "told once");
}

#[test]
fn a_time_that_has_passed_leaves_none() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "", &agent, 1);
    bed.imds().spot_past("terminate", HOUR);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert_eq!(record(&run)["seconds_left"], 0);
}

#[test]
fn the_services_clock_counts_and_not_the_machines() {
    let (bed, _, instance) = machine(0, 2);
    bed.imds().clock_ahead(HOUR);
    let agent = bed.agent(ENDLESS);
    let _run = busy(&bed, "--cancel-before 1s", &agent, 1);
    // By the machine's own clock there is more than an hour left.
    bed.imds().spot("terminate", Duration::from_secs(4));
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
}

#[test]
fn what_was_withdrawn_is_still_obeyed() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 2000");
    let run = busy(&bed, "", &agent, 1);
    bed.imds().spot("terminate", HOUR);
    run.wait_event("drain.began");
    bed.imds().withdraw(SPOT);
    wait_terminated(&bed, &instance);
    let (started, finished, _) = jobs(&agent);
    assert_eq!(started, finished);
}

#[test]
fn an_interruption_that_is_there_at_boot_keeps_the_agent_from_starting() {
    let (bed, group, instance) = machine(0, 2);
    bed.imds().spot("terminate", HOUR);
    let agent = bed.agent("");
    let run = bed.run(WATCHFUL, &agent.argv());
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), REPLACED);
    assert_no_agent(&run, &agent);
    assert_eq!(record(&run)["reason"], "spot");
}

#[test]
fn a_second_interruption_tightens_the_first() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    bed.imds().spot("hibernate", HOUR);
    run.wait_event("drain.began");
    bed.imds().spot("terminate", Duration::from_secs(3));
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert_eq!(run.events("drain.began").len(), 1);
    let notices = record(&run)["notices"].clone();
    assert_eq!(
        notices.as_array().map(Vec::len),
        Some(1),
        "it is the same one, and graver"
    );
    assert_eq!(notices[0]["what"], "terminate");
}

#[test]
fn an_interruption_tightens_an_operators_drain() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    run.signal(Signal::SIGTERM);
    run.wait_event("drain.began");
    bed.imds().spot("terminate", Duration::from_secs(3));
    run.wait_event("drain.tightened");
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert_eq!(group.launched().len() as i64 - group.desired(), 1);
}

#[test]
fn what_cannot_be_read_is_no_interruption_and_hides_none() {
    let faults = [
        ImdsFault::Text("<html>503</html>"),
        ImdsFault::Text(""),
        ImdsFault::Text(r#"{"action":"terminate"}"#),
        ImdsFault::Text(r#"{"action":"terminate","time":"soon"}"#),
        ImdsFault::Half,
        ImdsFault::Close,
        ImdsFault::Status(401),
        ImdsFault::Status(403),
        ImdsFault::Status(429),
        ImdsFault::Status(503),
    ];
    for fault in faults {
        let (bed, _, instance) = machine(0, 2);
        let agent = bed.agent("--job-ms 100");
        let run = busy(&bed, "", &agent, 1);
        bed.imds().fail(SPOT, fault, Times::Forever);
        bed.imds().spot("terminate", HOUR);
        rounds(&bed, SPOT, 5);
        assert!(run.events("drain.began").is_empty(), "{fault:?}");
        // One line for an episode, whatever it is.
        let warned = run
            .log()
            .iter()
            .filter(|line| line.0["level"] == "WARN")
            .count();
        assert!(warned <= 1, "{fault:?}: {}", run.stderr());
        bed.imds().heal();
        assert_eq!(drains_for(&run), "spot", "{fault:?}");
        wait_terminated(&bed, &instance);
    }
}

#[test]
fn a_machine_that_ends_only_its_agent_obeys_too() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 500");
    let run = busy(&bed, "--retire exit", &agent, 1);
    bed.imds().spot("terminate", HOUR);
    assert_eq!(run.wait_exit(), Exit::Code(0));
    assert_eq!(drains_for(&run), "spot");
    assert_eq!(bed.cloud().instance_state(&instance), "running");
    assert!(bed.cloud().changes().is_empty() && !bed.powered_off());
}
