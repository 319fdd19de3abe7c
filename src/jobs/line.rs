//! Chunks of bytes become lines of text, in bounded memory.

use memchr::{memchr, memrchr};

/// A longer line is skipped whole: no agent writes one about a job.
pub const LONGEST_LINE: usize = 16 * 1024;

/// Puts lines together that chunks cut. Only `\n` ends a line: an agent that mixes jobs' output
/// into its own would otherwise let a job begin a line with `\r`.
#[derive(Default)]
pub struct Splitter {
    /// The begun line, while it is not too long.
    begun: Vec<u8>,
    /// The begun line is too long; its rest is skipped.
    skipping: bool,
}

impl Splitter {
    /// Calls `block` with each run of whole lines, newlines included.
    pub fn feed(&mut self, mut bytes: &[u8], mut block: impl FnMut(&[u8])) {
        if self.skipping || !self.begun.is_empty() {
            let end = memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1);
            let (rest, further) = bytes.split_at(end);
            self.begin(rest);
            if rest.last() != Some(&b'\n') {
                return;
            }
            if !std::mem::take(&mut self.skipping) {
                block(&self.begun);
            }
            self.begun.clear();
            bytes = further;
        }
        let whole = memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
        let (lines, rest) = bytes.split_at(whole);
        if !lines.is_empty() {
            block(lines);
        }
        self.begin(rest);
    }

    fn begin(&mut self, part: &[u8]) {
        if self.skipping || self.begun.len() + part.len() > LONGEST_LINE {
            self.skipping = true;
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(part);
        }
    }
}

/// The lines of a block without their newlines, the too long ones left out.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', block);
    let all = ends.map(move |end| &block[std::mem::replace(&mut from, end + 1)..end]);
    all.filter(|line| line.len() < LONGEST_LINE)
}

/// The line without terminal escapes and trailing blanks; `buffer` is used when it has escapes.
pub fn plain<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    const ESCAPE: u8 = 0x1b;
    let Some(first) = memchr(ESCAPE, line) else {
        return line.trim_ascii_end();
    };
    buffer.clear();
    buffer.extend_from_slice(&line[..first]);
    let mut rest = &line[first..];
    while let Some((&byte, after)) = rest.split_first() {
        if byte == ESCAPE {
            rest = &after[escape_length(after)..];
        } else {
            buffer.push(byte);
            rest = after;
        }
    }
    buffer.trim_ascii_end()
}

/// The length of what follows an escape byte and belongs to it (ECMA-48): a control sequence
/// `[...m`, an operating system command `]...BEL`, or a byte.
fn escape_length(after: &[u8]) -> usize {
    let end = |is_end: fn(&u8) -> bool| after.iter().skip(1).position(is_end);
    match after.first() {
        None => 0,
        Some(b'[') => end(|byte| (0x40..=0x7e).contains(byte)).map_or(1, |end| end + 2),
        Some(b']') => end(|byte| matches!(byte, 0x07 | 0x1b)).map_or(1, |end| end + 2),
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |block| all.extend(lines(block).map(<[u8]>::to_vec)));
        }
        all
    }

    #[test]
    fn every_way_to_cut_a_text_gives_the_same_lines() {
        let text = b"one\n\ntwo and more\n\xff\x00\nlast";
        let expected: Vec<_> = [&b"one"[..], b"", b"two and more", b"\xff\x00"]
            .map(<[u8]>::to_vec)
            .into();
        for first in 0..text.len() {
            for second in first..text.len() {
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(split(&chunks), expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_line_of_a_gigabyte_is_skipped_and_costs_no_memory() {
        let mut splitter = Splitter::default();
        let chunk = vec![b'x'; 1 << 20];
        let mut seen = Vec::new();
        for _ in 0..1024 {
            splitter.feed(&chunk, |_| panic!("no line has ended"));
        }
        splitter.feed(b"end\nnext\n", |block| seen.extend_from_slice(block));
        assert_eq!(seen, b"next\n");
        assert!(splitter.begun.capacity() <= 2 * LONGEST_LINE);
    }

    #[test]
    fn a_long_line_inside_one_chunk_is_skipped_too() {
        let long = [&[b'x'; LONGEST_LINE][..], b"\nshort\n"].concat();
        assert_eq!(split(&[&long]), [b"short".to_vec()]);
    }

    #[test]
    fn colours_and_trailing_blanks_are_taken_off() {
        let table: [(&[u8], &[u8]); 8] = [
            (b"plain \t\r", b"plain"),
            (b"\x1b[38;5;48mINFO\x1b[0m  done \x1b[0m ", b"INFO  done"),
            (b"\x1b]0;title\x07text", b"text"),
            (b"a\x1bMb", b"ab"),
            (b"cut\x1b[3", b"cut3"),
            (b"cut\x1b", b"cut"),
            (b"\x1b]x", b"x"),
            (b"", b""),
        ];
        for (line, expected) in table {
            assert_eq!(plain(line, &mut Vec::new()), expected, "{line:?}");
        }
    }
}
