//! One open log file: reads chunks, and notices when the file is no longer what was read from it.

use super::cut::{Cutter, Piece};
use super::stream::Stream;
use flate2::bufread::GzDecoder;
use parsers::Format;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bytes per read; larger ones gain nothing (measured from 16 KiB to 4 MiB).
pub(crate) const CHUNK: usize = 256 * 1024;

/// How many of the newest bytes are compared before and after each read.
const RECENT: usize = 256;

/// How much of a file's front is looked at to find its format.
pub(crate) const PEEK: usize = 64 * 1024;

/// How a gzip member begins (RFC 1952 §2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The most that a compressed archive may unpack to; beyond it is a bomb.
pub(crate) const UNPACKED_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Which file it is, as far as the file system tells. Never enough to know it again: numbers come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file as it was at one moment: the same stamp means that it has not changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    id: FileId,
    size: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { id: metadata.into(), size: metadata.len(), modified }
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// More bytes.
    More,
    /// Nothing new.
    Nothing,
    /// The file was cut or overwritten in place: what was read is not in it any more.
    Truncated,
}

enum Input {
    Plain(File),
    /// A finished archive; it does not change any more.
    Gzip {
        content: Box<dyn Read + Send>,
        stamp: Stamp,
    },
}

/// An open file and where it has been read to.
pub(crate) struct Tail {
    input: Input,
    id: FileId,
    /// Where the next read begins.
    position: u64,
    /// The newest bytes before the position.
    recent: Vec<u8>,
    cutter: Cutter,
}

/// Linux' flag (`asm-generic/fcntl.h`) against waiting for a FIFO's writer, should one be put here between
/// the check and the opening. Regular files do not know it.
const O_NONBLOCK: i32 = 0o4000;

/// Opens a regular file.
///
/// # Errors
///
/// When it cannot be opened, or is a FIFO, device or folder: only a regular file has offsets. That is checked
/// before the opening, since opening a FIFO would wait for its writer, and again after it.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    if !std::fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(not_regular()) }
}

/// The content of a file, unpacked where it is compressed. Bytes after the last whole member of an archive
/// are its end, as `gzip -d` takes them.
pub(crate) fn content(file: File) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; 2];
    let is_gzip = file.read_at(&mut magic, 0)? == 2 && magic == MAGIC;
    let file = BufReader::with_capacity(64 * 1024, FromStart { file, position: 0 });
    Ok(if is_gzip { Box::new(Unpacked::new(file)) } else { Box::new(file) })
}

/// A file read from its first byte. Copies of a descriptor share one cursor, so it has a position of its own.
struct FromStart {
    file: File,
    position: u64,
}

impl Read for FromStart {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(space, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// The members of a gzip file, one after the other.
struct Unpacked {
    /// The member that is being read; none at the end.
    member: Option<GzDecoder<BufReader<FromStart>>>,
    length: u64,
}

impl Unpacked {
    fn new(file: BufReader<FromStart>) -> Self {
        Self { member: Some(GzDecoder::new(file)), length: 0 }
    }

    /// Goes on to the next member, if what follows begins like one.
    fn advance(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        let mut rest = member.into_inner();
        let next = rest.fill_buf()?;
        let front = next.get(..2).unwrap_or(next);
        if !front.is_empty() && MAGIC.starts_with(front) {
            self.member = Some(GzDecoder::new(rest));
        }
        Ok(())
    }
}

impl Read for Unpacked {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(space)?;
            self.length += read as u64;
            if self.length > UNPACKED_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "unpacks to more than 4 GiB"));
            }
            if read > 0 || space.is_empty() {
                return Ok(read);
            }
            self.advance()?;
        }
        Ok(0)
    }
}

/// How two contents go on from an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// They differ.
    Differ,
    /// They agree, and the first one has no more than the second.
    Within,
    /// They agree as far as the second goes; the first one has more.
    Beyond,
}

