//! A fake instance metadata service, version 2 only, as the EC2 user guide describes it
//! ("Use the Instance Metadata Service to access instance metadata").

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use hyper::Method;

use super::dates::http_date;
use super::http::{Answer, Handler, Reply, Request, Server};

const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_PATH: &str = "/latest/api/token";

/// How the service fails a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImdsFault {
    /// With this status: 401, 403, 404, 429, 503.
    Status(u16),
    /// Takes the request and never answers, as behind a hop limit of 1.
    Hang,
    /// Closes the connection without a word.
    Close,
    /// Breaks off in the middle of the value.
    Half,
    /// 200 with this text, whatever the path.
    Text(&'static str),
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    N(u32),
    Forever,
}

impl Times {
    /// Uses one up; whether there was one.
    pub fn take(&mut self) -> bool {
        match self {
            Times::Forever => true,
            Times::N(0) => false,
            Times::N(left) => {
                *left -= 1;
                true
            }
        }
    }
}

pub struct Imds {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

/// A value at the time that the service believes it is.
type Value = Box<dyn Fn(SystemTime) -> String + Send>;

#[derive(Default)]
struct Shared {
    values: BTreeMap<String, Value>,
    /// By the beginning of the path.
    faults: Vec<(String, ImdsFault, Times)>,
    tokens: BTreeMap<String, Instant>,
    issued: u64,
    requests: Vec<String>,
    /// How far the machine's clock is behind the service's.
    ahead: Duration,
}

impl Imds {
    /// A running machine in no group. Its credentials are those that moto takes: any.
    pub fn start(instance: &str) -> Imds {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Arc::clone(&shared);
        let handler: Handler = Arc::new(move |request| {
            let answer = state.lock().expect("no holder panics").answer(&request);
            Box::pin(std::future::ready(answer))
        });
        let imds = Imds {
            server: Server::start(handler),
            shared,
        };
        imds.set("meta-data/instance-id", instance);
        imds.set("meta-data/instance-life-cycle", "on-demand");
        imds.set("meta-data/placement/region", "us-east-1");
        imds.set("meta-data/placement/availability-zone", "us-east-1a");
        imds.set("meta-data/iam/security-credentials/", "ci-agent");
        imds.set(
            "meta-data/iam/security-credentials/ci-agent",
            r#"{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC",
                "AccessKeyId":"ASIATESTBED","SecretAccessKey":"testbed-secret",
                "Token":"testbed-session-token","Expiration":"2036-01-01T00:00:00Z"}"#,
        );
        imds.set(
            "dynamic/instance-identity/document",
            &format!(
                r#"{{"accountId":"123456789012","architecture":"x86_64","imageId":"ami-12c6146b",
                    "availabilityZone":"us-east-1a","region":"us-east-1","instanceType":"t3.micro",
                    "instanceId":"{instance}","pendingTime":"2026-01-01T00:00:00Z",
                    "privateIp":"10.0.0.1","version":"2017-09-30"}}"#
            ),
        );
        imds
    }

    /// What `AWS_EC2_METADATA_SERVICE_ENDPOINT` is set to.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Puts a value at `/latest/<path>`.
    pub fn set(&self, path: &str, value: &str) {
        let value = value.to_owned();
        self.compute(path, move |_| value.clone());
    }

    /// Puts a value there that depends on when it is read.
    pub fn compute(&self, path: &str, value: impl Fn(SystemTime) -> String + Send + 'static) {
        let path = format!("/latest/{path}");
        self.lock().values.insert(path, Box::new(value));
    }

    /// Takes a value away: 404 from now on.
    pub fn withdraw(&self, path: &str) {
        self.lock().values.remove(&format!("/latest/{path}"));
    }

    /// The machine's clock is wrong: the service's is so far ahead of it.
    pub fn clock_ahead(&self, by: Duration) {
        self.lock().ahead = by;
    }

    /// The time that the service believes it is.
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + self.lock().ahead
    }

    /// Shows the instance's group, as instance tags in metadata do when they are switched on.
    pub fn tag_group(&self, group: &str) {
        self.set("meta-data/tags/instance/aws:autoscaling:groupName", group);
    }

    /// From now on requests below `/latest/<path>` fail; the empty path is all, token included.
    pub fn fail(&self, path: &str, fault: ImdsFault, times: Times) {
        let path = format!("/latest/{path}");
        self.lock().faults.push((path, fault, times));
    }

    /// All faults are over.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Every token given out so far is worth nothing any more.
    pub fn expire_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// `METHOD path -> answer`, in order.
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// How often `/latest/<path>` was asked for.
    pub fn count(&self, path: &str) -> usize {
        let asked = format!(" /latest/{path} -> ");
        let requests = self.requests();
        requests.iter().filter(|it| it.contains(&asked)).count()
    }

    /// How many connections clients have opened so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder panics")
    }
}

impl Shared {
    fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path.as_str();
        let fault = self
            .faults
            .iter_mut()
            .find(|(prefix, _, times)| path.starts_with(prefix.as_str()) && *times != Times::N(0));
        let answer = match fault {
            Some((_, fault, times)) => {
                times.take();
                match *fault {
                    ImdsFault::Status(status) => plain(status, ""),
                    ImdsFault::Hang => Answer::Hang,
                    ImdsFault::Close => Answer::Close,
                    ImdsFault::Text(text) => plain(200, text),
                    ImdsFault::Half => match self.value(request) {
                        Answer::Reply(reply) => Answer::Half(reply),
                        other => other,
                    },
                }
            }
            None if path == TOKEN_PATH => self.token(request),
            None => self.value(request),
        };
        let answer = self.dated(answer);
        let said = match &answer {
            Answer::Reply(reply) => reply.status.as_u16().to_string(),
            Answer::Half(_) => "half of it".to_owned(),
            Answer::Close => "connection closed".to_owned(),
            Answer::Hang => "silence".to_owned(),
        };
        self.requests
            .push(format!("{} {path} -> {said}", request.method));
        answer
    }

    fn token(&mut self, request: &Request) -> Answer {
        if request.method != Method::PUT {
            return plain(405, "");
        }
        if request.headers.contains_key("x-forwarded-for") {
            return plain(403, "");
        }
        let ttl = header(request, TTL_HEADER).and_then(|ttl| ttl.parse().ok());
        let Some(ttl @ 1..=21600) = ttl else {
            return plain(400, "");
        };
        self.issued += 1;
        let token = format!("testbed-token-{}", self.issued);
        let ends = Instant::now() + Duration::from_secs(ttl);
        self.tokens.insert(token.clone(), ends);
        let mut reply = Reply::new(200, "text/plain", token);
        reply.headers.push((TTL_HEADER, ttl.to_string()));
        Answer::Reply(reply)
    }

    fn value(&mut self, request: &Request) -> Answer {
        let token = header(request, TOKEN_HEADER);
        let ends = token.and_then(|token| self.tokens.get(token));
        if ends.is_none_or(|ends| *ends <= Instant::now()) {
            return plain(401, "");
        }
        if request.method != Method::GET {
            return plain(405, "");
        }
        match self.values.get(&request.path) {
            Some(value) => plain(200, &value(SystemTime::now() + self.ahead)),
            None => plain(404, ""),
        }
    }

    fn dated(&self, answer: Answer) -> Answer {
        let Answer::Reply(mut reply) = answer else {
            return answer;
        };
        let date = http_date(SystemTime::now() + self.ahead);
        reply.headers.push(("date", date));
        Answer::Reply(reply)
    }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

fn plain(status: u16, body: &str) -> Answer {
    Answer::Reply(Reply::new(status, "text/plain", body.to_owned()))
}
