//! How a machine leaves its group and ends: each row of the reason table, each rung of the
//! ladder reached by a fault, and the group's final state as Auto Scaling itself has it.

use nix::sys::signal::Signal;

use crate::support::{Cloud, Exit, Fault, Group, TestBed, Times, wait_until};

/// A machine in a group of this size, the group, and the machine's instance.
pub fn machine(min: u32, desired: u32) -> (TestBed, Group, String) {
    let cloud = Cloud::start();
    let group = cloud.group(min, desired, 5);
    let instance = group.members().remove(0);
    let bed = TestBed::on_ec2(cloud, &instance, Some(&group));
    (bed, group, instance)
}

/// What has become of the group and the machine.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    terminated: bool,
    desired: i64,
    /// Instances that the group launched in its life.
    launched: usize,
    decrements: usize,
    powered_off: bool,
}

/// The machine is terminated and the group has one less.
pub const SHRUNK: End = End {
    terminated: true,
    desired: 1,
    launched: 2,
    decrements: 1,
    powered_off: false,
};

/// The machine is terminated and another one was launched.
pub const REPLACED: End = End {
    terminated: true,
    desired: 2,
    launched: 3,
    decrements: 0,
    powered_off: false,
};

pub fn end(bed: &TestBed, group: &Group, instance: &str) -> End {
    End {
        terminated: bed.cloud().instance_state(instance) == "terminated",
        desired: group.desired(),
        launched: group.launched().len(),
        decrements: bed.cloud().decrements(instance),
        powered_off: bed.powered_off(),
    }
}

#[track_caller]
pub fn wait_terminated(bed: &TestBed, instance: &str) {
    wait_until("the end of the instance", || {
        bed.cloud().instance_state(instance) == "terminated"
    });
}

/// Retires a member of a group of two that may shrink, until its instance is terminated.
#[track_caller]
fn retire(reason: &str, prepare: impl Fn(&Cloud)) -> (End, Vec<String>) {
    let (bed, group, instance) = machine(0, 2);
    prepare(&bed.cloud());
    let _retire = bed.start(&["retire", "--reason", reason]);
    wait_terminated(&bed, &instance);
    (end(&bed, &group, &instance), bed.cloud().changes())
}

#[test]
fn above_the_minimum_the_reason_decides_whether_the_group_shrinks() {
    for reason in [
        "idle",
        "max-jobs",
        "max-lifetime",
        "operator",
        "signal",
        "boot-timeout",
        "crash-loop",
        "agent-exit",
    ] {
        let (end, calls) = retire(reason, |_| ());
        assert_eq!(end, SHRUNK, "{reason}");
        assert_eq!(
            calls,
            ["DetachInstances decrement: 200", "TerminateInstances: 200"]
        );
    }
    for reason in ["spot", "maintenance", "rebalance"] {
        let (end, calls) = retire(reason, |_| ());
        assert_eq!(end, REPLACED, "{reason}");
        assert_eq!(
            calls,
            ["DetachInstances replace: 200", "TerminateInstances: 200"]
        );
    }
}

#[test]
fn a_group_that_chose_this_machine_is_not_told_what_to_do() {
    let (_, calls) = retire("scale-in", |_| ());
    assert_eq!(calls, ["TerminateInstances: 200"]);
}

#[test]
fn at_the_minimum_a_machine_that_is_done_is_replaced() {
    for reason in [
        "max-jobs",
        "max-lifetime",
        "operator",
        "signal",
        "spot",
        "maintenance",
        "rebalance",
    ] {
        let (bed, group, instance) = machine(2, 2);
        let _retire = bed.start(&["retire", "--reason", reason]);
        wait_terminated(&bed, &instance);
        assert_eq!(end(&bed, &group, &instance), REPLACED, "{reason}");
    }
}

