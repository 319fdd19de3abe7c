//! A small HTTP server for fakes that can misbehave, and a client to look behind them.
//!
//! Fakes run on one thread of their own, so that tests stay plain blocking code.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a fake does about a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Reply(Reply),
    /// Announces the whole body, sends half of it and closes the connection.
    Half(Reply),
    /// Closes the connection without a word.
    Close,
    /// Keeps the connection open and silent.
    Hang,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
        }
    }
}

pub type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
pub type Handler = Arc<dyn Fn(Request) -> Answering + Send + Sync>;

/// A server on a free port of the loopback; dropping it closes its connections.
pub struct Server {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(handler: Handler) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket");
        let accepted = Arc::new(AtomicUsize::new(0));
        let accepting = runtime().spawn(accept(listener, handler, Arc::clone(&accepted)));
        Server {
            address,
            accepting,
            accepted,
        }
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: std::net::TcpListener, handler: Handler, accepted: Arc<AtomicUsize>) {
    let listener = TcpListener::from_std(listener).expect("inside the runtime");
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            let service = service_fn(|request| serve(Arc::clone(&handler), request));
            let connection = hyper::server::conn::http1::Builder::new();
            // Clients that time out or go away are what these tests are about.
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn serve(
    handler: Handler,
    request: hyper::Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Closed>>, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let request = Request {
        method: head.method,
        path: head.uri.to_string(),
        headers: head.headers,
        body,
    };
    match handler(request).await {
        Answer::Close => Err(Closed),
        Answer::Hang => match std::future::pending::<Infallible>().await {},
        Answer::Reply(reply) => {
            let body = Full::new(reply.body.clone());
            Ok(response(
                &reply,
                body.map_err(|never| match never {}).boxed(),
            ))
        }
        Answer::Half(mut reply) => {
            let (length, half) = (reply.body.len(), reply.body.len() / 2);
            reply.headers.push(("content-length", length.to_string()));
            let half = Frame::data(reply.body.slice(..half));
            let body = StreamBody::new(stream::iter([Ok(half), Err(Closed)]));
            Ok(response(&reply, body.boxed()))
        }
    }
}

fn response(reply: &Reply, body: BoxBody<Bytes, Closed>) -> Response<BoxBody<Bytes, Closed>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(body).expect("a response")
}

/// Makes hyper close the connection.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

/// Posts a form; what was answered, or why there is no answer.
pub async fn post(
    to: SocketAddr,
    headers: &[(&'static str, String)],
    body: Bytes,
) -> Result<Reply, String> {
    let form = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
    let mut headers = headers.to_vec();
    headers.push(("content-type", form));
    send(to, Method::POST, "/", &headers, body).await
}

/// A request without a body to `http://ADDRESS/PATH`: the status and the body, or 0 and why there
/// is no answer.
pub fn request(method: &str, url: &str, headers: &[(&'static str, String)]) -> (u16, String) {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (address, path) = rest.split_at(rest.find('/').expect("a path"));
    let to = address.parse().expect("an address");
    let method = method.parse().expect("a method");
    match block_on(send(to, method, path, headers, Bytes::new())) {
        Ok(reply) => {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            (reply.status.as_u16(), body)
        }
        Err(error) => (0, error),
    }
}

async fn send(
    to: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Bytes,
) -> Result<Reply, String> {
    let mut request = hyper::Request::builder().method(method).uri(path);
    request = request.header("host", to.to_string());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let stream = TcpStream::connect(to).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDrop(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let (head, body) = sender.send_request(request).await?.into_parts();
        let content_type = head.headers.get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let body = body.collect().await?.to_bytes();
        let content_type = content_type.unwrap_or("text/xml");
        let reply = Reply::new(head.status.as_u16(), content_type, body);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(reply)
    };
    match tokio::time::timeout(Duration::from_secs(60), exchange).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("no answer for a minute".to_owned()),
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The fakes' runtime. Tests may block on its futures.
pub fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("fakes".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("a thread");
        handle
    })
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}
