//! The client against a small service over real HTTP, well-behaved and not.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::imds::{Imds, ImdsError};

/// What the service does, and what it was asked.
#[derive(Default)]
struct Service {
    /// Tokens given out; only the last is good.
    tokens: u32,
    /// Answers that do not come from the paths.
    forced: Vec<StatusCode>,
    connections: u32,
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Service>>;

async fn start() -> (Imds, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = Shared::default();
    let shared = service.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.lock().expect("unpoisoned").connections += 1;
            let shared = shared.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| answer(shared.clone(), request));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    let imds = Imds::new(&format!("http://{address}/")).expect("a client");
    (imds, service)
}

async fn answer(
    shared: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/hang") {
        std::future::pending::<()>().await;
    }
    let mut service = shared.lock().expect("unpoisoned");
    service.asked.push(format!("{} {path}", request.method()));
    let reply = |status: StatusCode, body: String| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        Ok(response)
    };
    if request.method() == Method::PUT {
        assert_eq!(path, "/latest/api/token");
        assert_eq!(
            request.headers()["x-aws-ec2-metadata-token-ttl-seconds"],
            "21600"
        );
        service.tokens += 1;
        return reply(StatusCode::OK, format!("token-{}", service.tokens));
    }
    let token = format!("token-{}", service.tokens);
    if request
        .headers()
        .get("x-aws-ec2-metadata-token")
        .is_none_or(|given| *given != token)
    {
        return reply(StatusCode::UNAUTHORIZED, String::new());
    }
    if let Some(status) = service.forced.pop() {
        return reply(status, "never believed".to_owned());
    }
    match path.as_str() {
        "/latest/meta-data/instance-id" => reply(StatusCode::OK, "i-1".to_owned()),
        "/latest/huge" => reply(StatusCode::OK, "x".repeat(1 << 20)),
        _ => reply(StatusCode::NOT_FOUND, String::new()),
    }
}

fn status(result: Result<Option<String>, ImdsError>) -> u16 {
    match result {
        Err(ImdsError::Status { status, .. }) => status.as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_token_and_one_connection_serve_many_requests() {
    let (imds, service) = start().await;
    for _ in 0..3 {
        let id = imds.get("meta-data/instance-id").await.expect("answered");
        assert_eq!(id.as_deref(), Some("i-1"));
    }
    let service = service.lock().expect("unpoisoned");
    assert_eq!((service.tokens, service.connections), (1, 1));
}

#[tokio::test]
async fn nothing_is_not_unknown() {
    let (imds, service) = start().await;
    assert_eq!(
        imds.get("meta-data/spot/instance-action")
            .await
            .expect("answered"),
        None
    );
    for code in [503, 403, 500] {
        let forced = StatusCode::from_u16(code).expect("a status");
        service.lock().expect("unpoisoned").forced.push(forced);
        assert_eq!(
            status(imds.get("meta-data/spot/instance-action").await),
            code
        );
    }
    assert!(matches!(
        imds.get("huge").await,
        Err(ImdsError::NotText { .. })
    ));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let (imds, service) = start().await;
    imds.get("meta-data/instance-id").await.expect("answered");
    // The service forgets the token, as after a move of the instance.
    service.lock().expect("unpoisoned").tokens += 1;
    let id = imds.get("meta-data/instance-id").await.expect("answered");
    assert_eq!(id.as_deref(), Some("i-1"));
    assert_eq!(service.lock().expect("unpoisoned").tokens, 3);

    service.lock().expect("unpoisoned").forced = vec![StatusCode::UNAUTHORIZED; 2];
    assert_eq!(status(imds.get("meta-data/instance-id").await), 401);
    // And it works again as soon as the service does.
    assert!(imds.get("meta-data/instance-id").await.is_ok());
}

#[tokio::test]
async fn a_silent_service_is_unknown() {
    let (imds, _service) = start().await;
    assert!(matches!(
        imds.get("hang").await,
        Err(ImdsError::NoAnswer { .. })
    ));
    let closed = Imds::new("http://127.0.0.1:1").expect("a client");
    assert!(matches!(
        closed.get("meta-data/x").await,
        Err(ImdsError::NoAnswer { .. })
    ));
}
