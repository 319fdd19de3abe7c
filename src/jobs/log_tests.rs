use super::*;
use crate::presets::{self, Preset, Stream};

fn preset(text: &str) -> Preset {
    toml::from_str(text).expect("good")
}

/// What is seen in a text, each as `detector verb id outcome`.
pub fn events(preset: &Preset, stream: Stream, chunks: &[&[u8]]) -> Vec<String> {
    let mut matcher = LineMatcher::new(&preset.lines_of(Some(stream)));
    let mut seen = Vec::new();
    for chunk in chunks {
        matcher.feed(chunk, &mut |detector, observation| {
            seen.push(match observation {
                Observation::Ready => {
                    assert_eq!(detector, NO_DETECTOR);
                    "ready".to_owned()
                }
                Observation::Started { id } => {
                    format!("{} started {}", detector.0, id.unwrap_or_default())
                }
                Observation::Finished { id, outcome } => {
                    let id = id.unwrap_or_default();
                    format!("{} finished {id} {}", detector.0, outcome.as_str())
                }
                Observation::SafeWindow => {
                    assert_eq!(detector, NO_DETECTOR);
                    "safe".to_owned()
                }
                Observation::DrainArmed => {
                    assert_eq!(detector, NO_DETECTOR);
                    "armed".to_owned()
                }
                Observation::Running { .. } | Observation::Absent => {
                    panic!("a log shows no levels")
                }
            });
        });
    }
    seen
}

const JOB: &str = "0191f7a0-1111-4222-8333-123456789abc";

#[test]
fn buildkite_text_of_every_era_is_understood() {
    let buildkite = presets::load("buildkite").expect("built in");
    let text = format!(
        "\x1b[38;5;48m2026-11-21 10:00:00 INFO  \x1b[0m \x1b[0mhost-1 Waiting for instructions... \x1b[0m\n\
         2026-11-21 10:00:01 INFO   host-1 Assigned job {JOB}. Accepting... \n\
         2026-11-21 10:00:01 INFO   host-1 Starting job {JOB} \n\
         2026-11-21 10:00:02 INFO   host-1 Finished job {JOB} \n\
         2026-11-21 10:00:03 INFO   host-1 Starting job {JOB} for build at https://buildkite.com/o/p/builds/1 \n\
         2026-11-21 10:00:04 INFO   host-1 Finished job {JOB} for build at https://buildkite.com/o/p/builds/1 \n\
         \x1b[38;5;48m2026-11-21 10:00:05 INFO  \x1b[0m \x1b[0mhost-1 Starting job at https://buildkite.com/o/p/builds/1#{JOB} \x1b[0m\n\
         \x1b[38;5;48m2026-11-21 10:00:06 INFO  \x1b[0m \x1b[0mhost-1 Finished job at https://buildkite.com/o/p/builds/1#{JOB} \x1b[0m\n\
         2026-11-21 10:00:07 INFO   host-1 Waiting for instructions... \n"
    );
    let mut expected = vec!["ready".to_owned()];
    for _ in 0..3 {
        expected.push(format!("0 started {JOB}"));
        expected.push(format!("0 finished {JOB} unknown"));
    }
    assert_eq!(
        events(&buildkite, Stream::Stderr, &[text.as_bytes()]),
        expected
    );
    let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
    assert_eq!(events(&buildkite, Stream::Stderr, &bytes), expected);
}

#[test]
fn buildkite_json_is_understood_and_a_jobs_own_lines_are_not() {
    let buildkite = presets::load("buildkite").expect("built in");
    let line = |msg: &str, more: &str| {
        format!("{{\"ts\":\"t\",\"level\":\"INFO\",\"msg\":\"{msg}\",\"agent\":\"n\"{more}}}\n")
    };
    let text = [
        line("Starting 1 Agent(s)", ""),
        line(&format!("Starting job at https://b/1#{JOB}"), ""),
        line(
            &format!("Finished job at https://b/1#{JOB}"),
            ",\"source\":\"job\"",
        ),
        format!("Finished job at https://b/1#{JOB}\n"),
        format!("x{}", line(&format!("Finished job {JOB}"), "")),
        format!("{{\"msg\":\"Finished job {JOB}\"\n"),
        line(&format!("Finished job at https://b/1#{JOB}"), ""),
    ]
    .concat();
    let seen = events(&buildkite, Stream::Stdout, &[text.as_bytes()]);
    assert_eq!(
        seen,
        [
            "ready",
            &format!("1 started {JOB}"),
            &format!("1 finished {JOB} unknown")
        ]
    );
}

