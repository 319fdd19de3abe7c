//! What an agent and its page say may be anything: it is counted as unknown, never as idle, and
//! the deadline holds.

use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::http::{Answer, Reply, Server};
use crate::support::{Clockout, Exit, TestBed, sh, wait_until};

/// What a page does when it is asked.
#[derive(Debug, Clone, Copy)]
enum Page {
    Says(&'static str),
    Hangs,
    Closes,
    Missing,
    Fails,
    /// To another that says that no job runs.
    Moves,
    Endless,
    Binary,
}

const IDLE: Page = Page::Says("jobs 0\n");
const BUSY: Page = Page::Says("jobs 1\n");

const WRONG: [Page; 15] = [
    Page::Hangs,
    Page::Closes,
    Page::Missing,
    Page::Fails,
    Page::Moves,
    Page::Endless,
    Page::Binary,
    Page::Says(""),
    Page::Says("jobs NaN\n"),
    Page::Says("jobs -1\n"),
    Page::Says("jobs 1e300\n"),
    Page::Says("jobs 1000000\n"),
    Page::Says("jobs none\n"),
    Page::Says("jobs{a=\"1\"} 0\njobs{a=\"2\"} -0.5\n"),
    Page::Says("<html>jobs 0</html>"),
];

/// An agent's page whose behaviour can be changed.
struct Agent {
    bed: TestBed,
    page: Arc<Mutex<Page>>,
    server: Option<Server>,
    _elsewhere: Server,
}

impl Agent {
    fn new(first: Page) -> Agent {
        let idle = Arc::new(|_| -> crate::support::http::Answering {
            Box::pin(async { reply(200, "jobs 0\n") })
        });
        let elsewhere = Server::start(idle);
        let moved = elsewhere.url();
        let page = Arc::new(Mutex::new(first));
        let shown = Arc::clone(&page);
        let server = Server::start(Arc::new(move |_| {
            let page = *shown.lock().expect("no holder panics");
            let moved = moved.clone();
            Box::pin(async move { answer(page, &moved) })
        }));
        let bed = TestBed::new();
        bed.write(
            "presets/paged.toml",
            format!(
                "[detect.http]\naddress.default = \"{}\"\npath = \"/metrics\"\n\
                 running = {{ gauge = \"jobs\" }}\n\
                 [drain]\nmethod = \"wait-idle\"\nsignal = \"TERM\"\n\
                 [cancel]\nsignal = \"INT\"\n",
                server.address
            ),
        );
        Agent {
            bed,
            page,
            server: Some(server),
            _elsewhere: elsewhere,
        }
    }

    fn run(&self, options: &str) -> Clockout {
        let agent = "trap 'exit 0' TERM INT; while :; do sleep 0.1; done";
        let options = format!("--retire exit --preset paged {options}");
        self.bed.run(&options, &sh(agent))
    }

