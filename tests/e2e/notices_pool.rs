//! Warm pools: a machine in one neither starts an agent nor retires, and wakes up right.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::notices::{WATCHFUL, assert_no_agent, busy, jobs, rounds};
use crate::retire_ladder::machine;
use crate::support::{Agent, Clockout, Exit, Group, Hook, TARGET, TestBed, Way, wait_until};

const CONTINUE: &str = "CompleteLifecycleAction CONTINUE: 200";

/// A machine that was started for the pool.
fn pooled(state: &str, hook: Option<Hook>) -> (TestBed, Group, String, Agent, Clockout) {
    let (bed, group, instance) = machine(0, 2);
    if let Some(hook) = hook {
        bed.cloud().hook(&group, hook);
    }
    bed.cloud()
        .lead(&group, &instance, Way::LaunchedIntoPool, 1);
    bed.imds().target(state);
    let agent = bed.agent("--job-ms 100");
    let run = bed.run(WATCHFUL, &agent.argv());
    run.wait_event("instance.pooled");
    (bed, group, instance, agent, run)
}

/// It is alive, and nothing was done to it or to its group.
#[track_caller]
fn assert_left_alone(bed: &TestBed, instance: &str) {
    let changes = bed.cloud().changes();
    let hooks_only = changes
        .iter()
        .all(|it| it.starts_with("CompleteLifecycleAction CONTINUE"));
    assert!(hooks_only, "{changes:?}");
    assert_eq!(bed.cloud().instance_state(instance), "running");
    assert!(!bed.powered_off());
}

/// How often a hook was completed.
fn completions(bed: &TestBed) -> usize {
    let changes = bed.cloud().changes();
    changes.iter().filter(|it| *it == CONTINUE).count()
}

#[test]
fn a_machine_in_the_pool_starts_no_agent_and_survives_its_shutdown() {
    for state in ["Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated"] {
        let (bed, _, instance, agent, run) = pooled(state, None);
        rounds(&bed, TARGET, 5);
        let status = String::from_utf8_lossy(&bed.call("status").stdout).into_owned();
        assert!(status.contains("parked"), "{status}");
        // The operating system shuts down because the group stops the machine.
        run.signal(Signal::SIGTERM);
        assert_eq!(run.wait_exit(), Exit::Code(0), "{state}");
        assert_no_agent(&run, &agent);
        assert_left_alone(&bed, &instance);
    }
}

#[test]
fn a_launch_hook_does_not_wait_for_an_agent_that_never_starts() {
    let hook = Hook::launching("ready").heartbeat(Duration::from_secs(60));
    let (bed, _, instance, agent, run) = pooled("Warmed:Stopped", Some(hook));
    wait_until("the completion", || completions(&bed) == 1);
    assert_no_agent(&run, &agent);
    assert_left_alone(&bed, &instance);
}

#[test]
fn a_machine_that_leaves_the_pool_goes_to_work() {
    for state in ["Warmed:Running", "Warmed:Hibernated"] {
        let hook = Hook::launching("ready").heartbeat(Duration::from_secs(60));
        let (bed, group, instance, agent, run) = pooled(state, Some(hook));
        wait_until("the first completion", || completions(&bed) == 1);
        // Hibernated and resumed, it is the same process with a gap in its time.
        run.signal(Signal::SIGSTOP);
        bed.cloud().lead(&group, &instance, Way::IntoService, 1);
        bed.imds().target("InService");
        run.signal(Signal::SIGCONT);
        wait_until("jobs", || agent.count("started") >= 2);
        wait_until("the second", || completions(&bed) == 2);
        run.wait_event("instance.woken");
        assert_left_alone(&bed, &instance);
    }
}

#[test]
fn a_stopped_machine_that_is_started_again_goes_to_work() {
    let (bed, group, instance, agent, run) = pooled("Warmed:Stopped", None);
    run.signal(Signal::SIGTERM);
    run.wait_exit();
    bed.cloud().lead(&group, &instance, Way::IntoService, 0);
    bed.imds().target("InService");
    let _again = busy(&bed, "", &agent, 2);
    assert_left_alone(&bed, &instance);
}

#[test]
fn a_machine_that_goes_back_into_the_pool_finishes_its_job_first() {
    let (bed, group, instance) = machine(0, 2);
    let hook = Hook::terminating("drain").heartbeat(Duration::from_secs(4));
    bed.cloud().hook(&group, hook);
    let agent = bed.agent("--job-ms 6000");
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    bed.cloud().lead(&group, &instance, Way::BackIntoPool, 2);
    bed.imds().target("Warmed:Running");
    run.wait_event("instance.pooled");
    assert_eq!(jobs(&agent), (1, 1, 0));
    assert_left_alone(&bed, &instance);
    assert_eq!(completions(&bed), 1);
    assert_eq!(group.desired(), 1);
    // And out of it again, in the same process.
    bed.cloud().lead(&group, &instance, Way::IntoService, 0);
    bed.imds().target("InService");
    wait_until("another job", || agent.count("started") >= 2);
    assert!(!run.has_ended());
    assert_left_alone(&bed, &instance);
}

#[test]
fn without_a_hook_the_pool_takes_a_working_machine_as_well() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 300");
    let run = busy(&bed, "", &agent, 1);
    bed.cloud().lead(&group, &instance, Way::BackIntoPool, 0);
    bed.imds().target("Warmed:Stopped");
    run.wait_event("instance.pooled");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait_exit(), Exit::Code(0));
    let (started, finished, _) = jobs(&agent);
    assert_eq!(started, finished);
    assert_left_alone(&bed, &instance);
}

#[test]
fn a_shutdown_on_the_way_into_the_pool_is_no_retirement() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 1000");
    let run = busy(&bed, "", &agent, 1);
    bed.cloud().lead(&group, &instance, Way::BackIntoPool, 0);
    bed.imds().target("Warmed:Stopped");
    run.wait_event("drain.began");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait_exit(), Exit::Code(0));
    assert_left_alone(&bed, &instance);
}

#[test]
fn the_ladder_alone_leaves_a_pooled_machine_where_it_is() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().lead(&group, &instance, Way::BackIntoPool, 0);
    bed.imds().target("Warmed:Stopped");
    let retired = bed.call("retire --reason signal");
    assert_eq!(retired.exit, Exit::Code(0), "{}", retired.stderr);
    assert_left_alone(&bed, &instance);
}