/// Compares two contents from an offset on, before which they are known to be equal.
///
/// # Errors
///
/// Those of reading.
pub(crate) fn agreement(mut one: impl Read, mut other: impl Read, offset: u64) -> io::Result<Agreement> {
    io::copy(&mut one.by_ref().take(offset), &mut io::sink())?;
    io::copy(&mut other.by_ref().take(offset), &mut io::sink())?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        ours.clear();
        theirs.clear();
        one.by_ref().take(CHUNK as u64).read_to_end(&mut ours)?;
        other.by_ref().take(ours.len() as u64).read_to_end(&mut theirs)?;
        if ours.get(..theirs.len()) != Some(&theirs) {
            return Ok(Agreement::Differ);
        }
        if theirs.len() < ours.len() {
            return Ok(Agreement::Beyond);
        }
        if ours.is_empty() {
            return Ok(Agreement::Within);
        }
    }
}

impl Tail {
    /// Reads `file` on from where the stream stands.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn new(file: File, metadata: &Metadata, stream: &Stream, line_max: usize) -> io::Result<Self> {
        let id = FileId::from(metadata);
        let mut magic = [0; 2];
        let is_gzip = file.read_at(&mut magic, 0)? == 2 && magic == MAGIC;
        let position = stream.offset;
        let mut recent = Vec::new();
        let input = if is_gzip {
            let mut content = content(file)?;
            io::copy(&mut content.by_ref().take(position), &mut io::sink())?;
            Input::Gzip { content, stamp: Stamp::from(metadata) }
        } else {
            recent = bytes_before(&file, position)?;
            Input::Plain(file)
        };
        Ok(Self { input, id, position, recent, cutter: Cutter::new(line_max) })
    }

    /// Goes on at the first line that begins at the file's present end or later; the stream takes all before.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn skip_to_end(&mut self, stream: &mut Stream, line_max: usize) -> io::Result<()> {
        let Input::Plain(file) = &self.input else { return Ok(()) };
        let size = file.metadata()?.len();
        let mut chunk = vec![0; CHUNK];
        let mut position = 0;
        let mut cutter = Cutter::new(usize::MAX - 1);
        while position < size {
            let wanted = chunk.len().min(usize::try_from(size - position).unwrap_or(usize::MAX));
            let read = file.read_at(chunk.get_mut(..wanted).unwrap_or_default(), position)?;
            if read == 0 {
                break;
            }
            position += read as u64;
            let bytes = chunk.get(..read).unwrap_or_default();
            match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => {
                    let (whole, rest) = bytes.split_at(at + 1);
                    stream.consume(whole);
                    stream.pass_over(rest);
                }
                None => stream.pass_over(bytes),
            }
            cutter =
                if bytes.ends_with(b"\n") { Cutter::new(line_max) } else { Cutter::inside_line(line_max) };
        }
        if position > 0 {
            self.cutter = cutter;
        }
        self.position = position;
        self.recent = bytes_before(file, position)?;
        Ok(())
    }

    /// Which file it is.
    pub(crate) const fn id(&self) -> FileId {
        self.id
    }

    /// Whether it can still grow; an archive cannot.
    pub(crate) const fn can_grow(&self) -> bool {
        matches!(self.input, Input::Plain(_))
    }

    /// The first bytes of the file, for the detection of its format.
    pub(crate) fn peek(&self) -> io::Result<Vec<u8>> {
        match &self.input {
            Input::Plain(file) => read_at_most(file, 0, PEEK),
            Input::Gzip { .. } => Ok(Vec::new()),
        }
    }

    /// Bytes of the file that have not been cut off as records.
    pub(crate) fn lag(&self) -> u64 {
        let Input::Plain(file) = &self.input else { return 0 };
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        (size + self.cutter.pending() as u64).saturating_sub(self.position)
    }

    /// Reads the next chunk.
    ///
    /// # Errors
    ///
    /// Those of reading; the position has not changed then.
    pub(crate) fn fill(&mut self) -> io::Result<Filled> {
        let file = match &mut self.input {
            Input::Plain(file) => file,
            Input::Gzip { content, .. } => {
                let read = self.cutter.fill(CHUNK, |space| content.read(space))?;
                return Ok(if read > 0 { Filled::More } else { Filled::Nothing });
            }
        };
        let size = file.metadata()?.len();
        if size < self.position || bytes_before(file, self.position)? != self.recent {
            return Ok(Filled::Truncated);
        }
        let unread = usize::try_from(size - self.position).unwrap_or(CHUNK).min(CHUNK);
        if unread == 0 {
            self.cutter.shrink();
            return Ok(Filled::Nothing);
        }
        let read = self.cutter.fill(unread, |space| file.read_at(space, self.position))?;
        // Between the look and the read the file may have been cut and filled again: then the chunk is of
        // another stream, and belongs to nobody yet.
        let end = self.position + read as u64;
        match file.metadata().and_then(|after| Ok((after.len(), bytes_before(file, self.position)?))) {
            Ok((size, recent)) if size >= end && recent == self.recent => {}
            Ok(_) => return Ok(Filled::Truncated),
            Err(error) => {
                // The position stays, so the chunk must not stay either.
                self.cutter.take_back(read);
                return Err(error);
            }
        }
        self.recent.extend_from_slice(self.cutter.newest(read.min(RECENT)));
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        self.position = end;
        Ok(if read > 0 { Filled::More } else { Filled::Nothing })
    }

    /// Whether the file still holds what was read from it.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        let Input::Plain(file) = &self.input else { return Ok(true) };
        Ok(file.metadata()?.len() >= self.position && bytes_before(file, self.position)? == self.recent)
    }

    /// The file as it is now.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match &self.input {
            Input::Plain(file) => file.metadata().ok().map(|metadata| Stamp::from(&metadata)),
            Input::Gzip { stamp, .. } => Some(*stamp),
        }
    }

    /// The whole content from its first byte; none for an archive, which is open for one turn only.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn content(&self) -> io::Result<Option<Box<dyn Read + Send>>> {
        match &self.input {
            Input::Plain(file) => content(file.try_clone()?).map(Some),
            Input::Gzip { .. } => Ok(None),
        }
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
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("id", &self.id).field("position", &self.position).finish_non_exhaustive()
    }
}

