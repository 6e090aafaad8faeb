//! One source: a folder and a stem, and the streams of bytes that its files hold.
//!
//! Files are recognised by content ([`Stream`]), never by name or inode: rename, compression, copying and
//! reused inode numbers need no cases of their own. Each look lists the source's files. One that is new or
//! has changed is compared with the known streams: it continues a closed one, it is a copy of an open one,
//! it is a copy in progress, or it is new and read from its front.

mod judge;
mod memory;
mod open;

use super::cut::Piece;
use super::discover::{Found, archives, ends_inside};
use super::listing::Folders;
use super::log_file::{FileId, Stamp};
use super::pods::Pod;
use super::stream::Stream;
use super::told::Told;
use crate::state::Role;
use memory::{Seen, Verdict};
use open::Open;
use parsers::{Dialect, Pending};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a file that lost its name is held after its last growth: its writer may still have it open
/// (logrotate's and kubelet's writers do for seconds). Closing it early is safe, it is found again.
const HELD: Duration = Duration::from_secs(10);

/// How long a name may show a file that has none before it is said to be stale.
const STALE: Duration = Duration::from_secs(10);

/// How many files are held open besides the live one.
const HELD_MAX: usize = 64;

/// Bytes taken from a source before the next one has its turn.
const TURN: usize = 4 * 1024 * 1024;

/// Where reading begins in a file that is there at the first look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Start {
    /// At its first byte.
    #[default]
    Start,
    /// At its next line.
    End,
}

/// What a look or a read found out about a source's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) rotations: u64,
    pub(crate) truncations: u64,
    pub(crate) archives: u64,
    pub(crate) gaps: u64,
}

/// A file of the source.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    id: FileId,
    metadata: Metadata,
    is_live: bool,
}

/// One source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) live_path: PathBuf,
    /// The PATH that it was found by.
    pub(crate) watched: PathBuf,
    pub(crate) role: Role,
    /// Whether the user named this very file.
    pub(crate) is_named: bool,
    /// Whose container writes it, on a node of Kubernetes.
    pub(crate) pod: Option<Pod>,
    /// Since when no file of it is on disk, in seconds of our running time.
    gone_since: Option<u64>,
    /// Index of its facts in the state.
    pub(crate) facts: usize,
    /// Index of its server in the state.
    pub(crate) server: u32,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) offset_minutes: i16,
    /// What its files hold.
    pub(super) told: Told,
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
    /// Oldest first, the live one last.
    open: Vec<Open>,
    seen: HashMap<FileId, Seen>,
    start: Start,
    pub(crate) roots: Option<Vec<PathBuf>>,
    /// Whether vanished files are still to be counted as gaps: once, when all that is there is known.
    owes_gaps: bool,
    /// Whether archives at the first look are history: not after a restore, and not for a source that
    /// appears later.
    has_history: bool,
    first_look: Option<Instant>,
    pub(crate) line_max: usize,
    /// Since when the live name shows a file that has no name any more.
    nameless_since: Option<Instant>,
    /// What opening a file last failed with.
    pub(crate) error: Option<String>,
    /// The source whose lines it repeats: then only its facts are taken.
    pub(crate) repeats: Option<String>,
}

/// What the configuration and the state say about a new source.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The PATH that it was found by.
    pub(crate) watched: PathBuf,
    pub(crate) facts: usize,
    pub(crate) server: u32,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) offset_minutes: i16,
    /// What it holds as far as the configuration and a snapshot tell.
    pub(crate) told: Told,
    pub(crate) start: Start,
    pub(crate) line_max: usize,
    /// Where the live name may lead, the PATH's folder first; none: anywhere, the user named it.
    pub(crate) roots: Option<Vec<PathBuf>>,
    /// Streams of a snapshot.
    pub(crate) streams: Vec<Stream>,
    /// Whether archives that are there already are history.
    pub(crate) has_history: bool,
}

impl Source {
    pub(crate) fn new(found: &Found, setup: Setup) -> Self {
        let streams: BTreeMap<u64, Stream> = (0..).zip(setup.streams).collect();
        Self {
            live_path: found.live.clone(),
            watched: setup.watched,
            role: found.role,
            is_named: found.is_named,
            pod: found.pod.clone(),
            gone_since: None,
            facts: setup.facts,
            server: setup.server,
            name: setup.name,
            labels: setup.labels,
            offset_minutes: setup.offset_minutes,
            told: setup.told,
            next_stream: streams.len() as u64,
            streams,
            open: Vec::new(),
            seen: HashMap::new(),
            start: setup.start,
            roots: setup.roots,
            owes_gaps: true,
            has_history: setup.has_history,
            first_look: None,
            line_max: setup.line_max,
            nameless_since: None,
            error: None,
            repeats: None,
        }
    }

