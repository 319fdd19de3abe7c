//! `clockout preset list|show`, and which preset a person means.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::{Library, Origin, Preset, PresetError};

/// A preset that a person names: one of those known, or a file, to try before it is installed.
pub fn named(name: &str) -> Result<Preset, PresetError> {
    let is_file = name.contains('/') || name.ends_with(".toml");
    if is_file {
        return super::load_file(Path::new(name));
    }
    super::load(name)
}

/// One line a preset: name, where it comes from if it is the user's own, what it is for.
pub fn list(out: &mut dyn Write) -> Result<()> {
    list_of(&Library::open()?, out)
}

fn list_of(library: &Library, out: &mut dyn Write) -> Result<()> {
    for name in library.names() {
        let preset = library.load(name)?;
        write!(out, "{name:16}{}", preset.summary)?;
        if preset.notes.experimental {
            write!(out, " (experimental)")?;
        }
        match &preset.origin {
            Origin::BuiltIn => writeln!(out)?,
            own => writeln!(out, " ({own})")?,
        }
    }
    Ok(())
}

/// A preset's file as it is, to read or to start one's own from.
pub fn show(name: &str, out: &mut dyn Write) -> Result<()> {
    let preset = named(name)?;
    out.write_all(preset.text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, "summary = 'mine'").expect("written");
        let preset = named(&path.display().to_string()).expect("read");
        assert_eq!(
            (preset.name.as_str(), preset.summary.as_str()),
            ("mine", "mine")
        );
        let error = named("./absent.toml").expect_err("absent").to_string();
        assert!(
            error.starts_with("cannot read the preset ./absent.toml: "),
            "{error}"
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
