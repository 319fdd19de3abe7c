use super::super::{Cordon, Credentials, LineSource, Step, Watch};
use super::*;
use crate::agent::Stream;
use crate::lifecycle::DetectorKind;

fn launch_with(preset: &str, line: &str, variables: &[(&str, &str)], slots: Option<u32>) -> Launch {
    let preset: Preset = toml::from_str(preset).expect("good");
    let words: Vec<_> = line.split(' ').map(OsString::from).collect();
    let variables = variables.iter();
    let world = World {
        variables: variables.map(|(k, v)| (k.into(), v.into())).collect(),
        clockout: Some("/bin/clockout".into()),
        cwd: "/work".into(),
    };
    Launch::in_world(Arc::new(preset), &words, slots, world)
}

fn launch(preset: &str, line: &str) -> Launch {
    launch_with(preset, line, &[], None)
}

#[test]
fn one_slot_makes_it_a_single_job_agent_unless_its_user_says_no() {
    let preset = "[slots]\nfrom = [{ flag = '--n' }]\n[single_job]\nwhen = [{ env = 'ONE' }]\n\
                  add_args = [['--one-job']]\n[drain]\nmethod = 'wait-idle'";
    use DrainMethod::*;
    for (line, variables, slots, method, count) in [
        ("agent", vec![], None, SingleJob, 1),
        ("agent --n 3", vec![], None, WaitIdle, 3),
        ("agent --n 3", vec![("ONE", "true")], None, SingleJob, 1),
        ("agent", vec![("ONE", "false")], None, WaitIdle, 1),
        ("agent", vec![], Some(2), WaitIdle, 2),
        ("agent --n 3", vec![], Some(1), SingleJob, 1),
        // Its own command would be replaced.
        ("docker run acme/agent", vec![], None, WaitIdle, 1),
        ("docker run acme/agent start", vec![], None, SingleJob, 1),
    ] {
        let launch = launch_with(preset, line, &variables, slots);
        let found = (launch.drain_method(), launch.slots);
        assert_eq!(found, (method, count), "{line} {variables:?} {slots:?}");
        let told = launch.argv.iter().any(|word| word == "--one-job");
        assert_eq!(told, method == SingleJob && variables.is_empty(), "{line}");
    }
}

#[test]
fn a_configuration_file_tells_slots_and_times() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.toml");
    let text = "concurrent = 7\nlisten = \":9252\"\nshutdown_timeout = 30\n";
    std::fs::write(&path, text).expect("written");
    let preset = "[config]\nfrom = [{ flag = '--config' }]\n\
        [slots]\nfrom = [{ config = '(?m)^concurrent = (\\d+)' }]\n\
        [[detect.http]]\naddress.from = [{ config = '(?m)^listen = \"(.*)\"' }]\npath = '/m'\n\
        running.gauge = 'jobs'\nends_jobs = true\n\
        [cancel]\nsignal = 'TERM'\n\
        allow = { from = [{ config = '(?m)^shutdown_timeout = (\\d+)' }], default = '20s', plus = '5s' }";
    let line = format!("agent --config {}", path.display());
    let told = launch(preset, &line);
    assert_eq!((told.slots, told.slots_known), (7, true));
    assert_eq!(told.cancel_allow(), Some(Duration::from_secs(35)));
    let detector = &told.detectors()[0];
    assert_eq!(detector.kind, DetectorKind::Census);
    assert!(matches!(&detector.watch, Watch::Http(_, at) if at.url == "http://127.0.0.1:9252/m"));

    // Whatever is wrong with the file, the defaults hold.
    for line in [
        "agent --config /dev/zero",
        "agent --config /nonexistent",
        "agent --config /",
        "agent",
        "docker run acme/agent --config /etc/passwd",
    ] {
        let untold = launch(preset, line);
        assert_eq!((untold.slots, untold.slots_known), (1, false), "{line}");
        assert_eq!(
            untold.cancel_allow(),
            Some(Duration::from_secs(25)),
            "{line}"
        );
        assert_eq!(untold.detectors().len(), 1, "{line}");
        assert_eq!(untold.hook().0, 0, "{line}");
    }
}

#[test]
fn steps_end_the_jobs_that_another_line_begins() {
    let preset = "[[detect.log]]\nstart = 'job'\n\
        [[detect.log]]\nstart = 'step'\nfinish = 'done'\nlinger = '9s'\nends_jobs = true";
    let told = launch(preset, "agent");
    let kinds: Vec<_> = told.detectors().iter().map(|found| found.kind).collect();
    use DetectorKind::*;
    assert_eq!(kinds, [Edges, Census, AdvisoryEdges]);
    assert_eq!(told.linger(), None, "each job line is a job of its own");
}