    /// Whether the live file is open.
    pub(crate) fn is_active(&self) -> bool {
        self.open.iter().any(|open| open.is_live)
    }

    /// Whether the live name shows a file that was replaced long ago: a mount of a single file keeps the old one
    /// for ever (moby/moby#34605), and nothing can be done about it from inside.
    pub(crate) fn is_stale(&self) -> bool {
        self.nameless_since.is_some_and(|since| since.elapsed() >= STALE)
    }

    /// For how many seconds no file of it has been on disk.
    pub(crate) fn gone_for(&self, now: u64) -> u64 {
        self.gone_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// Bytes on disk that have not been consumed, as far as open files tell.
    pub(crate) fn lag(&self) -> u64 {
        self.open.iter().map(|open| open.tail.lag()).sum()
    }

    /// Whether an open file has another length than was read.
    pub(crate) fn has_grown(&self) -> bool {
        self.open.iter().any(|open| open.tail.has_grown())
    }

    /// The streams as a snapshot keeps them.
    pub(crate) fn streams(&self) -> impl Iterator<Item = Stream> {
        let is_live = |id: u64| self.open.iter().any(|open| open.stream == id && open.is_live);
        // As long as it is open what has become of a live file, the next start has to find out.
        let was_live =
            |id: u64, stream: &Stream| stream.was_live && (self.owes_gaps || self.has_remainder(id));
        let known = self.streams.iter().filter(|(_, stream)| stream.is_known());
        known.map(move |(id, stream)| stream.saved(is_live(*id) || was_live(*id, stream)))
    }

    /// Compares the files on disk with what is known.
    pub(crate) fn look(&mut self, now: u64, folders: &mut Folders) -> Changes {
        let mut changes = Changes::default();
        let first = self.first_look.is_none();
        let first_look = *self.first_look.get_or_insert_with(Instant::now);
        let candidates = self.candidates(folders);
        self.gone_since = candidates.is_empty().then(|| self.gone_since.unwrap_or(now));
        self.note_names(&candidates);
        let is_nameless = candidates.last().is_some_and(|last| last.is_live && last.metadata.nlink() == 0);
        self.nameless_since = is_nameless.then(|| self.nameless_since.unwrap_or_else(Instant::now));
        if first {
            self.trust_stamps(&candidates);
            if self.has_history {
                self.note_history(&candidates);
            }
        }
        let unknown: Vec<&Candidate> =
            candidates.iter().filter(|candidate| self.is_unknown(candidate)).collect();
        // The live file is judged first: where two files hold one stream, it is the one that grows.
        let (live, archives): (Vec<&Candidate>, Vec<&Candidate>) =
            unknown.into_iter().partition(|candidate| candidate.is_live);
        let had_live = self.is_active();
        for candidate in live.into_iter().chain(archives) {
            match self.judge(candidate, first) {
                Ok(Some(open)) => {
                    changes.archives += u64::from(!open.is_live);
                    changes.rotations += u64::from(open.is_live && had_live);
                    self.open.push(open);
                }
                Ok(None) => {}
                // It was renamed or deleted since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    // Permissions may be granted without a trace in the file's times: tried at every look.
                    let is_damaged =
                        matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
                    if is_damaged {
                        self.note_seen(candidate, Verdict::Nothing);
                    }
                    self.error = Some(format!("cannot read {}: {error}", candidate.path.display()));
                }
            }
        }
        self.name_open_files(&candidates);
        self.note_presence(&candidates, now);
        // What is unfinished may be one that seems to be missing; but an empty archive stays so for ever.
        let is_settled = !self.has_unfinished() || first_look.elapsed() >= HELD;
        if self.owes_gaps && self.error.is_none() && is_settled {
            self.owes_gaps = false;
            changes.gaps += self.count_gaps();
        }
        changes
    }

