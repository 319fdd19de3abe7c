//! `clockout preset test`: what a preset sees in an agent's log.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, BufRead, Write};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Preset, Stream};
use crate::jobs::LineMatcher;
use crate::lifecycle::Observation;

/// Reads an agent's log and prints a line for each event that the preset sees in it. Without a
/// stream the log may be either.
pub fn test(
    name: &str,
    stream: Option<Stream>,
    as_json: bool,
    log: &mut dyn BufRead,
    out: &mut dyn Write,
    summary: &mut dyn Write,
) -> Result<()> {
    let preset = super::commands::named(name)?;
    let seen = test_of(&preset, stream, as_json, log, out)?;
    writeln!(summary, "{seen}")?;
    Ok(())
}

/// What was seen in a whole log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    lines: u64,
    ready_at: Option<u64>,
    started: u64,
    /// By outcome.
    finished: BTreeMap<&'static str, u64>,
    /// Jobs that run, in the order of their starts, where they have one with their id.
    open: BTreeMap<u64, Option<String>>,
    by_id: HashMap<String, u64>,
    windows: u64,
    armed: bool,
}

impl Seen {
    fn add(&mut self, observation: &Observation) {
        match observation {
            Observation::Ready => self.ready_at = self.ready_at.or(Some(self.lines)),
            Observation::Started { id } => self.start(id.as_ref()),
            Observation::Finished { id, outcome } => {
                *self.finished.entry(outcome.as_str()).or_default() += 1;
                self.finish(id.as_ref());
            }
            Observation::SafeWindow => self.windows += 1,
            Observation::DrainArmed => self.armed = true,
            Observation::Running { .. } | Observation::Absent => {}
        }
    }

    fn start(&mut self, id: Option<&String>) {
        if id.is_some_and(|id| self.by_id.contains_key(id)) {
            return;
        }
        self.started += 1;
        self.open.insert(self.started, id.cloned());
        self.by_id.extend(id.map(|id| (id.clone(), self.started)));
    }

