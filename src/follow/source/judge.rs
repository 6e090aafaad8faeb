//! What a file is: known by comparing its content with the streams.

use super::memory::Verdict;
use super::open::Open;
use super::{Candidate, HELD, Source, Start};
use crate::follow::log_file::{Agreement, LogFile, Recent, Stamp, agreement};
use crate::follow::stream::{Comparison, KEY_MAX, Likeness, Stream, compare};
use crate::follow::tail::Tail;
use std::io::{self, Read};
use std::time::Instant;

/// What a file is to the open files that have not been read yet.
enum Beside {
    /// Nothing like them.
    Alone,
    /// It repeats one of them.
    Copy,
    /// The open file with this index is an unfinished copy of it.
    Original(usize),
}

/// What a file is to a stream that it begins with.
enum Place {
    /// It goes on where the stream stands.
    Read,
    /// It goes on where the stream stands, and the file that is open for it does not.
    Instead,
    /// There is nothing to read in it.
    Nothing(Verdict),
    /// The stream's bytes are in another file; this one only begins alike.
    Elsewhere,
}

impl Source {
    pub(super) fn is_unknown(&self, candidate: &Candidate) -> bool {
        if self.open.iter().any(|open| open.tail.id() == candidate.id) {
            return false;
        }
        let Some(seen) = self.seen.get(&candidate.id) else { return true };
        if seen.stamp != Stamp::from(&candidate.metadata) {
            return true;
        }
        match seen.verdict {
            Verdict::Consumed(_) | Verdict::Nothing => candidate.is_live,
            Verdict::Remainder(_) => false,
            Verdict::Copy(stream) => !self.open.iter().any(|open| open.stream == stream),
            Verdict::Unfinished => candidate.is_live,
            Verdict::Undecided => true,
        }
    }

    /// Archives that are there at the first start are history: known, and never read.
    pub(super) fn note_history(&mut self, candidates: &[Candidate]) {
        for candidate in candidates.iter().filter(|candidate| !candidate.is_live) {
            let history = LogFile::open(&candidate.path).and_then(|file| Stream::history(file.content()?));
            let stream = self.add_stream(history.unwrap_or_else(|_| Stream::unreadable_history()));
            self.note_seen(candidate, Verdict::Consumed(stream));
        }
    }

