//! moto as Auto Scaling and EC2: one process for this test binary, and its own truth, read
//! without going through any fault.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use regex::Regex;
use tempfile::TempDir;

use super::http::{self, Reply};
use super::init::{Start, init};

const AUTOSCALING_VERSION: &str = "2011-01-01";
const EC2_VERSION: &str = "2016-11-15";
const SQS_VERSION: &str = "2012-11-05";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    AutoScaling,
    Ec2,
}

impl Service {
    /// Which service's query API a call is meant for.
    pub fn of_version(version: &str) -> Option<Service> {
        match version {
            AUTOSCALING_VERSION => Some(Service::AutoScaling),
            EC2_VERSION => Some(Service::Ec2),
            _ => None,
        }
    }

    /// moto finds the service by the credential scope, and believes every signature.
    pub fn signature(self) -> String {
        signature(match self {
            Service::AutoScaling => "autoscaling",
            Service::Ec2 => "ec2",
        })
    }

    pub fn version(self) -> &'static str {
        match self {
            Service::AutoScaling => AUTOSCALING_VERSION,
            Service::Ec2 => EC2_VERSION,
        }
    }
}

fn signature(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=testbed/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

pub struct Moto {
    address: SocketAddr,
    dir: TempDir,
    /// moto iterates over dictionaries that its other threads change, and then answers 500.
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// The one of this test binary.
pub fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(Moto::start)
}

impl Moto {
    fn start() -> Moto {
        let server = venv().join("bin/moto_server");
        assert!(
            server.exists(),
            "moto is not installed: run scripts/test-setup once"
        );
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("moto.log");
        let start = Start {
            argv: ["-H", "127.0.0.1", "-p", "0"].into_iter().fold(
                vec![server.display().to_string()],
                |mut argv, word| {
                    argv.push(word.to_owned());
                    argv
                },
            ),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            stdin: "/dev/null".into(),
            stdout: log.clone(),
            stderr: log.clone(),
        };
        let pid = init().spawn(&start).expect("moto_server is executable");
        let listening = Regex::new(r"Running on http://(127\.0\.0\.1:\d+)").expect("a regex");
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(found) = listening.captures(&text) {
                let address = found[1].parse().expect("an address");
                return Moto {
                    address,
                    dir,
                    one_at_a_time: tokio::sync::Mutex::default(),
                };
            }
            let ended = init().wait(pid, Duration::from_millis(20));
            let late = started.elapsed() > Duration::from_secs(120);
            assert!(ended.is_none() && !late, "moto did not start: {text}");
        }
    }

    /// What `AWS_ENDPOINT_URL` is set to where no faults are needed.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("moto.log")).unwrap_or_default()
    }

    /// Sends a call as it came, its own signature included.
    pub async fn forward(&self, signature: String, body: Bytes) -> Reply {
        let _alone = self.one_at_a_time.lock().await;
        match http::post(self.address, &[("authorization", signature)], body).await {
            Ok(reply) => reply,
            Err(error) => panic!("moto does not answer: {error}"),
        }
    }

    /// A call of our own.
    pub async fn call(&self, service: Service, action: &str, params: &[(&str, &str)]) -> String {
        let version = ("Version", service.version());
        self.ask(service.signature(), version, action, params).await
    }

    /// A call of our own of SQS, which has no faults of ours.
    pub async fn sqs(&self, action: &str, params: &[(&str, &str)]) -> String {
        let version = ("Version", SQS_VERSION);
        self.ask(signature("sqs"), version, action, params).await
    }

    async fn ask(
        &self,
        signature: String,
        version: (&str, &str),
        action: &str,
        params: &[(&str, &str)],
    ) -> String {
        let mut pairs = vec![("Action", action), version];
        pairs.extend(params);
        let body = Bytes::from(encode_form(&pairs));
        let reply = self.forward(signature, body).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(
            reply.status.is_success(),
            "moto refused {action} {params:?}: {text}"
        );
        text
    }
}

fn venv() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("clockout-tests/venv")
}

/// The texts of all elements with this name, in order.
pub fn texts(xml: &str, element: &str) -> Vec<String> {
    let open = format!("<{element}>");
    let parts = xml.split(open.as_str()).skip(1);
    parts
        .map(|rest| rest.split('<').next().unwrap_or_default().to_owned())
        .collect()
}

pub fn encode_form(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encode(name), encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

pub fn decode_form(form: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    form.split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (rest, _) = match (first, byte) {
            (b'%', Some(byte)) => (&tail[2..], bytes.push(byte)),
            (b'+', _) => (tail, bytes.push(b' ')),
            (byte, _) => (tail, bytes.push(*byte)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
