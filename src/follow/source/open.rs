//! A file that is held open, read on as it grows.

use crate::follow::cut::Piece;
use crate::follow::stream::Stream;
use crate::follow::tail::{CHUNK, Filled, PEEK, Tail};
use crate::follow::told::SEARCHED_MAX;
use parsers::{Dialect, Pending};
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// An open file and the stream that it holds.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) tail: Tail,
    pub(super) stream: u64,
    pub(super) grew: Instant,
    pub(super) is_live: bool,
    pub(super) path: PathBuf,
    /// How far it was searched for a line that tells its format.
    pub(super) searched: u64,
}

impl Open {
    /// Has the lines heard that have not been heard before, until they have told all; no line is heard twice.
    pub(super) fn search(&mut self, mut hear: impl FnMut(&[u8]) -> bool) -> bool {
        while self.searched < SEARCHED_MAX {
            let bytes = self.tail.peek(self.searched).unwrap_or_default();
            // A line that fills the whole look is one too, or the file would never be read.
            let end = memchr::memrchr(b'\n', &bytes).map(|at| at + 1);
            let Some(end) = end.or((bytes.len() == PEEK).then_some(PEEK)) else { return false };
            self.searched += end as u64;
            if hear(bytes.get(..end).unwrap_or_default()) {
                return true;
            }
        }
        false
    }

    /// Whether it has a line at all.
    pub(super) const fn has_lines(&self) -> bool {
        self.searched > 0
    }

    /// Reads to the end or to the end of the turn; tells whether the stream has ended.
    ///
    /// # Errors
    ///
    /// Those of reading; what was read before has been taken.
    pub(super) fn drain(
        &mut self,
        stream: &mut Stream,
        dialect: Dialect,
        left: &mut usize,
        now: Instant,
        take: &mut impl FnMut(Piece<'_>, Dialect, &mut Pending),
    ) -> io::Result<bool> {
        while *left > 0 {
            match self.tail.fill()? {
                Filled::Nothing => return Ok(false),
                Filled::Truncated => return Ok(true),
                Filled::More => self.grew = now,
            }
            *left = left.saturating_sub(CHUNK);
            // Bytes of records that are taken but not hashed: together they cost less.
            let mut owed = 0;
            loop {
                let piece = self.tail.next(dialect);
                let (length, is_part) = match piece {
                    Piece::End | Piece::Torn => break,
                    Piece::Passing(part) => (part.len(), true),
                    Piece::Record(record) | Piece::TooLong(record) | Piece::HalfLine(record) => {
                        (record.len(), false)
                    }
                };
                let is_record = matches!(piece, Piece::Record(_));
                take(piece, dialect, &mut stream.pending);
                if is_record && stream.takes_many() {
                    owed += length;
                    continue;
                }
                stream.consume(self.tail.cut_off(length + owed, owed));
                owed = 0;
                let bytes = self.tail.cut_off(length, length);
                if is_part { stream.pass_over(bytes) } else { stream.consume(bytes) }
            }
            stream.consume(self.tail.cut_off(owed, owed));
            stream.mark();
        }
        Ok(false)
    }

    /// Takes what is left of a file that is final: replaced, and quiet.
    pub(super) fn finish(
        &mut self,
        stream: &mut Stream,
        dialect: Dialect,
        take: &mut impl FnMut(Piece<'_>, Dialect, &mut Pending),
    ) {
        while let Some(line) = self.tail.next_line() {
            stream.consume(line);
            take(Piece::Record(line), dialect, &mut stream.pending);
        }
        take(Piece::End, dialect, &mut stream.pending);
        if self.tail.take_torn() {
            take(Piece::Torn, dialect, &mut stream.pending);
        }
    }
}
