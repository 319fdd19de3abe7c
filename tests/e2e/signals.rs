//! What `clockout run` does about signals: drain, cancel, kill, reload, forward.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Agent, Clockout, Exit, TestBed, wait_until};

/// An agent with a job that nothing but a cancel ends, and its supervisor.
fn busy(bed: &TestBed, options: &str) -> (Agent, Clockout) {
    let agent = bed.agent(&format!("--job-ms 600000 {options}"));
    let run = bed.run("--retire exit --preset buildkite", &agent.argv());
    run.wait_event("job.started");
    (agent, run)
}

fn outcomes(agent: &Agent) -> [usize; 2] {
    ["finished", "canceled"].map(|name| agent.count(name))
}

#[test]
fn the_first_signal_lets_the_job_finish() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let bed = TestBed::new();
        let agent = bed.agent("--job-ms 1000");
        let run = bed.run("--retire exit --preset buildkite", &agent.argv());
        run.wait_event("job.started");
        run.signal(signal);
        assert_eq!(run.wait_event("drain.began").field("reason"), "signal");
        assert_eq!(run.wait_exit(), Exit::Code(0));
        assert_eq!(
            agent.signals(),
            ["SIGTERM"],
            "its preset's drain signal, once"
        );
        assert_eq!(outcomes(&agent), [1, 0]);
    }
}

#[test]
fn the_second_signal_cancels_as_the_agent_understands_it() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed, "");
    run.signal(Signal::SIGTERM);
    run.wait_event("drain.began");
    wait_until("the drain signal", || agent.signals().len() == 1);
    assert_eq!(outcomes(&agent), [0, 0]);
    run.signal(Signal::SIGINT);
    run.wait_event("drain.cancelled");
    assert_eq!(
        run.wait_exit(),
        Exit::Code(1),
        "buildkite-agent's own after a cancel"
    );
    assert_eq!(outcomes(&agent), [0, 1]);
}

/// A signal that was not taken yet would swallow the second.
#[test]
fn the_second_signal_cancels_an_agent_that_was_slow_to_take_the_first() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed, "");
    let pid = run.wait_event("agent.started").field("pid");
    let pid = Pid::from_raw(pid.parse().expect("a number"));
    kill(pid, Signal::SIGSTOP).expect("it runs");
    run.signal(Signal::SIGTERM);
    run.wait_event("agent.signalled");
    run.signal(Signal::SIGINT);
    run.wait_event("drain.cancelled");
    kill(pid, Signal::SIGCONT).expect("it is there");
    assert_eq!(run.wait_exit(), Exit::Code(1));
    assert_eq!(agent.signals(), ["SIGTERM", "SIGTERM"]);
    assert_eq!(outcomes(&agent), [0, 1]);
}

#[test]
fn the_third_signal_kills_an_agent_that_ignores_the_others() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed, "--on-signal ignore --escape");
    for heard in 1..=2 {
        run.signal(Signal::SIGTERM);
        wait_until("the signal", || agent.signals().len() == heard);
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait_exit(), Exit::Code(137));
    assert!(
        agent
            .events()
            .iter()
            .all(|event| !crate::support::alive(event.pid))
    );
}

#[test]
fn quit_kills_at_once() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed, "--on-signal ignore");
    run.signal(Signal::SIGQUIT);
    assert_eq!(run.wait_exit(), Exit::Code(137));
    assert_eq!(outcomes(&agent), [0, 0]);
}

#[test]
fn the_drain_timeout_cancels_then_kills() {
    let bed = TestBed::new();
    bed.write("presets/stubborn.toml", STUBBORN);
    let agent = bed.agent("--job-ms 600000 --on-signal ignore");
    let options = "--retire exit --preset stubborn --drain-timeout 500ms";
    let run = bed.run(options, &agent.argv());
    run.wait_event("job.started");
    run.signal(Signal::SIGTERM);
    run.wait_event("drain.cancelled");
    assert_eq!(run.wait_exit(), Exit::Code(137));
    assert_eq!(agent.signals(), ["SIGTERM", "SIGINT"]);
}

/// As buildkite, with a short cancel step.
const STUBBORN: &str = r#"
summary = "ignores everything"
[[detect.log]]
stream = "stderr"
start = 'Starting job (?P<id>[0-9a-f-]{36})'
finish = 'Finished job (?P<id>[0-9a-f-]{36})'
[drain]
method = "signal"
signal = "TERM"
[cancel]
signal = "INT"
allow = "300ms"
"#;

#[test]
fn a_signal_before_the_agent_is_ready_ends_it() {
    let bed = TestBed::new();
    let agent = bed.agent("--never-ready");
    let run = bed.run("--retire exit --preset buildkite", &agent.argv());
    wait_until("the agent", || agent.count("born") == 1);
    run.signal(Signal::SIGTERM);
    run.wait_exit();
    assert_eq!(run.events("drain.began")[0].field("reason"), "signal");
}

#[test]
fn other_signals_are_the_agents() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed, "");
    for (count, signal) in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH]
        .iter()
        .enumerate()
    {
        run.signal(*signal);
        wait_until("the forwarded signal", || {
            agent.signals().len() == count + 1
        });
    }
    assert_eq!(agent.signals(), ["SIGUSR1", "SIGUSR2", "SIGWINCH"]);
    assert!(run.events("drain.began").is_empty());
}

#[test]
fn hangup_reloads_the_limits_and_a_bad_file_changes_nothing() {
    let bed = TestBed::new();
    bed.write("clockout.toml", "[run]\nmax_lifetime = \"1h\"\n");
    let (agent, run) = busy(&bed, "");
    bed.write("clockout.toml", "[run]\nmax_lifetime = \"0s\"\n");
    run.signal(Signal::SIGHUP);
    let kept = run.wait_event("config.kept").field("error");
    assert!(kept.contains("never"), "{kept}");
    bed.write("clockout.toml", "[run]\nmax_lifetime = \"1ms\"\n");
    run.signal(Signal::SIGHUP);
    assert_eq!(
        run.wait_event("drain.began").field("reason"),
        "max-lifetime"
    );
    assert_eq!(outcomes(&agent), [0, 0]);
}