#[test]
fn places_stand_for_what_is_known_of_the_agent() {
    let preset = "[config]\nfrom = [{ positional = 2 }]\nappend = '/agent.cfg'\n\
        [drain]\ncommand = ['{dir}/stop', '{pid}', '{config}', '{config_dir}', '{clockout}', '{index}']";
    let told = launch(preset, "./bin/agent start --quiet base");
    let Step::Command(words) = &told.preset.drain.step else {
        panic!("a command");
    };
    let words = told.words(words, 99).expect("all known");
    let expected = "/work/bin/stop 99 /work/base/agent.cfg /work/base /bin/clockout 1";
    let expected: Vec<_> = expected.split(' ').map(OsString::from).collect();
    assert_eq!(words, expected);
}

#[test]
fn a_port_is_wanted_where_it_would_be_used() {
    let preset = "[env_default]\nLISTEN = '127.0.0.1:{port}'\n\
        [[detect.http]]\naddress.from = [{ env = 'LISTEN' }]\npath = '/'\nrunning.gauge = 'j'";
    let sketch = launch(preset, "agent");
    assert!(sketch.wants_port());
    let seated = sketch.seated(Seat {
        port: Some(81),
        ..Seat::default()
    });
    assert!(!seated.wants_port());
    let detectors = seated.detectors();
    assert!(matches!(&detectors[0].watch, Watch::Http(_, at) if at.url == "http://127.0.0.1:81/"));
    assert!(!launch_with(preset, "agent", &[("LISTEN", ":80")], None).wants_port());
    assert!(launch("", "agent --port {port}").wants_port());
}

#[test]
fn a_detector_without_its_secret_is_left_out() {
    let preset = "[[detect.http]]\naddress.default = ':3000'\npath = '/'\nrunning.keys = ''\n\
                  basic_auth = ['admin', '${PASSWORD}']";
    let without = launch(preset, "agent");
    assert_eq!(without.detectors().len(), 1);
    let why = &without.left_out()[0].why;
    assert_eq!(why, "${PASSWORD} is not known");
    let with = launch_with(preset, "agent", &[("PASSWORD", "s3cret")], None);
    assert_eq!((with.detectors().len(), with.left_out()), (2, vec![]));
    assert!(!format!("{:?}", with.detectors()).contains("s3cret"));
}

#[test]
fn all_agents_of_a_machine_have_the_same_kinds_of_detectors() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("1"), "listen :1").expect("written");
    let preset = "[config]\nfrom = [{ flag = '-c' }]\n[[detect.http]]\n\
        address.from = [{ config = 'listen (.*)' }]\npath = '/'\nrunning.gauge = 'j'";
    let first = launch(
        preset,
        &format!("agent -c {}/{{index}}", dir.path().display()),
    );
    assert!(matches!(first.detectors()[0].watch, Watch::Http(..)));
    let second = first.seated(Seat {
        index: AgentIndex(2),
        ..Seat::default()
    });
    assert!(matches!(second.detectors()[0].watch, Watch::Nothing));
    let kinds = |launch: &Launch| {
        launch
            .detectors()
            .iter()
            .map(|d| d.kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&first), kinds(&second));
    assert_eq!(first.hook(), second.hook());
}

