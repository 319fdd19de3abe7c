//! Values with places in them: what is only known when an agent is started.

use std::ffi::{OsStr, OsString};
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::toml_error;

/// A text with `{place}`s and `${VARIABLE}`s in it, as it stands in a preset.
///
/// It may be shown: a variable's value is in what [`Template::fill`] gives, never in this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// What a place stands for; see [`super::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Index,
    Port,
    Clockout,
    Dir,
    Pid,
    Config,
    ConfigDir,
}

const PLACES: [(&str, Place); 7] = [
    ("index", Place::Index),
    ("port", Place::Port),
    ("clockout", Place::Clockout),
    ("dir", Place::Dir),
    ("pid", Place::Pid),
    ("config", Place::Config),
    ("config_dir", Place::ConfigDir),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
    Variable(String),
}

/// What must be known to fill a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    Place(Place),
    /// An environment variable of ours.
    Variable(&'a str),
}

/// A place that nothing fills.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0} is not known")]
pub struct Missing(String);

impl Template {
    /// The text with all places filled; `known` tells what stands in each.
    pub fn fill(
        &self,
        known: &dyn Fn(Wanted<'_>) -> Option<OsString>,
    ) -> Result<OsString, Missing> {
        let mut filled = OsString::new();
        for part in &self.parts {
            let wanted = match part {
                Part::Text(text) => {
                    filled.push(text);
                    continue;
                }
                Part::Place(place) => Wanted::Place(*place),
                Part::Variable(name) => Wanted::Variable(name),
            };
            filled.push(known(wanted).ok_or_else(|| Missing(shown(wanted)))?);
        }
        Ok(filled)
    }

    /// The file's text, with its places unfilled.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn has(&self, place: Place) -> bool {
        self.parts.contains(&Part::Place(place))
    }
}

/// Fills `{index}`, `{port}` and `{clockout}` in an argument of the user's. Anything else in
/// braces is the user's own: many programs have a use for braces.
pub fn fill_argument(argument: &OsStr, known: &dyn Fn(Wanted<'_>) -> Option<OsString>) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    let mut rest = argument.as_bytes();
    let mut filled = Vec::with_capacity(rest.len());
    'rest: while let Some(at) = memchr::memchr(b'{', rest) {
        filled.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        for place in [Place::Index, Place::Port, Place::Clockout] {
            let Some(after) = rest.strip_prefix(place.written().as_bytes()) else {
                continue;
            };
            let Some(value) = known(Wanted::Place(place)) else {
                break;
            };
            filled.extend_from_slice(value.as_bytes());
            rest = after;
            continue 'rest;
        }
        filled.push(b'{');
        rest = &rest[1..];
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

impl Place {
    /// As it is written in a preset.
    pub fn written(self) -> String {
        let named = PLACES.iter().find(|(_, place)| *place == self);
        format!("{{{}}}", named.map_or("", |(name, _)| name))
    }
}

fn shown(wanted: Wanted<'_>) -> String {
    match wanted {
        Wanted::Place(place) => place.written(),
        Wanted::Variable(name) => format!("${{{name}}}"),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Braces around anything but a lowercase word are no place: JSON, regexes and shells use them.
fn parse(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        let Some((word, after)) = from[1..].split_once('}') else {
            break;
        };
        let name = before.strip_suffix('$');
        let part = match name {
            Some(_) if is_variable(word) => Part::Variable(word.to_owned()),
            None if is_word(word) => Part::Place(place(word)?),
            _ => {
                plain.push_str(before);
                plain.push('{');
                rest = &from[1..];
                continue;
            }
        };
        plain.push_str(name.unwrap_or(before));
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(part);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(Template {
        text: text.to_owned(),
        parts,
    })
}

fn place(word: &str) -> Result<Place, String> {
    let found = PLACES.iter().find(|(name, _)| *name == word);
    found.map(|(_, place)| *place).ok_or_else(|| {
        let known = PLACES.map(|(name, _)| name);
        let hint = toml_error::hint(word, &known);
        format!("unknown placeholder '{word}' in braces{hint}")
    })
}

fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    !text.is_empty() && text.bytes().all(is_letter)
}

fn is_variable(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(is_letter) && !text.is_empty() && !text.as_bytes()[0].is_ascii_digit()
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let Word(template) = Word::deserialize(input)?;
        if template.has(Place::Pid) {
            return Err(Error::custom("{pid} stands in commands only"));
        }
        Ok(template)
    }
}

/// A word of a command, in which the agent's `{pid}` is known too.
#[derive(Debug, Clone)]
pub struct Word(pub Template);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        parse(&text).map(Word).map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(wanted: Wanted<'_>) -> Option<OsString> {
        match wanted {
            Wanted::Place(Place::Index) => Some("2".into()),
            Wanted::Place(Place::Port) => Some("4711".into()),
            Wanted::Variable("TOKEN") => Some("s3cret".into()),
            _ => None,
        }
    }

    fn filled(text: &str) -> Result<String, String> {
        let filled = parse(text)?.fill(&known).map_err(|error| error.to_string());
        filled.map(|text| text.to_string_lossy().into_owned())
    }

    #[test]
    fn places_and_variables_are_filled_and_other_braces_stay() {
        for (text, expected) in [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("127.0.0.1:{port}", Ok("127.0.0.1:4711")),
            ("{index}{index}", Ok("22")),
            ("a ${TOKEN} b", Ok("a s3cret b")),
            ("$TOKEN $ {index}", Ok("$TOKEN $ 2")),
            ("{\"a\": {index}}", Ok("{\"a\": 2}")),
            ("{Index} {1,2} {} {", Ok("{Index} {1,2} {} {")),
            ("${1} ${a b}", Ok("${1} ${a b}")),
            ("{{port}}", Ok("{4711}")),
            ("{dir}/x", Err("{dir} is not known")),
            ("${OTHER}", Err("${OTHER} is not known")),
            (
                "{indx}",
                Err("unknown placeholder 'indx' in braces, did you mean 'index'?"),
            ),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn a_filled_value_is_not_shown() {
        let template = parse("-H ${TOKEN}").expect("good");
        assert_eq!(template.to_string(), "-H ${TOKEN}");
        assert!(!format!("{template:?}").contains("s3cret"));
    }

    #[test]
    fn of_a_users_argument_only_known_places_are_filled() {
        for (argument, expected) in [
            ("agent-{index}", "agent-2"),
            ("{{index}}", "{2}"),
            ("{dir} {{.ID}} ${TOKEN} {", "{dir} {{.ID}} ${TOKEN} {"),
            (":{port}", ":4711"),
            ("{clockout}", "{clockout}"),
        ] {
            let filled = fill_argument(OsStr::new(argument), &known);
            assert_eq!(filled, OsStr::new(expected));
        }
    }
}
