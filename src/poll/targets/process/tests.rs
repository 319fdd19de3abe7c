//! Instances here are a script that runs as long as a file of its slot is there.

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::poll::plan::GroupId;
use crate::poll::target::Spec as _;

const SCRIPT: &str = "#!/bin/sh
for alive; do :; done
: > \"$alive\"
while [ -e \"$alive\" ]; do sleep 0.02; done
";

/// Its instances end with it.
struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let dir = tempfile::tempdir().expect("a directory");
        let script = dir.path().join("script");
        std::fs::write(&script, SCRIPT).expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("our own file");
        Bed { dir }
    }

    fn spec(&self, more: &str) -> Spec {
        let dir = self.dir.path().display();
        let alive = self.dir.path().join("alive-{slot}");
        let alive = alive.display();
        toml::from_str(&format!(
            "name = 'g'\ncommand = ['agent', '{alive}']\ndir = '{dir}/groups'\n{more}"
        ))
        .expect("a good specification")
    }

    fn group(&self, more: &str) -> Group {
        let spec = self.spec(more);
        Group {
            dir: GroupDir::new(spec.group_dir()),
            spec,
            program: self.dir.path().join("script"),
        }
    }

    fn slot(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("groups/g/{number}"))
    }

    /// Once it runs.
    async fn end(&self, group: &Group, number: u32) {
        let alive = self.dir.path().join(format!("alive-{number}"));
        eventually("the instance runs", async || {
            std::fs::remove_file(&alive).is_ok()
        })
        .await;
        let name = format!("g-{number}-");
        let gone = async || !names(group).await.iter().any(|it| it.starts_with(&name));
        eventually("the instance is gone", gone).await;
    }

    /// A supervisor in that slot that says it is in this state.
    fn answers(&self, number: u32, state: &'static str) {
        let path = self.slot(number).join("socket");
        let listener = UnixListener::bind(path).expect("a socket");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = serde_json::json!({"ok": true, "status": {
                    "state": state, "since_seconds": 1, "why": "", "agents": [],
                    "jobs": {"started": 0, "running": 0, "passed": 0, "failed": 0,
                        "canceled": 0, "lost": 0, "unknown": 0},
                    "limits": {"max_jobs": "", "idle_timeout": "", "max_lifetime": "",
                        "boot_timeout": "", "drain_timeout": ""},
                    "retire": "exit", "uptime_seconds": 1}});
                let mut stream = stream.expect("somebody asks");
                let mut request = String::new();
                let mut reader = BufReader::new(&stream);
                reader.read_line(&mut request).expect("a request");
                // Who asked may have had no time to wait for it.
                let _ = writeln!(stream, "{answer}");
            }
        });
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

async fn names(group: &Group) -> Vec<String> {
    let supply = group.supply().await.expect("readable");
    let members = supply.members.into_iter();
    members.map(|it| it.member.as_str().to_owned()).collect()
}

fn order(count: u32, desired: u32, token: &str) -> Order {
    Order {
        group: GroupId::new("g"),
        count: NonZeroU32::new(count).expect("positive"),
        desired,
        token: token.to_owned(),
    }
}

fn accepted(names: &[&str]) -> Launched {
    Launched::Accepted {
        count: names.len() as u32,
        members: names.iter().map(|name| Member::new(*name)).collect(),
    }
}

fn is_conflict(told: &Launched) -> bool {
    matches!(told, Launched::Refused(trouble) if trouble.kind == TroubleKind::Conflict)
}

#[tokio::test]
async fn an_order_fills_the_first_free_slots() {
    let bed = Bed::new();
    let group = bed.group("");
    assert_eq!(names(&group).await, [""; 0]);
    assert!(!group.dir.path().exists(), "who only looks makes nothing");
    assert_eq!(
        group.launch(&order(2, 2, "a")).await,
        accepted(&["g-1-1", "g-2-1"])
    );
    assert_eq!(group.launch(&order(1, 3, "b")).await, accepted(&["g-3-1"]));
    bed.end(&group, 2).await;
    assert_eq!(group.launch(&order(1, 3, "c")).await, accepted(&["g-2-2"]));
    assert_eq!(names(&group).await, ["g-1-1", "g-2-2", "g-3-1"]);
}

#[tokio::test]
async fn a_repeated_order_starts_nothing_while_its_instance_runs() {
    let bed = Bed::new();
    let group = bed.group("");
    assert_eq!(group.launch(&order(1, 1, "a")).await, accepted(&["g-1-1"]));
    assert_eq!(group.launch(&order(1, 1, "a")).await, accepted(&["g-1-1"]));
    bed.end(&group, 1).await;
    assert_eq!(group.launch(&order(1, 1, "a")).await, accepted(&["g-1-2"]));
    assert_eq!(names(&group).await, ["g-1-2"]);
}

#[tokio::test]
async fn a_second_poller_sees_the_first_ones_instances_and_adds_none() {
    let bed = Bed::new();
    let (first, second) = (bed.group(""), bed.group(""));
    let (one, other) = (order(2, 2, "a"), order(2, 2, "b"));
    let told = futures_util::future::join(first.launch(&one), second.launch(&other)).await;
    let all = accepted(&["g-1-1", "g-2-1"]);
    assert!(
        (told.0 == all && is_conflict(&told.1)) || (told.1 == all && is_conflict(&told.0)),
        "{told:?}"
    );
    drop(first);
    assert_eq!(names(&second).await, ["g-1-1", "g-2-1"]);
}

