//! What the doctor says: one line each.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works, but not as well as it could, or it could not be checked.
    Warning,
    /// Something that is configured does not work.
    Error,
}

/// One line: what was looked at, what was found, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub topic: &'static str,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(topic: &'static str, what: impl Into<String>) -> Finding {
        Finding {
            level: Level::Ok,
            topic,
            what: what.into(),
            fix: None,
        }
    }

    pub fn warning(
        topic: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding {
            level: Level::Warning,
            fix: Some(fix.into()),
            ..Finding::ok(topic, what)
        }
    }

    pub fn error(topic: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            level: Level::Error,
            ..Finding::warning(topic, what, fix)
        }
    }

    /// As bad as this.
    pub fn at(self, level: Level) -> Finding {
        Finding { level, ..self }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            level, topic, what, ..
        } = self;
        write!(f, "{level:8} {topic:12} {what}")?;
        match &self.fix {
            Some(fix) => write!(f, " -> fix: {fix}"),
            None => Ok(()),
        }
    }
}

/// One a line, for people.
pub fn write_lines(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        // What others said may have lines of its own.
        let line = finding.to_string().replace(['\n', '\r'], " ");
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_the_fix_last() {
        let findings = [
            Finding::ok("imds", "reachable, hop limit 2"),
            Finding::error("permission", "denied:\nno", "allow it"),
        ];
        let mut out = Vec::new();
        write_lines(&findings, &mut out).expect("memory");
        let expected = "\
            ok       imds         reachable, hop limit 2\n\
            error    permission   denied: no -> fix: allow it\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
