//! What the doctor says of permissions and of an AWS that does not answer.

use crate::doctor::{doctor, set_attribute, unchanged, well};
use crate::support::{Cloud, Exit, Fault, Hook, TestBed, Times};

#[test]
fn each_denied_permission_is_named_with_what_it_costs() {
    for (action, permission, level) in [
        ("TerminateInstances", "ec2:TerminateInstances", "error"),
        ("DetachInstances", "autoscaling:DetachInstances", "warning"),
        (
            "TerminateInstanceInAutoScalingGroup",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            "warning",
        ),
        (
            "RecordLifecycleActionHeartbeat",
            "autoscaling:RecordLifecycleActionHeartbeat",
            "error",
        ),
        (
            "CompleteLifecycleAction",
            "autoscaling:CompleteLifecycleAction",
            "error",
        ),
        (
            "SetInstanceProtection",
            "autoscaling:SetInstanceProtection",
            "error",
        ),
        (
            "DescribeAutoScalingInstances",
            "autoscaling:DescribeAutoScalingInstances",
            "warning",
        ),
    ] {
        let (bed, group, instance) = well();
        bed.cloud().fail(action, Fault::Denied, Times::Forever);
        let found = doctor(&bed, "--protect busy");
        let words = [
            level,
            "permission",
            permission,
            "is denied",
            "clockout policy",
        ];
        found.is_only(i32::from(level == "error"), &words);
        unchanged(&bed, &group, &instance);
    }
    let (bed, ..) = well();
    bed.cloud()
        .fail("DescribeLifecycleHooks", Fault::Denied, Times::Forever);
    let found = doctor(&bed, "");
    found.has(&["warning hooks", "not checked", "--for-doctor"]);
    found.has(&[
        "warning permission",
        "autoscaling:DescribeLifecycleHooks is denied",
    ]);
    assert_eq!(found.exit, Exit::Code(0));
}

#[test]
fn a_role_without_the_doctors_own_reads_is_told_what_was_not_checked() {
    let (bed, ..) = well();
    for action in [
        "DescribeAutoScalingGroups",
        "DescribeInstances",
        "DescribeInstanceAttribute",
    ] {
        bed.cloud().fail(action, Fault::Denied, Times::Forever);
    }
    let found = doctor(&bed, "");
    found.has(&[
        "group",
        "autoscaling:DescribeAutoScalingGroups is denied",
        "--for-doctor",
    ]);
    found.has(&[
        "shutdown behaviour",
        "ec2:DescribeInstanceAttribute is denied",
    ]);
    found.has(&[
        "termination protection",
        "ec2:DescribeInstanceAttribute is denied",
    ]);
    assert_eq!((found.bad().len(), found.exit), (3, Exit::Code(0)));
}

#[test]
fn aws_that_throttles_or_hangs_is_not_checked_and_never_good() {
    for fault in [Fault::Throttled, Fault::Hang, Fault::Unavailable] {
        let (bed, group, instance) = well();
        bed.cloud().fail("*", fault.clone(), Times::Forever);
        let found = doctor(&bed, "");
        let about_aws = ["group", "hooks", "permission", "shutdown"];
        for finding in &found.findings {
            let topic = finding["topic"].as_str().expect("a topic");
            if about_aws.contains(&topic) {
                assert_eq!(finding["level"], "warning", "{fault:?}: {finding}");
                let what = finding["what"].as_str().expect("what");
                assert!(what.contains("not checked"), "{what}");
            }
        }
        for topic in about_aws {
            assert!(
                found.bad().iter().any(|line| line.contains(topic)),
                "{topic}"
            );
        }
        assert_eq!(found.exit, Exit::Code(0));
        unchanged(&bed, &group, &instance);
    }
}

#[test]
fn without_a_role_nothing_can_be_asked() {
    let (bed, ..) = well();
    bed.imds().withdraw("meta-data/iam/security-credentials/");
    bed.imds()
        .withdraw("meta-data/iam/security-credentials/ci-agent");
    let found = doctor(&bed, "");
    found.has(&["error credentials", "no role", "clockout policy"]);
    assert_eq!(found.exit, Exit::Code(1));
    assert!(bed.cloud().calls().is_empty());
}

#[test]
fn credentials_of_somebody_else_are_noticed() {
    let (bed, ..) = well();
    bed.set_env("AWS_ACCESS_KEY_ID", "AKIATESTBED");
    bed.set_env("AWS_SECRET_ACCESS_KEY", "testbed-secret");
    doctor(&bed, "").is_only(
        0,
        &["warning credentials", "AWS_ACCESS_KEY_ID comes before"],
    );
}

#[test]
fn an_instance_in_no_group_needs_one_permission() {
    let cloud = Cloud::start();
    let instance = cloud.lone_instance();
    set_attribute(
        &cloud,
        &instance,
        "instanceInitiatedShutdownBehavior",
        "terminate",
    );
    let bed = TestBed::on_ec2(cloud, &instance, None);
    bed.imds().set("meta-data/tags/instance/", "Name");
    let found = doctor(&bed, "");
    assert_eq!((found.bad(), found.exit), (vec![], Exit::Code(0)));
    let permissions = found
        .findings
        .iter()
        .filter(|one| one["topic"] == "permission");
    let permissions: Vec<_> = permissions.map(|one| &one["what"]).collect();
    assert_eq!(permissions, ["ec2:TerminateInstances is allowed"]);
}

#[test]
fn hidden_tags_make_the_group_a_question_to_aws() {
    let cloud = Cloud::start();
    let group = cloud.group(0, 2, 5);
    let instance = group.members().remove(0);
    cloud.hook(&group, Hook::terminating("drain"));
    set_attribute(
        &cloud,
        &instance,
        "instanceInitiatedShutdownBehavior",
        "terminate",
    );
    let bed = TestBed::on_ec2(cloud, &instance, None);
    doctor(&bed, "").is_only(0, &["warning tags", "InstanceMetadataTags"]);
    bed.cloud().fail(
        "DescribeAutoScalingInstances",
        Fault::Denied,
        Times::Forever,
    );
    let found = doctor(&bed, "");
    found.has(&[
        "error permission",
        "autoscaling:DescribeAutoScalingInstances is denied",
    ]);
    found.has(&[
        "warning permission",
        "autoscaling:DetachInstances: not checked",
    ]);
    assert_eq!(found.exit, Exit::Code(1));
}
