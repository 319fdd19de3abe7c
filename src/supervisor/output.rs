//! The agents' output: passed on unchanged, and read for what it says of jobs. So are the log
//! files that they write themselves.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::follow::{Follower, Piece};
use super::input::Input;
use crate::agent::{self, Chunk, Process, Stream, Tap};
use crate::jobs::{LineMatcher, Mark, Tail};
use crate::lifecycle::{AgentIndex, DetectorIndex, Observation};
use crate::presets::{Launch, LineSource, Preset};

/// What the end of a stream gets at our own end: whoever still holds it is not an agent of ours.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Our ends of a process's streams, where they are tapped.
pub type Ends = [(Stream, Option<OwnedFd>); 2];

/// One thread for each stream and file that is read of each agent process.
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
    reader: Reader,
    awaited: bool,
}

enum Reader {
    Stream(Tap),
    /// With how far the lines go of which the lifecycle has heard; `None` before there is a file.
    File(Follower, Option<Mark>),
}

/// The log files of an agent process that is about to be started: what they hold already is of
/// earlier ones.
pub fn tails(launch: &Launch) -> Vec<(PathBuf, Tail)> {
    let files = launch.files().into_iter();
    files
        .map(|path| {
            let tail = Tail::from_end(&path);
            (path, tail)
        })
        .collect()
}

