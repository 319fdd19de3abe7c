//! Agents started through a container client: what a killed client leaves behind is ended.
//!
//! The client here is a script with the manners of docker's: the container is no descendant of
//! ours, outlives its client, and ends by the engine's `kill`. Real engines are tested in
//! `tests/agents`.

use crate::support::{Exit, TestBed, alive, wait_for, wait_until};

/// `docker run` starts the container as a daemon would, writes its id, passes signals on and ends
/// with it; `docker kill` and `docker rm` are written down.
const CLIENT: &str = r#"
cd "$(dirname "$0")/.." || exit 125
case $1 in
run)
    shift
    while :; do case $1 in
        --cidfile=*) cidfile=${1#*=}; shift;;
        -*) shift;;
        *) break;;
    esac; done
    test -e "$cidfile" && exit 125
    id=$(date +%s%N)0123456789abcdef
    sh container "$id"
    pid=$(cat "$id")
    echo "$id" > "$cidfile"
    echo "created $id" >> engine
    echo $$ > client
    trap 'kill -TERM $pid' TERM INT
    while kill -0 $pid 2>/dev/null; do sleep 0.05; done
    exit 0;;
kill)
    kill -0 "$(cat client)" && echo "client runs" >> engine
    test -e slow && sleep 3
    kill -KILL "$(cat "$2")"
    echo "killed $2" >> engine;;
rm)
    echo "rm $3" >> engine;;
esac
"#;

/// Its own environment and parent: no mark of ours, no descendant.
const ENGINE: &str = "env -i PATH=\"$PATH\" TESTBED=\"$TESTBED\" setsid sh -c \
    'trap \"test -e deaf || exit 0\" TERM; echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; \
    while :; do sleep 0.05; done' \"$1\" </dev/null >/dev/null 2>&1 &\n\
    until test -e \"$1\"; do sleep 0.02; done\n";

struct Machine {
    bed: TestBed,
}

impl Machine {
    fn new() -> Machine {
        let bed = TestBed::new();
        bed.script("bin/docker", CLIENT);
        bed.write("container", ENGINE);
        Machine { bed }
    }

    fn agent(&self, options: &str) -> Vec<String> {
        let line = format!("docker run {options} acme/agent:1");
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// What happened, in order.
    fn engine(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.bed.path("engine")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Ids of the containers so far.
    fn created(&self) -> Vec<String> {
        let engine = self.engine().into_iter();
        engine
            .filter_map(|line| line.strip_prefix("created ").map(str::to_owned))
            .collect()
    }

    fn pid(&self, id: &str) -> i32 {
        let pid = std::fs::read_to_string(self.bed.path(id)).expect("a container's pid");
        pid.trim().parse().expect("a number")
    }

    fn wait_created(&self, count: usize) -> String {
        wait_for("a container", || self.created().get(count - 1).cloned())
    }
}

#[test]
fn the_container_of_a_client_that_was_killed_ends_before_the_next_one_starts() {
    let machine = Machine::new();
    machine.bed.write("slow", "");
    let run = machine.bed.run("--retire poweroff", &machine.agent("--rm"));
    let client = run.wait_event("agent.started").field("pid");
    let first = machine.wait_created(1);
    let pid = machine.pid(&first);
    let client = nix::unistd::Pid::from_raw(client.parse().expect("a pid"));
    nix::sys::signal::kill(client, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    let second = machine.wait_created(2);
    assert!(!alive(pid), "two agents would take jobs");
    let order = ["created", "killed", "rm"].map(|what| format!("{what} {first}"));
    assert_eq!(machine.engine()[..3], order);
    assert_eq!(machine.engine()[3..], [format!("created {second}")]);
    // Its id was forgotten; the new one's is kept.
    let kept = std::fs::read_dir(machine.bed.path("socket.containers")).expect("a directory");
    assert_eq!(kept.count(), 1);
}

#[test]
fn an_agent_that_is_killed_is_killed_in_its_container() {
    let machine = Machine::new();
    machine.bed.write("deaf", "");
    let run = machine.bed.run("--retire exit", &machine.agent(""));
    run.wait_event("agent.started");
    let id = machine.wait_created(1);
    let pid = machine.pid(&id);
    run.signal(nix::sys::signal::Signal::SIGQUIT);
    run.wait_exit();
    wait_until("the container's end", || !alive(pid));
    // Before its client, which then ends by itself. It is kept: there is no --rm.
    let order = [
        format!("created {id}"),
        "client runs".to_owned(),
        format!("killed {id}"),
    ];
    assert_eq!(machine.engine(), order);
}

#[test]
fn a_container_that_ends_by_itself_is_left_to_its_engine() {
    let machine = Machine::new();
    let run = machine.bed.run("--retire exit", &machine.agent("--rm"));
    run.wait_event("agent.started");
    machine.wait_created(1);
    machine.bed.call("drain");
    assert_eq!(run.wait_exit(), Exit::Code(0), "{}", run.stderr());
    assert_eq!(machine.engine().len(), 1, "{:?}", machine.engine());
    assert!(!machine.bed.path("socket.containers").exists());
}

#[test]
fn a_supervisor_that_comes_back_still_knows_the_container() {
    let machine = Machine::new();
    machine.bed.write("deaf", "");
    let agent = machine.agent("--rm");
    let first = machine.bed.run("--retire poweroff", &agent);
    first.wait_event("agent.started");
    let id = machine.wait_created(1);
    first.kill_9();
    let second = machine.bed.run("--retire poweroff", &agent);
    second.wait_event("agent.adopted");
    second.signal(nix::sys::signal::Signal::SIGQUIT);
    wait_until("the power-off command", || machine.bed.powered_off());
    assert!(!alive(machine.pid(&id)));
    assert_eq!(machine.created().len(), 1);
}

#[test]
fn the_container_of_an_agent_that_was_killed_with_its_supervisor_ends_before_the_next_one_starts() {
    let machine = Machine::new();
    machine.bed.write("slow", "");
    machine.bed.write("deaf", "");
    let agent = machine.agent("--rm");
    let first = machine.bed.run("--retire poweroff", &agent);
    let client = first.wait_event("agent.started").field("pid");
    let id = machine.wait_created(1);
    first.kill_9();
    let client: i32 = client.parse().expect("a pid");
    let pid = nix::unistd::Pid::from_raw(client);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    wait_until("the client's end", || !alive(client));
    let _second = machine.bed.run("--retire poweroff", &agent);
    machine.wait_created(2);
    assert_eq!(machine.engine()[1], format!("killed {id}"));
    assert!(!alive(machine.pid(&id)));
}
