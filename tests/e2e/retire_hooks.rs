//! The ladder where Auto Scaling waits for it, and where EC2 does not: lifecycle hooks, failed
//! boots, and machines that are taken away within seconds.

use std::time::Duration;

use serde_json::Value;

use crate::retire_ladder::{SHRUNK, end, machine, wait_terminated};
use crate::support::{Clockout, Event, Fault, Group, Hook, TestBed, Times, Way, wait_until};

const CONTINUE: &str = "CompleteLifecycleAction CONTINUE: 200";
const EARLY: &str = "CompleteLifecycleAction CONTINUE: 400 ValidationError";
const TERMINATE: &str = "TerminateInstances: 200";

/// A machine that its group has chosen for its end. For `lag` looks and calls its hooks do not
/// wait yet.
fn chosen(hooks: Vec<Hook>, lag: u32) -> (TestBed, Group, String) {
    let (bed, group, instance) = machine(0, 2);
    for hook in hooks {
        bed.cloud().hook(&group, hook);
    }
    bed.cloud().lead(&group, &instance, Way::Out, lag);
    bed.imds().target("Terminated");
    (bed, group, instance)
}

fn retire(bed: &TestBed, options: &str) -> Clockout {
    let words: Vec<_> = options.split_whitespace().collect();
    bed.start(&[&["retire"][..], &words].concat())
}

fn rung(run: &Clockout, rung: &str) {
    wait_until(rung, || {
        let rungs = run.events("retire.rung");
        rungs.iter().any(|line| line.field("rung") == rung)
    });
}

fn record(run: &Clockout) -> Value {
    let record = run.wait_event("retire.done").field("record");
    serde_json::from_str(&record).expect("JSON")
}

#[test]
fn what_runs_at_shutdown_lets_go_of_a_machine_that_its_group_chose() {
    let (bed, group, instance) = chosen(vec![Hook::terminating("drain")], 3);
    let run = retire(&bed, "--reason signal");
    wait_terminated(&bed, &instance);
    rung(&run, "await-group");
    let changes = bed.cloud().changes();
    let (last, early) = changes.split_last().expect("calls");
    assert_eq!(last, CONTINUE, "and nothing else");
    assert!(early.iter().all(|call| call == EARLY), "{early:?}");
    assert_eq!((group.desired(), bed.cloud().decrements(&instance)), (1, 0));
    assert_eq!(record(&run)["reason"], "scale-in");
}

#[test]
fn every_hook_of_ours_is_completed_and_no_other() {
    let target = "arn:aws:sqs:us-east-1:123456789012:queue";
    let hooks = vec![
        Hook::terminating("clockout-drain").target(target),
        Hook::terminating("logs").target(target),
        Hook::terminating("clockout-cache"),
        Hook::launching("clockout-boot"),
    ];
    let (bed, _, instance) = chosen(hooks, 0);
    let run = retire(&bed, "");
    rung(&run, "await-group");
    let calls = bed.cloud().calls();
    let completed = calls.iter().filter(|call| call.took_effect);
    let completed: Vec<_> = completed
        .map(|call| call.param("LifecycleHookName"))
        .collect();
    assert_eq!(completed, ["clockout-drain", "clockout-cache"]);
    assert_eq!(bed.cloud().instance_state(&instance), "running");
}

#[test]
fn a_killed_retirement_goes_on_with_the_completion() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, Hook::terminating("drain"));
    bed.cloud()
        .fail("CompleteLifecycleAction", Fault::Throttled, Times::N(5));
    let options = "--retire terminate --reason max-jobs";
    let first = retire(&bed, options);
    rung(&first, "complete");
    first.kill_9();
    let second = retire(&bed, options);
    wait_terminated(&bed, &instance);
    assert_eq!(
        second.wait_event("retire.resumed").field("rung"),
        "complete"
    );
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn trouble_with_a_completion_is_waited_out() {
    for fault in [
        Fault::Throttled,
        Fault::Contention,
        Fault::InternalError,
        Fault::Unavailable,
        Fault::Lost,
    ] {
        let (bed, group, instance) = chosen(vec![Hook::terminating("drain")], 0);
        bed.cloud()
            .fail("DescribeLifecycleHooks", Fault::Throttled, Times::N(2));
        bed.cloud()
            .fail("CompleteLifecycleAction", fault.clone(), Times::N(2));
        let run = retire(&bed, "");
        wait_terminated(&bed, &instance);
        rung(&run, "await-group");
        assert_eq!(bed.cloud().terminations(&instance), 0, "{fault:?}");
        assert_eq!((group.desired(), bed.cloud().decrements(&instance)), (1, 0));
    }
}

