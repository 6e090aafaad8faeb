//! What has been consumed of one sequence of bytes, and how it is known again.
//!
//! A log file is recognised by its content: inode numbers come back (99 times of 99 on ext4 and overlay),
//! names shift, archives are compressed. The first line is the lookup key, a running hash of all consumed
//! bytes is the proof, and hashes at some earlier line ends ([`Mark`]) tell a copy that is still being written
//! from another file that merely begins alike, and say how far a file that lost its end is known.

use super::log_file::{Recent, Stamp};
use parsers::Pending;
use serde::{Deserialize, Serialize};
use std::hash::Hasher;
use std::io::{self, BufRead, BufReader, Read};
use twox_hash::XxHash64;

/// The longest part of a first line that is hashed as the lookup key.
pub(crate) const KEY_MAX: usize = 4096;

/// Line ends that are marked one by one before the distances double.
const MARKS_DENSE: usize = 16;

/// How many of the newest marks are kept, and how many there are before the others are thinned out.
const MARKS_NEWEST: usize = 16;
const MARKS_MAX: usize = 160;

/// How much of an archive that is history is hashed: enough to know it again under another name.
const HISTORY: u64 = 1024 * 1024;

/// The hash of all bytes before an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    offset: u64,
    hash: u64,
}

/// A [`Pending`] as a snapshot keeps it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Pending")]
struct SavedPending {
    parts: [Option<Vec<u8>>; 2],
    block: Vec<u8>,
    #[serde(skip)]
    room: Vec<u8>,
}

/// What has been consumed of one sequence of bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// Hash of the first line; none before the first record.
    key: Option<u64>,
    /// Bytes consumed; always at the end of a record.
    pub(crate) offset: u64,
    digest: XxHash64,
    marks: Vec<Mark>,
    /// What the consumed lines of a wrapped file have not made whole yet.
    #[serde(with = "SavedPending")]
    pub(crate) pending: Pending,
    /// Digest and offset inside a line that is being passed over, and the line's first bytes.
    #[serde(skip)]
    ahead: Option<(XxHash64, u64, Vec<u8>)>,
    /// It was there before the first start, and is never read.
    pub(crate) is_history: bool,
    /// Its file was the live one when this was saved: if it is not found again, lines may be missing.
    pub(crate) was_live: bool,
    /// The finished file that holds nothing beyond it: not read again while it does not change.
    pub(crate) stamp: Option<Stamp>,
    /// When its file was on disk last, in seconds since 1970.
    pub(crate) last_seen: u64,
}

impl Stream {
    /// Whether several records may be taken as one: only the first lines are marked each.
    pub(crate) const fn takes_many(&self) -> bool {
        self.marks.len() >= MARKS_DENSE && self.ahead.is_none()
    }