/// What the log files of an agent process say that ended while no supervisor ran.
pub fn last_words(launch: &Launch, marks: &[Option<Mark>]) -> Vec<(DetectorIndex, Observation)> {
    let mut said = Vec::new();
    for (path, mark) in launch.files().into_iter().zip(marks) {
        let mut matcher = LineMatcher::new(&launch.lines(&LineSource::File(path.clone())));
        let mut tail = Tail::from_mark(&path, *mark);
        let read = tail.read(true, |bytes, _| {
            matcher.feed(bytes, &mut |by, seen| said.push((by, seen)));
        });
        if let Err(error) = read {
            warn!(path = %path.display(), %error, "output.unreadable");
        }
    }
    said
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

    /// Reads the output of a process that has just been started.
    pub fn tap(
        &mut self,
        agent: AgentIndex,
        launch: &Launch,
        ends: Ends,
        tails: Vec<(PathBuf, Tail)>,
    ) {
        self.taps.retain(|tapped| tapped.agent != agent);
        for (stream, end) in ends {
            if let Some(end) = end {
                self.read_stream(agent, launch, stream, end, Age::New);
            }
        }
        for (path, tail) in tails {
            self.read_file(agent, launch, path, tail, Age::New);
        }
    }

    /// Goes on reading where a supervisor that was killed left off. `marks` are what it stored, in
    /// the order of the files.
    pub fn tap_again(
        &mut self,
        agent: AgentIndex,
        launch: &Launch,
        process: &Process,
        marks: &[Option<Mark>],
    ) {
        for stream in Stream::BOTH {
            if !self.preset.reads(stream) {
                continue;
            }
            match agent::reopen(process, stream) {
                Ok(end) => self.read_stream(agent, launch, stream, end, Age::Old),
                Err(error) => warn!(%agent, %error, "output.lost: its jobs cannot be seen"),
            }
        }
        for (at, path) in launch.files().into_iter().enumerate() {
            let tail = match marks.get(at) {
                Some(mark) => Tail::from_mark(&path, *mark),
                None => Tail::from_end(&path),
            };
            self.read_file(agent, launch, path, tail, Age::Old);
        }
    }

    fn read_stream(
        &mut self,
        agent: AgentIndex,
        launch: &Launch,
        stream: Stream,
        end: OwnedFd,
        age: Age,
    ) {
        let id = self.next_id();
        let inbox = self.inbox.clone();
        let mut matcher = LineMatcher::new(&launch.lines(&LineSource::Stream(stream)));
        let mut age = age;
        let sink = move |chunk: Chunk<'_>| match chunk {
            // Waits while the supervisor is behind, and the agent with it. Nobody listens any
            // more when the supervisor ends.
            Chunk::Bytes(bytes) => matcher.feed(bytes, &mut |by, seen| {
                if age.believes(&seen) {
                    let _ = inbox.blocking_send(Input::Seen(agent, id, by, seen));
                }
            }),
            Chunk::CaughtUp if age == Age::Old => age = Age::New,
            Chunk::CaughtUp => {
                let _ = inbox.blocking_send(Input::OutputSeen(agent, id));
            }
        };
        match Tap::start(end, stream, sink) {
            Ok(tap) => {
                if age == Age::Old {
                    tap.catch_up();
                }
                self.add(agent, id, Reader::Stream(tap));
            }
            Err(error) => warn!(%agent, %error, "output.lost: no thread can be started"),
        }
    }

    fn read_file(
        &mut self,
        agent: AgentIndex,
        launch: &Launch,
        path: PathBuf,
        tail: Tail,
        age: Age,
    ) {
        let id = self.next_id();
        let inbox = self.inbox.clone();
        let mut matcher = LineMatcher::new(&launch.lines(&LineSource::File(path.clone())));
        let mut age = age;
        let mark = tail.mark();
        let sink = move |piece: Piece<'_>| match piece {
            Piece::Bytes(bytes, mark) => matcher.feed(bytes, &mut |by, seen| {
                if age.believes(&seen) {
                    let _ = inbox.blocking_send(Input::Read(id, mark));
                    let _ = inbox.blocking_send(Input::Seen(agent, id, by, seen));
                }
            }),
            Piece::End => age = Age::New,
            Piece::CaughtUp => {
                let _ = inbox.blocking_send(Input::OutputSeen(agent, id));
            }
        };
        match Follower::start(path, tail, sink) {
            Ok(follower) => self.add(agent, id, Reader::File(follower, mark)),
            Err(error) => warn!(%agent, %error, "output.lost: no thread can be started"),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn add(&mut self, agent: AgentIndex, id: u64, reader: Reader) {
        self.taps.push(Tapped {
            agent,
            id,
            reader,
            awaited: false,
        });
    }

    /// It is a tap of an agent's present process.
    pub fn is_open(&self, id: u64) -> bool {
        self.taps.iter().any(|tapped| tapped.id == id)
    }

    /// The lifecycle is about to hear what the lines up to this mark say.
    pub fn read_to(&mut self, id: u64, mark: Mark) {
        for tapped in &mut self.taps {
            if let Reader::File(_, read) = &mut tapped.reader
                && tapped.id == id
            {
                *read = Some(mark);
            }
        }
    }

    /// To be stored, and given to the next supervisor's [`Outputs::tap_again`].
    pub fn marks(&self, agent: AgentIndex) -> Vec<Option<Mark>> {
        let own = self.taps.iter().filter(|tapped| tapped.agent == agent);
        own.filter_map(|tapped| match &tapped.reader {
            Reader::Stream(_) => None,
            Reader::File(_, mark) => Some(*mark),
        })
        .collect()
    }

    /// Asks for everything written so far. `true` when it has been seen already.
    pub fn see_all(&mut self, agent: AgentIndex) -> bool {
        for tapped in self.taps.iter_mut().filter(|tapped| tapped.agent == agent) {
            tapped.awaited = match &tapped.reader {
                Reader::Stream(tap) => tap.catch_up(),
                Reader::File(follower, _) => follower.catch_up(),
            };
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
            // Nothing of a file is passed on.
            if let Reader::Stream(tap) = &mut tapped.reader
                && !tap.join_within(LAST_WORDS).await
            {
                debug!(agent = %tapped.agent, "output.unfinished");
            }
        }
    }
}

/// Whether what is being read was written just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    /// It may have been written while no supervisor ran.
    Old,
}

impl Age {
    /// A window that began at some time in the past is not known to be open.
    fn believes(self, seen: &Observation) -> bool {
        self == Age::New || *seen != Observation::SafeWindow
    }
}