#[test]
fn a_machine_that_may_not_complete_its_hook_is_not_paid_for_until_it_lapses() {
    for action in ["CompleteLifecycleAction", "DescribeLifecycleHooks"] {
        let (bed, group, instance) = chosen(vec![Hook::terminating("drain")], 0);
        bed.cloud().fail(action, Fault::Denied, Times::Forever);
        let _run = retire(&bed, "");
        wait_terminated(&bed, &instance);
        let last = bed.cloud().changes().pop();
        assert_eq!(last.as_deref(), Some(TERMINATE), "{action}");
        assert_eq!(bed.cloud().decrements(&instance), 0);
        assert_eq!((group.desired(), group.launched().len()), (1, 2));
    }
}

#[test]
fn a_hook_that_is_named_needs_no_right_to_look() {
    let (bed, _, instance) = chosen(vec![Hook::terminating("drain")], 1);
    bed.cloud()
        .fail("DescribeLifecycleHooks", Fault::Denied, Times::Forever);
    let _run = retire(&bed, "--terminate-hook drain");
    wait_terminated(&bed, &instance);
    assert_eq!(bed.cloud().changes(), [EARLY, CONTINUE]);
}

#[test]
fn without_the_right_to_look_a_completion_is_tried_until_it_is_accepted() {
    let (bed, _, instance) = chosen(vec![Hook::terminating("drain")], 4);
    bed.cloud().fail(
        "DescribeAutoScalingInstances",
        Fault::Denied,
        Times::Forever,
    );
    let _run = retire(&bed, "");
    wait_terminated(&bed, &instance);
    let changes = bed.cloud().changes();
    assert_eq!(changes.last().map(String::as_str), Some(CONTINUE));
    assert_eq!(changes.len(), 5);
}

#[test]
fn a_machine_that_its_group_retains_terminates_itself() {
    let (bed, group, instance) = machine(0, 2);
    let hook = Hook::terminating("drain").heartbeat(Duration::from_millis(200));
    bed.cloud().hook(&group, hook);
    bed.cloud().retain_abandoned(&group);
    bed.cloud().lead(&group, &instance, Way::Out, 0);
    bed.imds().target("Terminated");
    wait_until("the lapse of the hook", || {
        bed.cloud().way_state(&instance).as_deref() == Some("Terminating:Retained")
    });
    let _run = retire(&bed, "");
    wait_terminated(&bed, &instance);
    assert_eq!(bed.cloud().changes(), [EARLY, TERMINATE]);
}

#[test]
fn a_group_that_was_asked_for_the_end_is_not_kept_waiting() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, Hook::terminating("drain"));
    let _run = retire(&bed, "--retire terminate --reason max-jobs");
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
    let changes = bed.cloud().changes();
    let asked = "TerminateInstanceInAutoScalingGroup decrement: 200";
    assert_eq!(changes.first().map(String::as_str), Some(asked));
    assert_eq!(changes.last().map(String::as_str), Some(CONTINUE));
}

