//! What an agent's lines mean, by where it writes them.

use std::path::PathBuf;

use super::detect::{LogDetector, On};
use super::format::Preset;
use super::launch::Launch;
use super::pattern::Pattern;
use super::template::Template;
use super::watch::Watch;
use crate::agent::Stream;
use crate::lifecycle::DetectorIndex;

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineSource {
    Stream(Stream),
    File(PathBuf),
}

/// What lines of one source mean.
#[derive(Debug, Clone, Default)]
pub struct Lines<'a> {
    /// The agent takes jobs.
    pub ready: Vec<&'a Pattern>,
    /// An idle agent takes no job for a moment.
    pub window: Vec<&'a Pattern>,
    /// The drain step is safe from now on.
    pub armed: Vec<&'a Pattern>,
    pub logs: Vec<(DetectorIndex, LogDetector)>,
}

impl Launch {
    /// The files that it writes and that are read for lines, each once.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for file in self.preset.files() {
            if let Ok(path) = self.file(file)
                && !files.contains(&path)
            {
                files.push(path);
            }
        }
        files
    }

    /// What the lines of this source mean.
    pub fn lines(&self, source: &LineSource) -> Lines<'_> {
        let is_here = |on: &On| match (on, source) {
            (On::Stream(on), LineSource::Stream(stream)) => on == stream,
            (On::File(file), LineSource::File(path)) => self.file(file).as_ref() == Ok(path),
            _ => false,
        };
        let logs = self.detectors().into_iter().enumerate();
        let logs = logs.filter_map(|(place, detector)| match detector.watch {
            Watch::Log(log) => Some((DetectorIndex(place), log)),
            _ => None,
        });
        let is_stream = matches!(source, LineSource::Stream(_));
        Lines {
            logs: logs
                .filter(|(_, log)| is_here(&log.on) || (is_stream && log.on == On::Any))
                .collect(),
            ..self.preset.lines(&|on| is_here(on) || *on == On::Any)
        }
    }
}

impl Preset {
    /// Somebody must read this stream of the agent's.
    pub fn reads(&self, stream: Stream) -> bool {
        let wanted = |on: &On| *on == On::Any || *on == On::Stream(stream);
        self.ready.iter().any(|ready| wanted(&ready.on))
            || self.detect.log.iter().any(|log| wanted(&log.on))
            || self.drain.window.is_some()
            || !self.drain.needs_line.is_empty()
    }

    fn files(&self) -> impl Iterator<Item = &Template> {
        let ready = self.ready.iter().map(|ready| &ready.on);
        let logs = self.detect.log.iter().map(|log| &log.on);
        ready.chain(logs).filter_map(|on| match on {
            On::File(file) => Some(file),
            On::Any | On::Stream(_) => None,
        })
    }

    /// What lines mean in a log of which is only known which stream it is, or not even that.
    pub fn lines_of(&self, stream: Option<Stream>) -> Lines<'_> {
        let is_here = |on: &On| match (on, stream) {
            (_, None) | (On::Any, _) => true,
            (On::Stream(on), Some(stream)) => *on == stream,
            (On::File(_), Some(_)) => false,
        };
        let logs = self.detect.log.iter().enumerate();
        let logs = logs.filter(|(_, log)| is_here(&log.on));
        Lines {
            logs: logs
                .map(|(place, log)| (DetectorIndex(place), log.clone()))
                .collect(),
            ..self.lines(&is_here)
        }
    }

    fn lines(&self, is_here: &dyn Fn(&On) -> bool) -> Lines<'_> {
        let ready = self.ready.iter().filter(|ready| is_here(&ready.on));
        let window = self.drain.window.iter();
        Lines {
            ready: ready.map(|ready| &ready.line).collect(),
            window: window.flat_map(|window| &window.line).collect(),
            armed: self.drain.needs_line.iter().collect(),
            logs: Vec::new(),
        }
    }
}

impl Lines<'_> {
    pub fn is_empty(&self) -> bool {
        let patterns = [&self.ready, &self.window, &self.armed];
        patterns.iter().all(|patterns| patterns.is_empty()) && self.logs.is_empty()
    }
}
