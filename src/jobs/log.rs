//! Jobs seen in an agent's own output.
//!
//! The bytes come from the thread that passes them on, so a chunk in which nothing can match
//! must cost next to nothing: it is searched for the literals that the patterns need, and only a
//! line that has one meets a regex.

use std::collections::VecDeque;

use memchr::memmem::Finder;
use regex::bytes::Captures;
use serde_json::Value;

use super::line::{Splitter, lines, plain};
use crate::lifecycle::{DetectorIndex, Observation, Outcome};
use crate::presets::{JsonFields, Lines, LogDetector, Pattern, Pointer};

/// In the place of a detector, for lines that tell of no job.
const NO_DETECTOR: DetectorIndex = DetectorIndex(usize::MAX);

/// Outcomes of running jobs that are remembered until their last line.
const MOST_OUTCOMES: usize = 256;
/// A longer id is cut: ids are kept, stored and logged.
const LONGEST_ID: usize = 256;

/// Reads one stream of one agent process.
pub struct LineMatcher {
    splitter: Splitter,
    rules: Vec<Rule>,
    logs: Vec<Log>,
    stripped: Vec<u8>,
    ready: bool,
    armed: bool,
    /// A safe window has been seen to begin, and nothing after it yet.
    window: bool,
}

/// A pattern, and what its match means.
struct Rule {
    pattern: Pattern,
    literals: Vec<Finder<'static>>,
    meaning: Meaning,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Ready,
    Window,
    Armed,
    /// Of the job log at this place.
    Start(usize),
    Outcome(usize),
    Finish(usize),
}

struct Log {
    detector: DetectorIndex,
    spec: LogDetector,
    /// What earlier lines said of jobs that have not ended.
    outcomes: VecDeque<Said>,
}

/// What a line says of a job.
struct Said {
    id: Option<String>,
    /// Who said it: joins lines of a job where one has no id.
    worker: Option<String>,
    outcome: Outcome,
}

impl LineMatcher {
    /// For a stream or file of an agent's in which lines mean this.
    pub fn new(meaning: &Lines<'_>) -> LineMatcher {
        let mut rules = Vec::new();
        let mut logs = Vec::new();
        let rules_of = |patterns: &[&Pattern], meaning| -> Vec<_> {
            let patterns = patterns.iter();
            patterns
                .map(|pattern| Rule::new(pattern, meaning))
                .collect()
        };
        rules.extend(rules_of(&meaning.ready, Meaning::Ready));
        rules.extend(rules_of(&meaning.armed, Meaning::Armed));
        for (detector, spec) in &meaning.logs {
            let log = logs.len();
            let all = [
                (&spec.start, Meaning::Start(log)),
                (&spec.outcome, Meaning::Outcome(log)),
                (&spec.finish, Meaning::Finish(log)),
            ];
            for (patterns, meaning) in all {
                rules.extend(patterns.iter().map(|pattern| Rule::new(pattern, meaning)));
            }
            logs.push(Log {
                detector: *detector,
                spec: spec.clone(),
                outcomes: VecDeque::new(),
            });
        }
        // Last, so that the end of a job can begin one.
        rules.extend(rules_of(&meaning.window, Meaning::Window));
        LineMatcher {
            splitter: Splitter::default(),
            rules,
            logs,
            stripped: Vec::new(),
            ready: false,
            armed: false,
            window: false,
        }
    }

    /// Takes the next bytes as they come and tells what they say, in their order. What they say
    /// of no job has an index out of range.
    ///
    /// That the agent is ready or armed is told once. A safe window is told last, and only when
    /// the same bytes say nothing later: else it is over.
    pub fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(DetectorIndex, Observation)) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.feed(bytes, |block| {
            if self.may_match(block) {
                lines(block).for_each(|line| self.line(line, emit));
            }
        });
        self.splitter = splitter;
        if std::mem::take(&mut self.window) {
            emit(NO_DETECTOR, Observation::SafeWindow);
        }
    }

    /// A literal may hide among escapes, so a coloured block is always looked at.
    fn may_match(&self, block: &[u8]) -> bool {
        let coloured = || memchr::memchr(0x1b, block).is_some();
        let mut open = self.rules.iter().filter(|rule| !self.is_over(rule));
        open.any(|rule| rule.may_match(block)) || coloured()
    }

    fn is_over(&self, rule: &Rule) -> bool {
        match rule.meaning {
            Meaning::Ready => self.ready,
            Meaning::Armed => self.armed,
            _ => false,
        }
    }

    fn line(&mut self, line: &[u8], emit: &mut dyn FnMut(DetectorIndex, Observation)) {
        let mut stripped = std::mem::take(&mut self.stripped);
        self.plain_line(plain(line, &mut stripped), emit);
        self.stripped = stripped;
    }

    fn plain_line(&mut self, line: &[u8], emit: &mut dyn FnMut(DetectorIndex, Observation)) {
        let mut json = None;
        for rule in &self.rules {
            if self.is_over(rule) || !rule.may_match(line) {
                continue;
            }
            let said = match &rule.pattern.json {
                None => rule.in_text(line, &self.logs),
                Some(_) if line.first() != Some(&b'{') => None,
                Some(fields) => {
                    let parse = || serde_json::from_slice(line).unwrap_or(Value::Null);
                    rule.in_json(fields, json.get_or_insert_with(parse), &self.logs)
                }
            };
            let Some(said) = said else {
                continue;
            };
            self.window = rule.meaning == Meaning::Window;
            match rule.meaning {
                Meaning::Ready => {
                    self.ready = true;
                    emit(NO_DETECTOR, Observation::Ready);
                }
                Meaning::Armed => {
                    self.armed = true;
                    emit(NO_DETECTOR, Observation::DrainArmed);
                }
                Meaning::Window => {}
                Meaning::Start(log) => {
                    emit(
                        self.logs[log].detector,
                        Observation::Started { id: said.id },
                    );
                }
                Meaning::Outcome(log) => self.logs[log].remember(said),
                Meaning::Finish(log) => {
                    let log = &mut self.logs[log];
                    let Said { id, outcome, .. } = log.complete(said);
                    emit(log.detector, Observation::Finished { id, outcome });
                }
            }
        }
    }
}

