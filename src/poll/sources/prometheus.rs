//! Prometheus: the answers of its API to queries, or the metrics page of a CI server itself.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

mod page;
mod query;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::each::{Each, Told};
use super::http::How;
use super::selector::{of_queue, to_queue};
use crate::poll::http::{Http, Site, check_url, describe, merge_hints};
use crate::poll::plan::{Demand, Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;
use page::Selector;

/// `kind = "prometheus"`
///
/// `{tag}` in `query` and `running_query` is a discovered group's tag.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Of the server, without `/api/v1`; with `format = "text"` the whole address of the page.
    url: String,
    /// `api`: queries in PromQL. `text`: a page of metrics, queries are `name` or
    /// `name{label="value"}`, and all series that match are added up.
    #[serde(default)]
    format: Format,
    /// The jobs that wait, as one series: `sum(...)`.
    query: String,
    /// The jobs that run.
    running_query: Option<String>,
    /// What no series at all means: `unknown`, or `zero` where a metric without jobs is absent.
    #[serde(default)]
    empty: Empty,
    /// File with a token, if one is needed.
    token_file: Option<PathBuf>,
    /// Environment variable with it.
    token_env: Option<String>,
    /// How it is sent: `Authorization: Bearer` or `Token`, or as `user:password`.
    #[serde(default)]
    auth: How,
    /// Send the token without TLS to another machine.
    #[serde(default)]
    allow_http: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Api,
    Text,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Empty {
    #[default]
    Unknown,
    Zero,
}

/// What a group asks of the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Queries {
    waiting: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    empty: Empty,
}

impl Spec {
    fn token(&self) -> Option<Token> {
        Token::new(self.token_file.as_deref(), self.token_env.as_deref())
    }
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        Token::check_optional(self.token_file.as_deref(), self.token_env.as_deref())?;
        check_url(&self.url, self.token().is_some(), self.allow_http)?;
        let queries = [
            ("query", Some(&self.query)),
            ("running_query", self.running_query.as_ref()),
        ];
        for (key, query) in queries {
            let Some(query) = query else { continue };
            if query.trim().is_empty() {
                return Err(format!("{key}: is empty"));
            }
            if self.format == Format::Text {
                let checked = Selector::parse(query);
                checked.map_err(|why| format!("{key} = \"{query}\": {why}"))?;
            }
        }
        Ok(())
    }

    fn fill(&mut self, tag: &str) {
        // Within quotes, as both languages want it.
        let quoted = tag
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        self.query = self.query.replace("{tag}", &quoted);
        if let Some(query) = &mut self.running_query {
            *query = query.replace("{tag}", &quoted);
        }
    }

    fn server(&self) -> String {
        let server = describe(&self.url, self.token().as_ref());
        match self.format {
            Format::Api => server,
            Format::Text => format!("{server}, text"),
        }
    }

    fn queue(&self) -> Queue {
        to_queue(&Queries {
            waiting: self.query.clone(),
            running: self.running_query.clone(),
            empty: self.empty,
        })
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let (token, allow) = (self.token(), self.allow_http);
        let site = Site::new(http, &self.url, self.auth.scheme(), token, allow);
        match self.format {
            Format::Api => Box::new(Api {
                site,
                each: Each::default(),
            }),
            Format::Text => Box::new(Page {
                site,
                url: self.url.clone(),
            }),
        }
    }
}

/// What no series, and several, come to.
fn settle(found: Option<f64>, empty: Empty) -> Result<u32, String> {
    let value = match (found, empty) {
        (Some(value), _) => value,
        (None, Empty::Zero) => 0.0,
        (None, Empty::Unknown) => {
            return Err("no series (empty = \"zero\" if that means no jobs)".to_owned());
        }
    };
    super::http::whole(value).ok_or_else(|| format!("{value} is no number of jobs"))
}

/// Prometheus' API: each group is a query, or two.
struct Api {
    site: Site,
    each: Each,
}

impl Source for Api {
    fn bulk(&self) -> bool {
        false
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        let site = &self.site;
        Box::pin(self.each.ask(queues, move |queue| async move {
            let queries: Queries = of_queue(&queue).map_err(SourceError::Unreadable)?;
            let mut told = Told::default();
            // Running first: a job that starts in between is missed for a round, not counted twice.
            if let Some(running) = &queries.running {
                told.demand.running = Some(ask(site, running, queries.empty, &mut told).await?);
            }
            told.demand.waiting = ask(site, &queries.waiting, queries.empty, &mut told).await?;
            Ok(told)
        }))
    }
}

async fn ask(site: &Site, text: &str, empty: Empty, told: &mut Told) -> Result<u32, SourceError> {
    let reply = site.get("/api/v1/query", &[("query", text)]).await?;
    told.hints = merge_hints(told.hints, reply.hints);
    reply.parse(|body| {
        let answer = query::parse(body)?;
        let warnings = answer.warnings.into_iter();
        told.remarks
            .extend(warnings.map(|warning| format!("{text}: {warning}")));
        settle(answer.value, empty).map_err(|why| format!("{text}: {why}"))
    })
}

/// A page of metrics: one fetch serves all groups.
struct Page {
    site: Site,
    url: String,
}

impl Source for Page {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let reply = self.site.get_url(&self.url, None).await?;
            let series = reply.parse(page::parse)?;
            let told = |queue: &Queue| {
                let queries: Queries = of_queue(queue)?;
                let sum = |text: &str| {
                    let selector = Selector::parse(text)?;
                    settle(selector.sum(&series), queries.empty)
                        .map_err(|why| format!("{text}: {why}"))
                };
                Ok(Demand {
                    waiting: sum(&queries.waiting)?,
                    running: queries.running.as_deref().map(sum).transpose()?,
                    ..Demand::default()
                })
            };
            Ok(Harvest {
                demands: queues
                    .iter()
                    .map(|queue| (queue.clone(), told(queue)))
                    .collect(),
                hints: reply.hints,
                remarks: Vec::new(),
            })
        })
    }
}

#[cfg(test)]
mod tests;
