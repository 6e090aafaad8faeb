//! One open log file and how far it has been consumed.

use super::cut::{Cutter, Piece};
use parsers::Format;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Bytes per read; larger ones gain nothing (measured from 16 KiB to 4 MiB).
const CHUNK: u64 = 256 * 1024;

/// How much of a file's front is compared before new bytes are taken from it.
const HEAD: usize = 1024;

/// How much of a file's front is looked at to find its format.
const PEEK: usize = 64 * 1024;

/// Which file it is, as far as the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl From<&std::fs::Metadata> for FileId {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// An open file and how far it has been consumed.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    id: FileId,
    /// Where the next read begins.
    position: u64,
    cutter: Cutter,
    /// The file's first bytes as they were read, to notice that it was overwritten in place.
    head: Vec<u8>,
    line_max: usize,
}

impl Tail {
    /// Opens a regular file at its front.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is a FIFO, device or folder: only a regular file has offsets. That is
    /// checked before the opening, since opening a FIFO would wait for its writer.
    pub(crate) fn open(path: &Path, line_max: usize) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::open(path)?;
        let id = FileId::from(&file.metadata()?);
        Ok(Self { file, id, position: 0, cutter: Cutter::new(line_max), head: Vec::new(), line_max })
    }

    /// Which file it is.
    pub(crate) const fn id(&self) -> FileId {
        self.id
    }

    /// Moves to the first line that begins at the file's present end or later.
    pub(crate) fn skip_to_end(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let mut last = [0];
        let at_line_start = size == 0 || (self.file.read_at(&mut last, size - 1)? == 1 && last == *b"\n");
        self.cutter =
            if at_line_start { Cutter::new(self.line_max) } else { Cutter::inside_line(self.line_max) };
        self.position = size;
        self.head = self.front(HEAD)?;
        Ok(())
    }

    /// The first bytes of the file, for the detection of its format.
    pub(crate) fn peek(&self) -> io::Result<Vec<u8>> {
        self.front(PEEK)
    }

    /// Bytes of the file that have not been consumed.
    pub(crate) fn lag(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(self.offset()))
    }

    /// Whether the file still is what was read from it. If not, it was truncated or overwritten in place
    /// and the caller starts again at its front. A file cut back to a place behind the last whole record
    /// only takes back a part of a line.
    pub(crate) fn is_intact(&mut self) -> io::Result<bool> {
        let size = self.file.metadata()?.len();
        if size < self.offset() {
            return Ok(false);
        }
        if size < self.position {
            self.position = self.offset();
            self.cutter = Cutter::new(self.line_max);
            self.head.truncate(usize::try_from(self.position).unwrap_or(HEAD));
        }
        Ok(self.front(self.head.len())? == self.head)
    }

    /// Reads the next chunk; tells whether there was one.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let unread = self.file.metadata()?.len().saturating_sub(self.position);
        let Some(wanted) = usize::try_from(unread.min(CHUNK)).ok().filter(|wanted| *wanted > 0) else {
            self.cutter.shrink();
            return Ok(false);
        };
        let read = self.cutter.fill(wanted, |space| self.file.read_at(space, self.position))?;
        if self.position == self.head.len() as u64 && self.head.len() < HEAD {
            let newest = self.cutter.newest(read);
            self.head.extend_from_slice(newest.get(..HEAD - self.head.len()).unwrap_or(newest));
        }
        self.position += read as u64;
        Ok(read > 0)
    }

    /// Takes the next piece of what was read.
    pub(crate) fn next(&mut self, format: &Format) -> Piece<'_> {
        self.cutter.next(format)
    }

    /// Takes the next line of an unfinished block, once nothing more can follow.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        self.cutter.next_line()
    }

    /// Drops a last line without newline; tells whether there was any.
    pub(crate) fn take_torn(&mut self) -> bool {
        self.cutter.take_torn()
    }

    const fn offset(&self) -> u64 {
        self.position - self.cutter.pending() as u64
    }

    fn front(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.file.read_at(space, filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        while tail.fill().unwrap() {
            loop {
                match tail.next(&parsers::FORMATS[0]) {
                    Piece::Record(record) => lines.push(String::from_utf8_lossy(record).into_owned()),
                    Piece::End => break,
                    other => lines.push(format!("{other:?}")),
                }
            }
        }
        lines
    }

    fn with(content: &str) -> (tempfile::NamedTempFile, Tail) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let tail = Tail::open(file.path(), 1000).unwrap();
        (file, tail)
    }

    #[test]
    fn a_file_that_was_refilled_larger_is_not_intact() {
        let (file, mut tail) = with("old line\n");
        assert_eq!(vec!["old line\n"], lines(&mut tail));
        assert!(tail.is_intact().unwrap());
        std::fs::write(file.path(), "new line that is longer\n").unwrap();
        assert!(!tail.is_intact().unwrap());
    }

    #[test]
    fn a_half_line_that_is_taken_back_does_not_count() {
        let (file, mut tail) = with("one\ntwo is half");
        assert_eq!(vec!["one\n"], lines(&mut tail));
        std::fs::write(file.path(), "one\n").unwrap();
        assert!(tail.is_intact().unwrap());
        std::fs::write(file.path(), "one\ntwo\n").unwrap();
        assert!(tail.is_intact().unwrap());
        assert_eq!(vec!["two\n"], lines(&mut tail));
    }

    #[test]
    fn the_end_begins_at_the_next_whole_line() {
        let (mut file, mut tail) = with("old\nhal");
        tail.skip_to_end().unwrap();
        file.write_all(b"f\nnew\n").unwrap();
        assert_eq!(vec!["HalfLine", "new\n"], lines(&mut tail));
    }

    #[test]
    fn only_regular_files_are_opened() {
        assert!(Tail::open(Path::new("/dev/null"), 100).is_err());
        assert!(Tail::open(Path::new("/"), 100).is_err());
    }
}
