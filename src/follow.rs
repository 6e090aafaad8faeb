//! Follows log files and folds their lines: one thread, plain calls, no channel, no lock.
//!
//! [`Follower::step`] looks at the files and folds what is new; [`Follower::commit`] publishes. Both are
//! plain calls, so that a test drives them without threads or clocks. [`run`] calls them at the right
//! times: a wake-up from inotify or the end of `--poll-interval` makes it look, the rhythm of `pace`
//! makes it commit. What a scrape sees of a log is always a commit, never the state in between.

mod begin;
pub(crate) mod complaints;
pub(crate) mod cut;
mod discover;
mod drive;
mod last_lines;
mod listing;
mod log_file;
mod pace;
mod pods;
mod reload;
mod retire;
mod saved;
mod source;
mod sources;
mod stdin;
mod store;
mod stream;
mod tail;
mod take;
mod told;
mod wake;

pub(crate) use discover::{is_archive_of, labels_of};
pub use drive::run;
pub use pace::{Look, Waker};
pub use reload::Change;
pub use saved::describe;
pub use source::Start;
pub use sources::repeats_by_name;
pub(crate) use sources::{doubled, say_repeats};

use crate::publish::{Board, PathProblem, Published, SourceStatus, Status};
use crate::state::{Origin, Role, Rules, State, View};
use complaints::Complaints;
use last_lines::LastLines;
use listing::Folders;
use parsers::{Dialect, Format, RULES};
use source::Source;
use sources::folder_of;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use stdin::Stdin;
use store::{Permit, SavedSource, Snapshot, Store, Unsettled};
use take::Sink;
use told::Told;
use wake::Watch;

/// What is followed, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The PATHs: files, folders, globs; `-` is standard input.
    pub paths: Vec<WatchedPath>,
    /// Where links may lead besides a PATH's own folder.
    pub allowed_roots: Vec<PathBuf>,
    /// Follow a console beside the metric files that it repeats.
    pub allow_repeats: bool,
    /// Where a file that is there at the start is read from.
    pub start: Start,
    /// The longest time between two looks.
    pub poll_interval: Duration,
    /// The longest time between two commits while lines keep coming.
    pub commit_interval: Duration,
    /// Longest line in bytes.
    pub line_max: usize,
    /// Where state is kept; in memory only if not set.
    pub state_dir: Option<PathBuf>,
    /// Keep each source's newest lines for the page.
    pub keep_lines: bool,
}

/// One PATH and what the configuration says about it.
#[derive(Clone, Debug)]
pub struct WatchedPath {
    /// As given.
    pub path: PathBuf,
    /// Format of all its files; found per file otherwise.
    pub format: Option<&'static Format>,
    /// Labels for all its series.
    pub labels: BTreeMap<String, String>,
    /// Minutes east of UTC that times in its lines are in.
    pub offset_minutes: i16,
    /// Whether the configuration lists it: then the user's own rules take what no format knows.
    pub is_listed: bool,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the state has changed.
    pub is_dirty: bool,
    /// Whether more is there to read at once.
    pub has_more: bool,
    /// A file has ended: what is there now only a look at all files tells.
    pub must_look: bool,
    /// Nothing can be done yet: another instance holds the state folder.
    pub is_waiting: bool,
}

impl Progress {
    fn add(&mut self, source: Self) {
        self.is_dirty |= source.is_dirty;
        self.has_more |= source.has_more;
        self.must_look |= source.must_look;
    }
}

/// Follows files and folds their lines.
#[derive(Debug)]
pub struct Follower {
    settings: Settings,
    state: State,
    store: Store,
    /// The state folder is taken and loaded, or not wanted.
    has_begun: bool,
    /// Sources of the snapshot that have not been found yet.
    absent: HashMap<PathBuf, SavedSource>,
    /// When the first look was, in seconds of our running time.
    began: Option<u64>,
    /// Whether this is a first start: no snapshot was there.
    is_first_start: bool,
    has_looked: bool,
    sources: Vec<Source>,
    /// The live files of all sources.
    live_paths: HashSet<PathBuf>,
    folders: Folders,
    servers: HashMap<PathBuf, u32>,
    stdin: Option<(Stdin, usize, u32)>,
    board: Arc<Board>,
    watch: Watch,
    complaints: Complaints,
    last_lines: LastLines,
    generation: u64,
    is_ready: bool,
    is_catching_up: bool,
    audible: Vec<bool>,
    problems: Vec<PathProblem>,
    hints: Vec<String>,
    started: Instant,
    /// Running time of earlier starts, in seconds; never 0, which means never.
    ran_before: u64,
}

