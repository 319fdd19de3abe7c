//! The instance metadata service, version 2 only (EC2 user guide, "Use the Instance Metadata
//! Service to access instance metadata").
//!
//! [`Imds::get`] keeps "nothing" (404) and "unknown" (everything else that is no value) apart:
//! who takes a throttled service for an absent notice kills jobs. No request takes longer than
//! [`REQUEST`], none retries by itself except for one with a fresh token after a 401.

use std::env;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use thiserror::Error;
use tracing::warn;

use super::notices::{Clock, parse_date};
use crate::lifecycle;
use crate::tls::plain_client;

const ENDPOINT: &str = "http://169.254.169.254";
const ENDPOINT_V6: &str = "http://[fd00:ec2::254]";
const CONNECT: Duration = Duration::from_secs(1);
const REQUEST: Duration = Duration::from_secs(2);
/// Six hours, the most that the service gives.
const TOKEN_TTL: Duration = Duration::from_secs(21600);
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// The largest true answer, user data, has 16 KiB.
const LARGEST: usize = 64 * 1024;

/// The service gave no answer that says anything.
#[derive(Debug, Error)]
pub enum ImdsError {
    #[error("the metadata service did not answer for {path}: {source}")]
    NoAnswer {
        path: String,
        source: reqwest::Error,
    },
    #[error("the metadata service answered {status} for {path}")]
    Status { path: String, status: StatusCode },
    #[error("the metadata service answered {path} with what is no text of at most 64 KiB")]
    NotText { path: String },
}

/// A client with one connection that is kept alive.
#[derive(Debug)]
pub struct Imds {
    http: Client,
    endpoint: String,
    token: Mutex<Option<Token>>,
    /// When the machine started, by the service's clock.
    started: Mutex<Option<SystemTime>>,
}

#[derive(Debug, Clone)]
struct Token {
    value: String,
    renew_at: Instant,
}

impl Imds {
    /// Honours the variables of the AWS SDKs: `AWS_EC2_METADATA_SERVICE_ENDPOINT` and its
    /// `_MODE`, and `AWS_EC2_METADATA_DISABLED`, which makes it `None`.
    pub fn from_env() -> Option<Imds> {
        let disabled = env::var("AWS_EC2_METADATA_DISABLED");
        if disabled.is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let v6 = env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
            .is_ok_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let usual = if v6 { ENDPOINT_V6 } else { ENDPOINT };
        Imds::new(Imds::configured_endpoint().as_deref().unwrap_or(usual))
    }

    /// Somebody said where the service is, so it is worth asking whatever the hardware is.
    pub fn configured_endpoint() -> Option<String> {
        env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT")
            .ok()
            .filter(|url| !url.is_empty())
    }

