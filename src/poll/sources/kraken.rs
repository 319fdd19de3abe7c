//! Kraken CI: the jobs of an agents group, of one system if need be.
//!
//! Kraken tells of no queue. A round walks from the projects to the newest flows of each branch,
//! and to the jobs of those runs that have any left (`swagger.yml`, `models.py` and `consts.py` of
//! its server, 1.1).

mod walk;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::selector::{of_queue, to_queue};
use super::tally::{Ages, Tally};
use crate::config::Time;
use crate::poll::http::{Ask, Http, check_url, describe, join};
use crate::poll::plan::{Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::{Secret, Token};
use walk::{Job, Walk};

/// Flows of a branch, each of continuous integration and of development, that are looked at.
const FLOWS: u32 = 10;
/// What the server allows.
const MOST_FLOWS: u32 = 100;

/// `kind = "kraken"`
///
/// A discovered group's tag is the agents group's name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Of the server, without `/bk/api`.
    url: String,
    /// The agents group's name.
    #[serde(default)]
    group: String,
    /// Count only jobs of this system. Such that run on `any` are counted where this is unset, or
    /// `any` itself.
    system: Option<String>,
    /// File with `user:password`, or with the token of a session. The user must be a viewer of
    /// the projects at least.
    token_file: Option<PathBuf>,
    /// Environment variable with it.
    token_env: Option<String>,
    /// Of each branch, only so many of the newest flows are looked at: 1 to 100.
    #[serde(default = "default_flows")]
    flows: u32,
    /// Jobs that have waited for less do not count yet.
    min_age: Option<Time>,
    /// Jobs that have waited for longer do not count.
    max_age: Option<Time>,
    /// Send the credentials without TLS to another machine.
    #[serde(default)]
    allow_http: bool,
}

fn default_flows() -> u32 {
    FLOWS
}

/// Which jobs the group's agents take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Agents {
    group: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
}

impl Agents {
    fn take(&self, job: &Job) -> bool {
        let system = self.system.as_ref();
        job.group == self.group && system.is_none_or(|system| *system == job.system)
    }
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
        check_url(&self.url, true, self.allow_http)?;
        Token::check(self.token_file.as_deref(), self.token_env.as_deref())?;
        if self.group.is_empty() {
            return Err("group: give the agents group's name".to_owned());
        }
        if !(1..=MOST_FLOWS).contains(&self.flows) {
            return Err(format!("flows: 1 to {MOST_FLOWS}"));
        }
        Ok(())
    }

    fn fill(&mut self, tag: &str) {
        tag.clone_into(&mut self.group);
    }

    fn server(&self) -> String {
        let server = describe(&self.url, self.token().as_ref());
        let flows = match self.flows {
            FLOWS => String::new(),
            flows => format!(", {flows} flows"),
        };
        format!("{server}{flows}{}", self.ages().text())
    }

    fn queue(&self) -> Queue {
        to_queue(&Agents {
            group: self.group.clone(),
            system: self.system.clone(),
        })
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        Box::new(Kraken {
            http: http.clone(),
            base: join(&self.url, "/bk/api", &[]),
            token: self.token(),
            allow_http: self.allow_http,
            ages: self.ages(),
            flows: self.flows,
            session: None,
        })
    }
}

struct Kraken {
    http: Http,
    base: String,
    token: Option<Token>,
    allow_http: bool,
    ages: Ages,
    flows: u32,
    /// That we have opened, and with which credentials.
    session: Option<Session>,
}

#[derive(Clone)]
struct Session {
    credentials: Secret,
    token: Secret,
}

impl Source for Kraken {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let known = self.session.is_some();
            let mut walked = self.walk().await;
            if known && matches!(walked, Err(SourceError::Denied(_))) {
                // Sessions end, with the server's database or by an administrator.
                self.session = None;
                walked = self.walk().await;
            }
            let (jobs, mut harvest, now) = walked?;
            for queue in queues {
                let told = of_queue(queue).map(|agents: Agents| {
                    let mut tally = Tally::new(self.ages);
                    for job in jobs.iter().filter(|job| agents.take(job)) {
                        job.count(&mut tally, now);
                    }
                    harvest.remarks.extend(tally.remark(queue.as_str()));
                    tally.demand()
                });
                harvest.demands.push((queue.clone(), told));
            }
            Ok(harvest)
        })
    }
}

impl Kraken {
    async fn walk(&mut self) -> Result<walk::Walked, SourceError> {
        let session = self.open_session().await?;
        let walk = Walk {
            http: &self.http,
            base: &self.base,
            session: &session,
            allow_http: self.allow_http,
            flows: self.flows,
        };
        walk.all().await
    }

    /// The token to ask with: the one that is configured, or that of a session opened with user
    /// and password. It is kept until they change.
    async fn open_session(&mut self) -> Result<Secret, SourceError> {
        let place = self.token.as_ref();
        let place = place.ok_or_else(|| SourceError::Denied("no credentials".to_owned()))?;
        let credentials = place.read()?;
        let Some((user, password)) = credentials.user_and_password() else {
            return Ok(credentials);
        };
        if let Some(session) = &self.session
            && session.credentials == credentials
        {
            return Ok(session.token.clone());
        }
        let url = join(&self.base, "/sessions", &[]);
        let ask = Ask {
            method: reqwest::Method::POST,
            json: Some(&json!({ "user": user, "password": password.expose() })),
            secret: Some(&password),
            allow_http: self.allow_http,
            ..Ask::get(&url)
        };
        let reply = self.http.send(ask).await.map_err(|error| match error {
            SourceError::Denied(text) => {
                SourceError::Denied(format!("{text} (the credentials are from {place})"))
            }
            other => other,
        })?;
        let opened: Opened = reply
            .json()
            // What the server says of it may be the token.
            .map_err(|_| SourceError::Unreadable(format!("POST {url}: no token in the answer")))?;
        let token = Secret::from(opened.token);
        self.session = Some(Session {
            credentials: credentials.clone(),
            token: token.clone(),
        });
        Ok(token)
    }
}

#[derive(Deserialize)]
struct Opened {
    token: String,
}

#[cfg(test)]
mod tests;
