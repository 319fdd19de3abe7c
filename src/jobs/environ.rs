//! Work seen as processes with a variable in their environment, wherever they are below the agent.

use std::collections::{HashMap, HashSet};

use crate::lifecycle::Observation;

/// A process of the agent's, and what it has in the place of the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    pub pid: i32,
    /// `/proc/PID/stat` field 22: tells it from a later one that got the same number.
    pub start_time: u64,
    pub value: Variable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    Set(Vec<u8>),
    Unset,
    /// It is another user's, or waits in the kernel.
    Unreadable,
}

/// The processes of one agent: each value of the variable is a job.
#[derive(Debug, Default)]
pub struct Environ {
    /// What was last read of processes that still run: they keep it while they cannot be read.
    known: HashMap<(i32, u64), Vec<u8>>,
}

impl Environ {
    /// How many jobs the processes show. `agent`: the pid of its main process, whose own value is
    /// what the agent was started with, and is no job of its.
    pub fn observe(&mut self, agent: i32, now: Vec<Carrier>) -> Observation {
        let mut read_any = false;
        let mut known = HashMap::new();
        let mut own = None;
        for carrier in now {
            let process = (carrier.pid, carrier.start_time);
            read_any |= carrier.value != Variable::Unreadable;
            let value = match carrier.value {
                Variable::Set(value) => Some(value),
                Variable::Unset => None,
                Variable::Unreadable => self.known.remove(&process),
            };
            let Some(value) = value else {
                continue;
            };
            if carrier.pid == agent {
                own = Some(value.clone());
            }
            known.insert(process, value);
        }
        self.known = known;
        let jobs: HashSet<_> = self
            .known
            .values()
            .filter(|v| own.as_ref() != Some(v))
            .collect();
        Observation::Running {
            jobs: read_any.then(|| u32::try_from(jobs.len()).unwrap_or(u32::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: i32 = 10;

    fn carrier(pid: i32, value: Variable) -> Carrier {
        Carrier {
            pid,
            start_time: 100,
            value,
        }
    }

    fn set(pid: i32, value: &str) -> Carrier {
        carrier(pid, Variable::Set(value.into()))
    }

    fn jobs(environ: &mut Environ, now: &[Carrier]) -> Option<u32> {
        match environ.observe(AGENT, now.to_vec()) {
            Observation::Running { jobs } => jobs,
            other => panic!("{other:?} is no level"),
        }
    }

    #[test]
    fn each_value_is_one_job() {
        let agent = carrier(AGENT, Variable::Unset);
        let environ = &mut Environ::default();
        assert_eq!(jobs(environ, std::slice::from_ref(&agent)), Some(0));
        let now = [
            agent.clone(),
            set(11, "a-1"),
            set(12, "a-1"),
            set(13, "b-7"),
        ];
        assert_eq!(jobs(environ, &now), Some(2));
        assert_eq!(jobs(environ, &now[..2]), Some(1));
        assert_eq!(jobs(environ, &[agent]), Some(0));
    }

    #[test]
    fn what_the_agent_was_started_with_is_no_job_of_its() {
        let now = [set(AGENT, "outer"), set(11, "outer"), set(12, "inner")];
        assert_eq!(jobs(&mut Environ::default(), &now), Some(1));
    }

    #[test]
    fn a_process_that_cannot_be_read_for_a_while_keeps_its_job() {
        let agent = carrier(AGENT, Variable::Unset);
        let waits = [agent.clone(), carrier(11, Variable::Unreadable)];
        let environ = &mut Environ::default();
        assert_eq!(jobs(environ, &waits), Some(0), "another user's");
        assert_eq!(jobs(environ, &[agent, set(11, "a-1")]), Some(1));
        assert_eq!(jobs(environ, &waits), Some(1));
        assert_eq!(jobs(environ, &waits), Some(1));
        let mut reused = waits;
        reused[1].start_time += 1;
        assert_eq!(jobs(environ, &reused), Some(0), "another process");
    }

    #[test]
    fn when_nothing_can_be_read_it_is_unknown() {
        let environ = &mut Environ::default();
        let now = [
            carrier(AGENT, Variable::Unreadable),
            carrier(11, Variable::Unreadable),
        ];
        assert_eq!(jobs(environ, &now), None);
        assert_eq!(jobs(environ, &[]), None);
    }
}