#[test]
fn outcomes_come_from_words_exit_codes_or_earlier_lines() {
    let words = preset(
        r"
        [detect.log]
        start = '^run (?P<id>\d+)$'
        finish = '^end (?P<id>\d+)(?: (?P<outcome>\w+))?(?: rc=(?P<exit_code>\d+))?$'
        outcome = ['^(?P<outcome>won) (?P<id>\d+)$', { regex = '^lost (?P<id>\d+)$', outcome = 'failed' }]
        outcomes = { won = 'passed', Aborted = 'canceled' }
        ",
    );
    let text = b"run 1\nend 1 Aborted\nend 2 failed\nend 3 odd\nend 4 rc=0\nend 5 rc=3\n\
        won 6\nlost 7\nlost 8\nwon 8\nend 8\nend 7\nend 6\nend 6\nwonder\n";
    let seen = events(&words, Stream::Stdout, &[text]);
    assert_eq!(
        seen,
        [
            "0 started 1",
            "0 finished 1 canceled",
            "0 finished 2 failed",
            "0 finished 3 unknown",
            "0 finished 4 passed",
            "0 finished 5 failed",
            "0 finished 8 passed",
            "0 finished 7 failed",
            "0 finished 6 passed",
            "0 finished 6 unknown",
        ]
    );
}

#[test]
fn a_worker_s_line_without_an_id_tells_the_outcome_of_its_job() {
    let workers = preset(
        r"
        [detect.log]
        start = 'start (?P<id>\d+)$'
        outcome = ['^(?P<worker>\w+) rc=(?P<exit_code>\d+)$', { regex = 'cancel (?P<id>\d+)$', outcome = 'canceled' }]
        finish = '^(?P<worker>\w+) end (?P<id>\d+)$'
        ",
    );
    // The last two have the same name, and nobody knows which of them failed.
    let text = b"a rc=0\nb rc=1\nb end 1\na end 2\na end 3\n\
        cancel 4\na rc=1\na end 4\na rc=0\na end 5\n\
        a rc=0\na rc=1\na end 6\na end 7\n";
    let seen = events(&workers, Stream::Stdout, &[text]);
    assert_eq!(
        seen,
        [
            "0 finished 1 failed",
            "0 finished 2 passed",
            "0 finished 3 unknown",
            "0 finished 4 canceled",
            "0 finished 5 passed",
            "0 finished 6 unknown",
            "0 finished 7 unknown",
        ]
    );
}

#[test]
fn outcomes_without_ids_are_taken_in_their_order() {
    let plain = preset(
        "[detect.log]\nstart = '^run$'\noutcome = '^rc=(?P<exit_code>.)$'\nfinish = '^end$'",
    );
    let text = b"rc=0\nrc=1\nend\nend\nend\n";
    let seen = events(&plain, Stream::Stdout, &[text]);
    assert_eq!(
        seen,
        [
            "0 finished  passed",
            "0 finished  failed",
            "0 finished  unknown"
        ]
    );
}

#[test]
fn json_fields_are_pointed_at() {
    let drone = preset(
        r"
        [detect.log]
        start = { field = '/message', regex = '^received execution$', id = '/id' }
        finish = { field = '/message', regex = '^updating pipeline status (?:complete|failed)$', id = '/id' }
        outcome = { field = '/message', regex = '^pipeline complete$', id = '/id', exit_code = '/exit_code' }
        ",
    );
    let text = br#"{"id":34,"message":"received execution"}
{"id":34,"message":"pipeline complete","exit_code":1}
{"id":34,"message":"updating pipeline status complete"}
"#;
    let seen = events(&drone, Stream::Stderr, &[text]);
    assert_eq!(seen, ["0 started 34", "0 finished 34 failed"]);
}

#[test]
fn a_stream_of_no_interest_shows_nothing() {
    let one = preset("[detect.log]\nstream = 'stdout'\nstart = 'a'\nfinish = 'b'");
    assert!(one.reads(Stream::Stdout) && !one.reads(Stream::Stderr));
    assert_eq!(
        events(&one, Stream::Stderr, &[b"a\n"]),
        Vec::<String>::new()
    );
    assert_eq!(events(&one, Stream::Stdout, &[b"a\n"]), ["0 started "]);
}

