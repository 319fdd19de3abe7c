//! The poller and Auto Scaling groups: what it asks of them, and what it leaves alone.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::http::{Answer, Handler, Reply, Server};
use crate::support::moto::Service;
use crate::support::{Clockout, Cloud, Exit, Group, TestBed, wait_for, wait_until};

/// A cloud with groups, queues that are files, and a poller beside.
pub struct Yard {
    pub bed: TestBed,
    toml: String,
}

impl Yard {
    pub fn new(poll: &str) -> Yard {
        Yard {
            bed: TestBed::beside(Cloud::start()),
            toml: format!("[poll]\ninterval = \"1s\"\n{poll}\n"),
        }
    }

    /// The poller serves this group, with these keys of its target and of its own.
    pub fn serve(&mut self, group: &Group, target: &str, more: &str) {
        let name = &group.name;
        let queue = self.bed.path(&format!("{name}.queue"));
        self.toml += &format!(
            "[[group]]\nname = \"{name}\"\n\
             target = {{ kind = \"asg\", name = \"{name}\"{target} }}\n\
             source = {{ kind = \"exec\", command = [\"cat\", \"{}\"] }}\n{more}\n",
            queue.display()
        );
        self.bed.write("clockout.toml", &self.toml);
        self.jobs(group, 0, 0);
    }

    /// This group takes what another cannot launch.
    pub fn fall_back(&mut self, group: &Group, target: &str) {
        let name = &group.name;
        self.toml += &format!(
            "[[group]]\nname = \"{name}\"\n\
             target = {{ kind = \"asg\", name = \"{name}\"{target} }}\n"
        );
        self.bed.write("clockout.toml", &self.toml);
    }

    pub fn jobs(&self, group: &Group, waiting: u32, running: u32) {
        let queue = format!("{}.queue", group.name);
        let json = format!(r#"{{"waiting": {waiting}, "running": {running}}}"#);
        // Not in place: it may be read now.
        self.bed.write(&format!("{queue}.next"), json);
        let next = self.bed.path(&format!("{queue}.next"));
        fs::rename(next, self.bed.path(&queue)).expect("a file");
    }

    pub fn once(&self) {
        let output = self.bed.call("poll --once");
        assert_eq!(output.exit, Exit::Code(0), "{}", output.stderr);
    }

    pub fn start(&self) -> Clockout {
        self.bed.start(&["poll"])
    }

    /// Waits until groups were read so many times more.
    pub fn wait_reads(&self, more: usize) {
        let reads = || {
            let calls = self.bed.cloud().calls().into_iter();
            let reads = calls.filter(|call| call.action == "DescribeAutoScalingGroups");
            reads.count()
        };
        let before = reads();
        wait_until("reads of the groups", || reads() >= before + more);
    }
}

#[test]
fn d5_c3_desired_capacity_is_raised_to_what_is_missing_within_the_maximum_and_never_lowered() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 1, 4);
    yard.serve(&group, "", "");
    yard.jobs(&group, 3, 0);
    yard.once();
    assert_eq!(group.desired(), 3);
    yard.jobs(&group, 9, 3);
    yard.once();
    assert_eq!(group.desired(), 4, "no more than the group allows");
    for (waiting, running) in [(9, 4), (0, 4), (0, 0)] {
        yard.jobs(&group, waiting, running);
        yard.once();
    }
    assert_eq!(cloud.desired_asked(), [3, 4]);
    let changes = cloud.calls().into_iter();
    let mut changes = changes.filter(|call| !call.action.starts_with("Describe"));
    assert!(changes.all(|call| {
        call.action == "SetDesiredCapacity" && call.param("HonorCooldown") == "false"
    }));
}

#[test]
fn c4_instances_that_are_asked_for_or_boot_are_not_asked_for_again() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 0, 20);
    cloud.boot_slowly(&group, 3, 4);
    yard.serve(&group, "", "");
    yard.jobs(&group, 5, 0);
    let poll = yard.start();
    poll.wait_event("poll.launched");
    // Not listed, then pending, then in service, and the jobs still wait.
    yard.wait_reads(10);
    assert_eq!(cloud.desired_asked(), [5]);
    assert_eq!(group.members().len(), 5);
}

#[test]
fn a_group_whose_launches_are_suspended_is_left_alone_and_that_is_said() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 0, 9);
    let suspend = [
        ("AutoScalingGroupName", group.name.as_str()),
        ("ScalingProcesses.member.1", "Launch"),
    ];
    cloud.change(Service::AutoScaling, "SuspendProcesses", &suspend);
    yard.serve(&group, "", "");
    yard.jobs(&group, 2, 0);
    yard.once();
    assert_eq!(cloud.desired_asked(), [0; 0]);
    let told = yard.bed.call(&format!("poll --explain {}", group.name));
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("not more: the group is held"), "{text}");
}

#[test]
fn a_group_that_is_not_there_keeps_no_other_from_its_instances() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let (gone, there) = (cloud.group(0, 0, 9), cloud.group(0, 0, 9));
    yard.serve(&gone, "", "");
    yard.serve(&there, "", "");
    let delete = [("AutoScalingGroupName", gone.name.as_str())];
    cloud.change(Service::AutoScaling, "DeleteAutoScalingGroup", &delete);
    yard.jobs(&gone, 2, 0);
    yard.jobs(&there, 2, 0);
    let _ = yard.bed.call("poll --once");
    assert_eq!(there.desired(), 2);
    assert_eq!(cloud.desired_asked(), [2]);
}

