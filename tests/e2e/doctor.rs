//! `clockout doctor`: what it finds on a machine where all is well, and where one thing is not.

use std::time::Duration;

use serde_json::Value;

use crate::support::moto::Service;
use crate::support::{Cloud, Exit, Group, Hook, ImdsFault, TestBed, Times};

/// The dry run apart, which EC2 refuses whatever it thinks of it.
const PROBES: [&str; 5] = [
    "DetachInstances",
    "TerminateInstanceInAutoScalingGroup",
    "RecordLifecycleActionHeartbeat",
    "CompleteLifecycleAction",
    "SetInstanceProtection",
];

/// A machine whose group, hooks and settings leave nothing to say.
pub fn well() -> (TestBed, Group, String) {
    let cloud = Cloud::start();
    let group = cloud.group(0, 2, 5);
    let instance = group.members().remove(0);
    cloud.hook(
        &group,
        Hook::terminating("clockout-drain").heartbeat(Duration::from_secs(300)),
    );
    set_attribute(
        &cloud,
        &instance,
        "instanceInitiatedShutdownBehavior",
        "terminate",
    );
    let bed = TestBed::on_ec2(cloud, &instance, Some(&group));
    (bed, group, instance)
}

pub fn set_attribute(cloud: &Cloud, instance: &str, name: &str, value: &str) {
    let params = [
        ("InstanceId", instance),
        ("Attribute", name),
        ("Value", value),
    ];
    cloud.change(Service::Ec2, "ModifyInstanceAttribute", &params);
}

/// What the doctor found.
pub struct Found {
    pub exit: Exit,
    pub findings: Vec<Value>,
}

#[track_caller]
pub fn doctor(bed: &TestBed, options: &str) -> Found {
    let output = bed.call(&format!("doctor run --json --user root {options}"));
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
    assert_eq!(output.stderr, "");
    Found {
        exit: output.exit,
        findings: report["findings"].as_array().expect("a list").clone(),
    }
}

impl Found {
    /// `level topic: what -> fix` of those that are not ok.
    pub fn bad(&self) -> Vec<String> {
        let bad = self.findings.iter().filter(|one| one["level"] != "ok");
        let line = |one: &Value| {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            let (level, topic) = (text("level"), text("topic"));
            format!("{level} {topic}: {} -> {}", text("what"), text("fix"))
        };
        bad.map(line).collect()
    }

    /// There is one such line, in which all of these stand.
    #[track_caller]
    pub fn has(&self, words: &[&str]) -> &Found {
        let lines = self.bad();
        let fits = |line: &&String| words.iter().all(|word| line.contains(word));
        assert_eq!(
            lines.iter().filter(fits).count(),
            1,
            "{words:?} in {lines:#?}"
        );
        self
    }

    #[track_caller]
    pub fn is_only(&self, exit: i32, words: &[&str]) {
        self.has(words);
        assert_eq!(self.bad().len(), 1, "{:#?}", self.bad());
        assert_eq!(self.exit, Exit::Code(exit));
    }
}

/// Whatever was tried, nothing was done.
#[track_caller]
pub fn unchanged(bed: &TestBed, group: &Group, instance: &str) {
    let calls = bed.cloud().calls();
    let done: Vec<_> = calls
        .iter()
        .filter(|call| call.took_effect && !call.action.starts_with("Describe"))
        .collect();
    assert!(done.is_empty(), "{done:?}");
    assert_eq!(bed.cloud().instance_state(instance), "running");
    assert_eq!((group.desired(), group.members().len()), (2, 2));
    assert!(!bed.powered_off());
}

#[test]
fn where_all_is_well_nothing_is_wrong_and_nothing_is_changed() {
    let (bed, group, instance) = well();
    let found = doctor(&bed, "--protect busy");
    assert_eq!(found.bad(), [""; 0]);
    assert_eq!(found.exit, Exit::Code(0));
    unchanged(&bed, &group, &instance);
    let calls = bed.cloud().calls();
    for probe in PROBES {
        let probes: Vec<_> = calls.iter().filter(|call| call.action == probe).collect();
        assert_eq!(probes.len(), 1, "{probe}");
        assert_eq!(probes[0].instance(), Some("i-00000000000000000"), "{probe}");
        assert_eq!(probes[0].answer, "400 ValidationError");
        assert_ne!(probes[0].decrement(), Some(true));
    }
    let rehearsals: Vec<_> = calls
        .iter()
        .filter(|call| call.action == "TerminateInstances")
        .collect();
    assert_eq!(rehearsals.len(), 1);
    assert_eq!(rehearsals[0].param("DryRun"), "true");
    assert_eq!(rehearsals[0].answer, "412 DryRunOperation");
}

