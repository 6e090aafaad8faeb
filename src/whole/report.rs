//! What a command that has read whole files tells about their lines, on standard error.

use crate::follow::complaints::escape;
use crate::state::{Outcome, Rejection, State};
use parsers::Reason;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// One source in the report.
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: String,
    /// Its format.
    pub(crate) format: String,
    /// The index of its facts.
    pub(crate) source: usize,
    /// Bytes of its lines.
    pub(crate) bytes: u64,
    /// How many files it consists of.
    pub(crate) files: usize,
}

/// The first line that was rejected for each reason.
#[derive(Default)]
pub(crate) struct FirstBad(BTreeMap<Reason, String>);

impl FirstBad {
    /// Notes a rejected record, if it is the first one.
    pub(crate) fn note(&mut self, name: &str, line: u64, rejection: &Rejection, record: &[u8]) {
        if self.0.contains_key(&rejection.reason) {
            return;
        }
        let what =
            rejection.error.map_or_else(|| rejection.reason.advice().to_owned(), |error| error.to_string());
        let shown = format!("{}:{line}", escape(name.as_bytes()));
        self.0.insert(rejection.reason, format!("{shown}: {what}: {}", escape(record)));
    }
}

/// How many lines there were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Whatever became of them.
    pub(crate) lines: u64,
    /// Rejected ones.
    pub(crate) rejected: u64,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
}

impl Counts {
    /// How much was read.
    pub(crate) fn read(&self) -> String {
        format!("{} lines, {} bytes", self.lines, self.bytes)
    }

    /// How long that took.
    pub(crate) fn took(&self, seconds: f64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.lines as f64 / seconds.max(1e-9);
        format!("{seconds:.2} s ({rate:.0} lines/s)")
    }
}

/// Writes what became of each source's lines, the first bad ones, and what could be configured.
///
/// # Errors
///
/// When nobody takes it.
pub(crate) fn write(
    out: &mut impl Write,
    state: &State,
    sources: &[Shown],
    first_bad: &FirstBad,
) -> io::Result<Counts> {
    let mut all = Counts::default();
    for Shown { name, format, source, bytes, files } in sources {
        let Some(facts) = state.source(*source) else { continue };
        let counts = Outcome::ALL.map(|outcome| (outcome.label(), facts.lines(outcome)));
        let text: Vec<String> = counts.iter().map(|(label, count)| format!("{count} {label}")).collect();
        let parts = if *files > 1 { format!(", {files} files") } else { String::new() };
        writeln!(out, "{} ({format}{parts}): {bytes} bytes, {}", escape(name.as_bytes()), text.join(", "))?;
        all.bytes += bytes;
        all.lines += counts.iter().map(|(_, count)| count).sum::<u64>();
        all.rejected += facts.lines(Outcome::Rejected);
    }
    for (reason, first) in &first_bad.0 {
        let rejected = |shown: &Shown| state.source(shown.source)?.rejected.get(reason).copied();
        let count: u64 = sources.iter().filter_map(rejected).sum();
        writeln!(out, "rejected {count} {reason} ({}); first {first}", reason.advice())?;
    }
    for hint in state.hints() {
        writeln!(out, "{}", hint.escape_debug())?;
    }
    Ok(all)
}
