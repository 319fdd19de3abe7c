//! How a machine leaves its group and ends: each row of the reason table, each rung of the
//! ladder reached by a fault, and the group's final state as Auto Scaling itself has it.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Cloud, Exit, Fault, Group, TestBed, Times, sh, wait_until};

/// A machine in a group of this size, the group, and the machine's instance.
fn machine(min: u32, desired: u32) -> (TestBed, Group, String) {
    let cloud = Cloud::start();
    let group = cloud.group(min, desired, 5);
    let instance = group.members().remove(0);
    let bed = TestBed::on_ec2(cloud, &instance, Some(&group));
    (bed, group, instance)
}

/// What has become of the group and the machine.
#[derive(Debug, PartialEq, Eq)]
struct End {
    terminated: bool,
    desired: i64,
    /// Instances that the group launched in its life.
    launched: usize,
    decrements: usize,
    powered_off: bool,
}

/// The machine is terminated and the group has one less.
const SHRUNK: End = End {
    terminated: true,
    desired: 1,
    launched: 2,
    decrements: 1,
    powered_off: false,
};

/// The machine is terminated and another one was launched.
const REPLACED: End = End {
    terminated: true,
    desired: 2,
    launched: 3,
    decrements: 0,
    powered_off: false,
};

fn end(bed: &TestBed, group: &Group, instance: &str) -> End {
    End {
        terminated: bed.cloud().instance_state(instance) == "terminated",
        desired: group.desired(),
        launched: group.launched().len(),
        decrements: bed.cloud().decrements(instance),
        powered_off: bed.powered_off(),
    }
}

#[track_caller]
fn wait_terminated(bed: &TestBed, instance: &str) {
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

#[test]
fn a_dry_run_calls_nothing() {
    let (bed, _, _) = machine(0, 2);
    let run = bed.run(
        "--dry-run --max-jobs 1 --preset buildkite",
        &bed.agent("").argv(),
    );
    assert_eq!(run.wait_exit(), Exit::Code(0));
    assert!(bed.cloud().changes().is_empty() && !bed.powered_off());
    let said = run.stderr();
    for call in ["DetachInstances", "TerminateInstances"] {
        assert!(said.contains(call), "it says what it would call: {call}");
    }
}

#[test]
fn hooks_run_before_the_machine_leaves_and_never_stop_it() {
    let (bed, group, instance) = machine(0, 2);
    let good = bed.script(
        "good",
        &format!("echo done > {}", bed.path("hooked").display()),
    );
    let slow = bed.script("slow", "sleep 600");
    bed.write(
        "clockout.toml",
        format!(
            "[run]\nhook_timeout = \"300ms\"\n\
             before_retire = [[\"{slow}\"], [\"/bin/false\"], [\"/no/such/hook\"], [\"{good}\"]]\n"
        ),
    );
    let _run = bed.run("--preset buildkite --max-jobs 1", &bed.agent("").argv());
    wait_terminated(&bed, &instance);
    assert!(
        bed.path("hooked").exists(),
        "the last hook ran in spite of the others"
    );
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
}

#[test]
fn detaching_early_lets_the_group_grow_while_the_job_runs() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 600000");
    let run = bed.run(
        "--detach-early --preset buildkite --max-jobs 1",
        &agent.argv(),
    );
    wait_until("the detach", || !group.members().contains(&instance));
    assert_eq!(agent.count("finished") + agent.count("canceled"), 0);
    assert_eq!(bed.cloud().instance_state(&instance), "running");
    run.signal(Signal::SIGTERM);
    wait_until("the second drain signal", || {
        agent.signals().len() >= 2 || {
            run.signal(Signal::SIGTERM);
            std::thread::sleep(Duration::from_millis(100));
            false
        }
    });
    wait_terminated(&bed, &instance);
    assert_eq!(bed.cloud().decrements(&instance), 1);
}

#[test]
fn a_run_ends_its_machine_for_the_reason_it_names() {
    let cases = [
        ("max-jobs", "--max-jobs 2", "--job-ms 10"),
        ("idle", "--idle-timeout 200ms", "--jobs 0"),
        ("max-lifetime", "--max-lifetime 300ms", "--job-ms 10"),
        ("boot-timeout", "--boot-timeout 300ms", "--never-ready"),
        ("agent-exit", "", "--exit-after 1"),
    ];
    for (reason, options, agent) in cases {
        let (bed, group, instance) = machine(0, 2);
        let options = format!("--preset buildkite {options}");
        let run = bed.run(&options, &bed.agent(agent).argv());
        wait_terminated(&bed, &instance);
        assert_eq!(run.events("drain.began")[0].field("reason"), reason);
        assert_eq!(end(&bed, &group, &instance), SHRUNK, "{reason}");
    }
}

