//! Nothing of an agent's tree is left, and nobody else is touched.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::super::reap::{become_subreaper, reap};
use super::super::spawn::{Started, spawn};
use super::super::testing::{alone, alone_under, command, eventually, role, shell, socket};
use super::*;

/// Four ways for a job to escape its agent, and one that stays.
const ESCAPEES: &str = "setsid sleep 601 & \
     (setsid sh -c 'sleep 602 & sleep 603' &) ; \
     (env -i setsid sleep 604 &) ; \
     (sleep 605 & kill -STOP $!) ; \
     trap '' TERM; sleep 606 & echo started > \"$0\"; wait";

fn start(script: &str, index: u32, cgroup: Option<Cgroup>) -> Started {
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    let mut spec = shell(script);
    spec.args.push(up.clone().into());
    spec.cgroup = cgroup;
    let started = spawn(&spec, AgentIndex(index)).unwrap();
    eventually("the agent's jobs", || up.exists().then_some(()));
    started
}

fn tree() -> Tree {
    Tree {
        socket: socket(),
        cgroup: None,
    }
}

fn below_us() -> Vec<ProcInfo> {
    proc::descendants(getpid())
}

fn kill_until_none_is_left(tree: &Tree, owner: Owner<'_>, spare: &[Pid]) {
    eventually("none left", || {
        let left = tree.sweep(owner, Sweep::Kill, spare);
        reap();
        (left == 0).then_some(())
    });
}

#[test]
fn escapees_are_killed_and_the_spared_are_not() {
    alone(
        "agent::tree::tests::escapees_are_killed_and_the_spared_are_not",
        || {
            become_subreaper().unwrap();
            start(ESCAPEES, 1, None);
            let dead_man = start("sleep 607 & echo > $0; wait", 9, None);
            kill_until_none_is_left(&tree(), Owner::Everything, &[dead_man.process.pid()]);
            let left = below_us();
            assert_eq!(left.len(), 2, "the dead-man and its child: {left:?}");
            kill_until_none_is_left(&tree(), Owner::Everything, &[]);
            assert_eq!(below_us(), []);
        },
    );
}

#[test]
fn terminating_reaches_stopped_processes() {
    alone(
        "agent::tree::tests::terminating_reaches_stopped_processes",
        || {
            become_subreaper().unwrap();
            start(
                "(sleep 605 & kill -STOP $!); echo > $0; exec sleep 606",
                1,
                None,
            );
            assert_eq!(tree().sweep(Owner::Everything, Sweep::Terminate, &[]), 2);
            let mut ended = 0;
            eventually("both ended", || {
                ended += reap().len();
                below_us().is_empty().then_some(())
            });
        },
    );
}

#[test]
fn one_agents_tree_is_killed_and_the_others_stay() {
    alone(
        "agent::tree::tests::one_agents_tree_is_killed_and_the_others_stay",
        || {
            become_subreaper().unwrap();
            let script = "(setsid sleep 601 &); sleep 602 & echo > $0; wait";
            let first = start(script, 1, None);
            let second = start(script, 2, None);
            first.process.signal(Signal::SIGKILL).unwrap();
            eventually("its exit", || reap().pop());
            // The main process is gone: only the mark tells whose the orphans are.
            let owner = Owner::Agent {
                index: AgentIndex(1),
                main: Some(&first.process),
            };
            kill_until_none_is_left(&tree(), owner, &[]);
            let left = below_us();
            assert_eq!(left.len(), 3, "{left:?}");
            assert!(second.process.runs());
            kill_until_none_is_left(&tree(), Owner::Everything, &[]);
        },
    );
}

