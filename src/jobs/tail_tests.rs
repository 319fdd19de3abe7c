use std::io::Write;

use tempfile::TempDir;

use super::*;

/// A log in a directory of its own, and what was seen of it.
struct Log {
    dir: TempDir,
    tail: Tail,
    seen: Vec<u8>,
}

impl Log {
    fn new(before: Option<&str>) -> Log {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        if let Some(before) = before {
            fs::write(&path, before).expect("written");
        }
        Log {
            tail: Tail::from_end(&path),
            dir,
            seen: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn write(&self, text: &str) {
        append(&self.path(), text);
    }

    fn look(&mut self) -> &str {
        self.look_once(false)
    }

    fn look_once(&mut self, last: bool) -> &str {
        self.seen.clear();
        let seen = &mut self.seen;
        let read = self
            .tail
            .read(last, |piece, _| seen.extend_from_slice(piece));
        read.expect("readable");
        std::str::from_utf8(&self.seen).expect("text")
    }

    fn rotate(&self) {
        let old = self.dir.path().join("log.1");
        fs::rename(self.path(), old).expect("renamed");
    }

    fn reopen(&mut self, mark: Option<Mark>) {
        self.tail = Tail::from_mark(&self.path(), mark);
    }
}

fn append(path: &Path, text: &str) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let written = file.expect("opened").write_all(text.as_bytes());
    written.expect("written");
}

#[test]
fn only_what_is_written_from_now_on_is_seen() {
    let mut log = Log::new(Some("of an earlier process\n"));
    assert_eq!(log.look(), "");
    log.write("one\ntw");
    assert_eq!(log.look(), "one\ntw");
    log.write("o\n");
    assert_eq!(log.look(), "o\n");
    assert_eq!(log.look(), "");
}

#[test]
fn a_file_that_appears_later_is_seen_whole() {
    let mut log = Log::new(None);
    assert_eq!(log.look(), "");
    log.write("one\n");
    assert_eq!(log.look(), "one\n");
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut log = Log::new(Some(""));
    log.write("one\n");
    log.rotate();
    append(&log.dir.path().join("log.1"), "two\n");
    assert_eq!(log.look(), "one\ntwo\n");
    log.write("four\n");
    append(&log.dir.path().join("log.1"), "three\n");
    assert_eq!(log.look(), "three\n", "its writer still has the old one");
    assert_eq!(log.look(), "four\n");
    log.write("five\n");
    assert_eq!(log.look(), "five\n");
}

#[test]
fn when_the_writer_has_ended_both_files_are_read_at_once() {
    let mut log = Log::new(Some(""));
    log.write("one\ncut");
    log.rotate();
    log.write("two\n");
    assert_eq!(log.look_once(true), "one\ncut\ntwo\n");
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let mut log = Log::new(Some("old\n"));
    log.write("one\ncut");
    assert_eq!(log.look(), "one\ncut");
    fs::write(log.path(), "two\n").expect("written");
    assert_eq!(log.look(), "\ntwo\n", "the cut line is ended");
    log.write("three\n");
    assert_eq!(log.look(), "three\n");
}

#[test]
fn the_next_reader_goes_on_after_the_last_whole_line() {
    let mut log = Log::new(Some("old\n"));
    log.reopen(log.tail.mark());
    assert_eq!(log.look(), "");
    log.write("one\ntw");
    log.look();
    let mark = log.tail.mark();
    log.write("o\n");
    log.reopen(mark);
    assert_eq!(log.look(), "two\n");
}

#[test]
fn the_next_reader_begins_another_file_at_its_beginning() {
    let mut log = Log::new(Some("a long text of long ago\n"));
    let mark = log.tail.mark();
    fs::write(log.path(), "short\n").expect("truncated");
    log.reopen(mark);
    assert_eq!(log.look(), "short\n");

    let mark = log.tail.mark();
    log.rotate();
    log.write("the second\n");
    log.reopen(mark);
    assert_eq!(log.look(), "the second\n");

    log.reopen(None);
    assert_eq!(log.look(), "the second\n", "it was not there before");
}

#[test]
fn what_is_no_file_is_an_error_and_waits_for_nobody() {
    let mut log = Log::new(None);
    nix::unistd::mkfifo(&log.path(), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let error = log.tail.read(false, |_, _| panic!("nothing is there"));
    assert!(error.expect_err("refused").to_string().contains("regular"));
    fs::remove_file(log.path()).expect("removed");
    log.write("one\n");
    assert_eq!(log.look(), "one\n");
}

#[test]
fn a_line_of_any_length_comes_in_chunks() {
    let mut log = Log::new(None);
    let text = "x".repeat(10_000_000);
    log.write(&text);
    log.write("\nend\n");
    let mut longest = 0;
    let mut all = 0;
    let read = log.tail.read(false, |piece, _| {
        longest = longest.max(piece.len());
        all += piece.len();
    });
    read.expect("readable");
    assert_eq!(all, text.len() + "\nend\n".len());
    assert!(longest <= CHUNK);
}
