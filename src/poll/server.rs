//! The status page, the metrics and the health of the poller, over HTTP.
//!
//! It only reads: whoever can connect sees the groups, and can change nothing. What one client
//! can use up is bounded: connections, the time for a request, the time that an answer may take.

mod chart;
mod health;
mod history;
mod html;
mod metrics;
mod page;
mod routes;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use self::routes::Routes;
use super::snapshot::Snapshot;

/// What one client, and all together, can use up.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// More connections wait in the kernel's queue.
    connections: usize,
    /// For the head of a request, also of one that nobody begins on an open connection.
    request: Duration,
    /// Then a connection ends, after the answer that is under way.
    connection: Duration,
    /// What that answer still gets.
    last_answer: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    request: Duration::from_secs(10),
    connection: Duration::from_secs(60),
    last_answer: Duration::from_secs(20),
};
/// A request's head is a few hundred bytes; a browser behind a proxy has some cookies.
const BUFFER: usize = 32 * 1024;
/// After a failed accept: there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers until the sender of `shared` is dropped. Dropped itself, it hangs up on everybody.
/// Must be called within a tokio runtime.
pub async fn serve(listener: TcpListener, shared: watch::Receiver<Arc<Snapshot>>) {
    serve_within(LIMITS, listener, shared).await;
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    shared: watch::Receiver<Arc<Snapshot>>,
) {
    let mut changes = shared.clone();
    let routes = Arc::new(Routes::new(shared));
    let mut connections = JoinSet::new();
    let mut pause: Option<Instant> = None;
    loop {
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => routes.record(&changes.borrow_and_update()),
                Err(_) => return,
            },
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(),
                if pause.is_none() && connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&routes), limits));
                }
                Err(error) => {
                    warn!(%error, "the status page takes no connection now");
                    pause = Some(Instant::now() + ACCEPT_PAUSE);
                }
            },
            () = until(pause) => pause = None,
        }
    }
}

/// Never without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One connection, to its end.
async fn converse(stream: TcpStream, routes: Arc<Routes>, limits: Limits) {
    let answer = service_fn(|request| {
        let response = routes.answer(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let ended = match timeout(limits.connection, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            // One that does not read its answer is hung up on.
            timeout(limits.last_answer, connection)
                .await
                .unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to the status page broke");
    }
}
