//! The instance metadata service, version 2 only (EC2 user guide, "Use the Instance Metadata
//! Service to access instance metadata").
//!
//! [`Imds::get`] keeps "nothing" (404) and "unknown" (everything else that is no value) apart:
//! who takes a throttled service for an absent notice kills jobs. No request takes longer than
//! [`REQUEST`], none retries by itself except for one with a fresh token after a 401.

use std::env;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use thiserror::Error;
use tracing::warn;

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

    pub(super) fn new(endpoint: &str) -> Option<Imds> {
        let http = Client::builder()
            // The service is never behind a proxy, and refuses requests that came through one.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .pool_max_idle_per_host(1)
            .build();
        let http = http
            .inspect_err(|error| warn!(%error, "imds.unusable"))
            .ok()?;
        Some(Imds {
            http,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: Mutex::new(None),
        })
    }

    /// The text at `/latest/<path>`, or `None` when there is nothing (404).
    pub async fn get(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let token = self.token(path).await?;
        let mut answer = self.ask(path, &token).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.forget_token();
            let token = self.token(path).await?;
            answer = self.ask(path, &token).await?;
        }
        match answer.status() {
            StatusCode::OK => text(path, answer).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
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
        send(path, request).await
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
        let answer = send(path, request).await?;
        if answer.status() != StatusCode::OK {
            return Err(ImdsError::Status {
                path: "api/token".to_owned(),
                status: answer.status(),
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

    fn forget_token(&self) {
        *self.token.lock().expect("no holder panics") = None;
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/latest/{path}", self.endpoint))
    }
}

async fn send(path: &str, request: RequestBuilder) -> Result<Response, ImdsError> {
    request
        .send()
        .await
        .map_err(|source| no_answer(path, source))
}

/// The URL would name the token's path or repeat ours.
fn no_answer(path: &str, source: reqwest::Error) -> ImdsError {
    ImdsError::NoAnswer {
        path: path.to_owned(),
        source: source.without_url(),
    }
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
    String::from_utf8(bytes).map_err(|_| not_text())
}
