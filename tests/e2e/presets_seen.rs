//! Ways to see jobs that need more than the agent's own output: files, environments, ports.

use crate::support::{Clockout, Exit, TestBed, alive, sh, wait_until};

fn jobs(run: &Clockout, event: &str) -> Vec<String> {
    let events = run.events(event).into_iter();
    events.map(|line| line.field("job")).collect()
}

/// An agent that logs to a file what it finds in the files `say-1`, `say-2`, ... of its machine.
struct Filed {
    bed: TestBed,
    said: u32,
}

impl Filed {
    fn new() -> Filed {
        let bed = TestBed::new();
        let log = bed.path("log").display().to_string();
        bed.write(
            "presets/filed.toml",
            format!(
                "[detect.log]\nfile = \"{log}\"\nstart = '^job (?P<id>\\d+) starts$'\n\
                 finish = '^job (?P<id>\\d+) ends$'\n[drain]\nsignal = \"TERM\"\n"
            ),
        );
        Filed { bed, said: 0 }
    }

    /// `rotate` in what is said renames the file first.
    fn agent(&self) -> Vec<String> {
        let dir = self.bed.path("").display().to_string();
        sh(&format!(
            "cd {dir}; n=1; trap 'echo job 99 starts >> log; exit 0' TERM; \
             while :; do if test -e say-$n; then \
             if grep -q rotate say-$n; then mv log log.1; fi; \
             grep -v rotate say-$n >> log; n=$((n+1)); fi; sleep 0.05; done"
        ))
    }

    fn say(&mut self, text: &str) {
        self.said += 1;
        self.bed.write("say-new", text);
        let name = self.bed.path(&format!("say-{}", self.said));
        std::fs::rename(self.bed.path("say-new"), name).expect("one file system");
    }
}

#[test]
fn a_log_file_is_followed_through_rotation_to_its_last_line() {
    let mut filed = Filed::new();
    filed.bed.write("log", "job 1 starts\n");
    let run = filed
        .bed
        .run("--retire exit --preset filed", &filed.agent());
    run.wait_event("agent.started");
    filed.say("job 2 starts\njob 2 ends\n");
    run.wait_events("job.finished", 1);
    filed.say("rotate\njob 3 starts\njob 3 ends\njob 4 starts\n");
    run.wait_events("job.started", 3);
    filed.bed.call("drain");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    // What it wrote at its end was read before its end was told.
    assert_eq!(jobs(&run, "job.started"), ["2", "3", "4", "99"]);
    assert_eq!(jobs(&run, "job.finished"), ["2", "3", "4", "99"]);
}

#[test]
fn a_supervisor_that_comes_back_goes_on_in_the_file_where_it_was() {
    let mut filed = Filed::new();
    let options = "--retire poweroff --preset filed";
    let first = filed.bed.run(options, &filed.agent());
    first.wait_event("agent.started");
    filed.say("job 1 starts\njob 1 ends\njob 2 starts\n");
    first.wait_events("job.started", 2);
    first.kill_9();
    filed.say("job 2 ends\njob 3 starts\n");
    wait_until("the agent's log", || {
        let log = std::fs::read_to_string(filed.bed.path("log"));
        log.unwrap_or_default().contains("job 3 starts")
    });
    let second = filed.bed.run(options, &filed.agent());
    second.wait_event("agent.adopted");
    filed.say("rotate\njob 3 ends\njob 4 starts\n");
    second.wait_events("job.started", 2);
    assert_eq!(jobs(&second, "job.finished"), ["2", "3"]);
    assert_eq!(jobs(&second, "job.started"), ["3", "4"]);
    let status = filed.bed.call("status --json");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["jobs"]["started"], 4, "{status}");
    assert_eq!(status["jobs"]["running"], 1, "{status}");
}

