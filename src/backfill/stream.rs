//! One file as a stream of records in the order of time.
//!
//! The order of a file is that of its lines, so its clock only goes forward: a line whose own time is earlier than the
//! line before counts at that one's, as a live run would have seen it. A line that leaps ahead is looked at together
//! with the lines that follow: one broken time must not hold up all of them. Lines without a time have that of the
//! line before, those at the file's start that of the first one that tells.

use super::clock::{LEAP, Moment, WITNESSES, Zone, is_borne_out};
use crate::whole::{Input, Lines, Place};
use parsers::{Dialect, Unwrapped};
use std::collections::VecDeque;
use std::io;

/// How many bytes of records are held to look ahead, at most about: then a leap is believed, and a file of which none
/// has a time has none.
const AHEAD_MAX: usize = 1024 * 1024;

/// How much of a file is read at once: many files may be open.
const CHUNK: usize = 32 * 1024;

/// What was odd about a file's times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Oddities {
    /// Lines that count at a later step than that of their own time.
    pub(super) late: u64,
    /// The most that one of them was late, in milliseconds.
    pub(super) latest: Moment,
    /// Lines whose time was far ahead of those that follow; they count at the time of the line before.
    pub(super) ahead: u64,
    /// Lines that tell no time.
    pub(super) untold: u64,
}

impl Oddities {
    /// Adds another file's.
    pub(super) fn add(&mut self, other: Self) {
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
        self.ahead += other.ahead;
        self.untold += other.untold;
    }
}

/// A record that waits for its turn.
#[derive(Clone, Copy, Debug)]
struct Held {
    kind: Kind,
    length: usize,
    line: u64,
    /// What it tells itself.
    told: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    TooLong,
    Torn,
}

/// A record whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a [u8],
    pub(super) line: u64,
    /// When it counts.
    pub(super) moment: Moment,
}

/// A file's records.
pub(super) struct Stream {
    lines: Lines,
    zone: Zone,
    /// Seconds from one point to the next.
    step: i64,
    /// Text of what is held, one after the other, from `start`.
    text: Vec<u8>,
    start: usize,
    held: VecDeque<Held>,
    /// The last time that a line told, believed or not.
    last_told: Option<Moment>,
    /// The latest time that was believed.
    clock: Option<Moment>,
    is_over: bool,
    oddities: Oddities,
}

impl Stream {
    /// A file's records from its start.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn new(input: Input, line_max: usize, zone: Zone, step: i64) -> io::Result<Self> {
        let mut stream = Self {
            lines: Lines::new(input, line_max, CHUNK),
            zone,
            step,
            text: Vec::new(),
            start: 0,
            held: VecDeque::new(),
            last_told: None,
            clock: None,
            is_over: false,
            oddities: Oddities::default(),
        };
        stream.begin()?;
        Ok(stream)
    }

    /// What its lines are.
    pub(super) const fn dialect(&self) -> Dialect {
        self.lines.input.dialect
    }

    /// Minutes east of UTC that its times are in at a moment.
    pub(super) fn offset_minutes(&self, moment: Moment) -> i16 {
        self.zone.offset_minutes(moment)
    }

    /// Whether it holds no record at all.
    pub(super) fn is_empty(&self) -> bool {
        self.is_over && self.held.is_empty()
    }

    /// When its next record counts; none at the end, or where no line has told a time.
    pub(super) fn moment(&self) -> Option<Moment> {
        self.clock.filter(|_| !self.held.is_empty())
    }

    /// Bytes of the file's lines so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    pub(super) const fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// The next record, whose turn it is.
    pub(super) fn due(&self) -> Option<Due<'_>> {
        let Held { kind, length, line, .. } = *self.held.front()?;
        let text = self.text.get(self.start..self.start + length).unwrap_or_default();
        Some(Due { kind, text, line, moment: self.clock? })
    }

    /// Goes on to the record after it; tells how many bytes of the file it had to read for that.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn advance(&mut self) -> io::Result<usize> {
        if let Some(done) = self.held.pop_front() {
            self.start += done.length;
        }
        let mut read = 0;
        while self.held.is_empty() && !self.is_over {
            read += self.fill()?;
        }
        Ok(read + self.settle()?)
    }

    /// Finds the first time that is believed: the records before have it, too.
    fn begin(&mut self) -> io::Result<()> {
        let mut at = 0;
        while self.clock.is_none() {
            match self.held.get(at).copied() {
                Some(Held { told: Some(told), .. }) => {
                    if self.look_ahead(at, told)? {
                        self.clock = Some(told);
                    } else if let Some(held) = self.held.get_mut(at) {
                        held.told = None;
                        self.oddities.ahead += 1;
                    }
                    at += 1;
                }
                Some(_) => at += 1,
                None if self.is_over || self.text.len() >= AHEAD_MAX => return Ok(()),
                None => {
                    self.fill()?;
                }
            }
        }
        Ok(())
    }

    /// Sets the clock to the front record's time.
    fn settle(&mut self) -> io::Result<usize> {
        let (Some(Held { told: Some(told), .. }), Some(clock)) = (self.held.front().copied(), self.clock)
        else {
            return Ok(0);
        };
        let before = self.lines.bytes();
        if told > clock.saturating_add(LEAP) && !self.look_ahead(0, told)? {
            self.oddities.ahead += 1;
        } else if told >= clock {
            self.clock = Some(told);
        } else if self.step_of(told) < self.step_of(clock) {
            self.oddities.late += 1;
            self.oddities.latest = self.oddities.latest.max(clock - told);
        }
        Ok(usize::try_from(self.lines.bytes() - before).unwrap_or(usize::MAX))
    }

    /// Whether the records after this one bear its time out.
    fn look_ahead(&mut self, at: usize, told: Moment) -> io::Result<bool> {
        loop {
            let later = || self.held.iter().skip(at + 1).filter_map(|held| held.told);
            let has_all = later().nth(WITNESSES - 1).is_some() || self.text.len() - self.start >= AHEAD_MAX;
            // At a file's end nobody is left to ask but the file itself.
            if has_all || self.is_over {
                let is_possible = has_all || self.clock.is_none() || self.zone.is_past(told);
                return Ok(is_possible && is_borne_out(told, self.clock, later()));
            }
            self.fill()?;
        }
    }

    fn step_of(&self, moment: Moment) -> i64 {
        super::steps::step_of(moment, self.step)
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.text.drain(..self.start);
        self.start = 0;
        let Self { lines, text, held, zone, last_told, oddities, .. } = self;
        let dialect = lines.input.dialect;
        let read = lines.read(&mut |unwrapped, Place { piece, line }| {
            let (kind, record) = match unwrapped {
                Unwrapped::Record(record) => (Kind::Record, record),
                Unwrapped::TooLong(end) => (Kind::TooLong, end),
                Unwrapped::Torn => (Kind::Torn, &b""[..]),
            };
            let written = dialect.written(piece, record).filter(|_| kind == Kind::Record);
            let told = written.and_then(|written| zone.moment(written, *last_told));
            *last_told = told.or(*last_told);
            oddities.untold += u64::from(told.is_none() && !record.trim_ascii().is_empty());
            text.extend_from_slice(record);
            held.push_back(Held { kind, length: record.len(), line, told });
        })?;
        self.is_over = read == 0;
        Ok(read)
    }
}
