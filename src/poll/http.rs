//! HTTP to CI servers: one client for all of them, which gives nobody a token that is not his,
//! waits for nobody for ever, and keeps no more than it can.
//!
//! - A request takes 10 seconds at most, with its answer; an answer has 16 MiB at most.
//! - A redirection is followed within the same scheme, host and port only: headers with tokens
//!   would go along.
//! - No proxy but the one of `HTTPS_PROXY`, for https addresses that `NO_PROXY` does not except.
//!   It sees a tunnel, not what is in it.
//! - Trusted are the system's roots, else Mozilla's ([`crate::tls`]). `SSL_CERT_FILE` names
//!   others, as for OpenSSL.
//! - No error and no `Debug` has a token in it, even if the server sends it back.

mod address;
mod hints;
mod reply;
mod site;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::env;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Method, NoProxy, Proxy, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::source::SourceError;
use super::token::Secret;
pub use address::{check as check_url, encode, join, shown};
pub use hints::merge as merge_hints;
pub use reply::{Reply, first_words, parse_json};
pub use site::{Scheme, Site, describe};

/// For a whole round of a source: whoever needs more requests than fit in makes do with those.
pub const ROUND: Duration = Duration::from_secs(20);

/// Redirections that are followed.
const HOPS: usize = 5;
/// Characters of an answer that an error shows.
const SHOWN: usize = 200;
/// Bytes of such an answer that are read.
const READ_OF_REFUSAL: usize = 16 * 1024;

const LIMITS: Limits = Limits {
    request: Duration::from_secs(10),
    body: 16 * 1024 * 1024,
};

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// From the first byte sent to the last one read.
    request: Duration,
    body: usize,
}

/// One client for all of them. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Http {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    /// Made when it is first needed: roots are read then.
    client: OnceLock<Result<Client, String>>,
    /// Instead of the system's.
    roots: Option<Vec<Certificate>>,
    /// Nothing is deleted.
    harmless: bool,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub method: Method,
    pub url: &'a str,
    pub auth: Auth<'a>,
    pub headers: &'a [(&'a str, &'a str)],
    /// Of the answer that is there already: an unchanged one is status 304 without a body.
    pub etag: Option<&'a str>,
    pub json: Option<&'a Value>,
    /// A password in the body: as little for others' eyes as what is in `auth`.
    pub secret: Option<&'a Secret>,
    /// Credentials may be sent without TLS to another machine.
    pub allow_http: bool,
}

impl<'a> Ask<'a> {
    pub fn get(url: &'a str) -> Ask<'a> {
        Ask {
            method: Method::GET,
            url,
            auth: Auth::None,
            headers: &[],
            etag: None,
            json: None,
            secret: None,
            allow_http: false,
        }
    }
}

/// How a server is told who asks.
#[derive(Debug, Clone, Copy)]
pub enum Auth<'a> {
    None,
    /// `Authorization: Bearer SECRET`
    Bearer(&'a Secret),
    /// `Authorization: Token SECRET`
    Token(&'a Secret),
    /// The secret is the value of this header.
    Header(&'a str, &'a Secret),
    /// User and password.
    Basic(&'a str, &'a Secret),
}

impl<'a> Auth<'a> {
    fn secret(&self) -> Option<&'a Secret> {
        match *self {
            Auth::None => None,
            Auth::Bearer(secret)
            | Auth::Token(secret)
            | Auth::Header(_, secret)
            | Auth::Basic(_, secret) => Some(secret),
        }
    }

    fn put(&self, request: RequestBuilder) -> Result<RequestBuilder, SourceError> {
        let value = |text: String| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                SourceError::Denied("the token has characters that cannot be sent".to_owned())
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(match *self {
            Auth::None => request,
            Auth::Bearer(secret) => {
                request.header(AUTHORIZATION, value(format!("Bearer {}", secret.expose()))?)
            }
            Auth::Token(secret) => {
                request.header(AUTHORIZATION, value(format!("Token {}", secret.expose()))?)
            }
            Auth::Header(name, secret) => request.header(name, value(secret.expose().to_owned())?),
            Auth::Basic(user, secret) => request.basic_auth(user, Some(secret.expose())),
        })
    }
}

impl Http {
    pub fn new() -> Http {
        Http::with(LIMITS, None, false)
    }

    /// For a dry run: a DELETE is an error, and not sent.
    pub fn harmless() -> Http {
        Http::with(LIMITS, None, true)
    }

    fn with(limits: Limits, roots: Option<Vec<Certificate>>, harmless: bool) -> Http {
        let shared = Shared {
            limits,
            client: OnceLock::new(),
            roots,
            harmless,
        };
        Http {
            shared: Arc::new(shared),
        }
    }