#[tokio::test]
async fn those_that_finish_their_jobs_are_no_supply_and_count_against_max() {
    let bed = Bed::new();
    let group = bed.group("");
    group.launch(&order(2, 2, "a")).await;
    bed.answers(1, "draining");
    bed.answers(2, "busy");
    let supply = group.supply().await.expect("readable");
    let stages: Vec<_> = supply.members.iter().map(|it| it.stage).collect();
    assert_eq!(stages, [Stage::Away, Stage::Up]);
    assert_eq!((supply.desired, supply.max), (1, None));
    let bounded = bed.group("max = 2");
    assert_eq!(bounded.supply().await.expect("readable").max, Some(1));
    assert!(is_conflict(&bounded.launch(&order(1, 2, "b")).await));
    assert_eq!(group.launch(&order(1, 2, "b")).await, accepted(&["g-3-1"]));
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_and_may_be_tried_again() {
    let bed = Bed::new();
    let mut group = bed.group("");
    group.program = "/nonexistent/clockout".into();
    let told = group.launch(&order(1, 1, "a")).await;
    let Launched::Refused(trouble) = told else {
        panic!("{told:?}");
    };
    assert_eq!(trouble.kind, TroubleKind::Denied);
    assert!(trouble.message.contains("g-1-1"), "{}", trouble.message);
    let group = bed.group("");
    assert_eq!(group.launch(&order(1, 1, "a")).await, accepted(&["g-1-2"]));
}

#[tokio::test]
async fn an_instance_has_its_own_session_log_and_directory_and_none_of_our_secrets() {
    let bed = Bed::new();
    let script = bed.dir.path().join("script");
    let tell = "#!/bin/sh\nfor alive; do :; done\necho \"$*\"; env; pwd; cut -d' ' -f6 /proc/$$/stat; \
                echo $$; ls -l /proc/$$/fd; : > \"$alive\"\n";
    std::fs::write(script, tell).expect("written");
    let group =
        bed.group("pass_env = ['CARGO_PKG_NAME']\nrun = { max_jobs = 3, detach_early = true }");
    group.launch(&order(1, 1, "a")).await;
    let alive = bed.dir.path().join("alive-1");
    eventually("it told all", async || alive.exists()).await;
    let slot = bed.slot(1);
    let log = std::fs::read_to_string(slot.join("log")).expect("a log");
    let lines: Vec<_> = log.lines().collect();
    let place = slot.display();
    assert_eq!(
        lines[0],
        format!(
            "run --config=/dev/null --retire=exit --state-dir={place}/state --socket={place}/socket \
             --detach-early=true --max-jobs=3 -- agent {}",
            alive.display()
        )
    );
    assert!(log.contains("CARGO_PKG_NAME=clockout"), "{log}");
    assert!(!log.contains("CARGO_MANIFEST_DIR"), "{log}");
    let at = lines
        .iter()
        .position(|line| *line == format!("{place}/work"));
    let at = at.expect("its working directory");
    assert_eq!(lines[at + 1], lines[at + 2], "it leads its session");
    // Whoever runs the tests may leave descriptors to their children; of ours there are three.
    let open = |name: &str| log.matches(&format!(" -> {place}/{name}")).count();
    assert_eq!([open("lock"), open("log")], [1, 2], "{log}");
    assert!(!log.contains("groups/g/lock"), "{log}");
}

#[test]
fn what_a_person_wrote_is_checked() {
    let bed = Bed::new();
    assert_eq!(
        bed.spec("run = { idle_timeout = '5m', max_jobs = 2 }")
            .check(),
        Ok(())
    );
    for (more, expected) in [
        ("run = { state_dir = '/x' }", "run.state_dir"),
        ("run = { retire = 'poweroff' }", "can only 'exit'"),
        ("run = { before_retire = [['x']] }", "run.before_retire"),
        ("run = { max_job = 1 }", "max_jobs"),
        ("run = { idle_timeout = '0s' }", "never"),
        ("run = { preset = 'no-such' }", "no-such"),
    ] {
        let error = bed.spec(more).check().expect_err(more);
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    let spec = |text: &str| toml::from_str::<Spec>(text).expect("well formed");
    let long = format!("name = 'g'\ncommand = ['a']\ndir = '/{}'", "d".repeat(100));
    for (text, expected) in [
        ("name = '../x'\ncommand = ['a']", "name"),
        ("name = ''\ncommand = ['a']", "name"),
        ("name = 'g'\ncommand = []", "command"),
        ("name = 'g'\ncommand = ['a']\ndir = 'here'", "full path"),
        (long.as_str(), "at most"),
    ] {
        let error = spec(text).check().expect_err(text);
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_longest_directory_leaves_room_for_every_socket() {
    let socket = Path::new(&format!("/{}", "d".repeat(LONGEST_DIR - 1))).join("4294967295/socket");
    assert_eq!(socket.as_os_str().len(), 107);
}
