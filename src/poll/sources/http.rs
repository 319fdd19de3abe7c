//! Any server that answers with JSON: pointers say where in it the numbers are.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::selector::{of_queue, to_queue};
use crate::poll::http::{Http, Scheme, Site, check_url, describe};
use crate::poll::plan::{Demand, Harvest, Queue};
use crate::poll::source::{self, Later, Source, SourceError};
use crate::poll::token::Token;

/// `kind = "http"`
///
/// Pointers are RFC 6901 (`/queues/linux/waiting`): to a number, to text that is one, or to an
/// array or object, whose entries are counted. A pointer to nothing is unknown, not zero.
/// `{tag}` in `url` and pointers is a discovered group's tag.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The whole address of the document; one fetch serves all groups of it.
    url: String,
    /// Pointer to the jobs that wait.
    waiting: String,
    /// Pointer to the jobs that run.
    running: Option<String>,
    /// Pointer to the slots that are connected and free; only looked at without `running`.
    free: Option<String>,
    /// Pointer to the agents that are connected, busy or free.
    agents: Option<String>,
    /// Pointer to whether the queue is paused: then nothing waits.
    paused: Option<String>,
    /// Pointer to the seconds that the oldest waiting job has waited.
    oldest: Option<String>,
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
pub(super) enum How {
    #[default]
    Bearer,
    Token,
    Basic,
}

impl How {
    pub(super) fn scheme(self) -> Scheme {
        match self {
            How::Bearer => Scheme::Bearer,
            How::Token => Scheme::Token,
            How::Basic => Scheme::Basic,
        }
    }
}

/// What a group serves of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pointers {
    waiting: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
}

impl Spec {
    fn token(&self) -> Option<Token> {
        Token::new(self.token_file.as_deref(), self.token_env.as_deref())
    }

    fn optional(&mut self) -> [&mut Option<String>; 5] {
        [
            &mut self.running,
            &mut self.free,
            &mut self.agents,
            &mut self.paused,
            &mut self.oldest,
        ]
    }
}

impl source::Spec for Spec {
    fn check(&self) -> Result<(), String> {
        Token::check_optional(self.token_file.as_deref(), self.token_env.as_deref())?;
        check_url(&self.url, self.token().is_some(), self.allow_http)?;
        let pointers = [
            ("waiting", Some(&self.waiting)),
            ("running", self.running.as_ref()),
            ("free", self.free.as_ref()),
            ("agents", self.agents.as_ref()),
            ("paused", self.paused.as_ref()),
            ("oldest", self.oldest.as_ref()),
        ];
        for (key, pointer) in pointers {
            let pointer = pointer.map_or("", String::as_str);
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(format!(
                    "{key} = \"{pointer}\": a JSON pointer begins with /"
                ));
            }
        }
        Ok(())
    }

    fn fill(&mut self, tag: &str) {
        // RFC 6901, 3: these two mean something in a pointer.
        let pointed = tag.replace('~', "~0").replace('/', "~1");
        self.url = self.url.replace("{tag}", &crate::poll::http::encode(tag));
        self.waiting = self.waiting.replace("{tag}", &pointed);
        for pointer in self.optional().into_iter().flatten() {
            *pointer = pointer.replace("{tag}", &pointed);
        }
    }

    fn server(&self) -> String {
        let server = describe(&self.url, self.token().as_ref());
        // What is not shown may tell two documents apart.
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        match query {
            "" => server,
            _ => format!("{server}, query {:08x}", fingerprint(query)),
        }
    }

    fn queue(&self) -> Queue {
        to_queue(&Pointers {
            waiting: self.waiting.clone(),
            running: self.running.clone(),
            free: self.free.clone(),
            agents: self.agents.clone(),
            paused: self.paused.clone(),
            oldest: self.oldest.clone(),
        })
    }

    fn open(&self, http: &Http) -> Box<dyn Source> {
        let (token, allow) = (self.token(), self.allow_http);
        Box::new(Document {
            site: Site::new(http, "", self.auth.scheme(), token, allow),
            url: self.url.clone(),
        })
    }
}

/// FNV-1a, 32 bits: tells addresses apart, and is no secret's hash that anybody must trust.
fn fingerprint(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

struct Document {
    site: Site,
    url: String,
}

impl Source for Document {
    fn bulk(&self) -> bool {
        true
    }

    fn read<'a>(&'a mut self, queues: &'a [Queue]) -> Later<'a, Result<Harvest, SourceError>> {
        Box::pin(async move {
            let reply = self.site.get_url(&self.url, None).await?;
            let document: Value = reply.json()?;
            let mut harvest = Harvest {
                hints: reply.hints,
                ..Harvest::default()
            };
            for queue in queues {
                let told = of_queue(queue).and_then(|pointers| demand(&document, &pointers));
                if let Ok((_, true)) = told {
                    harvest.remarks.push(format!("{queue}: paused"));
                }
                let told = told.map(|(demand, _)| demand);
                harvest.demands.push((queue.clone(), told));
            }
            Ok(harvest)
        })
    }
}

/// What the pointers point to, and whether the queue is paused.
fn demand(document: &Value, pointers: &Pointers) -> Result<(Demand, bool), String> {
    let at = |pointer: &String| number(document, pointer);
    let maybe = |pointer: &Option<String>| pointer.as_ref().map(at).transpose();
    let paused = match &pointers.paused {
        None => false,
        Some(pointer) => match document.pointer(pointer) {
            Some(Value::Bool(paused)) => *paused,
            Some(_) => return Err(format!("{pointer}: neither true nor false")),
            None => return Err(format!("{pointer}: not in the answer")),
        },
    };
    let waiting = at(&pointers.waiting)?;
    let oldest = maybe(&pointers.oldest)?.filter(|_| !paused);
    let demand = Demand {
        waiting: if paused { 0 } else { waiting },
        running: maybe(&pointers.running)?,
        free: maybe(&pointers.free)?,
        agents: maybe(&pointers.agents)?,
        names: None,
        oldest: oldest.map(|seconds| Duration::from_secs(seconds.into())),
    };
    Ok((demand, paused))
}

fn number(document: &Value, pointer: &str) -> Result<u32, String> {
    let found = document.pointer(pointer);
    let found = found.ok_or_else(|| format!("{pointer}: not in the answer"))?;
    let number = match found {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Array(entries) => Some(entries.len() as f64),
        Value::Object(entries) => Some(entries.len() as f64),
        Value::Null | Value::Bool(_) => None,
    };
    let number = number.and_then(whole);
    number.ok_or_else(|| format!("{pointer}: no number of jobs"))
}

/// A job that is begun counts as a whole one.
pub(super) fn whole(number: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX))
        .contains(&number)
        .then_some(number.ceil() as u32)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
