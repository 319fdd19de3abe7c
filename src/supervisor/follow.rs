//! Log files that agents write themselves, each followed by a thread, as an output stream is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::jobs::{Mark, Tail};

/// How often a file is looked at. Only agents that log to files cost these wake-ups.
const LOOK: Duration = Duration::from_millis(500);

/// What a follower shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes, and how far whole lines have been read with them.
    Bytes(&'a [u8], Mark),
    /// The end of the file as it is now.
    End,
    /// All that was written before [`Follower::catch_up`] was called has been shown.
    CaughtUp,
}

/// The thread that follows one file. It ends when this is dropped.
#[derive(Debug)]
pub struct Follower {
    asks: Sender<()>,
}

impl Follower {
    /// Shows to `sink`, on a thread, what comes from now on. `sink` may wait.
    pub fn start(
        path: PathBuf,
        mut tail: Tail,
        mut sink: impl FnMut(Piece<'_>) + Send + 'static,
    ) -> io::Result<Follower> {
        let (asks, asked) = mpsc::channel();
        let mut failing = false;
        let follow = move || {
            let mut ended = false;
            loop {
                let read = tail.read(ended, |bytes, mark| sink(Piece::Bytes(bytes, mark)));
                report(&path, read, &mut failing);
                sink(if ended { Piece::CaughtUp } else { Piece::End });
                ended = match asked.recv_timeout(LOOK) {
                    // Who asks knows that the writer has ended.
                    Ok(()) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new()
            .name("follow".to_owned())
            .spawn(follow)?;
        Ok(Follower { asks })
    }

    /// Asks for one [`Piece::CaughtUp`], after everything written so far by an agent that has
    /// ended. `false` if none will come, because the thread is gone.
    pub fn catch_up(&self) -> bool {
        self.asks.send(()).is_ok()
    }
}

/// One line for each episode.
fn report(path: &Path, read: io::Result<()>, failing: &mut bool) {
    let path = path.display();
    match (read, *failing) {
        (Err(error), false) => warn!(%path, %error, "output.unreadable: its jobs cannot be seen"),
        (Ok(()), true) => info!(%path, "output.readable_again"),
        _ => return,
    }
    *failing = !*failing;
}
