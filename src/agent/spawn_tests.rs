//! What an agent is started with, and how its end is told.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::super::reap::{become_subreaper, reap};
use super::super::testing::socket;
use super::super::testing::{alone, alone_under, command as test_command, eventually, role, shell};
use super::*;
use crate::lifecycle::Exit;
use crate::sys;

/// What the script prints on its stdout.
fn printed(spec: &Spec) -> String {
    let mut spec = spec.clone();
    spec.stdout = Output::Tap;
    let started = spawn(&spec, AgentIndex(3)).unwrap();
    let mut text = String::new();
    File::from(started.stdout.unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Nothing ignored, blocked or handled in this `/proc/PID/status`. 32 and 33 are the C library's
/// own: glibc's posix_spawn leaves them ignored, and sigaction cannot reach them.
fn assert_clean_signals(status: &str) {
    const LIBC_OWN: u64 = 0b11 << 31;
    for name in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        let set = u64::from_str_radix(found.unwrap().trim(), 16).unwrap();
        assert_eq!(set & !LIBC_OWN, 0, "{name}\n{status}");
    }
}

fn exit_of(script: &str) -> Exit {
    let pid = spawn(&shell(script), AgentIndex(1)).unwrap().process.pid();
    eventually("its exit", || {
        reap().into_iter().find(|(ended, _)| *ended == pid)
    })
    .1
}

fn error_of(program: &str) -> SpawnError {
    let mut spec = shell("");
    spec.program = program.into();
    spawn(&spec, AgentIndex(1)).unwrap_err()
}

#[test]
fn every_kind_of_end_is_told() {
    alone("agent::spawn::tests::every_kind_of_end_is_told", || {
        assert_eq!(exit_of("exit 0"), Exit::Code(0));
        assert_eq!(exit_of("exit 3"), Exit::Code(3));
        assert_eq!(exit_of("exit 255"), Exit::Code(255));
        assert_eq!(exit_of("kill -TERM $$"), Exit::Signal(15));
        assert_eq!(exit_of("kill -KILL $$"), Exit::Signal(9));
        // A real-time signal.
        assert_eq!(exit_of("kill -40 $$"), Exit::Signal(40));
        assert_eq!(exit_of("kill -40 $$").status(), 168);
    });
}

#[test]
fn two_hundred_exits_and_their_orphans_are_reaped_right() {
    alone(
        "agent::spawn::tests::two_hundred_exits_and_their_orphans_are_reaped_right",
        || {
            become_subreaper().unwrap();
            let started: Vec<(Pid, Exit)> = (0..200)
                .map(|n| {
                    let script = match n % 4 {
                        0 => format!("(sleep 0.0{} &) ; exit {}", n % 10, n % 256),
                        1 => format!("sleep 0.0{}; exit {}", n % 10, n % 256),
                        2 => "kill -KILL $$".to_owned(),
                        _ => format!("exit {}", n % 256),
                    };
                    let started = spawn(&shell(&script), AgentIndex(1)).unwrap();
                    let exit = if n % 4 == 2 {
                        Exit::Signal(9)
                    } else {
                        Exit::Code(n % 256)
                    };
                    (started.process.pid(), exit)
                })
                .collect();
            let mut ended = Vec::new();
            eventually("all agents and 50 orphans", || {
                ended.extend(reap());
                (ended.len() == 250).then_some(())
            });
            for expected in &started {
                assert!(ended.contains(expected), "{expected:?}");
            }
            assert!(super::super::proc::descendants(nix::unistd::getpid()).is_empty());
        },
    );
}

#[test]
fn programs_that_cannot_run_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let orphan = file("orphan", "#!/no/such/interpreter\n", 0o755);
    let garbage = file("garbage", "\u{7f}ELF but not really", 0o755);

    let no_name = error_of("no-such-agent");
    assert!(
        matches!(no_name, SpawnError::NotInPath { .. }),
        "{no_name:?}"
    );
    assert_eq!(no_name.exit_status(), 127);
    assert!(no_name.to_string().contains("'no-such-agent'"));
    let no_file = error_of("/no/such/agent");
    assert!(
        matches!(no_file, SpawnError::NoSuchFile { .. }),
        "{no_file:?}"
    );
    let no_interpreter = error_of(&orphan);
    assert!(
        matches!(no_interpreter, SpawnError::NoInterpreter { .. }),
        "{no_interpreter:?}"
    );
    assert_eq!(no_interpreter.exit_status(), 127);
    for program in [
        plain.as_str(),
        garbage.as_str(),
        dir.path().to_str().unwrap(),
    ] {
        let error = error_of(program);
        assert!(
            matches!(error, SpawnError::CannotExecute { .. }),
            "{error:?}"
        );
        assert_eq!(error.exit_status(), 126);
    }
}

#[test]
fn ignored_and_blocked_signals_do_not_reach_the_agent() {
    let wrapper = [
        "python3",
        "-c",
        "import os, signal, sys\n\
         for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, 40):\n\
         \x20   signal.signal(s, signal.SIG_IGN)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1, 41])\n\
         os.execv(sys.argv[1], sys.argv[1:])",
    ];
    let name = "agent::spawn::tests::ignored_and_blocked_signals_do_not_reach_the_agent";
    alone_under(&wrapper, name, || {
        sys::reset_signals().unwrap();
        assert_clean_signals(&printed(&shell("exec cat /proc/self/status")));
    });
}

