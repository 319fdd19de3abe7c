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

use super::pages::all;
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
        format!("{} {of}{}", describe(&self.url, self.token().as_ref()), self.ages().text())
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
    /// The group's projects, and when they were listed.
    listed: Option<(Instant, Vec<String>)>,
    ages: Ages,
}

impl Source for GitLab {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let (jobs, hints) = match self.round().await {
                Ok(told) => told,
                Err(error) => {
                    // A project that is gone would be asked for until the list is read again.
                    self.listed = None;
                    return Err(error);
                }
            };
            let now = SystemTime::now();
            let mut harvest = Harvest { hints, ..Harvest::default() };
            for queue in queues {
                let (demand, remark) = demand(&jobs, queue.as_str(), self.ages, now);
                harvest.demands.push((queue.clone(), Ok(demand)));
                harvest.remarks.extend(remark);
            }
            Ok(harvest)
        })
    }
}

impl GitLab {
    async fn round(&mut self) -> Result<(Vec<Job>, Hints), SourceError> {
        let (projects, listing) = self.projects().await?;
        let told: Vec<_> = stream::iter(&projects)
            .map(|project| all::<Job>(&self.site, self.jobs_of(project)))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let hints = told.iter().fold(listing, |all, (_, hints)| merge_hints(all, *hints));
        Ok((told.into_iter().flat_map(|(jobs, _)| jobs).collect(), hints))
    }

