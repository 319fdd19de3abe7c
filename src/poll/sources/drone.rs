//! Drone: the builds and processes of 0.8, the queue of 1.x and 2.x.

mod builds;
mod queue;
mod v0;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::selector::{of_queue, to_queue};
use super::tally::{Ages, words};
use crate::config::Time;
use crate::poll::http::{Http, Scheme, Site, check_url, describe};
use crate::poll::plan::{Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// Builds of 0.8 that are older have been forgotten.
const MAX_AGE: Duration = Duration::from_secs(6 * 3600);

/// `kind = "drone"`
///
/// A discovered group's tag is its labels, or `platform` with 0.8: `gpu=yes,zone=b`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    url: String,
    /// `1` (also for 2.x), or `0.8`.
    #[serde(default)]
    api: Api,
    /// File with the token of an administrator.
    token_file: Option<PathBuf>,
    /// Environment variable with it.
    token_env: Option<String>,
    /// What the group's runners are started for (1.x, 2.x).
    #[serde(default = "linux")]
    os: String,
    #[serde(default = "amd64")]
    arch: String,
    variant: Option<String>,
    kernel: Option<String>,
    /// The runners' labels: they get the stages with just these, and no others.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `docker`, `exec`, ...: count only such pipelines (1.x, 2.x).
    #[serde(rename = "type")]
    pipeline: Option<String>,
    /// `linux/amd64`: count only processes of this platform, and those that name none (0.8).
    platform: Option<String>,
    /// Jobs that have waited for less do not count yet.
    min_age: Option<Time>,
    /// Builds (0.8: 6 hours unless set) and stages that are older do not count.
    max_age: Option<Time>,
    /// End builds of 0.8 that still run according to Drone but have no process left, and those
    /// whose processes were cancelled in vain. They are reported in any case.
    #[serde(default)]
    kill_zombies: bool,
    /// Send the token without TLS to another machine.
    #[serde(default)]
    allow_http: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Api {
    #[serde(rename = "0.8")]
    V0,
    #[default]
    #[serde(rename = "1", alias = "2")]
    V1,
}

fn linux() -> String {
    "linux".to_owned()
}

fn amd64() -> String {
    "amd64".to_owned()
}

/// Which stages the group's runners take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Runner {
    os: String,
    arch: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    variant: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    kernel: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pipeline: Option<String>,
}

/// Which processes of 0.8 the group's agents take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Agent {
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

impl Spec {
    fn token(&self) -> Option<Token> {
        Token::new(self.token_file.as_deref(), self.token_env.as_deref())
    }

    fn ages(&self) -> Ages {
        let max = self.max_age.or(match self.api {
            Api::V0 => Some(Time(MAX_AGE)),
            Api::V1 => None,
        });
        Ages::new(self.min_age, max)
    }
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        check_url(&self.url, true, self.allow_http)?;
        Token::check(self.token_file.as_deref(), self.token_env.as_deref())?;
        match self.api {
            Api::V0 if !self.labels.is_empty() || self.pipeline.is_some() => {
                Err("labels, type: Drone 0.8 does not tell them".to_owned())
            }
            Api::V1 if self.platform.is_some() => Err("platform: give os and arch".to_owned()),
            Api::V1 if self.kill_zombies => Err("kill_zombies: is for api = \"0.8\"".to_owned()),
            _ => Ok(()),
        }
    }

    fn fill(&mut self, tag: &str) {
        match self.api {
            Api::V0 => self.platform = Some(tag.to_owned()).filter(|tag| !tag.is_empty()),
            Api::V1 => {
                let pairs = words(tag).filter_map(|word| word.split_once('='));
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                self.labels = pairs.collect();
            }
        }
    }

    fn server(&self) -> String {
        let server = describe(&self.url, self.token().as_ref());
        let version = if self.api == Api::V0 { ", 0.8" } else { "" };
        let kill = if self.kill_zombies {
            ", kills zombies"
        } else {
            ""
        };
        format!("{server}{version}{kill}{}", self.ages().text())
    }

    fn queue(&self) -> Queue {
        match self.api {
            Api::V0 => to_queue(&Agent {
                platform: self.platform.clone(),
            }),
            Api::V1 => to_queue(&Runner {
                os: self.os.clone(),
                arch: self.arch.clone(),
                variant: self.variant.clone().unwrap_or_default(),
                kernel: self.kernel.clone().unwrap_or_default(),
                labels: self.labels.clone(),
                pipeline: self.pipeline.clone(),
            }),
        }
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let (token, allow) = (self.token(), self.allow_http);
        let site = Site::new(http, &self.url, Scheme::Bearer, token, allow);
        match self.api {
            Api::V0 => Box::new(v0::Builds::new(site, self.ages(), self.kill_zombies)),
            Api::V1 => Box::new(Stages {
                site,
                ages: self.ages(),
            }),
        }
    }
}

/// 1.x and 2.x: one answer has all stages that wait or run.
struct Stages {
    site: Site,
    ages: Ages,
}

impl Source for Stages {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let reply = self.site.get("/api/queue", &[]).await;
            let reply = reply.map_err(|error| match error {
                SourceError::Missing(text) => SourceError::Missing(format!(
                    "{text} (Drone built as open source has no queue to read: use its metrics, \
                     kind = \"prometheus\")"
                )),
                other => other,
            })?;
            let stages: Option<Vec<queue::Stage>> = reply.json()?;
            let stages = stages.unwrap_or_default();
            let mut harvest = Harvest {
                hints: reply.hints,
                ..Harvest::default()
            };
            for queue in queues {
                let told = of_queue(queue).map(|runner: Runner| {
                    let tally = queue::count(&stages, &runner, self.ages, reply.date());
                    harvest.remarks.extend(tally.remark(queue.as_str()));
                    tally.demand()
                });
                harvest.demands.push((queue.clone(), told));
            }
            Ok(harvest)
        })
    }
}

#[cfg(test)]
mod tests;
