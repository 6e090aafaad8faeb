//! Whole files, read once from their first byte to their last: what `replay` and `backfill` share.
//!
//! An [`Input`] is a file whose format is found, [`Lines`] are its records on their way out, in order and as the
//! follower would cut and unwrap them.

pub(crate) mod report;

use crate::follow::complaints::escape;
use crate::follow::cut::{Cutter, Piece};
use crate::follow::{doubled, say_repeats};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parsers::{Dialect, FORMATS, Format, Pending, Unwrapped, Wrapper};
use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read};
use std::path::Path;
use std::time::SystemTime;

/// How much of a file is looked at to find its format. It is waited for, since a pipe may give it in any number
/// of reads.
const PEEK: usize = 64 * 1024;

/// How a gzip member begins (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One file, its format found.
pub(crate) struct Input {
    /// The file's name without its folder, or `-`.
    pub(crate) name: String,
    content: Box<dyn Read>,
    /// What its lines are.
    pub(crate) dialect: Dialect,
    /// Whether they, or somebody else, have told so.
    pub(crate) is_recognised: bool,
    /// The size on disk; 0 where nobody knows.
    pub(crate) bytes: u64,
    /// When it was written last, where it is a file.
    pub(crate) modified: Option<SystemTime>,
    /// Whether it is a file that can be opened again.
    pub(crate) is_lasting: bool,
    /// Its first bytes, at most a KiB.
    pub(crate) head: Vec<u8>,
}

impl Input {
    /// Opens a file; one whose lines do not tell their format has the `fallback`.
    pub(crate) fn open(
        path: &Path,
        fixed: Option<&'static Format>,
        fallback: Option<&'static Format>,
    ) -> io::Result<Self> {
        const HEAD: usize = 1024;
        let with_path = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
        };
        let (raw, metadata): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).map_err(with_path)?;
            let metadata = file.metadata().map_err(with_path)?;
            if metadata.is_dir() {
                return Err(with_path(io::Error::other("it is a folder")));
            }
            (Box::new(file), Some(metadata))
        };
        let (magic, raw) = peek(raw, GZIP.len()).map_err(with_path)?;
        let content: Box<dyn Read> = if magic == GZIP { Box::new(MultiGzDecoder::new(raw)) } else { raw };
        let (mut head, content) = peek(content, PEEK).map_err(with_path)?;
        let detected = detect(&head);
        let name = path.file_name().map_or("-".into(), |name| name.to_string_lossy());
        let by_name =
            name.starts_with("ts_log.log").then(|| parsers::format_named("torchserve-console")).flatten();
        let fixed = fixed.map(|format| Dialect { format, wrapper: wrapper(&head) });
        let fallback = fallback.map(|format| Dialect { format, wrapper: wrapper(&head) });
        let known = fixed.or(detected).or(by_name.map(Dialect::bare)).or(fallback);
        let Some(dialect) = known.or(FORMATS.first().map(Dialect::bare)) else {
            return Err(with_path(io::Error::other("no format is known")));
        };
        head.truncate(HEAD);
        head.shrink_to_fit();
        Ok(Self {
            name: name.into_owned(),
            content,
            dialect,
            is_recognised: known.is_some(),
            bytes: metadata.as_ref().map_or(0, std::fs::Metadata::len),
            modified: metadata.as_ref().and_then(|metadata| metadata.modified().ok()),
            is_lasting: metadata.as_ref().is_some_and(std::fs::Metadata::is_file),
            head,
        })
    }

    /// What its lines are, for people.
    pub(crate) fn format(&self) -> String {
        if self.is_recognised { self.dialect.to_string() } else { "not recognised".to_owned() }
    }
}

/// The first bytes, as many as there are of `length`, and the whole content.
fn peek(mut content: Box<dyn Read>, length: usize) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut head = Vec::new();
    content.by_ref().take(length as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(content);
    Ok((head, Box::new(whole)))
}

/// A file without a newline at its end still has a first line.
fn detect(head: &[u8]) -> Option<Dialect> {
    parsers::detect(head).or_else(|| parsers::detect(&[head, b"\n"].concat()))
}