#[test]
fn a_launch_that_may_not_be_abandoned_still_shrinks_the_group() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, Hook::launching("boot"));
    bed.cloud().lead(&group, &instance, Way::IntoService, 0);
    bed.imds().target("InService");
    bed.cloud()
        .fail("CompleteLifecycleAction", Fault::Denied, Times::Forever);
    let agent = bed.agent("--never-ready");
    let run = bed.run("--preset buildkite --boot-timeout 2s", &agent.argv());
    assert_eq!(record(&run)["reason"], "boot-timeout");
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
    let changes = bed.cloud().changes();
    assert!(
        changes[0].starts_with("CompleteLifecycleAction ABANDON: 403"),
        "{changes:?}"
    );
    assert!(changes[1].starts_with("TerminateInstanceInAutoScalingGroup decrement"));
}

#[test]
fn a_machine_whose_launch_waits_for_others_shrinks_its_group_all_the_same() {
    let (bed, group, instance) = machine(0, 2);
    let theirs = Hook::launching("register").target("arn:aws:sns:us-east-1:123456789012:t");
    bed.cloud().hook(&group, theirs);
    bed.cloud().lead(&group, &instance, Way::IntoService, 0);
    bed.imds().target("InService");
    let _run = retire(&bed, "--reason max-jobs");
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn hooks_run_on_a_machine_whose_maintenance_has_begun_and_not_come() {
    let (bed, _, instance) = machine(0, 2);
    let hook = bed.script(
        "upload",
        &format!("echo > '{}'", bed.path("uploaded").display()),
    );
    bed.write(
        "clockout.toml",
        format!("[run]\nbefore_retire = [[\"{hook}\"]]\n"),
    );
    let agent = bed.agent("--jobs 0");
    let run = bed.run("--preset buildkite --notice-interval 100ms", &agent.argv());
    run.wait_event("agent.ready");
    bed.imds()
        .maintenance(&[Event::new("instance-stop").not_before("21 Jan 2019 09:00:43 GMT")]);
    wait_terminated(&bed, &instance);
    assert!(bed.path("uploaded").exists());
    assert_eq!(record(&run)["seconds_left"], Value::Null);
}

/// A machine whose hook would run for ten minutes is taken away in so many seconds.
fn taken_away(seconds: u64) -> (TestBed, Group, String, Clockout) {
    let (bed, group, instance) = machine(0, 2);
    let begun = bed.path("hook-begun");
    let hook = bed.script(
        "upload",
        &format!("echo > '{}'; exec sleep 600", begun.display()),
    );
    bed.write(
        "clockout.toml",
        format!("[run]\nbefore_retire = [[\"{hook}\"]]\n"),
    );
    let agent = bed.agent("--jobs 0");
    let run = bed.run("--preset buildkite --notice-interval 100ms", &agent.argv());
    run.wait_event("agent.ready");
    bed.imds().spot("terminate", Duration::from_secs(seconds));
    (bed, group, instance, run)
}

#[test]
fn a_machine_that_is_taken_away_is_replaced_before_its_hooks_run() {
    let (bed, group, instance, run) = taken_away(12);
    wait_until("the hook", || bed.path("hook-begun").exists());
    let replaced = "DetachInstances replace: 200";
    assert_eq!(bed.cloud().changes(), [replaced]);
    assert_eq!((group.desired(), group.launched().len()), (2, 3));
    // The hook is stopped in time for the rest.
    wait_terminated(&bed, &instance);
    assert_eq!(bed.cloud().changes(), [replaced, TERMINATE]);
    assert_eq!(run.events("retire.hook_failed").len(), 1);
    let record = record(&run);
    assert_eq!(record["reason"], "spot");
    assert_eq!(record["notices"][0]["what"], "terminate");
    let left = record["seconds_left"].as_u64().expect("known");
    assert!((1..=5).contains(&left), "{left}");
}

#[test]
fn a_hook_that_cannot_end_in_time_is_not_begun() {
    let (bed, _, instance, run) = taken_away(4);
    wait_terminated(&bed, &instance);
    run.wait_event("retire.hook_skipped");
    assert!(!bed.path("hook-begun").exists());
    let record = record(&run);
    assert_eq!(record["notices"][0]["kind"], "spot");
    assert!(
        record["seconds_left"]
            .as_u64()
            .is_some_and(|left| left <= 4)
    );
}
