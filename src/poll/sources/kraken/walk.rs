//! The way from the projects to the jobs.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::poll::http::{Ask, Auth, Http, Reply, join, merge_hints};
use crate::poll::plan::{Harvest, Hints};
use crate::poll::source::SourceError;
use crate::poll::sources::tally::{Tally, moment, or_null, since};
use crate::poll::together::together;
use crate::poll::token::Secret;

/// Questions at once: the server answers each from its database.
const AT_ONCE: usize = 8;
/// A little less than a round may take, with the login before it.
const PATIENCE: Duration = Duration::from_secs(17);
/// Lists of flows, and runs with jobs left, that one round reads.
const MOST_LISTS: usize = 1000;
const MOST_RUNS: usize = 500;
/// The most that the server gives at once, and pages of that.
const PAGE: usize = 100;
const MOST_PAGES: usize = 50;

/// `JOB_STATE_*`
const QUEUED: u32 = 2;
const ASSIGNED: u32 = 3;

/// All jobs, what else there is to say, and the server's time.
pub type Walked = (Vec<Job>, Harvest, SystemTime);

pub struct Walk<'a> {
    pub http: &'a Http,
    pub base: &'a str,
    pub session: &'a Secret,
    pub allow_http: bool,
    pub flows: u32,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Items<T> {
    #[serde(deserialize_with = "or_null")]
    items: Vec<T>,
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct Project {
    #[serde(default, deserialize_with = "or_null")]
    branches: Vec<Branch>,
}

#[derive(Deserialize)]
struct Branch {
    id: u64,
}

#[derive(Deserialize)]
struct Flow {
    #[serde(default, deserialize_with = "or_null")]
    runs: Vec<Run>,
}

/// Its numbers are of jobs that are not covered by later ones.
#[derive(Deserialize)]
struct Run {
    id: u64,
    #[serde(default)]
    jobs_waiting: u32,
    #[serde(default)]
    jobs_executing: u32,
    deleted: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Job {
    state: u32,
    /// Run again since.
    #[serde(default)]
    covered: bool,
    pub system: String,
    #[serde(rename = "agents_group_name")]
    pub group: String,
    created: Option<String>,
    deleted: Option<String>,
}

impl Job {
    pub fn count(&self, tally: &mut Tally, now: SystemTime) {
        if self.covered || self.deleted.is_some() {
            return;
        }
        let created = self.created.as_deref().and_then(moment);
        match self.state {
            QUEUED => tally.wait(created.map(|created| since(created, now))),
            ASSIGNED => tally.run(),
            // Not yet to be run, or run already.
            _ => {}
        }
    }
}

impl Walk<'_> {
    pub async fn all(&self) -> Result<Walked, SourceError> {
        let deadline = Instant::now() + PATIENCE;
        let reply = self.get("/projects", &[]).await?;
        let projects: Items<Project> = reply.json()?;
        let mut harvest = Harvest {
            hints: reply.hints,
            ..Harvest::default()
        };
        let branches = projects.items.iter().flat_map(|project| &project.branches);
        let lists = branches.flat_map(|branch| {
            let list = |kind| format!("/branches/{}/flows/{kind}", branch.id);
            ["ci", "dev"].map(list)
        });
        let mut lists: Vec<_> = lists.collect();
        limit(&mut lists, MOST_LISTS, "lists of flows", &mut harvest);

        let limit_of_flows = self.flows.to_string();
        let query = [("start", "0"), ("limit", limit_of_flows.as_str())];
        let questions = lists
            .iter()
            .map(|path| self.one::<Items<Flow>>(path, &query));
        let flows = each(questions, deadline, &mut harvest).await?;
        let runs = flows.into_iter().flat_map(|flows| flows.items);
        let runs = runs.flat_map(|flow| flow.runs);
        let live = runs.filter(|run| {
            run.deleted.is_none() && run.jobs_waiting.saturating_add(run.jobs_executing) > 0
        });
        let mut live: Vec<_> = live.collect();
        limit(&mut live, MOST_RUNS, "runs with jobs left", &mut harvest);

        let questions = live.iter().map(|run| self.jobs(run.id));
        let jobs = each(questions, deadline, &mut harvest).await?;
        Ok((jobs.into_iter().flatten().collect(), harvest, reply.date()))
    }

    /// All pages of a run's jobs.
    async fn jobs(&self, run: u64) -> Result<Option<(Vec<Job>, Hints)>, SourceError> {
        let path = format!("/runs/{run}/jobs");
        let (mut jobs, mut hints) = (Vec::new(), Hints::default());
        for _ in 0..MOST_PAGES {
            let (start, limit) = (jobs.len().to_string(), PAGE.to_string());
            let query = [("start", start.as_str()), ("limit", limit.as_str())];
            let Some((mut page, more)) = self.one::<Items<Job>>(&path, &query).await? else {
                return Ok(None);
            };
            hints = merge_hints(hints, more);
            let is_last = page.items.is_empty();
            jobs.append(&mut page.items);
            if is_last || jobs.len() >= page.total {
                return Ok(Some((jobs, hints)));
            }
        }
        Err(SourceError::Unreadable(format!(
            "run {run} has more than {} jobs",
            PAGE * MOST_PAGES
        )))
    }

    /// `None`: it is gone since it was listed.
    async fn one<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<(T, Hints)>, SourceError> {
        match self.get(path, query).await {
            Ok(reply) => Ok(Some((reply.json()?, reply.hints))),
            Err(SourceError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply, SourceError> {
        let url = join(self.base, path, query);
        let ask = Ask {
            auth: Auth::Bearer(self.session),
            allow_http: self.allow_http,
            ..Ask::get(&url)
        };
        self.http.send(ask).await
    }
}

/// Asks all of them. One that fails makes everything unknown: the rest would be too little.
async fn each<T, F>(
    questions: impl ExactSizeIterator<Item = F>,
    deadline: Instant,
    harvest: &mut Harvest,
) -> Result<Vec<T>, SourceError>
where
    F: Future<Output = Result<Option<(T, Hints)>, SourceError>>,
{
    let mut all = Vec::new();
    for answer in together(questions, AT_ONCE, deadline).await {
        let late = || SourceError::Unreachable("not all could be read in time".to_owned());
        if let Some((value, hints)) = answer.ok_or_else(late)?? {
            harvest.hints = merge_hints(harvest.hints, hints);
            all.push(value);
        }
    }
    Ok(all)
}

/// Leaves out what is too much, and says so: then fewer jobs are known than there are.
fn limit<T>(list: &mut Vec<T>, most: usize, what: &str, harvest: &mut Harvest) {
    if list.len() > most {
        let more = list.len() - most;
        harvest.remarks.push(format!(
            "{what} beyond {most}, which were not looked at: {more}"
        ));
        list.truncate(most);
    }
}
