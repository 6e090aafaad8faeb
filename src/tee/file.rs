//! The file for the follower: whole lines, never more than so many bytes, some of its predecessors beside it.
//!
//! `FILE` is renamed to `FILE.1` before it would grow too long, and `FILE.1` to `FILE.2` before that: a follower
//! knows files by their content and reads on wherever they go, as long as one of these names is left.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether the name still stands for the file.
const LOOK: Duration = Duration::from_secs(1);

/// The file and its predecessors.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    max_bytes: u64,
    keep: u8,
    open: Option<Open>,
    looked: Instant,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Its length, at the end of a line.
    length: u64,
}

impl Rotated {
    /// A file that is opened with its first line, and opened again after every failure.
    pub(super) fn new(path: PathBuf, max_bytes: u64, keep: u8) -> Self {
        Self { path, max_bytes, keep, open: None, looked: Instant::now() }
    }

    /// Writes whole lines; those that cannot be written are handed to `leave_out`, with the reason.
    pub(super) fn write(&mut self, lines: &[u8], mut leave_out: impl FnMut(&[u8], &io::Error)) {
        let mut rest = lines;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(self.fitting(rest));
            if let Err((written, error)) = self.append(piece) {
                leave_out(piece.get(written..).unwrap_or_default(), &error);
            }
            rest = after;
        }
    }

    /// Bytes of the lines that go into the file as it is, or the first line's where none does.
    fn fitting(&self, lines: &[u8]) -> usize {
        let length = self.open.as_ref().map_or(0, |open| open.length);
        let room = usize::try_from(self.max_bytes.saturating_sub(length)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        let fits = lines.get(..room).and_then(|front| memchr::memrchr(b'\n', front));
        let end = fits.or_else(|| memchr::memchr(b'\n', lines));
        end.map_or(lines.len(), |end| end + 1)
    }

    /// Appends lines. With the error comes how many bytes of whole lines were written before it.
    fn append(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        let nothing = |error| (0, error);
        if lines.len() as u64 > self.max_bytes {
            return Err(nothing(io::Error::other("the line is longer than --max-bytes")));
        }
        let mut open = self.opened().map_err(nothing)?;
        if open.length > 0 && open.length + lines.len() as u64 > self.max_bytes {
            drop(open);
            self.rotate().map_err(nothing)?;
            open = self.opened().map_err(nothing)?;
        }
        let (written, result) = write_all(&mut open.file, lines);
        open.length += written as u64;
        let Err(error) = result else {
            self.open = Some(open);
            return Ok(());
        };
        // A follower may have counted the whole lines already: they stay. Half a line may hold half a number; if it
        // cannot be cut off, the next opening will see it.
        let front = lines.get(..written).unwrap_or_default();
        let whole = memchr::memrchr(b'\n', front).map_or(0, |at| at + 1);
        let torn = (written - whole) as u64;
        if torn == 0 || cut_off(&open.file, torn).is_ok() {
            open.length -= torn;
            self.open = Some(open);
        }
        Err((whole, error))
    }

    /// Takes the open file, unless its name stands for another one by now; else opens it, to go on at its end.
    fn opened(&mut self) -> io::Result<Open> {
        let known = self.open.take();
        if let Some(open) = known {
            let is_sure = self.looked.elapsed() < LOOK;
            if is_sure || is_same(&open.file, &self.path) {
                if !is_sure {
                    self.looked = Instant::now();
                }
                return Ok(open);
            }
        }
        self.looked = Instant::now();
        let mut open = self.open_file()?;
        if !ends_with_a_line(&open)? {
            self.rotate()?;
            open = self.open_file()?;
        }
        Ok(open)
    }

    fn open_file(&self) -> io::Result<Open> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        // The opening of a FIFO would wait for its reader.
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let length = file.metadata()?.len();
        Ok(Open { file, length })
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (1..=self.keep).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match fs::rename(from, self.numbered(number)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, number: u8) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Writes as much as the disk takes; tells how much that was.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Cuts off a file's last bytes, whatever its length is by now: somebody else may have emptied it.
fn cut_off(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(file.metadata()?.len().saturating_sub(bytes))
}

fn is_same(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (ours, theirs) = (file.metadata().map(id), fs::metadata(path).map(id));
    ours.is_ok_and(|ours| theirs.is_ok_and(|theirs| ours == theirs))
}

fn ends_with_a_line(open: &Open) -> io::Result<bool> {
    let Some(last) = open.length.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    open.file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    fn write(file: &mut Rotated, lines: &str) -> Vec<String> {
        let mut left_out = Vec::new();
        file.write(lines.as_bytes(), |lines, error| {
            left_out.push(format!("{}: {error}", String::from_utf8_lossy(lines)));
        });
        left_out
    }

    #[test]
    fn no_file_grows_too_long_and_the_newest_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/server.log");
        let mut file = Rotated::new(path.clone(), 20, 2);
        let lines: String = (10..30).map(|number| format!("line {number}\n")).collect();
        assert_eq!(Vec::<String>::new(), write(&mut file, &lines));
        let [one, two] = [1, 2].map(|number| read(&file.numbered(number)));
        assert_eq!("line 24\nline 25\nline 26\nline 27\nline 28\nline 29\n", two + &one + &read(&path));
        assert!(!file.numbered(3).exists());
        let left_out = write(&mut file, "a line of more than twenty bytes\nx\n");
        assert_eq!(1, left_out.len(), "{left_out:?}");
        assert!(read(&path).ends_with("x\n"));
    }

    #[test]
    fn a_life_goes_on_where_the_last_one_ended_but_never_in_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        fs::write(&path, "one\n").unwrap();
        write(&mut Rotated::new(path.clone(), 100, 3), "two\n");
        assert_eq!("one\ntwo\n", read(&path));
        fs::write(&path, "one\nhal").unwrap();
        let mut file = Rotated::new(path.clone(), 100, 3);
        write(&mut file, "two\n");
        assert_eq!(("one\nhal", "two\n"), (&*read(&file.numbered(1)), &*read(&path)));
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Rotated::new(folder.path().to_owned(), 100, 3);
        assert_eq!(vec!["one\n: not a regular file"], write(&mut file, "one\n"));
    }
}