#[test]
fn an_idle_machine_at_the_minimum_goes_back_to_work() {
    let (bed, group, instance) = machine(1, 1);
    let agent = bed.agent("--jobs 0");
    let run = bed.run("--preset buildkite --idle-timeout 300ms", &agent.argv());
    run.wait_events("agent.ready", 2);
    let still = End {
        terminated: false,
        desired: 1,
        launched: 1,
        decrements: 0,
        powered_off: false,
    };
    assert_eq!(end(&bed, &group, &instance), still);
    let refused = "DetachInstances decrement: 400 ValidationError";
    assert!(bed.cloud().changes().iter().all(|call| call == refused));
    // It is a machine like any other again, and retires for the next good reason.
    run.signal(Signal::SIGTERM);
    wait_terminated(&bed, &instance);
    assert_eq!(group.desired(), 1);
    assert_eq!(group.launched().len(), 2);
}

#[test]
fn a_broken_machine_at_the_minimum_is_not_replaced_at_once() {
    let (bed, group, instance) = machine(1, 1);
    let agent = bed.agent("--never-ready");
    let run = bed.run("--preset buildkite --boot-timeout 200ms", &agent.argv());
    let asked = || bed.cloud().changes();
    wait_until("the first refusal", || !asked().is_empty());
    assert_eq!(asked()[0], "DetachInstances decrement: 400 ValidationError");
    let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc is there");
    let uptime: f64 = uptime
        .split(' ')
        .next()
        .and_then(|t| t.parse().ok())
        .expect("seconds");
    if uptime < 3600.0 {
        // At most one an hour: this machine is younger, so it holds the place of the next.
        run.wait_event("retire.hold");
        assert_eq!(bed.cloud().instance_state(&instance), "running");
        assert_eq!(group.launched().len(), 1);
    } else {
        wait_terminated(&bed, &instance);
        assert_eq!((group.desired(), group.launched().len()), (1, 2));
    }
}

#[test]
fn a_refused_detach_is_followed_by_a_terminate_through_the_group() {
    let denied = |cloud: &Cloud| cloud.fail("DetachInstances", Fault::Denied, Times::Forever);
    let (end, calls) = retire("max-jobs", denied);
    assert_eq!(end, SHRUNK);
    assert_eq!(
        calls,
        [
            "DetachInstances decrement: 403 AccessDenied",
            "TerminateInstanceInAutoScalingGroup decrement: 200",
        ]
    );
}

#[test]
fn without_any_right_on_the_group_the_machine_terminates_itself() {
    let (end, calls) = retire("max-jobs", |cloud| {
        cloud.fail("DetachInstances", Fault::Denied, Times::Forever);
        cloud.fail(
            "TerminateInstanceInAutoScalingGroup",
            Fault::Denied,
            Times::Forever,
        );
    });
    assert_eq!(end, REPLACED, "the group saw a member die, and replaced it");
    assert_eq!(
        calls.last().map(String::as_str),
        Some("TerminateInstances: 200")
    );
}

#[test]
fn without_any_right_at_all_the_machine_powers_off() {
    let (bed, _, instance) = machine(0, 2);
    bed.cloud().fail("*", Fault::Denied, Times::Forever);
    let _retire = bed.start(&["retire", "--reason", "max-jobs"]);
    wait_until("the power-off command", || bed.powered_off());
    assert_eq!(bed.cloud().instance_state(&instance), "running");
    let tried: Vec<_> = bed.cloud().changes();
    assert_eq!(
        tried,
        [
            "DetachInstances decrement: 403 AccessDenied",
            "TerminateInstanceInAutoScalingGroup decrement: 403 AccessDenied",
            "TerminateInstances: 403 UnauthorizedOperation",
        ]
    );
}

#[test]
fn trouble_that_passes_is_waited_out() {
    for fault in [
        Fault::Throttled,
        Fault::Contention,
        Fault::InternalError,
        Fault::Unavailable,
    ] {
        let (end, _) = retire("max-jobs", |cloud| {
            cloud.fail("DetachInstances", fault.clone(), Times::N(3));
            cloud.fail("TerminateInstances", fault.clone(), Times::N(2));
        });
        assert_eq!(end, SHRUNK, "{fault:?}");
    }
}