    /// Sends it once. What is not 2xx, or 304 where an ETag was given, is an error.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Reply, SourceError> {
        let what = &format!("{} {}", ask.method, shown(ask.url));
        let address = address::parse(ask.url)
            .map_err(|why| SourceError::Unreachable(format!("{what}: the address {why}")))?;
        if self.shared.harmless && ask.method == Method::DELETE {
            return Err(SourceError::Denied(format!("{what}: not in a dry run")));
        }
        let secret = ask.auth.secret().or(ask.secret);
        if secret.is_some() && !ask.allow_http && !address::is_private(&address) {
            return Err(SourceError::Denied(format!(
                "{what}: the token is not sent without TLS (allow_http = true)"
            )));
        }
        let mut request = self.client()?.request(ask.method.clone(), address);
        request = ask.auth.put(request)?;
        for (name, value) in ask.headers {
            request = request.header(*name, *value);
        }
        if let Some(etag) = ask.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(json) = ask.json {
            request = request
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(json.to_string());
        }
        let failed = |error: reqwest::Error| self.unreachable(what, error);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let unchanged = status == StatusCode::NOT_MODIFIED && ask.etag.is_some();
        if !status.is_success() && !unchanged {
            return Err(refusal(what, answer, secret).await);
        }
        let most = self.shared.limits.body;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > most {
                return Err(SourceError::Unreadable(format!(
                    "{what}: the answer is longer than {most} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: status.as_u16(),
            hints: hints::read(answer.headers(), SystemTime::now()),
            headers: std::mem::take(answer.headers_mut()),
            body: body.into(),
            url: answer.url().clone(),
            what: what.clone(),
        })
    }

    fn client(&self) -> Result<&Client, SourceError> {
        let made = self.shared.client.get_or_init(|| {
            let roots = self.shared.roots.clone();
            make(
                self.shared.limits,
                roots.unwrap_or_else(crate::tls::certificates),
            )
        });
        made.as_ref()
            .map_err(|why| SourceError::Unreachable(format!("no HTTP client: {why}")))
    }

    fn unreachable(&self, what: &str, error: reqwest::Error) -> SourceError {
        if error.is_timeout() {
            let limit = self.shared.limits.request;
            return SourceError::Unreachable(format!("{what}: no answer within {limit:?}"));
        }
        // The address may have a secret in its query; the causes say what happened.
        let error = error.without_url();
        let mut text = format!("{what}: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            let words = deeper.to_string();
            if !text.ends_with(&words) {
                text.push_str(&format!(": {words}"));
            }
            cause = deeper.source();
        }
        SourceError::Unreachable(text)
    }
}

fn make(limits: Limits, roots: Vec<Certificate>) -> Result<Client, String> {
    let mut client = Client::builder()
        .no_proxy()
        .user_agent(concat!("clockout/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow))
        .timeout(limits.request)
        .tls_certs_only(roots);
    let proxy = ["HTTPS_PROXY", "https_proxy"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|url| !url.is_empty()));
    if let Some(url) = proxy {
        // Its address may have a password in it.
        let proxy = Proxy::https(url).map_err(|_| "HTTPS_PROXY is no address of a proxy")?;
        client = client.proxy(proxy.no_proxy(NoProxy::from_env()));
    }
    client.build().map_err(|error| error.to_string())
}

/// A redirection elsewhere is not followed, and so an answer of its own: see [`refusal`].
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous();
    let same = from.last().map(reqwest::Url::origin) == Some(attempt.url().origin());
    if same && from.len() <= HOPS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Why there is no answer, by its status, with the server's first words.
async fn refusal(what: &str, mut answer: Response, secret: Option<&Secret>) -> SourceError {
    let status = answer.status();
    let headers = answer.headers().clone();
    let wait = hints::read(&headers, SystemTime::now()).not_before;
    let mut start = Vec::new();
    // Whatever can be had of it: the status is told anyway.
    while start.len() < READ_OF_REFUSAL
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        start.extend_from_slice(&chunk);
    }
    // Before it is cut off: half a token is one too many.
    let words = without(&String::from_utf8_lossy(&start), secret);
    let words = reply::first_words(words.as_bytes(), SHOWN);
    let mut text = format!("{what}: {status}");
    if status.is_redirection() {
        let to = headers.get(reqwest::header::LOCATION);
        let to = to.and_then(|to| to.to_str().ok()).map(shown);
        let to = to.as_deref().unwrap_or("nowhere");
        return SourceError::Status(format!(
            "{text}: it redirects to {to}, where no token is sent: give that as the url"
        ));
    }
    if !words.is_empty() {
        text.push_str(": ");
        text.push_str(&words);
    }
    let limited = headers.contains_key(RETRY_AFTER) || hints::is_used_up(&headers);
    match (status, wait) {
        (StatusCode::TOO_MANY_REQUESTS, wait) => SourceError::Limited(wait),
        // GitHub's way: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
        (StatusCode::FORBIDDEN, wait) if limited => SourceError::Limited(wait),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => SourceError::Denied(text),
        (StatusCode::NOT_FOUND | StatusCode::GONE, _) => SourceError::Missing(text),
        (_, Some(wait)) => SourceError::Busy(text, wait),
        (_, None) => SourceError::Status(text),
    }
}

/// Without the token, should the server have sent it back.
fn without(text: &str, secret: Option<&Secret>) -> String {
    match secret.map(Secret::expose) {
        None | Some("") => text.to_owned(),
        Some(secret) => text.replace(secret, "<secret>"),
    }
}

/// The header `ETag`, for the next [`Ask::etag`].
pub fn etag(reply: &Reply) -> Option<&str> {
    reply.headers.get(ETAG)?.to_str().ok()
}
