//! Which preset an agent's command line asks for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use regex::bytes::Regex;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::container::ContainerRun;
use super::format::Preset;
use super::pattern::compile;
use super::view::World;

/// A name, as a regex over all of it.
#[derive(Debug, Clone)]
pub struct WholeName(Regex);

impl<'de> Deserialize<'de> for WholeName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        // Compiled alone first: the error then shows what the file says.
        compile(&text).map_err(Error::custom)?;
        compile(&format!("^(?:{text})$"))
            .map(WholeName)
            .map_err(Error::custom)
    }
}

/// A command line for which a preset is wanted.
pub struct Wanted<'a> {
    argv: &'a [OsString],
    container: Option<ContainerRun>,
    world: &'a World,
}

/// Why a preset was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    Program(String),
    Image(String),
    /// No preset knows it.
    Unknown,
}

impl<'a> Wanted<'a> {
    pub fn new(argv: &'a [OsString], world: &'a World) -> Wanted<'a> {
        Wanted {
            argv,
            container: ContainerRun::parse(argv),
            world,
        }
    }

    /// The program's base name; in a container that of the program named after the image.
    pub fn program(&self) -> Option<&'a [u8]> {
        self.command().first().map(|program| base_name(program))
    }

    pub fn image(&self) -> Option<&[u8]> {
        self.container.as_ref().map(|run| run.name.as_slice())
    }

    fn command(&self) -> &'a [OsString] {
        match &self.container {
            None => self.argv,
            Some(run) => &self.argv[run.image + 1..],
        }
    }
}

impl Preset {
    /// Whether this preset is for that agent, and why.
    pub fn matches(&self, wanted: &Wanted) -> Option<Chosen> {
        if let Some(image) = wanted.image()
            && self.match_image.iter().any(|name| name.0.is_match(image))
        {
            return Some(Chosen::Image(shown(image)));
        }
        let (program, args) = wanted.command().split_first()?;
        let name = base_name(program);
        let has_name = self.names(name);
        let has_args = self.match_args.as_ref().is_none_or(|regex| {
            let mut args = args.iter();
            args.any(|arg| regex.is_match(arg.as_bytes()))
        });
        (has_name && has_args && self.is_beside(program, wanted))
            .then(|| Chosen::Program(shown(name)))
    }

    /// Whether `match_program` has this name.
    pub(super) fn names(&self, program: &[u8]) -> bool {
        let mut names = self.match_program.iter();
        names.any(|name| name.0.is_match(program))
    }

    fn is_beside(&self, program: &OsStr, wanted: &Wanted) -> bool {
        if self.match_beside.is_empty() {
            return true;
        }
        // What is beside a program in a container is not to be seen from here.
        if wanted.container.is_some() {
            return false;
        }
        let dir = wanted.world.directory_of(program);
        let mut beside = self.match_beside.iter();
        dir.is_some_and(|dir| beside.any(|file| dir.join(file).exists()))
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chosen::Program(name) => write!(f, "the program is {name}"),
            Chosen::Image(name) => write!(f, "the image is {name}"),
            Chosen::Unknown => f.write_str("no preset knows this agent"),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

/// The base name of a program, for matching.
pub fn base_name(program: &OsStr) -> &[u8] {
    let bytes = program.as_bytes();
    let start = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(argv: &[&str]) -> Vec<OsString> {
        argv.iter().map(OsString::from).collect()
    }

    fn chosen(preset: &str, argv: &[&str]) -> Option<Chosen> {
        let preset: Preset = toml::from_str(preset).expect("good");
        let world = World::default();
        preset.matches(&Wanted::new(&words(argv), &world))
    }

    #[test]
    fn a_base_name_is_what_follows_the_last_slash() {
        assert_eq!(base_name(OsStr::new("/usr/bin/agent")), b"agent");
        assert_eq!(base_name(OsStr::new("agent")), b"agent");
    }

    #[test]
    fn all_that_is_given_must_match() {
        let java = "match_program = ['java']\nmatch_args = 'agent\\.jar$'";
        let program = || Some(Chosen::Program("java".to_owned()));
        assert_eq!(
            chosen(java, &["/usr/bin/java", "-jar", "/x/agent.jar"]),
            program()
        );
        assert_eq!(chosen(java, &["java", "-jar", "other.jar"]), None);
        assert_eq!(chosen(java, &["agent.jar"]), None);
        assert_eq!(chosen("summary = 'for nobody'", &["java"]), None);
    }

    #[test]
    fn a_file_beside_the_program_tells_run_sh_from_run_sh() {
        let dir = tempfile::tempdir().expect("a directory");
        let one = "match_program = ['run\\.sh']\nmatch_beside = 'bin/Agent.Listener'";
        let list = "match_program = ['run\\.sh']\nmatch_beside = ['none', 'bin/Agent.Listener']";
        let program = dir.path().join("run.sh").display().to_string();
        assert_eq!(chosen(one, &[&program]), None);
        std::fs::create_dir(dir.path().join("bin")).expect("made");
        std::fs::write(dir.path().join("bin/Agent.Listener"), "").expect("written");
        let found = Some(Chosen::Program("run.sh".to_owned()));
        assert_eq!(chosen(one, &[&program]), found);
        assert_eq!(chosen(list, &[&program]), found);
        assert_eq!(chosen(one, &["docker", "run", "x", &program]), None);
    }

    #[test]
    fn in_a_container_the_image_decides_or_the_program_after_it() {
        let preset = "match_program = ['drone-agent']\nmatch_image = ['drone/agent']";
        let image = || Some(Chosen::Image("drone/agent".to_owned()));
        let program = || Some(Chosen::Program("drone-agent".to_owned()));
        for (argv, expected) in [
            (
                vec!["docker", "run", "-e", "A=b", "drone/agent:0.8"],
                image(),
            ),
            (
                vec!["podman", "run", "alpine", "/bin/drone-agent", "x"],
                program(),
            ),
            (vec!["docker", "run", "alpine", "sh", "drone-agent"], None),
            (vec!["docker", "pull", "drone/agent"], None),
            (vec!["drone/agent"], None),
        ] {
            assert_eq!(chosen(preset, &argv), expected, "{argv:?}");
        }
    }
}
