//! How an agent is told to stop, as its preset says: which process, by what, as whom.

use crate::support::{Clockout, Exit, TestBed, is_root, sh, wait_for, wait_until};

/// Waits for a line that the agent or a command wrote into this file.
fn wait_text(bed: &TestBed, name: &str) -> String {
    wait_for(name, || {
        let text = std::fs::read_to_string(bed.path(name)).ok()?;
        text.ends_with('\n').then_some(text)
    })
}

fn is_ended(run: &Clockout) {
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
}

const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

#[test]
fn a_signal_goes_to_the_named_process_below_the_agent() {
    let bed = TestBed::new();
    let worker = bed.path("Agent.Listener").display().to_string();
    std::fs::copy("/bin/sleep", &worker).expect("a copy");
    bed.write(
        "presets/wrapped.toml",
        "exit_ok = [143]\n[drain]\nsignal = \"TERM\"\nprocess = '^Agent\\.Listener$'\n",
    );
    // A wrapper that passes nothing on, as run.sh of the agents does.
    let agent = sh(&format!(
        "trap '' TERM; (trap - TERM; exec {worker} 600); exit 0"
    ));
    let run = bed.run("--retire exit --preset wrapped", &agent);
    let started = run.wait_event("agent.started");
    wait_until("the agent below its wrapper", || {
        let pid = started.field("pid");
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children
            .unwrap_or_default()
            .split_whitespace()
            .any(|child| {
                let name = std::fs::read_to_string(format!("/proc/{child}/comm"));
                name.unwrap_or_default().trim() == "Agent.Listener"
            })
    });
    bed.call("drain");
    is_ended(&run);
    let told = run.events("agent.signalled");
    assert_eq!(told.len(), 1, "{}", run.stderr());
    assert_ne!(told[0].field("pid"), started.field("pid"));
}

#[test]
fn without_a_process_of_that_name_the_signal_goes_to_the_agent() {
    let bed = TestBed::new();
    let drain = "[drain]\nsignal = \"TERM\"\nprocess = '^Agent\\.Listener$'\n";
    bed.write("presets/plain.toml", drain);
    let run = bed.run("--retire exit --preset plain", &sh(PATIENT));
    let started = run.wait_event("agent.started");
    bed.call("drain");
    is_ended(&run);
    let told = &run.events("agent.signalled")[0];
    assert_eq!(told.field("pid"), started.field("pid"));
}

#[test]
fn a_command_runs_as_the_agent_in_its_environment_and_its_secrets_stay_secret() {
    if !is_root() {
        return;
    }
    let bed = TestBed::new();
    bed.open_to_everybody();
    let out = bed.path("out").display().to_string();
    std::fs::create_dir(&out).expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&out, open).expect("ours");
    let stop = bed.script(
        "stop",
        "echo \"$(id -u) $CLOCKOUT_INDEX $GIVEN $1 $2 $(pwd)\" > out/told\nkill $2",
    );
    bed.set_env("STOP_TOKEN", "s3cr3t");
    bed.set_env("AWS_SECRET_ACCESS_KEY", "hush");
    bed.write(
        "presets/told.toml",
        format!(
            "env = {{ GIVEN = \"agent-{{index}}\" }}\n[drain]\nmethod = \"command\"\n\
             command = [\"{stop}\", \"${{STOP_TOKEN}}\", \"{{pid}}\"]\n"
        ),
    );
    let dir = bed.path("").display().to_string();
    let binary = env!("CARGO_BIN_EXE_clockout");
    let line = format!(
        "cd {dir} && exec {binary} run --retire exit --preset told --user nobody -- \
         /bin/sh -c \"{PATIENT}\""
    );
    let run = bed.start_program(&["/bin/sh", "-c", &line]);
    let pid = run.wait_event("agent.started").field("pid");
    bed.call("drain");
    is_ended(&run);
    let told = wait_text(&bed, "out/told");
    let dir = dir.trim_end_matches('/');
    assert_eq!(told, format!("65534 1 agent-1 s3cr3t {pid} {dir}\n"));
    let log = run.stderr();
    assert!(
        log.contains("${STOP_TOKEN}") && !log.contains("s3cr3t"),
        "{log}"
    );
}

#[test]
fn a_command_that_fails_is_reported_with_its_status() {
    let bed = TestBed::new();
    let stop = bed.script("stop", "kill $1; exit 7");
    bed.write(
        "presets/failing.toml",
        format!("[drain]\nmethod = \"command\"\ncommand = [\"{stop}\", \"{{pid}}\"]\n"),
    );
    let agent = sh("trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done");
    let run = bed.run("--retire exit --preset failing", &agent);
    run.wait_event("agent.started");
    bed.call("drain");
    let untold = run.wait_event("agent.untold");
    assert_eq!(untold.field("exit"), "exit status 7");
    is_ended(&run);
}

#[test]
fn an_agent_that_never_said_that_it_survives_its_drain_is_drained_otherwise() {
    let bed = TestBed::new();
    bed.write(
        "presets/armed.toml",
        "[drain]\nsignal = \"HUP\"\nneeds_line = 'HUP is safe$'\n\
         [drain.otherwise]\nmethod = \"wait-idle\"\nsignal = \"TERM\"\n\
         [[ready]]\nline = 'ready$'\n",
    );
    for (first, signal) in [("HUP is safe", "SIGHUP"), ("HUP is deadly", "SIGTERM")] {
        let agent = sh(&format!(
            "trap 'exit 0' TERM HUP; echo {first}; echo ready; while :; do sleep 0.1; done"
        ));
        let run = bed.run("--retire exit --preset armed", &agent);
        run.wait_event("agent.ready");
        bed.call("drain");
        is_ended(&run);
        assert_eq!(run.events("agent.signalled")[0].field("signal"), signal);
        let warned = !run.events("agent.unarmed").is_empty();
        assert_eq!(warned, signal == "SIGTERM", "{}", run.stderr());
    }
}

#[test]
fn an_idle_agent_is_told_when_it_certainly_takes_no_job() {
    let bed = TestBed::new();
    bed.write(
        "presets/polling.toml",
        "[drain]\nmethod = \"wait-idle\"\nsignal = \"TERM\"\n\
         window = { line = '^no job$', lasts = \"60s\", patience = \"600s\" }\n",
    );
    let go_on = bed.path("go-on").display().to_string();
    let agent = sh(&format!(
        "trap 'exit 0' TERM; echo asked; until test -e {go_on}; do sleep 0.1; done; \
         echo no job; while :; do sleep 0.1; done"
    ));
    let run = bed.run("--retire exit --preset polling", &agent);
    run.wait_event("agent.ready");
    bed.call("drain --deadline 500s");
    bed.call("status");
    assert!(run.events("agent.signalled").is_empty());
    bed.write("go-on", "");
    is_ended(&run);
    assert_eq!(run.events("agent.signalled").len(), 1);
}