    /// Takes a whole record, or several.
    pub(crate) fn consume(&mut self, record: &[u8]) {
        if record.is_empty() {
            return;
        }
        let ahead = self.ahead.take();
        if self.key.is_none() {
            let passed = ahead.as_ref().map_or(&[][..], |(.., first)| first);
            let missing = KEY_MAX.saturating_sub(passed.len()).min(record.len());
            self.key = Some(key_of(&[passed, record.get(..missing).unwrap_or_default()].concat()));
        }
        if let Some((digest, offset, _)) = ahead {
            self.digest = digest;
            self.offset = offset;
        }
        // Among the first lines each one is marked, also inside a record of several.
        let mut rest = record;
        while self.marks.len() < MARKS_DENSE
            && let Some(at) = rest.iter().position(|byte| *byte == b'\n')
        {
            let (line, after) = rest.split_at(at + 1);
            self.write(line);
            self.mark();
            rest = after;
        }
        self.write(rest);
        let last = self.marks.last().map_or(0, |mark| mark.offset);
        if self.offset >= last * 2 {
            self.mark();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.digest.write(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Keeps the hash of what has been consumed so far. Called after each read: should the file lose its end,
    /// it is known up to a mark, and a crash of the machine takes what was written last.
    pub(crate) fn mark(&mut self) {
        if self.marks.last().is_none_or(|mark| mark.offset < self.offset) {
            self.marks.push(Mark { offset: self.offset, hash: self.digest.finish() });
        }
        if self.marks.len() > MARKS_MAX {
            self.thin_marks();
        }
    }

    /// Keeps the first and the newest marks, and of the others one in each doubling of the distance from the
    /// front and from the end.
    fn thin_marks(&mut self) {
        let (end, count) = (self.offset, self.marks.len());
        let (mut front, mut distance) = (0, u32::MAX);
        let mut at = 0;
        self.marks.retain(|mark| {
            at += 1;
            let is_front = mark.offset >= front * 2;
            let to_end = (end - mark.offset).checked_ilog2().unwrap_or(0);
            let is_kept = at <= MARKS_DENSE || at + MARKS_NEWEST > count || is_front || to_end < distance;
            if is_front {
                front = mark.offset;
            }
            if is_kept {
                distance = to_end;
            }
            is_kept
        });
    }

    /// Takes a part of a line that is passed over; it counts as consumed when its end does.
    pub(crate) fn pass_over(&mut self, part: &[u8]) {
        let (digest, offset, first) =
            self.ahead.get_or_insert_with(|| (self.digest.clone(), self.offset, Vec::new()));
        if first.len() < KEY_MAX {
            first.extend_from_slice(part.get(..KEY_MAX - first.len()).unwrap_or(part));
        }
        digest.write(part);
        *offset += part.len() as u64;
    }

    /// A file is opened to be read on from the offset: what was passed over in another one is passed again.
    pub(crate) fn reopen(&mut self) {
        self.ahead = None;
    }

    /// A record of an archive that is history: recognised again, never read.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn history(content: impl Read) -> io::Result<Self> {
        Ok(Self { is_history: true, ..Self::passed(content.take(HISTORY))?.0 })
    }

    /// All whole lines of some content, as if they had been consumed, and the newest bytes of them.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn passed(content: impl Read) -> io::Result<(Self, Recent)> {
        let (mut stream, mut recent) = (Self::default(), Recent::default());
        let mut content = BufReader::new(content);
        let mut line = Vec::new();
        // Line by line, so that it has marks like any other; in parts, so that no line needs much memory.
        while content.by_ref().take(KEY_MAX as u64).read_until(b'\n', &mut line)? > 0 {
            recent.add(&line);
            if line.ends_with(b"\n") {
                stream.consume(&line);
            } else {
                stream.pass_over(&line);
            }
            line.clear();
        }
        stream.ahead = None;
        Ok((stream, recent))
    }

    /// History that cannot be read: known by its stamp alone.
    pub(crate) fn unreadable_history() -> Self {
        Self { is_history: true, ..Self::default() }
    }

    /// As a snapshot keeps it.
    pub(crate) fn saved(&self, was_live: bool) -> Self {
        Self { was_live, ahead: None, ..self.clone() }
    }

    /// Whether these ends of a file's first lines are ends of its lines too, as far as each of them is marked.
    fn can_hold(&self, lines: &[u64]) -> bool {
        let dense = self.marks.get(..MARKS_DENSE).unwrap_or(&self.marks);
        let is_line = |end: &u64| dense.iter().any(|mark| mark.offset == *end);
        let is_marked = |end: &&u64| dense.last().is_some_and(|mark| **end <= mark.offset);
        lines.iter().filter(is_marked).all(is_line)
    }

    /// Whether anything has been consumed, so that it can be known again.
    pub(crate) const fn is_known(&self) -> bool {
        self.key.is_some() || (self.is_history && self.stamp.is_some())
    }
}

fn key_of(first_line: &[u8]) -> u64 {
    let end = first_line.iter().position(|byte| *byte == b'\n').map_or(first_line.len(), |at| at + 1);
    XxHash64::oneshot(0, first_line.get(..end.min(KEY_MAX)).unwrap_or_default())
}

/// How a file's content compares with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// It begins with all that was consumed.
    Same {
        /// The newest of these bytes: a file that has them there is the one that was compared.
        recent: Recent,
    },
    /// It is shorter, and equal as far as marks tell: a copy in progress, or what is left of a file.
    Shorter,
    /// It begins alike.
    Forked {
        /// The last mark up to which both are equal.
        common: u64,
    },
    /// Another file.
    Other,
}

