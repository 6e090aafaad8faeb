//! One source: its live file, the files it was before, and its archives.

use super::cut::Piece;
use super::discover::{Found, belongs, is_gzip};
use super::tail::{FileId, Tail};
use crate::state::Role;
use parsers::{FORMATS, Format};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

/// How long a file that lost its name is held after its last growth: its writer may still have it open
/// (logrotate's and kubelet's writers do for seconds).
const HELD: Duration = Duration::from_secs(10);

/// How many files that lost their names are held at the most.
const HELD_MAX: usize = 64;

/// Bytes taken from a source before the next one has its turn.
const TURN: u64 = 4 * 1024 * 1024;

/// Where reading begins in a file that is there at the first look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Start {
    /// At its first byte.
    #[default]
    Start,
    /// At its next line.
    End,
}

/// What a look at a source's files found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) rotations: u64,
    pub(crate) truncations: u64,
    pub(crate) archives: u64,
}

/// A file without its name, read to its end.
#[derive(Debug)]
struct Retired {
    tail: Tail,
    grew: Instant,
}

/// One source: a folder and a stem.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) live_path: PathBuf,
    pub(crate) role: Role,
    pub(crate) is_named: bool,
    /// Index of its facts in the state.
    pub(crate) facts: usize,
    /// Index of its server in the state.
    pub(crate) server: u32,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) offset_minutes: i16,
    pub(crate) format: Option<&'static Format>,
    is_format_sure: bool,
    live: Option<Tail>,
    /// Oldest first.
    retired: Vec<Retired>,
    /// Archives whose bytes are history or were consumed under another name.
    known: HashSet<FileId>,
    start: Start,
    looked: bool,
    line_max: usize,
    /// What opening the live file last failed with, told once.
    pub(crate) error: Option<String>,
}

/// What the configuration and the state say about a new source.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) facts: usize,
    pub(crate) server: u32,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) offset_minutes: i16,
    pub(crate) format: Option<&'static Format>,
    pub(crate) start: Start,
    pub(crate) line_max: usize,
}

impl Source {
    pub(crate) fn new(found: &Found, setup: Setup) -> Self {
        let by_name = found.format.and_then(parsers::format_named);
        let format = setup.format.or(by_name);
        Self {
            live_path: found.live.clone(),
            role: found.role,
            is_named: found.is_named,
            facts: setup.facts,
            server: setup.server,
            name: setup.name,
            labels: setup.labels,
            offset_minutes: setup.offset_minutes,
            format,
            is_format_sure: format.is_some(),
            live: None,
            retired: Vec::new(),
            known: HashSet::new(),
            start: setup.start,
            looked: false,
            line_max: setup.line_max,
            error: None,
        }
    }

    /// Whether the live file is open.
    pub(crate) const fn is_active(&self) -> bool {
        self.live.is_some()
    }

    /// Bytes on disk that have not been consumed.
    pub(crate) fn lag(&self) -> u64 {
        let tails = self.retired.iter().map(|retired| &retired.tail).chain(&self.live);
        tails.filter_map(|tail| tail.lag().ok()).sum()
    }

    /// Compares the names on disk with the open files: what was renamed, truncated, made anew.
    pub(crate) fn look(&mut self) -> Changes {
        let mut changes = Changes::default();
        let first = !std::mem::replace(&mut self.looked, true);
        if first {
            self.note_history();
        }
        let now = self.on_disk();
        let is_same = self.live.as_ref().zip(now.as_ref()).is_some_and(|(tail, (_, id))| tail.id() == *id);
        if !is_same {
            // A successor on disk, or nothing: the open file has lost its name. It is kept as the live one
            // until there is a successor, since a writer may still write to it.
            if let Some((path, id)) = now {
                changes.archives += self.retire(id);
                changes.rotations += u64::from(!self.retired.is_empty() && !first);
                self.open(&path, first);
            }
        } else if self.live.as_mut().is_some_and(|tail| matches!(tail.is_intact(), Ok(false))) {
            changes.truncations += 1;
            // What appeared beside a file that is emptied in place is a copy of it.
            let copies = self.siblings().into_iter().map(|(.., id)| id);
            self.known.extend(copies);
            let path = self.live_path.clone();
            self.live = None;
            self.open(&path, false);
        }
        changes
    }

    /// Reads one turn's bytes, oldest file first, and hands the pieces out; tells whether more is there.
    pub(crate) fn read(&mut self, mut take: impl FnMut(Piece<'_>, &'static Format)) -> io::Result<bool> {
        let Some(format) = self.settle_format() else { return Ok(false) };
        let mut left = TURN;
        let now = Instant::now();
        for retired in &mut self.retired {
            if drain(&mut retired.tail, format, &mut left, &mut take)? {
                retired.grew = now;
            }
            if left == 0 {
                return Ok(true);
            }
        }
        self.release(now, format, &mut take);
        if let Some(tail) = &mut self.live {
            drain(tail, format, &mut left, &mut take)?;
        }
        Ok(left == 0)
    }