#[test]
fn orphans_of_an_agent_of_an_earlier_life_are_found() {
    const NAME: &str = "agent::tree::tests::orphans_of_an_agent_of_an_earlier_life_are_found";
    if role().is_some() {
        // The earlier supervisor. Its end orphans the agent, away from the next one.
        let mut spec = shell("(setsid sleep 601 &); sleep 602 & echo > $0; wait");
        spec.args.push(std::env::var("UP").unwrap().into());
        spec.socket = std::env::var("MARK").unwrap().into();
        spawn(&spec, AgentIndex(1)).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let up = dir.path().join("up");
    let mark = dir.path().join("clockout.sock");
    let status = command(&[], NAME, "supervisor")
        .env("UP", &up)
        .env("MARK", &mark)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    eventually("the agent's jobs", || up.exists().then_some(()));
    let tree = Tree {
        socket: mark,
        cgroup: None,
    };
    // Not `Everything`: that would be all that this test binary started.
    let owner = Owner::Agent {
        index: AgentIndex(1),
        main: None,
    };
    let found = tree.members(owner, &[]);
    assert_eq!(found.len(), 3, "{found:?}");
    eventually("none left", || {
        (tree.sweep(owner, Sweep::Kill, &[]) == 0).then_some(())
    });
}

#[test]
fn fork_bombs_come_to_an_end() {
    alone("agent::tree::tests::fork_bombs_come_to_an_end", || {
        become_subreaper().unwrap();
        // Each process is replaced by a child of its own, as fast as it can.
        let run = "exec sh -c 'f() { (sleep 0.01; f) & }; f; f; f; f; echo > \"$0\"; wait' \"$0\"";
        start(run, 1, None);
        kill_until_none_is_left(&tree(), Owner::Everything, &[]);
        assert_eq!(below_us(), []);
    });
}

#[test]
fn pid_1_reaps_strangers_and_ends_everybody() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can make a pid namespace here: nothing was tested");
        return;
    }
    let wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    alone_under(
        &wrapper,
        "agent::tree::tests::pid_1_reaps_strangers_and_ends_everybody",
        || {
            assert_eq!(getpid().as_raw(), 1);
            start(ESCAPEES, 1, None);
            kill_until_none_is_left(&tree(), Owner::Everything, &[]);
            eventually("no zombie", || {
                reap();
                let names = fs::read_dir("/proc")
                    .unwrap()
                    .filter_map(|e| e.ok()?.file_name().into_string().ok());
                let pids: Vec<i32> = names.filter_map(|name| name.parse().ok()).collect();
                (pids == [1]).then_some(())
            });
        },
    );
}

#[test]
fn pid_1_with_a_foreign_proc_still_ends_everybody() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can make a pid namespace here: nothing was tested");
        return;
    }
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child"];
    let name = "agent::tree::tests::pid_1_with_a_foreign_proc_still_ends_everybody";
    alone_under(&wrapper, name, || {
        assert!(!proc::is_usable());
        start(ESCAPEES, 1, None);
        let mut ended = 0;
        eventually("none left", || {
            let left = tree().sweep(Owner::Everything, Sweep::Kill, &[]);
            ended += reap().len();
            (left == 0).then_some(())
        });
        assert!(ended >= 6, "{ended}");
    });
}

#[test]
fn a_delegated_cgroup_holds_even_those_that_clear_their_environment() {
    let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|dir| Path::new(dir).join("cgroup.procs").exists());
    let (Some(mount), true) = (mount, nix::unistd::geteuid().is_root()) else {
        eprintln!("needs root and cgroup v2: nothing was tested");
        return;
    };
    let name =
        "agent::tree::tests::a_delegated_cgroup_holds_even_those_that_clear_their_environment";
    if role().is_none() {
        assert!(
            fs::read_to_string("/proc/self/cgroup")
                .unwrap()
                .contains("0::")
        );
        alone(name, || {});
        return;
    }
    // As systemd does it for a service with Delegate=yes.
    let dir = Path::new(mount).join(format!("clockout-test-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let before = Cgroup::delegated().is_some();
    let marked = std::process::Command::new("python3")
        .args([
            "-c",
            "import os, sys; os.setxattr(sys.argv[1], 'trusted.delegate', b'1')",
        ])
        .arg(&dir)
        .status();
    let cgroup = Cgroup::delegated();
    let agent = cgroup.as_ref().map(|cgroup| {
        // No subreaper: what escapes the walk would be lost.
        let first = start(ESCAPEES, 1, Some(cgroup.clone()));
        start("sleep 608 & echo > $0; wait", 2, Some(cgroup.clone()));
        let tree = Tree {
            socket: "/another/mark.sock".into(),
            cgroup: Some(cgroup.clone()),
        };
        let owner = Owner::Agent {
            index: AgentIndex(1),
            main: None,
        };
        kill_until_none_is_left(&tree, owner, &[]);
        let left_of = |index| cgroup.pids(Some(AgentIndex(index))).len();
        let left = (left_of(1), left_of(2), first.process.runs());
        kill_until_none_is_left(&tree, Owner::Everything, &[]);
        cgroup.remove_empty();
        left
    });
    fs::write(
        Path::new(mount).join("cgroup.procs"),
        std::process::id().to_string(),
    )
    .unwrap();
    eventually("the cgroup's removal", || fs::remove_dir(&dir).ok());
    assert!(!before && marked.unwrap().success());
    assert_eq!(agent, Some((0, 2, false)));
}