impl Follower {
    /// A follower that has not looked yet. Families of a given `metrics.yaml` are published at once.
    ///
    /// # Errors
    ///
    /// When standard input is to be followed and no thread can be started for it.
    pub fn new(
        settings: Settings,
        rules: Arc<Rules>,
        board: Arc<Board>,
        waker: &Waker,
    ) -> std::io::Result<Self> {
        let mut state = State::new(rules.clone());
        if rules.has_metrics_config {
            state.declare();
        }
        let stdin = match settings.paths.iter().find(|watched| watched.path == Path::new("-")) {
            Some(watched) => {
                let facts = state.add_source("stdin");
                let server = state.add_server();
                let (line_max, format) = (settings.line_max, watched.format);
                let fallback = fallback_of_stdin(&rules);
                Some((Stdin::start(waker.clone(), line_max, Told::new(format, fallback))?, facts, server))
            }
            None => None,
        };
        let store = Store::new(settings.state_dir.clone());
        let last_lines = LastLines::new(settings.keep_lines);
        let follower = Self {
            settings,
            state,
            store,
            has_begun: false,
            absent: HashMap::new(),
            began: None,
            is_first_start: true,
            has_looked: false,
            sources: Vec::new(),
            live_paths: HashSet::new(),
            folders: Folders::default(),
            servers: HashMap::new(),
            stdin,
            board,
            watch: Watch::new(waker.clone()),
            complaints: Complaints::default(),
            last_lines,
            generation: 0,
            is_ready: false,
            is_catching_up: true,
            audible: Vec::new(),
            problems: Vec::new(),
            hints: Vec::new(),
            started: Instant::now(),
            ran_before: 1,
        };
        // Nothing is counted yet: a zero that jumps at the end of the catch-up would look like a rate.
        let view = View { own: Vec::new(), ..follower.state.view(None) };
        follower.board.view.put(Published { generation: 0, view });
        Ok(follower)
    }

    /// Looks at all files and folds what is new, one turn per source.
    pub fn step(&mut self, now: u64) -> Progress {
        if !self.has_begun && !self.begin(now) {
            self.post_status();
            return Progress { is_waiting: true, ..Progress::default() };
        }
        self.folders.begin_look(Instant::now());
        let mut progress = Progress { is_dirty: self.find_sources(), ..Progress::default() };
        for at in 0..self.sources.len() {
            let changes = self.look(at, now);
            progress.add(self.step_source(at, now, Some(changes)));
        }
        progress.is_dirty |= self.retire(now);
        progress.is_dirty |= self.step_stdin(now);
        if self.is_first_start && !std::mem::replace(&mut self.has_looked, true) {
            // Only after this look it is known which archives are history, and a crash must not change that:
            // neither make them news, nor make what is rotated from now on history. It is not published, so
            // it may fail.
            self.save(now, Unsettled::default());
        }
        self.is_catching_up = progress.has_more;
        progress.must_look = false;
        // A server that fell silent takes its gauges off the exposition, without any line.
        progress.is_dirty |= self.is_ready && self.state.audible(now) != self.audible;
        self.post_status();
        progress
    }

    /// Folds what open files have grown by. Cheap, and enough while no file comes, goes or changes its name:
    /// those are found by the next [`step`](Self::step).
    pub fn read_on(&mut self, now: u64) -> Progress {
        if !self.has_looked {
            return self.step(now);
        }
        let mut progress = Progress::default();
        for at in 0..self.sources.len() {
            if self.sources.get(at).is_some_and(Source::has_grown) {
                progress.add(self.step_source(at, now, None));
            }
        }
        progress.is_dirty |= self.step_stdin(now);
        progress
    }

    /// Saves what all lines so far add up to, and publishes it only then. Tells whether it is done; if not,
    /// it is to be tried again.
    pub fn commit(&mut self, now: u64) -> bool {
        self.state.expire(now);
        let permit = self.save(now, Unsettled::default());
        if permit != Permit::Wait {
            self.publish(now);
        }
        self.post_status();
        permit == Permit::Publish
    }

    fn save(&mut self, now: u64, unsettled: Unsettled) -> Permit {
        let (state, sources) = (&self.state, &self.sources);
        let (absent, servers) = (&self.absent, &self.servers);
        self.store.commit(|| Snapshot::new(state, sources, absent, servers, now, unsettled))
    }

    fn publish(&mut self, now: u64) {
        self.generation += 1;
        self.audible = self.state.audible(now);
        self.hints = self.state.hints();
        self.complaints.hints(&self.hints);
        self.board.view.put(Published { generation: self.generation, view: self.state.view(Some(now)) });
    }

    /// Seconds of our own running time over all starts, as far as snapshots tell: what lives for a while is
    /// measured by it, since the wall clock may jump.
    pub fn running_seconds(&self) -> u64 {
        self.ran_before + self.started.elapsed().as_secs()
    }

    /// The first catch-up is done: from now on commits are in view.
    pub fn become_ready(&mut self) {
        self.is_ready = true;
        self.post_status();
    }

