//! Standby: the group leaves the machine alone for a while, and the machine goes on working.

use nix::sys::signal::Signal;

use crate::notices::{busy, rounds};
use crate::retire_ladder::{SHRUNK, end, machine, wait_terminated};
use crate::support::{TARGET, wait_until};

#[test]
fn a_machine_in_standby_goes_on_working() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 50");
    let run = busy(&bed, "", &agent, 1);
    bed.imds().target("Standby");
    rounds(&bed, TARGET, 3);
    let before = agent.count("started");
    wait_until("more jobs", || agent.count("started") >= before + 5);
    bed.imds().target("InService");
    rounds(&bed, TARGET, 3);
    assert!(run.events("drain.began").is_empty());
    assert!(bed.cloud().changes().is_empty());
    run.signal(Signal::SIGTERM);
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn states_that_nobody_knows_yet_change_nothing() {
    let (bed, _, _) = machine(0, 2);
    let agent = bed.agent("--job-ms 50");
    let run = busy(&bed, "", &agent, 1);
    bed.imds().target("Quarantined");
    rounds(&bed, TARGET, 3);
    let before = agent.count("started");
    wait_until("more jobs", || agent.count("started") >= before + 3);
    assert!(run.events("drain.began").is_empty());
}

#[test]
fn a_machine_that_is_detached_works_on_and_ends_itself() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 50");
    let run = busy(&bed, "", &agent, 1);
    let params = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("InstanceIds.member.1", &instance),
        ("ShouldDecrementDesiredCapacity", "true"),
    ];
    let service = crate::support::moto::Service::AutoScaling;
    bed.cloud().change(service, "DetachInstances", &params);
    bed.imds().target("Detached");
    run.wait_event("group.left");
    let before = agent.count("started");
    wait_until("more jobs", || agent.count("started") >= before + 3);
    run.signal(Signal::SIGTERM);
    wait_terminated(&bed, &instance);
    assert_eq!(
        group.desired(),
        1,
        "what others took out is not taken out again"
    );
    assert_eq!(bed.cloud().decrements(&instance), 0);
}
