//! The group has chosen this machine: its hook is kept until the work is over, then completed.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::notices::{ENDLESS, WATCHFUL, busy, drains_for, jobs, record};
use crate::retire_ladder::{SHRUNK, machine, wait_terminated};
use crate::support::{Fault, Group, Hook, TestBed, Times, Way, wait_until};

const CONTINUE: &str = "CompleteLifecycleAction CONTINUE: 200";

/// The group decides that this machine goes. For `lag` looks only the machine itself knows of it.
fn scale_in(bed: &TestBed, group: &Group, instance: &str, lag: u32) {
    bed.cloud().lead(group, instance, Way::Out, lag);
    bed.imds().target("Terminated");
}

fn hook(seconds: u64) -> Hook {
    Hook::terminating("drain").heartbeat(Duration::from_secs(seconds))
}

fn completions(bed: &TestBed) -> Vec<String> {
    let changes = bed.cloud().changes().into_iter();
    changes.filter(|it| it.starts_with("Complete")).collect()
}

/// The group has what it wanted, and nobody decremented once more.
#[track_caller]
fn assert_shrunk(bed: &TestBed, group: &Group, instance: &str) {
    assert_eq!(bed.cloud().instance_state(instance), "terminated");
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
    assert_eq!(bed.cloud().decrements(instance), 0);
    assert!(!bed.powered_off());
}

#[test]
fn the_hook_is_kept_until_the_job_has_finished() {
    let (bed, group, instance) = machine(0, 2);
    // Without heartbeats it lapses before the job ends, and the group keeps what lapses.
    bed.cloud().hook(&group, hook(4));
    bed.cloud().retain_abandoned(&group);
    let agent = bed.agent("--job-ms 7000");
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    scale_in(&bed, &group, &instance, 3);
    assert_eq!(drains_for(&run), "scale-in");
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 1, 0));
    assert!(bed.cloud().heartbeats().len() >= 2);
    assert_eq!(
        bed.cloud().changes().first().map(String::as_str),
        Some(CONTINUE)
    );
    assert_shrunk(&bed, &group, &instance);
    let record = record(&run);
    assert_eq!(record["reason"], "scale-in");
    assert_eq!(record["notices"][0]["what"], "Terminated");
}

#[test]
fn an_idle_machine_lets_its_group_go_on_at_once() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(3600));
    let agent = bed.agent("--jobs 0");
    let run = bed.run(WATCHFUL, &agent.argv());
    run.wait_event("agent.ready");
    // The machine knows of it long before the action can be completed.
    scale_in(&bed, &group, &instance, 4);
    wait_terminated(&bed, &instance);
    assert_eq!(completions(&bed).last().map(String::as_str), Some(CONTINUE));
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn without_a_hook_the_machine_drains_while_it_can() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 1000");
    let run = busy(&bed, "", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    assert_eq!(drains_for(&run), "scale-in");
    run.wait_event("retire.done");
    assert!(bed.cloud().heartbeats().is_empty());
    assert!(completions(&bed).is_empty());
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
    assert_eq!(bed.cloud().decrements(&instance), 0);
}

#[test]
fn somebody_elses_hook_is_left_to_them() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(60));
    let theirs = Hook::terminating("deregister").heartbeat(Duration::from_secs(60));
    bed.cloud().hook(
        &group,
        theirs.target("arn:aws:sns:us-east-1:123456789012:t"),
    );
    let agent = bed.agent("--job-ms 500");
    let _run = busy(&bed, "", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    wait_until("ours", || completions(&bed) == [CONTINUE]);
    assert_eq!(bed.cloud().instance_state(&instance), "running");
    let params = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("LifecycleHookName", "deregister"),
        ("InstanceId", &instance),
        ("LifecycleActionResult", "CONTINUE"),
    ];
    assert_eq!(bed.cloud().ask("CompleteLifecycleAction", &params).0, 200);
    wait_terminated(&bed, &instance);
    let calls = bed.cloud().calls();
    let named = |hook: &str| {
        let by = |call: &&crate::support::Call| call.param("LifecycleHookName") == hook;
        calls.iter().filter(by).count()
    };
    assert_eq!(named("deregister"), 1, "only the other one's");
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn the_hook_that_is_named_is_ours() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(60).target("arn:q"));
    bed.cloud().hook(
        &group,
        Hook::terminating("other")
            .target("arn:q")
            .heartbeat(Duration::from_secs(20)),
    );
    let agent = bed.agent("--job-ms 500");
    let _run = busy(&bed, "--terminate-hook drain", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    wait_until("its completion", || completions(&bed) == [CONTINUE]);
    let calls = bed.cloud().calls();
    assert!(
        calls
            .iter()
            .all(|call| call.param("LifecycleHookName") != "other")
    );
}