    /// Without a slash at the end.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn new(endpoint: &str) -> Option<Imds> {
        let http = plain_client()
            // The service is never behind a proxy, and refuses requests that came through one.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .pool_max_idle_per_host(1)
            // However seldom it is asked.
            .pool_idle_timeout(None)
            .build();
        let http = http
            .inspect_err(|error| warn!(%error, "imds.unusable"))
            .ok()?;
        Some(Imds {
            http,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: Mutex::new(None),
            started: Mutex::new(None),
        })
    }

    /// The text at `/latest/<path>`, or `None` when there is nothing (404).
    pub async fn get(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let token = self.token(path).await?;
        let mut answer = self.ask(path, &token).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.forget_token();
            finish(path, answer).await;
            let token = self.token(path).await?;
            answer = self.ask(path, &token).await?;
        }
        match answer.status() {
            StatusCode::OK => text(path, answer).await.map(Some),
            StatusCode::NOT_FOUND => {
                finish(path, answer).await;
                Ok(None)
            }
            status => {
                finish(path, answer).await;
                if status == StatusCode::UNAUTHORIZED {
                    self.forget_token();
                }
                let path = path.to_owned();
                Err(ImdsError::Status { path, status })
            }
        }
    }

    async fn ask(&self, path: &str, token: &str) -> Result<Response, ImdsError> {
        let request = self
            .request(Method::GET, path)
            .header("X-aws-ec2-metadata-token", token);
        self.send(path, request).await
    }

    /// The token that is still good, else a new one. `path` is whom it is for, for the error.
    async fn token(&self, path: &str) -> Result<String, ImdsError> {
        let known = self.token.lock().expect("no holder panics").clone();
        if let Some(token) = known.filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.value);
        }
        let asked = Instant::now();
        let ttl_header = "X-aws-ec2-metadata-token-ttl-seconds";
        let request = self
            .request(Method::PUT, "api/token")
            .header(ttl_header, TOKEN_TTL.as_secs())
            .header("Content-Length", "0");
        let answer = self.send(path, request).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            finish(path, answer).await;
            return Err(ImdsError::Status {
                path: "api/token".to_owned(),
                status,
            });
        }
        let ttl = answer.headers().get(ttl_header);
        let ttl = ttl.and_then(|ttl| ttl.to_str().ok()?.parse().ok());
        let ttl = ttl.map_or(TOKEN_TTL, Duration::from_secs).min(TOKEN_TTL);
        let value = text("api/token", answer).await?;
        let renew_at = asked + ttl.saturating_sub(RENEW_BEFORE.min(ttl / 2));
        let token = Token {
            value: value.clone(),
            renew_at,
        };
        *self.token.lock().expect("no holder panics") = Some(token);
        Ok(value)
    }

    /// Now, by both clocks. Before the service has told the time it is the machine's own.
    pub fn clock(&self) -> Clock {
        let boot = boot_time();
        let started = *self.started.lock().expect("no holder panics");
        let wall = started.and_then(|started| started.checked_add(boot.0));
        let wall = wall.unwrap_or_else(SystemTime::now);
        Clock { boot, wall }
    }

    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Response, ImdsError> {
        let sent = boot_time();
        let answer = request
            .send()
            .await
            .map_err(|source| no_answer(path, source))?;
        let date = answer.headers().get("Date");
        if let Some(date) = date.and_then(|date| parse_date(date.to_str().ok()?)) {
            self.set_clock(sent, date, boot_time());
        }
        Ok(answer)
    }

    /// The header has whole seconds and was written between the two moments. What is known stays
    /// while it does not contradict that, so that the clock does not tremble.
    fn set_clock(&self, sent: lifecycle::Instant, date: SystemTime, received: lifecycle::Instant) {
        let earliest = date.checked_sub(received.0);
        let latest = (date + Duration::from_secs(1)).checked_sub(sent.0);
        let mut started = self.started.lock().expect("no holder panics");
        if !(earliest..=latest).contains(&started) {
            *started = earliest;
        }
    }

    fn forget_token(&self) {
        *self.token.lock().expect("no holder panics") = None;
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/latest/{path}", self.endpoint))
    }
}

/// The URL would name the token's path or repeat ours.
fn no_answer(path: &str, source: reqwest::Error) -> ImdsError {
    ImdsError::NoAnswer {
        path: path.to_owned(),
        source: source.without_url(),
    }
}

/// Time since boot, suspend included (`CLOCK_BOOTTIME`, clock_gettime(2)).
fn boot_time() -> lifecycle::Instant {
    let time =
        clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had CLOCK_BOOTTIME since 2.6.39");
    lifecycle::Instant(time.into())
}

/// Reads what nobody wants to know: the connection of an unread answer is closed.
async fn finish(path: &str, answer: Response) {
    let _ = text(path, answer).await;
}

async fn text(path: &str, mut answer: Response) -> Result<String, ImdsError> {
    let not_text = || ImdsError::NotText {
        path: path.to_owned(),
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|source| no_answer(path, source))?
    {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(not_text());
        }
        bytes.extend_from_slice(&chunk);
    }
    // The connection goes back into the pool in a task of its own, which has to run before the next
    // request looks there: that would open another one.
    tokio::task::yield_now().await;
    String::from_utf8(bytes).map_err(|_| not_text())
}
