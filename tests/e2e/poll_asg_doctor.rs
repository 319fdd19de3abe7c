//! `clockout doctor poll`: what it finds where all is well, and where one thing is not.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::poll_asg::{Yard, allowed};
use crate::support::moto::Service;
use crate::support::{Exit, Fault, Group, Times};

/// A group that leaves nothing to say, and two jobs that wait for it.
fn well() -> (Yard, Group) {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 1, 9);
    let protect = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("NewInstancesProtectedFromScaleIn", "true"),
    ];
    cloud.change(Service::AutoScaling, "UpdateAutoScalingGroup", &protect);
    yard.serve(&group, "", "max = 9");
    yard.jobs(&group, 2, 1);
    (yard, group)
}

#[track_caller]
fn doctor(yard: &Yard) -> (Exit, Vec<Value>) {
    let output = yard.bed.call("doctor poll --json");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
    let findings = report["findings"].as_array().expect("a list");
    (output.exit, findings.clone())
}

/// The topics of the findings of this level.
fn topics<'a>(findings: &'a [Value], level: &str) -> Vec<&'a str> {
    let found = findings.iter().filter(|one| one["level"] == level);
    found.filter_map(|one| one["topic"].as_str()).collect()
}

#[test]
fn where_all_is_well_it_says_so_and_has_changed_nothing() {
    let (yard, group) = well();
    let before = (group.desired(), group.members());
    let (exit, findings) = doctor(&yard);
    assert_eq!(exit, Exit::Code(0), "{findings:?}");
    assert_eq!(topics(&findings, "warning"), [""; 0], "{findings:?}");
    let ok = topics(&findings, "ok");
    for topic in ["queue", "group", "protection", "permission"] {
        assert!(ok.contains(&topic), "{topic} in {ok:?}");
    }
    assert_eq!((group.desired(), group.members()), before);
    let calls = yard.bed.cloud().calls().into_iter();
    let mut changed = calls.filter(|call| !call.action.starts_with("Describe") && call.took_effect);
    assert!(changed.next().is_none());
}

#[test]
fn it_calls_nothing_that_its_policy_does_not_allow() {
    for target in ["", ", launch = \"launch-instances\""] {
        let mut yard = Yard::new("");
        let cloud = yard.bed.cloud();
        let group = cloud.group(0, 0, 9);
        yard.serve(&group, target, "");
        let allowed = allowed(&yard, "--for-doctor");
        doctor(&yard);
        let called: BTreeSet<_> = cloud.calls().into_iter().map(|call| call.action).collect();
        let beyond: Vec<_> = called.difference(&allowed).collect();
        assert_eq!(beyond, Vec::<&String>::new());
    }
}

#[test]
fn d6_a_group_that_does_not_protect_its_instances_is_a_warning() {
    let (yard, group) = well();
    let expose = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("NewInstancesProtectedFromScaleIn", "false"),
    ];
    let cloud = yard.bed.cloud();
    cloud.change(Service::AutoScaling, "UpdateAutoScalingGroup", &expose);
    let evening = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("ScheduledActionName", "evening"),
        ("DesiredCapacity", "0"),
        ("Recurrence", "0 20 * * *"),
    ];
    cloud.change(
        Service::AutoScaling,
        "PutScheduledUpdateGroupAction",
        &evening,
    );
    let (exit, findings) = doctor(&yard);
    assert_eq!(exit, Exit::Code(0), "{findings:?}");
    assert_eq!(topics(&findings, "warning"), ["protection", "schedule"]);
}

#[test]
fn what_may_not_be_called_is_an_error() {
    let (yard, _) = well();
    let cloud = yard.bed.cloud();
    cloud.fail("SetDesiredCapacity", Fault::Denied, Times::Forever);
    let (exit, findings) = doctor(&yard);
    assert_eq!(exit, Exit::Code(1));
    assert_eq!(topics(&findings, "error"), ["permission"]);
    cloud.fail("DescribeAutoScalingGroups", Fault::Denied, Times::Forever);
    let (exit, findings) = doctor(&yard);
    assert_eq!(exit, Exit::Code(1));
    assert!(
        topics(&findings, "error").contains(&"group"),
        "{findings:?}"
    );
}

#[test]
fn a_queue_that_cannot_be_read_is_an_error() {
    let (yard, group) = well();
    yard.bed.write(&format!("{}.queue", group.name), "no JSON");
    let (exit, findings) = doctor(&yard);
    assert_eq!(exit, Exit::Code(1));
    assert_eq!(topics(&findings, "error"), ["queue"], "{findings:?}");
}
