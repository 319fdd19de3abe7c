//! The test bed: real processes, real HTTP, faults on demand, and nothing left behind.
//!
//! A [`TestBed`] is one machine: its metadata service, the cloud it lives in, its agent, and
//! `clockout` on it. Tests wait for events, never for time. When one fails, everything that its
//! machine said is printed.

mod agent;
mod clockout;
#[cfg(feature = "aws")]
mod cloud;
mod dates;
#[cfg(feature = "aws")]
mod group;
#[cfg(feature = "aws")]
mod hooks;
#[cfg(feature = "aws")]
mod hooks_tests;
pub mod http;
mod imds;
mod imds_notices;
mod init;
#[cfg(feature = "aws")]
mod launching;
#[cfg(feature = "aws")]
pub mod moto;
#[cfg(feature = "aws")]
mod passages;
#[cfg(feature = "aws")]
mod rules;
#[cfg(feature = "aws")]
mod scaling;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use agent::Agent;
pub use clockout::{Clockout, Output};
#[cfg(feature = "aws")]
pub use cloud::{Call, Cloud, Fault};
#[cfg(feature = "aws")]
pub use group::Group;
#[cfg(feature = "aws")]
pub use hooks::{Hook, Way};
pub use imds::{Imds, ImdsFault, Times};
pub use imds_notices::{Event, MAINTENANCE, REBALANCE, SPOT, TARGET};
pub use init::Exit;
use init::{Start, init};

/// How long an event may take. Generous: a shared, busy machine must not fail a right program.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One machine under test.
pub struct TestBed {
    dir: TempDir,
    /// Everything started on this machine has it in its environment, and dies with the bed.
    mark: String,
    env: RefCell<BTreeMap<String, String>>,
    imds: RefCell<Option<Rc<Imds>>>,
    #[cfg(feature = "aws")]
    cloud: RefCell<Option<Rc<Cloud>>>,
    runs: RefCell<u32>,
    agents: RefCell<Vec<Agent>>,
}

impl TestBed {
    /// A machine that is not on EC2.
    pub fn new() -> TestBed {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new()
            .prefix("clockout-e2e-")
            .tempdir()
            .expect("a directory");
        let bed = TestBed {
            mark: format!("{}-{number}", std::process::id()),
            env: RefCell::default(),
            imds: RefCell::default(),
            #[cfg(feature = "aws")]
            cloud: RefCell::default(),
            runs: RefCell::default(),
            agents: RefCell::default(),
            dir,
        };
        bed.disarm_the_host();
        bed
    }

