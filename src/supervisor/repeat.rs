//! Signals to agents, and the same signal again, so that it arrives as a second one.
//!
//! An agent that drains at the first SIGTERM and cancels at the second must get two. A signal that
//! a process has not taken yet swallows the next of its kind (signal(7)).

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::agent::Process;
use crate::lifecycle::AgentIndex;

/// From a process's taking a signal to its handler's being ready for the next: Go drops what
/// comes while the channel it notifies is full, and that has often one place.
const HANDLED: Duration = Duration::from_millis(100);
/// How often it is looked whether the earlier signal is taken.
const LOOK: Duration = Duration::from_millis(10);
/// A stopped process takes none for ever; what it is told when it goes on is decided by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a signal like the one before it, when that one has been taken.
pub async fn send(agent: AgentIndex, process: Process, signal: Signal) {
    let taken = async {
        while process.has_pending(signal) {
            sleep(LOOK).await;
        }
        sleep(HANDLED).await;
    };
    if timeout(PATIENCE, taken).await.is_err() {
        let pid = process.pid();
        warn!(%agent, %signal, %pid, "agent.deaf: it has not taken the signal before this one");
    }
    send_now(agent, &process, signal);
}

pub fn send_now(agent: AgentIndex, process: &Process, signal: Signal) {
    let pid = process.pid();
    match process.signal(signal) {
        Ok(()) => info!(%agent, %signal, %pid, "agent.signalled"),
        Err(error) => warn!(%agent, %signal, %pid, %error, "agent.unsignalled"),
    }
}
