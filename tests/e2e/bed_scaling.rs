//! The fake cloud's lifecycle hooks, protection and credentials, as its clients meet them.

use std::time::{Duration, SystemTime};

use crate::support::moto::Service;
use crate::support::{Cloud, Fault, Group, Hook, Times, Way};

fn cloud() -> (Cloud, Group, String) {
    let cloud = Cloud::start();
    let group = cloud.group(0, 2, 3);
    let instance = group.members().remove(0);
    (cloud, group, instance)
}

fn act(cloud: &Cloud, group: &Group, it: &str, action: &str, hook: &str) -> (u16, String) {
    let mut params = vec![
        ("AutoScalingGroupName", group.name.as_str()),
        ("LifecycleHookName", hook),
        ("InstanceId", it),
    ];
    if action == "CompleteLifecycleAction" {
        params.push(("LifecycleActionResult", "CONTINUE"));
    }
    cloud.ask(action, &params)
}

fn complete(cloud: &Cloud, group: &Group, it: &str, hook: &str) -> (u16, String) {
    act(cloud, group, it, "CompleteLifecycleAction", hook)
}

fn shown(cloud: &Cloud, it: &str) -> String {
    let params = [("InstanceIds.member.1", it)];
    cloud.ask("DescribeAutoScalingInstances", &params).1
}

fn protect(cloud: &Cloud, group: &Group, it: &str, yes: &str) -> (u16, String) {
    let params = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("InstanceIds.member.1", it),
        ("ProtectedFromScaleIn", yes),
    ];
    cloud.ask("SetInstanceProtection", &params)
}

#[test]
fn a_group_tells_its_hooks() {
    let (cloud, group, _) = cloud();
    let describe = |group: &str| {
        let params = [("AutoScalingGroupName", group)];
        cloud.ask("DescribeLifecycleHooks", &params)
    };
    let (status, none) = describe(&group.name);
    assert_eq!(status, 200);
    assert!(!none.contains("<member>"), "{none}");
    cloud.hook(
        &group,
        Hook::terminating("out").heartbeat(Duration::from_secs(30)),
    );
    cloud.hook(&group, Hook::launching("in").continues().target("arn:q"));
    let (_, hooks) = describe(&group.name);
    for text in [
        "<LifecycleHookName>out</LifecycleHookName>",
        "<LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition>",
        "<HeartbeatTimeout>30</HeartbeatTimeout><GlobalTimeout>3000</GlobalTimeout>",
        "<NotificationTargetARN>arn:q</NotificationTargetARN>",
        "<HeartbeatTimeout>3600</HeartbeatTimeout><GlobalTimeout>172800</GlobalTimeout>",
        "<DefaultResult>CONTINUE</DefaultResult>",
    ] {
        assert!(hooks.contains(text), "{text} in {hooks}");
    }
    assert_eq!(describe("no-such-group").0, 400);
}

#[test]
fn a_hooked_instance_waits_for_its_completion_and_ends() {
    let (cloud, group, it) = cloud();
    cloud.hook(&group, Hook::terminating("out"));
    cloud.lead(&group, &it, Way::Out, 1);
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
    let (status, early) = complete(&cloud, &group, &it, "out");
    let words = format!("No active Lifecycle Action found with instance ID {it}");
    assert!(status == 400 && early.contains(&words), "{early}");
    assert!(shown(&cloud, &it).contains("<LifecycleState>Terminating:Wait</LifecycleState>"));
    let beat = act(&cloud, &group, &it, "RecordLifecycleActionHeartbeat", "out");
    assert_eq!(beat.0, 200);
    assert_eq!(complete(&cloud, &group, &it, "other").0, 400);
    assert_eq!(complete(&cloud, &group, &it, "out").0, 200);
    assert_eq!(cloud.instance_state(&it), "terminated");
    assert!(shown(&cloud, &it).contains("Terminating:Proceed"));
    assert!(!shown(&cloud, &it).contains("<member>"));
    assert_eq!(complete(&cloud, &group, &it, "out").0, 400);
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
    assert_eq!(cloud.heartbeats(), ["200"]);
}

