//! The client against a small service over real HTTP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::imds::{Imds, ImdsError};
use super::imds_testing::{Fault, start};

const ID: &str = "meta-data/instance-id";

fn status(result: Result<Option<String>, ImdsError>) -> u16 {
    match result {
        Err(ImdsError::Status { status, .. }) => status.as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_token_and_one_connection_serve_many_requests() {
    let (imds, service) = start().await;
    service.lock().says(ID, "i-1");
    for _ in 0..3 {
        let id = imds.get(ID).await.expect("answered");
        assert_eq!(id.as_deref(), Some("i-1"));
        // An answer whose page was not read would cost its connection.
        assert_eq!(imds.get("meta-data/x").await.expect("answered"), None);
    }
    let service = service.lock();
    assert_eq!((service.tokens, service.connections), (1, 1));
}

#[tokio::test]
async fn an_answer_that_comes_in_parts_does_not_cost_its_connection() {
    let (imds, connections) = dribbling().await;
    // As the watcher does: what `block_on` runs itself comes after all tasks, the pool's included.
    let asking = tokio::spawn(async move {
        for _ in 0..10 {
            assert_eq!(imds.get(ID).await.expect("answered").as_deref(), Some("x"));
            assert_eq!(imds.get("none").await.expect("answered"), None);
        }
    });
    asking.await.expect("no panic");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// A service that says `x` to everything, after the head of its answer; of `none` it says so.
async fn dribbling() -> (Imds, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(dribble(stream));
        }
    });
    let imds = Imds::new(&format!("http://{address}")).expect("a client");
    (imds, connections)
}

async fn dribble(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut status = "200 OK";
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("GET /latest/none ") {
            status = "404 Not Found";
        }
        if line.is_empty() {
            let status = std::mem::replace(&mut status, "200 OK");
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 1\r\n\r\n");
            write.write_all(head.as_bytes()).await?;
            // Long enough that the head is read alone.
            tokio::time::sleep(Duration::from_millis(2)).await;
            write.write_all(b"x").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_not_unknown() {
    let (imds, service) = start().await;
    let path = "meta-data/spot/instance-action";
    assert_eq!(imds.get(path).await.expect("answered"), None);
    for code in [503, 403, 500] {
        service.lock().fails(path, Fault::Status(code));
        assert_eq!(status(imds.get(path).await), code);
    }
    service.lock().says("huge", &"x".repeat(1 << 20));
    assert!(matches!(
        imds.get("huge").await,
        Err(ImdsError::NotText { .. })
    ));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let (imds, service) = start().await;
    service.lock().says(ID, "i-1");
    imds.get(ID).await.expect("answered");
    // The service forgets the token, as after a move of the instance.
    service.lock().tokens += 1;
    let id = imds.get(ID).await.expect("answered");
    assert_eq!(id.as_deref(), Some("i-1"));
    assert_eq!(service.lock().tokens, 3);

    service.lock().forced = vec![StatusCode::UNAUTHORIZED; 2];
    assert_eq!(status(imds.get(ID).await), 401);
    // And it works again as soon as the service does.
    assert!(imds.get(ID).await.is_ok());
}

#[tokio::test]
async fn a_silent_service_is_unknown() {
    let (imds, service) = start().await;
    service.lock().fails("hang", Fault::Hang);
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

#[tokio::test]
async fn the_services_clock_is_believed_before_the_machines() {
    let (imds, service) = start().await;
    let day = Duration::from_secs(86400);
    let of_machine = imds.clock().wall;
    assert!(SystemTime::now().duration_since(of_machine).expect("past") < day);

    service.lock().date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    imds.get(ID).await.expect("answered");
    let told = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let clock = imds.clock();
    // Exact to the time of the request and to the second that the header has.
    assert!(clock.wall.duration_since(told).expect("past") < day);
    let later = imds.clock();
    let passed = later.wall.duration_since(clock.wall).expect("later");
    assert_eq!(passed, later.boot.since(clock.boot));

    // What is no date changes nothing.
    service.lock().date = Some("yesterday");
    imds.get(ID).await.expect("answered");
    assert!(imds.clock().wall.duration_since(told).expect("past") < day);
}
