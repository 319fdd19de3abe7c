//! Jobs seen on the agent's own status page: JSON or Prometheus text, on this machine.
//!
//! Whatever goes wrong, the answer is *unknown*, which is never the same as idle.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde_json::Value;
use thiserror::Error;
use tracing::{info, warn};

use crate::lifecycle::Observation;
use crate::presets::{Credentials, HttpDetector, Page, Pointer, Target};
use crate::tls::plain_client;

/// For one question and its whole answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many failures in a row of a page that was never good are worth a line.
const NEWS: u32 = 10;
/// No agent runs more at a time: a page that says so lies.
const MOST_JOBS: u32 = 256;
/// A page that is longer is not read to its end.
const LONGEST_PAGE: usize = 1024 * 1024;

/// Asks one page of one agent process.
#[derive(Debug)]
pub struct HttpProbe {
    client: reqwest::Client,
    target: Target,
    spec: HttpDetector,
    history: Mutex<History>,
}

/// What earlier answers were; each change is worth one line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    Fresh,
    Good,
    Failing {
        once_good: bool,
        /// In a row.
        times: u32,
    },
    /// This agent is too old to have the page.
    Missing,
}

#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the page is longer than {LONGEST_PAGE} bytes")]
    TooLong,
    #[error("the page does not say how many jobs run")]
    Unreadable,
}

impl Failure {
    /// Nobody listens there.
    fn is_refusal(&self) -> bool {
        matches!(self, Failure::Request(error) if error.is_connect())
    }
}

impl HttpProbe {
    pub fn new(spec: &HttpDetector, target: &Target) -> Result<HttpProbe, reqwest::Error> {
        let client = plain_client()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .pool_max_idle_per_host(1)
            .default_headers(spec.headers.0.clone())
            .build()?;
        Ok(HttpProbe {
            client,
            target: target.clone(),
            spec: spec.clone(),
            history: Mutex::new(History::Fresh),
        })
    }

    /// How many jobs the page shows now. An optional page that was never there says nothing
    /// against idle: the agent is too old for it, or could not listen where it was told to.
    pub async fn sample(&self) -> Observation {
        let before = self.history();
        if before == History::Missing {
            return Observation::Absent;
        }
        let (once_good, failures) = match before {
            History::Good => (true, 0),
            History::Failing { once_good, times } => (once_good, times),
            History::Fresh | History::Missing => (false, 0),
        };
        let (now, seen) = match self.ask().await {
            Ok(jobs) => (History::Good, Observation::Running { jobs: Some(jobs) }),
            Err(Failure::Status(StatusCode::NOT_FOUND)) if self.spec.optional && !once_good => {
                info!(url = self.target.url, "detector.left_out");
                (History::Missing, Observation::Absent)
            }
            Err(failure) => {
                let times = failures.saturating_add(1);
                let left_out =
                    self.spec.optional && !once_good && times >= NEWS && failure.is_refusal();
                // An agent that still starts has no page yet: that is no news.
                if times == if once_good { 1 } else { NEWS } {
                    let url = &self.target.url;
                    if left_out {
                        info!(url, "detector.left_out");
                    } else {
                        warn!(url, error = %failure, "detector.failed: it keeps the machine busy");
                    }
                }
                // It is asked again, in case that it comes yet.
                let seen = if left_out {
                    Observation::Absent
                } else {
                    Observation::Running { jobs: None }
                };
                (History::Failing { once_good, times }, seen)
            }
        };
        *self.lock() = now;
        seen
    }

    fn history(&self) -> History {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        // Held for a copy only, so nobody can have failed with it.
        self.history
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<u32, Failure> {
        let question = self.client.get(&self.target.url);
        let question = match &self.target.auth {
            None => question,
            Some(Credentials::Basic { user, password }) => {
                question.basic_auth(user, Some(password))
            }
            Some(Credentials::Bearer(token)) => question.bearer_auth(token),
        };
        let mut answer = question.send().await?;
        let status = answer.status();
        if !self.spec.accept_status.contains(&status.as_u16()) {
            return Err(Failure::Status(status));
        }
        let mut page = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if page.len() + chunk.len() > LONGEST_PAGE {
                return Err(Failure::TooLong);
            }
            page.extend_from_slice(&chunk);
        }
        let jobs = count(&self.spec.running, &page);
        jobs.filter(|jobs| *jobs <= MOST_JOBS)
            .ok_or(Failure::Unreadable)
    }
}

/// How many jobs a page says run; `None` when it does not say.
fn count(how: &Page, page: &[u8]) -> Option<u32> {
    let json = || serde_json::from_slice::<Value>(page).ok();
    let text = || std::str::from_utf8(page).ok();
    match how {
        Page::Number(at) => u32::try_from(at.of(&json()?)?.as_u64()?).ok(),
        Page::Keys(at) => u32::try_from(at.of(&json()?)?.as_object()?.len()).ok(),
        Page::Array { array, only } => {
            let page = json()?;
            let entries = array.of(&page)?.as_array()?;
            let jobs = entries.iter().map(|entry| is_job(entry, only));
            jobs.sum::<Option<u32>>()
        }
        Page::Gauge(metric) => whole(sum(text()?, metric)??),
        Page::Counters { started, ended } => {
            let text = text()?;
            let started = sum(text, started)??;
            // A labelled counter has no series before its first event.
            let ended = sum(text, ended).unwrap_or(Some(0.0))?;
            whole(started - ended)
        }
    }
}

/// 1 for an entry that is a job, 0 for another, `None` for one that is not what it should be.
fn is_job(entry: &Value, only: &BTreeMap<Pointer, Vec<String>>) -> Option<u32> {
    let mut all = true;
    for (at, values) in only {
        match at.of(entry) {
            Some(Value::String(value)) => all &= values.contains(value),
            Some(Value::Bool(value)) => all &= values.contains(&value.to_string()),
            None if entry.is_object() => all = false,
            _ => return None,
        }
    }
    Some(u32::from(all))
}

/// The sum of all series of a metric in Prometheus' text format; `None` when there is none, and
/// `Some(None)` when one is no number of jobs.
fn sum(text: &str, metric: &str) -> Option<Option<f64>> {
    let values = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix(metric)?;
        // Label values may contain blanks and braces, but the last brace ends the labels.
        let rest = match rest.strip_prefix('{') {
            Some(labels) => match labels.rfind('}') {
                Some(end) => &labels[end + 1..],
                None => return Some(None),
            },
            None if rest.starts_with([' ', '\t']) => rest,
            None => return None,
        };
        let value = rest.split_ascii_whitespace().next();
        let value = value.and_then(|value| value.parse::<f64>().ok());
        Some(value.filter(|value| value.is_finite() && *value >= 0.0))
    });
    values.fold(None, |sum, value| match sum {
        None => Some(value),
        Some(sum) => Some(sum.zip(value).map(|(sum, value)| sum + value)),
    })
}

fn whole(number: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX))
        .contains(&number)
        .then_some(number.ceil() as u32)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
