//! What must be so before an agent is started: settings without which it cannot be drained.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use regex::bytes::Regex;
use serde::Deserialize;

use super::pattern::{compile, regex_or_none};
use super::template::{Template, Wanted};
use super::view::View;

/// One condition.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawRequire")]
pub struct Require {
    what: What,
    unless_arg: Option<Regex>,
    unless_config: Option<Regex>,
    /// What cannot be seen, because it is in a container, is not so.
    must_be_seen: bool,
    otherwise: Template,
}

#[derive(Debug, Clone)]
enum What {
    /// Matches in the agent's configuration file.
    Config(Regex),
    /// Matches in one of its arguments.
    Arg(Regex),
    /// A variable of its environment, or of ours, is set, not empty, and its value matches.
    Variable(String, Option<Regex>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequire {
    config: Option<String>,
    arg: Option<String>,
    env: Option<String>,
    #[serde(default, deserialize_with = "regex_or_none")]
    value: Option<Regex>,
    #[serde(default, deserialize_with = "regex_or_none")]
    unless_arg: Option<Regex>,
    #[serde(default, deserialize_with = "regex_or_none")]
    unless_config: Option<Regex>,
    #[serde(default)]
    must_be_seen: bool,
    otherwise: Template,
}

impl TryFrom<RawRequire> for Require {
    type Error = String;

    fn try_from(raw: RawRequire) -> Result<Self, Self::Error> {
        let is_env = raw.env.is_some();
        let what = match (raw.config, raw.arg, raw.env) {
            _ if raw.value.is_some() && !is_env => {
                return Err("'value' belongs to 'env'".to_owned());
            }
            (Some(regex), None, None) => What::Config(compile(&regex)?),
            (None, Some(regex), None) => What::Arg(compile(&regex)?),
            (None, None, Some(name)) => What::Variable(name, raw.value),
            _ => return Err("give one of 'config', 'arg' and 'env'".to_owned()),
        };
        Ok(Require {
            what,
            unless_arg: raw.unless_arg,
            unless_config: raw.unless_config,
            must_be_seen: raw.must_be_seen,
            otherwise: raw.otherwise,
        })
    }
}

/// How a condition stands, with what it asks a person to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Met(String),
    /// It cannot be seen from here: the file is in a container.
    Unseen(String),
    Unmet(String),
}

impl Require {
    /// Whether the agent, as it is about to be started, has what is required.
    pub fn check(&self, view: &View) -> Standing {
        let has_arg = |regex: &Regex| {
            let mut args = view.argv.iter().skip(1);
            args.any(|arg| regex.is_match(arg.as_bytes()))
        };
        let in_config = |regex: &Regex| view.config_text().is_some_and(|text| regex.is_match(text));
        if self.unless_arg.as_ref().is_some_and(has_arg)
            || self.unless_config.as_ref().is_some_and(in_config)
        {
            return Standing::Met(self.otherwise(view));
        }
        let met = match &self.what {
            What::Config(_) if !view.is_on_host() && !self.must_be_seen => {
                return Standing::Unseen(self.otherwise(view));
            }
            // Without a command of its own the container runs its image's.
            What::Arg(_) if !view.is_on_host() && view.argv.len() < 2 => {
                return Standing::Unseen(self.otherwise(view));
            }
            What::Config(regex) => in_config(regex),
            What::Arg(regex) => has_arg(regex),
            What::Variable(name, regex) => {
                let own = view.variable(name).filter(|value| !value.is_empty());
                let value = own.or_else(|| view.place(Wanted::Variable(name)));
                let fits = |value: OsString| {
                    let mut regex = regex.iter();
                    regex.all(|regex| regex.is_match(value.as_bytes()))
                };
                value.is_some_and(fits)
            }
        };
        if met {
            return Standing::Met(self.otherwise(view));
        }
        let why = match (&self.what, view.config_error()) {
            (What::Config(_), Some(error)) => format!(" (it cannot be read: {error})"),
            _ => String::new(),
        };
        Standing::Unmet(self.otherwise(view) + &why)
    }

    fn otherwise(&self, view: &View) -> String {
        let filled = self.otherwise.fill(&|wanted: Wanted<'_>| match wanted {
            // A secret is no part of an error.
            Wanted::Variable(name) => Some(format!("${{{name}}}").into()),
            place => view
                .place(place)
                .or_else(|| Some("the agent's configuration file".into())),
        });
        filled.map_or_else(
            |_| self.otherwise.to_string(),
            |text| text.to_string_lossy().into_owned(),
        )
    }
}
