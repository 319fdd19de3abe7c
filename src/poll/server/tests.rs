//! Real sockets: browsers, scrapers, and clients that behave badly.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::testing::{HOSTILE, NOW, group, snapshot};
use super::*;

/// Generous: nothing waits for it that works.
const LIMIT: Duration = Duration::from_secs(60);

struct Served {
    address: SocketAddr,
    sender: watch::Sender<Arc<Snapshot>>,
    task: JoinHandle<()>,
}

async fn served(snapshot: Snapshot) -> Served {
    served_within(LIMITS, snapshot).await
}

/// With limits that a test can wait for.
const SHORT: Limits = Limits {
    connections: 8,
    request: Duration::from_millis(200),
    connection: Duration::from_millis(600),
    last_answer: Duration::from_millis(200),
};

async fn served_within(limits: Limits, snapshot: Snapshot) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, shared) = watch::channel(Arc::new(snapshot));
    Served {
        address,
        sender,
        task: tokio::spawn(serve_within(limits, listener, shared)),
    }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends this and reads until the other side hangs up.
    async fn say(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    /// The status, the head and the body.
    async fn get(&self, path: &str) -> (u16, String, String) {
        let answer = self.say(&format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }
}

/// What comes until the other side hangs up, nicely or not.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("it hangs up in time");
    String::from_utf8(bytes).unwrap()
}

/// As of now, so that nothing is overdue.
fn fresh() -> Snapshot {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let mut snapshot = snapshot();
    snapshot.started = now;
    for source in &mut snapshot.sources {
        source.good = Some(now);
    }
    for backend in &mut snapshot.backends {
        backend.good = Some(now);
    }
    snapshot
}