#[test]
fn the_lost_completion_is_done() {
    let (cloud, group, it) = cloud();
    cloud.hook(&group, Hook::terminating("out"));
    cloud.lead(&group, &it, Way::Out, 0);
    cloud.fail("CompleteLifecycleAction", Fault::Lost, Times::N(1));
    assert_eq!(complete(&cloud, &group, &it, "out").0, 0);
    assert_eq!(cloud.instance_state(&it), "terminated");
}

#[test]
fn termination_through_a_group_with_hooks_waits_for_them() {
    let (cloud, group, it) = cloud();
    cloud.hook(&group, Hook::terminating("out"));
    let terminate = || {
        let params = [
            ("InstanceId", it.as_str()),
            ("ShouldDecrementDesiredCapacity", "true"),
        ];
        cloud.ask("TerminateInstanceInAutoScalingGroup", &params)
    };
    assert_eq!(terminate().0, 200);
    assert_eq!((group.desired(), cloud.decrements(&it)), (1, 1));
    assert_eq!(cloud.instance_state(&it), "running");
    assert!(terminate().1.contains("No managed instance found"));
    assert!(shown(&cloud, &it).contains("<LifecycleState>Terminating</LifecycleState>"));
    assert!(shown(&cloud, &it).contains("Terminating:Wait"));
    assert_eq!(complete(&cloud, &group, &it, "out").0, 200);
    assert_eq!(cloud.instance_state(&it), "terminated");
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
}

#[test]
fn a_launch_that_is_abandoned_is_replaced() {
    let (cloud, group, it) = cloud();
    let brief = Duration::from_millis(1);
    cloud.hook(&group, Hook::launching("in").heartbeat(brief));
    cloud.lead(&group, &it, Way::IntoService, 0);
    crate::support::wait_until("the lapse", || cloud.instance_state(&it) == "terminated");
    assert_eq!((group.desired(), group.launched().len()), (2, 3));
}

#[test]
fn a_group_may_keep_what_is_abandoned() {
    let (cloud, group, it) = cloud();
    cloud.hook(
        &group,
        Hook::terminating("out").heartbeat(Duration::from_millis(1)),
    );
    cloud.retain_abandoned(&group);
    cloud.lead(&group, &it, Way::Out, 0);
    crate::support::wait_until("the lapse", || {
        cloud.way_state(&it).as_deref() == Some("Terminating:Retained")
    });
    assert_eq!(cloud.instance_state(&it), "running");
    let ended = cloud.ask("TerminateInstances", &[("InstanceId.1", &it)]);
    assert_eq!((ended.0, cloud.way_state(&it)), (200, None));
    assert_eq!((group.desired(), group.launched().len()), (1, 2));
}

#[test]
fn the_pool_takes_an_instance_and_gives_it_back() {
    let (cloud, group, it) = cloud();
    cloud.lead(&group, &it, Way::BackIntoPool, 0);
    assert_eq!(
        (group.desired(), cloud.way_state(&it)),
        (1, Some("Warmed:Pending:Proceed".into()))
    );
    assert_eq!(cloud.instance_state(&it), "running");
    cloud.lead(&group, &it, Way::IntoService, 0);
    assert_eq!((group.desired(), group.launched().len()), (2, 2));
}

