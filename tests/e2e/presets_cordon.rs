//! The cordon: the CI server is asked to give an agent no more jobs, before the agent is told.

use std::sync::{Arc, Mutex};

use crate::support::http::{Answer, Reply, Request, Server};
use crate::support::{Exit, TestBed, sh};

const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// What the CI server was asked.
struct Ci {
    server: Server,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Ci {
    /// It agrees from this question on.
    fn agreeing_from(first: usize) -> Ci {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let server = Server::start(Arc::new(move |request| {
            let mut heard = heard.lock().expect("no holder panics");
            heard.push(request);
            let status = if heard.len() >= first { 200 } else { 409 };
            Box::pin(async move { Answer::Reply(Reply::new(status, "text/plain", "")) })
        }));
        Ci { server, asked }
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

fn write_cordoned(bed: &TestBed, cordon: &str) {
    bed.write(
        "presets/cordoned.toml",
        format!(
            "[drain]\nmethod = \"wait-idle\"\nsignal = \"TERM\"\n[drain.cordon]\n{cordon}\n\
             [detect.hook]\ncounts = true\n"
        ),
    );
}

/// An agent that reports a job of its own, which ends when the file `end` is there.
fn one_job(bed: &TestBed) -> Vec<String> {
    let clockout = env!("CARGO_BIN_EXE_clockout");
    let end = bed.path("end").display().to_string();
    sh(&format!(
        "trap 'exit 0' TERM; {clockout} job start 7; until test -e {end}; do sleep 0.1; done; \
         {clockout} job finish 7 --outcome passed; while :; do sleep 0.1; done"
    ))
}

#[test]
fn the_server_is_asked_to_give_no_more_jobs_before_the_agent_is_told() {
    let bed = TestBed::new();
    let ci = Ci::agreeing_from(2);
    bed.set_env("CI_TOKEN", "t0ken");
    write_cordoned(
        &bed,
        &format!(
            "http = {{ method = \"POST\", url = \"{}/agents/{{index}}/offline\", \
             bearer = \"${{CI_TOKEN}}\", json = {{ offline = true }} }}",
            ci.server.url()
        ),
    );
    let run = bed.run("--retire exit --preset cordoned", &one_job(&bed));
    run.wait_event("job.started");
    bed.call("drain");
    // It refuses while the job runs.
    run.wait_event("agent.uncordoned");
    assert!(run.events("agent.signalled").is_empty());
    bed.write("end", "");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    let asked = ci.asked();
    assert_eq!(
        asked.len(),
        2,
        "at the drain's beginning, and at the job's end"
    );
    let request = &asked[1];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/agents/1/offline");
    assert_eq!(request.headers["authorization"], "Bearer t0ken");
    assert_eq!(request.body, "{\"offline\":true}");
    assert_eq!(run.events("job.finished")[0].field("outcome"), "passed");
    assert!(!run.stderr().contains("t0ken"));
}

#[test]
fn a_command_can_keep_new_jobs_away() {
    let bed = TestBed::new();
    let asked = bed.path("asked").display().to_string();
    // As the GitHub runner's: refused while a job runs.
    let leave = bed.script(
        "leave",
        &format!("echo $1 >> {asked}; test -e end || exit 1"),
    );
    write_cordoned(
        &bed,
        &format!("command = [\"{leave}\", \"${{LEAVE_TOKEN}}\"]"),
    );
    bed.set_env("LEAVE_TOKEN", "t0ken");
    let dir = bed.path("").display().to_string();
    let agent = one_job(&bed);
    let binary = env!("CARGO_BIN_EXE_clockout");
    let line = format!("cd {dir} && exec {binary} run --retire exit --preset cordoned -- \"$@\"");
    let mut argv = vec!["/bin/sh", "-c", &line, "sh"];
    argv.extend(agent.iter().map(String::as_str));
    let run = bed.start_program(&argv);
    run.wait_event("job.started");
    bed.call("drain");
    run.wait_event("agent.uncordoned");
    bed.write("end", "");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    let signalled = run.events("agent.signalled");
    assert_eq!(signalled.len(), 1, "{}", run.stderr());
    let asked = std::fs::read_to_string(asked).expect("written by the command");
    assert_eq!(asked, "t0ken\nt0ken\n");
    assert!(!run.stderr().contains("t0ken"));
}

#[test]
fn a_server_that_never_agrees_is_done_without() {
    let bed = TestBed::new();
    let ci = Ci::agreeing_from(usize::MAX);
    write_cordoned(
        &bed,
        &format!(
            "http = {{ method = \"PUT\", url = \"{}/x\" }}",
            ci.server.url()
        ),
    );
    let run = bed.run("--retire exit --preset cordoned", &sh(PATIENT));
    run.wait_event("agent.ready");
    bed.call("drain");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    assert_eq!(ci.asked().len(), 3);
    assert_eq!(run.events("drain.uncordoned").len(), 1);
    assert_eq!(run.events("agent.signalled")[0].field("signal"), "SIGTERM");
}

#[test]
fn a_server_behind_tls_is_called_by_curl_which_nobody_can_look_at() {
    let bed = TestBed::new();
    let heard = bed.path("heard").display().to_string();
    bed.script(
        "bin/curl",
        &format!("echo \"$@\" > {heard}; cat >> {heard}"),
    );
    bed.set_env("CI_PASSWORD", "pa\"ss");
    write_cordoned(
        &bed,
        "http = { method = \"POST\", url = \"https://ci.example/offline\", \
         basic_auth = [\"me\", \"${CI_PASSWORD}\"] }",
    );
    let run = bed.run("--retire exit --preset cordoned", &sh(PATIENT));
    run.wait_event("agent.ready");
    bed.call("drain");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    let heard = std::fs::read_to_string(heard).expect("written by curl");
    let lines: Vec<_> = heard.lines().collect();
    assert_eq!(lines[0], "--config -");
    for line in [
        r#"url = "https://ci.example/offline""#,
        r#"request = "POST""#,
        r#"user = "me:pa\"ss""#,
        "fail",
    ] {
        assert!(lines.contains(&line), "{line} is not in {heard}");
    }
    assert!(run.events("agent.uncordoned").is_empty());
    assert!(!run.stderr().contains("pa\"ss") && !run.stderr().contains("pa\\\"ss"));
}
