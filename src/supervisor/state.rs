//! Where a supervisor that was killed goes on: one small file, replaced as a whole.
//!
//! Losing it costs no job and no machine, only what was counted; so a full disk or a damaged
//! file is worked around with a warning.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::jobs::{Mark, OpenStep};
use crate::lifecycle::{AgentIndex, Lifecycle, Phase, Reason};

const VERSION: u32 = 1;
/// Ours are a few kilobytes. A larger one is not ours.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Stored<L> {
    version: u32,
    boot_id: String,
    /// The instance it was written on, once that is known.
    instance: Option<String>,
    processes: Vec<Process>,
    life: L,
}

/// An agent process, told from a later one with the same pid by when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub agent: AgentIndex,
    pub pid: i32,
    /// Clock ticks after boot, `/proc/PID/stat` field 22.
    pub start_time: u64,
    /// The agent's own helpers, by pid and start time: they are no jobs.
    pub own: Vec<(i32, u64)>,
    /// Steps of jobs that it was seen to begin, by the detectors that see steps.
    #[serde(default)]
    pub steps: Vec<Vec<OpenStep>>,
    /// How far its log files have been read; `None` for one that was not there yet.
    #[serde(default)]
    pub read: Vec<Option<Mark>>,
    /// The port that it was given.
    #[serde(default)]
    pub port: Option<u16>,
    /// The name of the file with its container's id.
    #[serde(default)]
    pub cidfile: Option<String>,
}

/// What an earlier supervisor left.
pub enum Found {
    Nothing,
    /// It was killed, on this boot.
    Interrupted(Box<Lifecycle>, Vec<Process>),
    /// The machine was restarted while it was leaving.
    OtherBoot {
        instance: String,
        reason: Reason,
    },
}

/// The file of one supervisor.
pub struct StateFile {
    path: PathBuf,
    boot_id: String,
    /// The last write failed, and was complained about.
    failing: bool,
}

impl StateFile {
    pub fn new(dir: &Path) -> StateFile {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        if let Err(error) = made {
            warn!(dir = %dir.display(), %error, "state.unwritable");
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        StateFile {
            path: dir.join("state.json"),
            boot_id: boot_id.trim().to_owned(),
            failing: false,
        }
    }

    /// Reads what an earlier supervisor left. Whatever cannot be used is put aside.
    pub fn load(&self) -> Found {
        let Some(text) = self.read() else {
            return Found::Nothing;
        };
        let stored: Stored<Lifecycle> = match serde_json::from_slice(&text) {
            Ok(stored) => stored,
            Err(error) => {
                self.put_aside(&error);
                return Found::Nothing;
            }
        };
        if stored.version != VERSION {
            self.put_aside(&format!("version {} is not {VERSION}", stored.version));
            return Found::Nothing;
        }
        if stored.boot_id == self.boot_id {
            return Found::Interrupted(Box::new(stored.life), stored.processes);
        }
        info!(path = %self.path.display(), "state.other_boot");
        match (stored.life.phase(), stored.instance) {
            (Phase::Sweeping { reason, .. } | Phase::Retiring { reason, .. }, Some(instance)) => {
                Found::OtherBoot { instance, reason }
            }
            _ => Found::Nothing,
        }
    }

    fn read(&self) -> Option<Vec<u8>> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(path = %self.path.display(), %error, "state.unreadable");
                return None;
            }
        };
        // Who can write it can have us signal any process: believe only our own.
        let ours = file.metadata().is_ok_and(|meta| {
            meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0
        });
        if !ours {
            self.put_aside(&"somebody else can write it");
            return None;
        }
        let mut text = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut text);
        match read {
            Ok(_) if text.len() as u64 > LARGEST => {
                self.put_aside(&format!("larger than {LARGEST} bytes"));
                None
            }
            Ok(_) => Some(text),
            Err(error) => {
                self.put_aside(&error);
                None
            }
        }
    }

    fn put_aside(&self, why: &dyn std::fmt::Display) {
        let aside = self.path.with_extension("json.bad");
        warn!(path = %self.path.display(), error = %why, aside = %aside.display(), "state.ignored");
        let _ = fs::rename(&self.path, aside);
    }

    /// Stores this state. A failure is logged once an episode and changes nothing else.
    pub fn save(&mut self, life: &Lifecycle, processes: Vec<Process>, instance: Option<&str>) {
        let stored = Stored {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            instance: instance.map(str::to_owned),
            processes,
            life,
        };
        match (self.write(&stored), self.failing) {
            (Ok(()), true) => {
                self.failing = false;
                info!(path = %self.path.display(), "state.writable_again");
            }
            (Err(error), false) => {
                self.failing = true;
                warn!(path = %self.path.display(), %error, "state.unwritable");
            }
            _ => {}
        }
    }

    /// Against a killed supervisor a rename is enough; nothing here must survive a power cut.
    fn write(&self, stored: &Stored<&Lifecycle>) -> std::io::Result<()> {
        let text = serde_json::to_vec(stored)?;
        let new = self.path.with_extension("json.new");
        let mut options = fs::OpenOptions::new();
        let options = options.create(true).write(true).truncate(true).mode(0o600);
        options.open(&new)?.write_all(&text)?;
        fs::rename(&new, &self.path)
    }

    /// A life that ended without ending the machine leaves nothing behind.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