#[test]
fn a_lost_answer_never_decrements_twice() {
    for lag in ["InService", "Detaching", ""] {
        let (end, _) = retire("max-jobs", |cloud| {
            cloud.fail("DetachInstances", Fault::Lost, Times::N(1));
            if !lag.is_empty() {
                cloud.lag(lag, Times::N(2));
            }
        });
        assert_eq!(end, SHRUNK, "the group still showed it {lag}");
    }
}

#[test]
fn a_lost_answer_without_the_right_to_look_never_decrements_twice() {
    let (end, _) = retire("max-jobs", |cloud| {
        cloud.fail(
            "DescribeAutoScalingInstances",
            Fault::Denied,
            Times::Forever,
        );
        cloud.fail("DetachInstances", Fault::Lost, Times::N(1));
    });
    assert_eq!(end, SHRUNK);
}

#[test]
fn a_lost_answer_of_the_second_rung_never_decrements_twice() {
    let (end, _) = retire("max-jobs", |cloud| {
        cloud.fail("DetachInstances", Fault::Denied, Times::Forever);
        cloud.fail(
            "TerminateInstanceInAutoScalingGroup",
            Fault::Lost,
            Times::N(1),
        );
    });
    assert_eq!(end, SHRUNK);
}

#[test]
fn silence_is_given_up_and_asked_again() {
    let (end, _) = retire("max-jobs", |cloud| {
        cloud.fail("DetachInstances", Fault::DoneThenSilent, Times::N(1));
        cloud.fail("TerminateInstances", Fault::Hang, Times::N(1));
    });
    assert_eq!(end, SHRUNK);
}

#[test]
fn a_machine_that_is_leaving_already_goes_on_to_terminate() {
    for message in [
        "The instance i-1 is not part of Auto Scaling group ci.",
        "The instance i-1 is not in InService or Standby.",
    ] {
        let (_, calls) = retire("max-jobs", |cloud| {
            let left = Fault::Refused("ValidationError", message);
            cloud.fail("DetachInstances", left, Times::N(1));
        });
        assert_eq!(
            calls,
            [
                "DetachInstances decrement: 400 ValidationError",
                "TerminateInstances: 200"
            ]
        );
    }
}

#[test]
fn a_machine_in_no_group_terminates_itself() {
    let cloud = Cloud::start();
    let instance = cloud.lone_instance();
    let bed = TestBed::on_ec2(cloud, &instance, None);
    let _retire = bed.start(&["retire"]);
    wait_terminated(&bed, &instance);
    assert_eq!(bed.cloud().changes(), ["TerminateInstances: 200"]);
}

#[test]
fn a_group_that_metadata_does_not_show_is_looked_up() {
    let cloud = Cloud::start();
    let group = cloud.group(0, 2, 5);
    let instance = group.members().remove(0);
    let bed = TestBed::on_ec2(cloud, &instance, None);
    bed.cloud().fail(
        "DescribeAutoScalingInstances",
        Fault::Throttled,
        Times::N(2),
    );
    let _retire = bed.start(&["retire", "--reason", "max-jobs"]);
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn the_mode_says_where_the_ladder_begins() {
    let (bed, group, instance) = machine(0, 2);
    let _retire = bed.start(&["retire", "--retire", "terminate", "--reason", "max-jobs"]);
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
    let calls = bed.cloud().changes();
    assert_eq!(
        calls,
        ["TerminateInstanceInAutoScalingGroup decrement: 200"]
    );

    let (bed, _, _) = machine(0, 2);
    let _retire = bed.start(&["retire", "--retire", "poweroff"]);
    wait_until("the power-off command", || bed.powered_off());
    assert!(bed.cloud().changes().is_empty());

    let (bed, _, _) = machine(0, 2);
    let exit = bed.start(&["retire", "--retire", "exit"]);
    assert_eq!(exit.wait_exit(), Exit::Code(0));
    assert!(bed.cloud().changes().is_empty() && !bed.powered_off());
}
