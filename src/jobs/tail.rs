//! A log file that an agent writes, followed through rotation.
//!
//! Looks only when asked to, reads only regular files, and takes no more than a chunk of memory
//! whatever is in them: the file is the agent's user's, who may put anything in its place.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const CHUNK: usize = 64 * 1024;

/// How far a file was read. By what it is, not by its name, which passes on in a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    device: u64,
    inode: u64,
    /// The byte after the last whole line that was read.
    offset: u64,
}

/// The reader of one file.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    current: Option<Current>,
    buffer: Vec<u8>,
    /// The file at the path is another one, and everything has been read of the one that is open.
    leaving: bool,
}

#[derive(Debug)]
struct Current {
    file: File,
    /// Up to here it has been read.
    read: u64,
    mark: Mark,
}

impl Tail {
    /// From the end as it is now: what is there already is of an earlier process. A file that
    /// appears later is read from its beginning.
    pub fn from_end(path: &Path) -> Tail {
        let mut tail = Tail::new(path);
        if let Ok((file, meta)) = open(path) {
            tail.current = Some(Current::at(file, &meta, meta.len()));
        }
        tail
    }

    /// From where an earlier reader was; `None`, where it had found no file yet.
    pub fn from_mark(path: &Path, mark: Option<Mark>) -> Tail {
        let mut tail = Tail::new(path);
        if let (Ok((file, meta)), Some(mark)) = (open(path), mark) {
            // Another or a shorter file has been begun since.
            let goes_on = mark.names(&meta) && mark.offset <= meta.len();
            let from = if goes_on { mark.offset } else { 0 };
            tail.current = Some(Current::at(file, &meta, from));
        }
        tail
    }

    fn new(path: &Path) -> Tail {
        Tail {
            path: path.to_owned(),
            current: None,
            buffer: Vec::new(),
            leaving: false,
        }
    }

    /// How far it has read; `None` before the file appeared.
    pub fn mark(&self) -> Option<Mark> {
        self.current.as_ref().map(|current| current.mark)
    }

    /// Shows what has been written since the last time: whole lines one by one, and parts of
    /// lines as they come, each with how far whole lines have been read after it.
    ///
    /// Stays with a file that was renamed until nothing more was written to it from one call to
    /// the next, because a writer may need a moment to open the new one. `last`: the writer has
    /// ended, so there is no such moment.
    ///
    /// An error is of this call only: the next one looks again. An absent file is none.
    pub fn read(&mut self, last: bool, mut show: impl FnMut(&[u8], Mark)) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; CHUNK];
        }
        if let Some(current) = &mut self.current {
            let grown = current.read(&mut self.buffer, &mut show)?;
            let stays = match fs::metadata(&self.path) {
                Ok(now) => current.mark.names(&now),
                // Renamed, and its successor is still to come.
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            };
            let wait = !last && (grown || !self.leaving);
            self.leaving = !stays;
            if stays || wait {
                return Ok(());
            }
            current.finish_line(&mut show);
        }
        match open(&self.path) {
            Ok((file, meta)) => {
                self.leaving = false;
                let current = self.current.insert(Current::at(file, &meta, 0));
                current.read(&mut self.buffer, &mut show).map(drop)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Current {
    fn at(file: File, meta: &Metadata, offset: u64) -> Current {
        Current {
            file,
            read: offset,
            mark: Mark {
                device: meta.dev(),
                inode: meta.ino(),
                offset,
            },
        }
    }

    /// Reads to the end that the file has now, in case it grows all the time. Whether there was
    /// anything.
    fn read(&mut self, buffer: &mut [u8], show: &mut impl FnMut(&[u8], Mark)) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length < self.read {
            // Truncated, to be written anew.
            self.finish_line(show);
            (self.read, self.mark.offset) = (0, 0);
        }
        self.file.seek(SeekFrom::Start(self.read))?;
        let before = self.read;
        while self.read < length {
            let wanted = usize::try_from(length - self.read).unwrap_or(CHUNK);
            let wanted = wanted.min(buffer.len());
            let got = match self.file.read(&mut buffer[..wanted]) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for piece in buffer[..got].split_inclusive(|byte| *byte == b'\n') {
                self.read += piece.len() as u64;
                if piece.ends_with(b"\n") {
                    self.mark.offset = self.read;
                }
                show(piece, self.mark);
            }
        }
        Ok(self.read > before)
    }

    /// Ends a line that will not be written to its end, lest it begin another file's first.
    fn finish_line(&mut self, show: &mut impl FnMut(&[u8], Mark)) {
        if self.mark.offset < self.read {
            self.mark.offset = self.read;
            show(b"\n", self.mark);
        }
    }
}

impl Mark {
    fn names(&self, file: &Metadata) -> bool {
        (self.device, self.inode) == (file.dev(), file.ino())
    }
}

/// Without waiting for whoever might be at the other end of something else than a file.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() {
        Ok((file, meta))
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
