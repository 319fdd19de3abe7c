//! Never one job too many, with agents that start their next job 0 ms after the last.

use crate::support::{Exit, TestBed};

/// How many jobs started and how many were let finish, by the agent's own account, when at most
/// `allowed` may start.
fn jobs(options: &str, agent_options: &str, allowed: u32, hooks: bool) -> (u32, u32) {
    let bed = TestBed::new();
    let mut agent = bed.agent(agent_options);
    let preset = if hooks { "generic" } else { "buildkite" };
    if hooks {
        agent = agent.with_hooks();
    }
    let options = format!("--retire exit --preset {preset} --max-jobs {allowed} {options}");
    let run = bed.run(&options, &agent.argv());
    assert_eq!(run.wait_exit(), Exit::Code(0));
    assert_eq!(run.events("drain.began")[0].field("reason"), "max-jobs");
    (
        agent.count("started") as u32,
        agent.count("finished") as u32,
    )
}

/// With several slots in one process, a signal is in flight while any of them could take a job:
/// the drain begins early enough for all of them.
#[test]
fn one_process_with_slots_never_starts_one_too_many() {
    for (slots, allowed) in [(1, 1), (1, 5), (2, 2), (2, 7), (8, 8), (8, 24)] {
        let slots_option = format!("--slots {slots}");
        let agent_options = format!("{slots_option} --job-ms 250 400");
        let (started, finished) = jobs(&slots_option, &agent_options, allowed, false);
        let least = allowed - slots + 1;
        assert!(
            (least..=allowed).contains(&started),
            "{slots} slots, {allowed}: {started}"
        );
        assert_eq!(finished, started, "each was let finish");
    }
}

#[test]
fn several_one_slot_agents_start_exactly_as_many_as_allowed() {
    for (agents, allowed) in [(2, 2), (2, 7), (8, 8), (8, 24)] {
        let options = format!("--slots 1 --agents {agents}");
        let (started, finished) = jobs(&options, "--job-ms 250 400", allowed, false);
        assert_eq!(started, allowed, "{agents} agents");
        assert_eq!(finished, allowed);
    }
}

/// The hook is answered after the drain signal was sent, so even jobs of 0 ms cannot race.
#[test]
fn jobs_of_no_length_told_by_hooks_are_exact() {
    for allowed in [1, 2, 8] {
        let (started, _) = jobs("--slots 1", "--job-ms 0", allowed, true);
        assert_eq!(started, allowed);
    }
}

#[test]
fn one_job_agents_are_started_again_until_the_last_job() {
    let bed = TestBed::new();
    bed.write("presets/one-job.toml", ONE_JOB);
    let agent = bed.agent("--log silent --job-ms 0 --exit-after 1");
    let run = bed.run("--retire exit --preset one-job --max-jobs 4", &agent.argv());
    assert_eq!(run.wait_exit(), Exit::Code(0));
    assert_eq!(run.events("drain.began")[0].field("reason"), "max-jobs");
    assert_eq!((agent.count("born"), agent.count("started")), (4, 4));
}

const ONE_JOB: &str = r#"
summary = "runs one job and exits"
[drain]
method = "single-job"
"#;

#[test]
fn fewer_jobs_than_slots_is_refused() {
    let bed = TestBed::new();
    let run = bed.run("--retire exit --max-jobs 3 --slots 4", &["true".to_owned()]);
    let output = run.output();
    let line = output.refused(2);
    assert!(
        line.contains("--max-jobs 3") && line.contains("4 jobs at once"),
        "{line}"
    );
}
