//! One agent as a preset sees it: its own arguments, environment and configuration file, also
//! where they stand inside a container client's command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::debug;

use super::container::ContainerRun;
use super::format::ConfigFile;
use super::launch::Seat;
use super::template::{Place, Wanted};
use crate::lifecycle::AgentIndex;

/// A configuration file that is longer is none.
const LONGEST_CONFIG: u64 = 1024 * 1024;

/// What presets may know of our own process; a value, so that tests need not be in the right one.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub variables: BTreeMap<OsString, OsString>,
    /// Our own program.
    pub clockout: Option<PathBuf>,
    /// What relative paths are relative to: the agent is started in it.
    pub cwd: PathBuf,
}

impl World {
    /// The world as it is.
    pub fn here() -> World {
        World {
            variables: std::env::vars_os().collect(),
            clockout: std::env::current_exe().ok(),
            cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        }
    }

    /// The path as seen from anywhere.
    pub fn absolute(&self, path: &OsStr) -> PathBuf {
        let path = Path::new(path);
        self.cwd.join(path.strip_prefix(".").unwrap_or(path))
    }

    /// The directory of a program, found as exec would find it.
    pub fn directory_of(&self, program: &OsStr) -> Option<PathBuf> {
        if program.as_encoded_bytes().contains(&b'/') {
            return self.absolute(program).parent().map(Path::to_owned);
        }
        let path = self.variables.get(OsStr::new("PATH"))?;
        std::env::split_paths(path)
            .map(|dir| self.absolute(dir.as_os_str()))
            .find(|dir| dir.join(program).is_file())
    }
}

/// One agent process, as far as presets look at it.
#[derive(Debug, Clone)]
pub struct View {
    /// The agent's program and arguments; in a container its image and what follows it, from
    /// the program on where one is named there.
    pub argv: Vec<OsString>,
    /// Variables that it is given beside those that it inherits.
    given: BTreeMap<OsString, OsString>,
    /// Of a container's environment only what the client's command line says is known.
    inherits: bool,
    world: Arc<World>,
    index: AgentIndex,
    /// `None`: not chosen yet. It is then shown as it is written.
    pub port: Option<u16>,
    dir: Option<PathBuf>,
    config: Option<Config>,
}

/// The agent's configuration file.
#[derive(Debug, Clone)]
struct Config {
    path: PathBuf,
    /// Or why it cannot be read; `None` in a container, where it is not ours to read.
    text: Option<Result<Arc<[u8]>, String>>,
}

impl View {
    /// Of an agent on this machine.
    pub fn on_host(world: Arc<World>, argv: Vec<OsString>, seat: &Seat) -> View {
        let dir = argv.first().and_then(|program| world.directory_of(program));
        View {
            inherits: true,
            dir,
            ..View::new(world, argv, seat)
        }
    }

    /// Of an agent in a container; `argv` is its own.
    pub fn in_container(
        world: Arc<World>,
        run: &ContainerRun,
        argv: Vec<OsString>,
        seat: &Seat,
    ) -> View {
        View {
            given: run.variables(&world),
            ..View::new(world, argv, seat)
        }
    }

    fn new(world: Arc<World>, argv: Vec<OsString>, seat: &Seat) -> View {
        View {
            argv,
            given: BTreeMap::new(),
            inherits: false,
            world,
            index: seat.index,
            port: seat.port,
            dir: None,
            config: None,
        }
    }

    /// A variable of the agent's environment.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let name = OsStr::new(name);
        let inherited = || {
            let kept = self.inherits && !crate::agent::is_private(name);
            self.world.variables.get(name).filter(|_| kept)
        };
        self.given.get(name).or_else(inherited).cloned()
    }

    /// It is given this variable, over what it has.
    pub fn give(&mut self, name: &OsStr, value: &OsStr) {
        self.given.insert(name.to_owned(), value.to_owned());
    }

    /// What stands in a placeholder for this agent.
    pub fn place(&self, wanted: Wanted<'_>) -> Option<OsString> {
        let place = match wanted {
            Wanted::Variable(name) => {
                let value = self.world.variables.get(OsStr::new(name));
                return value.filter(|value| !value.is_empty()).cloned();
            }
            Wanted::Place(place) => place,
        };
        match place {
            Place::Index => Some(self.index.to_string().into()),
            Place::Port => Some(match self.port {
                Some(port) => port.to_string().into(),
                None => place.written().into(),
            }),
            // What runs in a container does not find it there.
            Place::Clockout => {
                let path = self.world.clockout.as_ref().filter(|_| self.inherits)?;
                Some(path.clone().into_os_string())
            }
            Place::Dir => self.dir.clone().map(PathBuf::into_os_string),
            Place::Config => Some(self.config_path()?.as_os_str().to_owned()),
            Place::ConfigDir => Some(self.config_path()?.parent()?.as_os_str().to_owned()),
            // Of a running process only.
            Place::Pid => None,
        }
    }

    /// Finds and reads the agent's configuration file, as the preset says.
    pub fn find_config(&mut self, spec: &ConfigFile) {
        let told = spec.from.iter().find_map(|source| source.told(self));
        let default = || {
            let template = spec.default.as_ref()?;
            template.fill(&|wanted| self.place(wanted)).ok()
        };
        self.config = told.or_else(default).map(|mut path| {
            if let Some(append) = &spec.append {
                path.push(append);
            }
            let path = self.world.absolute(&path);
            let text = self
                .inherits
                .then(|| read_bounded(&path, LONGEST_CONFIG).map(Arc::from));
            if let Some(Err(error)) = &text {
                debug!(path = %path.display(), %error, "preset.config-unread");
            }
            Config { path, text }
        });
    }

    pub fn config_path(&self) -> Option<&Path> {
        self.config.as_ref().map(|config| config.path.as_path())
    }

    /// The configuration file, where there is one that can be read.
    pub fn config_text(&self) -> Option<&[u8]> {
        self.config.as_ref()?.text.as_ref()?.as_deref().ok()
    }

    /// Why the configuration file that there should be cannot be read.
    pub fn config_error(&self) -> Option<&str> {
        let text = self.config.as_ref()?.text.as_ref()?;
        text.as_ref().err().map(String::as_str)
    }

    /// The agent runs on this machine, in sight.
    pub fn is_on_host(&self) -> bool {
        self.inherits
    }
}

/// A file that somebody names. It may be anything: neither a pipe nor an endless file holds us up.
pub fn read_bounded(path: &Path, longest: u64) -> Result<Vec<u8>, String> {
    let text = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(text)?;
    if !file.metadata().map_err(text)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(longest + 1)
        .read_to_end(&mut bytes)
        .map_err(text)?;
    if bytes.len() as u64 > longest {
        return Err(format!("it is longer than {longest} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
impl View {
    /// Of an agent that has these variables and no others.
    pub fn of(argv: &[OsString], variables: &[(&str, &str)]) -> View {
        let variables = variables.iter();
        let world = World {
            variables: variables.map(|(k, v)| (k.into(), v.into())).collect(),
            clockout: Some("/usr/bin/clockout".into()),
            cwd: "/work".into(),
        };
        View::on_host(Arc::new(world), argv.to_vec(), &Seat::default())
    }
}
