//! Commands of the system that are asked something, for a short time.

use std::io::Read;
use std::process::{Command, Stdio};

use tokio::time::Instant;

use crate::agent::wait_in_time;
use crate::instance::no_input;

/// More than a pipe holds would keep the command from ending, and then it is killed.
const MOST: u64 = 64 * 1024;

/// What it printed, if it succeeded in time; else why not, in a clause.
pub(super) async fn output(argv: &[&str], until: Instant) -> Result<String, String> {
    let [program, args @ ..] = argv else {
        return Err("no command".to_owned());
    };
    let mut command = Command::new(program);
    command.args(args).stdin(no_input()).stdout(Stdio::piped());
    let mut child = command
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let ended = wait_in_time(&mut child, until.saturating_duration_since(Instant::now())).await;
    let (in_time, status) = ended.map_err(|error| error.to_string())?;
    if !in_time {
        return Err(format!("{program} did not answer in time"));
    }
    if !status.success() {
        return Err(format!("{program} ended with {status}"));
    }
    let mut text = String::new();
    let stdout = child.stdout.take().ok_or("it has no output")?;
    match stdout.take(MOST).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("what {program} printed is no text: {error}")),
    }
}
