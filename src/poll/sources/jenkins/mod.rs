//! Jenkins: two calls a round tell of all labels, what waits for them and what their nodes do.
//!
//! Jenkins has figures by label, too (`/label/NAME/api/json`, `loadStatistics`), but they take a
//! call each, are averages over a minute, and know no label expressions.

mod label;
mod queue;

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Deserialize;

use self::queue::{COMPUTERS, Computers, ITEMS, Items, UNLABELLED};
use super::tally::{Ages, check_words, list, words};
use crate::config::Time;
use crate::poll::http::{Http, Scheme, Site, check_url, describe, merge_hints};
use crate::poll::plan::{Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// The jobs that one group's nodes would run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The controller: `https://jenkins.example.com`.
    url: String,
    /// Labels of the group's nodes. A job is for them when its label expression is true of them.
    #[serde(default)]
    labels: Vec<String>,
    /// Whether they run jobs without a label, too ("use this node as much as possible").
    #[serde(default)]
    unlabelled: bool,
    /// Jobs that wait longer do not count, and are told of.
    max_age: Option<Time>,
    /// Jobs count once they have waited this long.
    min_age: Option<Time>,
    /// `user:token`, an API token of a user who may see all jobs and nodes.
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    /// Lets the token go over plain HTTP.
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
        check_words("labels", &self.labels)?;
        if self.labels.is_empty() && !self.unlabelled {
            return Err("give 'labels', or unlabelled = true".to_owned());
        }
        Ok(())
    }

    /// The tag has the nodes' labels, between commas.
    fn fill(&mut self, tag: &str) {
        self.labels = words(tag).map(str::to_owned).collect();
    }

    fn server(&self) -> String {
        format!(
            "{}{}",
            describe(&self.url, self.token().as_ref()),
            self.ages().text()
        )
    }

    fn queue(&self) -> Queue {
        let unlabelled = if self.unlabelled { UNLABELLED } else { "" };
        Queue::new(format!("{}{unlabelled}", list(&self.labels)))
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let site = Site::new(
            http,
            &self.url,
            Scheme::Basic,
            self.token(),
            self.allow_http,
        );
        Box::new(Jenkins {
            // Else the reasons are in the language of whoever installed it.
            site: site.header("Accept-Language", "en"),
            ages: self.ages(),
        })
    }
}

struct Jenkins {
    site: Site,
    ages: Ages,
}

impl Source for Jenkins {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            // In this order: a job that begins in between is counted once or, for this round, not
            // at all. It is never counted twice.
            let reply = self
                .site
                .get("/computer/api/json", &[("tree", COMPUTERS)])
                .await?;
            let (nodes, hints): (Computers, _) = (reply.json()?, reply.hints);
            let reply = self.site.get("/queue/api/json", &[("tree", ITEMS)]).await?;
            let items: Items = reply.json()?;
            let mut harvest = Harvest {
                hints: merge_hints(hints, reply.hints),
                remarks: queue::remarks(&nodes, &items),
                ..Harvest::default()
            };
            let now = SystemTime::now();
            for queue in queues {
                let (demand, remark) =
                    queue::demand(&nodes, &items, queue.as_str(), self.ages, now);
                harvest.demands.push((queue.clone(), Ok(demand)));
                harvest.remarks.extend(remark);
            }
            Ok(harvest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::http::testing::{Server, answer, block_on, ok};
    use crate::poll::source::Spec as _;

    fn spec(url: &str) -> Spec {
        let text =
            format!("url = '{url}/ci/'\nlabels = ['linux', 'docker']\ntoken_file = '/dev/null'");
        toml::from_str(&text).expect("a source")
    }

    #[test]
    fn two_calls_serve_all_labels() {
        let dir = tempfile::tempdir().expect("a directory");
        let token = dir.path().join("token");
        std::fs::write(&token, "clockout:11ab\n").expect("written");
        block_on(async {
            let server = Server::start(|asked| {
                let path = asked.line.split('?').next().unwrap_or_default();
                Some(match path {
                    "GET /ci/computer/api/json" => {
                        ok(include_str!("../fixtures/jenkins_computers.json"))
                    }
                    "GET /ci/queue/api/json" => ok(include_str!("../fixtures/jenkins_queue.json")),
                    _ => answer("404 Not Found", &[], ""),
                })
            })
            .await;
            let mut spec = spec(&server.url);
            spec.token_file = Some(token);
            assert_eq!(spec.check(), Ok(()));
            assert_eq!(spec.queue(), Queue::new("docker,linux"));
            let queues = [spec.queue(), Queue::new("windows")];
            let harvest = spec.open(&Http::new()).read(&queues).await.expect("told");
            let read: Vec<_> = harvest
                .demands
                .iter()
                .map(|(queue, demand)| (queue.as_str(), demand.as_ref().expect("known").waiting))
                .collect();
            assert_eq!(read, [("docker,linux", 4), ("windows", 1)]);
            let asked = server.asked();
            assert_eq!(asked.len(), 2);
            for asked in asked {
                assert_eq!(asked.header("accept-language"), Some("en"));
                assert_eq!(
                    asked.header("authorization"),
                    Some("Basic Y2xvY2tvdXQ6MTFhYg==")
                );
            }
        });
    }

    #[test]
    fn a_login_page_is_no_queue() {
        block_on(async {
            let server =
                Server::start(|_| Some(answer("200 OK", &[], "<html>Sign in</html>"))).await;
            let mut spec = spec(&server.url);
            spec.token_file = None;
            let error = spec
                .open(&Http::new())
                .read(&[spec.queue()])
                .await
                .expect_err("unknown");
            assert!(
                matches!(&error, SourceError::Unreadable(text) if text.contains("Sign in")),
                "{error}"
            );
        });
    }

    #[test]
    fn a_group_without_labels_must_say_that_it_runs_what_has_none() {
        let mut spec = spec("https://jenkins.example.com");
        assert_eq!(spec.check(), Ok(()));
        spec.labels.clear();
        assert!(spec.check().is_err());
        spec.unlabelled = true;
        assert_eq!(spec.check(), Ok(()));
        spec.fill("big, linux");
        assert_eq!(spec.queue(), Queue::new("big,linux and unlabelled"));
    }
}
