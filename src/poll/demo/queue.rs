//! The demonstration's CI server: a queue over HTTP, on the loopback interface.
//!
//! `POST /claim` gives an agent a job (`{"id": 7, "seconds": 2.5}`, or 204), `POST /passed/7` and
//! `POST /failed/7` end it, and `GET /queue` tells the poller what waits and runs.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::work::Work;

/// The work, and how long it has been going on.
#[derive(Clone)]
pub struct Queue {
    work: Arc<Mutex<Work>>,
    began: Instant,
}

impl Queue {
    pub fn new(work: Work) -> Queue {
        Queue {
            work: Arc::new(Mutex::new(work)),
            began: Instant::now(),
        }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn work(&self) -> MutexGuard<'_, Work> {
        // Each change of it is whole.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, Option<serde_json::Value>) {
        let now = self.now();
        let mut words = path.trim_start_matches('/').splitn(2, '/');
        match (method, words.next(), words.next()) {
            (&Method::GET, Some("queue"), None) => {
                let work = self.work();
                let counts = work.counts(now);
                let oldest = work.oldest(now).map(|time| time.as_secs());
                let told = json!({
                    "waiting": counts.waiting,
                    "running": counts.running,
                    "oldest": oldest.unwrap_or(0),
                });
                (StatusCode::OK, Some(told))
            }
            (&Method::POST, Some("claim"), None) => match self.work().claim(now) {
                Some((id, takes)) => {
                    let job = json!({"id": id, "seconds": takes.as_secs_f32()});
                    (StatusCode::OK, Some(job))
                }
                None => (StatusCode::NO_CONTENT, None),
            },
            (&Method::POST, Some(end @ ("passed" | "failed")), Some(id)) => {
                let known = id
                    .parse()
                    .is_ok_and(|id| self.work().end(now, id, end == "passed"));
                let status = if known {
                    StatusCode::NO_CONTENT
                } else {
                    StatusCode::CONFLICT
                };
                (status, None)
            }
            _ => (StatusCode::NOT_FOUND, None),
        }
    }
}

/// Listens; the future answers until it is dropped.
pub async fn open(queue: Queue) -> anyhow::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("cannot listen on the loopback interface")?;
    let address = listener.local_addr()?;
    Ok((address, serve(listener, queue)))
}

async fn serve(listener: TcpListener, queue: Queue) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let queue = queue.clone();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let told = queue.answer(request.method(), request.uri().path());
                        std::future::ready(Ok::<_, Infallible>(response(told)))
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new());
                    let connection = http.serve_connection(TokioIo::new(stream), service);
                    // One that breaks off is its client's affair: it asks again.
                    connections.spawn(async { drop(connection.await) });
                }
                // No descriptors are left, say: agents ask again.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

fn response((status, body): (StatusCode, Option<serde_json::Value>)) -> Response<Full<Bytes>> {
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::super::agent::call;
    use super::*;

    #[tokio::test]
    async fn agents_and_the_poller_see_the_same_work() {
        let queue = Queue::new(Work::new(true));
        let (address, serving) = open(queue.clone()).await.expect("a free port");
        let agents = tokio::task::spawn_blocking(move || {
            let ask = |method: &str, path: &str| call(address, method, path).expect("an answer");
            let job = loop {
                let (status, body) = ask("POST", "/claim");
                match status {
                    204 => std::thread::sleep(Duration::from_millis(5)),
                    status => break (status, body),
                }
            };
            assert_eq!(job.0, 200);
            let job: serde_json::Value = serde_json::from_slice(&job.1).expect("JSON");
            assert!(
                job["seconds"].as_f64().is_some_and(|time| time > 1.0),
                "{job}"
            );
            let (_, told) = ask("GET", "/queue");
            let told: serde_json::Value = serde_json::from_slice(&told).expect("JSON");
            assert_eq!(told["running"], 1);
            assert_eq!(ask("POST", &format!("/passed/{}", job["id"])).0, 204);
            assert_eq!(ask("POST", &format!("/passed/{}", job["id"])).0, 409);
            for (method, path) in [("GET", "/claim"), ("POST", "/passed/x"), ("GET", "/")] {
                assert!(ask(method, path).0 >= 400, "{method} {path}");
            }
        });
        tokio::select! {
            () = serving => unreachable!("it serves for ever"),
            done = agents => done.expect("no panic"),
        }
        assert_eq!(queue.work().counts(queue.now()).passed, 1);
    }
}
