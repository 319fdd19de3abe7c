//! The test bed itself: a fake that is kinder than AWS, or an agent that is tamer than the real
//! ones, would prove nothing.

use nix::sys::signal::Signal;

use crate::support::{Exit, Imds, ImdsFault, TestBed, Times, http, wait_until};

fn get(imds: &Imds, path: &str, token: Option<&str>) -> (u16, String) {
    let headers: Vec<_> = token
        .map(|token| ("x-aws-ec2-metadata-token", token.to_owned()))
        .into_iter()
        .collect();
    http::request("GET", &format!("{}/latest/{path}", imds.url()), &headers)
}

fn token(imds: &Imds, seconds: &str) -> (u16, String) {
    let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", seconds.to_owned());
    http::request("PUT", &format!("{}/latest/api/token", imds.url()), &[ttl])
}

#[test]
fn metadata_needs_a_token_that_lives() {
    let imds = Imds::start("i-1");
    let path = "meta-data/instance-id";
    assert_eq!(get(&imds, path, None).0, 401, "version 1 is switched off");
    assert_eq!(token(&imds, "0").0, 400);
    let (status, first) = token(&imds, "21600");
    assert_eq!(status, 200);
    assert_eq!(get(&imds, path, Some(&first)), (200, "i-1".to_owned()));
    assert_eq!(
        get(&imds, "meta-data/spot/instance-action", Some(&first)).0,
        404
    );
    imds.expire_tokens();
    assert_eq!(get(&imds, path, Some(&first)).0, 401);
}

#[test]
fn metadata_fails_as_often_as_it_is_told() {
    let imds = Imds::start("i-1");
    let (_, token) = token(&imds, "60");
    imds.fail("meta-data/placement", ImdsFault::Status(503), Times::N(2));
    let answers: Vec<_> = (0..3)
        .map(|_| get(&imds, "meta-data/placement/region", Some(&token)).0)
        .collect();
    assert_eq!(answers, [503, 503, 200]);
    assert_eq!(get(&imds, "meta-data/instance-id", Some(&token)).0, 200);
}

#[test]
fn the_agent_drains_at_the_first_signal_and_cancels_at_the_second() {
    let bed = TestBed::new();
    let agent = bed.agent("--slots 2 --job-ms 600000");
    let pid = bed.start_agent(&agent);
    wait_until("two jobs", || agent.count("started") == 2);
    let signal = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    signal(Signal::SIGTERM).expect("it runs");
    wait_until("the first signal", || agent.signals().len() == 1);
    assert_eq!(agent.count("finished") + agent.count("canceled"), 0);
    signal(Signal::SIGTERM).expect("it runs");
    assert_eq!(bed.wait_agent(pid), Exit::Code(1));
    assert_eq!(agent.count("canceled"), 2);
}

#[test]
fn the_agent_starts_its_next_job_at_once() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 0 --exit-after 200");
    let pid = bed.start_agent(&agent);
    assert_eq!(bed.wait_agent(pid), Exit::Code(0));
    assert_eq!(
        (agent.count("started"), agent.count("finished")),
        (200, 200)
    );
}

#[test]
fn nothing_outlives_its_bed() {
    let bed = TestBed::new();
    let agent = bed.agent("--escape --on-signal ignore");
    let pid = bed.start_agent(&agent);
    wait_until("the daemon", || agent.count("escaped") == 1);
    let events = agent.events();
    let escaped = events.iter().find(|event| event.name == "escaped");
    let daemon = escaped.expect("waited for").fields["daemon"].as_i64();
    let daemon = daemon.expect("a pid") as i32;
    drop(bed);
    assert!(!crate::support::alive(pid) && !crate::support::alive(daemon));
}

#[cfg(feature = "aws")]
mod aws {
    use crate::support::{Cloud, Fault, Times};

    fn detach(cloud: &Cloud, group: &str, instance: &str, decrement: &str) -> (u16, String) {
        let params = [
            ("AutoScalingGroupName", group),
            ("InstanceIds.member.1", instance),
            ("ShouldDecrementDesiredCapacity", decrement),
        ];
        cloud.ask("DetachInstances", &params)
    }

    fn terminate(cloud: &Cloud, instance: &str, decrement: &str) -> (u16, String) {
        let params = [
            ("InstanceId", instance),
            ("ShouldDecrementDesiredCapacity", decrement),
        ];
        cloud.ask("TerminateInstanceInAutoScalingGroup", &params)
    }

