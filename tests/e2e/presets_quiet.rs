//! Agents that log when a job begins and what its steps do, but not when it ends.

use crate::support::{Clockout, Exit, TestBed, sh};

/// Such an agent: it says what it finds in the file `say`, and ends with `last`.
fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.write(
        "presets/quiet.toml",
        "[[detect.log]]\nstart = '^job$'\n\
         [[detect.log]]\nstart = '^step (?P<id>\\d+) starts$'\nfinish = '^step (?P<id>\\d+) ends$'\n\
         linger = '1s'\nends_jobs = true\n\
         [drain]\nsignal = 'TERM'\n",
    );
    bed
}

fn agent(bed: &TestBed, last: &str) -> Vec<String> {
    let dir = bed.path("").display().to_string();
    sh(&format!(
        "cd {dir}; trap '{last}' TERM; \
         while :; do if mv say said 2> /dev/null; then cat said; fi; sleep 0.05; done"
    ))
}

fn say(bed: &TestBed, text: &str) {
    bed.write("say-new", text);
    std::fs::rename(bed.path("say-new"), bed.path("say")).expect("one file system");
}

fn outcomes(run: &Clockout) -> Vec<String> {
    let events = run.events("job.finished").into_iter();
    events.map(|line| line.field("outcome")).collect()
}

#[test]
fn jobs_back_to_back_are_counted_one_by_one_and_end_when_it_is_quiet() {
    let bed = bed();
    let run = bed.run("--retire exit --preset quiet", &agent(&bed, "exit 0"));
    run.wait_event("agent.started");
    say(
        &bed,
        "job\nstep 1 starts\nstep 1 ends\nstep 2 starts\nstep 2 ends\njob\nstep 3 starts\n",
    );
    run.wait_events("job.started", 2);
    assert_eq!(outcomes(&run), [""; 0], "a step runs");
    say(&bed, "step 3 ends\n");
    run.wait_events("job.finished", 2);
    assert_eq!(outcomes(&run), ["unknown"; 2]);
    bed.call("drain");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    assert_eq!(run.events("job.started").len(), 2, "{}", run.stderr());
}

#[test]
fn an_agent_that_ends_well_sooner_than_it_is_quiet_loses_no_job() {
    for (last, outcome) in [("exit 0", "unknown"), ("exit 1", "lost")] {
        let bed = bed();
        let last = format!("echo step 1 ends; {last}");
        let run = bed.run("--retire exit --preset quiet", &agent(&bed, &last));
        run.wait_event("agent.started");
        say(&bed, "job\nstep 1 starts\n");
        run.wait_event("job.started");
        bed.call("drain");
        run.wait_exit();
        assert_eq!(outcomes(&run), [outcome], "{last}: {}", run.stderr());
    }
}