#[tokio::test]
async fn each_address_answers_in_its_own_type() {
    let served = served(fresh()).await;
    for (path, status, kind, part) in [
        ("/", 200, "text/html; charset=utf-8", "<!doctype html>"),
        (
            "/?q=gpu&page=x&span=24h",
            200,
            "text/html; charset=utf-8",
            "gpu-large",
        ),
        (
            "/page.css",
            200,
            "text/css; charset=utf-8",
            "prefers-color-scheme: dark",
        ),
        (
            "/page.js",
            200,
            "text/javascript; charset=utf-8",
            "use strict",
        ),
        (
            "/metrics",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "# TYPE clockout_build_info gauge\n",
        ),
        ("/healthz", 200, "text/plain; charset=utf-8", "ok\n"),
        ("/livez", 200, "text/plain; charset=utf-8", "ok\n"),
        ("/status.json", 200, "application/json", "\"waiting\":7"),
        (
            "/history.json?span=10m",
            200,
            "application/json",
            "\"step\":2",
        ),
        (
            "/explain?group=linux%2Dsmall",
            200,
            "text/plain; charset=utf-8",
            "linux-small: launch 2 (desired",
        ),
        (
            "/explain?group=nobody",
            404,
            "text/plain; charset=utf-8",
            "\ngpu-large\n",
        ),
        ("/explain", 400, "text/plain; charset=utf-8", "?group=NAME"),
        (
            "/../etc/passwd",
            404,
            "text/plain; charset=utf-8",
            "/status.json",
        ),
    ] {
        let (told, head, body) = served.get(path).await;
        assert_eq!(told, status, "{path}: {head}");
        assert!(
            head.contains(&format!("content-type: {kind}\r\n")),
            "{path}: {head}"
        );
        assert!(
            head.contains("content-security-policy: default-src 'none';"),
            "{path}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{path}");
        assert!(body.contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn an_explanation_is_one_line_whatever_the_name() {
    let served = served(snapshot()).await;
    let name = reqwest::Url::parse_with_params("http://x/explain", [("group", HOSTILE)]).unwrap();
    let path = format!("{}?{}", name.path(), name.query().unwrap());
    let (status, _, body) = served.get(&path).await;
    assert_eq!(status, 200);
    assert_eq!(body.matches('\n').count(), 1, "{body:?}");
    assert!(body.ends_with(": not decided yet\n"), "{body:?}");
    let (_, _, body) = served.get("/explain?group=legacy-drone").await;
    assert!(body.contains("not decided: 503"), "{body}");
}

#[tokio::test]
async fn metrics_come_in_their_own_format_to_who_asks_for_it() {
    let served = served(snapshot()).await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    let request = format!("GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n");
    let answer = served.say(&request).await.to_lowercase();
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(answer.contains(kind), "{answer}");
    assert!(answer.ends_with("# eof\n"), "{answer}");
}

#[tokio::test]
async fn a_silent_source_makes_it_unhealthy_and_says_which() {
    let mut silent = fresh();
    silent.started = NOW;
    silent.sources[1].good = None;
    let served = served(silent).await;
    let (status, _, body) = served.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(
        body.starts_with("source drone https://drone.example.org has never"),
        "{body}"
    );
    assert_eq!(body.lines().count(), 1);
    served.sender.send_replace(Arc::new(fresh()));
    assert_eq!(served.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn what_changed_is_told_to_the_next_who_asks() {
    let served = served(fresh()).await;
    for path in ["/status.json", "/metrics", "/status.json"] {
        assert!(served.get(path).await.2.contains("linux-small"), "{path}");
    }
    served.sender.send_replace(Arc::new(Snapshot::default()));
    for path in ["/status.json", "/metrics", "/"] {
        assert!(!served.get(path).await.2.contains("linux-small"), "{path}");
    }
}

#[tokio::test]
async fn the_chart_keeps_what_was() {
    let served = served(fresh()).await;
    let (_, _, before) = served.get("/history.json").await;
    assert!(
        before.contains("\"waiting\":10,\"running\":10,\"alive\":12"),
        "{before}"
    );
    served.sender.send_replace(Arc::new(Snapshot::default()));
    // The server hears of it when its turn comes.
    let gone = async {
        loop {
            let (_, _, after) = served.get("/history.json").await;
            if !after.contains("gpu-large") {
                return after;
            }
        }
    };
    let after = timeout(LIMIT, gone).await.unwrap();
    assert!(
        after.contains("\"waiting\":10,\"running\":10,\"alive\":12"),
        "{after}"
    );
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let served = served(fresh()).await;
    let answer = served.say("HEAD /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(
        answer.to_lowercase().contains("content-length: 3\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn nothing_can_be_changed_and_no_body_is_waited_for() {
    let served = served(fresh()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n"
        );
        let answer = served.say(&request).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{method}: {answer}");
        assert!(
            answer.to_lowercase().contains("allow: get, head\r\n"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn what_is_no_http_is_hung_up_on() {
    let served = served(fresh()).await;
    let answer = served.say("\u{16}\u{3}\u{1}hello\r\n\r\n").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * BUFFER));
    let answer = served.say(&long).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    assert_eq!(served.get("/livez").await.0, 200, "and others are served");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let served = served(fresh()).await;
    let twice = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = served.say(twice).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
}

#[tokio::test]
async fn half_a_request_is_not_waited_for_for_ever() {
    let served = served_within(SHORT, fresh()).await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x")
        .await
        .unwrap();
    let answer = rest(&mut stream).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn nobody_is_kept_out_by_those_who_only_connect() {
    let served = served_within(SHORT, fresh()).await;
    let mut silent = Vec::new();
    for _ in 0..3 * SHORT.connections {
        silent.push(served.connect().await);
    }
    let answered = timeout(LIMIT, served.get("/livez")).await;
    assert_eq!(answered.expect("a turn for everybody").0, 200);
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_hung_up_on() {
    let mut large = fresh();
    // More than the kernel keeps for a reader.
    large.groups = (0..20_000).map(|n| group(&n.to_string())).collect();
    let served = served_within(SHORT, large).await;
    let mut stream = served.connect().await;
    let request = b"GET /status.json HTTP/1.0\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.0 200");
    // Nothing is read meanwhile, so the end shows in what is written.
    let hung_up = async {
        while stream.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, hung_up).await.expect("it hangs up");
    let answer = rest(&mut stream).await;
    assert!(!answer.ends_with('}'), "all {} bytes came", answer.len());
}

#[tokio::test]
async fn it_ends_with_the_poller() {
    let served = served(fresh()).await;
    let mut open = served.connect().await;
    open.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 8];
    open.read_exact(&mut first).await.unwrap();
    drop(served.sender);
    timeout(LIMIT, served.task).await.unwrap().unwrap();
    rest(&mut open).await;
    assert!(TcpStream::connect(served.address).await.is_err());
}
