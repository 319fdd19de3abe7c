//! `clockout run` on an instance, from its limit to its end: hooks, early detach, the dead-man, the
//! record, and what a reboot or silent metadata do to it.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::retire_ladder::{SHRUNK, end, machine, wait_terminated};
use crate::support::{Exit, Fault, ImdsFault, TestBed, Times, sh, wait_until};

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
    for heard in 1..=2 {
        run.signal(Signal::SIGTERM);
        wait_until("the signal's being heard", || {
            run.events("signal.received").len() == heard
        });
    }
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
