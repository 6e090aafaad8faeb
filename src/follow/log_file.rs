//! One log file on disk: which one it is, when it last changed, and what it holds, unpacked.

use super::discover;
use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How a gzip member begins (RFC 1952 §2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The most that a compressed archive may unpack to; beyond it is a bomb.
const UNPACKED_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes of two contents that are compared at once.
const COMPARED: usize = 256 * 1024;

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

/// A regular file, open for reading, and what was known of it at that moment.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
    /// Whether it is compressed. It is decided once: a writer may be at work, and what is read raw now and
    /// unpacked a moment later would be two different logs.
    pub(crate) is_gzip: bool,
}

/// Linux' flag (`asm-generic/fcntl.h`) against waiting for a FIFO's writer, should one be put here between
/// the check and the opening. Regular files do not know it.
const O_NONBLOCK: i32 = 0o4000;

impl LogFile {
    /// Opens a regular file. Its name or its first bytes say that it is compressed; a name ending in `.gz`
    /// is enough, because an archive that is being written is empty at first.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is a FIFO, device or folder: only a regular file has offsets. That is
    /// checked before the opening, since opening a FIFO would wait for its writer, and again after it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        if !std::fs::metadata(path)?.is_file() {
            return Err(not_regular());
        }
        let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_regular());
        }
        let mut front = [0; 2];
        let is_gzip = discover::is_gzip(path) || (file.read_at(&mut front, 0)? == 2 && front == MAGIC);
        Ok(Self { file, metadata, is_gzip })
    }

    /// Which file it is.
    pub(crate) fn id(&self) -> FileId {
        FileId::from(&self.metadata)
    }

    /// Whether it is still as it was when it was opened.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub(crate) fn is_unchanged(&self) -> io::Result<bool> {
        Ok(Stamp::from(&self.file.metadata()?) == Stamp::from(&self.metadata))
    }

    /// All that it holds, from the first byte, unpacked where it is compressed. Bytes after the last whole
    /// member of an archive are its end, as `gzip -d` takes them.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be copied. Reading an archive that is not whole yet ends with
    /// `UnexpectedEof`.
    pub(crate) fn content(&self) -> io::Result<Box<dyn Read + Send>> {
        let file =
            BufReader::with_capacity(64 * 1024, FromStart { file: self.file.try_clone()?, position: 0 });
        Ok(if self.is_gzip { Box::new(Unpacked::new(file)) } else { Box::new(file) })
    }
}

/// The newest bytes before a position, 256 at most: by them it is noticed that a file was cut or overwritten
/// in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recent(Vec<u8>);

impl Recent {
    const LENGTH: usize = 256;

    /// Goes on by some bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes.get(bytes.len().saturating_sub(Self::LENGTH)..).unwrap_or(bytes));
        self.0.drain(..self.0.len().saturating_sub(Self::LENGTH));
    }

    /// Whether a file has them before this position.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn are_before(&self, position: u64, file: &File) -> io::Result<bool> {
        let Some(start) = position.checked_sub(self.0.len() as u64) else { return Ok(false) };
        Ok(read_at_most(file, start, self.0.len())? == self.0)
    }
}

/// Reads until the end of the file or of the space.
///
/// # Errors
///
/// Those of reading.
pub(crate) fn read_at_most(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
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
        one.by_ref().take(COMPARED as u64).read_to_end(&mut ours)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        assert!(LogFile::open(Path::new("/dev/null")).is_err());
        assert!(LogFile::open(Path::new("/")).is_err());
    }

    #[test]
    fn an_archive_that_is_filled_after_its_opening_is_never_read_raw() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ts_metrics.1.log.gz");
        std::fs::write(&path, "").unwrap();
        let opened = LogFile::open(&path).unwrap();
        let mut text = String::new();
        let error = opened.content().unwrap().read_to_string(&mut text).unwrap_err();
        assert_eq!(io::ErrorKind::UnexpectedEof, error.kind());
        let mut encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), Default::default());
        io::Write::write_all(&mut encoder, b"line\n").unwrap();
        encoder.finish().unwrap();
        opened.content().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!("line\n", text);
    }
}
