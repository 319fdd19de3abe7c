//! One connection: requests in, answers out, and an end for whoever breaks the rules.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::server::{Incoming, Peer, Reply, Rights};
use super::{LONGEST_REQUEST, Request, Response};

/// For a whole request to arrive, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ids are kept, stored and logged.
const LONGEST_ID: usize = 256;

/// Why a connection was cut off.
#[derive(Debug, Error)]
pub enum Fault {
    #[error("no request: {0}")]
    Garbage(String),
    #[error("a request of more than {LONGEST_REQUEST} bytes")]
    TooLong,
    #[error("a request or an answer took more than {} s", PATIENCE.as_secs())]
    Slow,
}

/// Serves a peer until it hangs up, is cut off, or the supervisor has ended.
pub async fn serve(
    stream: UnixStream,
    peer: Peer,
    rights: Rights,
    supervisor: mpsc::Sender<Incoming>,
) -> Result<(), Fault> {
    let mut lines = Lines {
        stream,
        buffer: Vec::new(),
    };
    while let Some(line) = lines.next().await? {
        let request = match parse(&line) {
            Ok(request) => request,
            Err(error) => {
                lines.answer(&Response::Refused(error.clone())).await?;
                return Err(Fault::Garbage(error));
            }
        };
        let response = if rights.allow(&request) {
            let waits = matches!(request, Request::Drain { wait: true, .. });
            let (reply, mut response) = Reply::channel();
            if supervisor
                .send(Incoming {
                    peer,
                    request,
                    reply,
                })
                .await
                .is_err()
            {
                return lines.answer(&ended()).await;
            }
            tokio::select! {
                response = &mut response => response.unwrap_or_else(|_| ended()),
                () = lines.hung_up(), if waits => return Ok(()),
            }
        } else {
            let who = "only root and the supervisor's own user may ask this";
            Response::Refused(who.to_owned())
        };
        lines.answer(&response).await?;
    }
    Ok(())
}

fn ended() -> Response {
    Response::Refused("the supervisor has ended".to_owned())
}

fn parse(line: &[u8]) -> Result<Request, String> {
    let request = serde_json::from_slice(line).map_err(|error| format!("bad request: {error}"))?;
    match &request {
        Request::JobStart { id: Some(id), .. } | Request::JobFinish { id: Some(id), .. }
            if id.len() > LONGEST_ID =>
        {
            Err(format!(
                "bad request: a job's id has at most {LONGEST_ID} bytes"
            ))
        }
        _ => Ok(request),
    }
}

/// Lines of a peer that may send as little, as slowly, or as much as it likes.
struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when the peer has hung up or has nothing more to say.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match timeout(PATIENCE, self.read_line()).await {
            Ok(line) => line,
            // Who has begun nothing breaks no rule, but is no use either.
            Err(_) if self.buffer.is_empty() => Ok(None),
            Err(_) => Err(Fault::Slow),
        }
    }

    async fn read_line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() >= LONGEST_REQUEST {
                return Err(Fault::TooLong);
            }
            if self.read().await.unwrap_or(0) == 0 {
                // A last line needs no newline.
                let last = std::mem::take(&mut self.buffer);
                return Ok(Some(last).filter(|line| !line.is_empty()));
            }
        }
    }

    /// Never more than the longest request is kept.
    async fn read(&mut self) -> io::Result<usize> {
        let room = LONGEST_REQUEST.saturating_sub(self.buffer.len());
        (&mut self.stream)
            .take(room as u64)
            .read_buf(&mut self.buffer)
            .await
    }

    /// Returns when the peer closes its side, or says more than a request while it waits.
    async fn hung_up(&mut self) {
        while self.read().await.is_ok_and(|bytes| bytes > 0) {}
    }

    async fn answer(&mut self, response: &Response) -> Result<(), Fault> {
        let mut line = serde_json::to_vec(response).expect("an answer is plain data");
        line.push(b'\n');
        match timeout(PATIENCE, self.stream.write_all(&line)).await {
            // Who hung up wants no answer.
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::Slow),
        }
    }
}
