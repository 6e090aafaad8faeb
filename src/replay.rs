//! `inferometer replay`: whole files once through the same fold.

use crate::config::{Config, ReplayFlags};
use crate::exit::End;
use crate::expose::text;
use crate::follow::complaints::escape;
use crate::follow::cut::{Cutter, Piece};
use crate::follow::{doubled, say_repeats};
use crate::logging;
use crate::state::{Origin, Outcome, Role, State};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parsers::{Dialect, FORMATS, Format, Pending, RULES, Reason, Unwrapped, Wrapper};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Instant;

const CHUNK: usize = 256 * 1024;

/// How much of a file is looked at to find its format. It is waited for, since a pipe may give it in any number
/// of reads.
const PEEK: usize = 64 * 1024;

/// How a gzip member begins (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Folds the files and prints their families; the report goes to standard error.
///
/// # Errors
///
/// When a file cannot be read or standard output is closed.
pub(crate) fn run(config: &Config, flags: &ReplayFlags) -> io::Result<End> {
    logging::start(&flags.fold);
    let mut replay = Replay::new(config, flags);
    let fallback = parsers::format_named(RULES).filter(|_| !config.rules.own.is_empty());
    let mut inputs = Vec::new();
    for path in &flags.files {
        inputs.push(Input::open(path, flags.fold.fixed_format(), fallback)?);
    }
    if let Some(text) = repeats(&inputs).filter(|_| !flags.allow_repeats) {
        return Ok(End::Usage(text));
    }
    let start = Instant::now();
    for input in inputs {
        replay.fold(input)?;
    }
    replay.progress.finish_and_clear();
    let mut body = String::new();
    text::encode(&replay.state.view(None).log, None, &mut body);
    io::stdout().lock().write_all(body.as_bytes())?;
    let rejected = replay.report(start.elapsed().as_secs_f64())?;
    Ok(if flags.strict && rejected > 0 { End::Failed } else { End::AsAsked })
}

/// One file, its format found.
struct Input {
    name: String,
    content: Box<dyn Read>,
    dialect: Dialect,
    is_recognised: bool,
    bytes: u64,
}

impl Input {
    /// Opens a file; one whose lines do not tell their format has the `fallback`.
    fn open(
        path: &Path,
        fixed: Option<&'static Format>,
        fallback: Option<&'static Format>,
    ) -> io::Result<Self> {
        let with_path = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
        };
        let (raw, bytes): (Box<dyn Read>, u64) = if path == Path::new("-") {
            (Box::new(io::stdin()), 0)
        } else {
            let file = File::open(path).map_err(with_path)?;
            let metadata = file.metadata().map_err(with_path)?;
            if metadata.is_dir() {
                return Err(with_path(io::Error::other("it is a folder")));
            }
            (Box::new(file), metadata.len())
        };
        let (magic, raw) = peek(raw, GZIP.len()).map_err(with_path)?;
        let content: Box<dyn Read> = if magic == GZIP { Box::new(MultiGzDecoder::new(raw)) } else { raw };
        let (head, content) = peek(content, PEEK).map_err(with_path)?;
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
        Ok(Self { name: name.into_owned(), content, dialect, is_recognised: known.is_some(), bytes })
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
fn repeats(inputs: &[Input]) -> Option<String> {
    let recognised = inputs.iter().filter(|input| input.is_recognised);
    let files: Vec<(&Input, &Format)> = recognised.map(|input| (input, input.dialect.format)).collect();
    let name = |input: &Input| escape(input.name.as_bytes());
    doubled(&files).map(|(console, metrics)| say_repeats(&name(console), &name(metrics)))
}

/// Where in a file the replay is.
struct Place<'a> {
    name: &'a str,
    dialect: Dialect,
    pending: Pending,
    /// Lines before it.
    line: u64,
}

struct Replay {
    state: State,
    line_max: usize,
    progress: ProgressBar,
    formats: Vec<(String, String)>,
    first_bad: BTreeMap<Reason, String>,
}

