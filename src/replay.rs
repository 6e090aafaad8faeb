//! `inferometer replay`: whole files once through the same fold.

use crate::config::{Config, ReplayFlags};
use crate::exit::End;
use crate::expose::text;
use crate::logging;
use crate::state::{Origin, Outcome, Role, State};
use crate::whole::report::{self, FirstBad, Shown};
use crate::whole::{self, Input, Lines, Place};
use indicatif::ProgressBar;
use parsers::{RULES, Unwrapped};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;

/// How much of a file is read at once.
const CHUNK: usize = 256 * 1024;

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
    if let Some(text) = whole::repeats(inputs.iter()).filter(|_| !flags.allow_repeats) {
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

struct Replay {
    state: State,
    line_max: usize,
    progress: ProgressBar,
    shown: Vec<Shown>,
    first_bad: FirstBad,
}

impl Replay {
    fn new(config: &Config, flags: &ReplayFlags) -> Self {
        let mut state = State::new(config.rules.clone());
        if config.rules.has_metrics_config {
            state.declare();
        }
        let line_max = flags.fold.limit_line_bytes as usize;
        let (shown, first_bad) = (Vec::new(), FirstBad::default());
        Self { state, line_max, progress: whole::progress(), shown, first_bad }
    }

    fn fold(&mut self, input: Input) -> io::Result<()> {
        self.progress.inc_length(input.bytes);
        let source = self.state.add_source(&input.name);
        let server = self.state.add_server();
        if input.is_recognised && input.dialect.format.declares {
            self.state.declare();
        }
        let none = BTreeMap::new();
        let origin = Origin { source, server, now: 0, wall: 0, labels: &none, offset_minutes: 0 };
        let (name, format, dialect) = (input.name.clone(), input.format(), input.dialect);
        let mut lines = Lines::new(input, self.line_max, CHUNK);
        loop {
            let Self { state, first_bad, .. } = self;
            let read = lines.read(&mut |unwrapped, Place { line, .. }| {
                let (record, rejection) = match unwrapped {
                    Unwrapped::Record(record) => {
                        (record, state.fold(record, dialect.format, Role::All, &origin).err())
                    }
                    Unwrapped::TooLong(end) => (end, Some(state.pass_over(end.len() as u64, &origin))),
                    Unwrapped::Torn => {
                        if let Some(facts) = state.source_mut(source) {
                            facts.count(Outcome::Torn);
                        }
                        return;
                    }
                };
                if let Some(rejection) = rejection {
                    first_bad.note(&name, line, &rejection, record);
                }
            })?;
            self.progress.inc(read as u64);
            if read == 0 {
                break;
            }
        }
        self.shown.push(Shown { name, format, source, bytes: lines.bytes(), files: 1 });
        Ok(())
    }

    /// Writes the report; the result is the number of rejected lines.
    fn report(&self, seconds: f64) -> io::Result<u64> {
        let mut out = io::stderr().lock();
        let counts = report::write(&mut out, &self.state, &self.shown, &self.first_bad)?;
        let view = self.state.view(None);
        let series: usize = view.log.iter().map(|family| family.series.len()).sum();
        let with_series = view.log.iter().filter(|family| !family.series.is_empty()).count();
        writeln!(
            out,
            "{}, {with_series} families with {series} series in {}",
            counts.read(),
            counts.took(seconds)
        )?;
        Ok(counts.rejected)
    }
}
