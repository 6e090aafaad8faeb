//! The newest lines of each source, for the page: kept only if somebody asked for them to be shown.

use super::cut::Piece;
use std::collections::{HashMap, VecDeque};

/// How many records of a source are kept, and how many bytes of each.
const KEPT: usize = 5;
const BYTES: usize = 1024;

/// The newest records by source.
#[derive(Debug, Default)]
pub(crate) struct LastLines {
    is_on: bool,
    by_source: HashMap<usize, VecDeque<Vec<u8>>>,
}

impl LastLines {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, by_source: HashMap::new() }
    }

    /// Takes what was read of a source with these facts.
    pub(crate) fn note(&mut self, source: usize, piece: &Piece<'_>) {
        let (true, Piece::Record(record)) = (self.is_on, piece) else { return };
        let lines = self.by_source.entry(source).or_default();
        // The oldest one's memory becomes the newest one's: no allocation per line.
        let mut line = if lines.len() < KEPT { Vec::new() } else { lines.pop_front().unwrap_or_default() };
        line.clear();
        let record = parsers::framing::trim_end(record);
        line.extend_from_slice(record.get(..BYTES).unwrap_or(record));
        lines.push_back(line);
    }

    /// Drops those of a source that is gone.
    pub(crate) fn forget(&mut self, source: usize) {
        self.by_source.remove(&source);
    }

    /// The lines of a source, oldest first; none if they are not to be shown.
    pub(crate) fn of(&self, source: usize) -> Option<Vec<String>> {
        let text = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
        let lines = self.by_source.get(&source).into_iter().flatten();
        self.is_on.then(|| lines.map(text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_cut_and_only_if_asked_for() {
        let (mut on, mut off) = (LastLines::new(true), LastLines::new(false));
        for number in 0..9 {
            let line = format!("{number}\n");
            on.note(0, &Piece::Record(line.as_bytes()));
            off.note(0, &Piece::Record(line.as_bytes()));
        }
        on.note(0, &Piece::Record(&[b'x'; 5000]));
        on.note(0, &Piece::End);
        let lines = on.of(0).unwrap();
        assert_eq!(["5", "6", "7", "8"], lines[..4]);
        assert_eq!((KEPT, BYTES), (lines.len(), lines[4].len()));
        assert_eq!((Some(Vec::new()), None), (on.of(1), off.of(0)));
    }
}
