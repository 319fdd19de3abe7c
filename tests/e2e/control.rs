//! The control socket of a running supervisor: who may ask what, and what garbage does to it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Agent, Clockout, Exit, PATIENCE, TestBed, is_root, sh, wait_until};

/// An agent with a long job, and its supervisor.
fn busy(bed: &TestBed) -> (Agent, Clockout) {
    let agent = bed.agent("--job-ms 600000");
    let run = bed.run(
        "--retire exit --preset buildkite --max-jobs 5",
        &agent.argv(),
    );
    run.wait_event("job.started");
    (agent, run)
}

fn connect(bed: &TestBed) -> UnixStream {
    let stream = UnixStream::connect(bed.path("socket")).expect("the supervisor listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

#[test]
fn status_answers_what_a_person_asks_first() {
    let bed = TestBed::new();
    let (_, _run) = busy(&bed);
    let text = bed.call("status");
    assert_eq!(text.exit, Exit::Code(0), "{}", text.stderr);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("busy"), "{text}");
    let json = bed.call("status --json");
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["state"], "busy");
    assert_eq!(json["jobs"]["started"], 1);
    assert_eq!(json["jobs"]["running"], 1);
    assert_eq!(json["agents"][0]["index"], 1);
}

#[test]
fn without_a_supervisor_status_fails_and_jobs_go_on() {
    let bed = TestBed::new();
    let status = bed.call("status");
    assert_eq!(status.exit, Exit::Code(1));
    assert!(status.stderr.contains("socket"), "{}", status.stderr);
    let job = bed.call("job start 7");
    assert_eq!(
        job.exit,
        Exit::Code(0),
        "a CI job must not fail because of us"
    );
    assert_eq!(job.stderr.lines().count(), 1);
    assert_eq!(bed.call("job start --strict 7").exit, Exit::Code(1));
    let exec = bed.start(&["job", "exec", "--", "/bin/sh", "-c", "echo out; exit 5"]);
    assert_eq!(exec.wait_exit(), Exit::Code(5));
    assert_eq!(exec.stdout(), b"out\n");
}

#[test]
fn a_wrapped_job_is_one_job_with_its_outcome() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 0");
    let run = bed.run("--retire exit --preset generic", &agent.argv());
    run.wait_event("agent.ready");
    for (line, status, outcome) in [
        ("exit 0", 0, "passed"),
        ("exit 9", 9, "failed"),
        ("kill -TERM $$", 143, "canceled"),
    ] {
        let before = run.events("job.finished").len();
        let exec = bed.start(&["job", "exec", "--", "/bin/sh", "-c", line]);
        assert_eq!(exec.wait_exit(), Exit::Code(status));
        run.wait_events("job.finished", before + 1);
        assert_eq!(run.events("job.finished")[before].field("outcome"), outcome);
    }
    assert_eq!(run.events("job.started").len(), 3);
}

#[test]
fn a_drain_with_a_deadline_cancels() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed);
    assert_eq!(bed.call("drain --deadline 300ms").exit, Exit::Code(0));
    run.wait_event("drain.cancelled");
    run.wait_exit();
    assert_eq!(agent.count("canceled"), 1);
}

#[test]
fn garbage_harms_neither_the_supervisor_nor_the_agent() {
    let bed = TestBed::new();
    let (agent, run) = busy(&bed);
    let mut random = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    for number in 0..10_000 {
        let mut stream = connect(&bed);
        let garbage: Vec<u8> = match number % 5 {
            0 => (0..random.usize(0..200)).map(|_| random.u8(..)).collect(),
            1 => b"{\"op\":\"drain\"".to_vec(),
            2 => b"{\"op\":\"explode\"}\n".to_vec(),
            3 => vec![b'{'; random.usize(1..9000)],
            _ => b"\n\n\0\n[[[[[[\n".to_vec(),
        };
        // It may hang up in the middle: so does a rude server.
        refused += usize::from(stream.write_all(&garbage).is_err());
    }
    println!("{refused} were cut off while they wrote");
    wait_until("an answer", || bed.call("status").exit == Exit::Code(0));
    assert!(run.events("drain.began").is_empty() && agent.signals().is_empty());
    assert!(
        run.log().len() < 1000,
        "the log is not flooded: {}",
        run.log().len()
    );
}

#[test]
fn long_messages_slow_writers_and_crowds_are_cut_off() {
    let bed = TestBed::new();
    let (_, _run) = busy(&bed);
    let closed = |stream: &mut UnixStream| match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        // Closed with words of ours unread.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };

    let mut long = connect(&bed);
    let _ = long.write_all(&[b'x'; 5000]);
    assert!(closed(&mut long), "over 4 KiB");

    let mut slow = connect(&bed);
    slow.write_all(b"{\"op\":").expect("it listens");
    assert!(closed(&mut slow), "never finishes its line");

    let crowd: Vec<_> = (0..80).map(|_| connect(&bed)).collect();
    wait_until("room again", || {
        drop(connect(&bed));
        crowd.iter().any(|stream| {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
            matches!((&mut &*stream).read(&mut [0]), Ok(0))
        })
    });
    drop(crowd);
    wait_until("an answer", || bed.call("status").exit == Exit::Code(0));
}

#[test]
fn the_agents_user_may_report_jobs_and_nothing_else() {
    if !is_root() {
        return;
    }
    let bed = TestBed::new();
    bed.open_to_everybody();
    let clockout = bed.path("clockout").display().to_string();
    std::fs::copy(env!("CARGO_BIN_EXE_clockout"), &clockout).expect("a copy that all can run");
    let options = "--retire exit --preset generic --user nobody";
    let run = bed.run(options, &sh("exec sleep 600"));
    run.wait_event("agent.ready");
    let as_user = |user: &str, line: &str| {
        let mut words = vec!["setpriv", "--reuid", user, "--clear-groups", &clockout];
        words.extend(line.split(' '));
        bed.start_program(&words).output()
    };
    assert_eq!(
        as_user("nobody", "job start --strict 1").exit,
        Exit::Code(0)
    );
    assert_eq!(as_user("nobody", "status").exit, Exit::Code(0));
    let drain = as_user("nobody", "drain");
    assert_eq!(drain.exit, Exit::Code(1), "{}", drain.stderr);
    assert_eq!(
        as_user("daemon", "status").exit,
        Exit::Code(1),
        "a stranger"
    );
    assert!(run.events("drain.began").is_empty());
    assert_eq!(run.events("job.started").len(), 1);
}

#[test]
fn one_connection_can_ask_several_things() {
    let bed = TestBed::new();
    let (_, _run) = busy(&bed);
    let stream = connect(&bed);
    let mut answers = BufReader::new(stream.try_clone().expect("a socket")).lines();
    for _ in 0..3 {
        (&stream)
            .write_all(b"{\"op\":\"status\"}\n")
            .expect("it listens");
        let answer = answers.next().expect("an answer").expect("a line");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["ok"], true);
    }
}
