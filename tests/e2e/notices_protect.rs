//! Scale-in protection: it follows the work, and no job ever waits for it.

use std::time::Duration;

use crate::notices::{WATCHFUL, busy};
use crate::retire_ladder::{machine, wait_terminated};
use crate::support::{Fault, Hook, Times, Way, wait_until};

const ON: &str = "SetInstanceProtection on: 200";
const OFF: &str = "SetInstanceProtection off: 200";

#[test]
fn a_busy_machine_is_protected_and_an_idle_one_is_not() {
    let (bed, _, instance) = machine(0, 2);
    // The pauses between its jobs are no idleness.
    let agent = bed.agent("--jobs 6 --job-ms 400 --gap-ms 300");
    let _run = busy(&bed, "--protect busy", &agent, 1);
    wait_until("protection", || bed.cloud().protected(&instance));
    wait_until("the last job", || agent.count("finished") == 6);
    wait_until("its end", || !bed.cloud().protected(&instance));
    assert_eq!(bed.cloud().changes(), [ON, OFF]);
}

#[test]
fn always_means_without_jobs_too() {
    let (bed, _, instance) = machine(0, 2);
    let agent = bed.agent("--jobs 0");
    let _run = bed.run(&format!("{WATCHFUL} --protect always"), &agent.argv());
    wait_until("protection", || bed.cloud().protected(&instance));
    assert_eq!(bed.cloud().changes(), [ON]);
}

#[test]
fn jobs_do_not_wait_for_protection() {
    for fault in [Fault::Throttled, Fault::Hang, Fault::InternalError] {
        let (bed, _, instance) = machine(0, 2);
        bed.cloud()
            .fail("SetInstanceProtection", fault.clone(), Times::N(3));
        let agent = bed.agent("--job-ms 100");
        let run = busy(&bed, "--protect busy", &agent, 3);
        wait_until("protection", || bed.cloud().protected(&instance));
        let warned = run.events("group.protection_failed").len();
        assert!(warned <= 1, "one line an episode: {fault:?}");
    }
}

#[test]
fn who_may_not_protect_asks_once() {
    let (bed, _, instance) = machine(0, 2);
    bed.cloud()
        .fail("SetInstanceProtection", Fault::Denied, Times::Forever);
    let agent = bed.agent("--job-ms 50");
    let run = busy(&bed, "--protect always", &agent, 20);
    assert_eq!(run.events("group.protection_failed").len(), 1);
    assert_eq!(
        bed.cloud().changes(),
        ["SetInstanceProtection on: 403 AccessDenied"]
    );
    assert!(!bed.cloud().protected(&instance));
}

#[test]
fn a_launching_machine_is_protected_once_it_is_in_service() {
    let (bed, group, instance) = machine(0, 2);
    let hook = Hook::launching("ready").heartbeat(Duration::from_secs(60));
    bed.cloud().hook(&group, hook);
    bed.cloud().lead(&group, &instance, Way::IntoService, 0);
    let agent = bed.agent("--boot-ms 1000 --job-ms 100");
    let run = busy(&bed, "--protect always", &agent, 1);
    wait_until("protection", || bed.cloud().protected(&instance));
    assert!(
        run.events("group.protection_failed").is_empty(),
        "too early is no failure"
    );
}

#[test]
fn protection_is_not_touched_unless_asked_for() {
    let (bed, _, _) = machine(0, 2);
    let agent = bed.agent("--job-ms 20");
    let _run = busy(&bed, "", &agent, 10);
    assert!(bed.cloud().changes().is_empty());
}

#[test]
fn the_protection_of_a_machine_on_its_way_out_is_not_touched() {
    let (bed, group, instance) = machine(0, 2);
    let hook = Hook::terminating("drain").heartbeat(Duration::from_secs(60));
    bed.cloud().hook(&group, hook);
    let agent = bed.agent("--job-ms 3000");
    let _run = busy(&bed, "--protect busy", &agent, 1);
    wait_until("protection", || bed.cloud().protected(&instance));
    // Protection keeps the group from choosing it, but nobody from terminating it.
    bed.cloud().lead(&group, &instance, Way::Out, 0);
    bed.imds().target("Terminated");
    wait_terminated(&bed, &instance);
    assert_eq!(
        bed.cloud().changes(),
        [ON, "CompleteLifecycleAction CONTINUE: 200"]
    );
}
