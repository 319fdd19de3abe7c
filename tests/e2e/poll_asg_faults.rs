//! The poller while AWS lags, throttles, loses answers, and has no machines.

use crate::poll_asg::Yard;
use crate::support::{Fault, Times, wait_until};

const SPOT: &str = "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill \
                    capacity due to your request configuration. Please adjust your request and try \
                    again. Launching EC2 instance failed.";

#[test]
fn a_lost_answer_is_repeated_without_any_further_effect() {
    for (target, action) in [
        ("", "SetDesiredCapacity"),
        (", launch = \"launch-instances\"", "LaunchInstances"),
    ] {
        let mut yard = Yard::new("");
        let cloud = yard.bed.cloud();
        let group = cloud.group(0, 0, 20);
        yard.serve(&group, target, "");
        cloud.fail(action, Fault::Lost, Times::N(1));
        // Whoever repeats it must not see what it has done already.
        let poll = yard.start();
        yard.wait_reads(1);
        yard.jobs(&group, 3, 0);
        poll.wait_event("poll.failed");
        yard.wait_reads(6);
        assert_eq!(group.desired(), 3, "{action}");
    }
}

#[test]
fn launch_instances_is_repeated_with_the_same_token_while_reads_lag() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 0, 20);
    yard.serve(&group, ", launch = \"launch-instances\"", "");
    let poll = yard.start();
    yard.wait_reads(1);
    cloud.fail("DescribeAutoScalingGroups", Fault::Stale, Times::N(6));
    cloud.fail("LaunchInstances", Fault::Lost, Times::N(1));
    yard.jobs(&group, 3, 0);
    poll.wait_event("poll.failed");
    poll.wait_event("poll.launched");
    yard.wait_reads(6);
    assert_eq!(group.desired(), 3);
    let calls = cloud.calls();
    let launches = calls.iter().filter(|call| call.action == "LaunchInstances");
    let tokens: Vec<_> = launches.map(|call| call.param("ClientToken")).collect();
    assert!(tokens.len() >= 2, "{tokens:?}");
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
}

#[test]
fn d5_a_lagging_read_never_makes_it_lower_what_it_raised() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 0, 20);
    yard.serve(&group, "", "");
    let poll = yard.start();
    yard.wait_reads(1);
    yard.jobs(&group, 6, 0);
    poll.wait_event("poll.launched");
    // As before the launch: a replica that has not heard of it.
    cloud.fail("DescribeAutoScalingGroups", Fault::Stale, Times::N(4));
    yard.jobs(&group, 2, 0);
    yard.wait_reads(6);
    yard.jobs(&group, 3, 6);
    wait_until("three more", || group.desired() == 9);
    let asked = cloud.desired_asked();
    assert!(asked.is_sorted(), "{asked:?}");
}

#[test]
fn while_the_groups_cannot_be_read_nothing_is_launched_and_then_it_is() {
    for fault in [Fault::Throttled, Fault::InternalError, Fault::Denied] {
        let mut yard = Yard::new("");
        let cloud = yard.bed.cloud();
        let group = cloud.group(0, 0, 20);
        yard.serve(&group, "", "");
        yard.jobs(&group, 3, 0);
        cloud.fail("DescribeAutoScalingGroups", fault, Times::N(2));
        let poll = yard.start();
        poll.wait_event("poll.launched");
        let calls = cloud.calls();
        let first = calls
            .iter()
            .position(|call| call.action == "SetDesiredCapacity");
        let reads = &calls[..first.expect("a launch")];
        let answers: Vec<_> = reads.iter().map(|call| call.answer.as_str()).collect();
        assert!(
            answers.len() >= 3 && answers.last() == Some(&"200"),
            "{answers:?}"
        );
        assert_eq!(group.desired(), 3);
    }
}

#[test]
fn a_group_that_is_being_changed_is_read_again_and_raised_later() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let group = cloud.group(0, 0, 20);
    yard.serve(&group, "", "");
    yard.jobs(&group, 3, 0);
    cloud.fail("SetDesiredCapacity", Fault::Contention, Times::N(1));
    let poll = yard.start();
    poll.wait_event("poll.failed");
    poll.wait_event("poll.launched");
    assert_eq!(group.desired(), 3);
}

#[test]
fn d12_another_group_takes_over_at_once_what_launch_instances_cannot_get() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let (spot, on_demand) = (cloud.group(0, 0, 9), cloud.group(0, 0, 9));
    cloud.fill_zone("us-east-1a");
    let fallback = format!("fallback = \"{}\"", on_demand.name);
    yard.serve(&spot, ", launch = \"launch-instances\"", &fallback);
    yard.fall_back(&on_demand, "");
    yard.jobs(&spot, 3, 0);
    let poll = yard.start();
    wait_until("the other group", || on_demand.desired() == 3);
    assert_eq!(spot.desired(), 0);
    assert!(!poll.has_ended());
}

#[test]
fn d12_another_group_takes_over_what_the_activities_say_cannot_be_had() {
    let mut yard = Yard::new("");
    let cloud = yard.bed.cloud();
    let (spot, on_demand) = (cloud.group(0, 0, 9), cloud.group(0, 0, 9));
    cloud.exhaust(&spot, SPOT);
    let fallback = format!("fallback = \"{}\"", on_demand.name);
    yard.serve(&spot, "", &fallback);
    yard.fall_back(&on_demand, "");
    yard.jobs(&spot, 3, 0);
    let _poll = yard.start();
    // It is asked why after half a minute.
    wait_until("the other group", || on_demand.desired() == 3);
    let asked = cloud.calls();
    let why = asked
        .iter()
        .filter(|call| call.action == "DescribeScalingActivities");
    assert!(why.count() >= 1);
}
