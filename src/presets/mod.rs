//! Presets: what clockout knows of each CI agent, one TOML file each.
//!
//! A built-in preset is one file beside this one and one line in [`BUILT_IN`]. A user's file
//! `/etc/clockout/presets/NAME.toml` (`CLOCKOUT_PRESETS_DIR` says another directory) wins over
//! the built-in of that name. [`format`] has the reference of all keys; a preset that counts jobs
//! by two lines of a log:
//!
//! ```toml
//! match_program = ['my-agent']
//! [detect.log]
//! start = 'job (?P<id>\d+) started'
//! finish = 'job (?P<id>\d+) ended'
//! [drain]
//! signal = "TERM"
//! ```
//!
//! The way of a command line through this folder: [`choose`] finds its preset ([`program`] without
//! reading them all, [`container`] in a container client's arguments), [`view`] is what a preset
//! may see of the agent, by [`source`], [`dress`] adds what the preset gives it, and [`Launch`] is
//! what comes out: how each process is started, which detectors [`watch`] it, which [`lines`] mean
//! something, and the [`steps`] that end it.

mod added;
mod cancel;
mod choose;
mod commands;
mod container;
mod cordon;
mod detect;
mod drain;
mod dress;
mod explain;
mod format;
mod launch;
mod lines;
mod page;
mod pattern;
mod program;
mod require;
mod source;
mod steps;
mod template;
mod time;
mod try_log;
mod view;
mod watch;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use choose::Chosen;
pub use commands::{list, show};
pub use cordon::{Cordon, HttpCall};
pub use detect::{ChildDetector, HttpDetector, LogDetector};
pub use drain::{Step, Window};
pub use explain::explain;
pub use format::{Origin, Preset};
pub use launch::{Launch, Seat};
pub use lines::{LineSource, Lines};
pub use page::Page;
pub use pattern::{JsonFields, Pattern, Pointer};
pub use steps::{Call, Credentials};
pub use template::Template;
pub use try_log::test;
pub use watch::{Detector, Target, Watch};

pub use crate::agent::Stream;
use crate::toml_error;
use choose::Wanted;
use detect::On;
use view::World;

/// In the order of `preset list`; `generic` is what is left.
const BUILT_IN: &[(&str, &str)] = &[
    ("buildkite", include_str!("buildkite.toml")),
    ("drone", include_str!("drone.toml")),
    ("drone-runner", include_str!("drone-runner.toml")),
    ("circleci", include_str!("circleci.toml")),
    ("github", include_str!("github.toml")),
    ("azure", include_str!("azure.toml")),
    ("buildbot", include_str!("buildbot.toml")),
    ("gitlab", include_str!("gitlab.toml")),
    ("kraken", include_str!("kraken.toml")),
    ("gitea", include_str!("gitea.toml")),
    ("forgejo", include_str!("forgejo.toml")),
    ("woodpecker", include_str!("woodpecker.toml")),
    ("jenkins", include_str!("jenkins.toml")),
    ("teamcity", include_str!("teamcity.toml")),
    (GENERIC, include_str!("generic.toml")),
];

const GENERIC: &str = "generic";
const DEFAULT_DIR: &str = "/etc/clockout/presets";

/// A preset cannot be had; the text names the file, or the nearest name.
#[derive(Debug, Error)]
pub enum PresetError {
    #[error("unknown preset '{name}'{hint}")]
    Unknown { name: String, hint: String },
    #[error("cannot read the presets in {path}: {error}", path = path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("cannot read the preset {path}: {error}", path = path.display())]
    NoFile {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{0}")]
    Invalid(String),
}

/// The preset of this name.
pub fn load(name: &str) -> Result<Preset, PresetError> {
    Library::open()?.load(name)
}

/// The preset in this file, named after it.
pub fn load_file(path: &Path) -> Result<Preset, PresetError> {
    let text = std::fs::read(path).map_err(|error| PresetError::NoFile {
        path: path.to_owned(),
        error,
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + memchr::memchr_iter(b'\n', good).count();
        let path = path.display();
        PresetError::Invalid(format!("{path}:{line}: not UTF-8, save the file as UTF-8"))
    })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, Origin::File(path.to_owned()), text)
}

