//! How an instance stands, in its supervisor's own words.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::control::{Request, Response, State, StatusReport};
use crate::poll::plan::Stage;

/// A supervisor answers within milliseconds, also while it drains.
const PATIENCE: Duration = Duration::from_secs(2);
/// A status of a thousand agents is a tenth of this.
const LONGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// Who does not answer has not come up yet, or hangs: its boot deadline will tell.
pub async fn stage(socket: PathBuf) -> Stage {
    let report = report(&socket).await;
    report.map_or(Stage::Booting, |report| stage_of(report.state))
}

/// All that its supervisor says of itself; `None` when it does not answer.
pub async fn report(socket: &Path) -> Option<StatusReport> {
    let asked = tokio::time::timeout(PATIENCE, ask(socket)).await;
    asked.ok()?.ok()
}

fn stage_of(state: State) -> Stage {
    match state {
        State::Parked | State::Starting => Stage::Booting,
        State::Idle | State::Busy => Stage::Up,
        State::Draining | State::Retiring | State::Gone => Stage::Away,
    }
}

async fn ask(socket: &Path) -> io::Result<StatusReport> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut request = serde_json::to_vec(&Request::Status)?;
    request.push(b'\n');
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream.take(LONGEST_ANSWER));
    reader.read_until(b'\n', &mut answer).await?;
    match serde_json::from_slice(&answer)? {
        Response::Status(report) => Ok(*report),
        _ => Err(io::Error::other("it does not tell its status")),
    }
}