#[test]
fn an_operators_drain_ends_the_machine() {
    let (bed, group, instance) = machine(0, 2);
    let agent = bed.agent("--job-ms 300");
    let run = bed.run("--preset buildkite", &agent.argv());
    run.wait_event("job.started");
    let drain = bed.call("drain --wait");
    assert_eq!(drain.exit, Exit::Code(0), "{}", drain.stderr);
    assert_eq!(agent.count("exit"), 1, "it waited for the agent's end");
    wait_terminated(&bed, &instance);
    assert_eq!(run.events("drain.began")[0].field("reason"), "operator");
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
    let canceled = agent.count("canceled");
    assert_eq!(canceled, 0);
}

#[test]
fn the_last_words_are_one_record() {
    let (bed, _, instance) = machine(0, 2);
    bed.cloud()
        .fail("DetachInstances", Fault::Throttled, Times::N(2));
    let agent = bed.agent("--job-ms 250");
    let run = bed.run("--preset buildkite --max-jobs 2", &agent.argv());
    wait_terminated(&bed, &instance);
    let record = run.wait_event("retire.done").field("record");
    assert!(
        record.contains("Throttling"),
        "API errors are named: {record}"
    );
    let record: Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["reason"], "max-jobs");
    assert_eq!(record["instance"], *instance);
    assert_eq!(record["jobs"]["started"], 2);
}

#[test]
fn metadata_that_does_not_answer_at_first_is_asked_again() {
    use crate::support::ImdsFault;
    for fault in [
        ImdsFault::Status(503),
        ImdsFault::Status(401),
        ImdsFault::Hang,
    ] {
        let (bed, group, instance) = machine(0, 2);
        bed.imds().fail("", fault, Times::N(3));
        let _run = bed.run(
            "--preset buildkite --max-jobs 1",
            &bed.agent("--job-ms 10").argv(),
        );
        wait_terminated(&bed, &instance);
        assert_eq!(end(&bed, &group, &instance), SHRUNK, "{fault:?}");
    }
}

#[test]
fn a_machine_that_is_not_on_ec2_just_ends_its_agent() {
    let bed = TestBed::new();
    let run = bed.run("", &sh("exit 4"));
    assert_eq!(run.wait_exit(), Exit::Code(4));
    assert!(!bed.powered_off());
}

#[test]
fn the_dead_man_outlives_the_supervisor() {
    let (bed, _, _) = machine(0, 2);
    let agent = bed.agent("--job-ms 600000");
    let run = bed.run("--preset buildkite --max-jobs 1", &agent.argv());
    let armed = run.wait_event("deadman.armed").field("armed");
    let digits: String = armed
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == ' ')
        .collect();
    let pid: i32 = digits
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a pid");
    run.kill_9();
    assert!(crate::support::alive(pid), "{armed}");
}

#[test]
fn the_dead_man_powers_off_when_its_time_has_come() {
    let bed = TestBed::new();
    let poweroff = bed.path("bin/poweroff").display().to_string();
    let _deadman = bed.start(&["internal-deadman", "--after-seconds", "1", "--", &poweroff]);
    wait_until("the power-off command", || bed.powered_off());
}

/// A measurement: `cargo test --release --test e2e call_follows -- --ignored --nocapture`.
#[test]
#[ignore = "measures time, which only a quiet machine can tell"]
fn the_first_call_follows_the_agents_end() {
    let mut delays: Vec<_> = (0..20)
        .map(|_| {
            let (bed, _, instance) = machine(0, 2);
            let agent = bed.agent("--job-ms 300");
            let _run = bed.run("--preset buildkite --max-jobs 1", &agent.argv());
            wait_terminated(&bed, &instance);
            let ended = agent
                .events()
                .iter()
                .rfind(|event| event.name == "exit")
                .map(|e| e.at);
            let calls = bed.cloud().calls();
            let detach = calls.iter().find(|call| call.action == "DetachInstances");
            1000.0 * (detach.expect("it detached").at - ended.expect("it ended"))
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    let (median, worst) = (delays[10], delays[19]);
    println!(
        "agent's exit to the first Auto Scaling call: median {median:.1} ms, worst {worst:.1} ms"
    );
    assert!(median < 20.0, "{delays:?}");
}

/// The machine was restarted, or powered off and started again, while it was leaving.
#[test]
fn a_reboot_does_not_bring_a_leaving_machine_back_to_work() {
    let (bed, group, instance) = machine(0, 2);
    bed.cloud()
        .fail("TerminateInstances", Fault::Hang, Times::N(1));
    let agent = bed.agent("--job-ms 250");
    let start = || bed.run("--preset buildkite --max-jobs 1", &agent.argv());
    let run = start();
    wait_until("the call that hangs", || {
        bed.cloud()
            .changes()
            .iter()
            .any(|call| call.ends_with("silence"))
    });
    run.kill_9();
    let state = bed.path("state/state.json");
    let text = std::fs::read_to_string(&state).expect("the state of the first life");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc is there");
    assert!(text.contains(boot.trim()));
    std::fs::write(&state, text.replace(boot.trim(), "an-earlier-boot")).expect("written");
    let _again = start();
    wait_terminated(&bed, &instance);
    assert_eq!(end(&bed, &group, &instance), SHRUNK);
    assert_eq!(
        agent.count("started"),
        1,
        "no job on a machine that is leaving"
    );
}