#[test]
fn hostile_bytes_match_nothing_and_cost_little() {
    let buildkite = presets::load("buildkite").expect("built in");
    let mut noise = Vec::new();
    for round in 0_u32..200_000 {
        noise.extend_from_slice(&round.wrapping_mul(2_654_435_761).to_le_bytes());
    }
    noise.extend(std::iter::repeat_n(b'{', 20_000));
    noise.push(b'\n');
    noise.extend(
        b"{\"msg\":\"Starting job "
            .iter()
            .chain(&[b'['; 10_000])
            .chain(b"\n"),
    );
    for stream in Stream::BOTH {
        assert_eq!(events(&buildkite, stream, &[&noise]), Vec::<String>::new());
    }
}

#[test]
fn a_long_id_is_cut() {
    let any = preset("[detect.log]\nstart = '^job (?P<id>.*)$'\nfinish = '^end$'");
    let text = format!("job {}\n", "x".repeat(5000));
    let seen = events(&any, Stream::Stdout, &[text.as_bytes()]);
    assert_eq!(seen[0].len(), "0 started ".len() + LONGEST_ID);
}

#[test]
fn a_safe_window_is_over_with_the_next_line_about_a_job() {
    let kraken = preset(
        r"
        [detect.log]
        start = '^received job: \{.id.: (?P<id>\d+)'
        finish = '^completed job (?P<id>\d+)'
        [drain]
        method = 'wait-idle'
        window = { line = '^received job: \{\}$', lasts = '4s', patience = '30s' }
        ",
    );
    let idle = b"received job: {}\n";
    let job = b"received job: {'id': 7}\n";
    let end = b"completed job 7\n";
    let seen = |chunks: &[&[u8]]| events(&kraken, Stream::Stderr, chunks);
    assert_eq!(seen(&[idle, b"more\n", idle]), ["safe", "safe"]);
    assert_eq!(seen(&[&[&idle[..], job].concat()]), ["0 started 7"]);
    let whole = [&job[..], end, idle, b"something else\n"].concat();
    assert_eq!(
        seen(&[&whole]),
        ["0 started 7", "0 finished 7 unknown", "safe"]
    );
    assert_eq!(seen(&[idle, job]), ["safe", "0 started 7"]);
    assert_eq!(
        seen(&[b"received job: {}"]),
        Vec::<String>::new(),
        "half a line"
    );
}

#[test]
fn the_end_of_a_job_can_begin_a_safe_window() {
    let agent = preset(
        r"
        [detect.log]
        start = '^start$'
        finish = '^end$'
        [drain]
        method = 'wait-idle'
        window = { line = '^end$', lasts = '4s', patience = '30s' }
        ",
    );
    let seen = events(&agent, Stream::Stdout, &[b"start\nend\n"]);
    assert_eq!(seen, ["0 started ", "0 finished  unknown", "safe"]);
}

#[test]
fn an_agent_is_armed_once() {
    let buildbot = preset(
        r"
        [drain]
        signal = 'HUP'
        needs_line = 'SIGHUP handler$'
        otherwise = { method = 'wait-idle', signal = 'TERM' }
        ",
    );
    let line = b"\x1b[1mSetting up SIGHUP handler\x1b[0m \n";
    assert_eq!(events(&buildbot, Stream::Stdout, &[line, line]), ["armed"]);
}

#[test]
fn a_line_of_10_megabytes_says_nothing_and_hides_nothing() {
    let one = preset("[detect.log]\nstart = 'job starts'\nfinish = 'job ends'");
    let mut text = b"job starts\n".to_vec();
    text.extend(std::iter::repeat_n(b"job ends ", 10_000_000 / 9).flatten());
    text.extend_from_slice(b"\njob ends\n");
    for size in [1000, 65536, text.len()] {
        let chunks: Vec<_> = text.chunks(size).collect();
        let seen = events(&one, Stream::Stdout, &chunks);
        assert_eq!(
            seen,
            ["0 started ", "0 finished  unknown"],
            "chunks of {size}"
        );
    }
}