#[test]
fn for_people_each_finding_is_a_line() {
    let (bed, group, instance) = well();
    let output = bed.call("doctor --user root");
    assert_eq!(output.exit, Exit::Code(0));
    let text = String::from_utf8(output.stdout).expect("text");
    for line in [
        "ok       imds         answers only with a token (version 2)".to_owned(),
        format!("ok       instance     {instance} in us-east-1a, on demand"),
        format!("ok       tags         name the group {}", group.name),
        "ok       permission   ec2:TerminateInstances is allowed".to_owned(),
        "ok       shutdown     powering off terminates the instance".to_owned(),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
}

#[test]
fn a_token_that_never_arrives_is_the_hop_limit() {
    let (bed, ..) = well();
    bed.imds()
        .fail("api/token", ImdsFault::Hang, Times::Forever);
    doctor(&bed, "").is_only(
        1,
        &[
            "error imds",
            "the hop limit is 1",
            "HttpPutResponseHopLimit",
        ],
    );
}

#[test]
fn a_metadata_service_that_hangs_or_refuses_is_told_apart() {
    let (bed, ..) = well();
    bed.imds().fail("", ImdsFault::Hang, Times::Forever);
    doctor(&bed, "").is_only(1, &["error imds", "does not answer (no answer in time)"]);
    bed.imds().heal();
    bed.imds()
        .fail("api/token", ImdsFault::Status(403), Times::Forever);
    doctor(&bed, "").is_only(1, &["error imds", "answers 403", "HttpEndpoint"]);
    bed.imds().heal();
    // One that answers the token, and then nothing for long.
    bed.imds()
        .fail("meta-data/placement", ImdsFault::Hang, Times::Forever);
    doctor(&bed, "").is_only(1, &["error imds", "does not answer"]);
}

#[test]
fn a_group_at_its_minimum_keeps_idle_machines() {
    let (bed, group, _) = well();
    let params = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("MinSize", "2"),
    ];
    bed.cloud()
        .change(Service::AutoScaling, "UpdateAutoScalingGroup", &params);
    doctor(&bed, "").is_only(0, &["warning minimum", "minimum of 2", "goes back to work"]);
    assert_eq!(doctor(&bed, "--idle-timeout never").bad(), [""; 0]);
}

#[test]
fn a_group_without_a_termination_hook_ends_busy_machines() {
    let cloud = Cloud::start();
    let group = cloud.group(0, 2, 5);
    let instance = group.members().remove(0);
    set_attribute(
        &cloud,
        &instance,
        "instanceInitiatedShutdownBehavior",
        "terminate",
    );
    let bed = TestBed::on_ec2(cloud, &instance, Some(&group));
    let words = [
        "warning hooks",
        "no termination hook",
        "put-lifecycle-hook",
        &group.name,
    ];
    doctor(&bed, "").is_only(0, &words);
    let words = [
        "error hooks",
        "--terminate-hook mine",
        "no termination hook",
    ];
    doctor(&bed, "--protect busy --terminate-hook mine").is_only(1, &words);
}

#[test]
fn a_machine_that_would_only_stop_for_ever_is_an_error() {
    let (bed, _, instance) = well();
    set_attribute(
        &bed.cloud(),
        &instance,
        "instanceInitiatedShutdownBehavior",
        "stop",
    );
    doctor(&bed, "").is_only(0, &["warning shutdown", "stays billed", "replaces it"]);
    set_attribute(&bed.cloud(), &instance, "disableApiTermination", "true");
    let found = doctor(&bed, "");
    found.has(&["error shutdown", "termination protection is on"]);
    assert_eq!(found.exit, Exit::Code(1));
}

#[test]
fn elsewhere_than_on_ec2_the_machine_itself_is_checked() {
    let bed = TestBed::new();
    let found = doctor(&bed, "-- /bin/sh -c true");
    assert_eq!((found.bad(), found.exit), (vec![], Exit::Code(0)));
    let topics = ["machine", "state-dir", "socket", "user", "agent"];
    for topic in topics {
        assert!(
            found.findings.iter().any(|one| one["topic"] == topic),
            "{topic}"
        );
    }
    doctor(&bed, "--retire detach").is_only(0, &["warning machine", "no instance to end"]);
    doctor(&bed, "-- no-such-agent").is_only(1, &["error agent", "no-such-agent is not in PATH"]);
    doctor(&bed, "--preset gitea -- gitea-runner daemon")
        .is_only(1, &["error agent", "runner.shutdown_timeout"]);
}

#[test]
fn what_run_would_refuse_is_an_error_and_bad_usage_is_not() {
    let bed = TestBed::new();
    let output = bed.call("doctor --user no-such-user-here");
    assert_eq!(output.exit, Exit::Code(1));
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find(|line| line.starts_with("error"));
    let line = line.expect("an error");
    assert!(
        line.contains("user") && line.contains("'no-such-user-here'"),
        "{line}"
    );
    for usage in [
        "doctor --retire never",
        "doctor poll",
        "doctor run --idle-timeout 0",
    ] {
        bed.call(usage).refused(2);
    }
}

#[test]
fn a_running_supervisor_and_a_state_that_cannot_be_kept_are_seen() {
    let bed = TestBed::new();
    let file = bed.write("file", "");
    doctor(&bed, &format!("--state-dir {file}/state")).is_only(1, &["error state-dir"]);
    doctor(&bed, &format!("--socket {file}")).is_only(1, &["error socket", "no socket"]);
    let agent = bed.agent("--jobs 0");
    let run = bed.run(
        "--retire exit --preset buildkite --idle-timeout never",
        &agent.argv(),
    );
    run.wait_event("agent.ready");
    let found = doctor(&bed, "");
    assert_eq!(found.exit, Exit::Code(0));
    let socket = found.findings.iter().find(|one| one["topic"] == "socket");
    let what = socket.expect("a finding")["what"].as_str().expect("what");
    assert!(what.contains("a supervisor runs here"), "{what}");
}
