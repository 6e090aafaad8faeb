//! What container runtimes and loggers put around a server's lines, and how it is taken off again.
//!
//! A [`Dialect`] is what a file holds: a format's records, and what is around their lines. It is found per file
//! ([`detect`]), by the first line that tells. The way of a wrapped record has one step more: [`Dialect::frame`]
//! cuts a line as it stands in the file, [`Dialect::unwrap`] takes the wrapper off and hands on the records that
//! are whole by then, and only these are parsed.
//!
//! Runtimes cut long lines into parts, and the parts of one output may stand between lines of the other one. So
//! what is not whole yet is kept in a [`Pending`], which belongs to the position in the file: a reader that saves
//! the one saves the other. It never holds more than a longest line of each.

mod cri;
mod docker;
mod klog;
mod systemd;

use crate::formats::{FORMATS, Format, format_named};
use crate::framing::{self, Frame};
use crate::written::{self, Written};
use std::fmt;

/// The longest line of a wrapped file: a part of 16 KiB, as Docker writes it when each of its bytes is escaped.
const RAW_MAX: usize = 128 * 1024;

/// What is around each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Carrier {
    #[default]
    None,
    Docker,
    Cri,
    Systemd,
}

impl Carrier {
    const ALL: [Self; 3] = [Self::Docker, Self::Cri, Self::Systemd];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Docker => "docker",
            Self::Cri => "cri",
            Self::Systemd => "systemd",
        }
    }

    /// Takes a line apart; `None` where it is not wrapped in this.
    fn open<'a>(self, line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Opened<'a>> {
        match self {
            Self::None => None,
            Self::Docker => docker::open(line, buffer),
            Self::Cri => cri::open(line),
            Self::Systemd => systemd::text(line).map(Opened::whole),
        }
    }
}

/// A line without its wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opened<'a> {
    /// Which of the server's two outputs wrote it: 0 or 1.
    output: usize,
    /// Whether the line goes on in the next one of this output.
    is_part: bool,
    /// The text, with its newline unless it is a part.
    text: &'a [u8],
}

impl<'a> Opened<'a> {
    const fn whole(text: &'a [u8]) -> Self {
        Self { output: 0, is_part: false, text }
    }
}

const KLOG: &str = "klog";

/// What is around the lines of a file: what a runtime put there, and inside of it what a logger did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrapper {
    carrier: Carrier,
    has_klog: bool,
}

impl Wrapper {
    /// Nothing.
    pub const BARE: Self = Self { carrier: Carrier::None, has_klog: false };

    /// Whether there is nothing around the lines.
    pub fn is_bare(self) -> bool {
        self == Self::BARE
    }

    /// What a line is wrapped in, and its text; `None` where in nothing.
    fn of<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<(Self, Opened<'a>)> {
        let carrier = Carrier::ALL.into_iter().find(|carrier| carrier.open(line, buffer).is_some());
        let carrier = carrier.unwrap_or_default();
        let opened = carrier.open(line, buffer).unwrap_or(Opened::whole(line));
        let klog = klog::text(opened.text).filter(|_| !opened.is_part);
        let wrapper = Self { carrier, has_klog: klog.is_some() };
        let opened = Opened { text: klog.unwrap_or(opened.text), ..opened };
        (!wrapper.is_bare()).then_some((wrapper, opened))
    }
}

/// What a file holds: records of a format, with something around their lines or not.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// What is around the lines.
    pub wrapper: Wrapper,
    /// What is inside.
    pub format: &'static Format,
}

/// By names: there is one format of each.
impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.wrapper == other.wrapper && self.format.name == other.format.name
    }
}

/// `bentoml`, `bentoml in cri`, `vllm in klog in docker`.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.name)?;
        if self.wrapper.has_klog {
            write!(f, " in {KLOG}")?;
        }
        if self.wrapper.carrier != Carrier::None {
            write!(f, " in {}", self.wrapper.carrier.name())?;
        }
        Ok(())
    }
}

