//! Woodpecker: one call tells of all tasks that wait and run. The token must be an
//! administrator's.
//!
//! From the sources of Woodpecker 3: `server/api/queue.go` and `server/model/queue.go` (the
//! answer), `server/scheduler/filter.go` (which agent may run a task), `cmd/agent/core/agent.go`
//! (the labels an agent has by itself).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::tally::{or_null, words};
use crate::poll::http::{Http, Scheme, Site, check_url, describe};
use crate::poll::plan::{Demand, Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

type Labels = BTreeMap<String, String>;

/// Labels of the server's own, which say where a task is from and bind no agent.
const INTERNAL: &str = "woodpecker-ci.org";

/// What every agent has, whatever it is told: any repository and organisation; and platform and
/// backend, which the group's agents share, whether they are named here or not.
const ANY: [&str; 4] = ["backend", "org-id", "platform", "repo"];

/// The tasks that one group's agents would run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The server: `https://ci.example.com`.
    url: String,
    /// Labels of the group's agents: those of `WOODPECKER_AGENT_LABELS`, and `platform`,
    /// `backend`, `org-id` and `repo` where the server has agents of several. `*` takes any value;
    /// a task must have a label that begins with `!`.
    #[serde(default)]
    labels: Labels,
    /// An administrator's personal access token.
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
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        Token::check(self.token_file.as_deref(), self.token_env.as_deref())?;
        check_url(&self.url, true, self.allow_http)?;
        let whole = |text: &String| !text.is_empty() && !text.contains([',', '=']);
        match self
            .labels
            .iter()
            .find(|(name, value)| !whole(name) || !whole(value))
        {
            Some((name, value)) => Err(format!(
                "labels: {name} = \"{value}\" is empty, or has a comma or '=' in it"
            )),
            None => Ok(()),
        }
    }

    /// The tag is like `WOODPECKER_AGENT_LABELS`: `platform=linux/arm64,size=big`.
    fn fill(&mut self, tag: &str) {
        self.labels = labels(tag);
    }

    fn server(&self) -> String {
        describe(&self.url, self.token().as_ref())
    }

    fn queue(&self) -> Queue {
        let labels: Vec<_> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Queue::new(labels.join(","))
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let token = self.token();
        Box::new(Woodpecker(Site::new(
            http,
            &self.url,
            Scheme::Bearer,
            token,
            self.allow_http,
        )))
    }
}

fn labels(text: &str) -> Labels {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.to_owned(), value.to_owned())
    };
    words(text).map(pair).collect()
}

struct Woodpecker(Site);

impl Source for Woodpecker {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let reply = self.0.get("/api/queue/info", &[]).await?;
            let mut harvest = reply.json::<Info>()?.harvest(queues);
            harvest.hints = reply.hints;
            Ok(harvest)
        })
    }
}

/// `GET /api/queue/info`. Every list can be `null` (Woodpecker 2 and older).
#[derive(Debug, Deserialize)]
struct Info {
    #[serde(deserialize_with = "or_null")]
    pending: Vec<Task>,
    #[serde(deserialize_with = "or_null")]
    running: Vec<Task>,
    #[serde(default)]
    paused: bool,
}

#[derive(Debug, Deserialize)]
struct Task {
    #[serde(default, deserialize_with = "or_null")]
    labels: Labels,
}

impl Info {
    fn harvest(&self, queues: &[Queue]) -> Harvest {
        let demand = |queue: &Queue| {
            let agent = agent(queue.as_str());
            let count = |tasks: &[Task]| {
                let count = tasks
                    .iter()
                    .filter(|task| takes(&agent, &task.labels))
                    .count();
                u32::try_from(count).unwrap_or(u32::MAX)
            };
            Demand {
                // Nobody is given a task now.
                waiting: if self.paused { 0 } else { count(&self.pending) },
                running: Some(count(&self.running)),
                ..Demand::default()
            }
        };
        Harvest {
            demands: queues
                .iter()
                .map(|queue| (queue.clone(), Ok(demand(queue))))
                .collect(),
            remarks: Vec::from_iter(
                self.paused
                    .then(|| "the server's queue is paused".to_owned()),
            ),
            ..Harvest::default()
        }
    }
}

/// All labels of the agents that serve a queue.
fn agent(queue: &str) -> Labels {
    let own = labels(queue);
    let is_said = |name: &str| own.contains_key(name) || own.contains_key(&format!("!{name}"));
    let any = ANY.into_iter().filter(|name| !is_said(name));
    let any: Labels = any.map(|name| (name.to_owned(), "*".to_owned())).collect();
    own.into_iter().chain(any).collect()
}

/// Whether an agent is given a task: it must have every label of the task, and the task every one
/// that the agent demands.
fn takes(agent: &Labels, task: &Labels) -> bool {
    let demanded = agent
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix('!')?, value)));
    let has_demanded = demanded
        .into_iter()
        .all(|(name, value)| task.get(name) == Some(value));
    let fits = |(name, value): (&String, &String)| {
        let own = agent.get(name).or_else(|| agent.get(&format!("!{name}")));
        name.starts_with(INTERNAL)
            || value.is_empty()
            || own.is_some_and(|own| own == "*" || own == value)
    };
    has_demanded && task.iter().all(fits)
}

#[cfg(test)]
#[path = "woodpecker_tests.rs"]
mod tests;
