//! Settings that are read off the agent's own arguments, environment and configuration file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use regex::bytes::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::format::Slots;
use super::pattern::compile;
use super::template::Template;
use super::time::Time;
use super::view::View;

/// A value that the agent's own settings tell, else a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: DeserializeOwned")]
pub struct Setting<T> {
    /// The first that is set wins.
    #[serde(default)]
    pub from: Vec<Source>,
    pub default: Option<T>,
}

/// One place where the agent may be told something.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawSource")]
pub struct Source {
    place: Place,
    times: Option<Times>,
    /// The value with which a switch is on.
    is: Option<String>,
}

#[derive(Debug, Clone)]
enum Place {
    Flag(String),
    Variable(String),
    /// Of the arguments after the program that do not begin with `-`, counted from 1.
    Positional(usize),
    /// In the agent's configuration file: the first group.
    Config(Regex),
}

/// What a number found must be multiplied with.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Times {
    Cpus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    flag: Option<String>,
    env: Option<String>,
    positional: Option<usize>,
    config: Option<String>,
    times: Option<Times>,
    is: Option<String>,
}

impl TryFrom<RawSource> for Source {
    type Error = String;

    fn try_from(raw: RawSource) -> Result<Self, Self::Error> {
        let place = match (raw.flag, raw.env, raw.positional, raw.config) {
            (Some(flag), None, None, None) if flag.starts_with('-') => Place::Flag(flag),
            (Some(_), None, None, None) => return Err("a flag begins with '-'".to_owned()),
            (None, Some(name), None, None) => Place::Variable(name),
            (None, None, Some(0), None) => {
                return Err("arguments are counted from 1".to_owned());
            }
            (None, None, Some(place), None) => Place::Positional(place),
            (None, None, None, Some(regex)) => Place::Config(compile(&regex)?),
            _ => return Err("give one of 'flag', 'env', 'positional' and 'config'".to_owned()),
        };
        if raw.is.is_some() && matches!(place, Place::Config(_)) {
            return Err("'is' is for 'flag', 'env' and 'positional': a regex says it".to_owned());
        }
        Ok(Source {
            place,
            times: raw.times,
            is: raw.is,
        })
    }
}

impl Source {
    /// What stands there, if anything does; empty is nothing.
    pub fn told(&self, view: &View) -> Option<OsString> {
        let found = match &self.place {
            Place::Flag(flag) => flag_value(&view.argv, flag),
            Place::Variable(name) => view.variable(name),
            Place::Positional(place) => positional(&view.argv, *place),
            Place::Config(regex) => {
                let found = regex.captures(view.config_text()?)?;
                let group = found.get(1).or_else(|| found.get(0))?;
                Some(OsStr::from_bytes(group.as_bytes()).to_owned())
            }
        };
        found.filter(|value| !value.is_empty())
    }

    /// Whether a switch is on, where it is set at all: a flag without a value is, and anything
    /// that does not say no. With `is`, nothing but that value.
    pub fn switch(&self, view: &View) -> Option<bool> {
        let value = match &self.place {
            Place::Flag(flag) => find_flag(&view.argv, flag)?.map(OsStr::to_owned),
            // That it is there is the answer.
            Place::Config(regex) => regex.is_match(view.config_text()?).then_some(None)?,
            _ => Some(self.told(view)?),
        };
        let value = value.unwrap_or_default();
        if let Some(is) = &self.is {
            return Some(value == **is);
        }
        let value = value.to_ascii_lowercase();
        Some(
            !["0", "f", "false", "no", "off"]
                .iter()
                .any(|no| value == *no),
        )
    }

    pub fn is_config(&self) -> bool {
        matches!(self.place, Place::Config(_))
    }
}

impl<T> Setting<T> {
    fn told(&self, view: &View) -> Option<(String, Option<Times>)> {
        self.from.iter().find_map(|source| {
            let value = source.told(view)?.into_string().ok()?;
            Some((value, source.times))
        })
    }
}