#[test]
fn what_is_out_of_sight_in_a_container_is_left_out() {
    let preset = "ready = { file = '/var/log/agent', line = 'up' }\n\
        [[detect.http]]\naddress.default = ':3000'\npath = '/x'\nrunning.gauge = 'j'\n\
        [[detect.log]]\nfile = '/var/log/agent'\nstart = 'a'\nfinish = 'b'\n\
        [detect.child]\n[detect.process_env]\nname = 'X'";
    let used = |line: &str| launch(preset, line).detectors().len();
    assert_eq!(used("agent"), 5);
    assert_eq!(used("docker run acme/agent"), 1);
    assert_eq!(used("docker run --network host acme/agent"), 2);
    assert_eq!(used("docker run -p 3001:3000 acme/agent"), 2);
    assert!(launch(preset, "agent").sees_ready());
    assert!(!launch(preset, "docker run acme/agent").sees_ready());
    assert_eq!(
        launch(preset, "docker run acme/agent").files(),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn lines_mean_something_where_they_are_read() {
    let preset = "ready = [{ line = 'any' }, { stream = 'stdout', line = 'out' }]\n\
        [[detect.log]]\nfile = '{dir}/log'\nstart = 'a'\nfinish = 'b'\n\
        [[detect.log]]\nstart = 'a'\nfinish = 'b'\n\
        [drain]\nmethod = 'wait-idle'\nneeds_line = 'armed'\notherwise = { signal = 'TERM' }\n\
        window = { line = ['w1', 'w2'], lasts = '1s', patience = '5s' }";
    let launch = launch(preset, "/opt/agent");
    let counts = |source: &LineSource| {
        let lines = launch.lines(source);
        let logs = lines.logs.iter().map(|(at, _)| at.0).collect::<Vec<_>>();
        (
            lines.ready.len(),
            lines.window.len(),
            lines.armed.len(),
            logs,
        )
    };
    assert_eq!(
        counts(&LineSource::Stream(Stream::Stdout)),
        (2, 2, 1, vec![1])
    );
    assert_eq!(
        counts(&LineSource::Stream(Stream::Stderr)),
        (1, 2, 1, vec![1])
    );
    let files = launch.files();
    assert_eq!(files, [PathBuf::from("/opt/log")]);
    assert_eq!(
        counts(&LineSource::File("/opt/log".into())),
        (1, 2, 1, vec![0])
    );
}

#[test]
fn an_agent_that_lacks_something_is_refused_in_a_line() {
    let preset = "[config]\nfrom = [{ flag = '-c' }]\n\
        [[require]]\nconfig = '(?m)^grace: [1-9]'\nunless_arg = '^--once$'\n\
        otherwise = 'set `grace: 3h` in {config}'\n\
        [[require]]\narg = '^run$'\notherwise = 'say run'\n\
        [[require]]\nenv = 'HOME'\nunless_config = 'home:'\notherwise = 'set HOME'";
    let dir = tempfile::tempdir().expect("a directory");
    let good = dir.path().join("good").display().to_string();
    std::fs::write(&good, "grace: 3h\n").expect("written");
    let at_home = dir.path().join("home").display().to_string();
    std::fs::write(&at_home, "grace: 3h\nhome: /\n").expect("written");
    let home = [("HOME", "/root")];
    for (line, variables, expected) in [
        (format!("agent run -c {good}"), &home[..], None),
        ("agent run --once".to_owned(), &home, None),
        (
            format!("agent run -c {good}"),
            &[],
            Some("preset : set HOME"),
        ),
        (format!("agent run -c {at_home}"), &[], None),
        (format!("agent -c {good}"), &home, Some("preset : say run")),
        (
            "agent run -c /x".to_owned(),
            &home,
            Some("preset : set `grace: 3h` in /x (it cannot be read: there is no such file)"),
        ),
        (
            "agent run".to_owned(),
            &home,
            Some("preset : set `grace: 3h` in the agent's configuration file"),
        ),
        // The file in the container is not to be seen.
        ("docker run -e HOME=/ x run".to_owned(), &[], None),
        // So is the image's own command.
        ("docker run -e HOME=/ x".to_owned(), &[], None),
        (
            "docker run -e HOME=/ x start".to_owned(),
            &[],
            Some("preset : say run"),
        ),
        (
            "docker run -d x run".to_owned(),
            &[],
            Some("a detached container leaves nothing to supervise: leave -d out"),
        ),
    ] {
        let refusal = launch_with(preset, &line, variables, None).refusal();
        assert_eq!(refusal.as_deref(), expected, "{line}");
    }
}

#[test]
fn what_must_be_seen_is_refused_in_a_container_but_not_where_it_is_not_needed() {
    let preset = "[[require]]\nconfig = 'metrics'\nunless_arg = '^--once$'\n\
        must_be_seen = true\notherwise = 'say --once'";
    let refusal = |line| launch(preset, line).refusal();
    assert_eq!(
        refusal("docker run x daemon").as_deref(),
        Some("preset : say --once")
    );
    assert_eq!(refusal("docker run x daemon --once"), None);
}

#[test]
fn what_is_kept_from_the_agent_can_be_required_and_asked_with() {
    let preset = "[[require]]\nenv = 'CLOCKOUT_PAGE'\nvalue = '^http'\n\
        otherwise = 'set CLOCKOUT_PAGE'\n\
        [[detect.http]]\naddress.default = '${CLOCKOUT_PAGE}'\npath = '/json'\n\
        running.number = '/busy'";
    let page = |address| launch_with(preset, "agent", &[("CLOCKOUT_PAGE", address)], None);
    for wrong in ["", "ci.example"] {
        assert_eq!(
            page(wrong).refusal().as_deref(),
            Some("preset : set CLOCKOUT_PAGE")
        );
    }
    let with = page("http://ci.example/node/1/");
    assert_eq!(with.refusal(), None);
    let Some(Watch::Http(_, target)) = with.detectors().into_iter().next().map(|d| d.watch) else {
        panic!("a page");
    };
    assert_eq!(target.url, "http://ci.example/node/1/json");
    let secure = page("https://ci.example/node/1").left_out();
    assert!(secure[0].why.contains("only http://"), "{secure:?}");
}

#[test]
fn a_step_that_cannot_be_done_is_refused_and_a_cordon_is_left_out() {
    let step = "[cancel]\ncommand = ['stop', '${TOKEN}', '{pid}']";
    let refusal = launch(step, "agent").refusal();
    assert_eq!(
        refusal.as_deref(),
        Some("preset : [cancel] command: ${TOKEN} is not known")
    );
    assert_eq!(
        launch_with(step, "agent", &[("TOKEN", "t")], None).refusal(),
        None
    );

    let cordon = "[drain]\nmethod = 'wait-idle'\n[drain.cordon.http]\nmethod = 'POST'\n\
                  url = 'http://ci/{index}'\nbearer = '${TOKEN}'\njson = { on = true }";
    assert!(!launch(cordon, "agent").has_cordon());
    let with = launch_with(cordon, "agent", &[("TOKEN", "s3cret")], None);
    assert!(with.has_cordon());
    let Some(Cordon::Http(call)) = &with.preset.drain.cordon else {
        panic!("by http");
    };
    let call = with.call(call).expect("all known");
    assert_eq!(
        (call.url.as_str(), call.method.as_str()),
        ("http://ci/1", "POST")
    );
    let accepts = |status| call.accepts(reqwest::StatusCode::from_u16(status).expect("valid"));
    assert_eq!([accepts(204), accepts(302)], [true, false]);
    assert_eq!(call.auth, Some(Credentials::Bearer("s3cret".to_owned())));
    assert!(!format!("{call:?}").contains("s3cret"));
}

#[test]
fn what_gitea_s_runner_must_have_is_found_however_it_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.yaml");
    let (timeout, metrics) = ("`runner.shutdown_timeout: 3h`", "`metrics.enabled: true`");
    let on = "runner:\n  shutdown_timeout: 3h\n";
    let table: [(&str, &str, Option<&str>, Option<&str>); 12] = [
        ("", "", Some(timeout), None),
        ("runner:\n  shutdown_timeout: 0s\n", "", Some(timeout), None),
        (
            "runner:\n  #shutdown_timeout: 3h\n",
            "",
            Some(timeout),
            None,
        ),
        ("shutdown_timeout: 0s # 3h\n", "", Some(timeout), None),
        (on, "", Some(metrics), None),
        (on, "--once", None, None),
        (
            "metrics:\n  enabled: true\n  addr: \"127.0.0.1:9101\"\nrunner:\n  shutdown_timeout: 1h30m\n",
            "",
            None,
            Some("127.0.0.1:9101"),
        ),
        (
            "runner:\r\n    shutdown_timeout: '90s'\r\nmetrics: # page\r\n\r\n    # where\r\n    addr: :9102 # all\r\n    enabled: True\r\n",
            "",
            None,
            Some("127.0.0.1:9102"),
        ),
        // Of another section, switched off, without an address that we could read.
        (
            "runner:\n  shutdown_timeout: 3h\ncache:\n  enabled: true\n  addr: :1\nmetrics:\n",
            "",
            Some(metrics),
            None,
        ),
        (
            "runner:\n  shutdown_timeout: 3h\nmetrics:\n  enabled: false\n  addr: :1\n",
            "",
            Some(metrics),
            None,
        ),
        (
            "runner:\n  shutdown_timeout: 3h\nmetrics:\n  addr: :1\ncache:\n  enabled: true\n",
            "",
            Some(metrics),
            None,
        ),
        (
            "runner:\n  shutdown_timeout: 3h\nmetrics:\n  enabled: true\n",
            "",
            Some(metrics),
            None,
        ),
    ];
    for (text, more, refused, address) in table {
        std::fs::write(&path, text).expect("written");
        let line = format!("gitea-runner daemon -c {} {more}", path.display());
        let launch = launch(include_str!("gitea.toml"), line.trim_end());
        let refusal = launch.refusal();
        let as_expected = match (&refusal, refused) {
            (Some(said), Some(part)) => said.contains(part),
            (None, None) => true,
            _ => false,
        };
        assert!(as_expected, "{text}: {refusal:?}");
        let detectors = launch.detectors();
        let url = detectors.iter().find_map(|one| match &one.watch {
            Watch::Http(_, at) => Some(at.url.clone()),
            _ => None,
        });
        let expected = address.map(|at| format!("http://{at}/metrics"));
        assert_eq!(url, expected, "{text}");
    }
}
