use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

fn page(text: &str) -> Page {
    toml::from_str(text).expect("good")
}

#[test]
fn each_kind_of_page_says_how_many_run() {
    let buildkite = page("array = '/workers'\nwhere = { '/status' = ['busy'] }");
    let varz = page("number = '/running_count'");
    let keys = page("keys = '/running'");
    let gauge = page("gauge = 'jobs'");
    let counters = page("started = 's_total'\nended = 'e_total'");
    let all = page("array = ''");
    let table: &[(&Page, &str, Option<u32>)] = &[
        (
            &buildkite,
            r#"{"workers":[{"status":"busy"},{"status":"idle"}]}"#,
            Some(1),
        ),
        (&buildkite, r#"{"workers":[]}"#, Some(0)),
        (&buildkite, r#"{"workers":[{"name":"a"}]}"#, Some(0)),
        (&buildkite, r#"{"workers":[{"status":7}]}"#, None),
        (&buildkite, r#"{"workers":[8]}"#, None),
        (&buildkite, r#"{"workers":{}}"#, None),
        (&buildkite, "{}", None),
        (&buildkite, "<html>", None),
        (&all, "[1,2,3]", Some(3)),
        (
            &page("array = '/executors'\nwhere = { '/idle' = 'false' }"),
            r#"{"executors":[{"idle":false},{"idle":true}]}"#,
            Some(1),
        ),
        (&varz, r#"{"running_count":2}"#, Some(2)),
        (&varz, r#"{"running_count":-2}"#, None),
        (&varz, r#"{"running_count":"2"}"#, None),
        (&keys, r#"{"running":{"34":{},"35":{}}}"#, Some(2)),
        (&gauge, "# HELP jobs x\njobs 2\n", Some(2)),
        (
            &gauge,
            "jobs{a=\"b c}\",d=\"e\"} 1 1700000000\njobs{} 2.0\n",
            Some(3),
        ),
        (&gauge, "jobs_total 5\n", None),
        (&gauge, "jobs NaN\n", None),
        (&gauge, "jobs +Inf\n", None),
        (&gauge, "jobs -1\n", None),
        (&gauge, "jobs{a=\"1\"} 1\njobs{a=\"2\"} -1\n", None),
        (&gauge, "jobs{a=\"1\"} 0\njobs{a=\"2\"} many\n", None),
        (&gauge, "jobs{a=\"1\"} 0\njobs{a=\"2\"\n", None),
        (&gauge, "jobs\n", None),
        (&gauge, "jobs \n", None),
        (&gauge, "jobs 1e300\n", None),
        (&gauge, "", None),
        (&gauge, "jobs 1e0\r\n", Some(1)),
        (
            &counters,
            "s_total 5\ne_total{x=\"1\"} 2\ne_total{x=\"2\"} 2",
            Some(1),
        ),
        (&counters, "s_total 5\n", Some(5)),
        (&counters, "s_total 5\ne_total 6\n", None),
        (&counters, "s_total 5\ne_total NaN\n", None),
        (&counters, "e_total 5\n", None),
    ];
    for (how, text, expected) in table {
        assert_eq!(count(how, text.as_bytes()), *expected, "{how:?} of {text}");
    }
    assert_eq!(count(&gauge, b"\xff"), None);
}

/// Answers each connection with the next of these, byte for byte, and hangs on `None`.
fn serve(answers: Vec<Option<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut hanging = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = [0; 1024];
            let bytes = stream.read(&mut asked).expect("a request");
            assert!(bytes > 0);
            match answer {
                // The client may hang up before the end of an answer it does not like.
                Some(answer) => drop(stream.write_all(&answer)),
                None => hanging.push(stream),
            }
        }
        // Until the client gives up.
        for mut stream in hanging {
            drop(stream.read(&mut [0; 1]));
        }
    });
    format!("http://{address}/varz")
}

fn target(url: String) -> Target {
    Target { url, auth: None }
}

fn answer(status: &str, body: &str) -> Option<Vec<u8>> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    Some([head.as_bytes(), body.as_bytes()].concat())
}

fn samples(spec: &str, answers: Vec<Option<Vec<u8>>>) -> Vec<Option<u32>> {
    let jobs = |seen| match seen {
        Observation::Running { jobs } => jobs,
        other => panic!("{other:?} is no level"),
    };
    observations(spec, answers).into_iter().map(jobs).collect()
}

fn observations(spec: &str, answers: Vec<Option<Vec<u8>>>) -> Vec<Observation> {
    let rounds = answers.len();
    let spec: HttpDetector = toml::from_str(spec).expect("good");
    let probe = HttpProbe::new(&spec, &target(serve(answers))).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut seen = Vec::new();
        for _ in 0..rounds {
            seen.push(probe.sample().await);
        }
        seen
    })
}

const SPEC: &str = "address.default = ':1'\npath = '/varz'\naccept_status = [200, 500]\n\
                    running.number = '/running_count'";

#[test]
fn whatever_goes_wrong_is_unknown_and_never_idle() {
    let zero = r#"{"running_count":0}"#;
    let huge = "x".repeat(LONGEST_PAGE + 1);
    let seen = samples(
        SPEC,
        vec![
            answer("200 OK", zero),
            answer("500 Late", r#"{"running_count":1}"#),
            answer("404 Not Found", zero),
            answer("302 Found", zero),
            answer("200 OK", "<html>"),
            answer("200 OK", r#"{"running_count":257}"#),
            answer("200 OK", r#"{"running_count":4294967295}"#),
            answer("200 OK", &huge),
            Some(b"no http\r\n\r\n".to_vec()),
            Some(Vec::new()),
            None,
            answer("200 OK", zero),
        ],
    );
    let mut expected = vec![None; 12];
    (expected[0], expected[1], expected[11]) = (Some(0), Some(1), Some(0));
    assert_eq!(seen, expected);
}

#[test]
fn nobody_listens_is_unknown() {
    let spec: HttpDetector = toml::from_str(SPEC).expect("good");
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound")
        .port();
    let nobody = target(format!("http://127.0.0.1:{port}/"));
    let probe = HttpProbe::new(&spec, &nobody).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let seen = runtime.expect("a runtime").block_on(probe.sample());
    assert_eq!(seen, Observation::Running { jobs: None });
}

#[test]
fn an_optional_page_that_was_never_there_says_nothing() {
    let spec = format!("optional = true\n{SPEC}");
    let missing = || answer("404 Not Found", "");
    let good = answer("200 OK", r#"{"running_count":1}"#);
    let seen = observations(&spec, vec![missing()]);
    assert_eq!(seen, [Observation::Absent]);
    assert_eq!(samples(&spec, vec![good, missing()]), [Some(1), None]);
}

#[test]
fn an_optional_page_where_nobody_ever_listened_says_nothing_after_a_while() {
    let spec: HttpDetector = toml::from_str(&format!("optional = true\n{SPEC}")).expect("good");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", free.local_addr().expect("bound"));
    drop(free);
    let probe = HttpProbe::new(&spec, &target(url)).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let all = (0..=NEWS).map(|_| runtime.block_on(probe.sample()));
    let all: Vec<_> = all.collect();
    let unknown = Observation::Running { jobs: None };
    let (first, last) = all.split_at(NEWS as usize - 1);
    assert!(first.iter().all(|seen| *seen == unknown), "{all:?}");
    assert_eq!(last, [Observation::Absent, Observation::Absent]);
}

#[test]
fn it_says_who_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/varz", listener.local_addr().expect("bound"));
    let spec: HttpDetector = toml::from_str(SPEC).expect("good");
    for (auth, line) in [
        (
            Credentials::Bearer("t0ken".to_owned()),
            "authorization: Bearer t0ken",
        ),
        (
            Credentials::Basic {
                user: "me".to_owned(),
                password: "pass".to_owned(),
            },
            "authorization: Basic bWU6cGFzcw==",
        ),
    ] {
        let target = Target {
            url: url.clone(),
            auth: Some(auth),
        };
        let probe = HttpProbe::new(&spec, &target).expect("a client");
        assert!(!format!("{probe:?}").contains("t0ken"));
        let listener = listener.try_clone().expect("a descriptor");
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).expect("a request");
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(probe.sample());
        let asked = asked.join().expect("it was asked");
        assert!(asked.lines().any(|asked| asked == line), "{asked}");
    }
}