impl Setting<Slots> {
    /// The slots that the agent was told to have; a value that is no positive number tells
    /// nothing, because the agent itself will refuse it.
    pub fn slots(&self, view: &View) -> Option<u32> {
        let (value, times) = self.told(view)?;
        let slots: u32 = value.trim().parse().ok().filter(|slots| *slots > 0)?;
        let factor = match times {
            None => 1,
            Some(Times::Cpus) => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        Some(slots.saturating_mul(u32::try_from(factor).unwrap_or(u32::MAX)))
    }
}

impl Setting<Template> {
    /// What was told, else the default as a template.
    pub fn text(&self, view: &View) -> Option<Result<String, Template>> {
        match self.told(view) {
            Some((value, _)) => Some(Ok(value)),
            None => self.default.clone().map(Err),
        }
    }
}

impl Setting<Time> {
    /// What was told, in the agent's form: `3h`, `1h30m0s`, or a number of seconds.
    pub fn time(&self, view: &View) -> Option<Duration> {
        let told = self.told(view).and_then(|(value, _)| {
            let value = value.trim();
            let seconds = || value.parse().ok().map(Duration::from_secs);
            seconds().or_else(|| humantime::parse_duration(value).ok())
        });
        told.or(self.default.map(|time| time.0))
    }
}

/// The value of `--flag value` or `--flag=value`, the last one given.
fn flag_value(argv: &[OsString], flag: &str) -> Option<OsString> {
    let found = flags(argv, flag).filter_map(|(at, value)| match value {
        Some(value) => Some(value),
        None => argv.get(at + 1).map(OsString::as_os_str),
    });
    found.last().map(OsStr::to_owned)
}

/// The last `--flag` or `--flag=value`, and the value that is joined to it.
fn find_flag<'a>(argv: &'a [OsString], flag: &'a str) -> Option<Option<&'a OsStr>> {
    flags(argv, flag).last().map(|(_, value)| value)
}

/// Whether the agent is given this flag, with or without a value.
pub fn has_flag(argv: &[OsString], flag: &str) -> bool {
    find_flag(argv, flag).is_some()
}

/// Go's flag packages take one dash for two, so a flag written with two is also found with one.
fn flags<'a>(
    argv: &'a [OsString],
    flag: &'a str,
) -> impl Iterator<Item = (usize, Option<&'a OsStr>)> {
    let name = flag.trim_start_matches('-').as_bytes();
    let dashes = flag.len() - name.len();
    let arguments = argv.iter().enumerate().skip(1);
    let arguments = arguments.take_while(|(_, argument)| *argument != "--");
    arguments.filter_map(move |(at, argument)| {
        let bytes = argument.as_bytes();
        let given = bytes.iter().take_while(|byte| **byte == b'-').count();
        if !(1..=dashes).contains(&given) {
            return None;
        }
        match bytes[given..].strip_prefix(name)? {
            [] => Some((at, None)),
            [b'=', value @ ..] => Some((at, Some(OsStr::from_bytes(value)))),
            _ => None,
        }
    })
}

fn positional(argv: &[OsString], place: usize) -> Option<OsString> {
    let arguments = argv.iter().skip(1);
    let mut plain = arguments.filter(|argument| !argument.as_bytes().starts_with(b"-"));
    plain.nth(place - 1).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(argv: &[&str]) -> Vec<OsString> {
        argv.iter().map(OsString::from).collect()
    }

    fn value(argv: &[&str], flag: &str) -> Option<String> {
        flag_value(&words(argv), flag).map(|value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn a_flag_is_found_in_each_form_and_the_last_wins() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&["a", "--spawn", "4"], Some("4")),
            (&["a", "--spawn=4"], Some("4")),
            (&["a", "-spawn=4"], Some("4")),
            (&["a", "--spawn", "4", "--spawn=5"], Some("5")),
            (&["a", "--spawn-per-cpu", "2"], None),
            (&["a", "--", "--spawn", "4"], None),
            (&["--spawn", "4"], None),
            (&["a", "--spawn"], None),
            (&["a", "spawn", "4"], None),
        ];
        for (argv, expected) in table {
            assert_eq!(value(argv, "--spawn").as_deref(), *expected, "{argv:?}");
        }
        assert_eq!(value(&["a", "--s", "4"], "-s"), None);
    }

    #[test]
    fn a_positional_is_counted_among_the_words_without_a_dash() {
        let argv = words(&["a", "start", "--nodaemon", "dir"]);
        assert_eq!(positional(&argv, 1), Some("start".into()));
        assert_eq!(positional(&argv, 2), Some("dir".into()));
        assert_eq!(positional(&argv, 3), None);
    }

    #[test]
    fn a_switch_is_on_unless_it_says_no() {
        let source = |text: &str| toml::from_str::<Source>(text).expect("good");
        let flag = source("flag = '--once'");
        for (argv, expected) in [
            (words(&["a", "--once"]), Some(true)),
            (words(&["a", "-once", "daemon"]), Some(true)),
            (words(&["a", "--once=true"]), Some(true)),
            (words(&["a", "--once=False"]), Some(false)),
            (words(&["a", "--once-more"]), None),
        ] {
            assert_eq!(flag.switch(&View::of(&argv, &[])), expected, "{argv:?}");
        }
        let variable = source("env = 'ONCE'");
        for (value, expected) in [("true", Some(true)), ("0", Some(false)), ("", None)] {
            let view = View::of(&[], &[("ONCE", value)]);
            assert_eq!(variable.switch(&view), expected, "{value}");
        }
        assert_eq!(variable.switch(&View::of(&[], &[])), None);
        let mode = source("env = 'MODE'\nis = 'single-task'");
        for (value, expected) in [("single-task", true), ("continuous", false)] {
            let view = View::of(&[], &[("MODE", value)]);
            assert_eq!(mode.switch(&view), Some(expected), "{value}");
        }
        assert!(toml::from_str::<Source>("config = 'x'\nis = 'y'").is_err());
    }
}
