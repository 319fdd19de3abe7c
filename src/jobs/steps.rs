//! What the steps of jobs tell: that no job runs when for a while there was none.
//!
//! An agent may log each command of a job but not the job's end. Its steps then say nothing while
//! they go on, as any number of jobs may be between two of theirs, and that there are no jobs once
//! it is quiet.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::lifecycle::Observation;

/// More steps at a time are none of an agent's: who shows them must not cost memory.
const MOST_OPEN: usize = 256;

/// The steps of one agent process.
#[derive(Debug)]
pub struct Steps {
    linger: Duration,
    open: Vec<OpenStep>,
    quiet_since: Option<Instant>,
}

/// A step that runs, by its id where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStep(Option<String>);

impl Steps {
    /// After `linger` without a step there is no job.
    pub fn new(linger: Duration) -> Steps {
        Steps {
            linger,
            open: Vec::new(),
            quiet_since: None,
        }
    }

    /// An earlier supervisor saw these begin.
    pub fn set_open(&mut self, open: Vec<OpenStep>, now: Instant) {
        self.open = open;
        self.live(now);
    }

    /// Its own detector saw a step begin or end.
    pub fn see(&mut self, seen: &Observation, now: Instant) {
        match seen {
            Observation::Started { id } => {
                let step = OpenStep(id.clone());
                let known = id.is_some() && self.open.contains(&step);
                if !known && self.open.len() < MOST_OPEN {
                    self.open.push(step);
                }
            }
            Observation::Finished { id, .. } => {
                let same = |step: &OpenStep| id.is_none() || step.0.is_none() || step.0 == *id;
                if let Some(at) = self.open.iter().position(same) {
                    self.open.remove(at);
                }
            }
            _ => return,
        }
        self.live(now);
    }

    /// There is a job, whose first step may be still to come.
    pub fn live(&mut self, now: Instant) {
        self.quiet_since = Some(now);
    }

    /// No jobs, or any number of them.
    pub fn answer(&self, now: Instant) -> Observation {
        let quiet = |since| now.saturating_duration_since(since) >= self.linger;
        let none = self.open.is_empty() && self.quiet_since.is_none_or(quiet);
        Observation::Running {
            jobs: none.then_some(0),
        }
    }

    /// To be stored, and given to the next supervisor's.
    pub fn open(&self) -> &[OpenStep] {
        &self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Outcome;

    const LINGER: u64 = 10;
    const NONE: Observation = Observation::Running { jobs: Some(0) };
    const SOME: Observation = Observation::Running { jobs: None };

    /// Seconds after an arbitrary moment.
    struct Script {
        steps: Steps,
        zero: Instant,
    }

    impl Script {
        fn new() -> Script {
            Script {
                steps: Steps::new(Duration::from_secs(LINGER)),
                zero: Instant::now(),
            }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.zero + Duration::from_secs(seconds)
        }

        fn starts(&mut self, seconds: u64, id: Option<&str>) {
            let id = id.map(str::to_owned);
            self.steps
                .see(&Observation::Started { id }, self.at(seconds));
        }

        fn finishes(&mut self, seconds: u64, id: Option<&str>) {
            let seen = Observation::Finished {
                id: id.map(str::to_owned),
                outcome: Outcome::Passed,
            };
            self.steps.see(&seen, self.at(seconds));
        }

        fn answers(&self, seconds: u64) -> Observation {
            self.steps.answer(self.at(seconds))
        }
    }

    #[test]
    fn an_agent_without_steps_has_no_jobs() {
        assert_eq!(Script::new().answers(0), NONE);
    }

    #[test]
    fn a_job_may_be_between_two_steps_for_as_long_as_they_linger() {
        let mut script = Script::new();
        script.starts(1, Some("a"));
        assert_eq!(script.answers(1000), SOME, "it still runs");
        script.finishes(1000, Some("a"));
        assert_eq!(script.answers(1000 + LINGER - 1), SOME);
        assert_eq!(script.answers(1000 + LINGER), NONE);
        script.starts(2000, Some("b"));
        assert_eq!(script.answers(2000), SOME);
    }

    #[test]
    fn steps_at_the_same_time_have_all_to_end() {
        let mut script = Script::new();
        script.starts(0, Some("a"));
        script.starts(0, Some("b"));
        script.starts(0, Some("b"));
        script.finishes(1, Some("b"));
        assert_eq!(script.answers(100), SOME);
        script.finishes(100, Some("c"));
        assert_eq!(script.answers(200), SOME, "it was another's");
        script.finishes(200, Some("a"));
        assert_eq!(script.answers(200 + LINGER), NONE);
    }

    #[test]
    fn steps_without_ids_end_in_any_order() {
        let mut script = Script::new();
        script.starts(0, None);
        script.starts(0, None);
        script.finishes(1, None);
        assert_eq!(script.answers(100), SOME);
        script.finishes(100, None);
        assert_eq!(script.answers(100 + LINGER), NONE);
    }

    #[test]
    fn a_job_that_has_just_begun_has_its_first_step_to_come() {
        let mut script = Script::new();
        script.steps.live(script.at(50));
        assert_eq!(script.answers(50 + LINGER - 1), SOME);
        assert_eq!(script.answers(50 + LINGER), NONE);
    }

    #[test]
    fn steps_outlive_the_supervisor() {
        let mut before = Script::new();
        before.starts(0, Some("a"));
        let mut script = Script::new();
        let now = script.at(0);
        script.steps.set_open(before.steps.open().to_vec(), now);
        assert_eq!(script.answers(100), SOME);
        script.finishes(100, Some("a"));
        assert_eq!(script.answers(100 + LINGER), NONE);
    }

    #[test]
    fn a_flood_of_steps_costs_no_memory() {
        let mut script = Script::new();
        for n in 0..10_000 {
            script.starts(0, Some(&n.to_string()));
        }
        assert_eq!(script.steps.open().len(), MOST_OPEN);
    }
}
