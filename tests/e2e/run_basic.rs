//! `clockout run` around agents that end, crash, idle, never come up, or just work.

use std::fs;

use crate::support::{Exit, TestBed, is_root, sh, wait_until};

#[test]
fn the_agents_own_exit_status_passes_through() {
    let bed = TestBed::new();
    for (line, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let run = bed.run("--retire exit", &sh(line));
        assert_eq!(run.wait_exit(), Exit::Code(status), "{line}");
    }
}

#[test]
fn what_cannot_be_started_exits_as_in_a_shell() {
    let bed = TestBed::new();
    let missing = bed.run(
        "--retire exit",
        &[bed.path("missing").display().to_string()],
    );
    assert_eq!(missing.wait_exit(), Exit::Code(127));
    assert!(missing.stderr().contains("missing"), "the program is named");
    let plain = bed.write("plain", "not a program");
    let not_executable = bed.run("--retire exit", std::slice::from_ref(&plain));
    assert_eq!(not_executable.wait_exit(), Exit::Code(126));
    assert!(not_executable.stderr().contains(&plain));
}

/// `generic` lets the agent write to our own streams, `buildkite` reads them on the way.
#[test]
fn output_passes_unchanged_byte_for_byte() {
    let bed = TestBed::new();
    let mut bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    bytes.extend(b"\x1b[31mno newline at the end");
    let input = bed.write("input", &bytes);
    for preset in ["generic", "buildkite"] {
        let options = format!("--retire exit --log-level error --preset {preset}");
        let run = bed.run(&options, &sh(&format!("cat {input}; cat {input} >&2")));
        assert_eq!(run.wait_exit(), Exit::Code(0));
        assert!(run.stdout() == bytes, "{preset}: standard output differs");
        assert!(
            run.raw_stderr() == bytes,
            "{preset}: standard error differs"
        );
    }
}

#[test]
fn the_agent_gets_the_socket_and_its_index_and_no_secrets() {
    let bed = TestBed::new();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIASECRET"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "secret"),
        ("CI_TOKEN", "the agent's own"),
    ] {
        bed.set_env(name, value);
    }
    let agent = bed.agent("--exit-after 1");
    let run = bed.run("--retire exit", &agent.argv());
    assert_eq!(run.wait_exit(), Exit::Code(0));
    let born = &agent.events()[0].fields["environ"];
    let environ = born.as_object().expect("an environment");
    let socket = bed.path("socket").display().to_string();
    assert_eq!(environ["CLOCKOUT_SOCKET"], socket);
    assert_eq!(environ["CLOCKOUT_INDEX"], "1");
    assert_eq!(environ["CI_TOKEN"], "the agent's own");
    let ours = |name: &&String| name.starts_with("AWS_") || name.starts_with("CLOCKOUT_");
    let mut passed: Vec<_> = environ.keys().filter(ours).collect();
    // Where the metadata service is, is no secret, and the agent may need it.
    passed.retain(|name| !name.starts_with("AWS_EC2_METADATA_"));
    assert_eq!(passed, ["CLOCKOUT_INDEX", "CLOCKOUT_SOCKET"]);
}

