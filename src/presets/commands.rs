//! `clockout preset list|show|test`.

use std::io::{self, BufRead, Write};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Library, Origin, Preset, Stream};
use crate::jobs::LineMatcher;
use crate::lifecycle::Observation;

/// One line a preset: name, where it comes from if it is the user's own, what it is for.
pub fn list(out: &mut dyn Write) -> Result<()> {
    list_of(&Library::open()?, out)
}

fn list_of(library: &Library, out: &mut dyn Write) -> Result<()> {
    for name in library.names() {
        let preset = library.load(name)?;
        match &preset.origin {
            Origin::BuiltIn => writeln!(out, "{name:16}{}", preset.summary)?,
            own => writeln!(out, "{name:16}{} ({own})", preset.summary)?,
        }
    }
    Ok(())
}

/// A preset's file as it is, to read or to start one's own from.
pub fn show(name: &str, out: &mut dyn Write) -> Result<()> {
    let preset = super::load(name)?;
    out.write_all(preset.text.as_bytes())?;
    Ok(())
}

/// Reads an agent's log and prints a line for each event that the preset sees in it. Without a
/// stream the log may be either.
pub fn test(
    name: &str,
    stream: Option<Stream>,
    as_json: bool,
    log: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<()> {
    let preset = super::load(name)?;
    test_of(&preset, stream, as_json, log, out)
}

fn test_of(
    preset: &Preset,
    stream: Option<Stream>,
    as_json: bool,
    log: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<()> {
    let lines = preset.lines_of(stream);
    if lines.is_empty() {
        anyhow::bail!("preset {} reads nothing of this stream", preset.name);
    }
    let mut matcher = LineMatcher::new(&lines);
    let mut number = 1_u64;
    loop {
        let chunk = log.fill_buf().context("cannot read the log")?;
        if chunk.is_empty() {
            out.flush()?;
            return Ok(());
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
        for observation in &seen {
            print(number, observation, as_json, out)?;
        }
        number += u64::from(piece.ends_with(b"\n"));
        log.consume(length);
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
        Observation::Running { .. } => return Ok(()),
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
    use std::path::Path;

    use super::*;

    fn tested(text: &str, log: &str, as_json: bool) -> String {
        let preset: Preset = toml::from_str(text).expect("good");
        let mut out = Vec::new();
        // A buffer smaller than a line must not matter.
        let mut log = io::BufReader::with_capacity(7, log.as_bytes());
        test_of(&preset, None, as_json, &mut log, &mut out).expect("read");
        String::from_utf8(out).expect("text")
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

    #[test]
    fn the_list_has_the_built_in_presets() {
        let library = Library::at(Path::new("/nonexistent")).expect("absent is empty");
        let mut out = Vec::new();
        list_of(&library, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(
            text.lines().any(|line| line.starts_with("buildkite  ")),
            "{text}"
        );
        assert!(
            text.lines()
                .last()
                .is_some_and(|line| line.starts_with("generic ")),
            "{text}"
        );
    }
}
