//! A small metadata service over real HTTP, well-behaved or not, for tests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::imds::Imds;

/// What it does, and what it was asked.
#[derive(Default)]
pub struct Service {
    /// What is there, by path; everything else is not.
    pub bodies: HashMap<String, String>,
    /// Paths that fail with this status, or never answer.
    pub faults: HashMap<String, Fault>,
    /// The status of the next answers, whatever they are asked, the last first.
    pub forced: Vec<StatusCode>,
    /// The header `Date` of its answers; else the true one.
    pub date: Option<&'static str>,
    /// Tokens given out; only the last is good.
    pub tokens: u32,
    pub connections: u32,
    pub asked: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Status(u16),
    Hang,
}

impl Service {
    pub fn says(&mut self, path: &str, body: &str) {
        self.bodies.insert(path.to_owned(), body.to_owned());
    }

    pub fn fails(&mut self, path: &str, fault: Fault) {
        self.faults.insert(path.to_owned(), fault);
    }

    pub fn count(&self, path: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == path).count()
    }
}

/// A service that runs until the test's runtime ends.
#[derive(Clone)]
pub struct Running {
    service: Arc<Mutex<Service>>,
    asked: Arc<watch::Sender<usize>>,
}

impl Running {
    pub fn lock(&self) -> MutexGuard<'_, Service> {
        self.service.lock().expect("unpoisoned")
    }

    /// Waits until it has been asked for this path so many times.
    pub async fn asked(&self, path: &str, times: usize) {
        let mut asked = self.asked.subscribe();
        let enough = |_: &usize| self.lock().count(path) >= times;
        asked.wait_for(enough).await.expect("the sender is ours");
    }
}

/// Starts one, and a client of it.
pub async fn start() -> (Imds, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let running = Running {
        service: Arc::default(),
        asked: Arc::new(watch::Sender::new(0)),
    };
    let ours = running.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            ours.lock().connections += 1;
            let ours = ours.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| answer(ours.clone(), request));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    let imds = Imds::new(&format!("http://{address}/")).expect("a client");
    (imds, running)
}

async fn answer(
    running: Running,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let path = path.strip_prefix("/latest/").expect("a path of ours");
    let fault = running.lock().faults.get(path).copied();
    let answer = running.lock().reply(path, &request, fault);
    running.asked.send_modify(|count| *count += 1);
    if let Some(Fault::Hang) = fault {
        std::future::pending::<()>().await;
    }
    Ok(answer)
}

impl Service {
    fn reply<B>(
        &mut self,
        path: &str,
        request: &Request<B>,
        fault: Option<Fault>,
    ) -> Response<Full<Bytes>> {
        self.asked.push(path.to_owned());
        let header = |name| Some(request.headers().get(name)?.to_str().expect("text"));
        let token = format!("token-{}", self.tokens);
        let (status, body) = if request.method() == Method::PUT {
            assert_eq!(path, "api/token");
            let ttl = header("x-aws-ec2-metadata-token-ttl-seconds");
            assert_eq!(ttl, Some("21600"));
            match fault {
                Some(Fault::Status(code)) => (code, String::new()),
                _ => {
                    self.tokens += 1;
                    (200, format!("token-{}", self.tokens))
                }
            }
        } else if header("x-aws-ec2-metadata-token") != Some(&token) {
            (401, PAGE.to_owned())
        } else if let Some(status) = self.forced.pop() {
            (status.as_u16(), "never believed".to_owned())
        } else if let Some(Fault::Status(code)) = fault {
            (code, PAGE.to_owned())
        } else if let Some(body) = self.bodies.get(path) {
            (200, body.clone())
        } else {
            (404, PAGE.to_owned())
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        if let Some(date) = self.date {
            let date = date.parse().expect("a header's value");
            response.headers_mut().insert("date", date);
        }
        response
    }
}

/// The real service explains its refusals, too.
const PAGE: &str = "<?xml version=\"1.0\"?><html><body><h1>No</h1></body></html>";
