//! GitLab: the pending and running jobs of projects.
//!
//! It tells nobody but an administrator of all pending jobs, and nobody by tag
//! (<https://gitlab.com/gitlab-org/gitlab/-/issues/14325>), so each project is asked:
//! <https://docs.gitlab.com/api/jobs/#list-project-jobs>.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::time::Instant;

use super::pages::{List, all};
use super::tally::{Ages, Tally, check_words, list, moment, or_null, since, words};
use crate::config::Time;
use crate::poll::http::{Http, Scheme, Site, check_url, describe, encode, join, merge_hints};
use crate::poll::plan::{Demand, Harvest, Hints, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// Far from what gitlab.com takes for abuse (2000 requests a minute).
const AT_ONCE: usize = 8;

/// How long a group's list of projects is good.
const PROJECTS_AGE: Duration = Duration::from_secs(300);

/// Ends the text of a queue whose runners take jobs without tags too.
const UNTAGGED: &str = " and untagged";

/// The jobs that one group's runners would take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The server, if it is not `https://gitlab.com`.
    #[serde(default = "public")]
    url: String,
    /// Projects, by their path (`team/app`) or number: each costs a call a round.
    #[serde(default)]
    projects: Vec<String>,
    /// Instead: all projects of this group and of the groups in it, by its path or number.
    group: Option<String>,
    /// Tags of the runners. A job is for them when they have all of its tags.
    #[serde(default)]
    tags: Vec<String>,
    /// Whether they run jobs without tags, too ("run untagged jobs").
    #[serde(default)]
    untagged: bool,
    /// Jobs that wait longer do not count, and are told of.
    max_age: Option<Time>,
    /// Jobs count once they have waited this long.
    min_age: Option<Time>,
    /// An access token with the scope `read_api`.
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    /// Lets the token go over plain HTTP.
    #[serde(default)]
    allow_http: bool,
}

fn public() -> String {
    "https://gitlab.com".to_owned()
}

impl Spec {
    fn token(&self) -> Option<Token> {
        Token::new(self.token_file.as_deref(), self.token_env.as_deref())
    }

    fn ages(&self) -> Ages {
        Ages::new(self.min_age, self.max_age)
    }
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        Token::check(self.token_file.as_deref(), self.token_env.as_deref())?;
        check_url(&self.url, true, self.allow_http)?;
        check_words("tags", &self.tags)?;
        check_words("projects", &self.projects)?;
        if self.projects.is_empty() == self.group.is_none() {
            return Err("give 'projects' or 'group'".to_owned());
        }
        if self.tags.is_empty() && !self.untagged {
            return Err("give 'tags', or untagged = true".to_owned());
        }
        Ok(())
    }

    /// The tag has the runners' tags, between commas.
    fn fill(&mut self, tag: &str) {
        self.tags = words(tag).map(str::to_owned).collect();
    }

    fn server(&self) -> String {
        let of = match &self.group {
            Some(group) => format!("group {group}"),
            None => list(&self.projects),
        };
        format!(
            "{} {of}{}",
            describe(&self.url, self.token().as_ref()),
            self.ages().text()
        )
    }

    fn queue(&self) -> Queue {
        let untagged = if self.untagged { UNTAGGED } else { "" };
        Queue::new(format!("{}{untagged}", list(&self.tags)))
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let scheme = Scheme::Header("PRIVATE-TOKEN");
        Box::new(GitLab {
            site: Site::new(http, &self.url, scheme, self.token(), self.allow_http),
            url: self.url.clone(),
            projects: self.projects.clone(),
            group: self.group.clone(),
            listed: None,
            ages: self.ages(),
        })
    }
}

struct GitLab {
    site: Site,
    url: String,
    projects: Vec<String>,
    group: Option<String>,
    listed: Option<Listed>,
    ages: Ages,
}

/// A group's projects.
struct Listed {
    at: Instant,
    projects: Vec<String>,
    cut: bool,
}

impl Source for GitLab {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let jobs = match self.round().await {
                Ok(told) => told,
                Err(error) => {
                    // A project that is gone would be asked for until the list is read again.
                    self.listed = None;
                    return Err(error);
                }
            };
            let now = SystemTime::now();
            let mut harvest = Harvest {
                hints: jobs.hints,
                ..Harvest::default()
            };
            for queue in queues {
                let (demand, remark) = demand(&jobs.entries, queue.as_str(), self.ages, now);
                harvest.demands.push((queue.clone(), Ok(demand)));
                harvest.remarks.extend(remark);
            }
            let cut = jobs
                .cut
                .then(|| "there are more jobs or projects than were read".to_owned());
            harvest.remarks.extend(cut);
            Ok(harvest)
        })
    }
}

