//! One open log file: reads chunks, and notices when the file is no longer what was read from it.

use super::cut::{Cutter, Piece};
use super::log_file::{FileId, LogFile, Recent, Stamp, read_at_most};
use super::stream::Stream;
use parsers::Dialect;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes per read; larger ones gain nothing (measured from 16 KiB to 4 MiB).
pub(crate) const CHUNK: usize = 256 * 1024;

/// How much of a file is looked at at once to find its format.
pub(crate) const PEEK: usize = 64 * 1024;

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
    Plain(LogFile),
    /// A finished archive. Should it change all the same, because the next archive of its name is written over
    /// it, nothing more of it is taken.
    Gzip {
        content: Box<dyn Read + Send>,
        file: LogFile,
    },
}

/// An open file and where it has been read to.
pub(crate) struct Tail {
    input: Input,
    id: FileId,
    /// Where the next read begins.
    position: u64,
    /// The bytes before the position; the file is checked against them before and after each read.
    recent: Recent,
    cutter: Cutter,
}

impl Tail {
    /// Reads `file` on from where the stream stands. The bytes before that are those that were compared with
    /// the stream: should the file be another one by now, the first read will notice.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn new(file: LogFile, stream: &Stream, recent: Recent, line_max: usize) -> io::Result<Self> {
        let id = file.id();
        let position = stream.offset;
        let input = if file.is_gzip {
            let mut content = file.content()?;
            io::copy(&mut content.by_ref().take(position), &mut io::sink())?;
            Input::Gzip { content, file }
        } else {
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
        let Input::Plain(LogFile { file, .. }) = &self.input else { return Ok(()) };
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
            self.recent.add(bytes);
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

    /// Some bytes of the file from an offset on, for the detection of its format.
    pub(crate) fn peek(&self, offset: u64) -> io::Result<Vec<u8>> {
        match &self.input {
            Input::Plain(LogFile { file, .. }) => read_at_most(file, offset, PEEK),
            Input::Gzip { .. } => Ok(Vec::new()),
        }
    }

    /// Bytes of the file that have not been cut off as records.
    pub(crate) fn lag(&self) -> u64 {
        let Input::Plain(LogFile { file, .. }) = &self.input else { return 0 };
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        (size + self.cutter.pending() as u64).saturating_sub(self.position)
    }

    /// Whether the file has another length than was read.
    pub(crate) fn has_grown(&self) -> bool {
        let Input::Plain(LogFile { file, .. }) = &self.input else { return true };
        file.metadata().map_or(true, |metadata| metadata.len() != self.position)
    }

    /// Reads the next chunk.
    ///
    /// # Errors
    ///
    /// Those of reading; the position has not changed then.
    pub(crate) fn fill(&mut self) -> io::Result<Filled> {
        let file = match &mut self.input {
            Input::Plain(LogFile { file, .. }) => file,
            Input::Gzip { content, file } => {
                let read = self.cutter.fill(CHUNK, |space| content.read(space));
                if !file.is_unchanged()? {
                    self.cutter.take_back(read.unwrap_or(0));
                    return Ok(Filled::Truncated);
                }
                return Ok(if read? > 0 { Filled::More } else { Filled::Nothing });
            }
        };
        let size = file.metadata()?.len();
        if size < self.position || !self.recent.are_before(self.position, file)? {
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
        match file
            .metadata()
            .and_then(|after| Ok((after.len(), self.recent.are_before(self.position, file)?)))
        {
            Ok((size, true)) if size >= end => {}
            Ok(_) => return Ok(Filled::Truncated),
            Err(error) => {
                // The position stays, so the chunk must not stay either.
                self.cutter.take_back(read);
                return Err(error);
            }
        }
        self.recent.add(self.cutter.newest(read));
        self.position = end;
        Ok(if read > 0 { Filled::More } else { Filled::Nothing })
    }

    /// Whether the file still holds what was read from it.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        let Input::Plain(LogFile { file, .. }) = &self.input else { return Ok(true) };
        Ok(file.metadata()?.len() >= self.position && self.recent.are_before(self.position, file)?)
    }

    /// The file as it is now.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match &self.input {
            Input::Plain(LogFile { file, .. }) => file.metadata().ok().map(|metadata| Stamp::from(&metadata)),
            Input::Gzip { file, .. } => Some(Stamp::from(&file.metadata)),
        }
    }

    /// The whole content from its first byte; none for an archive, which is open for one turn only.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn content(&self) -> io::Result<Option<Box<dyn Read + Send>>> {
        match &self.input {
            Input::Plain(file) => file.content().map(Some),
            Input::Gzip { .. } => Ok(None),
        }
    }

    /// Takes the next piece of what was read.
    pub(crate) fn next(&mut self, dialect: Dialect) -> Piece<'_> {
        self.cutter.next(dialect)
    }

    /// The first `length` of the last `back` bytes that were cut off.
    pub(crate) fn cut_off(&self, back: usize, length: usize) -> &[u8] {
        self.cutter.cut_off(back, length)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::stream::{Likeness, compare};
    use std::io::Write;
    use std::path::Path;

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
                match tail.next(Dialect::bare(&parsers::FORMATS[0])) {
                    Piece::Record(record) => lines.push(String::from_utf8_lossy(record).into_owned()),
                    Piece::End => break,
                    Piece::HalfLine(_) => lines.push("half line".to_owned()),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn open(path: &Path, stream: &Stream) -> Tail {
        Tail::new(LogFile::open(path).unwrap(), stream, Recent::default(), 1000).unwrap()
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
    fn a_file_that_was_refilled_since_it_was_compared_is_truncated() {
        let (file, _) = with("old line\n");
        let mut stream = Stream::default();
        stream.consume(b"old line\n");
        let opened = LogFile::open(file.path()).unwrap();
        let compared = compare(opened.content().unwrap(), [&stream].into_iter(), false).unwrap();
        let [Likeness::Same { recent }] = &compared.likeness[..] else { panic!("{compared:?}") };
        std::fs::write(file.path(), "new line that is longer\n").unwrap();
        let mut tail = Tail::new(opened, &stream, recent.clone(), 1000).unwrap();
        assert_eq!(vec!["truncated"], lines(&mut tail));
    }

    #[test]
    fn an_archive_that_is_written_over_is_truncated() {
        let file = tempfile::Builder::new().suffix(".gz").tempfile().unwrap();
        let write = |text: &str| {
            let mut encoder =
                flate2::write::GzEncoder::new(std::fs::File::create(&file).unwrap(), Default::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        };
        write("one\n");
        let mut tail = open(file.path(), &Stream::default());
        write("two\nthree\n");
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
}