    /// As the supervisor does: the job of that id, else the oldest that may be meant.
    fn finish(&mut self, id: Option<&String>) {
        let known = id.and_then(|id| self.by_id.get(id));
        let may_be = |other: &Option<String>| id.is_none() || other.is_none();
        let oldest = || self.open.iter().find(|(_, other)| may_be(other));
        let job = known.or_else(|| oldest().map(|(job, _)| job)).copied();
        if let Some(id) = job.and_then(|job| self.open.remove(&job)).flatten() {
            self.by_id.remove(&id);
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines: ", self.lines)?;
        match self.ready_at {
            Some(line) => write!(f, "ready at line {line}")?,
            None => write!(f, "never ready")?,
        }
        let finished: u64 = self.finished.values().sum();
        write!(f, "; jobs: {} started, {finished} finished", self.started)?;
        let outcomes = self.finished.iter();
        let outcomes: Vec<_> = outcomes.map(|(name, n)| format!("{n} {name}")).collect();
        if !outcomes.is_empty() {
            write!(f, " ({})", outcomes.join(", "))?;
        }
        write!(f, ", {} open", self.open.len())?;
        if self.windows > 0 {
            write!(f, "; {} safe moments to drain", self.windows)?;
        }
        if self.armed {
            write!(f, "; armed for its drain")?;
        }
        Ok(())
    }
}

fn test_of(
    preset: &Preset,
    stream: Option<Stream>,
    as_json: bool,
    log: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<Seen> {
    let lines = preset.lines_of(stream);
    if lines.is_empty() {
        anyhow::bail!("preset {} reads nothing of this stream", preset.name);
    }
    let mut matcher = LineMatcher::new(&lines);
    let mut all = Seen::default();
    let mut in_line = false;
    loop {
        let mut chunk = log.fill_buf().context("cannot read the log")?;
        let read = chunk.len();
        if read == 0 && !in_line {
            out.flush()?;
            return Ok(all);
        }
        if read == 0 {
            // Of a log that was cut out, the last line counts too.
            chunk = b"\n";
        }
        // A piece holds at most one line's end, so that each event has its line.
        let length = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |newline| newline + 1);
        let piece = &chunk[..length];
        let mut seen = Vec::new();
        matcher.feed(piece, &mut |_, observation| {
            // A line that several detectors know is one event.
            if !seen.contains(&observation) {
                seen.push(observation);
            }
        });
        all.lines += u64::from(!in_line);
        in_line = !piece.ends_with(b"\n");
        for observation in &seen {
            all.add(observation);
            print(all.lines, observation, as_json, out)?;
        }
        log.consume(length.min(read));
    }
}

fn print(line: u64, seen: &Observation, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let (event, id, outcome) = match seen {
        Observation::Ready => ("agent.ready", None, None),
        Observation::Started { id } => ("job.started", id.as_deref(), None),
        Observation::Finished { id, outcome } => ("job.finished", id.as_deref(), Some(*outcome)),
        Observation::SafeWindow => ("drain.window", None, None),
        Observation::DrainArmed => ("drain.armed", None, None),
        // A log shows edges only.
        Observation::Running { .. } | Observation::Absent => return Ok(()),
    };
    if as_json {
        let mut object = json!({ "line": line, "event": event });
        if let Some(id) = id {
            object["id"] = id.into();
        }
        if let Some(outcome) = outcome {
            object["outcome"] = outcome.as_str().into();
        }
        return writeln!(out, "{object}");
    }
    write!(out, "{line}: {event}")?;
    if let Some(id) = id {
        write!(out, " id={}", id.escape_debug())?;
    }
    if let Some(outcome) = outcome {
        write!(out, " outcome={}", outcome.as_str())?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(text: &str, log: &str, as_json: bool) -> String {
        let preset: Preset = toml::from_str(text).expect("good");
        let mut out = Vec::new();
        // A buffer smaller than a line must not matter.
        let mut log = io::BufReader::with_capacity(7, log.as_bytes());
        test_of(&preset, None, as_json, &mut log, &mut out).expect("read");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_summary_says_what_became_of_the_jobs() {
        let preset: Preset = toml::from_str(PRESET).expect("good");
        for (log, expected) in [
            (
                "",
                "0 lines: never ready; jobs: 0 started, 0 finished, 0 open",
            ),
            (
                "boot\nup\nup\nrun a\nrun a\nrun b\nend passed\n",
                "7 lines: ready at line 2; jobs: 2 started, 1 finished (1 passed), 1 open",
            ),
            (
                "end failed\nrun a",
                "2 lines: never ready; jobs: 1 started, 1 finished (1 failed), 1 open",
            ),
        ] {
            let mut log = io::BufReader::with_capacity(3, log.as_bytes());
            let seen = test_of(&preset, None, false, &mut log, &mut io::sink()).expect("read");
            assert_eq!(seen.to_string(), expected);
        }
    }

    const PRESET: &str = "ready = { line = '^up$' }\n[detect.log]\n\
        start = '^run (?P<id>\\S+)'\nfinish = '^end (?P<outcome>\\w+)'";

    #[test]
    fn a_log_becomes_a_line_an_event() {
        let log = "boot\nup\nrun a\n\nend failed\nend odd\n";
        assert_eq!(
            tested(PRESET, log, false),
            "2: agent.ready\n3: job.started id=a\n5: job.finished outcome=failed\n\
             6: job.finished outcome=unknown\n"
        );
    }

    #[test]
    fn json_lines_are_json() {
        let out = tested(PRESET, "up\nrun \"a\"\nend passed\n", true);
        let lines: Vec<serde_json::Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines[0], json!({"line": 1, "event": "agent.ready"}));
        assert_eq!(
            lines[1],
            json!({"line": 2, "event": "job.started", "id": "\"a\""})
        );
        assert_eq!(
            lines[2],
            json!({"line": 3, "event": "job.finished", "outcome": "passed"})
        );
    }
}