    /// Reads one turn's bytes, oldest file first, and hands the pieces out.
    pub(crate) fn read(
        &mut self,
        changes: &mut Changes,
        mut take: impl FnMut(Piece<'_>, Dialect, &mut Pending),
    ) -> bool {
        let Some(dialect) = self.settle_dialect() else { return false };
        let now = Instant::now();
        let mut left = TURN;
        let mut at = 0;
        let excess = self.open.len().saturating_sub(HELD_MAX);
        while let Some(open) = self.open.get_mut(at) {
            let Some(stream) = self.streams.get_mut(&open.stream) else { break };
            // Taken before the last read: what is written after it changes the file again.
            let stamp = open.tail.stamp();
            let ended = match open.drain(stream, dialect, &mut left, now, &mut take) {
                Ok(ended) => ended,
                Err(error) => {
                    // One file that cannot be read must not keep the others from being read.
                    self.error = Some(format!("cannot read {}: {error}", self.name));
                    if open.tail.can_grow() {
                        at += 1;
                    } else {
                        self.close(at);
                    }
                    continue;
                }
            };
            if left == 0 {
                return true;
            }
            let is_final = !open.is_live
                && (!open.tail.can_grow() || at < excess || now.duration_since(open.grew) >= HELD);
            if ended {
                changes.truncations += 1;
                self.close(at);
            } else if is_final {
                open.finish(stream, dialect, &mut take);
                self.put_away(at, stamp);
            } else {
                at += 1;
            }
        }
        false
    }

    /// The source's files, archives oldest first, the live one last. Two names of one file are one.
    fn candidates(&self, folders: &mut Folders) -> Vec<Candidate> {
        let Some(folder) = self.live_path.parent() else { return Vec::new() };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let candidate = |path: PathBuf, is_live: bool| {
            let metadata = fs::metadata(&path).ok().filter(Metadata::is_file)?;
            Some(Candidate { path, id: FileId::from(&metadata), metadata, is_live })
        };
        let may_lead = |roots: &Vec<PathBuf>| ends_inside(&self.live_path, roots);
        let is_inside = self.roots.as_ref().is_none_or(may_lead);
        let live = candidate(self.live_path.clone(), true).filter(|_| is_inside);
        let names = folders.names(folder).unwrap_or_default();
        let mut candidates: Vec<Candidate> = archives(&names, &self.live_path)
            .filter(|name| Some(name.as_os_str()) != self.live_path.file_name() && !is_temporary(name))
            .map(|name| folder.join(name))
            .filter(|path| !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()))
            .filter_map(|path| candidate(path, false))
            .filter(|candidate| live.as_ref().is_none_or(|live| live.id != candidate.id))
            .collect();
        candidates.sort_by_key(|candidate| {
            let metadata = &candidate.metadata;
            (metadata.mtime(), metadata.mtime_nsec(), candidate.path.clone())
        });
        // A writer without a fixed name (log4j2's direct write): its newest file is the live one.
        if live.is_none()
            && let Some(newest) = candidates.last_mut()
            && newest.path.extension().is_some_and(|extension| extension == "log")
        {
            newest.is_live = true;
        }
        candidates.extend(live);
        candidates
    }

    /// Says which open file has the live name now, and puts it last.
    fn name_open_files(&mut self, candidates: &[Candidate]) {
        // Without a file of that name the last live one stays it: its writer may not have finished.
        let live = candidates.iter().find(|candidate| candidate.is_live).map(|candidate| candidate.id);
        let now = Instant::now();
        for open in &mut self.open {
            let is_live = live.map_or(open.is_live, |live| open.tail.id() == live);
            if open.is_live && !is_live {
                open.grew = now;
            }
            open.is_live = is_live;
        }
        self.open.sort_by_key(|open| open.is_live);
    }

    /// Closes a file that was read to its end: it is not opened again unless it changes.
    fn put_away(&mut self, at: usize, stamp: Option<Stamp>) {
        if let (Some(open), Some(stamp)) = (self.open.get(at), stamp) {
            let (id, path) = (open.tail.id(), open.path.clone());
            self.seen.insert(id, Seen { stamp, verdict: Verdict::Consumed(open.stream), path });
            if let Some(stream) = self.streams.get_mut(&open.stream) {
                stream.stamp = Some(stamp);
            }
        }
        self.close(at);
    }

    /// Closes a file; it is found again by its content should it come back or grow.
    fn close(&mut self, at: usize) {
        let open = self.open.remove(at);
        tracing::debug!(file = %open.path.display(), stream = open.stream, "closed");
        if self.streams.get(&open.stream).is_some_and(|stream| !stream.is_known()) {
            self.streams.remove(&open.stream);
        }
    }

    /// What the files hold. The format is told by the name, by the configuration, or by the first line that only one
    /// format has; what is around the lines by the first one that has something.
    /// A file that the user named is read in any case, so that its lines are at least counted, and so is one that is
    /// there for the user's own rules.
    pub(crate) fn settle_dialect(&mut self) -> Option<Dialect> {
        if self.told.is_sure() {
            return self.told.dialect();
        }
        let before = self.told.dialect();
        let told = &mut self.told;
        self.open.iter_mut().rev().any(|open| open.search(|lines| told.hear(lines)));
        if let Some(dialect) = self.told.dialect().filter(|dialect| Some(*dialect) != before) {
            tracing::info!(source = %self.name, format = %dialect, "recognised");
        }
        if self.open.iter().any(Open::has_lines) {
            let mut heads = self.open.iter().rev().filter_map(|open| open.tail.peek(0).ok());
            self.told.assume(|| heads.find_map(|head| parsers::detect_wrapper(&head)));
        }
        self.told.dialect()
    }
}

/// A file on its way to a final name; kubelet compresses to `….tmp`.
fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}