impl Replay {
    fn new(config: &Config, flags: &ReplayFlags) -> Self {
        let mut state = State::new(config.rules.clone());
        if config.rules.has_metrics_config {
            state.declare();
        }
        let progress = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}")
        {
            progress.set_style(style);
        }
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        progress.set_draw_target(target);
        let line_max = flags.fold.limit_line_bytes as usize;
        Self { state, line_max, progress, formats: Vec::new(), first_bad: BTreeMap::new() }
    }

    fn fold(&mut self, mut input: Input) -> io::Result<()> {
        self.progress.inc_length(input.bytes);
        let source = self.state.add_source(&input.name);
        let server = self.state.add_server();
        let dialect = input.dialect;
        let shown = if input.is_recognised { dialect.to_string() } else { "not recognised".to_owned() };
        self.formats.push((input.name.clone(), shown));
        if input.is_recognised && dialect.format.declares {
            self.state.declare();
        }
        let none = BTreeMap::new();
        let origin = Origin { source, server, now: 0, wall: 0, labels: &none, offset_minutes: 0 };
        let mut cutter = Cutter::new(self.line_max);
        let mut place = Place { name: &input.name, dialect, pending: Pending::default(), line: 0 };
        loop {
            let read = cutter.fill(CHUNK, |space| input.content.read(space));
            let read = read.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot read {}: {error}", input.name))
            })?;
            loop {
                let piece = cutter.next(dialect);
                if piece == Piece::End {
                    break;
                }
                self.take(piece, &mut place, &origin);
            }
            self.progress.inc(read as u64);
            if read == 0 {
                break;
            }
        }
        while let Some(record) = cutter.next_line() {
            self.take(Piece::Record(record), &mut place, &origin);
        }
        self.take(Piece::End, &mut place, &origin);
        if cutter.take_torn() {
            self.take(Piece::Torn, &mut place, &origin);
        }
        Ok(())
    }

    /// Folds a piece, and goes on by as many lines as it has.
    fn take(&mut self, piece: Piece<'_>, place: &mut Place<'_>, origin: &Origin<'_>) {
        let dialect = place.dialect;
        match piece {
            Piece::Record(record) => {
                let before = self.state.source(origin.source).map_or(0, |facts| facts.bytes);
                let mut pending = std::mem::take(&mut place.pending);
                dialect.unwrap(record, &mut pending, self.line_max, |unwrapped| {
                    self.take_unwrapped(unwrapped, place, origin);
                });
                place.pending = pending;
                // As many as the file has, however many are left of them.
                if let Some(facts) = self.state.source_mut(origin.source) {
                    facts.bytes = before + record.len() as u64;
                }
                place.line += memchr::memchr_iter(b'\n', record).count().max(1) as u64;
            }
            Piece::TooLong(end) => {
                self.take_unwrapped(Unwrapped::TooLong(end), place, origin);
                place.line += 1;
            }
            Piece::Passing(part) => {
                if let Some(facts) = self.state.source_mut(origin.source) {
                    facts.bytes += part.len() as u64;
                }
            }
            Piece::Torn => self.take_unwrapped(Unwrapped::Torn, place, origin),
            Piece::HalfLine(_) => {}
            Piece::End => {
                let mut pending = std::mem::take(&mut place.pending);
                dialect.finish(&mut pending, |unwrapped| self.take_unwrapped(unwrapped, place, origin));
            }
        }
    }

    fn take_unwrapped(&mut self, unwrapped: Unwrapped<'_>, place: &Place<'_>, origin: &Origin<'_>) {
        let (record, rejection) = match unwrapped {
            Unwrapped::Record(record) => {
                (record, self.state.fold(record, place.dialect.format, Role::All, origin).err())
            }
            Unwrapped::TooLong(end) => (end, Some(self.state.pass_over(end.len() as u64, origin))),
            Unwrapped::Torn => {
                if let Some(facts) = self.state.source_mut(origin.source) {
                    facts.count(Outcome::Torn);
                }
                return;
            }
        };
        if let Some(rejection) = rejection.filter(|rejection| !self.first_bad.contains_key(&rejection.reason))
        {
            let what = rejection
                .error
                .map_or_else(|| rejection.reason.advice().to_owned(), |error| error.to_string());
            let shown = format!("{}:{}", escape(place.name.as_bytes()), place.line + 1);
            self.first_bad.insert(rejection.reason, format!("{shown}: {what}: {}", escape(record)));
        }
    }

    /// Writes the report; the result is the number of rejected lines.
    fn report(&self, seconds: f64) -> io::Result<u64> {
        let mut out = io::stderr().lock();
        let (mut lines, mut rejected, mut bytes) = (0, 0, 0);
        for (index, (name, format)) in self.formats.iter().enumerate() {
            let Some(facts) = self.state.source(index) else { continue };
            let counts = Outcome::ALL.map(|outcome| (outcome.label(), facts.lines(outcome)));
            let text: Vec<String> = counts.iter().map(|(label, count)| format!("{count} {label}")).collect();
            writeln!(
                out,
                "{} ({format}): {} bytes, {}",
                escape(name.as_bytes()),
                facts.bytes,
                text.join(", ")
            )?;
            lines += counts.iter().map(|(_, count)| count).sum::<u64>();
            rejected += facts.lines(Outcome::Rejected);
            bytes += facts.bytes;
        }
        for (reason, first) in &self.first_bad {
            let count: u64 = (0..self.formats.len())
                .filter_map(|index| self.state.source(index)?.rejected.get(reason).copied())
                .sum();
            writeln!(out, "rejected {count} {reason} ({}); first {first}", reason.advice())?;
        }
        let view = self.state.view(None);
        let series: usize = view.log.iter().map(|family| family.series.len()).sum();
        let with_series = view.log.iter().filter(|family| !family.series.is_empty()).count();
        for hint in self.state.hints() {
            writeln!(out, "{}", hint.escape_debug())?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = lines as f64 / seconds.max(1e-9);
        writeln!(
            out,
            "{lines} lines, {bytes} bytes, {with_series} families with {series} series in {seconds:.2} s ({rate:.0} lines/s)"
        )?;
        Ok(rejected)
    }
}
