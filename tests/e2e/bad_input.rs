//! Bad input of every kind: a clear line, the right exit status, and no agent is harmed.

use std::os::unix::ffi::OsStrExt;

use crate::support::{Exit, TestBed, is_root, sh, wait_until};

/// Refused before anything starts: status 2 and one line with these words in it.
#[track_caller]
fn refused(arguments: &str, words: &[&str]) {
    let bed = TestBed::new();
    refused_on(&bed, arguments, words);
}

#[track_caller]
fn refused_on(bed: &TestBed, arguments: &str, words: &[&str]) {
    let output = bed.call(arguments);
    let line = output.refused(2);
    for word in words {
        assert!(line.contains(word), "'{word}' is not in: {line}");
    }
}

#[test]
fn unknown_words_are_named_with_the_nearest_known_one() {
    refused("run --max-job 3 -- true", &["--max-job", "--max-jobs"]);
    refused("rum -- true", &["rum", "run"]);
    refused("run --preset buildkit -- true", &["buildkit", "buildkite"]);
    refused("run --retire explode -- true", &["explode", "poweroff"]);
    refused("retire --reason bored", &["bored", "idle"]);
}

#[test]
fn values_that_mean_nothing_are_refused_with_the_fix() {
    refused("run --max-jobs 0 -- true", &["unlimited"]);
    refused("run --idle-timeout 0s -- true", &["never"]);
    refused("run --idle-timeout soon -- true", &["soon", "10m"]);
    refused("run --max-jobs many -- true", &["many", "unlimited"]);
    refused("run --agents 0 -- true", &["cpus"]);
    refused("run --slots 0 -- true", &["at least 1"]);
    refused("run --user nobody-here -- true", &["nobody-here"]);
    refused("run", &["AGENT"]);
}

#[test]
fn a_bad_variable_is_named() {
    let bed = TestBed::new();
    bed.set_env("CLOCKOUT_IDLE_TIMEOUT", "0");
    refused_on(&bed, "run -- true", &["never"]);
}

#[test]
fn a_bad_file_is_named_with_the_line() {
    for (content, words) in [
        (
            &b"[run]\nmax_job = 3\n"[..],
            &["clockout.toml", ":2:", "max_job", "max_jobs"][..],
        ),
        (b"[run]\nidle_timeout = \"0s\"\n", &[":2:", "never"]),
        (b"[run\n", &["clockout.toml", ":1:"]),
        (b"[run]\n# caf\xe9\n", &["clockout.toml", ":2:", "UTF-8"]),
        (b"[walk]\n", &["walk", "run"]),
    ] {
        let bed = TestBed::new();
        bed.write("clockout.toml", content);
        refused_on(&bed, "run -- true", words);
    }
    let bed = TestBed::new();
    std::fs::create_dir(bed.path("clockout.toml")).expect("a directory");
    refused_on(&bed, "run -- true", &["clockout.toml", "directory"]);
}

#[test]
fn a_bad_preset_is_named_with_the_line() {
    for (content, words) in [
        (
            "[drain]\nsignal = \"TERMINATE\"\n",
            &["bad.toml", ":2:", "TERMINATE"][..],
        ),
        (
            "[drian]\nsignal = \"TERM\"\n",
            &["bad.toml", ":1:", "drian", "drain"],
        ),
        (
            "[[detect.log]]\nstart = '('\nfinish = 'x'\n",
            &["bad.toml", ":2:"],
        ),
    ] {
        let bed = TestBed::new();
        bed.write("presets/bad.toml", content);
        refused_on(&bed, "run --preset bad -- true", words);
    }
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_before_the_agent_starts() {
    let bed = TestBed::new();
    let long = bed.path(&"x".repeat(120)).display().to_string();
    bed.set_env("CLOCKOUT_SOCKET", &long);
    let marker = bed.path("started");
    let run = bed.run("--retire exit", &sh(&format!("touch {}", marker.display())));
    assert!(matches!(run.wait_exit(), Exit::Code(1 | 2)));
    assert!(
        run.stderr().contains("107"),
        "the limit is named: {}",
        run.stderr()
    );
    assert!(!marker.exists());
}

#[test]
fn a_second_supervisor_is_refused_and_the_first_goes_on() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 600000");
    let first = bed.run("--retire exit --preset buildkite", &agent.argv());
    first.wait_event("job.started");
    let second = bed.run("--retire exit --preset buildkite", &sh("exit 0"));
    assert!(matches!(second.wait_exit(), Exit::Code(1 | 2)));
    assert!(second.stderr().contains("socket"), "{}", second.stderr());
    assert_eq!(bed.call("status").exit, Exit::Code(0));
    assert!(agent.signals().is_empty() && !first.has_ended());
}

