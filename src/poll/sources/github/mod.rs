//! GitHub Actions by its REST API: the jobs of all runs that are queued or in progress.
//!
//! There is no list of an organisation's queued jobs, so runs are listed by repository and jobs by
//! run. What did not change since the last round is answered with 304, which is free of the rate
//! limit: <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api>.

mod jobs;
mod pages;
mod rate;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::time::Instant;

use self::jobs::{Jobs, Repo, Runs};
use self::pages::Pages;
use super::tally::{Ages, check_words, list, words};
use crate::config::Time;
use crate::poll::http::{Http, Scheme, Site, check_url, describe, join};
use crate::poll::plan::{Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// GitHub counts a client that asks for much at once as abuse from 100 on.
const AT_ONCE: usize = 8;

/// Runs whose jobs are read in one round. More are there only when so much waits that the group's
/// maximum decides anyway.
const MOST_RUNS: usize = 500;

/// How long an organisation's list of repositories is good.
const REPOS_AGE: Duration = Duration::from_secs(300);

/// The jobs that one group's self-hosted runners would take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The API: `https://api.github.com`, or `https://HOST/api/v3` of an own server.
    #[serde(default = "public")]
    url: String,
    /// Repositories, as `OWNER/NAME`: each costs two calls a round while nothing runs.
    #[serde(default)]
    repos: Vec<String>,
    /// Instead: all repositories of this organisation that are not archived.
    org: Option<String>,
    /// Labels of the group's runners; `self-hosted` is always one. A job is for them when they have
    /// all of its labels.
    #[serde(default)]
    labels: Vec<String>,
    /// Jobs that wait longer do not count, and are told of.
    max_age: Option<Time>,
    /// Jobs count once they have waited this long.
    min_age: Option<Time>,
    /// A token that may read Actions (and, for `org`, list its repositories).
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    /// Lets the token go over plain HTTP.
    #[serde(default)]
    allow_http: bool,
}

fn public() -> String {
    "https://api.github.com".to_owned()
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
        check_words("labels", &self.labels)?;
        if self.labels.is_empty() {
            return Err("labels: name at least one, if only self-hosted".to_owned());
        }
        if self.repos.is_empty() == self.org.is_none() {
            return Err("give 'repos' or 'org'".to_owned());
        }
        let is_repo = |repo: &str| {
            repo.split_once('/')
                .is_some_and(|(owner, name)| is_name(owner) && is_name(name))
        };
        if let Some(repo) = self.repos.iter().find(|repo| !is_repo(repo)) {
            return Err(format!("repos: \"{repo}\" is not OWNER/NAME"));
        }
        match &self.org {
            Some(org) if !is_name(org) => Err(format!("org: \"{org}\" is no name")),
            _ => Ok(()),
        }
    }

    /// The tag has the labels, between commas.
    fn fill(&mut self, tag: &str) {
        self.labels = words(tag).map(str::to_owned).collect();
    }

    fn server(&self) -> String {
        let of = match &self.org {
            Some(org) => format!("org {org}"),
            None => list(&self.repos),
        };
        format!(
            "{} {of}{}",
            describe(&self.url, self.token().as_ref()),
            self.ages().text()
        )
    }

    /// Labels are compared without regard to case.
    fn queue(&self) -> Queue {
        let lower: Vec<_> = self
            .labels
            .iter()
            .map(|label| label.to_lowercase())
            .collect();
        Queue::new(list(&lower))
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let site = Site::new(
            http,
            &self.url,
            Scheme::Bearer,
            self.token(),
            self.allow_http,
        )
        .header("Accept", "application/vnd.github+json")
        .header("X-GitHub-Api-Version", "2022-11-28");
        Box::new(GitHub {
            site,
            url: self.url.clone(),
            repos: self.repos.clone(),
            org: self.org.clone(),
            listed: None,
            ages: self.ages(),
            pages: Pages::default(),
        })
    }
}

