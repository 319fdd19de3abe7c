//! What a line of an agent's log must look like to mean something.
//!
//! Agents' lines are bytes: regexes are matched without Unicode tables, `\d` and `\w` are ASCII.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::lifecycle::Outcome;
use crate::toml_error;

/// The groups that mean something in a pattern's regex.
const GROUPS: [&str; 4] = ["id", "worker", "outcome", "exit_code"];

/// One kind of line: a regex over a line of text, or over one field of a JSON line.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub regex: Regex,
    /// Every matching text contains one of these: the cheap way to pass over the others. Empty
    /// when there is no such list.
    pub literals: Vec<Vec<u8>>,
    /// Set for JSON lines.
    pub json: Option<JsonFields>,
    /// How the job ended, whatever else the line says.
    pub outcome: Option<Outcome>,
}

/// Where things are in a JSON line.
#[derive(Debug, Clone)]
pub struct JsonFields {
    /// What the regex is matched against.
    pub field: Pointer,
    pub id: Option<Pointer>,
    /// Which of the agent's workers speaks: joins a line without the job's id to its job.
    pub worker: Option<Pointer>,
    pub outcome: Option<Pointer>,
    pub exit_code: Option<Pointer>,
    /// A line with one of these is no line of the agent's own (it is a job's output, say).
    pub absent: Vec<Pointer>,
}

/// A JSON pointer (RFC 6901): empty for the whole document, else it begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(String);

impl Pointer {
    pub fn of<'a>(&self, value: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        value.pointer(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        if text.is_empty() || text.starts_with('/') {
            return Ok(Pointer(text));
        }
        Err(Error::custom(format!(
            "'{text}' is no JSON pointer, write '/{text}'"
        )))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    regex: Expression,
    field: Option<Pointer>,
    id: Option<Pointer>,
    worker: Option<Pointer>,
    outcome: Option<Outcome>,
    outcome_field: Option<Pointer>,
    exit_code: Option<Pointer>,
    #[serde(default)]
    absent: Vec<Pointer>,
}

impl TryFrom<Table> for Pattern {
    type Error = &'static str;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table {
            id,
            worker,
            outcome_field,
            exit_code,
            absent,
            ..
        } = table;
        let points = [&id, &worker, &outcome_field, &exit_code];
        let points = points.iter().any(|pointer| pointer.is_some());
        let json = match table.field {
            Some(field) => Some(JsonFields {
                field,
                id,
                worker,
                outcome: outcome_field,
                exit_code,
                absent,
            }),
            None if points => {
                return Err(
                    "'id', 'worker', 'outcome_field' and 'exit_code' point into a JSON line: \
                            add 'field', or use groups like (?P<id>...) in the regex",
                );
            }
            None if !absent.is_empty() => {
                return Err("'absent' points into a JSON line: add 'field'");
            }
            None => None,
        };
        let Expression {
            regex,
            mut literals,
        } = table.regex;
        // Characters that no JSON writer is known to escape.
        let plain =
            |byte: &u8| byte.is_ascii_alphanumeric() || b" _-.,:;()[]{}=#*!?".contains(byte);
        if json.is_some() && !literals.iter().flatten().all(plain) {
            literals.clear();
        }
        Ok(Pattern {
            literals,
            regex,
            json,
            outcome: table.outcome,
        })
    }
}

/// A string is a regex over the whole line; a table says more.
impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a regex, or a table with 'regex'")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pattern, E> {
                let Expression { regex, literals } = expression(text).map_err(E::custom)?;
                Ok(Pattern {
                    regex,
                    literals,
                    json: None,
                    outcome: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pattern, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Pattern::try_from(table).map_err(A::Error::custom)
            }
        }
        input.deserialize_any(Form)
    }
}

