//! `inferometer backfill`: what logs of the past would have shown, with its times.
//!
//! ```text
//! FILE… ──stream──▶ records in the order of time ──▶ State::fold ──steps──▶ view at each step ──▶ points ──▶ OUT
//!          clock: what a line's time means                                  spill: what does not fit into memory
//! ```
//!
//! The fold and its views are those of a live run, whose clock is here the log's own. OUT is OpenMetrics as its
//! specification wants it: families are not mixed, and each series' points stand together in their order. So all of
//! them are kept until the last line is read, in a form that is small and on disk where it is not small enough.

mod clock;
mod output;
mod points;
mod spill;
mod steps;
mod stream;

use crate::config::past::Past;
use crate::config::{BackfillFlags, Config, Stop};
use crate::exit::End;
use crate::follow;
use crate::logging;
use crate::state::{Origin, State};
use crate::whole::report::{self, FirstBad, Shown};
use crate::whole::{self, Input};
use clock::{Moment, Zone};
use indicatif::ProgressBar;
use output::Output;
use parsers::{Format, RULES};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use steps::{Steps, Written};
use stream::{Oddities, Stream};

/// Reads the files in the order of their lines' times and writes OUT; the report goes to standard error.
///
/// # Errors
///
/// When a file cannot be read, has lines but no time, or OUT cannot be written.
pub(crate) fn run(config: &Config, flags: &BackfillFlags) -> io::Result<End> {
    logging::start(&flags.fold);
    let output = Output::of(&flags.output)?;
    if let Some(file) = flags.files.iter().find(|file| output.is(file)) {
        return Ok(End::Usage(format!("{} is to be read and written at once", file.display())));
    }
    let start = Instant::now();
    let reader = Reader { config, flags, step: i64::try_from(flags.step.as_secs()).unwrap_or(i64::MAX) };
    let files = match reader.look()? {
        Ok(files) => files,
        Err(usage) => return Ok(End::Usage(usage)),
    };
    let mut backfill = Backfill::new(config, output, reader.step)?;
    backfill.progress.inc_length(files.iter().map(|file| file.bytes).sum());
    backfill.read(&reader, files)?;
    backfill.progress.finish_and_clear();
    backfill.report(&flags.output, start.elapsed().as_secs_f64())?;
    Ok(End::AsAsked)
}

/// One file that is to be read.
struct PastFile {
    path: PathBuf,
    name: String,
    /// The size on disk.
    bytes: u64,
    /// When it was written last, where it is a file.
    modified: Option<SystemTime>,
    /// When its first line counts.
    first: Moment,
    past: Past,
    format: String,
    declares: bool,
    /// The indices of its source and its server, once it was read.
    origin: Option<(usize, u32)>,
    /// Its records, where it is open: what cannot be opened again stays so.
    stream: Option<Stream>,
}

/// How files are opened.
struct Reader<'a> {
    config: &'a Config,
    flags: &'a BackfillFlags,
    step: i64,
}

impl Reader<'_> {
    /// Opens all files once, to know where in time each begins; those without any line are left out. The other
    /// result says which files are not to be read together.
    fn look(&self) -> io::Result<Result<Vec<PastFile>, String>> {
        let (mut files, mut heads) = (Vec::new(), Vec::new());
        for path in &self.flags.files {
            let past = match self.config.past(path, &self.flags.timezone) {
                Ok(past) => past,
                Err(Stop::Help(text) | Stop::Usage(text)) => return Ok(Err(text)),
            };
            let input = self.open(path, &past)?;
            let (name, format) = (input.name.clone(), input.format());
            let (bytes, modified, is_lasting) = (input.bytes, input.modified, input.is_lasting);
            let declares = input.is_recognised && input.dialect.format.declares;
            let head = Head {
                path: path.clone(),
                content: input.head.clone(),
                format: input.is_recognised.then_some(input.dialect.format),
            };
            let stream = self.stream(input, &past)?;
            let first = match stream.moment() {
                Some(first) => first,
                None if stream.is_empty() => continue,
                None => return Err(without_time(path, &format)),
            };
            let stream = (!is_lasting).then_some(stream);
            let (path, origin) = (path.clone(), None);
            files.push(PastFile {
                path,
                name,
                bytes,
                modified,
                first,
                past,
                format,
                declares,
                origin,
                stream,
            });
            heads.push(head);
        }
        Ok(match repeats(&heads).filter(|_| !self.flags.allow_repeats) {
            Some(text) => Err(text),
            None => Ok(files),
        })
    }

    fn open(&self, path: &Path, past: &Past) -> io::Result<Input> {
        let has_rules = !self.config.rules.own.is_empty();
        Input::open(path, past.format, parsers::format_named(RULES).filter(|_| has_rules))
    }

    fn stream(&self, input: Input, past: &Past) -> io::Result<Stream> {
        let zone = Zone::new(past.zone.clone(), input.modified);
        Stream::new(input, self.flags.fold.limit_line_bytes as usize, zone, self.step)
    }
}

