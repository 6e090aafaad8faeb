//! What has been consumed of one sequence of bytes, and how it is known again.
//!
//! A log file is recognised by its content: inode numbers come back (99 times of 99 on ext4 and overlay),
//! names shift, archives are compressed. The first line is the lookup key, a running hash of all consumed
//! bytes is the proof, and hashes at some earlier record ends ([`Mark`]) tell a copy that is still being
//! written from another file that merely begins alike.

use super::log_file::{FileId, Stamp};
use serde::{Deserialize, Serialize};
use std::hash::Hasher;
use std::io::{self, Read};
use twox_hash::XxHash64;

/// The longest part of a first line that is hashed as the lookup key.
pub(crate) const KEY_MAX: usize = 4096;

/// Record ends that are marked one by one before the distances double.
const MARKS_DENSE: usize = 16;

/// How much of an archive that is history is hashed: enough to know it again under another name.
const HISTORY: u64 = 1024 * 1024;

/// The hash of all bytes before an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    offset: u64,
    hash: u64,
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
    /// Digest and offset inside a line that is being passed over, and the line's first bytes.
    #[serde(skip)]
    ahead: Option<(XxHash64, u64, Vec<u8>)>,
    /// It was there before the first start, and is never read.
    pub(crate) is_history: bool,
    /// Its file was the live one when this was saved: if it is not found again, lines may be missing.
    pub(crate) was_live: bool,
    /// The file that it was read from last; a hint that decides between two files that begin alike.
    pub(crate) file: Option<FileId>,
    /// The finished file that holds nothing beyond it: not read again while it does not change.
    pub(crate) stamp: Option<Stamp>,
    /// When its file was on disk last, in seconds since 1970.
    pub(crate) last_seen: u64,
}

impl Stream {
    /// Takes a whole record.
    pub(crate) fn consume(&mut self, record: &[u8]) {
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
        self.digest.write(record);
        self.offset += record.len() as u64;
        let is_dense = self.marks.len() < MARKS_DENSE;
        let last = self.marks.last().map_or(0, |mark| mark.offset);
        if is_dense || self.offset >= last * 2 {
            self.marks.push(Mark { offset: self.offset, hash: self.digest.finish() });
        }
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

    /// A record of an archive that is history: recognised again, never read.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn history(mut content: impl Read) -> io::Result<Self> {
        let mut stream = Self { is_history: true, ..Self::default() };
        let mut bytes = Vec::new();
        content.by_ref().take(HISTORY).read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut rest = bytes.get(..end).unwrap_or_default();
        // Line by line, so that it has marks like any other.
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(at + 1);
            stream.consume(line);
            rest = after;
        }
        Ok(stream)
    }

    /// History that cannot be read: known by its stamp alone.
    pub(crate) fn unreadable_history() -> Self {
        Self { is_history: true, ..Self::default() }
    }

    /// As a snapshot keeps it.
    pub(crate) fn saved(&self, was_live: bool) -> Self {
        Self { was_live, ahead: None, ..self.clone() }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// It begins with all that was consumed.
    Same,
    /// It is shorter, and equal as far as it goes: a copy in progress.
    Shorter,
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
    let mut walk = Walk { digest: XxHash64::with_seed(0), offset: 0, wanted, found: Vec::new() };
    walk.take(&head);
    let mut chunk = vec![0; 64 * 1024];
    while read_all || walk.found.len() < walk.wanted.len() {
        match content.read(&mut chunk)? {
            0 => break,
            read => walk.take(chunk.get(..read).unwrap_or_default()),
        }
    }
    let hash_at = |offset: u64| walk.found.iter().find(|mark| mark.offset == offset).map(|mark| mark.hash);
    let likeness = streams.iter().map(|stream| {
        if !is_candidate(stream) {
            return Likeness::Other;
        }
        match hash_at(stream.offset) {
            Some(hash) if hash == stream.digest.finish() => Likeness::Same,
            Some(_) => Likeness::Other,
            None => {
                let reached = stream.marks.iter().filter_map(|mark| Some((mark.hash, hash_at(mark.offset)?)));
                if reached.clone().all(|(ours, theirs)| ours == theirs) {
                    Likeness::Shorter
                } else {
                    Likeness::Other
                }
            }
        }
    });
    Ok(Comparison { likeness: likeness.collect(), length: walk.offset, has_line })
}

/// Hashes content and keeps the hashes at wanted offsets.
struct Walk {
    digest: XxHash64,
    offset: u64,
    /// Ascending.
    wanted: Vec<u64>,
    found: Vec<Mark>,
}

impl Walk {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(&next) = self.wanted.get(self.found.len()) {
            let distance = usize::try_from(next - self.offset).unwrap_or(usize::MAX);
            let Some((before, after)) = bytes.split_at_checked(distance) else { break };
            self.digest.write(before);
            self.offset = next;
            self.found.push(Mark { offset: next, hash: self.digest.finish() });
            bytes = after;
        }
        self.digest.write(bytes);
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
        compare(content.as_bytes(), [stream].into_iter(), false).unwrap().likeness[0]
    }

    #[test]
    fn a_file_is_known_by_all_of_its_consumed_bytes() {
        let stream = consumed("same\none\ntwo\n");
        assert_eq!(Likeness::Same, likeness(&stream, "same\none\ntwo\nthree\n"));
        assert_eq!(Likeness::Same, likeness(&stream, "same\none\ntwo\n"));
        assert_eq!(Likeness::Other, likeness(&stream, "same\none\ntwi\nthree\n"));
        assert_eq!(Likeness::Other, likeness(&stream, "other\none\ntwo\n"));
    }

    #[test]
    fn a_growing_copy_is_told_from_a_file_that_begins_alike() {
        let stream = consumed("same\none\ntwo\n");
        assert_eq!(Likeness::Shorter, likeness(&stream, "same\none\nt"));
        assert_eq!(Likeness::Other, likeness(&stream, "same\nELSE\nt"));
        assert_eq!(Likeness::Other, likeness(&stream, "sam"), "without a whole line nothing can be said");
    }

    #[test]
    fn a_stream_is_known_after_a_line_that_was_passed_over() {
        let mut stream = Stream::default();
        let long = "x".repeat(KEY_MAX * 2);
        stream.pass_over(long.as_bytes());
        assert_eq!(0, stream.offset);
        stream.consume(b"end\n");
        assert_eq!(Likeness::Same, likeness(&stream, &format!("{long}end\nnext\n")));
    }

    #[test]
    fn marks_grow_with_the_logarithm_of_the_length() {
        let stream = consumed(&"a line of a log\n".repeat(100_000));
        assert!(stream.marks.len() < 40, "{}", stream.marks.len());
    }
}
