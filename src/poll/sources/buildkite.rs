//! Buildkite: the agent metrics of a cluster, which have all its queues in one answer.
//!
//! <https://buildkite.com/docs/apis/agent-api/metrics>

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::poll::http::{Http, Scheme, Site, check_url, describe};
use crate::poll::plan::{Demand, Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// `kind = "buildkite"`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Of the agent API.
    #[serde(default = "default_url")]
    url: String,
    /// The queue's key.
    #[serde(default = "default_queue")]
    queue: String,
    /// File with an agent token: of the cluster, or an unclustered one.
    token_file: Option<PathBuf>,
    /// Environment variable with it.
    token_env: Option<String>,
    /// Count jobs that wait for a step, a block or a concurrency group before them, too. They
    /// could not run yet, but their instances would be there when they can.
    #[serde(default)]
    include_waiting: bool,
    /// Send the token without TLS to another machine.
    #[serde(default)]
    allow_http: bool,
}

fn default_url() -> String {
    "https://agent.buildkite.com/v3".to_owned()
}

/// Where jobs and agents that name no queue are.
fn default_queue() -> String {
    "default".to_owned()
}

impl Spec {
    fn token(&self) -> Option<Token> {
        Token::new(self.token_file.as_deref(), self.token_env.as_deref())
    }
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        check_url(&self.url, true, self.allow_http)?;
        Token::check(self.token_file.as_deref(), self.token_env.as_deref())?;
        if self.queue.is_empty() {
            return Err("queue: give its key".to_owned());
        }
        Ok(())
    }

    fn fill(&mut self, tag: &str) {
        tag.clone_into(&mut self.queue);
    }

    fn server(&self) -> String {
        let server = describe(&self.url, self.token().as_ref());
        match self.include_waiting {
            true => format!("{server}, with waiting jobs"),
            false => server,
        }
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.queue)
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let (token, allow) = (self.token(), self.allow_http);
        Box::new(Buildkite {
            site: Site::new(http, &self.url, Scheme::Token, token, allow),
            include_waiting: self.include_waiting,
        })
    }
}

struct Buildkite {
    site: Site,
    include_waiting: bool,
}

impl Source for Buildkite {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let reply = self.site.get("/metrics", &[]).await?;
            let metrics: Metrics = reply.json()?;
            Ok(Harvest {
                demands: metrics.demands(queues, self.include_waiting),
                hints: reply.hints,
                remarks: Vec::new(),
            })
        })
    }
}

/// A queue without jobs and agents is in neither map: of a whole answer, that is zero.
#[derive(Debug, Deserialize)]
struct Metrics {
    agents: Queues<Agents>,
    jobs: Queues<Jobs>,
}

#[derive(Debug, Deserialize)]
struct Queues<T> {
    queues: BTreeMap<String, T>,
}

#[derive(Debug, Default, Deserialize)]
struct Agents {
    total: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Jobs {
    scheduled: u32,
    running: u32,
    /// Absent in what servers said before 2020.
    #[serde(default)]
    waiting: u32,
}

impl Metrics {
    fn demands(
        &self,
        queues: &[Queue],
        include_waiting: bool,
    ) -> Vec<(Queue, Result<Demand, String>)> {
        let demand = |queue: &Queue| {
            let jobs = self.jobs.queues.get(queue.as_str());
            let agents = self.agents.queues.get(queue.as_str());
            let jobs = jobs.unwrap_or(&Jobs {
                scheduled: 0,
                running: 0,
                waiting: 0,
            });
            let blocked = if include_waiting { jobs.waiting } else { 0 };
            Demand {
                waiting: jobs.scheduled.saturating_add(blocked),
                running: Some(jobs.running),
                agents: Some(agents.map_or(0, |agents| agents.total)),
                ..Demand::default()
            }
        };
        let demands = queues
            .iter()
            .map(|queue| (queue.clone(), Ok(demand(queue))));
        demands.collect()
    }
}

#[cfg(test)]
#[path = "buildkite_tests.rs"]
mod tests;
