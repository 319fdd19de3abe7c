//! The CI systems whose queues can be read. A new one is a module and a line in [`kinds`].

mod buildbot;
mod buildkite;
mod circleci;
mod drone;
mod exec;
mod github;
mod gitlab;
mod http;
mod jenkins;
mod kraken;
mod prometheus;
mod sqs;
mod woodpecker;

// What several of them share.
mod each;
mod pages;
mod selector;
mod tally;

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::http::{Http, ROUND};
use super::plan::{Harvest, Queue};
use super::source::{self, Later, Source, SourceError};

/// Declares the `kind`s of `source = { kind = "..." }`, each a module's `Spec`.
macro_rules! kinds {
    ($($module:ident: $variant:ident = $kind:literal),* $(,)?) => {
        /// A `source` table of the configuration, of any kind.
        #[derive(Debug, Clone, Deserialize)]
        #[serde(tag = "kind")]
        pub enum Spec {
            $(#[serde(rename = $kind)] $variant($module::Spec),)*
        }

        impl Spec {
            pub fn kind(&self) -> &'static str {
                match *self {
                    $(Spec::$variant(_) => $kind,)*
                }
            }

            fn as_dyn(&self) -> &dyn source::Spec {
                match *self {
                    $(Spec::$variant(ref spec) => spec,)*
                }
            }

            fn as_dyn_mut(&mut self) -> &mut dyn source::Spec {
                match *self {
                    $(Spec::$variant(ref mut spec) => spec,)*
                }
            }
        }
    };
}

kinds! {
    buildbot: Buildbot = "buildbot",
    buildkite: Buildkite = "buildkite",
    circleci: Circleci = "circleci",
    drone: Drone = "drone",
    exec: Exec = "exec",
    github: GitHub = "github",
    gitlab: GitLab = "gitlab",
    http: Http = "http",
    jenkins: Jenkins = "jenkins",
    kraken: Kraken = "kraken",
    prometheus: Prometheus = "prometheus",
    sqs: Sqs = "sqs",
    woodpecker: Woodpecker = "woodpecker",
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        self.as_dyn().check()
    }

    fn fill(&mut self, tag: &str) {
        self.as_dyn_mut().fill(tag);
    }

    fn server(&self) -> String {
        format!("{} {}", self.kind(), self.as_dyn().server())
    }

    fn queue(&self) -> Queue {
        self.as_dyn().queue()
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        Box::new(InTime {
            source: self.as_dyn().open(http),
            limit: ROUND,
        })
    }
}

/// Ends each round in time, whatever the source does.
struct InTime {
    source: Box<dyn Source>,
    limit: Duration,
}

impl Source for InTime {
    fn bulk(&self) -> bool {
        self.source.bulk()
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let told = timeout(self.limit, self.source.read(queues)).await;
            told.unwrap_or_else(|_| {
                let text = format!("not all could be read within {:?}", self.limit);
                Err(SourceError::Unreachable(text))
            })
        })
    }
}

#[cfg(test)]
mod tests;