    #[test]
    fn a_group_never_goes_below_its_minimum() {
        let cloud = Cloud::start();
        let group = cloud.group(1, 1, 3);
        let it = group.members().remove(0);
        let (status, body) = detach(&cloud, &group.name, &it, "true");
        assert_eq!(status, 400);
        let words = "has min-size=1, max-size=3, and desired-size=1. To detach 1 instance";
        assert!(
            body.contains("<Code>ValidationError</Code>") && body.contains(words),
            "{body}"
        );
        let (status, body) = terminate(&cloud, &it, "true");
        assert_eq!(status, 400);
        assert!(
            body.contains("Currently, desiredSize equals minSize (1)."),
            "{body}"
        );
        assert_eq!((group.desired(), group.members()), (1, vec![it.clone()]));
        assert_eq!(detach(&cloud, &group.name, &it, "false").0, 200);
        assert_eq!((group.desired(), group.launched().len()), (1, 2));
        assert_eq!(
            (cloud.decrements(&it), cloud.instance_state(&it).as_str()),
            (0, "running")
        );
    }

    #[test]
    fn strangers_are_not_detached() {
        let cloud = Cloud::start();
        let group = cloud.group(0, 2, 3);
        let (status, body) = detach(&cloud, &group.name, "i-0123456789abcdef0", "true");
        assert_eq!(status, 400);
        assert!(body.contains("is not part of Auto Scaling group"), "{body}");
        let (status, body) = terminate(&cloud, "i-0123456789abcdef0", "true");
        assert_eq!(status, 400);
        assert!(
            body.contains("No managed instance found for instance ID i-0"),
            "{body}"
        );
        let (status, body) = detach(&cloud, "no-such-group", "i-0123456789abcdef0", "true");
        assert_eq!(status, 400);
        assert!(body.contains("AutoScalingGroup name not found"), "{body}");
        assert_eq!(group.desired(), 2);
    }

    #[test]
    fn what_left_is_seen_leaving_for_a_while() {
        let cloud = Cloud::start();
        let group = cloud.group(0, 2, 3);
        let it = group.members().remove(0);
        cloud.lag("Detaching", Times::N(2));
        assert_eq!(detach(&cloud, &group.name, &it, "true").0, 200);
        let look = || {
            let params = [("InstanceIds.member.1", it.as_str())];
            cloud.ask("DescribeAutoScalingInstances", &params).1
        };
        assert!(look().contains("<LifecycleState>Detaching</LifecycleState>"));
        let (status, body) = detach(&cloud, &group.name, &it, "true");
        assert!(
            status == 400 && body.contains("is not in InService or Standby"),
            "{body}"
        );
        assert!(!look().contains("<LifecycleState>"));
        assert_eq!((group.desired(), cloud.decrements(&it)), (1, 1));
    }

    #[test]
    fn a_lost_answer_has_taken_effect_and_a_refused_call_has_not() {
        let cloud = Cloud::start();
        let group = cloud.group(0, 2, 3);
        let it = group.members().remove(0);
        for (fault, status) in [
            (Fault::Throttled, 400),
            (Fault::Contention, 500),
            (Fault::Denied, 403),
            (Fault::InternalError, 500),
            (Fault::Unavailable, 503),
        ] {
            cloud.fail("DetachInstances", fault, Times::N(1));
            assert_eq!(detach(&cloud, &group.name, &it, "true").0, status);
        }
        assert_eq!((group.desired(), cloud.decrements(&it)), (2, 0));
        cloud.fail("DetachInstances", Fault::Lost, Times::N(1));
        assert_eq!(detach(&cloud, &group.name, &it, "true").0, 0);
        assert_eq!((group.desired(), cloud.decrements(&it)), (1, 1));
        assert_eq!(
            cloud.ask("TerminateInstances", &[("InstanceId.1", &it)]).0,
            200
        );
        assert_eq!(
            cloud.ask("TerminateInstances", &[("InstanceId.1", &it)]).0,
            200
        );
        assert_eq!(cloud.terminations(&it), 1);
        assert_eq!(cloud.instance_state(&it), "terminated");
    }

    #[test]
    fn a_member_that_is_terminated_behind_the_groups_back_is_replaced() {
        let cloud = Cloud::start();
        let group = cloud.group(1, 1, 3);
        let it = group.members().remove(0);
        assert_eq!(
            cloud.ask("TerminateInstances", &[("InstanceId.1", &it)]).0,
            200
        );
        assert_eq!((group.desired(), group.launched().len()), (1, 2));
        assert!(!group.members().contains(&it));
    }
}