/// What reading a whole candidate has shown.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// One likeness for each stream, in their order.
    pub(crate) likeness: Vec<Likeness>,
    /// Bytes of the content that were there.
    pub(crate) length: u64,
    /// Whether its first line is whole, so that it can be known again.
    pub(crate) has_line: bool,
}

/// Compares content with streams, reading no further than the longest of them.
///
/// # Errors
///
/// Those of reading; a compressed file that is not whole yet fails with `UnexpectedEof`.
pub(crate) fn compare<'a>(
    mut content: impl Read,
    streams: impl Iterator<Item = &'a Stream>,
    read_all: bool,
) -> io::Result<Comparison> {
    let streams: Vec<&Stream> = streams.collect();
    let mut head = Vec::with_capacity(KEY_MAX);
    content.by_ref().take(KEY_MAX as u64).read_to_end(&mut head)?;
    let has_line = head.contains(&b'\n') || head.len() == KEY_MAX;
    let key = has_line.then(|| key_of(&head));
    let is_candidate = |stream: &Stream| key.is_some() && stream.key == key;
    let mut wanted: Vec<u64> = streams
        .iter()
        .filter(|stream| is_candidate(stream))
        .flat_map(|stream| stream.marks.iter().map(|mark| mark.offset).chain([stream.offset]))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut walk = Walk {
        digest: XxHash64::with_seed(0),
        offset: 0,
        recent: Recent::default(),
        wanted,
        found: Vec::new(),
        lines: Vec::new(),
    };
    walk.take(&head);
    let mut chunk = vec![0; 64 * 1024];
    while read_all || walk.found.len() < walk.wanted.len() {
        match content.read(&mut chunk)? {
            0 => break,
            read => walk.take(chunk.get(..read).unwrap_or_default()),
        }
    }
    let likeness = streams.iter().map(|stream| {
        if !is_candidate(stream) {
            return Likeness::Other;
        }
        let agrees = |mark: &&Mark| walk.hash_at(mark.offset) == Some(mark.hash);
        let common = stream.marks.iter().take_while(agrees).last().map_or(0, |mark| mark.offset);
        let differs = |mark: &Mark| walk.hash_at(mark.offset).is_some_and(|hash| hash != mark.hash);
        match walk.at(stream.offset) {
            Some((mark, recent)) if mark.hash == stream.digest.finish() => {
                Likeness::Same { recent: recent.clone() }
            }
            None if stream.can_hold(&walk.lines) && !stream.marks.iter().any(differs) => Likeness::Shorter,
            _ => Likeness::Forked { common },
        }
    });
    Ok(Comparison { likeness: likeness.collect(), length: walk.offset, has_line })
}

/// Hashes content and keeps the hashes at wanted offsets.
struct Walk {
    digest: XxHash64,
    offset: u64,
    recent: Recent,
    /// Ascending.
    wanted: Vec<u64>,
    /// One for each of the wanted ones so far, with the bytes before it.
    found: Vec<(Mark, Recent)>,
    /// Ends of the first lines, as many as a stream marks one by one.
    lines: Vec<u64>,
}

impl Walk {
    fn hash_at(&self, offset: u64) -> Option<u64> {
        self.at(offset).map(|(mark, _)| mark.hash)
    }

