//! Where one record ends and the next begins.
//!
//! A record is a line, or a few lines where a server writes one event as a block. The reader's offset
//! always stands at a record's end, so a block needs no memory between two looks at a file: a half
//! block is simply not consumed yet.

/// The longest block, in lines; what claims to be longer is read line by line instead.
pub const BLOCK_LINES: usize = 64;

/// What a look at the front of a buffer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first `n` bytes are a record, its newline included.
    Record(usize),
    /// The record is not whole yet.
    Incomplete,
}

/// One line: up to and including the first newline.
pub fn line(buffer: &[u8]) -> Frame {
    match memchr::memchr(b'\n', buffer) {
        Some(at) => Frame::Record(at + 1),
        None => Frame::Incomplete,
    }
}

/// The record without its line end (`\n` or `\r\n`).
pub fn trim_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// A block that starts with the buffer's first line: all lines that `belongs` accepts, up to and
/// including the one that `ends` accepts. Falls back to the first line alone when a line does not
/// belong or the block grows beyond [`BLOCK_LINES`].
pub fn block(buffer: &[u8], belongs: fn(&[u8]) -> bool, ends: fn(&[u8]) -> bool) -> Frame {
    let Frame::Record(first) = line(buffer) else { return Frame::Incomplete };
    let mut end = first;
    for _ in 1..BLOCK_LINES {
        let rest = buffer.get(end..).unwrap_or_default();
        let Frame::Record(length) = line(rest) else { return Frame::Incomplete };
        let text = trim_end(rest.get(..length).unwrap_or_default());
        end += length;
        if ends(text) {
            return Frame::Record(end);
        }
        if !belongs(text) {
            break;
        }
    }
    Frame::Record(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indented(line: &[u8]) -> bool {
        line.starts_with(b" ")
    }

    fn brace(line: &[u8]) -> bool {
        line == b"}"
    }

    #[test]
    fn a_block_waits_for_its_last_line() {
        assert_eq!(Frame::Incomplete, block(b"{\n a\n", indented, brace));
        assert_eq!(Frame::Incomplete, block(b"{\n a\n}", indented, brace));
        assert_eq!(Frame::Record(7), block(b"{\n a\n}\nnext\n", indented, brace));
    }

    #[test]
    fn a_line_that_does_not_belong_frees_the_first_one() {
        assert_eq!(Frame::Record(2), block(b"{\nother\n}\n", indented, brace));
        let endless = [b"{\n".to_vec(), b" a\n".repeat(BLOCK_LINES)].concat();
        assert_eq!(Frame::Record(2), block(&endless, indented, brace));
    }

    #[test]
    fn both_line_ends_are_cut() {
        assert_eq!(b"a", trim_end(b"a\r\n"));
        assert_eq!(b"a", trim_end(b"a\n"));
    }
}