impl Log {
    fn remember(&mut self, mut said: Said) {
        // Lines that name neither are taken in their order.
        if (&said.id, &said.worker) != (&None, &None)
            && self.take(|word| word.is_like(&said)).is_some()
            && said.id.is_none()
        {
            // Two workers of one name: nobody knows whose outcome is whose.
            said.outcome = Outcome::Unknown;
        }
        self.outcomes.push_back(said);
        if self.outcomes.len() > MOST_OUTCOMES {
            self.outcomes.pop_front();
        }
    }

    /// Adds what earlier lines said of the outcome: one of the job before one of its worker.
    fn complete(&mut self, mut said: Said) -> Said {
        let of_job = self.take(|word| word.is_like(&said));
        let of_worker = self
            .take(|word| word.id.is_none() && word.worker.is_some() && word.worker == said.worker);
        let known = |outcome: &Outcome| *outcome != Outcome::Unknown;
        let all = [Some(said.outcome), of_job, of_worker];
        said.outcome = all
            .into_iter()
            .flatten()
            .find(known)
            .unwrap_or(Outcome::Unknown);
        said
    }

    fn take(&mut self, which: impl Fn(&Said) -> bool) -> Option<Outcome> {
        let at = self.outcomes.iter().position(which)?;
        self.outcomes.remove(at).map(|said| said.outcome)
    }
}

impl Said {
    /// As far as ids can tell, of the same job; without them, of the same worker.
    fn is_like(&self, other: &Said) -> bool {
        self.id == other.id && (self.id.is_some() || self.worker == other.worker)
    }
}

impl Rule {
    fn new(pattern: &Pattern, meaning: Meaning) -> Rule {
        let literals = pattern.literals.iter();
        Rule {
            pattern: pattern.clone(),
            literals: literals
                .map(|literal| Finder::new(literal).into_owned())
                .collect(),
            meaning,
        }
    }

    /// Cheap, and right when it says no.
    fn may_match(&self, text: &[u8]) -> bool {
        let mut literals = self.literals.iter();
        self.literals.is_empty() || literals.any(|literal| literal.find(text).is_some())
    }

    fn in_text(&self, line: &[u8], logs: &[Log]) -> Option<Said> {
        let captures = self.pattern.regex.captures(line)?;
        Some(Said {
            id: group(&captures, "id").map(|id| shortened(&id)),
            worker: group(&captures, "worker").map(|name| shortened(&name)),
            outcome: self.outcome(&captures, None, logs),
        })
    }

    fn in_json(&self, fields: &JsonFields, line: &Value, logs: &[Log]) -> Option<Said> {
        if fields
            .absent
            .iter()
            .any(|pointer| pointer.of(line).is_some())
        {
            return None;
        }
        let text = fields.field.of(line)?.as_str()?;
        let captures = self.pattern.regex.captures(text.as_bytes())?;
        let find = |pointer: &Option<Pointer>, name| {
            let pointed = pointer.as_ref();
            let pointed = pointed.and_then(|pointer| scalar(pointer.of(line)?));
            let found = pointed.or_else(|| group(&captures, name))?;
            Some(shortened(&found))
        };
        Some(Said {
            id: find(&fields.id, "id"),
            worker: find(&fields.worker, "worker"),
            outcome: self.outcome(&captures, Some((fields, line)), logs),
        })
    }

    fn outcome(
        &self,
        captures: &Captures,
        json: Option<(&JsonFields, &Value)>,
        logs: &[Log],
    ) -> Outcome {
        let (Meaning::Outcome(log) | Meaning::Finish(log)) = self.meaning else {
            return Outcome::Unknown;
        };
        if let Some(outcome) = self.pattern.outcome {
            return outcome;
        }
        let pointed = |pick: fn(&JsonFields) -> &Option<Pointer>| {
            let (fields, line) = json?;
            scalar(pick(fields).as_ref()?.of(line)?)
        };
        let word = pointed(|fields| &fields.outcome).or_else(|| group(captures, "outcome"));
        if let Some(word) = word {
            return logs[log]
                .spec
                .outcomes
                .get(&word)
                .copied()
                .unwrap_or(match word.as_str() {
                    "passed" => Outcome::Passed,
                    "failed" => Outcome::Failed,
                    "canceled" => Outcome::Canceled,
                    _ => Outcome::Unknown,
                });
        }
        match pointed(|fields| &fields.exit_code).or_else(|| group(captures, "exit_code")) {
            Some(code) if code == "0" => Outcome::Passed,
            Some(_) => Outcome::Failed,
            None => Outcome::Unknown,
        }
    }
}

fn group(captures: &Captures, name: &str) -> Option<String> {
    let bytes = captures.name(name)?.as_bytes();
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// A string or a number, as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn shortened(id: &str) -> String {
    id.chars().take(LONGEST_ID).collect()
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "log_agents_tests.rs"]
mod agents_tests;