    /// A machine on EC2, this instance of this cloud. A member of a group shows it in its tags.
    #[cfg(feature = "aws")]
    pub fn on_ec2(cloud: Cloud, instance: &str, group: Option<&Group>) -> TestBed {
        let bed = TestBed::new();
        let imds = Imds::start(instance);
        if let Some(group) = group {
            imds.tag_group(&group.name);
        }
        bed.set_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url());
        bed.set_env("AWS_ENDPOINT_URL", &cloud.url());
        bed.env.borrow_mut().remove("AWS_EC2_METADATA_DISABLED");
        *bed.imds.borrow_mut() = Some(Rc::new(imds));
        *bed.cloud.borrow_mut() = Some(Rc::new(cloud));
        bed
    }

    /// A machine elsewhere, with credentials for this cloud.
    #[cfg(feature = "aws")]
    pub fn beside(cloud: Cloud) -> TestBed {
        let bed = TestBed::new();
        for (name, value) in [
            ("AWS_ENDPOINT_URL", cloud.url().as_str()),
            ("AWS_ACCESS_KEY_ID", "testbed"),
            ("AWS_SECRET_ACCESS_KEY", "testbed"),
            ("AWS_REGION", "us-east-1"),
        ] {
            bed.set_env(name, value);
        }
        *bed.cloud.borrow_mut() = Some(Rc::new(cloud));
        bed
    }

    /// What could really end the host is out of reach: the supervisor is told of a harmless
    /// command, and whoever looks for the real ones finds marks instead.
    fn disarm_the_host(&self) {
        let bin = self.path("bin");
        fs::create_dir(&bin).expect("a directory");
        let marker = self.path("powered-off");
        let script = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\n", marker.display());
        for name in [
            "systemctl",
            "systemd-run",
            "shutdown",
            "poweroff",
            "halt",
            "reboot",
        ] {
            executable(&bin.join(name), &script);
        }
        let marker = bin.join("poweroff").display().to_string();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        for (name, value) in [
            ("CLOCKOUT_POWEROFF_COMMAND", marker.as_str()),
            ("PATH", &path),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ] {
            self.set_env(name, value);
        }
    }

    /// The complete environment of everything started here.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut env = self.env.borrow().clone();
        let path = |name: &str| self.path(name).display().to_string();
        env.insert("TESTBED".to_owned(), self.mark.clone());
        env.insert("HOME".to_owned(), path(""));
        env.insert("CLOCKOUT_CONFIG".to_owned(), path("clockout.toml"));
        env.insert("CLOCKOUT_PRESETS_DIR".to_owned(), path("presets"));
        for (name, value) in [
            ("CLOCKOUT_STATE_DIR", path("state")),
            ("CLOCKOUT_SOCKET", path("socket")),
            ("CLOCKOUT_LOG_FORMAT", "json".to_owned()),
            ("CLOCKOUT_LOG_LEVEL", "info".to_owned()),
        ] {
            env.entry(name.to_owned()).or_insert(value);
        }
        env
    }

    /// Sets a variable for everything started from now on.
    pub fn set_env(&self, name: &str, value: &str) {
        let mut env = self.env.borrow_mut();
        env.insert(name.to_owned(), value.to_owned());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of this machine; its path as text.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        let parent = path.parent().expect("below the directory");
        fs::create_dir_all(parent).expect("a directory");
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    /// Writes a shell script of this machine; its path as text.
    pub fn script(&self, name: &str, body: &str) -> String {
        let path = self.path(name);
        executable(&path, &format!("#!/bin/sh\n{body}\n"));
        path.display().to_string()
    }

    /// A scenario for the simulated agent of this machine.
    pub fn agent(&self, options: &str) -> Agent {
        let agent = Agent::new(self.dir.path()).with(options);
        self.agents.borrow_mut().push(agent.clone());
        agent
    }

    /// Starts the agent itself, without `clockout`; its pid.
    pub fn start_agent(&self, agent: &Agent) -> i32 {
        let log = self.path("agent-log");
        let start = Start {
            argv: agent.argv(),
            env: self.environment(),
            stdin: "/dev/null".into(),
            stdout: log.clone(),
            stderr: log,
        };
        init().spawn(&start).expect("agent.py is executable")
    }

    pub fn wait_agent(&self, pid: i32) -> Exit {
        init().wait(pid, PATIENCE).expect("the agent ends")
    }

    pub fn imds(&self) -> Rc<Imds> {
        self.imds.borrow().clone().expect("a machine on EC2")
    }

    #[cfg(feature = "aws")]
    pub fn cloud(&self) -> Rc<Cloud> {
        self.cloud.borrow().clone().expect("a machine on EC2")
    }

    /// The power-off command was run.
    pub fn powered_off(&self) -> bool {
        self.path("powered-off").exists()
    }

    /// Starts `clockout` with these arguments, and does not wait.
    pub fn start<S: AsRef<str>>(&self, arguments: &[S]) -> Clockout {
        let mut argv = vec![env!("CARGO_BIN_EXE_clockout")];
        argv.extend(arguments.iter().map(AsRef::as_ref));
        self.start_program(&argv)
    }

    /// Starts any program where a `clockout` that it starts can do no harm.
    pub fn start_program(&self, argv: &[&str]) -> Clockout {
        let mut runs = self.runs.borrow_mut();
        *runs += 1;
        let logs = self.path(&format!("run-{runs}"));
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Clockout::start(argv, self.environment(), &logs)
    }

    /// Lets other users than our own into this machine's directory.
    pub fn open_to_everybody(&self) {
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path(), open).expect("a directory of ours");
    }

    /// Starts `clockout run` with these options around this agent.
    pub fn run(&self, options: &str, agent: &[String]) -> Clockout {
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(options.split_whitespace().map(str::to_owned));
        arguments.push("--".to_owned());
        arguments.extend(agent.iter().cloned());
        self.start(&arguments)
    }

    /// Runs `clockout` with these arguments to its end.
    pub fn call(&self, arguments: &str) -> Output {
        let words: Vec<_> = arguments.split_whitespace().collect();
        self.start(&words).output()
    }

    /// Everything that this machine has said, for the reader of a failed test.
    fn story(&self) -> String {
        let mut story = format!("=== the machine in {}\n", self.dir.path().display());
        for run in 1..=*self.runs.borrow() {
            for stream in ["argv", "stdout", "stderr"] {
                let text = fs::read(self.path(&format!("run-{run}.{stream}")));
                let text = text.unwrap_or_default();
                let text = String::from_utf8_lossy(tail(&text, 20_000));
                story += &format!("--- clockout {run}: {stream}\n{text}\n");
            }
        }
        let text = fs::read(self.path("agent-log")).unwrap_or_default();
        story += &String::from_utf8_lossy(tail(&text, 20_000));
        for event in self
            .agents
            .borrow()
            .first()
            .iter()
            .flat_map(|agent| agent.events())
        {
            let mut fields = event.fields;
            fields["environ"].take();
            story += &format!("agent {fields}\n");
        }
        if let Some(imds) = &*self.imds.borrow() {
            story += &format!("--- metadata\n{}\n", counted(&imds.requests()).join("\n"));
        }
        #[cfg(feature = "aws")]
        if let Some(cloud) = &*self.cloud.borrow() {
            story += "--- AWS\n";
            for call in cloud.calls() {
                let Call {
                    action,
                    answer,
                    took_effect,
                    ..
                } = &call;
                let (instance, decrement) = (call.instance(), call.decrement());
                story += &format!(
                    "{action} {instance:?} decrement {decrement:?} -> {answer} \
                     (took effect: {took_effect})\n"
                );
            }
        }
        story
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // One write: tests of other threads print too.
            eprintln!("{}", self.story());
            #[cfg(feature = "aws")]
            if self.cloud.borrow().is_some() {
                let log = moto::moto().log();
                let errors = log.find("Traceback").map_or("", |at| &log[at..]);
                eprintln!("--- moto\n{errors}");
            }
        }
        init().end(&format!("TESTBED={}", self.mark));
    }
}

/// Waits until `found` finds something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// [`wait_for`] a condition.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// The process exists and is no zombie.
pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn executable(path: &Path, content: &str) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
}

/// Equal lines once, with their number, where they came first.
fn counted(lines: &[String]) -> Vec<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for line in lines {
        match counts.iter_mut().find(|(known, _)| known == line) {
            Some((_, count)) => *count += 1,
            None => counts.push((line, 1)),
        }
    }
    let count = |(line, count): &(&str, usize)| format!("{line} ({count} times)");
    counts.iter().map(count).collect()
}

fn tail(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(most)..]
}

/// An agent that is a line of shell.
pub fn sh(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
}

/// Only root can start an agent as another user.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
