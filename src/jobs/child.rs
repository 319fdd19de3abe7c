//! Work seen as processes below the agent.

use std::collections::HashSet;

use regex::bytes::Regex;

use crate::lifecycle::Observation;
use crate::presets::ChildDetector;

/// A process, as far as it matters here. The start time (`/proc/PID/stat` field 22) tells it from
/// a later one that got the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub start_time: u64,
    pub comm: Vec<u8>,
    /// Its arguments, program included, joined by blanks; `None` when they were not asked for or
    /// cannot be read now.
    pub arguments: Option<Vec<u8>>,
}

/// What is below one agent process, and what of it is work.
#[derive(Debug, Clone)]
pub struct Children {
    spec: ChildDetector,
    /// There when the agent was ready: the agent's own helpers.
    baseline: HashSet<(i32, u64)>,
    /// Who started until then, in ticks after boot, is one too.
    settled_at: u64,
    /// Who had the right arguments when they were last read.
    known: HashSet<(i32, u64)>,
}

/// `/proc` counts time in these (USER_HZ, the same on every Linux architecture that we build for).
const TICKS_PER_SECOND: u64 = 100;

impl Children {
    /// `at_ready`: all descendants of the agent when it was seen ready, by pid and start time.
    /// `started`: the agent's own start time, in ticks after boot.
    pub fn new(
        spec: &ChildDetector,
        at_ready: impl IntoIterator<Item = (i32, u64)>,
        started: u64,
    ) -> Children {
        let settle = spec.settle.as_millis() as u64 * TICKS_PER_SECOND / 1000;
        Children {
            spec: spec.clone(),
            baseline: at_ready.into_iter().collect(),
            settled_at: started.saturating_add(settle),
            known: HashSet::new(),
        }
    }

    /// What was there at ready.
    pub fn baseline(&self) -> Vec<(i32, u64)> {
        self.baseline.iter().copied().collect()
    }

    /// How many jobs the descendants are now: processes that are work, each with all that it
    /// started counted once.
    pub fn observe(&mut self, now: &[Process]) -> Observation {
        self.read_arguments(now);
        let work: HashSet<i32> = now
            .iter()
            .filter(|process| self.is_work(process))
            .map(|process| process.pid)
            .collect();
        let jobs = now
            .iter()
            .filter(|process| work.contains(&process.pid) && !work.contains(&process.parent))
            .count();
        Observation::Running {
            jobs: Some(u32::try_from(jobs).unwrap_or(u32::MAX)),
        }
    }

    /// A named process is work even if it was there at ready: the agent may be ready late, or
    /// have been started by an earlier supervisor.
    fn is_work(&self, process: &Process) -> bool {
        let id = (process.pid, process.start_time);
        let has_name = |name: &Regex| name.is_match(&process.comm);
        match (&self.spec.comm, &self.spec.exe) {
            (None, None) => !self.baseline.contains(&id) && process.start_time > self.settled_at,
            (comm, exe) => {
                comm.as_ref().is_none_or(has_name) && (exe.is_none() || self.known.contains(&id))
            }
        }
    }

    fn read_arguments(&mut self, now: &[Process]) {
        let Some(exe) = &self.spec.exe else {
            return;
        };
        let matches = |process: &&Process| match &process.arguments {
            Some(arguments) => exe.is_match(arguments),
            None => self.known.contains(&(process.pid, process.start_time)),
        };
        let known = now.iter().filter(matches);
        self.known = known
            .map(|process| (process.pid, process.start_time))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, comm: &str) -> Process {
        Process {
            pid,
            parent,
            start_time: 100,
            comm: comm.into(),
            arguments: None,
        }
    }

    fn spec(text: &str) -> ChildDetector {
        toml::from_str(text).expect("good")
    }

    fn jobs(jobs: u32) -> Observation {
        Observation::Running { jobs: Some(jobs) }
    }

    #[test]
    fn what_was_there_at_ready_is_no_work() {
        let helper = process(11, 10, "helper");
        let mut children = Children::new(&spec(""), [(11, 100)], 50);
        assert_eq!(children.observe(std::slice::from_ref(&helper)), jobs(0));
        let job = process(12, 10, "sh");
        assert_eq!(children.observe(&[helper, job]), jobs(1));
    }

    #[test]
    fn an_agent_that_a_script_starts_is_no_work() {
        let mut children = Children::new(&spec("settle = \"1s\""), [], 50);
        let at = |start_time| Process {
            start_time,
            ..process(11, 10, "agent")
        };
        assert_eq!(children.observe(&[at(150)]), jobs(0));
        assert_eq!(children.observe(&[at(151)]), jobs(1));
    }

    #[test]
    fn a_job_with_its_own_children_is_one_job() {
        let mut children = Children::new(&spec(""), [(11, 100)], 50);
        let tree = [
            process(11, 10, "helper"),
            process(20, 11, "sh"),
            process(21, 20, "make"),
            process(22, 21, "cc"),
            process(30, 10, "sh"),
        ];
        assert_eq!(children.observe(&tree), jobs(2));
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let mut children = Children::new(&spec(""), [(11, 100)], 50);
        let reused = Process {
            start_time: 101,
            ..process(11, 10, "sh")
        };
        assert_eq!(children.observe(&[reused]), jobs(1));
    }

    #[test]
    fn with_a_name_only_that_is_work_even_when_it_was_there() {
        let worker = process(20, 10, "Runner.Worker");
        let mut children = Children::new(&spec(r"comm = '^Runner\.Worker$'"), [(20, 100)], 50);
        let others = [process(11, 10, "node"), worker];
        assert_eq!(children.observe(&others), jobs(1));
        assert_eq!(children.observe(&others[..1]), jobs(0));
    }

    #[test]
    fn arguments_tell_jobs_from_other_processes_of_the_same_name() {
        let with = |pid, arguments: &str| Process {
            arguments: Some(arguments.into()),
            ..process(pid, 10, "java")
        };
        let mut children = Children::new(&spec(r"exe = '^java .*\bbuild\.jar'"), [], 50);
        let mut now = [
            with(11, "java -jar agent.jar"),
            with(12, "java -jar build.jar"),
        ];
        assert_eq!(children.observe(&now[..1]), jobs(0));
        assert_eq!(children.observe(&now), jobs(1));
        // For a moment it waits in the kernel.
        now[1].arguments = None;
        assert_eq!(children.observe(&now), jobs(1));
        now[1].arguments = Some(b"sh".to_vec());
        assert_eq!(
            children.observe(&now),
            jobs(0),
            "it has become another program"
        );
        let mut both = Children::new(&spec("comm = 'java'\nexe = 'build'"), [], 50);
        assert_eq!(both.observe(&[process(13, 10, "java")]), jobs(0));
        assert_eq!(both.observe(&[with(13, "java build")]), jobs(1));
    }
}