/// A server of CircleCI's where one task of each of these classes waits.
fn circleci(classes: Vec<String>) -> Server {
    let handler: Handler = Arc::new(move |request| {
        let waits = classes.iter().any(|class| {
            let class = class.replace('/', "%2F");
            let query = format!("resource-class={class}");
            request.path.ends_with(&query) || request.path.contains(&format!("{query}&"))
        });
        let running = request.path.contains("/running");
        let body = match (running, waits) {
            (true, _) => r#"{"running_runner_tasks":0}"#,
            (false, true) => r#"{"unclaimed_task_count":1}"#,
            (false, false) => r#"{"unclaimed_task_count":0}"#,
        };
        Box::pin(async move { Answer::Reply(Reply::new(200, "application/json", body)) })
    });
    Server::start(handler)
}

#[test]
fn c1_every_page_of_tagged_groups_is_discovered_and_groups_come_and_go_without_a_restart() {
    let yard = Yard::new("");
    let cloud = yard.bed.cloud();
    // moto is shared with other tests: a tag of our own.
    let tag = format!("class-of-{}", cloud.group(0, 0, 1).name);
    let groups: Vec<Group> = (0..105).map(|_| cloud.group(0, 0, 3)).collect();
    for (number, group) in groups.iter().enumerate() {
        let namespace = if number == 50 { "other" } else { "acme" };
        cloud.tag(group, &tag, &format!("{namespace}/{}", group.name));
    }
    let late = cloud.group(0, 0, 3);
    let busy = [&groups[0], &groups[50], &groups[104], &late];
    let server = circleci(busy.iter().map(|it| format!("acme/{}", it.name)).collect());
    yard.bed.set_env("TOKEN", "secret");
    let toml = format!(
        "[poll]\ninterval = \"1s\"\n[[discover]]\nkind = \"asg\"\ntag = \"{tag}\"\n\
         namespace = \"acme\"\nsource = {{ kind = \"circleci\", url = \"{}\", \
         token_env = \"TOKEN\" }}\n",
        server.url()
    );
    yard.bed.write("clockout.toml", &toml);
    let poll = yard.start();
    wait_until("the first and the last to be raised", || {
        groups[0].desired() == 1 && groups[104].desired() == 1
    });
    assert_eq!(groups[50].desired(), 0, "of another namespace");
    cloud.tag(&late, &tag, &format!("acme/{}", late.name));
    // It looks for them about once a minute, and when it is told to.
    poll.signal(Signal::SIGHUP);
    wait_until("the late one to be raised", || late.desired() == 1);
    let asked: BTreeSet<_> = cloud
        .calls()
        .iter()
        .filter(|call| call.action == "SetDesiredCapacity")
        .map(|call| call.param("AutoScalingGroupName").to_owned())
        .collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    let untag = [
        ("Tags.member.1.Key", tag.as_str()),
        ("Tags.member.1.ResourceId", &groups[7].name),
        ("Tags.member.1.ResourceType", "auto-scaling-group"),
    ];
    cloud.change(Service::AutoScaling, "DeleteTags", &untag);
    poll.signal(Signal::SIGHUP);
    let gone = poll.wait_event("group.gone");
    assert_eq!(gone.field("group"), groups[7].name);
}

/// What `policy` prints, without the services' prefixes.
pub fn allowed(yard: &Yard, options: &str) -> BTreeSet<String> {
    let output = yard.bed.call(&format!("policy poll {options}"));
    assert_eq!(output.exit, Exit::Code(0), "{}", output.stderr);
    let policy: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    let statements = policy["Statement"].as_array().expect("statements");
    let actions = statements.iter().filter_map(|one| one["Action"].as_array());
    let names = actions.flatten().filter_map(Value::as_str);
    names
        .filter_map(|name| Some(name.split_once(':')?.1.to_owned()))
        .collect()
}

#[test]
fn nothing_is_called_that_the_policy_does_not_allow() {
    for (target, raise) in [
        ("", "SetDesiredCapacity"),
        (", launch = \"launch-instances\"", "LaunchInstances"),
    ] {
        let mut yard = Yard::new("");
        let cloud = yard.bed.cloud();
        let group = cloud.group(0, 0, 9);
        yard.serve(&group, target, "");
        yard.jobs(&group, 2, 0);
        let allowed = allowed(&yard, "");
        yard.once();
        let called: BTreeSet<_> = cloud.calls().into_iter().map(|call| call.action).collect();
        assert!(called.contains(raise), "{called:?}");
        let beyond: Vec<_> = called.difference(&allowed).collect();
        assert_eq!(beyond, Vec::<&String>::new());
    }
}

#[test]
fn launch_instances_begins_where_the_fewest_are_and_goes_on_where_there_is_room() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 0, 9);
    cloud.set_zones(&group, &["us-east-1a", "us-east-1b"]);
    cloud.fill_zone("us-east-1a");
    yard.serve(&group, ", launch = \"launch-instances\"", "");
    yard.jobs(&group, 3, 0);
    yard.once();
    assert_eq!(group.desired(), 3);
    let calls = wait_for("the calls", || {
        let mut calls = cloud.calls();
        calls.retain(|call| call.action == "LaunchInstances");
        (!calls.is_empty()).then_some(calls)
    });
    let asked: Vec<_> = calls
        .iter()
        .map(|call| {
            let zone = call.param("AvailabilityZones.member.1").to_owned();
            (zone, call.param("RequestedCapacity").to_owned())
        })
        .collect();
    let expected = [
        ("us-east-1a", "2"),
        ("us-east-1b", "1"),
        ("us-east-1b", "2"),
    ];
    let expected = expected.map(|(zone, count)| (zone.to_owned(), count.to_owned()));
    assert_eq!(asked, expected);
    assert!(
        calls
            .iter()
            .all(|call| call.param("RetryStrategy") == "none")
    );
}
