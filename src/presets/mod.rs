//! Presets: what clockout knows of each CI agent, one TOML file each.
//!
//! A built-in preset is one file beside this one and one line in [`BUILT_IN`]. A user's file
//! `/etc/clockout/presets/NAME.toml` (`CLOCKOUT_PRESETS_DIR` says another directory) wins over
//! the built-in of that name. The format is [`format`]; a preset that counts jobs by two lines of
//! a log:
//!
//! ```toml
//! match_program = ["my-agent"]
//! [detect.log]
//! start = 'job (?P<id>\d+) started'
//! finish = 'job (?P<id>\d+) ended'
//! [drain]
//! signal = "TERM"
//! ```

mod commands;
mod drain;
mod find;
mod format;
mod pattern;
mod program;
mod watch;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use commands::{list, show, test};
pub use drain::Step;
pub use format::{ChildDetector, HttpDetector, LogDetector, Origin, Page, Preset, Stream};
pub use pattern::{JsonFields, Pattern, Pointer};
pub use watch::{Detector, Watch};

use crate::toml_error;

/// In the order of `preset list`; `generic` is what is left.
const BUILT_IN: &[(&str, &str)] = &[
    ("buildkite", include_str!("buildkite.toml")),
    (GENERIC, include_str!("generic.toml")),
];

const GENERIC: &str = "generic";
/// The lifecycle keeps a bit a detector; no agent needs a tenth of them.
const MOST_DETECTORS: usize = 32;
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
    #[error("{0}")]
    Invalid(String),
}

/// The preset of this name.
pub fn load(name: &str) -> Result<Preset, PresetError> {
    Library::open()?.load(name)
}

/// The preset for an agent by its program's base name: the first that says it matches, the
/// user's own before the built-in ones, else `generic`.
pub fn for_program(program: &OsStr) -> Result<Preset, PresetError> {
    Library::open()?.for_program(program)
}

impl Preset {
    /// Jobs that one process of this agent runs at a time, where its arguments or environment
    /// say so.
    pub fn slots(&self, argv: &[OsString]) -> Option<u32> {
        self.with_command(argv, |command| self.slots.slots(command))
    }

    /// What is assumed when nothing says; at least 1.
    pub fn default_slots(&self) -> u32 {
        self.slots.default.map_or(1, |slots| slots.0)
    }
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
        let path = self.dir.join(format!("{name}.toml"));
        let text = std::fs::read(&path).map_err(|error| PresetError::Unreadable {
            path: path.clone(),
            error,
        })?;
        let text = String::from_utf8(text).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + memchr::memchr_iter(b'\n', good).count();
            let path = path.display();
            PresetError::Invalid(format!("{path}:{line}: not UTF-8, save the file as UTF-8"))
        })?;
        parse(name, Origin::File(path), text)
    }

    fn for_program(&self, program: &OsStr) -> Result<Preset, PresetError> {
        let program = find::base_name(program);
        let built_in = BUILT_IN.iter();
        let built_in = built_in.filter(|(_, text)| program::may_match(text, program));
        let built_in = built_in.map(|(name, _)| *name);
        for name in self.own.iter().map(String::as_str).chain(built_in) {
            let preset = self.load(name)?;
            if preset.matches(program) {
                return Ok(preset);
            }
        }
        self.load(GENERIC)
    }
}

fn parse(name: &str, origin: Origin, text: String) -> Result<Preset, PresetError> {
    match toml::from_str::<Preset>(&text) {
        Ok(preset) if preset.detect.log.len() + preset.detect.http.len() > MOST_DETECTORS => {
            Err(PresetError::Invalid(format!(
                "preset {name} ({origin}) has more than {MOST_DETECTORS} detectors"
            )))
        }
        Ok(mut preset) => {
            preset.name = name.to_owned();
            preset.origin = origin;
            preset.text = text;
            Ok(preset)
        }
        Err(error) => {
            let path = match &origin {
                Origin::BuiltIn => format!("built-in preset {name}"),
                Origin::File(path) => path.display().to_string(),
            };
            Err(PresetError::Invalid(toml_error::explain(
                &path, &text, &error,
            )))
        }
    }
}

#[cfg(test)]
mod tests;