    fn look(&mut self, at: usize, now: u64) -> source::Changes {
        let Some(source) = self.sources.get_mut(at) else { return source::Changes::default() };
        source.look(now, &mut self.folders)
    }

    /// Reads one source, and counts what a look at its files has found, if there was one.
    fn step_source(&mut self, at: usize, now: u64, look: Option<source::Changes>) -> Progress {
        let mut changes = look.unwrap_or_default();
        let Some(source) = self.sources.get_mut(at) else { return Progress::default() };
        let had_dialect = source.told.dialect();
        if source.settle_dialect() != had_dialect {
            self.refuse_repeats(at);
        }
        let Some(source) = self.sources.get_mut(at) else { return Progress::default() };
        let (facts, role, server) = (source.facts, source.role, source.server);
        let (labels, name) = (source.labels.clone(), source.name.clone());
        let offset_minutes = source.offset_minutes;
        let origin =
            Origin { source: facts, server, now, wall: wall_seconds(), labels: &labels, offset_minutes };
        let (state, complaints, last_lines) = (&mut self.state, &mut self.complaints, &mut self.last_lines);
        let (mut proven, mut is_dirty) = (false, false);
        let line_max = self.settings.line_max;
        let mut sink = Sink { state, complaints, name: &name, role, origin: &origin, line_max };
        let read = source.read(&mut changes, |piece, dialect, pending| {
            is_dirty = true;
            last_lines.note(facts, &piece);
            proven |= sink.take(piece, dialect, pending);
        });
        if proven {
            source.told.confirm();
        }
        is_dirty |= changes != source::Changes::default();
        if let Some(facts) = state.source_mut(facts) {
            facts.rotations += changes.rotations;
            facts.truncations += changes.truncations;
            facts.archives += changes.archives;
            facts.gaps += changes.gaps;
        }
        let declares = |dialect: Option<Dialect>| dialect.is_some_and(|dialect| dialect.format.declares);
        if !declares(had_dialect) && declares(source.told.dialect()) && proven && role == Role::All {
            self.state.declare();
        }
        let error = source.error.take();
        // Only a look tells that nothing is wrong any more.
        if error.is_some() || look.is_some() {
            complaints.file(&name, error.as_deref());
            complaints.stale(&name, source.is_stale());
        }
        Progress { is_dirty, has_more: read, must_look: changes.truncations > 0, is_waiting: false }
    }

    fn step_stdin(&mut self, now: u64) -> bool {
        let Some((stdin, source, server)) = &mut self.stdin else { return false };
        let none = BTreeMap::new();
        let origin = Origin {
            source: *source,
            server: *server,
            now,
            wall: wall_seconds(),
            labels: &none,
            offset_minutes: 0,
        };
        let (state, complaints, last_lines) = (&mut self.state, &mut self.complaints, &mut self.last_lines);
        let had_dialect = stdin.told.dialect();
        let (role, line_max) = (Role::All, self.settings.line_max);
        let mut sink = Sink { state, complaints, name: "stdin", role, origin: &origin, line_max };
        let any = stdin.read(|piece, dialect, pending| {
            last_lines.note(*source, &piece);
            sink.take(piece, dialect, pending);
        });
        if had_dialect.is_none() && stdin.told.dialect().is_some_and(|dialect| dialect.format.declares) {
            self.state.declare();
        }
        any
    }

    fn post_status(&self) {
        let files = self.sources.iter().map(|source| SourceStatus {
            name: source.name.clone(),
            dialect: source.told.dialect(),
            is_active: source.is_active(),
            is_stale: source.is_stale(),
            lag_bytes: source.lag(),
            last_lines: self.last_lines.of(source.facts),
        });
        let stdin = self.stdin.iter().map(|(stdin, facts, _)| SourceStatus {
            name: "stdin".to_owned(),
            dialect: stdin.told.dialect(),
            is_active: stdin.is_open,
            is_stale: false,
            lag_bytes: 0,
            last_lines: self.last_lines.of(*facts),
        });
        self.board.status.put(Status {
            is_ready: self.is_ready,
            is_catching_up: self.is_catching_up,
            looked_at: Some(Instant::now()),
            sources: files.chain(stdin).collect(),
            problems: self.problems.clone(),
            hints: self.hints.iter().cloned().chain(self.store.complaint().map(str::to_owned)).collect(),
            is_durable: self.store.is_wanted().then_some(self.store.is_durable),
            commit_failures: self.store.failures,
            state_resets: self.store.resets,
        });
    }
}

/// The format of standard input as long as no line tells it: a pipe is most often a server's console.
fn fallback_of_stdin(rules: &Rules) -> Option<&'static Format> {
    parsers::format_named(if rules.own.is_empty() { "torchserve-console" } else { RULES })
}

/// Seconds since 1970 by this machine's clock; only ever shown.
fn wall_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