#[test]
fn several_agents_know_who_they_are() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 50 --exit-after 1");
    let mut argv = agent.argv();
    argv.extend([
        "--events".to_owned(),
        format!("{}-{{index}}", bed.path("own").display()),
    ]);
    let run = bed.run("--retire exit --agents 3", &argv);
    assert_eq!(run.wait_exit(), Exit::Code(0));
    for index in 1..=3 {
        let own = fs::read_to_string(bed.path(&format!("own-{index}"))).expect("its own file");
        assert!(own.contains(&format!(r#""index": "{index}""#)), "{own}");
    }
}

#[test]
fn the_agent_runs_as_the_user_with_its_groups() {
    if !is_root() {
        return;
    }
    let bed = TestBed::new();
    let run = bed.run(
        "--retire exit --user nobody",
        &sh("id -un; id -gn; echo $HOME $USER"),
    );
    assert_eq!(run.wait_exit(), Exit::Code(0));
    let text = String::from_utf8_lossy(&run.stdout()).into_owned();
    assert!(
        text.starts_with("nobody\nnogroup\n") && text.ends_with("nobody\n"),
        "{text}"
    );
}

#[test]
fn a_crashed_agent_is_started_again() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 10 --exit-after 1 --exit-code 9");
    let run = bed.run("--retire poweroff --preset buildkite", &agent.argv());
    run.wait_events("agent.started", 2);
    assert_eq!(run.events("agent.exited")[0].field("exit"), "exit status 9");
    assert!(!bed.powered_off());
}

#[test]
fn a_crash_loop_ends_the_machine() {
    let bed = TestBed::new();
    let agent = bed.agent("--crash-ms 0 --exit-code 7");
    let run = bed.run("--retire poweroff --preset buildkite", &agent.argv());
    assert_eq!(run.wait_event("drain.began").field("reason"), "crash-loop");
    wait_until("the power-off command", || bed.powered_off());
    assert_eq!(
        agent.count("crash"),
        5,
        "the fifth crash within a minute is the last"
    );
}

#[test]
fn an_agent_that_is_never_ready_ends_the_machine() {
    let bed = TestBed::new();
    let agent = bed.agent("--never-ready");
    let options = "--retire poweroff --preset buildkite --boot-timeout 300ms";
    let run = bed.run(options, &agent.argv());
    assert_eq!(
        run.wait_event("drain.began").field("reason"),
        "boot-timeout"
    );
    wait_until("the power-off command", || bed.powered_off());
}

#[test]
fn an_idle_agent_ends_the_machine_and_a_busy_one_does_not() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 1 --job-ms 1500");
    let options = "--retire poweroff --preset buildkite --idle-timeout 500ms";
    let run = bed.run(options, &agent.argv());
    assert_eq!(run.wait_event("drain.began").field("reason"), "idle");
    assert_eq!(
        agent.count("finished"),
        1,
        "the job was longer than the idle timeout"
    );
    wait_until("the power-off command", || bed.powered_off());
}

/// Nobody described this agent: only its job's process, which started later than an agent's own
/// helpers do, shows that it works.
#[test]
fn an_unknown_agent_is_not_idle_while_it_visibly_works() {
    let bed = TestBed::new();
    let agent = bed.agent("--log silent --jobs 1 --first-ms 2000 --job-ms 4500 --job-process");
    let options = "--retire poweroff --preset generic --idle-timeout 3s";
    let run = bed.run(options, &agent.argv());
    assert_eq!(run.wait_event("drain.began").field("reason"), "idle");
    assert_eq!(agent.count("finished"), 1);
}

#[test]
fn jobs_told_by_hooks_count() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 20").with_hooks();
    let options = "--retire poweroff --preset generic --max-jobs 3";
    let run = bed.run(options, &agent.argv());
    assert_eq!(run.wait_event("drain.began").field("reason"), "max-jobs");
    wait_until("the power-off command", || bed.powered_off());
    assert_eq!(agent.count("started"), 3);
}

#[test]
fn a_lifetime_that_is_over_lets_the_job_finish() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 1500");
    let options = "--retire poweroff --preset buildkite --max-lifetime 700ms";
    let run = bed.run(options, &agent.argv());
    assert_eq!(
        run.wait_event("drain.began").field("reason"),
        "max-lifetime"
    );
    wait_until("the power-off command", || bed.powered_off());
    let counts = ["started", "finished", "canceled"].map(|name| agent.count(name));
    assert_eq!(counts, [1, 1, 0]);
}

#[test]
fn a_planned_end_exits_with_zero() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 10");
    let run = bed.run(
        "--retire exit --preset buildkite --max-jobs 2",
        &agent.argv(),
    );
    assert_eq!(run.wait_exit(), Exit::Code(0));
    assert!(!bed.powered_off());
}

#[test]
fn what_a_job_left_behind_does_not_outlive_the_supervisor() {
    let bed = TestBed::new();
    let agent = bed.agent("--escape --job-ms 20 --exit-after 1");
    let run = bed.run("--retire exit", &agent.argv());
    assert_eq!(run.wait_exit(), Exit::Code(0));
    let escaped = agent
        .events()
        .into_iter()
        .find(|event| event.name == "escaped");
    let daemon = escaped.expect("it daemonised").fields["daemon"].as_i64();
    assert!(!crate::support::alive(daemon.expect("a pid") as i32));
}
