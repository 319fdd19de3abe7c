//! A stop that leaves nothing half done.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::Poller;
use super::perform::Done;

/// A launch has a time limit of its own, which is shorter than what service managers allow.
const PATIENCE: Duration = Duration::from_secs(20);

impl Poller {
    /// Waits for the launches that were sent: what came of them belongs into the log. Reads are
    /// given up.
    pub(super) async fn leave(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.voice.launching() > 0 {
            match timeout_at(until, self.tasks.join_next()).await {
                Ok(Some(Ok(Done::Launched { order, told }))) => self.voice.launched(&order, &told),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    warn!(
                        launches = self.voice.launching(),
                        "poll.stopped: nobody knows what came of the last launches"
                    );
                    break;
                }
            }
        }
        self.tasks.abort_all();
        info!("poll.stopped");
    }
}