/// The same of what is around the lines, whatever is inside.
fn wrapper(head: &[u8]) -> Wrapper {
    let told = parsers::detect_wrapper(head);
    told.or_else(|| parsers::detect_wrapper(&[head, b"\n"].concat())).unwrap_or_default()
}

/// A console beside the metric files that it repeats would count each line twice.
pub(crate) fn repeats<'a>(inputs: impl Iterator<Item = &'a Input>) -> Option<String> {
    let recognised = inputs.filter(|input| input.is_recognised);
    let files: Vec<(&Input, &Format)> = recognised.map(|input| (input, input.dialect.format)).collect();
    let name = |input: &Input| escape(input.name.as_bytes());
    doubled(&files).map(|(console, metrics)| say_repeats(&name(console), &name(metrics)))
}

/// Where a record stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The piece of the file that made it whole, wrapper and all; empty at the file's end.
    pub(crate) piece: &'a [u8],
    /// The number of that line, from 1.
    pub(crate) line: u64,
}

/// The records of an input.
pub(crate) struct Lines {
    /// Where they come from.
    pub(crate) input: Input,
    cutter: Cutter,
    pending: Pending,
    line_max: usize,
    /// How many bytes are read at once.
    chunk: usize,
    passed: Passed,
}

impl Lines {
    /// Those of an input from its start; longer ones than `line_max` bytes are passed over. So many bytes as `chunk` are
    /// read at once.
    pub(crate) fn new(input: Input, line_max: usize, chunk: usize) -> Self {
        let (cutter, pending) = (Cutter::new(line_max), Pending::default());
        Self { input, cutter, pending, line_max, chunk, passed: Passed::default() }
    }

    /// Reads on and hands out what is whole by then; tells how many bytes it has read. None means that this was all.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn read(&mut self, take: &mut dyn FnMut(Unwrapped<'_>, Place<'_>)) -> io::Result<usize> {
        let Self { input, cutter, pending, line_max, chunk, passed } = self;
        let read = cutter
            .fill(*chunk, |space| input.content.read(space))
            .map_err(|error| io::Error::new(error.kind(), format!("cannot read {}: {error}", input.name)))?;
        let dialect = input.dialect;
        loop {
            match cutter.next(dialect) {
                Piece::Record(piece) => {
                    let place = passed.place(piece);
                    dialect.unwrap(piece, pending, *line_max, |unwrapped| take(unwrapped, place));
                    passed.pass(piece);
                }
                Piece::TooLong(end) => {
                    take(Unwrapped::TooLong(end), passed.place(end));
                    passed.pass(end);
                }
                Piece::Passing(part) => passed.bytes += part.len() as u64,
                Piece::Torn | Piece::HalfLine(_) => {}
                Piece::End => break,
            }
        }
        if read == 0 {
            while let Some(piece) = cutter.next_line() {
                let place = passed.place(piece);
                dialect.unwrap(piece, pending, *line_max, |unwrapped| take(unwrapped, place));
                passed.pass(piece);
            }
            let place = passed.place(b"");
            dialect.finish(pending, |unwrapped| take(unwrapped, place));
            if cutter.take_torn() {
                take(Unwrapped::Torn, place);
            }
        }
        Ok(read)
    }

    /// Bytes so far, without a torn last line.
    pub(crate) const fn bytes(&self) -> u64 {
        self.passed.bytes
    }
}

/// What has been handed out.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    bytes: u64,
    lines: u64,
}

impl Passed {
    const fn place(self, piece: &[u8]) -> Place<'_> {
        Place { piece, line: self.lines + 1 }
    }

    /// Counts as many lines as the file has, however many are left of them.
    fn pass(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', piece).count().max(1) as u64;
    }
}

/// A bar on a terminal, for so many bytes on disk.
pub(crate) fn progress() -> ProgressBar {
    let progress = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}") {
        progress.set_style(style);
    }
    let target =
        if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    progress.set_draw_target(target);
    progress
}
