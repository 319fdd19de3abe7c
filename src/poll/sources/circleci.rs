//! CircleCI's self-hosted runners: tasks that nobody has claimed, and tasks that run, of one
//! resource class at a time.
//!
//! <https://circleci.com/docs/reference/runner-api/>. Nobody tells of all classes at once.

use std::path::PathBuf;

use serde::Deserialize;

use super::each::{Each, Told};
use crate::poll::http::{Http, Scheme, Site, check_url, describe, merge_hints};
use crate::poll::plan::{Demand, Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// `kind = "circleci"`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    #[serde(default = "default_url")]
    url: String,
    /// Which paths: `v3`, or `v2` of older servers.
    #[serde(default)]
    api: Api,
    /// `NAMESPACE/NAME`
    #[serde(default)]
    resource_class: String,
    /// File with a personal API token, whose owner may see the namespace.
    token_file: Option<PathBuf>,
    /// Environment variable with it.
    token_env: Option<String>,
    /// Ask for the runners' names while tasks wait, so that an instance that is up and has not
    /// registered in time is not counted on. A runner must have its instance's id in its name.
    #[serde(default = "yes")]
    names: bool,
    /// Send the token without TLS to another machine.
    #[serde(default)]
    allow_http: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Api {
    V2,
    #[default]
    V3,
}

fn default_url() -> String {
    "https://runner.circleci.com".to_owned()
}

fn yes() -> bool {
    true
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
        match self.resource_class.split_once('/') {
            Some((space, name)) if !space.is_empty() && !name.is_empty() => Ok(()),
            _ => Err(format!(
                "resource_class = \"{}\": give NAMESPACE/NAME",
                self.resource_class
            )),
        }
    }

    fn fill(&mut self, tag: &str) {
        tag.clone_into(&mut self.resource_class);
    }

    fn server(&self) -> String {
        let server = describe(&self.url, self.token().as_ref());
        let api = if self.api == Api::V2 { ", v2" } else { "" };
        let names = if self.names { "" } else { ", without names" };
        format!("{server}{api}{names}")
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.resource_class)
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let (token, allow) = (self.token(), self.allow_http);
        let scheme = Scheme::Header("Circle-Token");
        Box::new(Circleci {
            asker: Asker {
                site: Site::new(http, &self.url, scheme, token, allow),
                api: self.api,
                names: self.names,
            },
            each: Each::default(),
        })
    }
}

struct Circleci {
    asker: Asker,
    each: Each,
}

struct Asker {
    site: Site,
    api: Api,
    names: bool,
}

impl Source for Circleci {
    fn bulk(&self) -> bool {
        false
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        let asker = &self.asker;
        Box::pin(
            self.each
                .ask(queues, async move |class| asker.ask(&class).await),
        )
    }
}

impl Asker {
    async fn ask(&self, class: &Queue) -> Result<Told, SourceError> {
        let query = [("resource-class", class.as_str())];
        let (tasks, running, runners) = match self.api {
            Api::V3 => (
                "/api/v3/runner/tasks",
                "/api/v3/runner/tasks/running",
                "/api/v3/runner",
            ),
            Api::V2 => ("/api/v2/tasks", "/api/v2/tasks/running", "/api/v2/runner"),
        };
        // Running first: a task that is claimed in between is then missed for a round; the other
        // way round it would be counted twice, and an instance started for it.
        let running_reply = self.site.get(running, &query).await?;
        let running: Running = running_reply.json()?;
        let tasks_reply = self.site.get(tasks, &query).await?;
        let tasks: Tasks = tasks_reply.json()?;
        let mut told = Told {
            demand: Demand {
                waiting: tasks.unclaimed_task_count,
                running: Some(running.running_runner_tasks),
                ..Demand::default()
            },
            hints: merge_hints(running_reply.hints, tasks_reply.hints),
            remarks: Vec::new(),
        };
        if self.names && told.demand.waiting > 0 {
            match self.runners(runners, &query).await {
                Ok(names) => told.demand.names = Some(names),
                // The names only help: what waits is known without them.
                Err(error) => told.remarks.push(format!("runners of {class}: {error}")),
            }
        }
        Ok(told)
    }

    async fn runners(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<String>, SourceError> {
        let runners: Runners = self.site.get(path, query).await?.json()?;
        let items = runners.items.unwrap_or_default();
        Ok(items.into_iter().map(|runner| runner.name).collect())
    }
}

#[derive(Debug, Deserialize)]
struct Tasks {
    unclaimed_task_count: u32,
}

#[derive(Debug, Deserialize)]
struct Running {
    running_runner_tasks: u32,
}

/// Everyone who has connected lately, also from machines that are gone.
#[derive(Debug, Deserialize)]
struct Runners {
    items: Option<Vec<Runner>>,
}

#[derive(Debug, Deserialize)]
struct Runner {
    name: String,
}

#[cfg(test)]
#[path = "circleci_tests.rs"]
mod tests;
