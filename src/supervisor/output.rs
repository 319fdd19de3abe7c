//! The agents' output: passed on unchanged, and read for what it says of jobs.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::input::Input;
use crate::agent::{self, Chunk, Process, Stream, Tap};
use crate::jobs::LineMatcher;
use crate::lifecycle::AgentIndex;
use crate::presets::{Launch, LineSource, Preset};

/// What the end of a stream gets at our own end: whoever still holds it is not an agent of ours.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Our ends of a process's streams, where they are tapped.
pub type Ends = [(Stream, Option<OwnedFd>); 2];

/// One thread for each tapped stream of each agent process.
pub struct Outputs {
    preset: Arc<Preset>,
    inbox: mpsc::Sender<Input>,
    taps: Vec<Tapped>,
    made: u64,
}

struct Tapped {
    agent: AgentIndex,
    /// Distinguishes it from the tap of a later process of the same agent.
    id: u64,
    tap: Tap,
    awaited: bool,
}

impl Outputs {
    pub fn new(preset: Arc<Preset>, inbox: mpsc::Sender<Input>) -> Outputs {
        Outputs {
            preset,
            inbox,
            taps: Vec::new(),
            made: 0,
        }
    }

    /// Reads the streams of a process that has just been started.
    pub fn tap(&mut self, agent: AgentIndex, launch: &Launch, ends: Ends) {
        self.taps.retain(|tapped| tapped.agent != agent);
        for (stream, end) in ends {
            if let Some(end) = end {
                self.start(agent, launch, stream, end);
            }
        }
    }

    /// Goes on reading where a supervisor that was killed left off.
    pub fn tap_again(&mut self, agent: AgentIndex, launch: &Launch, process: &Process) {
        for stream in Stream::BOTH {
            if !self.preset.reads(stream) {
                continue;
            }
            match agent::reopen(process, stream) {
                Ok(end) => self.start(agent, launch, stream, end),
                Err(error) => warn!(%agent, %error, "output.lost: its jobs cannot be seen"),
            }
        }
    }

    fn start(&mut self, agent: AgentIndex, launch: &Launch, stream: Stream, end: OwnedFd) {
        self.made += 1;
        let id = self.made;
        let inbox = self.inbox.clone();
        let mut matcher = LineMatcher::new(&launch.lines(&LineSource::Stream(stream)));
        let sink = move |chunk: Chunk<'_>| match chunk {
            // Waits while the supervisor is behind, and the agent with it. Nobody listens any
            // more when the supervisor ends.
            Chunk::Bytes(bytes) => matcher.feed(bytes, &mut |by, seen| {
                let _ = inbox.blocking_send(Input::Seen(agent, by, seen));
            }),
            Chunk::CaughtUp => {
                let _ = inbox.blocking_send(Input::OutputSeen(agent, id));
            }
        };
        match Tap::start(end, stream, sink) {
            Ok(tap) => self.taps.push(Tapped {
                agent,
                id,
                tap,
                awaited: false,
            }),
            Err(error) => warn!(%agent, %error, "output.lost: no thread can be started"),
        }
    }

    /// Asks for everything written so far. `true` when it has been seen already.
    pub fn see_all(&mut self, agent: AgentIndex) -> bool {
        for tapped in self.taps.iter_mut().filter(|tapped| tapped.agent == agent) {
            tapped.awaited = tapped.tap.catch_up();
        }
        !self.awaits(agent)
    }

    /// One stream has been seen; `true` when it was the last one awaited of this agent.
    pub fn seen(&mut self, agent: AgentIndex, id: u64) -> bool {
        let tapped = self.taps.iter_mut().find(|tapped| tapped.id == id);
        let was_awaited = tapped.is_some_and(|tapped| std::mem::take(&mut tapped.awaited));
        was_awaited && !self.awaits(agent)
    }

    fn awaits(&self, agent: AgentIndex) -> bool {
        let mut own = self.taps.iter().filter(|tapped| tapped.agent == agent);
        own.any(|tapped| tapped.awaited)
    }

    /// Lets the last words out.
    pub async fn finish(mut self) {
        for tapped in &mut self.taps {
            if !tapped.tap.join_within(LAST_WORDS).await {
                debug!(agent = %tapped.agent, "output.unfinished");
            }
        }
    }
}