    fn turns(&self, page: Page) {
        *self.page.lock().expect("no holder panics") = page;
    }
}

fn reply(status: u16, body: impl Into<hyper::body::Bytes>) -> Answer {
    Answer::Reply(Reply::new(status, "text/plain", body))
}

fn answer(page: Page, elsewhere: &str) -> Answer {
    match page {
        Page::Says(text) => reply(200, text),
        Page::Hangs => Answer::Hang,
        Page::Closes => Answer::Close,
        Page::Missing => reply(404, "jobs 0\n"),
        Page::Fails => reply(503, "jobs 0\n"),
        Page::Moves => {
            let mut moved = Reply::new(301, "text/plain", "jobs 0\n");
            moved.headers.push(("location", elsewhere.to_owned()));
            Answer::Reply(moved)
        }
        Page::Endless => reply(200, "jobs 0\n".repeat(1_000_000)),
        Page::Binary => reply(200, &b"\xff\xfe\x00jobs 0\n\xff"[..]),
    }
}

/// The names of the events in the order in which they were logged.
fn order(run: &Clockout, names: &[&str]) -> Vec<String> {
    let log = run.log().into_iter();
    let events = log.map(|line| line.event().to_owned());
    events
        .filter(|name| names.contains(&name.as_str()))
        .collect()
}

#[test]
fn an_agent_whose_page_goes_wrong_while_it_drains_is_not_idle_and_the_deadline_holds() {
    thread::scope(|scope| {
        for wrong in WRONG {
            scope.spawn(move || {
                let agent = Agent::new(BUSY);
                let run = agent.run("");
                run.wait_event("job.started");
                agent.turns(wrong);
                agent.bed.call("drain --deadline 4s");
                assert_eq!(run.wait_exit(), Exit::Code(0), "{wrong:?}");
                // Were it taken for idle, it would have been signalled before.
                let order = order(&run, &["drain.cancelled", "agent.signalled"]);
                assert_eq!(order, ["drain.cancelled", "agent.signalled"], "{wrong:?}");
                let signal = run.events("agent.signalled")[0].field("signal");
                assert_eq!(signal, "SIGINT", "{wrong:?}");
                let said = run.events("detector.failed").len();
                assert!(said <= 1, "{wrong:?}: {said} lines for one episode");
            });
        }
    });
}

#[test]
fn an_agent_whose_page_is_gone_while_it_drains_is_not_idle() {
    let mut agent = Agent::new(BUSY);
    let run = agent.run("");
    run.wait_event("job.started");
    agent.server = None;
    run.wait_event("detector.failed");
    agent.bed.call("drain --deadline 3s");
    assert_eq!(run.wait_exit(), Exit::Code(0));
    let order = order(&run, &["drain.cancelled", "agent.signalled"]);
    assert_eq!(order, ["drain.cancelled", "agent.signalled"]);
}

#[test]
fn a_page_that_comes_back_to_its_senses_is_believed() {
    let agent = Agent::new(BUSY);
    let run = agent.run("");
    run.wait_event("job.started");
    agent.turns(Page::Hangs);
    agent.bed.call("drain");
    run.wait_event("detector.failed");
    assert!(run.events("agent.signalled").is_empty());
    agent.turns(IDLE);
    assert_eq!(run.wait_exit(), Exit::Code(0));
    let signal = run.events("agent.signalled")[0].field("signal");
    assert_eq!(signal, "SIGTERM", "it was drained, not cancelled");
    assert!(run.events("drain.cancelled").is_empty());
}

#[test]
fn a_page_that_never_makes_sense_is_never_idle() {
    thread::scope(|scope| {
        for wrong in [Page::Hangs, Page::Moves, Page::Says("jobs NaN\n")] {
            scope.spawn(move || {
                let agent = Agent::new(wrong);
                let run = agent.run("--idle-timeout 1s --max-lifetime 8s --drain-timeout 1s");
                assert_eq!(run.wait_exit(), Exit::Code(0), "{wrong:?}");
                let reason = run.events("drain.began")[0].field("reason");
                assert_eq!(reason, "max-lifetime", "{wrong:?}");
            });
        }
    });
}

#[test]
fn ten_megabytes_in_a_line_and_binary_noise_hide_no_job() {
    let noise = "head -c 10000000 /dev/zero | tr '\\0' x; echo; head -c 300000 /dev/urandom; \
                 printf '\\033[31mjob 9 starts\\033[0m and goes on\\n\\033]0;job 9 starts\\007\\r\\n'";
    for stream in ["stdout", "stderr"] {
        let bed = TestBed::new();
        bed.write(
            "presets/noisy.toml",
            format!(
                "[detect.log]\nstream = \"{stream}\"\nstart = '^job (?P<id>\\d) starts$'\n\
                 finish = '^job (?P<id>\\d) ends (?P<outcome>\\w+)$'\n"
            ),
        );
        let to = if stream == "stderr" { ">&2" } else { "" };
        let agent = sh(&format!(
            "{{ {noise}; printf '\\n\\033[1mjob 1 starts \\033[0m\\n'; {noise}; \
             printf '\\njob 1 ends passed\\t\\n'; {noise}; }} {to}"
        ));
        let run = bed.run("--retire exit --preset noisy", &agent);
        assert_eq!(run.wait_exit(), Exit::Code(0), "{stream}");
        // Its own lines can stand behind the agent's noise: only the last stands alone for sure.
        let record = run.wait_event("retire.done").field("record");
        let counted = r#""jobs":{"started":1,"passed":1,"#;
        assert!(record.contains(counted), "{stream}: {record}");
        // All of it was passed on.
        let passed_on = match stream {
            "stdout" => run.stdout(),
            _ => run.raw_stderr(),
        };
        assert!(
            passed_on.len() > 30_000_000,
            "{stream}: {}",
            passed_on.len()
        );
    }
}

#[test]
fn a_log_file_of_noise_hides_no_job() {
    let bed = TestBed::new();
    let file = bed.path("agent.log").display().to_string();
    bed.write(
        "presets/filed.toml",
        format!(
            "[detect.log]\nfile = \"{file}\"\nstart = '^job (?P<id>\\d) starts$'\n\
             finish = '^job (?P<id>\\d) ends (?P<outcome>\\w+)$'\n"
        ),
    );
    bed.write("agent.log", "job 0 starts\n");
    let go_on = bed.path("go-on").display().to_string();
    let agent = sh(&format!(
        "exec >> {file}; head -c 10000000 /dev/zero; echo; echo job 1 starts; \
         until test -e {go_on}; do sleep 0.1; done; \
         head -c 300000 /dev/urandom; printf '\\njob 1 ends failed\\n'"
    ));
    let run = bed.run("--retire exit --preset filed", &agent);
    run.wait_event("job.started");
    bed.write("go-on", "");
    assert_eq!(run.wait_exit(), Exit::Code(0));
    wait_until("its last words", || !run.events("job.finished").is_empty());
    assert_eq!(run.events("job.started")[0].field("job"), "1");
    assert_eq!(run.events("job.finished")[0].field("outcome"), "failed");
}
