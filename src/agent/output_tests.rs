//! What agents print arrives whole, costs no memory, and never harms them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, dup2_stdin, pipe};

use super::super::reap::reap;
use super::super::spawn::{Output, spawn};
use super::super::testing::{alone, command, eventually, role, shell};
use super::*;
use crate::lifecycle::{AgentIndex, Exit};

const LONG: Duration = Duration::from_secs(120);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// The most memory that this process has had, in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs a script with its stdout tapped and passed on to `to`; how many bytes the sink saw.
fn pass_through(script: &str, to: OwnedFd) -> u64 {
    let mut spec = shell(script);
    spec.stdout = Output::Tap;
    let started = spawn(&spec, AgentIndex(1)).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let sink = move |chunk: Chunk<'_>| {
        if let Chunk::Bytes(bytes) = chunk {
            count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
    };
    let mut tap = Tap::start_to(started.stdout.unwrap(), to, Stream::Stdout, sink).unwrap();
    assert!(block_on(tap.join_within(LONG)));
    assert!(block_on(tap.join_within(LONG)), "asking again is fine");
    seen.load(Ordering::Relaxed)
}

#[test]
fn much_output_arrives_byte_for_byte() {
    alone(
        "agent::output::tests::much_output_arrives_byte_for_byte",
        || {
            const PRINT: &str = "seq 1 40000000 | head -c 300M";
            let expected = Command::new("sh")
                .args(["-c", &format!("{PRINT} | md5sum")])
                .output();
            let mut md5 = Command::new("md5sum")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let seen = pass_through(PRINT, md5.stdin.take().unwrap().into());
            assert_eq!(seen, 300 << 20);
            let output = md5.wait_with_output().unwrap();
            assert_eq!(output.stdout, expected.unwrap().stdout);
            assert!(peak_memory() < 32 * 1024, "{} KiB", peak_memory());
        },
    );
}

#[test]
fn a_line_of_a_gigabyte_costs_no_memory() {
    alone(
        "agent::output::tests::a_line_of_a_gigabyte_costs_no_memory",
        || {
            let null = File::options().write(true).open("/dev/null").unwrap();
            assert_eq!(pass_through("head -c 1G /dev/zero", null.into()), 1 << 30);
            assert!(peak_memory() < 32 * 1024, "{} KiB", peak_memory());
        },
    );
}

#[test]
fn a_reader_that_goes_away_does_not_harm_the_agent() {
    alone(
        "agent::output::tests::a_reader_that_goes_away_does_not_harm_the_agent",
        || {
            let (reader, to) = pipe().unwrap();
            drop(reader);
            assert_eq!(
                pass_through("head -c 5M /dev/zero; echo end", to),
                (5 << 20) + 4
            );
            eventually("the agent's own exit", || {
                reap().pop().map(|(_, exit)| exit == Exit::Code(0))
            });
        },
    );
}

#[test]
fn a_full_disk_does_not_harm_the_agent() {
    alone(
        "agent::output::tests::a_full_disk_does_not_harm_the_agent",
        || {
            let full = File::options().write(true).open("/dev/full").unwrap();
            assert_eq!(
                pass_through("head -c 5M /dev/zero; echo end", full.into()),
                (5 << 20) + 4
            );
        },
    );
}