#[test]
fn only_an_instance_in_service_is_protected() {
    let (cloud, group, it) = cloud();
    assert_eq!(protect(&cloud, &group, &it, "true").0, 200);
    assert!(cloud.protected(&it));
    assert_eq!(protect(&cloud, &group, &it, "false").0, 200);
    assert!(!cloud.protected(&it));
    let (_, stranger) = protect(&cloud, &group, "i-0123456789abcdef0", "true");
    assert!(stranger.contains("is not part of Auto Scaling group"));
    cloud.hook(&group, Hook::launching("in"));
    cloud.lead(&group, &it, Way::IntoService, 0);
    let (status, early) = protect(&cloud, &group, &it, "true");
    let words = "is not in InService or EnteringStandby or Standby.";
    assert!(status == 400 && early.contains(words), "{early}");
    assert_eq!(complete(&cloud, &group, &it, "in").0, 200);
    assert!(shown(&cloud, &it).contains("Pending:Proceed"));
    assert_eq!(protect(&cloud, &group, &it, "true").0, 200);
    assert_eq!(
        cloud.changes(),
        [
            "SetInstanceProtection on: 200",
            "SetInstanceProtection off: 200",
            "SetInstanceProtection on: 400 ValidationError",
            "SetInstanceProtection on: 400 ValidationError",
            "CompleteLifecycleAction CONTINUE: 200",
            "SetInstanceProtection on: 200",
        ]
    );
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let (cloud, _, it) = cloud();
    let dry = || {
        let params = [("InstanceId.1", it.as_str()), ("DryRun", "true")];
        cloud.ask("TerminateInstances", &params)
    };
    let (status, body) = dry();
    assert_eq!(status, 412);
    assert!(body.contains("<Code>DryRunOperation</Code>"), "{body}");
    cloud.fail("TerminateInstances", Fault::Denied, Times::N(1));
    let (status, body) = dry();
    assert_eq!(status, 403);
    assert!(
        body.contains("<Code>UnauthorizedOperation</Code>"),
        "{body}"
    );
    assert_eq!(
        (cloud.instance_state(&it).as_str(), cloud.terminations(&it)),
        ("running", 0)
    );
}

#[test]
fn credentials_end() {
    let (cloud, group, it) = cloud();
    assert_eq!(protect(&cloud, &group, &it, "true").0, 200);
    cloud.key_ends("testbed", SystemTime::now());
    let (status, body) = protect(&cloud, &group, &it, "false");
    assert!(status == 403 && body.contains("ExpiredToken"), "{body}");
    assert!(cloud.protected(&it));
}

#[test]
fn operators_change_what_doctor_looks_at() {
    let (cloud, group, it) = cloud();
    let name = ("AutoScalingGroupName", group.name.as_str());
    cloud.change(
        Service::AutoScaling,
        "SuspendProcesses",
        &[name, ("ScalingProcesses.member.1", "AZRebalance")],
    );
    cloud.change(
        Service::AutoScaling,
        "UpdateAutoScalingGroup",
        &[name, ("NewInstancesProtectedFromScaleIn", "true")],
    );
    let named = [("AutoScalingGroupNames.member.1", group.name.as_str())];
    let (_, shown) = cloud.ask("DescribeAutoScalingGroups", &named);
    assert!(
        shown.contains("<ProcessName>AZRebalance</ProcessName>"),
        "{shown}"
    );
    let protected = "<NewInstancesProtectedFromScaleIn>true</NewInstancesProtectedFromScaleIn>";
    assert!(shown.contains(protected), "{shown}");
    let id = ("InstanceId", it.as_str());
    let behaviour = ("Attribute", "instanceInitiatedShutdownBehavior");
    cloud.change(
        Service::Ec2,
        "ModifyInstanceAttribute",
        &[id, behaviour, ("Value", "terminate")],
    );
    cloud.change(
        Service::Ec2,
        "ModifyInstanceMetadataOptions",
        &[
            id,
            ("HttpPutResponseHopLimit", "2"),
            ("HttpTokens", "required"),
        ],
    );
    let (_, shown) = cloud.ask("DescribeInstanceAttribute", &[id, behaviour]);
    assert!(shown.contains("<value>terminate</value>"), "{shown}");
    let (_, shown) = cloud.ask("DescribeInstances", &[("InstanceId.1", &it)]);
    assert!(
        shown.contains("<httpPutResponseHopLimit>2</httpPutResponseHopLimit>"),
        "{shown}"
    );
}
