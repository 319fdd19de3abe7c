//! Settings that are read off the agent's own arguments and environment.

use std::ffi::{OsStr, OsString};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::format::{Preset, Slots};

/// A value that the agent's own settings tell, else a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: DeserializeOwned")]
pub struct Setting<T> {
    /// The first that is set wins.
    #[serde(default)]
    pub from: Vec<Source>,
    pub default: Option<T>,
}

/// Where a value may stand: exactly one of a flag and a variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawSource")]
pub struct Source {
    place: Place,
    times: Option<Times>,
}

#[derive(Debug, Clone)]
enum Place {
    Flag(String),
    Variable(String),
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
    times: Option<Times>,
}

impl TryFrom<RawSource> for Source {
    type Error = &'static str;

    fn try_from(raw: RawSource) -> Result<Self, Self::Error> {
        let place = match (raw.flag, raw.env) {
            (Some(flag), None) if flag.starts_with('-') => Place::Flag(flag),
            (Some(_), None) => return Err("a flag begins with '-'"),
            (None, Some(name)) => Place::Variable(name),
            _ => return Err("give 'flag' or 'env'"),
        };
        Ok(Source {
            place,
            times: raw.times,
        })
    }
}

/// How the agent will be started: what its settings are read from.
pub struct Command<'a> {
    pub argv: &'a [OsString],
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl<T> Setting<T> {
    fn told(&self, command: &Command) -> Option<(String, Option<Times>)> {
        self.from.iter().find_map(|source| {
            let value = match &source.place {
                Place::Flag(flag) => flag_value(command.argv, flag),
                Place::Variable(name) => (command.variable)(name),
            };
            let value = value?
                .into_string()
                .ok()
                .filter(|value| !value.is_empty())?;
            Some((value, source.times))
        })
    }
}

impl Setting<Slots> {
    /// The slots that the agent was told to have; a value that is no positive number tells
    /// nothing, because the agent itself will refuse it.
    pub fn slots(&self, command: &Command) -> Option<u32> {
        let (value, times) = self.told(command)?;
        let slots: u32 = value.trim().parse().ok().filter(|slots| *slots > 0)?;
        let factor = match times {
            None => 1,
            Some(Times::Cpus) => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        Some(slots.saturating_mul(u32::try_from(factor).unwrap_or(u32::MAX)))
    }
}

impl Setting<String> {
    pub fn text(&self, command: &Command) -> Option<String> {
        self.told(command)
            .map(|(value, _)| value)
            .or_else(|| self.default.clone())
    }
}

impl Preset {
    /// The command with this preset's forced variables before our own environment.
    pub fn with_command<T>(&self, argv: &[OsString], use_it: impl FnOnce(&Command) -> T) -> T {
        let variable = |name: &str| match self.env.get(name) {
            Some(forced) => Some(forced.into()),
            None => std::env::var_os(name),
        };
        use_it(&Command {
            argv,
            variable: &variable,
        })
    }
}

/// The value of `--flag value` or `--flag=value`, the last one given. Go's flag packages take
/// one dash for two, so a flag written with two is also found with one.
fn flag_value(argv: &[OsString], flag: &str) -> Option<OsString> {
    let name = flag.trim_start_matches('-');
    let dashes = flag.len() - name.len();
    let mut found = None;
    let mut arguments = argv.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let bare = text.trim_start_matches('-');
        if !(1..=dashes).contains(&(text.len() - bare.len())) {
            continue;
        }
        match bare.split_once('=') {
            Some((key, value)) if key == name => found = Some(OsString::from(value)),
            None if bare == name => found = arguments.next().cloned(),
            _ => {}
        }
    }
    found
}

/// The base name of a program, for matching.
pub fn base_name(program: &OsStr) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    let bytes = program.as_bytes();
    let start = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(argv: &[&str], flag: &str) -> Option<String> {
        let argv: Vec<_> = argv.iter().map(OsString::from).collect();
        flag_value(&argv, flag).map(|value| value.to_string_lossy().into_owned())
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
    fn a_base_name_is_what_follows_the_last_slash() {
        assert_eq!(base_name(OsStr::new("/usr/bin/agent")), b"agent");
        assert_eq!(base_name(OsStr::new("agent")), b"agent");
    }
}
