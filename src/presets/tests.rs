use super::*;
use crate::lifecycle::{DetectorKind, DrainMethod};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::time::Duration;

fn own(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Library) {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("written");
    }
    let library = Library::at(dir.path()).expect("listed");
    (dir, library)
}

fn launch(preset: Preset, argv: &[&str]) -> Launch {
    Launch::in_world(Arc::new(preset), &words(argv), None, World::default())
}

fn kinds(launch: &Launch) -> Vec<DetectorKind> {
    launch.detectors().iter().map(|one| one.kind).collect()
}

fn words(argv: &[&str]) -> Vec<OsString> {
    argv.iter().map(OsString::from).collect()
}

#[test]
fn every_built_in_preset_is_valid() {
    let (_dir, library) = own(&[]);
    for (name, _) in BUILT_IN {
        let preset = library.load(name).expect("valid");
        assert!(!preset.summary.is_empty(), "{name} says what it is");
    }
}

#[test]
fn every_built_in_preset_can_be_passed_over_unread() {
    for (name, text) in BUILT_IN {
        let table: toml::Table = toml::from_str(text).expect("valid");
        for key in [program::PROGRAM, program::IMAGE] {
            let names = table.get(key).and_then(toml::Value::as_array);
            let names = names.into_iter().flatten().map(|name| name.as_str());
            let names: Option<Vec<&str>> = names.collect();
            let found: Vec<&str> = program::names(text, key).collect();
            let hint = "on one line, in single quotes";
            assert_eq!(Some(found), names, "{name}: write {key} {hint}");
        }
    }
}

/// The example in the format's documentation is the reference: it must be right.
#[test]
fn the_reference_is_a_valid_preset() {
    let lines = include_str!("format.rs").lines();
    let lines = lines.map_while(|line| line.strip_prefix("//!"));
    let mut lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    assert!(lines.any(|line| line == "```toml"));
    let text: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    let preset = parse("reference", Origin::BuiltIn, text.join("\n")).expect("valid");
    assert!(preset.notes.experimental);
}

#[test]
fn a_program_chooses_its_preset_and_any_other_is_generic() {
    let (_dir, library) = own(&[("mine.toml", b"match_program = ['my-agent-\\d+']")]);
    for (program, name) in [
        ("/usr/bin/buildkite-agent", "buildkite"),
        ("buildkite-agent", "buildkite"),
        ("buildkite-agent-wrapper", "generic"),
        ("/opt/my-agent-12", "mine"),
        ("sh", "generic"),
        ("", "generic"),
    ] {
        let argv = words(&[program]);
        let world = World::default();
        let found = library.for_agent(&Wanted::new(&argv, &world));
        assert_eq!(found.expect("valid").0.name, name, "{program}");
    }
}

#[test]
fn a_users_file_wins_over_the_built_in_of_its_name() {
    let (dir, library) = own(&[("buildkite.toml", b"summary = 'mine'"), ("notes.txt", b"")]);
    let preset = library.load("buildkite").expect("valid");
    assert_eq!(preset.summary, "mine");
    assert_eq!(
        preset.origin,
        Origin::File(dir.path().join("buildkite.toml"))
    );
    let built_in: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    assert_eq!(library.names(), built_in);
}

#[test]
fn an_unknown_preset_names_the_nearest_and_a_path_is_no_name() {
    let (_dir, library) = own(&[]);
    let error = library.load("buildkit").expect_err("unknown").to_string();
    assert_eq!(
        error,
        "unknown preset 'buildkit', did you mean 'buildkite'?"
    );
    let error = library
        .load("../../etc/passwd")
        .expect_err("unknown")
        .to_string();
    assert!(error.contains("use one of: buildkite, "), "{error}");
}