/// One value, or a list of them.
pub fn one_or_many<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Form<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Form<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one value or a list")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            let one = serde::de::value::StrDeserializer::new(text);
            Ok(vec![T::deserialize(one)?])
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }
    input.deserialize_any(Form(std::marker::PhantomData))
}

/// The same, and at least one.
pub fn at_least_one<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Pattern>, D::Error> {
    match one_or_many::<D, Pattern>(input) {
        Ok(none) if none.is_empty() => Err(Error::custom("the list is empty")),
        patterns => patterns,
    }
}

pub fn regex_or_none<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(input)?;
    compile(&text).map(Some).map_err(Error::custom)
}

/// A regex whose named groups all mean something.
struct Expression {
    regex: Regex,
    literals: Vec<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        expression(&text).map_err(Error::custom)
    }
}

fn expression(text: &str) -> Result<Expression, String> {
    let regex = compile(text)?;
    for group in regex.capture_names().flatten() {
        if !GROUPS.contains(&group) {
            let hint = toml_error::hint(group, &GROUPS);
            return Err(format!("unknown group '{group}' in the regex{hint}"));
        }
    }
    let literals = required_literals(text);
    Ok(Expression { regex, literals })
}

/// Compiles a regex over bytes; the error is one line.
pub fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .build()
        .map_err(|error| {
            let shown = error.to_string();
            let last = shown.lines().last().unwrap_or_default();
            let cause = last.strip_prefix("error: ").unwrap_or(last);
            format!("bad regex '{text}': {cause}")
        })
}

/// Literals of which every match contains one, as long as can be; none when they would be so
/// short, or so many, that looking for them saves nothing.
pub fn required_literals(text: &str) -> Vec<Vec<u8>> {
    use regex_syntax::hir::{Hir, HirKind};

    const SHORTEST: usize = 3;
    const MOST: usize = 16;

    fn shortest(literals: &[Vec<u8>]) -> usize {
        literals.iter().map(Vec::len).min().unwrap_or(0)
    }

    fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
        match hir.kind() {
            HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
            HirKind::Capture(group) => required(&group.sub),
            HirKind::Repetition(repeated) if repeated.min > 0 => required(&repeated.sub),
            HirKind::Concat(parts) => parts
                .iter()
                .filter_map(required)
                .max_by_key(|literals| shortest(literals)),
            HirKind::Alternation(branches) => {
                let each: Option<Vec<_>> = branches.iter().map(required).collect();
                each.map(|lists| lists.concat())
            }
            _ => None,
        }
    }

    let mut parser = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build();
    let literals = parser
        .parse(text)
        .ok()
        .and_then(|hir| required(&hir))
        .unwrap_or_default();
    if literals.len() > MOST || shortest(&literals) < SHORTEST {
        return Vec::new();
    }
    literals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_literal_is_in_every_match() {
        let table: [(&str, &[&str]); 7] = [
            (r"INFO\s+.*?\bStarting job (?P<id>\d+)$", &["Starting job "]),
            ("(?:received job)+", &["received job"]),
            ("(?:one|two) things", &[" things"]),
            (
                r"^(?:Waiting\.\.\.|Starting \d+ agents)$",
                &["Waiting...", "Starting "],
            ),
            ("(?:long enough|[0-9])$", &[]),
            ("(?:maybe)?x", &[]),
            ("(?i)starting", &[]),
        ];
        for (regex, expected) in table {
            let found = required_literals(regex);
            let found: Vec<_> = found
                .iter()
                .map(|bytes| String::from_utf8_lossy(bytes))
                .collect();
            assert_eq!(found, expected, "{regex}");
        }
    }

    #[test]
    fn a_group_that_means_nothing_is_an_error() {
        let error = expression(r"job (?P<ids>\d+)").err().expect("refused");
        assert_eq!(
            error,
            "unknown group 'ids' in the regex, did you mean 'id'?"
        );
        let error = expression("job (").err().expect("refused");
        assert_eq!(error, "bad regex 'job (': unclosed group");
    }
}