/// What a line in a file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwrapped<'a> {
    /// A whole record of the format.
    Record(&'a [u8]),
    /// The end of a line whose parts together are longer than the longest line.
    TooLong(&'a [u8]),
    /// A line that will never get its end.
    Torn,
}

/// What of a wrapped file is not a whole record yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The parts so far of a line of each output, standard output first. A line that has grown longer than the
    /// longest one is kept one byte longer than that.
    pub parts: [Option<Vec<u8>>; 2],
    /// The lines so far of a record of several.
    pub block: Vec<u8>,
    /// Room for a line without its escapes; empty between lines.
    pub room: Vec<u8>,
}

impl Dialect {
    /// A format without anything around its lines.
    pub const fn bare(format: &'static Format) -> Self {
        Self { wrapper: Wrapper::BARE, format }
    }

    /// The dialect that is shown like this.
    pub fn named(name: &str) -> Option<Self> {
        let mut words = name.split(" in ");
        let format = format_named(words.next()?)?;
        let mut wrapper = Wrapper::BARE;
        for word in words {
            match Carrier::ALL.into_iter().find(|carrier| carrier.name() == word) {
                Some(carrier) => wrapper.carrier = carrier,
                None if word == KLOG => wrapper.has_klog = true,
                None => return None,
            }
        }
        Some(Self { wrapper, format })
    }

    /// Cuts the next piece off the front of a buffer: a record, or a line where it is wrapped.
    pub fn frame(self, buffer: &[u8]) -> Frame {
        if self.wrapper.is_bare() { (self.format.frame)(buffer) } else { framing::line(buffer) }
    }

    /// The longest piece that is cut off, where the longest line of the format may have `line_max` bytes.
    pub fn raw_max(self, line_max: usize) -> usize {
        if self.wrapper.is_bare() { line_max } else { line_max.max(RAW_MAX) }
    }

