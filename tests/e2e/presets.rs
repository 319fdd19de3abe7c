//! What a preset asks of an agent and adds to it, with the real binary.

use crate::support::{Exit, TestBed};

const PICKY: &str = r#"
match_program = ['picky-agent']
add_args = [["--listen", "127.0.0.1:{port}"], ["--secret=${PICKY_SECRET}"]]

[config]
from = [{ flag = "--config" }]

[[require]]
config = '(?m)^grace: [1-9]'
unless_arg = '^--once$'
otherwise = "set `grace: 3h` in {config}: without it a drain cancels the running job"

[env]
PICKY_LOG = "debug"
[env_default]
PICKY_NAME = "agent-{index}"
PICKY_MODE = "ours"
"#;

/// Writes down how it was started.
const AGENT: &str = "env | grep ^PICKY_ | sort\necho \"$@\"";

fn picky() -> (TestBed, String) {
    let bed = TestBed::new();
    bed.write("presets/picky.toml", PICKY);
    let agent = bed.script("picky-agent", AGENT);
    (bed, agent)
}

#[test]
fn an_agent_without_a_setting_that_it_needs_is_not_started() {
    let (bed, agent) = picky();
    let config = bed.write("agent.yaml", "grace: 0s\n");
    let line = format!("run --retire exit -- {agent} --config {config}");
    let output = bed.call(&line);
    let expected = format!(
        "clockout: preset picky: set `grace: 3h` in {config}: without it a drain cancels the \
         running job"
    );
    assert_eq!(output.refused(2), expected);
    assert_eq!(output.stdout, b"");

    bed.write("agent.yaml", "grace: 3h\n");
    assert_eq!(bed.call(&line).exit, Exit::Code(0));
}

#[test]
fn an_agent_gets_what_its_preset_adds() {
    let (bed, agent) = picky();
    bed.set_env("PICKY_MODE", "mine");
    let output = bed.call(&format!(
        "run --retire exit -- {agent} start --once --listen :80"
    ));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "PICKY_LOG=debug\nPICKY_MODE=mine\nPICKY_NAME=agent-1\nstart --once --listen :80\n"
    );

    bed.set_env("PICKY_SECRET", "s3cret");
    let output = bed.call(&format!("run --retire exit -- {agent} --once"));
    let written = String::from_utf8_lossy(&output.stdout).into_owned();
    let arguments = written.lines().last().unwrap_or_default();
    let words: Vec<_> = arguments.split(' ').collect();
    let [once, listen, address, secret] = words[..] else {
        panic!("{written}");
    };
    assert_eq!((once, listen), ("--once", "--listen"));
    assert_eq!(secret, "--secret=s3cret");
    let port = address.strip_prefix("127.0.0.1:").map(str::parse::<u16>);
    assert!(matches!(port, Some(Ok(1..))), "{address}");
    assert!(!output.stderr.contains("s3cret"), "{}", output.stderr);
}

#[test]
fn explain_says_what_would_be_done_and_does_nothing() {
    let (bed, agent) = picky();
    bed.set_env("PICKY_SECRET", "s3cret");
    let output = bed.call(&format!("preset explain -- {agent} start"));
    assert_eq!(output.exit, Exit::Code(0), "{}", output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "picky",
        "NOT MET: set `grace: 3h`",
        "--listen 127.0.0.1:{port}",
    ] {
        assert!(text.contains(words), "'{words}' is not in: {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_hook_passes_a_jobs_exit_status_on() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 0");
    let run = bed.run("--retire exit --preset generic", &agent.argv());
    run.wait_event("agent.ready");
    for (id, code) in [("1", "0"), ("2", "7"), ("3", "-1")] {
        assert_eq!(bed.call(&format!("job start {id}")).exit, Exit::Code(0));
        let finish = format!("job finish {id} --exit-code {code}");
        assert_eq!(bed.call(&finish).exit, Exit::Code(0));
    }
    run.wait_events("job.finished", 3);
    let outcomes = run.events("job.finished");
    let outcomes: Vec<_> = outcomes.iter().map(|line| line.field("outcome")).collect();
    assert_eq!(outcomes, ["passed", "failed", "failed"]);
}