/// How a file begins.
struct Head {
    path: PathBuf,
    content: Vec<u8>,
    format: Option<&'static Format>,
}

/// Which files would count lines twice, with the explanation.
fn repeats(heads: &[Head]) -> Option<String> {
    const TELLING: usize = 256;
    let known: Vec<(&Head, &Format)> = heads.iter().filter_map(|head| Some((head, head.format?))).collect();
    if let Some((console, metrics)) = follow::doubled(&known) {
        return Some(follow::say_repeats(&console.path.display(), &metrics.path.display()));
    }
    let mut seen: HashMap<&[u8], &Path> = HashMap::new();
    let telling = heads.iter().filter(|head| head.content.len() >= TELLING);
    let (one, other) = telling
        .into_iter()
        .find_map(|head| seen.insert(&head.content, &head.path).map(|other| (other, &head.path)))?;
    Some(format!(
        "{} and {} begin alike: if one is a copy of the other, each line would count twice. Leave one out, or give \
         --source.allow-repeats",
        one.display(),
        other.display()
    ))
}

fn without_time(path: &Path, format: &str) -> io::Error {
    io::Error::other(format!(
        "cannot place {} in time: its first lines ({format}) do not tell when they were written. A container \
         runtime's copy of the log does (docker, cri)",
        path.display()
    ))
}

/// What has been read so far.
struct Backfill {
    steps: Steps,
    sources: HashMap<PathBuf, usize>,
    servers: HashMap<PathBuf, u32>,
    shown: Vec<Shown>,
    first_bad: FirstBad,
    oddities: Oddities,
    progress: ProgressBar,
}

impl Backfill {
    fn new(config: &Config, output: Output, step: i64) -> io::Result<Self> {
        let mut state = State::new(config.rules.clone());
        if config.rules.has_metrics_config {
            state.declare();
        }
        Ok(Self {
            steps: Steps::new(state, output, step)?,
            sources: HashMap::new(),
            servers: HashMap::new(),
            shown: Vec::new(),
            first_bad: FirstBad::default(),
            oddities: Oddities::default(),
            progress: whole::progress(),
        })
    }

    /// Folds all files' records in the order of their times; where these are the same, the file that begins earlier
    /// comes first, and of those the one that was written to the end earlier.
    fn read(&mut self, reader: &Reader<'_>, mut files: Vec<PastFile>) -> io::Result<()> {
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        files.sort_by_key(|file| (file.first, file.modified));
        let first = files.iter().zip(0_usize..).map(|(file, at)| Reverse((file.first, at)));
        let mut due: BinaryHeap<Reverse<(Moment, usize)>> = first.collect();
        while let Some(Reverse((_, at))) = due.pop() {
            let Some(file) = files.get_mut(at) else { continue };
            let mut stream = match file.stream.take() {
                Some(stream) => stream,
                None => reader.stream(reader.open(&file.path, &file.past)?, &file.past)?,
            };
            let until = due.peek().map_or((Moment::MAX, 0), |Reverse(next)| *next);
            let origin = match file.origin {
                Some(origin) => origin,
                None => self.origin(file, &paths),
            };
            file.origin = Some(origin);
            self.fold(file, &mut stream, (until, at), origin)?;
            match stream.moment() {
                Some(moment) => {
                    due.push(Reverse((moment, at)));
                    file.stream = Some(stream);
                }
                None => self.close(file, &stream, origin.0),
            }
        }
        self.steps.end()
    }