    /// A parsed line proves the format that was only assumed.
    pub(crate) const fn confirm_format(&mut self) {
        self.is_format_sure = true;
    }

    fn on_disk(&self) -> Option<(PathBuf, FileId)> {
        match fs::metadata(&self.live_path) {
            Ok(metadata) => Some((self.live_path.clone(), FileId::from(&metadata))),
            // A writer without a fixed name (log4j2's direct write): its newest file is the live one. A
            // known file is history, or the live one on its way to an archive's name.
            Err(_) => {
                let newest = self.siblings().into_iter().rfind(|(.., id)| !self.known.contains(id));
                newest.map(|(_, path, id)| (path, id))
            }
        }
    }

    /// The source's plain files other than the live name, oldest first.
    fn siblings(&self) -> Vec<(SystemTime, PathBuf, FileId)> {
        let Some(folder) = self.live_path.parent() else { return Vec::new() };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut siblings: Vec<(SystemTime, PathBuf, FileId)> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name() != self.live_path.file_name())
            .filter(|path| belongs(path, &self.live_path) && !is_gzip(path))
            .filter_map(|path| {
                let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
                Some((metadata.modified().ok()?, path, FileId::from(&metadata)))
            })
            .collect();
        siblings.sort();
        siblings
    }

    /// Archives that are there at the first look are history: noted, not read.
    fn note_history(&mut self) {
        let live = self.on_disk().map(|(_, id)| id);
        let history = self.siblings().into_iter().map(|(_, _, id)| id);
        self.known = history.filter(|id| Some(*id) != live).collect();
    }

    /// The live file has a successor: it is read to its end under whatever name it has now. Files that
    /// came and went in between are read from their front. Tells how many those were.
    fn retire(&mut self, successor: FileId) -> u64 {
        if let Some(tail) = self.live.take() {
            self.known.insert(tail.id());
            self.retired.push(Retired { tail, grew: Instant::now() });
        }
        let mut archives = 0;
        for (_, path, id) in self.siblings() {
            if id != successor
                && !self.known.contains(&id)
                && let Ok(tail) = Tail::open(&path, self.line_max)
            {
                self.known.insert(id);
                self.retired.push(Retired { tail, grew: Instant::now() });
                archives += 1;
            }
        }
        archives
    }

    fn open(&mut self, path: &Path, first: bool) {
        let opened = Tail::open(path, self.line_max).and_then(|mut tail| {
            if first && self.start == Start::End {
                tail.skip_to_end()?;
            }
            Ok(tail)
        });
        match opened {
            Ok(tail) => {
                // An inode number that comes back belongs to a new file.
                self.known.remove(&tail.id());
                self.live = Some(tail);
                self.error = None;
            }
            Err(error) => self.error = Some(format!("cannot open {}: {error}", path.display())),
        }
    }

    /// The format: told by the name, by the configuration, or by the first line that only one format has.
    /// A file that the user named is read in any case, so that its lines are at least counted.
    fn settle_format(&mut self) -> Option<&'static Format> {
        if !self.is_format_sure
            && let Some(head) = self.live.as_ref().and_then(|tail| tail.peek().ok())
        {
            if let Some(format) = parsers::detect(&head) {
                self.format = Some(format);
                self.is_format_sure = true;
            } else if self.is_named && head.contains(&b'\n') {
                self.format = FORMATS.first();
            }
        }
        self.format
    }

    /// Closes files that lost their name and are quiet.
    fn release(
        &mut self,
        now: Instant,
        format: &'static Format,
        take: &mut impl FnMut(Piece<'_>, &'static Format),
    ) {
        let excess = self.retired.len().saturating_sub(HELD_MAX);
        let mut at = 0;
        self.retired.retain_mut(|retired| {
            at += 1;
            let is_final = at <= excess || now.duration_since(retired.grew) >= HELD;
            if is_final {
                finish(&mut retired.tail, format, take);
            }
            !is_final
        });
    }
}

/// Reads a file to its end or to the end of the turn; tells whether there was anything.
fn drain(
    tail: &mut Tail,
    format: &'static Format,
    left: &mut u64,
    take: &mut impl FnMut(Piece<'_>, &'static Format),
) -> io::Result<bool> {
    let mut any = false;
    while *left > 0 && tail.fill()? {
        any = true;
        *left = left.saturating_sub(256 * 1024);
        loop {
            match tail.next(format) {
                Piece::End => break,
                piece => take(piece, format),
            }
        }
    }
    Ok(any)
}

/// Takes what is left of a file that will not grow any more.
fn finish(tail: &mut Tail, format: &'static Format, take: &mut impl FnMut(Piece<'_>, &'static Format)) {
    while let Some(line) = tail.next_line() {
        take(Piece::Record(line), format);
    }
    if tail.take_torn() {
        take(Piece::End, format);
    }
}
