//! `clockout demo`: everything real, and nothing left of it, however it ends.

use nix::sys::signal::Signal;

use crate::support::{Clockout, Exit, TestBed, wait_until};

/// Its processes and files are all below the machine's own directory.
fn demo(arguments: &[&str]) -> (TestBed, Clockout) {
    let bed = TestBed::new();
    bed.set_env("TMPDIR", &bed.path("").display().to_string());
    let arguments: Vec<_> = ["demo"].iter().chain(arguments).collect();
    let demo = bed.start(&arguments);
    (bed, demo)
}

/// The command lines of what runs and names the demonstration's directory, as its arguments or its
/// environment show.
fn players(bed: &TestBed) -> Vec<String> {
    let name = bed.path("clockout-demo-").display().to_string();
    let processes = std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .flatten();
    let told = processes.filter_map(|process| {
        let read = |file| std::fs::read(process.path().join(file)).unwrap_or_default();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        (line.contains(&name) || environment.contains(&name)).then_some(line)
    });
    told.collect()
}

fn count(bed: &TestBed, word: &str) -> usize {
    players(bed)
        .iter()
        .filter(|line| line.contains(word))
        .count()
}

fn left_files(bed: &TestBed) -> usize {
    let entries = std::fs::read_dir(bed.path(""))
        .expect("the bed's directory")
        .flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with("clockout-demo-"))
        .count()
}

#[test]
fn all_jobs_run_and_nothing_is_left() {
    let (bed, demo) = demo(&["--fast"]);
    let output = demo.output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.exit, Exit::Code(0), "{said}");
    for words in [
        "10 jobs ran, 0 failed.",
        "(p50)",
        "machines ran",
        "Nothing is left running",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains('\x1b'), "no terminal, no colours: {said}");
    assert_eq!(players(&bed), [""; 0]);
    assert_eq!(left_files(&bed), 0);
    assert!(!bed.powered_off());
}

#[test]
fn ctrl_c_ends_the_poller_the_machines_and_their_jobs() {
    let (bed, demo) = demo(&[]);
    wait_until("a job", || count(&bed, "internal-demo-job") > 0);
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait_exit(), Exit::Code(130));
    assert_eq!(players(&bed), [""; 0]);
    assert_eq!(left_files(&bed), 0);
}

/// Nobody cleans up here: the kernel ends the poller, and each machine ends when it was idle for
/// its five seconds.
#[test]
fn what_a_killed_demo_leaves_ends_by_itself() {
    let (bed, demo) = demo(&["--fast"]);
    wait_until("a job", || count(&bed, "internal-demo-job") > 0);
    demo.kill_9();
    wait_until("the poller's end", || count(&bed, " poll ") == 0);
    wait_until("the machines' ends", || players(&bed).is_empty());
}