/// The preset for an agent by its command line: the first that says it matches, the user's own
/// before the built-in ones, else `generic`.
pub fn for_agent(argv: &[OsString]) -> Result<Preset, PresetError> {
    let found = Library::open()?.for_agent(&Wanted::new(argv, &World::here()));
    found.map(|(preset, _)| preset)
}

/// The built-in presets and one directory of a user's own.
pub(crate) struct Library {
    dir: PathBuf,
    /// Names of the user's files, sorted.
    own: Vec<String>,
}

impl Library {
    fn open() -> Result<Library, PresetError> {
        let dir =
            std::env::var_os("CLOCKOUT_PRESETS_DIR").map_or(DEFAULT_DIR.into(), PathBuf::from);
        Library::at(&dir)
    }

    /// An absent directory is an empty one.
    fn at(dir: &Path) -> Result<Library, PresetError> {
        let unreadable = |error| PresetError::Unreadable {
            path: dir.to_owned(),
            error,
        };
        let mut own = Vec::new();
        match std::fs::read_dir(dir) {
            Ok(entries) => {
                for entry in entries {
                    let file = PathBuf::from(entry.map_err(unreadable)?.file_name());
                    let is_toml = file.extension().is_some_and(|end| end == "toml");
                    if let Some(name) = file.file_stem().and_then(OsStr::to_str)
                        && is_toml
                    {
                        own.push(name.to_owned());
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
        own.sort();
        Ok(Library {
            dir: dir.to_owned(),
            own,
        })
    }

    /// All names, the built-in ones first.
    fn names(&self) -> Vec<&str> {
        let built_in = BUILT_IN.iter().map(|(name, _)| *name);
        let own = self.own.iter().map(String::as_str);
        let further = own.filter(|name| BUILT_IN.iter().all(|(known, _)| known != name));
        built_in.chain(further).collect()
    }

    /// Only names that were listed are opened, so a name is never a path.
    fn load(&self, name: &str) -> Result<Preset, PresetError> {
        if self.own.iter().any(|own| own == name) {
            return self.load_own(name);
        }
        let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
            let hint = toml_error::hint(name, &self.names());
            return Err(PresetError::Unknown {
                name: name.to_owned(),
                hint,
            });
        };
        parse(name, Origin::BuiltIn, (*text).to_owned())
    }

    fn load_own(&self, name: &str) -> Result<Preset, PresetError> {
        load_file(&self.dir.join(format!("{name}.toml")))
    }

    fn for_agent(&self, wanted: &Wanted) -> Result<(Preset, Chosen), PresetError> {
        let built_in = BUILT_IN.iter();
        let built_in = built_in.filter(|(_, text)| program::may_match(text, wanted));
        let built_in = built_in.map(|(name, _)| *name);
        for name in self.own.iter().map(String::as_str).chain(built_in) {
            let preset = self.load(name)?;
            if let Some(chosen) = preset.matches(wanted) {
                return Ok((preset, chosen));
            }
        }
        Ok((self.load(GENERIC)?, Chosen::Unknown))
    }
}

fn parse(name: &str, origin: Origin, text: String) -> Result<Preset, PresetError> {
    let path = match &origin {
        Origin::BuiltIn => format!("built-in preset {name}"),
        Origin::File(path) => path.display().to_string(),
    };
    match toml::from_str::<Preset>(&text) {
        Ok(mut preset) => match preset.contradiction() {
            Some((table, what)) => {
                let line = 1 + text
                    .lines()
                    .take_while(|line| !line.contains(table))
                    .count();
                Err(PresetError::Invalid(format!(
                    "{path}:{line}: [{table}]: {what}"
                )))
            }
            None => {
                preset.name = name.to_owned();
                preset.origin = origin;
                preset.text = text;
                Ok(preset)
            }
        },
        Err(error) => {
            let mut line = toml_error::explain(&path, &text, &error);
            // TOML's own trap: behind a [table] every key is the table's.
            if let Some(key) = format::misplaced(&line) {
                line += &format!("; '{key}' stands above the first [table]");
            }
            Err(PresetError::Invalid(line))
        }
    }
}

#[cfg(test)]
mod tests;