    /// Takes the wrapper off a piece, and hands out the records that are whole with it. A line that is not
    /// wrapped, in a file where others are, is taken as it is.
    pub fn unwrap(
        self,
        piece: &[u8],
        pending: &mut Pending,
        line_max: usize,
        mut take: impl FnMut(Unwrapped<'_>),
    ) {
        if self.wrapper.is_bare() {
            return take(Unwrapped::Record(piece));
        }
        let mut room = std::mem::take(&mut pending.room);
        let opened = self.wrapper.carrier.open(piece, &mut room).unwrap_or(Opened::whole(piece));
        let parts = pending.parts.get_mut(opened.output);
        match parts {
            Some(parts) if opened.is_part || parts.is_some() => {
                let whole = parts.get_or_insert_default();
                let left = (line_max + 1).saturating_sub(whole.len()).min(opened.text.len());
                whole.extend_from_slice(opened.text.get(..left).unwrap_or_default());
                if let Some(whole) = parts.take_if(|_| !opened.is_part) {
                    // Its newline stands for the one byte more.
                    if whole.len() > line_max && !whole.ends_with(b"\n") {
                        take(Unwrapped::TooLong(opened.text));
                    } else {
                        self.take_line(&whole, &mut pending.block, line_max, &mut take);
                    }
                }
            }
            _ => self.take_line(opened.text, &mut pending.block, line_max, &mut take),
        }
        room.clear();
        pending.room = room;
    }

    /// When a record was written that became whole with this piece: by the container runtime's clock, which tells its
    /// zone, else as the record tells, else as the logger around it does.
    pub fn written(self, piece: &[u8], record: &[u8]) -> Option<Written> {
        let by_runtime = match self.wrapper.carrier {
            Carrier::Cri => written::cri(piece),
            Carrier::Docker => written::docker(piece),
            Carrier::None | Carrier::Systemd => None,
        };
        let by_logger = || written::front(piece).filter(|_| !self.wrapper.is_bare());
        by_runtime.or_else(|| (self.format.written)(record)).or_else(by_logger)
    }

    /// Takes what will not go on: nothing more comes.
    pub fn finish(self, pending: &mut Pending, mut take: impl FnMut(Unwrapped<'_>)) {
        for line in pending.block.split_inclusive(|byte| *byte == b'\n') {
            take(Unwrapped::Record(line));
        }
        pending.parts.iter().flatten().for_each(|_| take(Unwrapped::Torn));
        *pending = Pending::default();
    }

    fn take_line(
        self,
        line: &[u8],
        block: &mut Vec<u8>,
        line_max: usize,
        take: &mut impl FnMut(Unwrapped<'_>),
    ) {
        let line = if self.wrapper.has_klog { klog::text(line).unwrap_or(line) } else { line };
        if line.len() > line_max + 1 {
            return take(Unwrapped::TooLong(line));
        }
        if block.is_empty() && (self.format.frame)(line) == Frame::Record(line.len()) {
            return take(Unwrapped::Record(line));
        }
        block.extend_from_slice(line);
        let mut start = 0;
        while let Some(rest) = block.get(start..).filter(|rest| !rest.is_empty()) {
            let frame = match (self.format.frame)(rest) {
                // A block that is not whole though it grew beyond the limit falls apart into lines.
                Frame::Incomplete if rest.len() > line_max => framing::line(rest),
                frame => frame,
            };
            let Frame::Record(length) = frame else { break };
            take(Unwrapped::Record(rest.get(..length).unwrap_or_default()));
            start += length;
        }
        block.drain(..start);
    }
}

/// Finds what a file holds from its first bytes: the format of the first line which only one can have written, and
/// what is around that line. `None` where no line tells yet.
///
/// Many servers write access lines of one shape, so these tell only where no other line does.
pub fn detect(head: &[u8]) -> Option<Dialect> {
    let (common, specific): (Vec<&'static Format>, Vec<_>) =
        FORMATS.iter().partition(|format| format.is_generic);
    detect_among(head, &specific).or_else(|| detect_among(head, &common))
}

fn detect_among(head: &[u8], formats: &[&'static Format]) -> Option<Dialect> {
    let recognise = |line: &[u8]| {
        let text = std::str::from_utf8(framing::trim_end(line)).ok()?;
        formats.iter().copied().find(|format| (format.recognises)(text))
    };
    first_line(head, |line, wrapped| {
        let inside = wrapped.and_then(|(wrapper, text)| Some(Dialect { wrapper, format: recognise(text)? }));
        // A runtime's line is nothing but its text; a prefix may belong to a format.
        let may_be_bare = wrapped.is_none_or(|(wrapper, _)| wrapper.has_klog);
        inside.or_else(|| recognise(line).filter(|_| may_be_bare).map(Dialect::bare))
    })
}

/// Finds what is around a file's lines from its first bytes, whatever is inside. `None` where nothing is, or no
/// line tells yet.
pub fn detect_wrapper(head: &[u8]) -> Option<Wrapper> {
    first_line(head, |_, wrapped| wrapped.map(|(wrapper, _)| wrapper))
}

/// The first answer that a whole line gives, from the line and from what it is wrapped in and its text. Parts of
/// lines are not asked: their middle may look like anything.
fn first_line<T>(head: &[u8], ask: impl Fn(&[u8], Option<(Wrapper, &[u8])>) -> Option<T>) -> Option<T> {
    let (mut rest, mut buffer, mut is_open) = (head, Vec::new(), [false; 2]);
    while let Frame::Record(length) = framing::line(rest) {
        let (line, after) = rest.split_at_checked(length)?;
        rest = after;
        let wrapped = Wrapper::of(line, &mut buffer);
        if let Some((_, opened)) = wrapped
            && let Some(is_open) = is_open.get_mut(opened.output)
            && (std::mem::replace(is_open, opened.is_part) || opened.is_part)
        {
            continue;
        }
        let answer = ask(line, wrapped.map(|(wrapper, opened)| (wrapper, opened.text)));
        if answer.is_some() {
            return answer;
        }
    }
    None
}

#[cfg(test)]
mod tests;
