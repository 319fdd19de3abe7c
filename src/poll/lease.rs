//! One of several pollers acts: the one that holds the lock on a file.
//!
//! The kernel gives the lock back when its holder ends, however that happens. The file may be on
//! any file system that all of them share and that keeps flock(2) between them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{info, warn};

/// Between two tries. A holder that ends is followed within this time.
const AGAIN: Duration = Duration::from_secs(1);

/// The right to launch.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    held: Option<File>,
}

/// What one try came to.
#[derive(Debug, PartialEq, Eq)]
enum Try {
    Held,
    /// Somebody else has it, who wrote this into it.
    Taken(String),
}

impl Lease {
    /// By the lock on this file, which is made where it is missing. Takes nothing yet.
    pub fn file(path: impl Into<PathBuf>) -> Lease {
        Lease {
            path: path.into(),
            held: None,
        }
    }

    /// Resolves when it is held. What is in the way is logged once, and tried again: a directory
    /// may be mounted later. May be dropped and called again.
    pub async fn acquire(&mut self) {
        let mut told = String::new();
        while !self.still_held() {
            let obstacle = match self.try_acquire() {
                Ok(Try::Held) => break,
                Ok(Try::Taken(holder)) => format!("held by {holder}"),
                Err(error) => error.to_string(),
            };
            if obstacle != told {
                warn!(lease = %self.path.display(), obstacle, "poll.lease_waiting");
                told = obstacle;
            }
            tokio::time::sleep(AGAIN).await;
        }
        info!(lease = %self.path.display(), "poll.lease_held");
    }

    /// To be asked before each launch: a file that was removed, or replaced, is a lock that
    /// somebody else can hold as well.
    pub fn still_held(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|file| is_at(file, &self.path).unwrap_or(false))
    }

    fn try_acquire(&mut self) -> io::Result<Try> {
        // One that is no good any more must not lock its successor out.
        self.held = None;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            // Who may write to the directory of the link must not choose what we lock.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for people: it may be being written.
                let _ = (&file).take(256).read_to_string(&mut holder);
                let holder = holder.trim();
                let unnamed = "somebody who did not say who it is";
                return Ok(Try::Taken(
                    if holder.is_empty() { unnamed } else { holder }.to_owned(),
                ));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        if !is_at(&file, &self.path)? {
            return Err(io::Error::other("the file was replaced just now"));
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        file.set_len(0)?;
        writeln!(file, "process {} on {}", std::process::id(), host.trim())?;
        self.held = Some(file);
        Ok(Try::Held)
    }
}

/// Whether the open file is the one that has this name now. A link is not what it points to.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, there) = (file.metadata()?, path.symlink_metadata()?);
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lease");
        (dir, path)
    }

    #[tokio::test]
    async fn the_second_gets_it_when_the_first_lets_go() {
        let (_dir, path) = file();
        let mut first = Lease::file(&path);
        first.acquire().await;
        assert!(first.still_held());
        let mut second = Lease::file(&path);
        let mut waiting = Box::pin(second.acquire());
        let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(early.is_err());
        drop(first);
        waiting.as_mut().await;
        drop(waiting);
        assert!(second.still_held());
    }

    #[test]
    fn who_waits_is_told_who_holds_it() {
        let (_dir, path) = file();
        let mut first = Lease::file(&path);
        assert_eq!(first.try_acquire().expect("free"), Try::Held);
        let Ok(Try::Taken(holder)) = Lease::file(&path).try_acquire() else {
            panic!("it is taken");
        };
        let process = format!("process {} on ", std::process::id());
        assert!(holder.starts_with(&process), "{holder}");
    }

    #[test]
    fn death_lets_go() {
        let (_dir, path) = file();
        let mut holder = Command::new("flock")
            // `cat` does not have the lock, and ends with its input.
            .args(["--close", "--exclusive"])
            .arg(&path)
            .args(["sh", "-c", "echo locked; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut word = [0; 7];
        let mut said = holder.stdout.take().expect("piped");
        said.read_exact(&mut word).expect("it holds the lock");
        let mut lease = Lease::file(&path);
        assert!(matches!(lease.try_acquire(), Ok(Try::Taken(_))));
        holder.kill().expect("it runs");
        holder.wait().expect("it was killed");
        assert_eq!(lease.try_acquire().expect("free"), Try::Held);
    }

    #[tokio::test]
    async fn a_removed_or_replaced_file_is_no_lease() {
        let (_dir, path) = file();
        let mut lease = Lease::file(&path);
        for spoil in [
            (|path: &Path| std::fs::remove_file(path)) as fn(&Path) -> io::Result<()>,
            |path| {
                std::fs::rename(path, path.with_extension("old"))?;
                std::fs::write(path, "another")
            },
            |path| {
                std::fs::rename(path, path.with_extension("old"))?;
                std::os::unix::fs::symlink(path.with_extension("old"), path)
            },
        ] {
            let _ = std::fs::remove_file(&path);
            lease.acquire().await;
            assert!(lease.still_held());
            spoil(&path).expect("spoilt");
            assert!(!lease.still_held());
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let (dir, path) = file();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        assert!(Lease::file(&path).try_acquire().is_err());
        assert!(!target.exists());
    }
}
