use super::super::launch::{Launch, Seat};
use super::super::view::World;
use super::*;
use crate::lifecycle::AgentIndex;
use std::path::PathBuf;
use std::sync::Arc;

const PRESET: &str = "
    match_program = ['agent']
    add_args = [
        ['--no-color'],
        { args = ['--listen', ':{port}'], unless = [{ env = 'LISTEN' }] },
        ['--token=${TOKEN}'],
    ]
    [env]
    DEBUG = 'true'
    SECRET = 'x${TOKEN}'
    [env_default]
    HEALTH = '127.0.0.1:{port}'
";

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn launch(preset: &str, line: &str, variables: &[(&str, &str)]) -> Launch {
    let preset: Preset = toml::from_str(preset).expect("good");
    let variables = variables.iter();
    let world = World {
        variables: variables.map(|(k, v)| (k.into(), v.into())).collect(),
        clockout: Some("/bin/clockout".into()),
        cwd: "/work".into(),
    };
    let first = Launch::in_world(Arc::new(preset), &words(line), None, world);
    first.seated(Seat {
        index: AgentIndex(2),
        port: Some(4711),
        cidfile: Some(PathBuf::from("/state/cid")),
    })
}

/// Its command line, and its environment.
fn dressed(line: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let launch = launch(PRESET, line, variables);
    let env = launch.env.iter();
    let env = env.map(|(k, v)| format!("{}={}", k.display(), v.display()));
    let argv: Vec<_> = launch
        .argv
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    (argv.join(" "), env.collect())
}

#[test]
fn arguments_and_variables_are_added_where_they_are_missing() {
    let (argv, env) = dressed("/opt/agent start --name x-{index}", &[]);
    assert_eq!(
        argv,
        "/opt/agent start --name x-2 --no-color --listen :4711"
    );
    // What uses a variable that is not set is left out.
    assert_eq!(env, ["HEALTH=127.0.0.1:4711", "DEBUG=true"]);

    let set = [("TOKEN", "t"), ("HEALTH", "mine"), ("DEBUG", "no")];
    let (argv, env) = dressed("agent -no-color --listen=:1", &set);
    assert_eq!(argv, "agent -no-color --listen=:1 --token=t");
    assert_eq!(env, ["DEBUG=true", "SECRET=xt"]);
}

#[test]
fn a_variable_is_not_given_where_it_is_told_otherwise_or_makes_no_sense() {
    let preset = "[env_default]\n\
        PREFIX = { value = '{clockout} job exec', unless = [{ flag = '--prefix' }] }";
    let env = |line| launch(preset, line, &[]).env;
    let prefix = ("PREFIX".into(), "/bin/clockout job exec".into());
    assert_eq!(env("agent"), [prefix]);
    assert_eq!(env("agent --prefix=sudo"), []);
    // Our program is not in there.
    let inside = launch(preset, "docker run acme/img agent", &[]);
    assert!(!inside.argv.contains(&"-e".into()), "{:?}", inside.argv);
}

#[test]
fn an_argument_that_a_variable_stands_for_is_not_added() {
    let (argv, _) = dressed("agent", &[("LISTEN", ":2")]);
    assert_eq!(argv, "agent --no-color");
}

#[test]
fn a_variable_that_another_setting_stands_for_is_not_given() {
    let preset =
        "[env_default]\nPORT = { value = '1', unless = [{ flag = '--port' }, { env = 'P' }] }";
    for (line, variables, given) in [
        ("agent", &[][..], true),
        ("agent --port 2", &[], false),
        ("agent", &[("P", "2")], false),
        ("agent", &[("PORT", "2")], false),
    ] {
        let launch = launch(preset, line, variables);
        assert_eq!(!launch.env.is_empty(), given, "{line} {variables:?}");
    }
}

#[test]
fn nothing_is_added_behind_two_dashes() {
    let (argv, _) = dressed("agent run -- sh --listen", &[]);
    assert_eq!(argv, "agent run --no-color --listen :4711 -- sh --listen");
}

#[test]
fn in_a_container_the_agent_inside_is_dressed() {
    let line = "docker run --rm -e DEBUG=false acme/img agent start";
    let (argv, env) = dressed(line, &[("HEALTH", "not the container's")]);
    assert_eq!(
        argv,
        "docker run --cidfile=/state/cid -e HEALTH=127.0.0.1:4711 --rm -e DEBUG=false \
         -e DEBUG=true acme/img agent start --no-color --listen :4711"
    );
    assert_eq!(env, Vec::<String>::new());
}

#[test]
fn what_the_client_was_told_stays() {
    let line = "podman run --cidfile /mine -e HEALTH=mine -e LISTEN -- acme/img x";
    let (argv, _) = dressed(line, &[("LISTEN", ":2")]);
    assert_eq!(
        argv,
        "podman run --cidfile /mine -e HEALTH=mine -e LISTEN -e DEBUG=true -- acme/img x \
         --no-color"
    );
    assert_eq!(
        launch(PRESET, line, &[]).cidfile(),
        Some(Path::new("/mine"))
    );
}

#[test]
fn an_image_keeps_its_own_command() {
    let (argv, _) = dressed("docker run acme/img", &[]);
    let expected =
        "docker run --cidfile=/state/cid -e HEALTH=127.0.0.1:4711 -e DEBUG=true acme/img";
    assert_eq!(argv, expected);
}

#[test]
fn what_was_added_is_shown_without_secrets() {
    let launch = launch(PRESET, "agent", &[("TOKEN", "s3cret")]);
    let shown = launch.added.join(", ");
    assert!(
        shown.contains("--token=${TOKEN}") && shown.contains("SECRET=x${TOKEN}"),
        "{shown}"
    );
    assert!(!shown.contains("s3cret"), "{shown}");
}
