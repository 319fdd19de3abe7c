//! The demonstration's jobs: when they come, who runs them, how long they waited. No clock: times
//! are since the beginning.

use std::time::Duration;

/// When so many jobs come at once: two bursts, and a quiet time in which machines end.
const BURSTS: [(f32, u32); 11] = [
    (0.5, 3),
    (5.0, 9),
    (10.0, 4),
    (14.0, 2),
    (18.0, 1),
    (20.0, 1),
    (33.0, 2),
    (35.0, 11),
    (38.0, 5),
    (40.0, 1),
    (41.0, 1),
];
/// The same in short.
const SHORT: [(f32, u32); 3] = [(0.5, 3), (2.0, 5), (6.0, 2)];

#[derive(Debug, Clone)]
struct Job {
    comes: Duration,
    takes: Duration,
    claimed: Option<Duration>,
    ended: Option<(Duration, bool)>,
}

#[derive(Debug, Clone)]
pub struct Work {
    jobs: Vec<Job>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub to_come: u32,
    pub waiting: u32,
    pub running: u32,
    pub passed: u32,
    pub failed: u32,
}

impl Work {
    /// The same each time.
    pub fn new(fast: bool) -> Work {
        let mut chance = fastrand::Rng::with_seed(7);
        let bursts = if fast { &SHORT[..] } else { &BURSTS };
        let longest = if fast { 2.0 } else { 4.0 };
        let mut jobs = Vec::new();
        for (second, count) in bursts {
            for _ in 0..*count {
                jobs.push(Job {
                    comes: Duration::from_secs_f32(*second),
                    takes: Duration::from_secs_f32(1.5 + longest * chance.f32()),
                    claimed: None,
                    ended: None,
                });
            }
        }
        Work { jobs }
    }

    /// The job that has waited longest: its number, and how long it takes.
    pub fn claim(&mut self, now: Duration) -> Option<(usize, Duration)> {
        let waits = |job: &Job| job.comes <= now && job.claimed.is_none();
        let number = self.jobs.iter().position(waits)?;
        let job = &mut self.jobs[number];
        job.claimed = Some(now);
        Some((number, job.takes))
    }

    /// A job ends once, and only one that runs.
    pub fn end(&mut self, now: Duration, number: usize, passed: bool) -> bool {
        match self.jobs.get_mut(number) {
            Some(job) if job.claimed.is_some() && job.ended.is_none() => {
                job.ended = Some((now, passed));
                true
            }
            _ => false,
        }
    }

    pub fn counts(&self, now: Duration) -> Counts {
        let mut counts = Counts::default();
        for job in &self.jobs {
            *match (job.claimed, job.ended) {
                (_, Some((_, true))) => &mut counts.passed,
                (_, Some((_, false))) => &mut counts.failed,
                (Some(_), None) => &mut counts.running,
                (None, None) if job.comes <= now => &mut counts.waiting,
                (None, None) => &mut counts.to_come,
            } += 1;
        }
        counts
    }

    pub fn oldest(&self, now: Duration) -> Option<Duration> {
        let waiting = self.jobs.iter().filter(|job| job.claimed.is_none());
        let waited = waiting.filter_map(|job| now.checked_sub(job.comes));
        waited.max()
    }

    pub fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.ended.is_some())
    }

    /// How long jobs waited, the shortest first; those that nobody took are left out.
    pub fn waits(&self) -> Vec<Duration> {
        let claimed = self
            .jobs
            .iter()
            .filter_map(|job| Some(job.claimed? - job.comes));
        let mut waits: Vec<_> = claimed.collect();
        waits.sort_unstable();
        waits
    }

    /// How long jobs have run, all together.
    pub fn busy(&self) -> Duration {
        let ended = self
            .jobs
            .iter()
            .filter_map(|job| Some(job.ended?.0 - job.claimed?));
        ended.sum()
    }
}

/// The value that `percent` of the sorted ones do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f32) -> Duration {
        Duration::from_secs_f32(seconds)
    }

    #[test]
    fn there_are_forty_jobs_within_forty_seconds() {
        let work = Work::new(false);
        assert_eq!(work.counts(Duration::ZERO).to_come, 40);
        assert_eq!(work.counts(at(41.0)).waiting, 40);
        let longest = work.jobs.iter().map(|job| job.takes).max();
        assert!(longest.is_some_and(|time| time < at(6.0)));
    }

    #[test]
    fn a_job_is_taken_once_ended_once_and_only_after_it_came() {
        let mut work = Work::new(true);
        assert_eq!(work.claim(at(0.1)), None);
        let (number, _) = work.claim(at(1.0)).expect("three wait");
        assert_ne!(work.claim(at(1.0)).expect("two wait").0, number);
        assert!(work.end(at(2.0), number, true) && !work.end(at(2.0), number, false));
        assert!(!work.end(at(2.0), 9, true) && !work.end(at(2.0), 10, true));
        let counts = work.counts(at(1.0));
        assert_eq!((counts.passed, counts.running, counts.waiting), (1, 1, 1));
        assert_eq!(work.oldest(at(1.5)), Some(at(1.0)));
        assert_eq!(
            (work.waits(), work.busy()),
            (vec![at(0.5), at(0.5)], at(1.0))
        );
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let waits: Vec<_> = (1..=20).map(|n| at(n as f32)).collect();
        assert_eq!(percentile(&waits, 50), at(10.0));
        assert_eq!(percentile(&waits, 95), at(19.0));
        assert_eq!(percentile(&waits[..1], 95), at(1.0));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