    /// Finds out what a file is, and opens it if there is anything to read in it.
    pub(super) fn judge(&mut self, candidate: &Candidate, first: bool) -> io::Result<Option<Open>> {
        let file = LogFile::open(&candidate.path)?;
        // Names move while we look: this may be another file than the listed one, or one that is open.
        let id = file.id();
        if id != candidate.id || self.open.iter().any(|open| open.tail.id() == id) {
            return Ok(None);
        }
        // What was known about this very file says nothing about where its stream is now.
        let before = self.seen.remove(&candidate.id).map(|seen| seen.verdict);
        let ids: Vec<u64> = self.streams.keys().copied().collect();
        let compared = compare(file.content()?, self.streams.values(), file.is_gzip);
        let Comparison { likeness, length, has_line } = match compared {
            // An archive that is still being written; it is looked at again when it has grown.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.note_seen(candidate, Verdict::Unfinished);
                return Ok(None);
            }
            other => other?,
        };
        let length = if file.is_gzip { length } else { file.metadata.len() };
        let mut is_copy_in_progress = false;
        let (mut lost_end, mut remainder) = (None, None);
        // The longest stream that fits is the one that this file holds, unless that one is elsewhere.
        let mut like: Vec<(u64, Likeness)> = ids.into_iter().zip(likeness).collect();
        like.sort_by_key(|(id, _)| std::cmp::Reverse(self.streams.get(id).map(|stream| stream.offset)));
        for (id, likeness) in like {
            match likeness {
                Likeness::Other => {}
                Likeness::Forked { common } if common > 0 && self.may_have_lost_its_end(id, before) => {
                    lost_end = lost_end.or(Some((id, common)));
                }
                Likeness::Forked { .. } => {}
                Likeness::Shorter if self.may_have_lost_its_end(id, before) => {
                    remainder = remainder.or(Some(id));
                }
                Likeness::Shorter if self.has_live_name(candidate) => {
                    is_copy_in_progress |= !self.is_present(id);
                }
                Likeness::Shorter => is_copy_in_progress |= self.may_be_part(id, &file)?,
                Likeness::Same { recent } => match self.place(id, candidate, &file, length)? {
                    Place::Read => return self.open_stream(file, id, recent, candidate).map(Some),
                    Place::Nothing(verdict) => {
                        self.note_seen(candidate, verdict);
                        return Ok(None);
                    }
                    Place::Instead => {
                        if let Some(at) = self.open.iter().position(|open| open.stream == id) {
                            self.close(at);
                        }
                        return self.open_stream(file, id, recent, candidate).map(Some);
                    }
                    Place::Elsewhere => {}
                },
            }
        }
        // All of it has been counted; what is written to it next will tell where it goes on.
        if let Some(id) = remainder {
            self.note_seen(candidate, Verdict::Remainder(id));
            return Ok(None);
        }
        if let Some((id, common)) = lost_end {
            // Only when the archives are known too is it certain that no file holds the stream.
            if first {
                self.note_seen(candidate, Verdict::Undecided);
                return Ok(None);
            }
            if let Some(old) = self.streams.get_mut(&id) {
                old.was_live = false;
                let (file, counted) = (candidate.path.display(), old.offset);
                tracing::warn!(%file, counted, known = common, "lost its end: going on where it is known");
            }
            let (known, recent) = Stream::passed(file.content()?.take(common))?;
            let stream = self.add_stream(known);
            return self.open_stream(file, stream, recent, candidate).map(Some);
        }
        let is_unfinished = if candidate.is_live {
            is_copy_in_progress && !is_stale(candidate)
        } else {
            is_copy_in_progress || !has_line
        };
        if is_unfinished {
            // A whole archive without a whole line will never get one.
            let is_final = file.is_gzip && !has_line;
            self.note_seen(candidate, if is_final { Verdict::Nothing } else { Verdict::Unfinished });
            return Ok(None);
        }
        match self.beside_unread(candidate, &file)? {
            Beside::Alone => {}
            Beside::Copy => {
                self.note_seen(candidate, Verdict::Undecided);
                return Ok(None);
            }
            Beside::Original(copy) => self.close(copy),
        }
        let stream = self.add_stream(Stream::default());
        let mut open = self.open_stream(file, stream, Recent::default(), candidate)?;
        if first
            && self.has_history
            && self.start == Start::End
            && let Some(stream) = self.streams.get_mut(&stream)
        {
            open.tail.skip_to_end(stream, self.line_max)?;
        }
        Ok(Some(open))
    }

    /// Whether it has the live file's name, and does not only stand in for it while no file has.
    fn has_live_name(&self, candidate: &Candidate) -> bool {
        candidate.path == self.live_path
    }

    /// Whether a file that begins like the stream may be what is left of it: no file holds it, and its own was
    /// the live one when the state was saved. So the machine has crashed: the state was synced, the log was not.
    fn may_have_lost_its_end(&self, id: u64, before: Option<Verdict>) -> bool {
        let was_live = self.streams.get(&id).is_some_and(|stream| stream.was_live && !stream.is_history);
        let is_open = self.owes_gaps || before == Some(Verdict::Remainder(id));
        was_live && is_open && !self.is_present(id)
    }

    /// Whether a file may be an unfinished copy of a stream that it agrees with as far as marks tell. A file
    /// that still holds the stream when both were compared tells for certain.
    fn may_be_part(&self, id: u64, file: &LogFile) -> io::Result<bool> {
        if let Some(open) = self.open.iter().find(|open| open.stream == id) {
            let Some(theirs) = open.tail.content()? else { return Ok(true) };
            let differ = agreement(file.content()?, theirs, 0)? == Agreement::Differ;
            return Ok(!differ || !open.tail.is_intact()?);
        }
        let Some(holder) = self.holder(id) else { return Ok(true) };
        let differ = agreement(file.content()?, holder.content()?, 0)? == Agreement::Differ;
        Ok(!differ || !holder.is_unchanged()?)
    }

    /// The closed file that was read to the stream's end, as long as it has neither moved nor changed.
    fn holder(&self, id: u64) -> Option<LogFile> {
        let seen = self.seen.values().find(|seen| seen.verdict == Verdict::Consumed(id))?;
        LogFile::open(&seen.path).ok().filter(|opened| Stamp::from(&opened.metadata) == seen.stamp)
    }

    /// How an archive relates to open files of which nothing has been consumed yet, so that their streams
    /// cannot be known: of two that are equal as far as the shorter one goes, the longer one is read.
    fn beside_unread(&self, candidate: &Candidate, file: &LogFile) -> io::Result<Beside> {
        for (at, open) in self.open.iter().enumerate().filter(|_| !candidate.is_live) {
            let is_unread = self.streams.get(&open.stream).is_some_and(|stream| !stream.is_known());
            if !is_unread || (open.tail.can_grow() && open.tail.lag() == 0) {
                continue;
            }
            let theirs = || match open.tail.content()? {
                Some(theirs) => Ok(theirs),
                None => LogFile::open(&open.path)?.content(),
            };
            let ours = file.content()?;
            match agreement(ours, theirs()?, 0)? {
                Agreement::Differ => {}
                // It is judged again at the next look: by then its original was read, or cut.
                Agreement::Within => return Ok(Beside::Copy),
                Agreement::Beyond if open.path == self.live_path || !has_whole_line(theirs()?)? => {}
                Agreement::Beyond => return Ok(Beside::Original(at)),
            }
        }
        Ok(Beside::Alone)
    }

    /// What a file is to a stream that it begins with. Two files may begin alike: then one of them goes on
    /// where the stream stands, and the other is a stream of its own. Which one is which does not matter,
    /// since the bytes that they share mean the same.
    fn place(&self, id: u64, candidate: &Candidate, file: &LogFile, length: u64) -> io::Result<Place> {
        let Some(stream) = self.streams.get(&id) else { return Ok(Place::Elsewhere) };
        if stream.is_history {
            let other = Place::Nothing(Verdict::Consumed(id));
            return Ok(if self.has_live_name(candidate) { Place::Elsewhere } else { other });
        }
        let ours = || file.content();
        if let Some(open) = self.open.iter().find(|open| open.stream == id) {
            let agreement = match open.tail.content()? {
                Some(theirs) => agreement(ours()?, theirs, stream.offset)?,
                None => Agreement::Within,
            };
            // It goes on where a file that was replaced ends, or it is the live file, which is held open even
            // with nothing to read: waiting for the other one to be closed would only be late.
            let goes_on = match agreement {
                Agreement::Differ => false,
                Agreement::Within => self.has_live_name(candidate) && open.tail.lag() == 0,
                Agreement::Beyond => true,
            };
            if goes_on && open.path != self.live_path {
                return Ok(Place::Instead);
            }
            let agrees = agreement != Agreement::Differ;
            // What the open file was cut to meanwhile says nothing about its copy.
            let is_copy = agrees || !open.tail.is_intact()?;
            return Ok(if is_copy { Place::Nothing(Verdict::Copy(id)) } else { Place::Elsewhere });
        }
        if length > stream.offset {
            if !self.seen.values().any(|seen| seen.verdict == Verdict::Consumed(id)) {
                return Ok(Place::Read);
            }
            // It has moved or changed since the folder was listed; the next look knows more.
            let Some(theirs) = self.holder(id) else { return Ok(Place::Nothing(Verdict::Undecided)) };
            // What is left in a file that was read to its end is a half line. The same in its copy is nothing
            // new; more of it is; another continuation is another file.
            let agreement = agreement(ours()?, theirs.content()?, stream.offset)?;
            return Ok(match agreement {
                Agreement::Differ => Place::Elsewhere,
                Agreement::Within => Place::Nothing(Verdict::Consumed(id)),
                Agreement::Beyond => Place::Read,
            });
        }
        // The live file is held open even with nothing to read: it will grow.
        Ok(if candidate.is_live { Place::Read } else { Place::Nothing(Verdict::Consumed(id)) })
    }

    fn open_stream(
        &mut self,
        file: LogFile,
        stream: u64,
        recent: Recent,
        candidate: &Candidate,
    ) -> io::Result<Open> {
        let Some(known) = self.streams.get_mut(&stream) else {
            return Err(io::Error::other("no such stream"));
        };
        let size = file.metadata.len();
        let tail = Tail::new(file, known, recent, self.line_max)?;
        let offset = known.offset;
        tracing::debug!(file = %candidate.path.display(), stream, offset, size, "opened");
        known.reopen();
        self.error = None;
        let path = candidate.path.clone();
        Ok(Open { tail, stream, grew: Instant::now(), is_live: candidate.is_live, path, searched: 0 })
    }

    fn add_stream(&mut self, stream: Stream) -> u64 {
        let id = self.next_stream;
        self.next_stream += 1;
        self.streams.insert(id, stream);
        id
    }
}

/// Whether the first line is whole; a longer one than is ever read counts as such.
fn has_whole_line(content: impl Read) -> io::Result<bool> {
    let mut head = Vec::new();
    content.take(KEY_MAX as u64).read_to_end(&mut head)?;
    Ok(head.contains(&b'\n') || head.len() == KEY_MAX)
}

/// Whether a live file that looks like a copy in progress has not changed for a while: then it is no copy,
/// only a short file that begins like another one.
fn is_stale(candidate: &Candidate) -> bool {
    let age = candidate.metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age >= HELD)
}
