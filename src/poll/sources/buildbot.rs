//! Buildbot: build requests that nobody has claimed, builds that run, workers that are connected.
//!
//! The REST API version 2 of the `www` part of a master, as of Buildbot 4.3
//! (`master/buildbot/data/buildrequests.py`, `builds.py`, `workers.py`, `builders.py`):
//! <https://docs.buildbot.net/latest/developer/rest.html>. Masters of one database tell the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::tally::{Ages, Tally, check_words, list, or_null, since, words};
use crate::config::Time;
use crate::poll::http::{Http, Scheme, Site, check_url, describe, merge_hints};
use crate::poll::plan::{Demand, Harvest, Hints, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// The builds that one group's workers would run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The master's web server: `https://buildbot.example.com`.
    url: String,
    /// The builders that the group's workers work for.
    #[serde(default)]
    builders: Vec<String>,
    /// Requests that wait longer do not count, and are told of.
    max_age: Option<Time>,
    /// Requests count once they have waited this long.
    min_age: Option<Time>,
    /// `user:password`, where a proxy in front of the master asks for one.
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    /// Lets the password go over plain HTTP.
    #[serde(default)]
    allow_http: bool,
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
        Token::check_optional(self.token_file.as_deref(), self.token_env.as_deref())?;
        check_url(&self.url, self.token().is_some(), self.allow_http)?;
        check_words("builders", &self.builders)?;
        match self.builders.is_empty() {
            true => Err("builders: name at least one".to_owned()),
            false => Ok(()),
        }
    }

    /// The tag has the builders, between commas.
    fn fill(&mut self, tag: &str) {
        self.builders = words(tag).map(str::to_owned).collect();
    }

    fn server(&self) -> String {
        format!(
            "{}{}",
            describe(&self.url, self.token().as_ref()),
            self.ages().text()
        )
    }

    fn queue(&self) -> Queue {
        Queue::new(list(&self.builders))
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        Box::new(Buildbot {
            site: Site::new(
                http,
                &self.url,
                Scheme::Basic,
                self.token(),
                self.allow_http,
            ),
            ages: self.ages(),
        })
    }
}

struct Buildbot {
    site: Site,
    ages: Ages,
}

impl Source for Buildbot {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let (master, hints) = self.master().await?;
            let now = SystemTime::now();
            let mut harvest = Harvest {
                hints,
                ..Harvest::default()
            };
            for queue in queues {
                let demand = master.demand(queue.as_str(), self.ages, now);
                harvest.demands.push((
                    queue.clone(),
                    demand.map(|(demand, remarks)| {
                        harvest.remarks.extend(remarks);
                        demand
                    }),
                ));
            }
            Ok(harvest)
        })
    }
}

impl Buildbot {
    async fn master(&self) -> Result<(Master, Hints), SourceError> {
        // Requests before builds: one that is claimed in between is found in both, not in neither.
        let (Builders { builders }, one) = self
            .get(
                "builders",
                &[
                    ("field", "builderid"),
                    ("field", "name"),
                    ("field", "masterids"),
                ],
            )
            .await?;
        // What is filtered by must be among the fields.
        let requests = [
            ("complete", "0"),
            ("claimed", "0"),
            ("field", "complete"),
            ("field", "claimed"),
            ("field", "buildrequestid"),
            ("field", "builderid"),
            ("field", "submitted_at"),
        ];
        let (Requests { buildrequests }, two) = self.get("buildrequests", &requests).await?;
        let builds = [
            ("complete", "0"),
            ("field", "complete"),
            ("field", "builderid"),
            ("field", "buildrequestid"),
        ];
        let (Builds { builds }, three) = self.get("builds", &builds).await?;
        let workers = [
            ("field", "name"),
            ("field", "connected_to"),
            ("field", "configured_on"),
        ];
        let (Workers { workers }, four) = self.get("workers", &workers).await?;
        let hints = [two, three, four].into_iter().fold(one, merge_hints);
        Ok((
            Master {
                builders,
                buildrequests,
                builds,
                workers,
            },
            hints,
        ))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, Hints), SourceError> {
        let reply = self.site.get(&format!("/api/v2/{what}"), query).await?;
        Ok((reply.json()?, reply.hints))
    }
}

/// What all masters of the database have to do.
#[derive(Debug)]
struct Master {
    builders: Vec<Builder>,
    buildrequests: Vec<Request>,
    builds: Vec<Build>,
    workers: Vec<Worker>,
}

#[derive(Debug, Deserialize)]
struct Builders {
    builders: Vec<Builder>,
}

#[derive(Debug, Deserialize)]
struct Builder {
    builderid: u64,
    name: String,
    /// Of the masters that run and have it in their configuration. The database never forgets a
    /// builder.
    #[serde(default, deserialize_with = "or_null")]
    masterids: Vec<u64>,
}

#[derive(Debug, Deserialize)]
struct Requests {
    buildrequests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    buildrequestid: u64,
    builderid: u64,
    /// Seconds since 1970.
    submitted_at: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Builds {
    builds: Vec<Build>,
}

#[derive(Debug, Deserialize)]
struct Build {
    builderid: u64,
    buildrequestid: u64,
}

#[derive(Debug, Deserialize)]
struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    name: String,
    #[serde(default, deserialize_with = "or_null")]
    connected_to: Vec<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "or_null")]
    configured_on: Vec<On>,
}

#[derive(Debug, Deserialize)]
struct On {
    builderid: u64,
}

impl Master {
    /// What these builders have to do, and what a person should know of it.
    fn demand(
        &self,
        queue: &str,
        ages: Ages,
        now: SystemTime,
    ) -> Result<(Demand, Vec<String>), String> {
        let known: BTreeMap<&str, &Builder> = self
            .builders
            .iter()
            .map(|builder| (builder.name.as_str(), builder))
            .collect();
        let mut ids = BTreeSet::new();
        let mut remarks = Vec::new();
        for name in words(queue) {
            let builder = known
                .get(name)
                .ok_or_else(|| format!("no builder is called {name}"))?;
            if builder.masterids.is_empty() {
                remarks.push(format!(
                    "no master that runs has builder {name}: its requests do not count"
                ));
            } else {
                ids.insert(builder.builderid);
            }
        }
        let started: BTreeSet<u64> = self
            .builds
            .iter()
            .map(|build| build.buildrequestid)
            .collect();
        let mut tally = Tally::new(ages);
        for request in &self.buildrequests {
            if ids.contains(&request.builderid) && !started.contains(&request.buildrequestid) {
                tally.wait(request.age(now));
            }
        }
        self.builds
            .iter()
            .filter(|build| ids.contains(&build.builderid))
            .for_each(|_| tally.run());
        let here = |worker: &&Worker| {
            let mut on = worker.configured_on.iter();
            !worker.connected_to.is_empty() && on.any(|on| ids.contains(&on.builderid))
        };
        let names: Vec<_> = self
            .workers
            .iter()
            .filter(here)
            .map(|worker| worker.name.clone())
            .collect();
        remarks.extend(tally.remark(queue));
        let demand = Demand {
            agents: u32::try_from(names.len()).ok(),
            names: Some(names),
            ..tally.demand()
        };
        Ok((demand, remarks))
    }
}

impl Request {
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let submitted = Duration::from_secs(self.submitted_at?);
        Some(since(SystemTime::UNIX_EPOCH.checked_add(submitted)?, now))
    }
}

#[cfg(test)]
#[path = "buildbot_tests.rs"]
mod tests;