fn bytes_before(file: &File, position: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(position).unwrap_or(RECENT).min(RECENT);
    read_at_most(file, position - length as u64, length)
}

fn read_at_most(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
        match file.read_at(space, offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match tail.fill().unwrap() {
                Filled::More => {}
                Filled::Nothing => return lines,
                Filled::Truncated => {
                    lines.push("truncated".to_owned());
                    return lines;
                }
            }
            loop {
                match tail.next(&parsers::FORMATS[0]) {
                    Piece::Record(record) => lines.push(String::from_utf8_lossy(record).into_owned()),
                    Piece::End => break,
                    Piece::HalfLine(_) => lines.push("half line".to_owned()),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn open(path: &Path, stream: &Stream) -> Tail {
        let (file, metadata) = open_regular(path).unwrap();
        Tail::new(file, &metadata, stream, 1000).unwrap()
    }

    fn with(content: &str) -> (tempfile::NamedTempFile, Tail) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let tail = open(file.path(), &Stream::default());
        (file, tail)
    }

    #[test]
    fn a_file_that_was_refilled_larger_is_truncated() {
        let (file, mut tail) = with("old line\n");
        assert_eq!(vec!["old line\n"], lines(&mut tail));
        std::fs::write(file.path(), "new line that is longer\n").unwrap();
        assert_eq!(vec!["truncated"], lines(&mut tail));
    }

    #[test]
    fn a_half_line_that_is_taken_back_is_a_truncation() {
        let (file, mut tail) = with("one\ntwo is half");
        assert_eq!(vec!["one\n"], lines(&mut tail));
        std::fs::write(file.path(), "one\n").unwrap();
        assert_eq!(vec!["truncated"], lines(&mut tail));
    }

    #[test]
    fn the_end_begins_at_the_next_whole_line() {
        let (mut file, mut tail) = with("old\nhal");
        let mut stream = Stream::default();
        tail.skip_to_end(&mut stream, 1000).unwrap();
        file.write_all(b"f\nnew\n").unwrap();
        assert_eq!(vec!["half line", "new\n"], lines(&mut tail));
        assert_eq!(4, stream.offset);
    }

    #[test]
    fn an_archive_is_read_on_from_its_streams_offset() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for member in ["one\ntwo\n", "three\n"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
            encoder.write_all(member.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        file.write_all(b"junk").unwrap();
        let mut stream = Stream::default();
        stream.consume(b"one\n");
        assert_eq!(vec!["two\n", "three\n"], lines(&mut open(file.path(), &stream)));
    }

    #[test]
    fn only_regular_files_are_opened() {
        assert!(open_regular(Path::new("/dev/null")).is_err());
        assert!(open_regular(Path::new("/")).is_err());
    }
}