#[test]
fn no_descriptor_of_ours_leaks() {
    alone("agent::spawn::tests::no_descriptor_of_ours_leaks", || {
        let inheritable: Vec<String> = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|fd| {
                let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
                let flags = info.ok().and_then(|info| {
                    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
                    i32::from_str_radix(flags.trim(), 8).ok()
                });
                flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
            })
            .collect();
        let mut other = shell("exec sleep 600");
        other.stderr = Output::Tap;
        let other = spawn(&other, AgentIndex(2)).unwrap();
        let mut spec = shell("");
        spec.program = "ls".into();
        spec.args = vec!["/proc/self/fd".into()];
        spec.stderr = Output::Tap;
        let text = printed(&spec);
        let own: Vec<&str> = text
            .lines()
            .filter(|fd| !inheritable.iter().any(|i| i == fd))
            .collect();
        // The one with which ls reads the directory.
        assert_eq!(own.len(), 1, "{text} beside {inheritable:?}");
        other
            .process
            .signal(nix::sys::signal::Signal::SIGKILL)
            .unwrap();
    });
}

#[test]
fn the_agent_knows_its_index_and_socket_and_no_secret() {
    let name = "agent::spawn::tests::the_agent_knows_its_index_and_socket_and_no_secret";
    if role().is_none() {
        let status = test_command(&[], name, "alone")
            .env("AWS_SECRET_ACCESS_KEY", "hush")
            .env("AWS_REGION", "eu-central-1")
            .env("CLOCKOUT_CONFIG", "/etc/clockout.toml")
            .env("CLOCKOUT_SOCKET", "/run/of-another.sock")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let mut spec = shell("env");
    spec.env = vec![("EXTRA".into(), "yes".into())];
    let text = printed(&spec);
    let lines: Vec<&str> = text.lines().collect();
    let socket = format!("CLOCKOUT_SOCKET={}", socket().display());
    for present in [
        "CLOCKOUT_INDEX=3",
        &socket,
        "EXTRA=yes",
        "AWS_REGION=eu-central-1",
    ] {
        assert!(lines.contains(&present), "{present}\n{text}");
    }
    assert!(
        !text.contains("hush") && !text.contains("CLOCKOUT_CONFIG"),
        "{text}"
    );
}

#[test]
fn the_agent_leads_a_group_of_its_own() {
    let text = printed(&shell("exec cat /proc/self/stat"));
    let fields: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(fields[0], fields[4], "pid and group");
}

#[test]
fn user_gets_its_groups_and_home() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can become another user: nothing was tested");
        return;
    }
    // A throwaway passwd and group file, seen only below `unshare --mount`.
    let script = "t=$(mktemp -d) && cp /etc/passwd /etc/group $t && \
        echo 'runner:x:7001:7002::/home/runner:/bin/false' >> $t/passwd && \
        printf 'runner:x:7002:\\ndocker:x:7003:runner\\nkvm2:x:7004:other,runner\\n' >> $t/group && \
        mount --bind $t/passwd /etc/passwd && mount --bind $t/group /etc/group && \
        rm -r $t 2>/dev/null; exec \"$0\" \"$@\"";
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
    ];
    let name = "agent::spawn::tests::user_gets_its_groups_and_home";
    alone_under(&wrapper, name, || {
        sys::reset_signals().unwrap();
        let mut spec =
            shell("id -u; id -g; id -G; echo $HOME $USER $LOGNAME $SHELL; cat /proc/self/status");
        spec.user = Some(User::lookup("runner").unwrap());
        // /dev/stdout is opened anew, by the user.
        spec.args[1].push("; echo opened > /dev/stdout");
        let text = printed(&spec);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["7001", "7002", "7002 7003 7004"], "{text}");
        assert_eq!(lines[3], "/home/runner runner runner /bin/false");
        assert_clean_signals(&text);
        assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
        assert!(text.ends_with("opened\n"), "{text}");
    });
}

#[test]
fn becoming_another_user_without_being_root_is_explained() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("needs root to become nobody first: nothing was tested");
        return;
    }
    let wrapper = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let name = "agent::spawn::tests::becoming_another_user_without_being_root_is_explained";
    // The test binary must be readable for the other user.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if role().is_some() {
        let mut spec = shell("exit 0");
        spec.user = Some(User::lookup("daemon").unwrap());
        let error = spawn(&spec, AgentIndex(1)).unwrap_err();
        assert!(
            matches!(error, SpawnError::CannotBecome { .. }),
            "{error:?}"
        );
        assert_eq!(error.exit_status(), 1);
        spec.user = Some(User::lookup("nobody").unwrap());
        spawn(&spec, AgentIndex(1)).expect("no change is needed for the same user");
        return;
    }
    alone_under(&wrapper, name, || {});
}

#[test]
fn an_agent_may_read_the_terminal() {
    let name = "agent::spawn::tests::an_agent_may_read_the_terminal";
    if role().is_some() {
        let agents = [1, 2].map(|index| {
            let script = "read x && echo \"agent $CLOCKOUT_INDEX got $x\"";
            let started = spawn(&shell(script), AgentIndex(index)).unwrap();
            let pid = started.process.pid();
            eventually("its exit", || {
                reap().into_iter().find(|(ended, _)| *ended == pid)
            });
            terminal::take_back();
            assert_eq!(
                nix::unistd::tcgetpgrp(io::stdin()),
                Ok(nix::unistd::getpgrp())
            );
            pid
        });
        println!("both agents {agents:?} read");
        return;
    }
    // script(1) gives its command a terminal of its own as the controlling one.
    let inner = test_command(&[], name, "on-terminal");
    let line: Vec<_> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .collect();
    let line = line.join(OsStr::new(" "));
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(line)
        .arg("/dev/null")
        .env("TEST_ROLE", "on-terminal")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = script.stdin.take().unwrap();
    keys.write_all(b"one\ntwo\n").unwrap();
    let output = script.wait_with_output().unwrap();
    drop(keys);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("agent 1 got one") && text.contains("agent 2 got two"),
        "{text}"
    );
}
