//! A machine on which all is well, and what is said when one thing is not.

mod group;
mod hooks;
mod host;
mod metadata;
mod permissions;

use std::ffi::OsString;
use std::time::Duration;

use super::examine;
use crate::cli::RunOptions;
use crate::config::Config;
use crate::doctor::facts::{
    Allowed, Answers, Asked, Aws, Facts, Group, Host, Member, Metadata, Polkit, PowerOff, Shutdown,
    Silence, SocketPlace, Tags, Unknown,
};
use crate::doctor::finding::{Finding, Level};
use crate::iam::{Action, Features};
use crate::instance::notices::{Hook, Transition};

const HOUR: Duration = Duration::from_secs(3600);

fn hook(name: &str, transition: Transition) -> Hook {
    Hook {
        name: name.to_owned(),
        transition,
        heartbeat_timeout: Duration::from_secs(300),
        global_timeout: 48 * HOUR,
        has_target: false,
        abandons: false,
    }
}

fn well(options: &RunOptions) -> Facts {
    let permissions = Features::of(options).needs().into_iter();
    Facts {
        metadata: Metadata::Answers(Box::new(Answers {
            instance: "i-1".to_owned(),
            region: "eu-west-1".to_owned(),
            zone: Ok("eu-west-1a".to_owned()),
            version_1: Ok(false),
            is_spot: Ok(true),
            tags: Ok(Tags::Group("ci".to_owned())),
            role: Ok(Some("ci-agent".to_owned())),
        })),
        aws: Aws::Asked(Box::new(Asked {
            membership: Ok(Some("ci".to_owned())),
            group: Ok(Group {
                min: 0,
                desired: 3,
                max: 10,
                zones: 3,
                suspended: vec!["AZRebalance".to_owned()],
                member: Some(Member {
                    state: "InService".to_owned(),
                    is_protected: false,
                }),
                ..Group::default()
            }),
            hooks: Ok(vec![hook("clockout-drain", Transition::Terminating)]),
            shutdown: Ok(Shutdown::Terminate),
            termination_protected: Ok(false),
            hop_limit: Ok(2),
            permissions: permissions
                .map(|need| (need.action, Allowed::Yes))
                .collect(),
        })),
        host: Host {
            is_container: false,
            is_root: true,
            power_off: PowerOff::Systemd(Polkit::NotAsked),
            inhibitors: Ok(Vec::new()),
            has_timers: true,
            credentials: Vec::new(),
            state_dir: Ok(()),
            socket: SocketPlace::Free,
            user: Some(("ci".to_owned(), Ok(()))),
            missing_hooks: Vec::new(),
            agent: None,
        },
    }
}