impl GitLab {
    async fn round(&mut self) -> Result<List<Job>, SourceError> {
        let projects = self.projects().await?;
        let told: Vec<List<Job>> = stream::iter(&projects.entries)
            .map(|project| all(&self.site, self.jobs_of(project)))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let List {
            mut hints, mut cut, ..
        } = projects;
        let mut entries = Vec::new();
        for mut jobs in told {
            hints = merge_hints(hints, jobs.hints);
            cut |= jobs.cut;
            entries.append(&mut jobs.entries);
        }
        Ok(List {
            entries,
            hints,
            cut,
        })
    }

    async fn projects(&mut self) -> Result<List<String>, SourceError> {
        let known = |entries: &Vec<String>, cut| List {
            entries: entries.clone(),
            hints: Hints::default(),
            cut,
        };
        let Some(group) = &self.group else {
            return Ok(known(&self.projects, false));
        };
        match &self.listed {
            Some(listed) if listed.at.elapsed() < PROJECTS_AGE => {
                return Ok(known(&listed.projects, listed.cut));
            }
            _ => {}
        }
        let path = format!("/api/v4/groups/{}/projects", encode(group));
        let query = [
            ("include_subgroups", "true"),
            ("archived", "false"),
            ("per_page", "100"),
        ];
        let List {
            entries,
            hints,
            cut,
        } = all(&self.site, join(&self.url, &path, &query)).await?;
        let with_jobs = entries
            .iter()
            .filter(|project: &&Project| project.has_jobs());
        let projects: Vec<_> = with_jobs.map(|project| project.id.to_string()).collect();
        self.listed = Some(Listed {
            at: Instant::now(),
            projects: projects.clone(),
            cut,
        });
        Ok(List {
            entries: projects,
            hints,
            cut,
        })
    }

    fn jobs_of(&self, project: &str) -> String {
        let path = format!("/api/v4/projects/{}/jobs", encode(project));
        let query = [
            ("scope[]", "pending"),
            ("scope[]", "running"),
            ("pagination", "keyset"),
            ("order_by", "id"),
            ("sort", "desc"),
            ("per_page", "100"),
        ];
        join(&self.url, &path, &query)
    }
}

#[derive(Debug, Deserialize)]
struct Project {
    id: u64,
    /// `disabled`, `private` or `enabled`.
    builds_access_level: Option<String>,
}

impl Project {
    /// One without CI refuses to list its jobs.
    fn has_jobs(&self) -> bool {
        self.builds_access_level.as_deref() != Some("disabled")
    }
}

#[derive(Debug, Deserialize)]
struct Job {
    status: Status,
    #[serde(default, deserialize_with = "or_null")]
    tag_list: Vec<String>,
    /// Seconds; while it is pending, so far. Not told before GitLab 14.
    queued_duration: Option<f64>,
    /// Before its stage began, at times long before.
    created_at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pending,
    Running,
    #[serde(other)]
    Other,
}

impl Job {
    fn age(&self, now: SystemTime) -> Option<Duration> {
        match self.queued_duration {
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            None => Some(since(moment(self.created_at.as_deref()?)?, now)),
        }
    }

    /// As GitLab gives jobs to runners: those that have every tag of the job.
    fn is_for(&self, queue: &str) -> bool {
        let (tags, untagged) = match queue.strip_suffix(UNTAGGED) {
            Some(tags) => (tags, true),
            None => (queue, false),
        };
        let has = |tag: &String| words(tags).any(|own| own == tag);
        self.tag_list.iter().all(has) && (untagged || !self.tag_list.is_empty())
    }
}

fn demand(jobs: &[Job], queue: &str, ages: Ages, now: SystemTime) -> (Demand, Option<String>) {
    let mut tally = Tally::new(ages);
    for job in jobs.iter().filter(|job| job.is_for(queue)) {
        match job.status {
            Status::Pending => tally.wait(job.age(now)),
            Status::Running => tally.run(),
            Status::Other => {}
        }
    }
    (tally.demand(), tally.remark(queue))
}

#[cfg(test)]
#[path = "gitlab_tests.rs"]
mod tests;
