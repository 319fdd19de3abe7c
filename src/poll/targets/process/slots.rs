//! A group's directory on this machine:
//!
//! ```text
//! lock            who looks at the slots holds it shared, who fills one holds it alone
//! 1/lock          held by the instance in slot 1, and by whatever it started and left behind
//! 1/instance.json who that is, or was last
//! 1/socket        its control socket
//! 1/log           what it says; the one before it: log.old
//! 1/state, 1/work its state and its working directory
//! ```
//!
//! Locks are the kernel's, flock(2): no process that ended holds one, and no number in a file has
//! to be believed.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::poll::plan::Member;

/// How long another poller may take to start its instances.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(20);

pub struct GroupDir {
    path: PathBuf,
}

/// While it lives, nobody who asks for another kind of lock changes the slots.
pub struct GroupLock {
    dir: PathBuf,
    _file: File,
}

/// An instance that runs.
pub struct Occupied {
    /// The number of its slot.
    pub number: u32,
    pub member: Member,
    pub socket: PathBuf,
    /// Of the order that it was started for.
    pub token: String,
}

/// A free slot that is ours now. The instance inherits the lock.
pub struct Slot {
    pub number: u32,
    pub lock: File,
    dir: PathBuf,
    last: Option<Record>,
}

/// `instance.json`: for people and for repeated orders; who is there is told by the lock alone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    instance: String,
    /// Instances that this slot has had.
    generation: u64,
    /// Of the order that it was started for.
    token: String,
}

impl GroupDir {
    pub fn new(path: PathBuf) -> GroupDir {
        GroupDir { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To look; `None` while nobody has ever started an instance here. Makes no file.
    pub async fn lock_shared(&self) -> Result<Option<GroupLock>, String> {
        match OpenOptions::new().read(true).open(self.lock_path()) {
            Ok(file) => self.locked(file, File::try_lock_shared).await.map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.cannot_lock(&error)),
        }
    }

    /// To fill slots.
    pub async fn lock_exclusive(&self) -> Result<GroupLock, String> {
        let file = make_dir(&self.path).and_then(|()| lock_file(&self.lock_path()));
        let file = file.map_err(|error| self.cannot_lock(&error))?;
        self.locked(file, File::try_lock).await
    }

    async fn locked(
        &self,
        file: File,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<GroupLock, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            match lock(&file) {
                Ok(()) => {
                    return Ok(GroupLock {
                        dir: self.path.clone(),
                        _file: file,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(self.cannot_lock(&error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(format!(
                        "{} has been locked by another poller for {} s",
                        self.lock_path().display(),
                        PATIENCE.as_secs()
                    ));
                }
                Err(TryLockError::WouldBlock) => sleep(AGAIN).await,
            }
        }
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }

    fn cannot_lock(&self, error: &io::Error) -> String {
        format!("cannot lock {}: {error}", self.lock_path().display())
    }
}

impl GroupLock {
    /// The instances that run, by slot.
    pub fn occupied(&self) -> io::Result<Vec<Occupied>> {
        let mut occupied = Vec::new();
        for (number, dir) in self.slots()? {
            match OpenOptions::new().read(true).open(dir.join("lock")) {
                Ok(file) => match file.try_lock_shared() {
                    Ok(()) => continue,
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                },
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            let record = record(&dir).unwrap_or_else(|| Record {
                instance: dir.display().to_string(),
                ..Record::default()
            });
            occupied.push(Occupied {
                number,
                member: Member::new(record.instance),
                token: record.token,
                socket: dir.join("socket"),
            });
        }
        Ok(occupied)
    }

    /// Slot `number`, unless something runs in it. To be called with the lock for oneself.
    pub fn take(&self, number: u32) -> io::Result<Option<Slot>> {
        let dir = self.dir.join(number.to_string());
        make_dir(&dir)?;
        let lock = lock_file(&dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Slot {
                number,
                last: record(&dir),
                lock,
                dir,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn slots(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let mut slots = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            if let Some(number) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            {
                slots.push((number, entry.path()));
            }
        }
        slots.sort_unstable();
        Ok(slots)
    }
}

impl Slot {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the next instance in it is called: unlike any before it.
    pub fn next_member(&self, group: &str) -> Member {
        let (slot, generation) = (self.number, self.generation());
        Member::new(format!("{group}-{slot}-{generation}"))
    }

    /// To be told before the instance is started.
    pub fn write_record(&self, member: &Member, token: &str) -> io::Result<()> {
        let record = Record {
            instance: member.as_str().to_owned(),
            generation: self.generation(),
            token: token.to_owned(),
        };
        let (new, path) = (
            self.dir.join("instance.new"),
            self.dir.join("instance.json"),
        );
        std::fs::write(&new, serde_json::to_vec(&record)?)?;
        std::fs::rename(new, path)
    }

    fn generation(&self) -> u64 {
        self.last.as_ref().map_or(1, |last| last.generation + 1)
    }
}

fn record(dir: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(dir.join("instance.json")).ok()?).ok()
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