/// As on a command line.
fn options(line: &str) -> RunOptions {
    let mut options = RunOptions::default();
    for word in line.split_whitespace() {
        let (name, value) = word.split_once('=').expect("name=value");
        match name {
            "retire" => options.retire = Some(value.parse().expect("a mode")),
            "protect" => options.protect = Some(value.parse().expect("a kind")),
            "on-rebalance" => options.on_rebalance = Some(value.parse().expect("a choice")),
            "idle-timeout" => options.idle_timeout = Some(value.parse().expect("a limit")),
            "drain-timeout" => options.drain_timeout = Some(value.parse().expect("a limit")),
            "boot-timeout" => options.boot_timeout = Some(value.parse().expect("a limit")),
            "terminate-hook" => options.terminate_hook = Some(value.to_owned()),
            "launch-hook" => options.launch_hook = Some(value.to_owned()),
            "detach-early" => options.detach_early = Some(value == "true"),
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn found(line: &str, change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let options = options(line);
    let mut facts = well(&options);
    change(&mut facts);
    let config = Config::new(options, Vec::<OsString>::new()).expect("good options");
    examine(&facts, &config)
}

/// The one finding that is not good.
#[track_caller]
fn bad(line: &str, change: impl FnOnce(&mut Facts)) -> (Level, &'static str, String) {
    let mut bad = found(line, change);
    bad.retain(|finding| finding.level != Level::Ok);
    assert_eq!(bad.len(), 1, "{bad:#?}");
    let finding = bad.remove(0);
    (finding.level, finding.topic, finding.to_string())
}

#[track_caller]
fn expect(found: (Level, &'static str, String), level: Level, topic: &str, words: &[&str]) {
    let (is, about, line) = found;
    assert_eq!((is, about), (level, topic), "{line}");
    for word in words {
        assert!(line.contains(word), "'{word}' in: {line}");
    }
}

#[track_caller]
fn all_good(line: &str, change: impl FnOnce(&mut Facts), words: &[&str]) {
    let found = found(line, change);
    let bad: Vec<_> = found.iter().filter(|one| one.level != Level::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let lines = found.iter().map(Finding::to_string).collect::<Vec<_>>();
    let lines = lines.join("\n");
    for word in words {
        assert!(lines.contains(word), "'{word}' in:\n{lines}");
    }
}

fn asked(facts: &mut Facts) -> &mut Asked {
    match &mut facts.aws {
        Aws::Asked(asked) => asked,
        _ => panic!("the good machine has asked"),
    }
}

fn group(facts: &mut Facts) -> &mut Group {
    asked(facts)
        .group
        .as_mut()
        .expect("the good machine has one")
}

fn answers(facts: &mut Facts) -> &mut Answers {
    match &mut facts.metadata {
        Metadata::Answers(answers) => answers,
        _ => panic!("the good machine has answers"),
    }
}

fn unknown() -> Unknown {
    Unknown::because("AWS answered 400 Throttling")
}

/// Of the findings of this level.
fn found_topics(line: &str, change: impl FnOnce(&mut Facts), level: Level) -> Vec<&'static str> {
    let mut findings = found(line, change);
    findings.retain(|finding| finding.level == level);
    findings.iter().map(|finding| finding.topic).collect()
}

use Level::{Error, Warning};

#[test]
fn a_machine_on_which_all_is_well_says_so_in_order() {
    let findings = found("", |_| ());
    let mut topics: Vec<_> = findings.iter().map(|finding| finding.topic).collect();
    topics.dedup();
    assert_eq!(
        topics,
        [
            "imds",
            "instance",
            "credentials",
            "tags",
            "group",
            "az-rebalance",
            "hooks",
            "permission",
            "shutdown",
            "power-off",
            "dead-man",
            "state-dir",
            "socket",
            "user"
        ]
    );
    all_good(
        "",
        |_| (),
        &[
            "reachable, hop limit 2",
            "i-1 in eu-west-1a, spot",
            "ci: min 0, desired 3, max 10; this machine is InService",
            "termination hook clockout-drain (by its name): kept waiting for at most 8h20m, longer \
             than --drain-timeout 1h",
            "ec2:TerminateInstances is allowed",
        ],
    );
}

#[test]
fn what_is_not_known_is_never_good() {
    type Change = fn(&mut Facts);
    let changes: [(&str, Change); 9] = [
        ("group", |facts| asked(facts).membership = Err(unknown())),
        ("group", |facts| asked(facts).group = Err(unknown())),
        ("hooks", |facts| asked(facts).hooks = Err(unknown())),
        ("shutdown", |facts| asked(facts).shutdown = Err(unknown())),
        ("shutdown", |facts| {
            asked(facts).termination_protected = Err(unknown())
        }),
        ("imds", |facts| answers(facts).version_1 = Err(unknown())),
        ("tags", |facts| answers(facts).tags = Err(unknown())),
        ("credentials", |facts| answers(facts).role = Err(unknown())),
        ("inhibitors", |facts| facts.host.inhibitors = Err(unknown())),
    ];
    for (topic, change) in changes {
        let words = ["not checked, AWS answered 400 Throttling"];
        expect(bad("", change), Warning, topic, &words);
    }
    let found = bad("", |facts| {
        asked(facts).permissions[0].1 = Allowed::Unknown("AWS did not answer in time".to_owned());
    });
    let words = ["ec2:TerminateInstances: not checked, AWS did not answer in time"];
    expect(found, Warning, "permission", &words);
    let found = bad("", |facts| {
        asked(facts).shutdown = Err(Unknown::Denied(Action::DescribeInstanceAttribute));
    });
    let words = [
        "ec2:DescribeInstanceAttribute is denied",
        "clockout policy --for-doctor",
    ];
    expect(found, Warning, "shutdown", &words);
}
