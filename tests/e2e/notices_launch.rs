//! Launch hooks: the group hears CONTINUE when the agent is ready, and ABANDON when it never is.

use std::time::Duration;

use crate::notices::{WATCHFUL, busy};
use crate::retire_ladder::{REPLACED, end, machine, wait_terminated};
use crate::support::{Fault, Group, Hook, TestBed, Times, Way, wait_until};

const CONTINUE: &str = "CompleteLifecycleAction CONTINUE: 200";
const ABANDON: &str = "CompleteLifecycleAction ABANDON: 200";

fn hook(seconds: u64) -> Hook {
    Hook::launching("ready").heartbeat(Duration::from_secs(seconds))
}

/// A machine whose launch waits for this hook.
fn launching(hook: Hook) -> (TestBed, Group, String) {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook);
    bed.cloud().lead(&group, &instance, Way::IntoService, 1);
    bed.imds().target("InService");
    (bed, group, instance)
}

#[test]
fn the_group_is_told_when_the_agent_is_ready_and_not_before() {
    let (bed, _, instance) = launching(hook(3600));
    let agent = bed.agent("--boot-ms 1500 --jobs 0");
    let run = bed.run(WATCHFUL, &agent.argv());
    let told = || bed.cloud().changes().contains(&CONTINUE.to_owned());
    wait_until("the completion", || {
        let told = told();
        assert!(!told || agent.count("ready") == 1, "too early");
        told
    });
    run.wait_event("hook.completed");
    wait_until("service", || {
        matches!(
            bed.cloud().way_state(&instance).as_deref(),
            Some("Pending:Proceed" | "InService")
        )
    });
    assert!(run.events("drain.began").is_empty());
}

#[test]
fn a_slow_boot_is_kept_by_heartbeats() {
    let (bed, _, instance) = launching(hook(4));
    let agent = bed.agent("--boot-ms 7000 --jobs 0");
    let run = bed.run(WATCHFUL, &agent.argv());
    run.wait_event("hook.completed");
    assert_eq!(agent.count("ready"), 1);
    assert!(bed.cloud().heartbeats().iter().any(|it| it == "200"));
    assert_eq!(bed.cloud().instance_state(&instance), "running");
}

#[test]
fn a_boot_that_fails_is_abandoned_and_replaced() {
    for (options, agent) in [
        ("--boot-timeout 2s", "--never-ready"),
        ("", "--crash-ms 2000 --never-ready"),
    ] {
        let (bed, group, instance) = launching(hook(3600));
        let agent = bed.agent(agent);
        let _run = bed.run(&format!("{WATCHFUL} {options}"), &agent.argv());
        wait_terminated(&bed, &instance);
        let changes = bed.cloud().changes();
        assert_eq!(
            changes.first().map(String::as_str),
            Some(ABANDON),
            "{changes:?}"
        );
        assert_eq!(end(&bed, &group, &instance), REPLACED);
    }
}

#[test]
fn a_machine_in_service_is_never_abandoned() {
    let (bed, group, instance) = launching(hook(3600));
    let agent = bed.agent("--job-ms 1500");
    let _run = bed.run(&format!("{WATCHFUL} --max-jobs 2"), &agent.argv());
    wait_terminated(&bed, &instance);
    let changes = bed.cloud().changes();
    assert!(
        changes.iter().all(|it| !it.contains("ABANDON")),
        "{changes:?}"
    );
    assert!(changes.contains(&CONTINUE.to_owned()), "{changes:?}");
    assert_eq!(group.desired(), 1);
}

#[test]
fn the_completion_is_repeated_while_the_account_is_throttled() {
    for fault in [Fault::Throttled, Fault::InternalError, Fault::Lost] {
        let (bed, _, _) = launching(hook(3600));
        let times = if fault == Fault::Lost { 1 } else { 3 };
        bed.cloud()
            .fail("CompleteLifecycleAction", fault.clone(), Times::N(times));
        let agent = bed.agent("--job-ms 200");
        let _run = busy(&bed, "", &agent, 1);
        wait_until("its effect", || {
            let calls = bed.cloud().calls();
            calls
                .iter()
                .any(|it| it.action == "CompleteLifecycleAction" && it.took_effect)
        });
        assert!(agent.count("started") >= 1, "jobs do not wait for it");
    }
}

#[test]
fn only_the_hook_that_is_named_is_completed() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud().hook(&group, hook(3600).target("arn:q"));
    bed.cloud()
        .hook(&group, Hook::launching("warm-cache").target("arn:q"));
    bed.cloud().lead(&group, &instance, Way::IntoService, 0);
    let agent = bed.agent("--jobs 0");
    let run = bed.run(&format!("{WATCHFUL} --launch-hook ready"), &agent.argv());
    run.wait_event("hook.completed");
    let calls = bed.cloud().calls();
    assert!(
        calls
            .iter()
            .all(|call| call.param("LifecycleHookName") != "warm-cache")
    );
    assert_eq!(
        bed.cloud().way_state(&instance).as_deref(),
        Some("Pending:Wait")
    );
}

#[test]
fn a_group_without_hooks_is_asked_once() {
    let (bed, _, _) = machine(0, 2);
    let agent = bed.agent("--job-ms 50");
    let _run = busy(&bed, "", &agent, 5);
    let calls = bed.cloud().calls();
    let asked = calls
        .iter()
        .filter(|it| it.action == "DescribeLifecycleHooks");
    assert!(asked.count() <= 1);
    assert!(bed.cloud().changes().is_empty());
}