#[test]
fn a_completion_is_repeated_until_the_group_has_it() {
    for (fault, times) in [
        (Fault::Throttled, 3),
        (Fault::Contention, 2),
        (Fault::InternalError, 2),
        (Fault::Lost, 1),
        (Fault::DoneThenSilent, 1),
    ] {
        let (bed, group, instance) = machine(0, 2);
        bed.cloud().hook(&group, hook(3600));
        let action = "CompleteLifecycleAction";
        bed.cloud().fail(action, fault.clone(), Times::N(times));
        let agent = bed.agent("--jobs 0");
        let run = bed.run(WATCHFUL, &agent.argv());
        run.wait_event("agent.ready");
        scale_in(&bed, &group, &instance, 1);
        wait_terminated(&bed, &instance);
        let calls = bed.cloud().calls();
        let done = calls
            .iter()
            .filter(|it| it.action == action && it.took_effect);
        assert_eq!(done.count(), 1, "{fault:?}");
        assert_shrunk(&bed, &group, &instance);
    }
}

#[test]
fn a_machine_that_may_not_touch_the_hook_ends_itself_after_its_job() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(3600));
    for action in ["CompleteLifecycleAction", "RecordLifecycleActionHeartbeat"] {
        bed.cloud().fail(action, Fault::Denied, Times::Forever);
    }
    let agent = bed.agent("--job-ms 1500");
    let run = busy(&bed, "", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    wait_terminated(&bed, &instance);
    let (started, finished, _) = jobs(&agent);
    assert_eq!(started, finished);
    assert_eq!(bed.cloud().terminations(&instance), 1);
    assert!(run.events("hook.failed").len() <= 1, "{}", run.stderr());
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn while_heartbeats_fail_the_job_is_cancelled_before_the_action_lapses() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(9));
    bed.cloud().fail(
        "RecordLifecycleActionHeartbeat",
        Fault::Throttled,
        Times::Forever,
    );
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "--cancel-before 3s", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert_eq!(
        completions(&bed),
        [CONTINUE],
        "it was still there to be completed"
    );
    assert_eq!(run.events("hook.failed").len(), 1, "one line an episode");
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn a_short_throttle_cancels_nothing() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(9));
    bed.cloud().fail(
        "RecordLifecycleActionHeartbeat",
        Fault::Throttled,
        Times::N(2),
    );
    let agent = bed.agent("--job-ms 6000");
    let _run = busy(&bed, "--cancel-before 3s", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 1, 0));
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn the_cap_of_a_hook_ends_the_longest_job() {
    let (bed, group, instance) = machine(0, 2);
    let capped = hook(6).global(Duration::from_secs(10));
    bed.cloud().hook(&group, capped);
    let agent = bed.agent(ENDLESS);
    let _run = busy(&bed, "--cancel-before 4s", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert!(!bed.cloud().heartbeats().is_empty());
    assert_eq!(completions(&bed), [CONTINUE], "before the cap");
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn an_interruption_during_a_scale_in_tightens_it() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(3600));
    let agent = bed.agent(ENDLESS);
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    run.wait_event("drain.began");
    bed.imds().spot("terminate", Duration::from_secs(4));
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 0, 1));
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn a_machine_that_drains_already_is_scaled_in_too() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(4));
    let agent = bed.agent("--job-ms 7000");
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    run.signal(Signal::SIGTERM);
    run.wait_event("drain.began");
    scale_in(&bed, &group, &instance, 1);
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 1, 0), "the hook was kept for its job");
    assert_shrunk(&bed, &group, &instance);
}

#[test]
fn a_termination_that_it_asked_for_itself_does_not_wait_for_its_own_hook() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(3600));
    bed.cloud()
        .fail("DetachInstances", Fault::Denied, Times::Forever);
    let agent = bed.agent("--job-ms 100");
    let _run = bed.run("--preset buildkite --max-jobs 1", &agent.argv());
    wait_terminated(&bed, &instance);
    let changes = bed.cloud().changes();
    assert!(changes.contains(&CONTINUE.to_owned()), "{changes:?}");
    assert_eq!(crate::retire_ladder::end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn a_supervisor_that_dies_meanwhile_is_replaced_by_one_that_goes_on() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(5));
    let agent = bed.agent("--job-ms 8000");
    let run = busy(&bed, "--cancel-before 1s", &agent, 1);
    scale_in(&bed, &group, &instance, 1);
    run.wait_event("drain.began");
    run.kill_9();
    let again = bed.run(WATCHFUL, &agent.argv());
    wait_terminated(&bed, &instance);
    assert_eq!(jobs(&agent), (1, 1, 0));
    assert_eq!(record(&again)["reason"], "scale-in");
    assert_eq!(completions(&bed), [CONTINUE]);
    assert_shrunk(&bed, &group, &instance);
}
