//! Bytes in, whole records out: the buffer between a read and the fold.

use parsers::Dialect;
use parsers::framing::{self, Frame};

/// What the next piece of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole record as it stands in the file, its line end included; a line where lines are wrapped.
    Record(&'a [u8]),
    /// A part of a line that is longer than the limit; its newline is still to come.
    Passing(&'a [u8]),
    /// The end of a line that is longer than the limit, its newline included.
    TooLong(&'a [u8]),
    /// The end of a line whose front was not read.
    HalfLine(&'a [u8]),
    /// What is left of a last line that will never get its end.
    Torn,
    /// Nothing more until more bytes come, or nothing more at all.
    End,
}

/// Why a line is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    TooLong,
    HalfLine,
}

/// Cuts records off a growing buffer. Its size is bounded by one read and one longest line.
#[derive(Debug)]
pub(crate) struct Cutter {
    /// As long as it has ever been since it was idle; only `start..end` is of the stream.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    skipping: Option<Skip>,
    line_max: usize,
}

impl Cutter {
    /// An empty buffer; lines longer than `line_max` bytes are passed over.
    pub(crate) const fn new(line_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, skipping: None, line_max }
    }

    /// An empty buffer that begins inside a line.
    pub(crate) const fn inside_line(line_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, skipping: Some(Skip::HalfLine), line_max }
    }

    /// Bytes that are buffered and not cut off yet.
    pub(crate) const fn pending(&self) -> usize {
        self.end - self.start
    }

    /// Appends what `read` puts into a space of up to `length` bytes; tells how much that was.
    ///
    /// # Errors
    ///
    /// Those of `read`; nothing has changed then.
    pub(crate) fn fill(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        self.move_to_front();
        let full = self.end + length;
        if self.buffer.len() < full {
            self.buffer.resize(full, 0);
        }
        let result = read(self.buffer.get_mut(self.end..full).unwrap_or_default());
        self.end += result.as_ref().copied().unwrap_or(0).min(length);
        result
    }

    /// The newest `length` bytes of the buffer.
    pub(crate) fn newest(&self, length: usize) -> &[u8] {
        self.buffer.get(self.end.saturating_sub(length)..self.end).unwrap_or_default()
    }

    /// Undoes the newest `length` bytes of a fill.
    pub(crate) fn take_back(&mut self, length: usize) {
        self.end = self.end.saturating_sub(length).max(self.start);
    }

    /// Gives the memory of an idle buffer back.
    pub(crate) fn shrink(&mut self) {
        self.move_to_front();
        self.buffer.truncate(self.end);
        self.buffer.shrink_to(4096);
    }

    /// Cuts the next piece off.
    pub(crate) fn next(&mut self, dialect: Dialect) -> Piece<'_> {
        if let Some(skip) = self.skipping {
            return self.skip(skip);
        }
        let rest = self.rest();
        let longest = dialect.raw_max(self.line_max);
        let length = match dialect.frame(rest) {
            Frame::Record(length) => length,
            Frame::Incomplete if rest.len() <= longest => return Piece::End,
            // A block that is not whole though it grew beyond the limit: its first line is the record.
            Frame::Incomplete => match framing::line(rest) {
                Frame::Record(length) => length,
                Frame::Incomplete => {
                    self.skipping = Some(Skip::TooLong);
                    return self.skip(Skip::TooLong);
                }
            },
        };
        let from = self.consume(length);
        if length > longest + 1 {
            return Piece::TooLong(self.bytes(from, length));
        }
        Piece::Record(self.bytes(from, length))
    }

    /// The first `length` of the last `back` bytes that were cut off since the last fill.
    pub(crate) fn cut_off(&self, back: usize, length: usize) -> &[u8] {
        self.start.checked_sub(back).map_or(&[], |from| self.bytes(from, length))
    }

    /// Cuts the next line off, once nothing more can come that would make a block whole.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        let Frame::Record(length) = framing::line(self.rest()) else { return None };
        let from = self.consume(length);
        self.buffer.get(from..from + length)
    }

    /// Drops a last line without newline that will never get one; tells whether there was any.
    pub(crate) fn take_torn(&mut self) -> bool {
        let torn = self.pending() > 0 || self.skipping == Some(Skip::TooLong);
        *self = Self::new(self.line_max);
        torn
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn move_to_front(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    fn skip(&mut self, skip: Skip) -> Piece<'_> {
        match framing::line(self.rest()) {
            Frame::Record(length) => {
                let from = self.consume(length);
                self.skipping = None;
                match skip {
                    Skip::TooLong => Piece::TooLong(self.bytes(from, length)),
                    Skip::HalfLine => Piece::HalfLine(self.bytes(from, length)),
                }
            }
            Frame::Incomplete if self.pending() == 0 => Piece::End,
            Frame::Incomplete => {
                let length = self.pending();
                let from = self.consume(length);
                Piece::Passing(self.bytes(from, length))
            }
        }
    }

    fn bytes(&self, from: usize, length: usize) -> &[u8] {
        self.buffer.get(from..from + length).unwrap_or_default()
    }

    fn consume(&mut self, length: usize) -> usize {
        let from = self.start;
        self.start += length;
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the chunks one after the other and describes the pieces.
    fn pieces(cutter: &mut Cutter, chunks: &[&str]) -> Vec<String> {
        let mut pieces = Vec::new();
        for chunk in chunks {
            let read = |space: &mut [u8]| {
                space.copy_from_slice(chunk.as_bytes());
                Ok(chunk.len())
            };
            assert_eq!(chunk.len(), cutter.fill(chunk.len(), read).unwrap());
            loop {
                match cutter.next(Dialect::bare(&parsers::FORMATS[0])) {
                    Piece::Record(record) => pieces.push(String::from_utf8_lossy(record).into_owned()),
                    Piece::TooLong(_) => pieces.push("too long".to_owned()),
                    Piece::HalfLine(_) => pieces.push("half line".to_owned()),
                    Piece::Passing(_) | Piece::Torn => {}
                    Piece::End => break,
                }
            }
        }
        pieces
    }

    #[test]
    fn a_line_is_cut_when_its_newline_arrives() {
        let mut cutter = Cutter::new(100);
        assert_eq!(vec!["one\n", "two\n", "three\n"], pieces(&mut cutter, &["one\ntw", "o\nthree\nfo"]));
        assert!(cutter.take_torn());
        assert!(!cutter.take_torn());
    }

    #[test]
    fn a_long_line_is_passed_over_without_being_kept() {
        let mut cutter = Cutter::new(8);
        let long = "x".repeat(1000);
        let read = pieces(&mut cutter, &["a\n", &long, &long, "\nb\nyyyyyyyyy\n12345678\nc\n"]);
        assert_eq!(vec!["a\n", "too long", "b\n", "too long", "12345678\n", "c\n"], read);
        cutter.shrink();
        assert!(cutter.buffer.capacity() <= 4096);
    }

    #[test]
    fn a_half_line_at_the_start_is_no_record() {
        assert_eq!(vec!["half line", "new\n"], pieces(&mut Cutter::inside_line(100), &["f\nnew\n"]));
    }

    #[test]
    fn an_endless_block_falls_apart_into_lines() {
        let block = format!("{{\n{}", " \"a\": 1,\n".repeat(20));
        assert_eq!(21, pieces(&mut Cutter::new(100), &[&block, "}\n", "x\n"]).len() - 2);
    }
}
