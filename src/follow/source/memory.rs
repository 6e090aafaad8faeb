//! What a source remembers of files and streams that are not open.

use super::{Candidate, Source};
use crate::follow::log_file::Stamp;
use std::path::PathBuf;

/// How many streams are remembered, and for how many seconds after their files are gone.
const REMEMBERED: usize = 4096;
const REMEMBERED_FOR: u64 = 7 * 86_400;

/// What is known about a file that is not open.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    pub(super) verdict: Verdict,
    pub(super) path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing in it is unread: it holds this stream.
    Consumed(u64),
    /// It repeats a stream that is open elsewhere; it may continue it once that one ends.
    Copy(u64),
    /// It is what is left of this stream, whose end is gone; it may go on otherwise.
    Remainder(u64),
    /// It is still being written: not yet known.
    Unfinished,
    /// Files were changing while it was judged; judged again at the next look.
    Undecided,
    /// Nothing can be read in it, because it is damaged or has no whole line; judged again when it changes.
    Nothing,
}

impl Source {
    /// A finished file that has not changed since a snapshot is not read again to know it.
    pub(super) fn trust_stamps(&mut self, candidates: &[Candidate]) {
        for candidate in candidates.iter().filter(|candidate| !candidate.is_live) {
            let stamp = Some(Stamp::from(&candidate.metadata));
            let known = self.streams.iter().find(|(_, stream)| stream.stamp == stamp).map(|(id, _)| *id);
            if let Some(stream) = known {
                self.note_seen(candidate, Verdict::Consumed(stream));
            }
        }
    }

    /// Keeps what a file was found to be.
    pub(super) fn note_seen(&mut self, candidate: &Candidate, verdict: Verdict) {
        tracing::debug!(file = %candidate.path.display(), size = candidate.metadata.len(), ?verdict, "judged");
        let stamp = Stamp::from(&candidate.metadata);
        if let Verdict::Consumed(stream) = verdict
            && let Some(stream) = self.streams.get_mut(&stream)
        {
            stream.stamp = Some(stamp);
        }
        let path = candidate.path.clone();
        self.seen.insert(candidate.id, Seen { stamp, verdict, path });
    }

    /// Archives change their names as they grow older.
    pub(super) fn note_names(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            if let Some(seen) = self.seen.get_mut(&candidate.id) {
                seen.path.clone_from(&candidate.path);
            }
        }
        for open in &mut self.open {
            if let Some(candidate) = candidates.iter().find(|candidate| candidate.id == open.tail.id()) {
                open.path.clone_from(&candidate.path);
            }
        }
    }

    /// Whether a file on disk holds the stream.
    pub(super) fn is_present(&self, stream: u64) -> bool {
        let holds =
            |seen: &Seen| matches!(seen.verdict, Verdict::Consumed(of) | Verdict::Copy(of) if of == stream);
        self.open.iter().any(|open| open.stream == stream) || self.seen.values().any(holds)
    }

    /// Forgets files that are gone, and streams whose files have been gone for long.
    pub(super) fn note_presence(&mut self, candidates: &[Candidate], now: u64) {
        self.seen.retain(|id, _| candidates.iter().any(|candidate| candidate.id == *id));
        let ids: Vec<u64> = self.streams.keys().copied().collect();
        for id in ids {
            let is_present = self.is_present(id);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if is_present || stream.last_seen == 0 {
                stream.last_seen = now;
            } else if stream.last_seen + REMEMBERED_FOR < now {
                self.streams.remove(&id);
            }
        }
        while self.streams.len() > REMEMBERED {
            let gone = self.streams.iter().filter(|(id, _)| !self.is_present(**id));
            let Some(oldest) = gone.min_by_key(|(id, stream)| (stream.last_seen, **id)).map(|(id, _)| *id)
            else {
                break;
            };
            self.streams.remove(&oldest);
        }
    }

    /// Whether a file is not known yet: it may be one that seems to be missing.
    pub(super) fn has_unfinished(&self) -> bool {
        let is_open = |seen: &Seen| matches!(seen.verdict, Verdict::Unfinished | Verdict::Undecided);
        self.seen.values().any(is_open)
    }

    /// Files that were live when the snapshot was written and are not on disk any more: what was written to
    /// them after it is lost.
    pub(super) fn count_gaps(&self) -> u64 {
        let live = self.streams.iter().filter(|(_, stream)| stream.was_live).map(|(id, _)| *id);
        live.filter(|id| !self.is_present(*id) && !self.has_remainder(*id)).count() as u64
    }

    /// Whether a file is what is left of the stream.
    pub(super) fn has_remainder(&self, stream: u64) -> bool {
        self.seen.values().any(|seen| seen.verdict == Verdict::Remainder(stream))
    }
}