#[test]
fn a_broken_file_is_one_line_with_file_line_and_key() {
    let table: &[(&[u8], &str)] = &[
        (
            b"sumary = 'x'",
            ":1: unknown key 'sumary', did you mean 'summary'?",
        ),
        (
            b"[drain]\nsignal = 'TREM'",
            ":2: key 'signal': unknown signal 'TREM', did you mean 'TERM'?",
        ),
        (
            b"[drain]\nmethod = 'wait-idel'",
            ":2: key 'method': unknown value 'wait-idel', did you mean 'wait-idle'?",
        ),
        (
            b"[detect.lgo]\n",
            ":1: unknown key 'lgo', did you mean 'log'?",
        ),
        (
            b"[detect.log]\nstart = '('\nfinish = 'x'",
            ":2: key 'start': bad regex '(': unclosed group",
        ),
        (
            b"[detect.log]\nstart = { field = 'msg', regex = 'x' }\nfinish = 'x'",
            ":2: key 'start': 'msg' is no JSON pointer, write '/msg'",
        ),
        (
            b"[detect.log]\nstart = { feild = '/msg', regex = 'x' }\nfinish = 'x'",
            ":2: unknown key 'feild', did you mean 'field'?",
        ),
        (
            b"[detect.log]\nstart = 'x'",
            ":1: [detect.log]: missing field `finish`",
        ),
        (
            b"[slots]\ndefault = 0",
            ":2: key 'default': an agent runs at least 1 job",
        ),
        (
            b"[slots]\nfrom = [{ flag = 'spawn' }]",
            ":2: key 'from': a flag begins with '-'",
        ),
        (
            b"[cancel]\nallow = '12'\nsignal = 'TERM'",
            ":2: key 'allow': '12' is no duration",
        ),
        (
            b"[cancel]\nallow = '12s'",
            ":1: [cancel]: give a 'signal' or a 'command'",
        ),
        (
            b"[drain]\nmethod = 'command'",
            ":1: [drain]: method 'command' needs a 'command'",
        ),
        (
            b"[detect]\nhttp = { address.default = ':1', path = '/', running = {} }",
            ":2: key 'http': give exactly one of",
        ),
        (
            b"[cancel]\nsignal = 'TERM'\nexit_ok = [143]",
            ":3: unknown key 'exit_ok', use one of: signal, command, process, allow; \
             'exit_ok' stands above the first [table]",
        ),
        (
            b"[env]\nA = '{prot}'",
            ":2: key 'A': unknown placeholder 'prot' in braces, did you mean 'port'?",
        ),
        (
            b"add_args = [['--pid={pid}']]",
            ":1: key 'add_args': {pid} stands in commands only",
        ),
        (
            b"add_args = [[]]",
            ":1: key 'add_args': a group of arguments is empty",
        ),
        (
            b"[config]\nfrom = [{ config = 'x' }]",
            ":1: [config]: the configuration file cannot say where it is",
        ),
        (
            b"[config]\nappend = '/x'",
            ":1: [config]: give 'from' or 'default'",
        ),
        (
            b"[slots]\nfrom = [{ positional = 0 }]",
            ":2: key 'from': arguments are counted from 1",
        ),
        (
            b"[slots]\nfrom = [{ flag = '-n', env = 'N' }]",
            ":2: key 'from': give one of 'flag', 'env', 'positional' and 'config'",
        ),
        (
            b"[[require]]\notherwise = 'x'",
            ":1: [[require]]: give one of 'config', 'arg' and 'env'",
        ),
        (
            b"[[require]]\nenv = 'X'",
            ":1: [[require]]: missing field `otherwise`",
        ),
        (
            b"[[detect.log]]\nstream = 'stdout'\nfile = '/x'\nstart = 'a'\nfinish = 'b'",
            ":1: [[detect.log]]: give a 'stream' or a 'file', not both",
        ),
        (
            b"[detect.http]\naddress.default = ':1'\npath = '/'\nrunning.gauge = 'x'\n\
              counts = true\nends_jobs = true",
            ":1: [detect.http]: 'ends_jobs' is for jobs that others count",
        ),
        (
            b"[[detect.log]]\nstart = 'a'\nlinger = '1s'\ncounts = true\nends_jobs = true",
            ":1: [[detect.log]]: 'ends_jobs' is for jobs that others count",
        ),
        (
            b"[[detect.log]]\nstart = 'a'\nends_jobs = true",
            ":1: [[detect.log]]: 'ends_jobs' needs 'linger'",
        ),
        (
            b"[detect.process_env]\nname = 'A=B'",
            ":2: key 'name': 'A=B' is no variable's name",
        ),
        (
            b"[drain]\nwindow = { line = 'x', lasts = '1s', patience = '1s' }",
            ":1: [drain]: 'window' belongs to method 'wait-idle'",
        ),
        (
            b"[drain]\nneeds_line = 'x'",
            ":1: [drain]: 'needs_line' and [drain.otherwise] belong together",
        ),
        (
            b"[drain]\nmethod = 'wait-idle'\n[drain.cordon]\n",
            ":3: [drain.cordon]: give a 'command' or 'http'",
        ),
        (
            b"[drain]\nmethod = 'wait-idle'\n[drain.cordon]\n\
              http = { method = 'post', url = 'x' }",
            ":4: key 'http': unknown method 'post', did you mean 'POST'?",
        ),
        (
            b"[cancel]\nsignal = 'TERM'\nallow = { from = [], defualt = '1s' }",
            ":3: unknown key 'defualt', did you mean 'default'?",
        ),
        (b"# \n# \xff", ":2: not UTF-8"),
    ];
    for (text, expected) in table {
        let (dir, library) = own(&[("mine.toml", text)]);
        let error = library.load("mine").expect_err("refused").to_string();
        let file = dir.path().join("mine.toml").display().to_string();
        assert!(error.starts_with(&format!("{file}{expected}")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn ten_lines_are_a_preset() {
    let text = br"
        match_program = ['my-agent']
        ready = { line = '^connected$' }
        [detect.log]
        start = 'job (?P<id>\d+) started'
        finish = 'job (?P<id>\d+) ended'
        [drain]
        method = 'wait-idle'
    ";
    let (_dir, library) = own(&[("mine.toml", text)]);
    let preset = library.load("mine").expect("valid");
    assert!(Stream::BOTH.into_iter().all(|stream| preset.reads(stream)));
    assert_eq!(preset.drain.method, DrainMethod::WaitIdle);
    assert_eq!(preset.drain.step, Step::Signal(Signal::SIGINT));
    let launch = launch(preset, &["my-agent"]);
    assert!(launch.sees_ready());
    let expected = [DetectorKind::Edges, DetectorKind::AdvisoryEdges];
    assert_eq!(kinds(&launch), expected);
    assert_eq!((launch.slots, launch.slots_known), (1, false));
}

#[test]
fn generic_sees_hooks_and_children_and_drains_with_int() {
    let (_dir, library) = own(&[]);
    let preset = library.load("generic").expect("valid");
    assert!(!preset.reads(Stream::Stderr));
    assert_eq!(preset.drain.step, Step::Signal(Signal::SIGINT));
    let launch = launch(preset, &["agent"]);
    let expected = [DetectorKind::AdvisoryLevel, DetectorKind::Edges];
    assert_eq!(kinds(&launch), expected);
    assert_eq!(launch.hook().0, 1);
    assert!(!launch.sees_ready());
}

#[test]
fn buildkite_is_read_off_its_arguments() {
    let (_dir, library) = own(&[]);
    let preset = library.load("buildkite").expect("valid");
    let with = |args: &[&str]| {
        let mut argv = vec!["buildkite-agent", "start"];
        argv.extend(args);
        launch(preset.clone(), &argv)
    };
    assert_eq!((with(&["--spawn=8"]).slots, with(&[]).slots), (8, 1));
    let cpus = std::thread::available_parallelism().expect("known").get() as u32;
    let per_cpu = with(&["--spawn-per-cpu", "2"]);
    assert_eq!((per_cpu.slots, per_cpu.slots_known), (2 * cpus, true));

    let urls = |launch: &Launch| -> Vec<_> {
        let found = launch.detectors().into_iter();
        found
            .filter_map(|one| match one.watch {
                Watch::Http(_, target) => Some((target.url, one.kind)),
                _ => None,
            })
            .collect()
    };
    let own = "http://127.0.0.1:{port}/status.json".to_owned();
    assert_eq!(urls(&with(&[])), [(own, DetectorKind::Census)]);
    let with_page = with(&["--health-check-addr", "127.0.0.1:8080"]);
    let url = "http://127.0.0.1:8080/status.json".to_owned();
    assert_eq!(urls(&with_page), [(url, DetectorKind::Census)]);
    assert_eq!(with_page.hook().0, with_page.detectors().len() - 1);

    assert_eq!(preset.drain.step, Step::Signal(Signal::SIGTERM));
    assert_eq!(with_page.cancel_allow(), Some(Duration::from_secs(12)));
    let cancel = preset.cancel.expect("it has one");
    assert_eq!(cancel.step, Step::Signal(Signal::SIGTERM));
}