    fn at(&self, offset: u64) -> Option<&(Mark, Recent)> {
        self.found.iter().find(|(mark, _)| mark.offset == offset)
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let ends = (self.offset + 1..).zip(bytes).filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end);
        self.lines.extend(ends.take(MARKS_DENSE - self.lines.len()));
        while let Some(&next) = self.wanted.get(self.found.len()) {
            let distance = usize::try_from(next - self.offset).unwrap_or(usize::MAX);
            let Some((before, after)) = bytes.split_at_checked(distance) else { break };
            self.digest.write(before);
            self.recent.add(before);
            self.offset = next;
            self.found.push((Mark { offset: next, hash: self.digest.finish() }, self.recent.clone()));
            bytes = after;
        }
        self.digest.write(bytes);
        self.recent.add(bytes);
        self.offset += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumed(text: &str) -> Stream {
        let mut stream = Stream::default();
        text.split_inclusive('\n').for_each(|line| stream.consume(line.as_bytes()));
        stream
    }

    fn likeness(stream: &Stream, content: &str) -> Likeness {
        compare(content.as_bytes(), [stream].into_iter(), false).unwrap().likeness.remove(0)
    }

    fn is_same(stream: &Stream, content: &str) -> bool {
        matches!(likeness(stream, content), Likeness::Same { .. })
    }

    #[test]
    fn a_file_is_known_by_all_of_its_consumed_bytes() {
        let stream = consumed("same\none\ntwo\n");
        assert!(is_same(&stream, "same\none\ntwo\nthree\n"));
        assert!(is_same(&stream, "same\none\ntwo\n"));
        assert_eq!(Likeness::Forked { common: 9 }, likeness(&stream, "same\none\ntwi\nthree\n"));
        assert_eq!(Likeness::Other, likeness(&stream, "other\none\ntwo\n"));
    }

    #[test]
    fn a_growing_copy_is_told_from_a_file_that_begins_alike() {
        let stream = consumed("same\none\ntwo\n");
        assert_eq!(Likeness::Shorter, likeness(&stream, "same\none\nt"));
        assert_eq!(Likeness::Forked { common: 5 }, likeness(&stream, "same\nELSE\nt"));
        assert_eq!(Likeness::Forked { common: 5 }, likeness(&stream, "same\nx\n"), "a line end of its own");
        assert_eq!(Likeness::Shorter, likeness(&stream, "same\nx"), "the second line is not whole");
        assert_eq!(Likeness::Other, likeness(&stream, "sam"), "without a whole line nothing can be said");
    }

    #[test]
    fn a_first_line_longer_than_the_key_is_told_by_its_end() {
        let long = "x".repeat(KEY_MAX * 3);
        let stream = consumed(&format!("{long}\none\n"));
        assert_eq!(Likeness::Shorter, likeness(&stream, &long));
        let other = format!("{}\ntwo\n", "x".repeat(KEY_MAX * 2));
        assert_eq!(Likeness::Forked { common: 0 }, likeness(&stream, &other));
    }

    #[test]
    fn a_stream_is_known_after_a_line_that_was_passed_over() {
        let mut stream = Stream::default();
        let long = "x".repeat(KEY_MAX * 2);
        stream.pass_over(long.as_bytes());
        assert_eq!(0, stream.offset);
        stream.consume(b"end\n");
        assert!(is_same(&stream, &format!("{long}end\nnext\n")));
    }

    #[test]
    fn marks_grow_with_the_logarithm_of_the_length() {
        let mut stream = Stream::default();
        for _ in 0..100_000 {
            stream.consume(b"a line of a log\n");
            stream.mark();
        }
        assert!(stream.marks.len() <= MARKS_MAX, "{}", stream.marks.len());
        stream.thin_marks();
        assert!(stream.marks.len() < 80, "{}", stream.marks.len());
        let offsets: Vec<u64> = stream.marks.iter().map(|mark| mark.offset).collect();
        for (lost, near) in [(16, 16), (100, 200), (10_000, 20_000), (1_000_000, 2_000_000)] {
            let left = stream.offset - lost;
            assert!(offsets.iter().any(|mark| (left.saturating_sub(near)..=left).contains(mark)), "{lost}");
        }
        for half in offsets.windows(2) {
            assert!(half[1] <= half[0] * 3, "from the front distances double: {half:?}");
        }
    }
}
