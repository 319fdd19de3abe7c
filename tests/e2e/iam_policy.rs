//! `clockout policy`: it allows what is called, for exactly this machine, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::retire_ladder::{machine, wait_terminated};
use crate::support::{Cloud, Exit, Fault, Hook, TestBed, Times, Way};

fn policy(bed: &TestBed, options: &str) -> Value {
    let output = bed.call(&format!("policy {options}"));
    assert_eq!(output.exit, Exit::Code(0), "{}", output.stderr);
    serde_json::from_slice(&output.stdout).expect("JSON alone")
}

/// Without the services' prefixes.
fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().expect("statements");
    let actions = statements
        .iter()
        .flat_map(|one| one["Action"].as_array().expect("a list"));
    actions
        .map(|action| {
            let (_, name) = action
                .as_str()
                .expect("text")
                .split_once(':')
                .expect("a prefix");
            name.to_owned()
        })
        .collect()
}

/// All that was called, but the one that may be denied.
fn called(cloud: &Cloud) -> BTreeSet<String> {
    let calls = cloud.calls().into_iter().map(|call| call.action);
    calls
        .filter(|action| action != "DescribeInstanceStatus")
        .collect()
}

#[test]
fn on_an_instance_it_is_for_that_instances_group() {
    let (bed, group, _) = machine(0, 2);
    let policy = policy(&bed, "run");
    let group = format!(
        "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/{}",
        group.name
    );
    assert_eq!(policy["Statement"][1]["Resource"], json!(group));
    let itself = "arn:aws:ec2:us-east-1:123456789012:instance/*";
    assert_eq!(policy["Statement"][0]["Resource"], json!(itself));
    assert!(bed.cloud().calls().is_empty(), "nothing is asked of AWS");
}

#[test]
fn elsewhere_it_has_placeholders_unless_it_is_told() {
    let bed = TestBed::new();
    let output = bed.call("policy --region eu-west-1 --group ci");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let resource = document["Statement"][1]["Resource"].as_str().expect("text");
    let expected =
        "arn:aws:autoscaling:eu-west-1:ACCOUNT:autoScalingGroup:*:autoScalingGroupName/ci";
    assert_eq!(resource, expected);
    assert!(output.stderr.contains("Replace ACCOUNT, or say --account."));
    assert!(!output.stderr.contains("Replace GROUP"));
}

#[test]
fn what_needs_nothing_says_so_and_prints_no_policy() {
    let bed = TestBed::new();
    for mode in ["exit", "poweroff"] {
        let output = bed.call(&format!("policy --retire {mode}"));
        assert_eq!((output.exit, output.stdout), (Exit::Code(0), vec![]));
        assert!(
            output.stderr.contains("No permission of AWS is needed"),
            "{}",
            output.stderr
        );
    }
    bed.call("policy --account 12").refused(2);
    bed.call("policy --self-terminate trusting").refused(2);
    bed.call("policy --no-group --group ci").refused(2);
}

/// Retires until the instance is terminated, with whatever goes wrong; returns what was called
/// and was not in the policy of the same configuration.
fn beyond(options: &str, reason: &str, prepare: impl Fn(&Cloud)) -> Vec<String> {
    let (bed, _, instance) = machine(0, 2);
    let allowed = actions(&policy(&bed, options));
    prepare(&bed.cloud());
    let line = format!("retire {options} --reason {reason}");
    let words: Vec<_> = line.split_whitespace().collect();
    let _retire = bed.start(&words);
    wait_terminated(&bed, &instance);
    let called = called(&bed.cloud());
    called.difference(&allowed).cloned().collect()
}

#[test]
fn nothing_is_called_that_the_policy_does_not_allow() {
    let nothing = [""; 0];
    assert_eq!(beyond("", "idle", |_| ()), nothing);
    assert_eq!(beyond("--retire terminate", "idle", |_| ()), nothing);
    let lost = |cloud: &Cloud| cloud.fail("DetachInstances", Fault::Lost, Times::N(1));
    assert_eq!(beyond("", "max-jobs", lost), nothing);
    let denied = |cloud: &Cloud| cloud.fail("DetachInstances", Fault::Denied, Times::Forever);
    assert_eq!(beyond("--retire detach", "max-jobs", denied), nothing);
}

#[test]
fn a_scale_in_calls_nothing_that_the_policy_does_not_allow() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud()
        .hook(&group, Hook::terminating("clockout-drain"));
    let allowed = actions(&policy(&bed, "--protect busy"));
    let agent = bed.agent("--job-ms 300 --jobs 1");
    let run = bed.run(
        "--preset buildkite --protect busy --notice-interval 100ms",
        &agent.argv(),
    );
    run.wait_event("job.started");
    bed.cloud().lead(&group, &instance, Way::Out, 1);
    bed.imds().target("Terminated");
    wait_terminated(&bed, &instance);
    let called = called(&bed.cloud());
    let beyond: Vec<_> = called.difference(&allowed).collect();
    assert_eq!(beyond, Vec::<&String>::new());
    for action in [
        "DescribeLifecycleHooks",
        "CompleteLifecycleAction",
        "SetInstanceProtection",
    ] {
        assert!(called.contains(action), "{action} in {called:?}");
    }
}