#[test]
fn what_an_agent_wrote_before_its_end_is_read_by_the_next_supervisor() {
    let mut filed = Filed::new();
    let options = "--retire poweroff --preset filed";
    let first = filed.bed.run(options, &filed.agent());
    let pid = first.wait_event("agent.started").field("pid");
    filed.say("job 1 starts\njob 2 starts\n");
    first.wait_events("job.started", 2);
    first.kill_9();
    filed.say("job 1 ends\n");
    wait_until("the agent's log", || {
        let log = std::fs::read_to_string(filed.bed.path("log"));
        log.unwrap_or_default().contains("job 1 ends")
    });
    let pid = pid.parse().expect("a pid");
    let killed = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    );
    killed.expect("it runs");
    wait_until("its end", || !alive(pid));
    let second = filed.bed.run(options, &filed.agent());
    second.wait_events("job.finished", 2);
    let ended = second.events("job.finished").into_iter();
    let ended = ended.map(|line| (line.field("job"), line.field("outcome")));
    let expected = [("1", "unknown"), ("2", "lost")];
    let expected = expected.map(|(job, outcome)| (job.to_owned(), outcome.to_owned()));
    assert_eq!(ended.collect::<Vec<_>>(), expected);
}

#[test]
fn jobs_are_seen_by_the_environment_of_processes_that_left_the_agent() {
    let bed = TestBed::new();
    bed.write(
        "presets/tagged.toml",
        "[detect.process_env]\nname = \"BUILD_TAG\"\n[drain]\nmethod = \"wait-idle\"\n\
         signal = \"TERM\"\n",
    );
    let end = bed.path("end").display().to_string();
    // Each build is two processes in a session of their own, with another parent.
    let build =
        format!("BUILD_TAG=b-$b setsid sh -c '(until test -e {end}; do sleep 0.1; done) & wait' &");
    let agent = sh(&format!(
        "trap 'exit 0' TERM; for b in 1 2; do ( {build} ); done; while :; do sleep 0.1; done"
    ));
    let run = bed.run("--retire exit --preset tagged", &agent);
    run.wait_events("job.started", 2);
    bed.call("drain");
    assert!(run.events("agent.signalled").is_empty());
    bed.write("end", "");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    assert_eq!(run.events("job.started").len(), 2);
    assert_eq!(run.events("job.finished").len(), 2);
    assert_eq!(run.events("agent.signalled")[0].field("signal"), "SIGTERM");
}

#[test]
fn each_agent_gets_a_port_of_its_own_and_keeps_it_when_the_supervisor_comes_back() {
    let bed = TestBed::new();
    bed.write(
        "presets/ported.toml",
        "add_args = [[\"--port={port}\"]]\n[detect.http]\naddress.default = \"127.0.0.1:{port}\"\n\
         path = \"/\"\nrunning = { gauge = \"jobs\" }\n[drain]\nmethod = \"wait-idle\"\n\
         signal = \"TERM\"\n",
    );
    let page = bed.path("page").display().to_string();
    let server = bed.path("server").display().to_string();
    bed.write(
        "server",
        format!(
            "import http.server, os, sys\n\
             port = int(sys.argv[-1].removeprefix('--port='))\n\
             assert port == int(os.environ['CLOCKOUT_PORT'])\n\
             class Page(http.server.BaseHTTPRequestHandler):\n\
             \x20   def do_GET(self):\n\
             \x20       self.send_response(200)\n\
             \x20       self.end_headers()\n\
             \x20       self.wfile.write(open('{page}', 'rb').read())\n\
             \x20   def log_message(self, *args):\n\
             \x20       pass\n\
             open('{page}.ports', 'a').write(f'{{port}}\\n')\n\
             http.server.HTTPServer(('127.0.0.1', port), Page).serve_forever()\n"
        ),
    );
    bed.write("page", "jobs 1\n");
    let agent = ["python3".to_owned(), server];
    let options = "--retire poweroff --preset ported --agents 2 --slots 1";
    let first = bed.run(options, &agent);
    first.wait_events("job.started", 2);
    let ports = std::fs::read_to_string(format!("{page}.ports")).expect("both agents'");
    let ports: std::collections::HashSet<_> = ports.lines().collect();
    assert_eq!(ports.len(), 2, "{ports:?}");
    first.kill_9();
    let second = bed.run(options, &agent);
    second.wait_events("agent.adopted", 2);
    // Only a page on the right port can tell it.
    bed.write("page", "jobs 0\n");
    second.wait_events("job.finished", 2);
}
