use super::*;
use crate::lifecycle::{DetectorKind, DrainMethod};
use nix::sys::signal::Signal;
use std::time::Duration;

fn own(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Library) {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("written");
    }
    let library = Library::at(dir.path()).expect("listed");
    (dir, library)
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
        assert!(preset.default_slots() >= 1);
    }
}

#[test]
fn every_built_in_preset_can_be_passed_over_unread() {
    for (name, text) in BUILT_IN {
        let table: toml::Table = toml::from_str(text).expect("valid");
        let names = table.get("match_program").and_then(toml::Value::as_array);
        let names = names.into_iter().flatten().map(|name| name.as_str());
        let names: Option<Vec<&str>> = names.collect();
        let found: Vec<&str> = program::names(text).collect();
        let hint = "write match_program on one line, in single quotes";
        assert_eq!(Some(found), names, "{name}: {hint}");
    }
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
        let preset = library.for_program(OsStr::new(program)).expect("valid");
        assert_eq!(preset.name, name, "{program}");
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
    assert_eq!(library.names(), ["buildkite", "generic"]);
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
    assert!(error.contains("use one of: buildkite, generic"), "{error}");
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
    assert!(preset.sees_ready());
    assert!(Stream::BOTH.into_iter().all(|stream| preset.reads(stream)));
    assert_eq!(preset.drain.method, DrainMethod::WaitIdle);
    assert_eq!(preset.drain.step, Step::Signal(Signal::SIGINT));
    let kinds: Vec<_> = preset.detectors(&[]).iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [DetectorKind::Edges, DetectorKind::AdvisoryEdges]);
    assert_eq!((preset.slots(&[]), preset.default_slots()), (None, 1));
}

#[test]
fn generic_sees_hooks_and_children_and_drains_with_int() {
    let (_dir, library) = own(&[]);
    let preset = library.load("generic").expect("valid");
    let kinds: Vec<_> = preset.detectors(&[]).iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [DetectorKind::AdvisoryLevel, DetectorKind::Edges]);
    assert_eq!(preset.hook(&[]).0, 1);
    assert!(!preset.sees_ready() && !preset.reads(Stream::Stderr));
    assert_eq!(preset.drain.step, Step::Signal(Signal::SIGINT));
}

#[test]
fn buildkite_is_read_off_its_arguments() {
    let (_dir, library) = own(&[]);
    let preset = library.load("buildkite").expect("valid");
    assert_eq!(
        preset.slots(&words(&["buildkite-agent", "start", "--spawn=8"])),
        Some(8)
    );
    let cpus = std::thread::available_parallelism().expect("known").get() as u32;
    let per_cpu = words(&["buildkite-agent", "start", "--spawn-per-cpu", "2"]);
    assert_eq!(preset.slots(&per_cpu), Some(2 * cpus));

    let plain = preset.detectors(&words(&["buildkite-agent", "start"]));
    assert!(
        plain
            .iter()
            .all(|one| !matches!(one.watch, Watch::Http(..)))
    );
    let argv = words(&[
        "buildkite-agent",
        "start",
        "--health-check-addr",
        "127.0.0.1:8080",
    ]);
    let with_page = preset.detectors(&argv);
    let urls: Vec<_> = with_page
        .iter()
        .filter_map(|one| match &one.watch {
            Watch::Http(_, url) => Some((url.as_str(), one.kind)),
            _ => None,
        })
        .collect();
    assert_eq!(
        urls,
        [(
            "http://127.0.0.1:8080/status.json",
            DetectorKind::AdvisoryLevel
        )]
    );
    assert_eq!(preset.hook(&argv).0, with_page.len() - 1);

    assert_eq!(preset.drain.step, Step::Signal(Signal::SIGTERM));
    let cancel = preset.cancel.expect("it has one");
    assert_eq!(
        (cancel.step, cancel.allow),
        (Step::Signal(Signal::SIGTERM), Duration::from_secs(12))
    );
}
