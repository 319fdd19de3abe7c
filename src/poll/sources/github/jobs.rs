//! GitHub's answers, and which jobs a group's runners would take.

use std::time::SystemTime;

use serde::Deserialize;

use crate::poll::plan::Demand;
use crate::poll::sources::tally::{Ages, Tally, moment, or_null, since, words};

/// Every self-hosted runner has it.
const SELF_HOSTED: &str = "self-hosted";

/// One of `GET /orgs/ORG/repos`.
#[derive(Debug, Deserialize)]
pub struct Repo {
    pub full_name: String,
    #[serde(default)]
    pub archived: bool,
    #[serde(default)]
    pub disabled: bool,
}

/// A page of `GET /repos/OWNER/NAME/actions/runs`.
#[derive(Debug, Deserialize)]
pub struct Runs {
    pub workflow_runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
pub struct Run {
    pub id: u64,
}

/// A page of `GET /repos/OWNER/NAME/actions/runs/ID/jobs`.
#[derive(Debug, Deserialize)]
pub struct Jobs {
    pub jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
pub struct Job {
    status: Status,
    /// Empty for `runs-on: {group: ...}` without labels.
    #[serde(default, deserialize_with = "or_null")]
    labels: Vec<String>,
    created_at: Option<String>,
    started_at: Option<String>,
}

/// Other states wait for a person or for another job (`waiting`, `pending`, `requested`), or are
/// over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Queued,
    InProgress,
    #[serde(other)]
    Other,
}

/// What one group's runners have to do, and what a person should know of it.
pub fn demand<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    queue: &str,
    ages: Ages,
    now: SystemTime,
) -> (Demand, Option<String>) {
    let mut tally = Tally::new(ages);
    for job in jobs.filter(|job| is_for(&job.labels, queue)) {
        match job.status {
            Status::Queued => tally.wait(job.age(now)),
            Status::InProgress => tally.run(),
            Status::Other => {}
        }
    }
    (tally.demand(), tally.remark(queue))
}

/// Jobs that name a runner group only: nobody can tell for whom they are.
pub fn unlabelled<'a>(jobs: impl Iterator<Item = &'a Job>) -> Option<String> {
    let queued = jobs.filter(|job| job.status == Status::Queued && job.labels.is_empty());
    let count = queued.count();
    (count > 0).then(|| format!("{count} queued jobs name no label, and do not count"))
}

impl Job {
    fn age(&self, now: SystemTime) -> Option<std::time::Duration> {
        let created = self.created_at.as_deref().or(self.started_at.as_deref())?;
        Some(since(moment(created)?, now))
    }
}

/// As GitHub gives jobs to runners: the runner has every label of the job, whatever its case.
fn is_for(labels: &[String], queue: &str) -> bool {
    let has = |label: &String| {
        label.eq_ignore_ascii_case(SELF_HOSTED)
            || words(queue).any(|own| own.eq_ignore_ascii_case(label))
    };
    !labels.is_empty() && labels.iter().all(has)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// From GitHub's documentation of the jobs of a run, with queued ones added.
    const JOBS: &str = include_str!("../fixtures/github_jobs.json");

    fn jobs() -> Jobs {
        serde_json::from_str(JOBS).expect("jobs")
    }

    fn read(queue: &str, max: Option<u64>) -> (u32, Option<u32>, Option<u64>) {
        let ages = Ages {
            min: None,
            max: max.map(Duration::from_secs),
        };
        let now = moment("2020-01-20T18:00:00Z").expect("a time");
        let (demand, _) = demand(jobs().jobs.iter(), queue, ages, now);
        (
            demand.waiting,
            demand.running,
            demand.oldest.map(|age| age.as_secs()),
        )
    }

    #[test]
    fn queued_jobs_wait_and_those_in_progress_run() {
        assert_eq!(read("linux,x64", None), (2, Some(1), Some(1200)));
        assert_eq!(read("linux,x64,gpu", None), (3, Some(1), Some(1200)));
        assert_eq!(read("windows,x64", None), (0, Some(0), None));
        assert_eq!(read("linux,x64", Some(900)), (1, Some(1), Some(600)));
    }

    #[test]
    fn jobs_without_labels_are_told_of() {
        assert_eq!(
            unlabelled(jobs().jobs.iter()).as_deref(),
            Some("1 queued jobs name no label, and do not count")
        );
    }

    #[test]
    fn a_runner_takes_jobs_all_of_whose_labels_it_has() {
        for (job, runner, expected) in [
            (&["self-hosted"] as &[_], "linux,x64", true),
            (&["self-hosted", "linux"], "linux,x64", true),
            (&["Linux", "X64"], "linux,x64", true),
            (&["self-hosted", "linux", "gpu"], "linux,x64", false),
            (&["ubuntu-latest"], "linux,x64", false),
            (&["lin"], "linux,x64", false),
            (&["big"], "", false),
            (&["self-hosted"], "", true),
            (&[], "linux,x64", false),
        ] {
            let job: Vec<String> = job.iter().map(|&label| label.to_owned()).collect();
            assert_eq!(is_for(&job, runner), expected, "{job:?} and {runner}");
        }
    }

    #[test]
    fn what_is_no_list_of_jobs_is_refused() {
        for bad in [
            "{}",
            "[]",
            r#"{"message": "Not Found"}"#,
            r#"{"jobs": null}"#,
            r#"{"jobs": [{}]}"#,
        ] {
            assert!(serde_json::from_str::<Jobs>(bad).is_err(), "{bad}");
        }
        for bad in [
            "{}",
            r#"{"total_count": 0}"#,
            r#"{"workflow_runs": [{"id": "x"}]}"#,
        ] {
            assert!(serde_json::from_str::<Runs>(bad).is_err(), "{bad}");
        }
    }
}
