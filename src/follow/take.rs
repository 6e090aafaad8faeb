//! A piece of a file on its way into the fold: without its wrapper, counted, and complained about.

use super::complaints::Complaints;
use super::cut::Piece;
use crate::state::{Origin, Outcome, Role, State};
use parsers::{Dialect, Format, Pending, Unwrapped};

/// What takes the pieces of one source.
pub(super) struct Sink<'a> {
    pub(super) state: &'a mut State,
    pub(super) complaints: &'a mut Complaints,
    /// The source's name.
    pub(super) name: &'a str,
    pub(super) role: Role,
    pub(super) origin: &'a Origin<'a>,
    pub(super) line_max: usize,
}

impl Sink<'_> {
    /// Folds a piece; tells whether it proved the format.
    pub(super) fn take(&mut self, piece: Piece<'_>, dialect: Dialect, pending: &mut Pending) -> bool {
        match piece {
            Piece::Record(record) if dialect.wrapper.is_bare() => return self.fold(record, dialect.format),
            Piece::Record(line) => return self.unwrap(line, dialect, pending),
            Piece::TooLong(end) => self.refuse(end),
            Piece::Passing(part) => {
                if let Some(facts) = self.state.source_mut(self.origin.source) {
                    facts.bytes += part.len() as u64;
                }
            }
            Piece::HalfLine(_) => {}
            Piece::Torn => self.count_torn(),
            Piece::End => dialect.finish(pending, |unwrapped| {
                self.take_unwrapped(unwrapped, dialect.format);
            }),
        }
        false
    }

    /// Its bytes are those of the file, however many its records have.
    fn unwrap(&mut self, line: &[u8], dialect: Dialect, pending: &mut Pending) -> bool {
        let source = self.origin.source;
        let before = self.state.source(source).map_or(0, |facts| facts.bytes);
        let (mut proven, line_max) = (false, self.line_max);
        dialect.unwrap(line, pending, line_max, |unwrapped| {
            proven |= self.take_unwrapped(unwrapped, dialect.format);
        });
        if let Some(facts) = self.state.source_mut(source) {
            facts.bytes = before + line.len() as u64;
        }
        proven
    }

    fn take_unwrapped(&mut self, unwrapped: Unwrapped<'_>, format: &Format) -> bool {
        match unwrapped {
            Unwrapped::Record(record) => return self.fold(record, format),
            Unwrapped::TooLong(end) => self.refuse(end),
            Unwrapped::Torn => self.count_torn(),
        }
        false
    }

    fn fold(&mut self, record: &[u8], format: &Format) -> bool {
        match self.state.fold(record, format, self.role, self.origin) {
            Ok(outcome) => outcome == Outcome::Parsed && !format.is_generic,
            Err(rejection) => {
                self.complaints.line(self.name, record, &rejection);
                false
            }
        }
    }

    fn refuse(&mut self, end: &[u8]) {
        let rejection = self.state.pass_over(end.len() as u64, self.origin);
        self.complaints.line(self.name, end, &rejection);
    }

    fn count_torn(&mut self) {
        if let Some(facts) = self.state.source_mut(self.origin.source) {
            facts.count(Outcome::Torn);
        }
    }
}
