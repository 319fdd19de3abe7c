//! What can be asked, and what is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::history::{History, Span};
use super::{health, metrics, page};
use crate::poll::snapshot::Snapshot;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Nothing but our own two files, and no script in the page itself: names from tags cannot run.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

pub type Answer = Response<Full<Bytes>>;

/// What the answers are made of.
pub struct Routes {
    shared: watch::Receiver<Arc<Snapshot>>,
    history: Mutex<History>,
    bodies: Mutex<Bodies>,
}

/// The large bodies of one snapshot: made once, however many ask.
struct Bodies {
    of: Arc<Snapshot>,
    status: Option<Bytes>,
    metrics: Option<Bytes>,
    plain_metrics: Option<Bytes>,
}

impl Bodies {
    fn of(snapshot: Arc<Snapshot>) -> Bodies {
        Bodies {
            of: snapshot,
            status: None,
            metrics: None,
            plain_metrics: None,
        }
    }
}

impl Routes {
    pub fn new(shared: watch::Receiver<Arc<Snapshot>>) -> Routes {
        let first = Arc::clone(&shared.borrow());
        let routes = Routes {
            shared,
            history: Mutex::default(),
            bodies: Mutex::new(Bodies::of(Arc::clone(&first))),
        };
        routes.record(&first);
        routes
    }

    /// Tells the chart of a snapshot.
    pub fn record(&self, snapshot: &Snapshot) {
        lock(&self.history).record(now(), snapshot);
    }

    /// Reads the head of the request only. Bodies are never read.
    pub fn answer<B>(&self, request: &Request<B>) -> Answer {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allowed);
            return answer;
        }
        let query = Query::of(request.uri().query().unwrap_or_default());
        match request.uri().path() {
            "/" => self.page(&query),
            "/page.css" => found("text/css; charset=utf-8", page::CSS),
            "/page.js" => found("text/javascript; charset=utf-8", page::JS),
            "/healthz" => self.health(),
            "/livez" => plain(StatusCode::OK, "ok\n"),
            "/metrics" => self.metrics(Format::wanted(request)),
            "/status.json" => self.status(),
            "/history.json" => self.history(query.span().unwrap_or_default()),
            "/explain" => self.explain(&query),
            _ => plain(StatusCode::NOT_FOUND, NOT_FOUND),
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.borrow())
    }

    fn page(&self, query: &Query) -> Answer {
        let history = lock(&self.history);
        let asked = page::Asked {
            filter: query.get("q").unwrap_or_default().trim(),
            page: (query.get("page").and_then(|page| page.parse().ok())).unwrap_or(1),
            span: query.span(),
        };
        found(
            HTML,
            page::render(&self.snapshot(), &history, &asked, now()),
        )
    }

    fn health(&self) -> Answer {
        let problems = health::problems(&self.snapshot(), now());
        let status = if problems.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        plain(status, health::report(&problems))
    }

    fn metrics(&self, format: Format) -> Answer {
        let mut bodies = self.bodies();
        let known = match format {
            Format::OpenMetrics => &bodies.metrics,
            Format::Plain => &bodies.plain_metrics,
        };
        if let Some(body) = known {
            return found(format.kind(), body.clone());
        }
        let text = match metrics::render(&bodies.of) {
            Ok(text) => text,
            Err(error) => return failed(&error),
        };
        let (known, body) = match format {
            Format::OpenMetrics => (&mut bodies.metrics, Bytes::from(text)),
            Format::Plain => (&mut bodies.plain_metrics, metrics::plain(&text).into()),
        };
        *known = Some(body.clone());
        found(format.kind(), body)
    }

    fn status(&self) -> Answer {
        let mut bodies = self.bodies();
        if let Some(body) = &bodies.status {
            return found(JSON, body.clone());
        }
        match serde_json::to_vec(&*bodies.of).map(Bytes::from) {
            Ok(body) => {
                bodies.status = Some(body.clone());
                found(JSON, body)
            }
            Err(error) => failed(&error),
        }
    }

    fn history(&self, span: Span) -> Answer {
        match serde_json::to_vec(&lock(&self.history).report(span, now())) {
            Ok(body) => found(JSON, body),
            Err(error) => failed(&error),
        }
    }

    fn explain(&self, query: &Query) -> Answer {
        let snapshot = self.snapshot();
        let Some(id) = query.get("group") else {
            return plain(StatusCode::BAD_REQUEST, "which one? /explain?group=NAME\n");
        };
        match snapshot.group(id) {
            Some(group) => plain(StatusCode::OK, group.explain() + "\n"),
            None => plain(StatusCode::NOT_FOUND, unknown_group(id, &snapshot)),
        }
    }

    /// The bodies of the snapshot of now.
    fn bodies(&self) -> MutexGuard<'_, Bodies> {
        let now = self.snapshot();
        let mut bodies = lock(&self.bodies);
        if !Arc::ptr_eq(&bodies.of, &now) {
            *bodies = Bodies::of(now);
        }
        bodies
    }
}

const NOT_FOUND: &str = "there are / /metrics /healthz /livez /status.json /history.json \
    /explain?group=NAME\n";
/// Of the names that are told to who asked for another one.
const MOST_NAMES: usize = 100;

fn unknown_group(id: &str, snapshot: &Snapshot) -> String {
    let mut text = format!("there is no group {id:?}; there are:\n");
    for group in snapshot.groups.iter().take(MOST_NAMES) {
        text += &format!("{}\n", group.id.escape_debug());
    }
    if let Some(more @ 1..) = snapshot.groups.len().checked_sub(MOST_NAMES) {
        text += &format!("and {more} more: /status.json\n");
    }
    text
}

/// How metrics can be written.
#[derive(Debug, Clone, Copy)]
enum Format {
    OpenMetrics,
    Plain,
}

impl Format {
    /// What the client would rather read.
    fn wanted<B>(request: &Request<B>) -> Format {
        let accepts = request.headers().get_all(header::ACCEPT).iter();
        let mut accepts = accepts.filter_map(|accept| accept.to_str().ok());
        if accepts.any(|accept| accept.contains("application/openmetrics-text")) {
            Format::OpenMetrics
        } else {
            Format::Plain
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Format::OpenMetrics => metrics::OPENMETRICS,
            Format::Plain => metrics::PLAIN,
        }
    }
}

fn found(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, kind, body.into())
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, body.into())
}

fn failed(error: &dyn std::error::Error) -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// `?name=value&...`, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Query {
        // The way to `form_urlencoded` without one more direct dependency.
        let url = reqwest::Url::parse(&format!("http://localhost/?{text}"));
        let pairs = url.map(|url| url.query_pairs().into_owned().collect());
        Query(pairs.unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(other, _)| other == name);
        pair.map(|(_, value)| value.as_str())
    }

    fn span(&self) -> Option<Span> {
        self.get("span").and_then(Span::named)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// What is behind these is whole at any point.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
