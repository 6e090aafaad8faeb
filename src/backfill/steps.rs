//! The fold along the log's own clock: at each step what a scrape would have seen.

use super::clock::Moment;
use super::output::Output;
use super::points::Points;
use super::stream::{Due, Kind};
use crate::state::{Origin, Outcome, Rejection, Role, State};
use parsers::Format;
use std::io;

const SECOND: Moment = 1000;

/// How long points go on after the last line of all, at least: a server that is not asked is silent, and its counters
/// stand; but a log of two days with a year between them is no log of a year.
const QUIET: i64 = 3600;

/// The first step at or after a moment, in seconds since 1970: a scrape sees what was written until then.
pub(super) const fn step_of(moment: Moment, step: i64) -> i64 {
    let width = step * SECOND;
    (moment + width - 1).div_euclid(width) * step
}

/// What is in OUT.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) files: u64,
    /// The first step and the last one, in seconds since 1970.
    pub(super) span: Option<(i64, i64)>,
}

/// The fold, and how far it has come.
pub(super) struct Steps {
    pub(super) state: State,
    pub(super) points: Points,
    output: Output,
    /// What was written.
    pub(super) written: Written,
    /// Seconds from one point to the next.
    step: i64,
    /// How long points go on without any line, in seconds.
    quiet: i64,
    /// The next step, once there is a line.
    next: Option<i64>,
    /// When the last line counted.
    last: Moment,
    /// Whether lines have come since the last point.
    is_changed: bool,
    /// Which servers' gauges were shown at the last point.
    audible: Vec<bool>,
    /// Times without points between lines.
    pub(super) gaps: u64,
}

impl Steps {
    /// At the start.
    ///
    /// # Errors
    ///
    /// When there is no place for points.
    pub(super) fn new(state: State, output: Output, step: i64) -> io::Result<Self> {
        let quiet = QUIET.max(i64::try_from(state.rules().gauge_ttl).unwrap_or(i64::MAX));
        Ok(Self {
            state,
            points: Points::new(step, &output.folder())?,
            output,
            written: Written::default(),
            step,
            quiet,
            next: None,
            last: Moment::MIN,
            is_changed: false,
            audible: Vec::new(),
            gaps: 0,
        })
    }

    /// Makes the points before a moment.
    ///
    /// # Errors
    ///
    /// When points cannot be kept.
    pub(super) fn go_to(&mut self, moment: Moment) -> io::Result<()> {
        let Some(mut next) = self.next else {
            self.next = Some(step_of(moment, self.step));
            return Ok(());
        };
        while next * SECOND < moment {
            let silent_from = (self.last / SECOND).saturating_add(self.quiet);
            let last_before = step_of(moment, self.step) - self.step;
            if next > silent_from && next < last_before {
                // One point more at its end: from there the next one's increase is seen.
                next = last_before;
                self.gaps += 1;
            }
            self.show(next)?;
            next += self.step;
        }
        self.next = Some(next);
        Ok(())
    }

    /// Folds a record; a rejected one comes back with the reason.
    pub(super) fn fold(&mut self, due: Due<'_>, format: &Format, origin: &Origin<'_>) -> Option<Rejection> {
        self.last = self.last.max(due.moment);
        self.is_changed = true;
        match due.kind {
            Kind::Record => self.state.fold(due.text, format, Role::All, origin).err(),
            Kind::TooLong => Some(self.state.pass_over(due.text.len() as u64, origin)),
            Kind::Torn => {
                if let Some(facts) = self.state.source_mut(origin.source) {
                    facts.count(Outcome::Torn);
                }
                None
            }
        }
    }

    /// Makes the last point, which shows the last line, and writes what is not written yet.
    ///
    /// # Errors
    ///
    /// When points cannot be kept or written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some(next) = self.next {
            self.show(next)?;
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.written.bytes += self.output.write(&mut self.points)?;
        self.written.files += 1;
        if let Some((first, last)) = self.points.span {
            self.written.span = Some((self.written.span.map_or(first, |(first, _)| first), last));
        }
        Ok(())
    }

    fn show(&mut self, at: i64) -> io::Result<()> {
        let now = u64::try_from(at).unwrap_or(0);
        if self.output.is_due(&self.points, at) {
            self.write()?;
            self.points.clear(&self.output.folder())?;
            self.audible.clear();
        }
        // As at a commit, which there is none of where nothing has come.
        if self.is_changed {
            self.state.expire(now);
        }
        let audible = self.state.audible(now);
        if self.is_changed || audible != self.audible {
            self.points.show(at, &self.state.view(Some(now)).log)?;
        } else {
            self.points.show_again(at);
        }
        (self.is_changed, self.audible) = (false, audible);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_belongs_to_the_step_that_sees_it() {
        for (moment, expected) in [(0, 0), (1, 15), (14_999, 15), (15_000, 15), (15_001, 30)] {
            assert_eq!(expected, step_of(moment, 15), "{moment}");
        }
        assert_eq!(7, step_of(6_001, 1));
    }
}