struct GitHub {
    site: Site,
    url: String,
    repos: Vec<String>,
    org: Option<String>,
    /// The organisation's repositories, and when they were listed.
    listed: Option<(Instant, Vec<String>)>,
    ages: Ages,
    pages: Pages,
}

impl Source for GitHub {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            self.pages.begin();
            let (jobs, cut) = match self.round().await {
                Ok(jobs) => jobs,
                Err(error) => {
                    // A repository that is gone would be asked for until the list is read again.
                    self.listed = None;
                    return Err(error);
                }
            };
            let jobs = || jobs.iter().flat_map(|page| &page.jobs);
            let now = SystemTime::now();
            let mut harvest = Harvest {
                hints: self.pages.end(),
                ..Harvest::default()
            };
            for queue in queues {
                let (demand, remark) = jobs::demand(jobs(), queue.as_str(), self.ages, now);
                harvest.demands.push((queue.clone(), Ok(demand)));
                harvest.remarks.extend(remark);
            }
            harvest.remarks.extend(jobs::unlabelled(jobs()));
            harvest.remarks.extend(cut);
            Ok(harvest)
        })
    }
}

impl GitHub {
    async fn round(&mut self) -> Result<(Vec<Rc<Jobs>>, Option<String>), SourceError> {
        let repos = self.repos().await?;
        self.jobs(&repos).await
    }

    async fn repos(&mut self) -> Result<Vec<String>, SourceError> {
        let Some(org) = &self.org else {
            return Ok(self.repos.clone());
        };
        match &self.listed {
            Some((at, repos)) if at.elapsed() < REPOS_AGE => return Ok(repos.clone()),
            _ => {}
        }
        let url = join(
            &self.url,
            &format!("/orgs/{org}/repos"),
            &[("per_page", "100")],
        );
        let pages = self.pages.all::<Vec<Repo>>(&self.site, url).await?;
        let live = pages
            .iter()
            .flat_map(|page| page.iter())
            .filter(|repo| !repo.archived && !repo.disabled);
        let repos: Vec<_> = live.map(|repo| repo.full_name.clone()).collect();
        self.listed = Some((Instant::now(), repos.clone()));
        Ok(repos)
    }

    /// The jobs of all runs that are not over, and what to say when there are too many.
    async fn jobs(&self, repos: &[String]) -> Result<(Vec<Rc<Jobs>>, Option<String>), SourceError> {
        let runs: Vec<_> = stream::iter(repos)
            .map(|repo| self.runs(repo))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let runs: Vec<String> = runs.into_iter().flatten().collect();
        let cut = (runs.len() > MOST_RUNS).then(|| {
            format!(
                "{} runs are not over: only {MOST_RUNS} were looked at",
                runs.len()
            )
        });
        let pages: Vec<_> = stream::iter(runs.into_iter().take(MOST_RUNS))
            .map(|url| self.pages.all::<Jobs>(&self.site, url))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok((pages.into_iter().flatten().collect(), cut))
    }

    /// Where the jobs of a repository's runs are.
    async fn runs(&self, repo: &str) -> Result<Vec<String>, SourceError> {
        let mut ids = BTreeSet::new();
        // In this order: a run that begins in between is in both lists, not in neither.
        for status in ["queued", "in_progress"] {
            let path = format!("/repos/{repo}/actions/runs");
            let url = join(&self.url, &path, &[("status", status), ("per_page", "100")]);
            let pages = self.pages.all::<Runs>(&self.site, url).await?;
            ids.extend(
                pages
                    .iter()
                    .flat_map(|page| &page.workflow_runs)
                    .map(|run| run.id),
            );
        }
        let jobs = |id: u64| {
            let path = format!("/repos/{repo}/actions/runs/{id}/jobs");
            join(
                &self.url,
                &path,
                &[("filter", "latest"), ("per_page", "100")],
            )
        };
        Ok(ids.into_iter().map(jobs).collect())
    }
}

/// What GitHub allows in a name: nothing that a path would have to encode.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text != "." && text != ".." && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests;