    /// Folds a file's records as long as it is their turn.
    fn fold(
        &mut self,
        file: &PastFile,
        stream: &mut Stream,
        (until, at): ((Moment, usize), usize),
        (source, server): (usize, u32),
    ) -> io::Result<()> {
        let labels = &file.past.labels;
        let format = stream.dialect().format;
        while let Some(due) = stream.due().filter(|due| (due.moment, at) <= until) {
            self.steps.go_to(due.moment)?;
            let now = u64::try_from(due.moment / 1000).unwrap_or(0);
            let offset_minutes = stream.offset_minutes(due.moment);
            let origin = Origin { source, server, now, wall: now, labels, offset_minutes };
            if let Some(rejection) = self.steps.fold(due, format, &origin) {
                self.first_bad.note(&file.name, due.line, &rejection, due.text);
            }
            self.progress.inc(stream.advance()? as u64);
        }
        Ok(())
    }

    /// The source and the server of a file: archives are their live file's, and a folder is a server, as in a live run.
    fn origin(&mut self, file: &PastFile, paths: &[PathBuf]) -> (usize, u32) {
        let is_its = |live: &&PathBuf| follow::is_archive_of(&file.path, live);
        let live =
            paths.iter().filter(is_its).min_by_key(|live| live.as_os_str().len()).unwrap_or(&file.path);
        let folder = file.path.parent().unwrap_or(&file.path).to_owned();
        let state = &mut self.steps.state;
        if file.declares {
            state.declare();
        }
        let server = *self.servers.entry(folder).or_insert_with(|| state.add_server());
        let source = *self.sources.entry(live.clone()).or_insert_with(|| {
            let name = live.file_name().map_or("-".into(), |name| name.to_string_lossy());
            state.add_source(&name)
        });
        (source, server)
    }

    /// Notes what became of a file that was read to its end.
    fn close(&mut self, file: &PastFile, stream: &Stream, source: usize) {
        self.oddities.add(stream.oddities());
        let bytes = stream.bytes();
        match self.shown.iter_mut().find(|shown| shown.source == source) {
            Some(shown) => {
                shown.files += 1;
                shown.bytes += bytes;
            }
            None => {
                let (name, format) = (file.name.clone(), file.format.clone());
                self.shown.push(Shown { name, format, source, bytes, files: 1 });
            }
        }
    }

    fn report(&self, path: &Path, seconds: f64) -> io::Result<()> {
        let mut out = io::stderr().lock();
        let Self { steps, shown, first_bad, oddities, .. } = self;
        let counts = report::write(&mut out, &steps.state, shown, first_bad)?;
        if oddities.untold > 0 {
            writeln!(out, "{} lines tell no time; they count at that of the line before", oddities.untold)?;
        }
        if oddities.late > 0 {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let latest = oddities.latest as f64 / 1000.0;
            writeln!(
                out,
                "{} lines are earlier than the line before, by up to {latest} s; they count at its time: several \
                 writers, a clock that was put back, or a wrong --timezone",
                oddities.late
            )?;
        }
        if oddities.ahead > 0 {
            writeln!(
                out,
                "{} lines are far ahead of those that follow; they count at the time of the line before",
                oddities.ahead
            )?;
        }
        let points = &steps.points;
        if points.dropped > 0 {
            writeln!(out, "{} points had no room: too many label sets came and went", points.dropped)?;
        }
        let with_series = points.families.iter().filter(|family| !family.series.is_empty());
        let series: usize = with_series.clone().map(|family| family.series.len()).sum();
        let Written { bytes, files, span } = steps.written;
        let files = if files == 1 { String::new() } else { format!(" in {files} files") };
        let span = span.map_or_else(String::new, |(first, last)| {
            let time =
                |at| jiff::Timestamp::from_second(at).map_or_else(|_| "?".to_owned(), |at| at.to_string());
            format!(" from {} to {}, gaps: {}", time(first), time(last), steps.gaps)
        });
        writeln!(
            out,
            "{}: {bytes} bytes{files}, {} families with {series} series, {} points{span}",
            path.display(),
            with_series.count(),
            points.count
        )?;
        writeln!(out, "{} in {}", counts.read(), counts.took(seconds))
    }
}