#[test]
fn a_socket_that_nobody_listens_on_is_replaced() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 600000");
    let first = bed.run("--retire exit --preset buildkite", &agent.argv());
    first.wait_event("job.started");
    first.kill_9();
    assert!(bed.path("socket").exists());
    let second = bed.run("--retire exit", &sh("exit 6"));
    assert_eq!(second.wait_exit(), Exit::Code(6), "{}", second.stderr());
}

#[test]
fn a_state_file_that_is_stale_or_hostile_is_put_aside() {
    let huge = "[".repeat(3_000_000);
    let stale = r#"{"version":1,"boot_id":"another boot","instance":null,"processes":[
        {"agent":1,"pid":1,"start_time":1}],"life":{}}"#;
    let hostile = r#"{"version":1,"processes":[{"agent":1,"pid":-1,"start_time":0}]}"#;
    for content in ["", "{", "\0\0\0\0", "[]", "nonsense", stale, hostile, &huge] {
        let bed = TestBed::new();
        bed.write("state/state.json", content);
        let agent = bed.agent("--job-ms 250");
        let run = bed.run(
            "--retire poweroff --preset buildkite --max-jobs 2",
            &agent.argv(),
        );
        wait_until("the power-off command", || bed.powered_off());
        let start = &content[..content.len().min(20)];
        assert_eq!(agent.count("started"), 2, "{start:?}: {}", run.stderr());
    }
}

/// Cut off anywhere, as by a full disk or a crash of the machine.
#[test]
fn half_a_state_file_is_put_aside() {
    let bed = TestBed::new();
    let agent = bed.agent("--job-ms 600000");
    let options = "--retire poweroff --preset buildkite";
    let first = bed.run(options, &agent.argv());
    first.wait_event("job.started");
    first.kill_9();
    let whole = std::fs::read(bed.path("state/state.json")).expect("its state");
    for part in 1..8 {
        let half = &whole[..whole.len() * part / 8];
        bed.write("state/state.json", half);
        let next = bed.run(options, &agent.argv());
        next.wait_event("state.ignored");
        next.wait_event("job.started");
        next.kill_9();
    }
}

/// A state directory that cannot be written is a warning: the agent works, the machine retires.
#[test]
fn without_a_place_for_its_state_it_still_works() {
    let bed = TestBed::new();
    bed.set_env("CLOCKOUT_STATE_DIR", "/proc/nowhere");
    let agent = bed.agent("--job-ms 250");
    let run = bed.run(
        "--retire poweroff --preset buildkite --max-jobs 1",
        &agent.argv(),
    );
    wait_until("the power-off command", || bed.powered_off());
    assert_eq!(agent.count("started"), 1);
    assert!(run.stderr().contains("state."), "it says so");
}

#[test]
fn a_full_disk_stops_neither_the_agent_nor_the_end() {
    if !is_root() {
        return;
    }
    let bed = TestBed::new();
    std::fs::create_dir(bed.path("full")).expect("a directory");
    let full = bed.path("full").display().to_string();
    bed.set_env("CLOCKOUT_STATE_DIR", &full);
    let agent = bed.agent("--job-ms 250");
    // A file system of one page, already full, in a mount namespace of its own.
    let line = format!(
        "mount -t tmpfs -o size=4k none {full} && head -c 4096 /dev/zero > {full}/fill; \
         exec {} run --retire poweroff --preset buildkite --max-jobs 1 -- {}",
        env!("CARGO_BIN_EXE_clockout"),
        agent.argv().join(" ")
    );
    let run = bed.start_program(&["unshare", "--mount", "/bin/sh", "-c", &line]);
    wait_until("the power-off command", || bed.powered_off());
    assert_eq!(agent.count("started"), 1);
    assert!(
        run.stderr().contains("state."),
        "it says so: {}",
        run.stderr()
    );
}

#[test]
fn an_agent_that_is_not_utf8_is_started_all_the_same() {
    let bed = TestBed::new();
    let name = std::ffi::OsStr::from_bytes(b"agent-\xff");
    let path = bed.path("").join(name);
    std::os::unix::fs::symlink("/bin/true", &path).expect("a link");
    let line = format!(
        "exec {} run --retire exit -- $(printf '%b' '{}/agent-\\377')",
        env!("CARGO_BIN_EXE_clockout"),
        bed.path("").display()
    );
    let run = bed.start_program(&["/bin/sh", "-c", &line]);
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
}
