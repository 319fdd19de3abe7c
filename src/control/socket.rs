//! The socket's place in the file system: made, replaced when nobody listens, removed at the end.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

/// What `sockaddr_un` holds, without the final zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// The control socket cannot be made; the text names the path and the remedy.
#[derive(Debug, Error)]
pub enum BindError {
    #[error(
        "the socket's path has {length} bytes, at most {LONGEST_PATH} are possible: {path}; \
         choose a shorter one with --socket", path = path.display()
    )]
    TooLong { path: PathBuf, length: usize },
    #[error(
        "a supervisor already listens on {path}; end it, or choose another path with --socket",
        path = path.display()
    )]
    Taken { path: PathBuf },
    #[error("{path} is there and no socket; remove it, or choose another path with --socket",
        path = path.display())]
    NoSocket { path: PathBuf },
    #[error("cannot listen on {path}: {error}; choose another path with --socket",
        path = path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// What stands where the socket is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    /// Nothing, or what a supervisor that was killed left behind.
    Free,
    /// A supervisor listens there.
    Taken,
}

/// Looks, and makes nothing.
pub fn socket_state(path: &Path) -> Result<SocketState, BindError> {
    check_length(path)?;
    match path.symlink_metadata() {
        Ok(there) if !there.file_type().is_socket() => Err(BindError::NoSocket {
            path: path.to_owned(),
        }),
        Ok(_) if UnixStream::connect(path).is_ok() => Ok(SocketState::Taken),
        _ => Ok(SocketState::Free),
    }
}

/// A listening socket file, removed when dropped if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Held while we live, so that two supervisors that start at once do not replace each other.
    _lock: Flock<File>,
}

/// Makes the socket. Everybody may connect: rights go by who connected, not by the file's mode.
pub fn bind(path: &Path) -> Result<(SocketFile, UnixListener), BindError> {
    check_length(path)?;
    let failed = |error| BindError::Io {
        path: path.to_owned(),
        error,
    };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .map_err(failed)?;
    }
    let lock = lock(path)?;
    clear(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    let identity = identity(path).map_err(failed)?;
    Ok((
        SocketFile {
            path: path.to_owned(),
            identity,
            _lock: lock,
        },
        listener,
    ))
}

fn check_length(path: &Path) -> Result<(), BindError> {
    match path.as_os_str().len() {
        0..=LONGEST_PATH => Ok(()),
        length => Err(BindError::TooLong {
            path: path.to_owned(),
            length,
        }),
    }
}

fn lock(path: &Path) -> Result<Flock<File>, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(name);
    let file = file.map_err(|error| BindError::Io {
        path: path.to_owned(),
        error,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| BindError::Taken {
        path: path.to_owned(),
    })
}

/// Removes a socket on which nobody listens.
fn clear(path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io {
        path: path.to_owned(),
        error,
    };
    let there = match path.symlink_metadata() {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        return Err(BindError::NoSocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Ok(_) => Err(BindError::Taken {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nothing can be done, and the next supervisor replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn a_socket_is_open_to_all_and_gone_at_the_end() {
        let dir = dir();
        let path = dir.path().join("deep/er/clockout.sock");
        let (file, _listener) = bind(&path).expect("bound");
        let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
        assert_eq!(mode(&path), 0o666);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = dir();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "std leaves it behind");
        assert_eq!(socket_state(&path).expect("stale"), SocketState::Free);
        let first = bind(&path).expect("replaced");
        assert_eq!(socket_state(&path).expect("alive"), SocketState::Taken);
        assert!(matches!(bind(&path), Err(BindError::Taken { .. })));
        drop(first);

        let _stranger = UnixListener::bind(&path).expect("bound");
        let error = bind(&path).expect_err("it is alive").to_string();
        assert!(error.contains("already listens"), "{error}");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = dir();
        let path = dir.path().join("s");
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(bind(&path), Err(BindError::NoSocket { .. })));
        assert!(matches!(
            socket_state(&path),
            Err(BindError::NoSocket { .. })
        ));
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }

    #[test]
    fn another_socket_in_our_place_is_not_removed() {
        let dir = dir();
        let path = dir.path().join("s");
        let (file, _listener) = bind(&path).expect("bound");
        // The other must not get the number of the removed one.
        std::fs::rename(&path, dir.path().join("aside")).expect("moved");
        let _other = UnixListener::bind(&path).expect("bound");
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_says_how_long() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        let error = bind(&path).expect_err("too long").to_string();
        assert!(error.contains("125 bytes, at most 107"), "{error}");
    }
}