    async fn projects(&mut self) -> Result<(Vec<String>, Hints), SourceError> {
        let Some(group) = &self.group else {
            return Ok((self.projects.clone(), Hints::default()));
        };
        match &self.listed {
            Some((at, projects)) if at.elapsed() < PROJECTS_AGE => {
                return Ok((projects.clone(), Hints::default()));
            }
            _ => {}
        }
        let path = format!("/api/v4/groups/{}/projects", encode(group));
        let query = [("include_subgroups", "true"), ("archived", "false"), ("per_page", "100")];
        let (projects, hints) = all::<Project>(&self.site, join(&self.url, &path, &query)).await?;
        let projects: Vec<_> = projects.iter().filter(|project| project.has_jobs()).map(|project| project.id.to_string()).collect();
        self.listed = Some((Instant::now(), projects.clone()));
        Ok((projects, hints))
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
mod tests {
    use super::*;
    use crate::poll::http::testing::{Server, answer, block_on, ok};
    use crate::poll::source::Spec as _;

    /// From GitLab's documentation of the jobs API, with pending ones added.
    const JOBS: &str = include_str!("fixtures/gitlab_jobs.json");

    fn read(queue: &str, max: Option<u64>) -> (u32, Option<u32>, Option<u64>) {
        let jobs: Vec<Job> = serde_json::from_str(JOBS).expect("jobs");
        let ages = Ages { min: None, max: max.map(Duration::from_secs) };
        let now = moment("2015-12-24T15:53:00Z").expect("a time");
        let (demand, _) = demand(&jobs, queue, ages, now);
        (demand.waiting, demand.running, demand.oldest.map(|age| age.as_secs()))
    }

    #[test]
    fn jobs_count_for_runners_that_have_all_of_their_tags() {
        assert_eq!(read("ubuntu18", None), (1, Some(1), Some(180)));
        assert_eq!(read("docker runner,ubuntu18", None), (2, Some(1), Some(180)));
        assert_eq!(read("docker runner,ubuntu18", Some(100)), (1, Some(1), Some(95)));
        assert_eq!(read("docker runner", None), (0, Some(0), None));
        assert_eq!(read(UNTAGGED, None), (2, Some(0), Some(5)));
        assert_eq!(read("ubuntu18 and untagged", None), (3, Some(1), Some(180)));
    }

    #[test]
    fn what_is_no_list_of_jobs_is_refused() {
        for bad in ["{}", "null", r#"{"message": "404 Project Not Found"}"#, "[{}]", r#"[{"status": null}]"#] {
            assert!(serde_json::from_str::<Vec<Job>>(bad).is_err(), "{bad}");
        }
    }

    fn spec(url: &str, rest: &str) -> Spec {
        let text = format!("url = '{url}'\ntoken_env = 'CARGO_PKG_NAME'\n{rest}");
        toml::from_str(&text).expect("a source")
    }

    #[test]
    fn the_configuration_must_say_whose_jobs() {
        let url = "https://gitlab.example.com";
        for (rest, complaint) in [
            ("projects = ['a/b']\ntags = ['x']", None),
            ("group = 'a'\nuntagged = true", None),
            ("tags = ['x']", Some("give 'projects' or 'group'")),
            ("group = 'a'\nprojects = ['a/b']\ntags = ['x']", Some("give 'projects' or 'group'")),
            ("group = 'a'", Some("give 'tags', or untagged = true")),
        ] {
            assert_eq!(spec(url, rest).check().err().as_deref(), complaint, "{rest}");
        }
        let spec = spec(url, "group = 'a'\ntags = ['y', 'x']\nuntagged = true\nmax_age = '6h'");
        assert_eq!(spec.queue(), Queue::new("x,y and untagged"));
        assert_eq!(
            spec.server(),
            "https://gitlab.example.com (token: variable CARGO_PKG_NAME) group a max_age 6h"
        );
    }

    #[test]
    fn a_groups_projects_are_asked_page_by_page() {
        block_on(async {
            let server = Server::start(|asked| {
                let host = asked.header("host").unwrap_or_default();
                let path = asked.line.trim_start_matches("GET ").split('?').next();
                Some(match path.unwrap_or_default() {
                    "/api/v4/groups/top%2Fsub/projects" => ok(
                        r#"[{"id": 1, "builds_access_level": "enabled"},
                            {"id": 2, "builds_access_level": "disabled"}]"#,
                    ),
                    "/api/v4/projects/1/jobs" if asked.line.contains("cursor") => ok("[]"),
                    "/api/v4/projects/1/jobs" => {
                        let next = format!("<http://{host}/api/v4/projects/1/jobs?cursor=x>; rel=\"next\"");
                        answer("200 OK", &[("link", &next), ("ratelimit-remaining", "0"), ("ratelimit-reset", "7")], JOBS)
                    }
                    _ => answer("403 Forbidden", &[], "no"),
                })
            })
            .await;
            let spec = spec(&server.url, "group = 'top/sub'\ntags = ['ubuntu18']");
            assert_eq!(spec.check(), Ok(()));
            let mut source = spec.open(&Http::new());
            for _ in 0..2 {
                let harvest = source.read(&[spec.queue()]).await.expect("told");
                let demand = harvest.demands[0].1.as_ref().expect("known");
                assert_eq!((demand.waiting, demand.running), (1, Some(1)));
                assert_eq!(harvest.hints.not_before, Some(Duration::from_secs(7)));
            }
            // The projects once, two pages of jobs twice.
            let asked = server.asked();
            assert_eq!(asked.len(), 5);
            assert_eq!(
                asked[1].line,
                "GET /api/v4/projects/1/jobs?scope%5B%5D=pending&scope%5B%5D=running\
                 &pagination=keyset&order_by=id&sort=desc&per_page=100"
            );
            assert!(asked.iter().all(|asked| asked.header("private-token") == Some("clockout")));
        });
    }

    #[test]
    fn one_project_that_cannot_be_read_leaves_all_unknown() {
        block_on(async {
            let page = "GET /api/v4/projects/a%2Fb/jobs?scope%5B%5D=pending&scope%5B%5D=running\
                        &pagination=keyset&order_by=id&sort=desc&per_page=100";
            let server = Server::of_pages(vec![(page, JOBS.to_owned())]).await;
            let one = spec(&server.url, "projects = ['a/b']\ntags = ['ubuntu18']");
            assert!(one.open(&Http::new()).read(&[one.queue()]).await.is_ok());
            let two = spec(&server.url, "projects = ['a/b', 'a/c']\ntags = ['ubuntu18']");
            let error = two.open(&Http::new()).read(&[two.queue()]).await.expect_err("unknown");
            assert!(matches!(&error, SourceError::Missing(text) if text.contains("a%2Fc")), "{error}");
        });
    }
}