#[test]
fn non_blocking_output_loses_nothing() {
    let (reader, to) = pipe().unwrap();
    fcntl(&to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let writer = thread::spawn(move || write_all(to.as_fd(), &sent));
    let mut arrived = Vec::new();
    File::from(reader).read_to_end(&mut arrived).unwrap();
    writer.join().unwrap().unwrap();
    assert!(arrived == expected);
}

#[test]
fn only_a_pipe_of_ours_is_reopened() {
    alone(
        "agent::output::tests::only_a_pipe_of_ours_is_reopened",
        || {
            let inherited = spawn(&shell("exec sleep 600"), AgentIndex(1)).unwrap();
            let piped = spawn(
                &shell("exec sleep 600 2>&1 | exec sleep 600"),
                AgentIndex(2),
            );
            assert!(reopen(&inherited.process, Stream::Stdout).is_err());
            let piped = piped.unwrap();
            let plain_pipe = eventually("the pipe of another", || {
                super::super::proc::descendants(piped.process.pid())
                    .into_iter()
                    .find(|p| {
                        let out = fs::read_link(format!("/proc/{}/fd/1", p.pid));
                        out.is_ok_and(|out| out.to_string_lossy().starts_with("pipe:"))
                    })
            });
            let plain_pipe = Process::adopt(plain_pipe.pid, plain_pipe.start_time).unwrap();
            assert!(reopen(&plain_pipe, Stream::Stdout).is_err());
            let below = super::super::proc::descendants(piped.process.pid());
            for process in below {
                let process = Process::adopt(process.pid, process.start_time).unwrap();
                process.signal(Signal::SIGKILL).unwrap();
            }
            for agent in [&inherited, &piped] {
                agent.process.signal(Signal::SIGKILL).unwrap();
            }
        },
    );
}

/// The supervisor of the next test: starts an agent that counts, says who it is, and reads on
/// until it is killed. More lines than a pipe holds, so that the agent is there until they are read.
fn be_killed_later() {
    let mut spec = shell("n=0; while [ $n -lt 30000 ]; do n=$((n+1)); echo line $n; done; echo $?");
    spec.stdout = Output::Tap;
    let started = spawn(&spec, AgentIndex(1)).unwrap();
    println!(
        "\nagent {} {}",
        started.process.pid(),
        started.process.start_time()
    );
    let mut from = File::from(started.stdout.unwrap());
    let mut first = [0; 7];
    from.read_exact(&mut first).unwrap();
    println!("read {}", String::from_utf8_lossy(&first));
    loop {
        thread::park();
    }
}

#[test]
fn an_agent_survives_kill_9_and_its_output_goes_on() {
    const NAME: &str = "agent::output::tests::an_agent_survives_kill_9_and_its_output_goes_on";
    if role().is_some() {
        return be_killed_later();
    }
    let mut supervisor = command(&[], NAME, "supervisor")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut from = supervisor.stdout.take().unwrap();
    while !said.contains("read line 1") {
        let mut some = [0; 256];
        let length = from.read(&mut some).unwrap();
        assert_ne!(length, 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&some[..length]));
    }
    supervisor.kill().unwrap();
    supervisor.wait_with_output().unwrap();

    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("agent "))
        .unwrap();
    let (pid, start_time) = line.split_once(' ').unwrap();
    let pid = Pid::from_raw(pid.parse().unwrap());
    let start_time: u64 = start_time.parse().unwrap();
    assert!(
        Process::adopt(pid, start_time + 1).is_none(),
        "a recycled pid is not adopted"
    );
    let agent = Process::adopt(pid, start_time).expect("the agent outlives its supervisor");
    let mut rest = String::new();
    File::from(reopen(&agent, Stream::Stdout).unwrap())
        .read_to_string(&mut rest)
        .unwrap();
    let expected: String = (2..=30_000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(rest.trim_start(), expected + "0\n");
    block_on(async { tokio::time::timeout(LONG, agent.exited()).await }).unwrap();
    assert!(Process::adopt(pid, start_time).is_none());
    agent
        .signal(Signal::SIGTERM)
        .expect("it is gone, which is no error");
}

#[test]
fn last_words_are_known_while_others_hold_the_stream() {
    alone(
        "agent::output::tests::last_words_are_known_while_others_hold_the_stream",
        || {
            let (hold, keep) = pipe().unwrap();
            dup2_stdin(&hold).unwrap();
            // Without job control the stdin of a background process is /dev/null.
            let mut spec = shell("exec 3<&0; (read x <&3; echo late) & seq 100000; echo early");
            spec.stdout = Output::Tap;
            let started = spawn(&spec, AgentIndex(1)).unwrap();
            let null = File::options()
                .write(true)
                .open("/dev/null")
                .unwrap()
                .into();
            let (send, seen) = mpsc::channel();
            let sink = move |chunk: Chunk<'_>| match chunk {
                Chunk::Bytes(bytes) => send.send(Some(bytes.to_vec())).unwrap(),
                Chunk::CaughtUp => send.send(None).unwrap(),
            };
            let mut tap =
                Tap::start_to(started.stdout.unwrap(), null, Stream::Stdout, sink).unwrap();
            let until_caught_up = || {
                let next = || seen.recv_timeout(LONG).unwrap();
                String::from_utf8(std::iter::from_fn(next).flatten().collect()).unwrap()
            };
            eventually("the agent's exit", || reap().pop());
            assert!(tap.catch_up());
            assert!(until_caught_up().ends_with("100000\nearly\n"));
            assert!(!block_on(tap.join_within(Duration::from_millis(20))));
            File::from(keep).write_all(b"go\n").unwrap();
            assert!(block_on(tap.join_within(LONG)));
            assert!(tap.catch_up(), "also after the end");
            assert_eq!(until_caught_up(), "late\n");
            drop(tap);
            seen.recv_timeout(LONG).expect_err("the thread has ended");
        },
    );
}

#[test]
fn catching_up_comes_to_an_end_with_an_agent_that_never_stops_printing() {
    alone(
        "agent::output::tests::catching_up_comes_to_an_end_with_an_agent_that_never_stops_printing",
        || {
            let mut spec = shell("exec yes");
            spec.stdout = Output::Tap;
            let started = spawn(&spec, AgentIndex(1)).unwrap();
            let null = File::options()
                .write(true)
                .open("/dev/null")
                .unwrap()
                .into();
            let (send, caught_up) = mpsc::channel();
            let sink = move |chunk: Chunk<'_>| {
                if chunk == Chunk::CaughtUp {
                    send.send(()).unwrap();
                }
            };
            let out = started.stdout.unwrap();
            let tap = Tap::start_to(out, null, Stream::Stdout, sink).unwrap();
            for _ in 0..10 {
                assert!(tap.catch_up());
                caught_up.recv_timeout(LONG).unwrap();
            }
            started.process.signal(Signal::SIGKILL).unwrap();
        },
    );
}
