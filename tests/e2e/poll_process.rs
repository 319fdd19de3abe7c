//! `clockout poll` with instances on this machine: they owe the poller nothing.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Agent, Exit, TestBed, alive, wait_until};

/// A poller's configuration: a queue with as many waiting jobs as the file `waiting` says, and
/// instances that wrap the bed's simulated agent.
fn configure(bed: &TestBed, agent: &Agent, group: &str, run: &str) {
    let queue = bed.script("queue", &format!("cat {}", bed.path("waiting").display()));
    let command = format!("{:?}", agent.argv());
    let dir = bed.path("groups");
    let text = format!(
        "[[group]]\nname = \"local\"\n{group}\n\
         source = {{ kind = \"exec\", command = [\"{queue}\"] }}\n\
         [group.target]\nkind = \"process\"\nname = \"g\"\ndir = \"{}\"\ncommand = {command}\n\
         pass_env = [\"TESTBED\"]\nrun = {{ {run} }}\n",
        dir.display()
    );
    bed.write("clockout.toml", text);
}

fn waiting(bed: &TestBed, jobs: u32) {
    bed.write(
        "waiting",
        format!("{{\"waiting\": {jobs}, \"running\": 0}}"),
    );
}

/// The supervisors in this machine's slots.
fn instances(bed: &TestBed) -> Vec<(i32, String)> {
    let name = bed.path("groups").display().to_string();
    let processes = std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .flatten();
    let mut found = Vec::new();
    for process in processes {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let slot = line.split(&format!("--state-dir={name}/g/")).nth(1);
        let slot = slot.and_then(|rest| rest.split('/').next());
        let pid = process.file_name().to_string_lossy().parse();
        if let (Some(slot), Ok(pid)) = (slot, pid) {
            found.push((pid, slot.to_owned()));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
}

fn slots(bed: &TestBed) -> Vec<String> {
    instances(bed).into_iter().map(|(_, slot)| slot).collect()
}

#[test]
fn instances_outlive_the_poller_and_are_found_again() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 0");
    configure(&bed, &agent, "max = 3", "preset = \"buildkite\"");
    waiting(&bed, 2);
    for _ in 0..2 {
        let once = bed.call("poll --once");
        assert_eq!(once.exit, Exit::Code(0), "{}", once.stderr);
        assert_eq!(slots(&bed), ["1", "2"], "{}", once.stderr);
    }
    let socket = bed.path("groups/g/2/socket").display().to_string();
    wait_until("an idle supervisor", || {
        let status = bed.call(&format!("status --socket {socket}"));
        String::from_utf8_lossy(&status.stdout).starts_with("idle")
    });
    waiting(&bed, 9);
    assert_eq!(bed.call("poll --once").exit, Exit::Code(0));
    assert_eq!(slots(&bed), ["1", "2", "3"], "no more than the maximum");
    let (first, _) = instances(&bed)[0];
    kill(Pid::from_raw(first), Signal::SIGTERM).expect("an instance of ours");
    wait_until("the drained instance's end", || !alive(first));
    assert_eq!(bed.call("poll --once").exit, Exit::Code(0));
    assert_eq!(slots(&bed), ["1", "2", "3"], "its slot is used again");
    assert_ne!(instances(&bed)[0].0, first);
}

#[test]
fn pollers_that_look_at_the_same_moment_start_no_more_than_one_would() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 0");
    configure(&bed, &agent, "max = 9", "preset = \"buildkite\"");
    waiting(&bed, 2);
    let pollers: Vec<_> = (0..4).map(|_| bed.start(&["poll", "--once"])).collect();
    for poller in pollers {
        let exit = poller.wait_exit();
        assert_eq!(exit, Exit::Code(0), "{}", poller.stderr());
    }
    assert_eq!(slots(&bed), ["1", "2"]);
}

#[test]
fn a_dry_run_starts_nothing_and_says_what_it_would() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 0");
    configure(&bed, &agent, "max = 3", "preset = \"buildkite\"");
    waiting(&bed, 2);
    let dry = bed.call("poll --once --dry-run");
    assert_eq!(dry.exit, Exit::Code(0), "{}", dry.stderr);
    assert!(dry.stderr.contains("launch 2"), "{}", dry.stderr);
    assert!(!bed.path("groups").exists(), "not even a directory is made");
}

/// As after `kill -9` of a supervisor: its agent works on, and the slot is not given away.
#[test]
fn a_slot_is_taken_as_long_as_anything_of_its_instance_runs() {
    let bed = TestBed::new();
    let agent = bed.agent("--jobs 0");
    configure(&bed, &agent, "max = 1", "preset = \"buildkite\"");
    waiting(&bed, 1);
    assert_eq!(bed.call("poll --once").exit, Exit::Code(0));
    wait_until("its agent", || agent.count("born") == 1);
    let (supervisor, _) = instances(&bed)[0];
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("an instance of ours");
    wait_until("the supervisor's end", || !alive(supervisor));
    assert_eq!(bed.call("poll --once").exit, Exit::Code(0));
    assert_eq!(slots(&bed), [""; 0], "its agent still runs");
    let orphan = agent.events()[0].pid;
    kill(Pid::from_raw(orphan), Signal::SIGKILL).expect("the agent");
    wait_until("the agent's end", || !alive(orphan));
    assert_eq!(bed.call("poll --once").exit, Exit::Code(0));
    assert_eq!(slots(&bed), ["1"]);
}
