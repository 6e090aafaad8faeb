//! TorchServe's own rotations, replayed step by step with a follower that looks, crashes and comes back at
//! random moments: what it could see counts exactly once, in every family.
//!
//! The captures say which names, sizes and bytes there were (`fixtures/README.md`). How log4j2 gets from one
//! to the next is done here one system call after the other, so that a look or a crash falls between any two.

use crate::support::process::eventually;
use crate::support::{fixture, fixture_text};
use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use inferometer::expose::text::encode;
use inferometer::follow::{Follower, Settings, Start, Waker, WatchedPath};
use inferometer::publish::Board;
use inferometer::state::{Origin, Role, Rules, State, View};
use parsers::{FORMATS, Kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The limit of the captures that rotate by size: the write that reaches it is the file's last one.
const LIMIT: usize = 20 * 1024;
const STEMS: [&str; 2] = ["ts_metrics", "model_metrics"];
const NOW: u64 = 1_795_197_600;

/// How a capture's log4j2 names what it rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// One compressed archive, overwritten each time.
    Shipped,
    /// At most five compressed archives; the first one goes and the others move down.
    IndexGz,
    /// At most three plain archives, the newest one first.
    MinPlain,
    /// A plain archive a minute.
    Minute,
    /// No fixed name for the live file, at most four files.
    Direct,
}

impl Pattern {
    const fn folder(self) -> &'static str {
        match self {
            Self::Shipped => "rotate_shipped",
            Self::IndexGz => "rotate_index_gz",
            Self::MinPlain => "rotate_min_plain",
            Self::Minute => "rotate_minute",
            Self::Direct => "rotate_direct",
        }
    }
}

/// All bytes of one log, and where its files end.
struct Log {
    stem: &'static str,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    /// Which file is being written.
    file: usize,
    /// What each plain or compressed name holds.
    names: BTreeMap<String, usize>,
}

impl Log {
    fn new(pattern: Pattern, stem: &'static str) -> Self {
        let bytes = fs::read(fixture(&format!("{}/full_{stem}.txt", pattern.folder()))).unwrap();
        let mut ends = Vec::new();
        if pattern == Pattern::Minute {
            ends.extend(minutes(stem).iter().scan(0, |end, (_, size)| {
                *end += size;
                Some(*end)
            }));
        } else {
            let mut start = 0;
            let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            for end in newlines.map(|(at, _)| at + 1) {
                if end - start >= LIMIT {
                    ends.push(end);
                    start = end;
                }
            }
        }
        ends.push(bytes.len());
        Self { stem, bytes, ends, written: 0, file: 0, names: BTreeMap::new() }
    }

    fn start_of(&self, file: usize) -> usize {
        file.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// What has been written to a file.
    fn content(&self, file: usize) -> &[u8] {
        &self.bytes[self.start_of(file)..self.ends[file].min(self.written)]
    }
}

/// The archives of the capture that rotates by time, as it left all of them behind.
fn minutes(stem: &str) -> Vec<(String, usize)> {
    let files = fs::read_dir(fixture("rotate_minute/end_state")).unwrap().map(|entry| entry.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()));
    let archives = named.filter(|(name, _)| name.starts_with(stem) && *name != format!("{stem}.log"));
    let mut archives: Vec<(String, usize)> =
        archives.map(|(name, size)| (name, usize::try_from(size).unwrap())).collect();
    archives.sort();
    archives
}

/// The bytes that were on disk or in an open file when somebody looked, per file.
type Read_ = BTreeMap<(&'static str, usize), usize>;

struct Replay {
    pattern: Pattern,
    folder: TempDir,
    logs: [Log; 2],
    random: Rng,
    /// How often a look comes after a system call, of 100; and a crash.
    looks: u32,
    crashes: u32,
    follower: Option<Follower>,
    board: Arc<Board>,
    rules: Arc<Rules>,
    read: Read_,
    saved: Read_,
    /// Files that the running follower has open, whatever became of their names.
    held: BTreeSet<(&'static str, usize)>,
}

impl Replay {
    fn new(pattern: Pattern, seed: u64, looks: u32, crashes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let mut replay = Self {
            pattern,
            folder,
            logs: STEMS.map(|stem| Log::new(pattern, stem)),
            random: Rng::with_seed(seed),
            looks,
            crashes,
            follower: None,
            board: Arc::default(),
            rules: Arc::new(rules(pattern)),
            read: Read_::new(),
            saved: Read_::new(),
            held: BTreeSet::new(),
        };
        // The sidecar is there before the server.
        replay.start();
        replay.look(true);
        replay
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    fn start(&mut self) {
        let watched = WatchedPath {
            path: self.folder.path().join("logs"),
            format: None,
            labels: BTreeMap::new(),
            offset_minutes: 0,
            is_listed: false,
        };
        let settings = Settings {
            paths: vec![watched],
            allowed_roots: Vec::new(),
            allow_repeats: false,
            start: Start::Start,
            poll_interval: Duration::from_secs(1),
            commit_interval: Duration::from_secs(1),
            line_max: 1 << 20,
            state_dir: Some(self.folder.path().join("state")),
            keep_lines: false,
        };
        self.board = Arc::default();
        let follower = Follower::new(settings, self.rules.clone(), self.board.clone(), &Waker::default());
        let mut follower = follower.unwrap();
        // As in the random programs: a process that is just being started may still hold the lock.
        eventually("the state folder is free", || follower.begin(NOW).then_some(()));
        self.follower = Some(follower);
    }

    fn look(&mut self, commits: bool) {
        let Some(follower) = &mut self.follower else { return };
        // A server that is new in this look stays a change until the commit, so the number of steps is bounded.
        for _ in 0..4 {
            follower.step(NOW);
        }
        for log in &self.logs {
            let named = log.names.values().map(|file| (log.stem, *file));
            self.held.extend(named.clone());
            for (stem, file) in named.chain(self.held.iter().copied().filter(|(stem, _)| *stem == log.stem)) {
                let size = log.content(file).len();
                self.read.entry((stem, file)).and_modify(|read| *read = size.max(*read)).or_insert(size);
            }
        }
        if commits {
            assert!(follower.commit(NOW));
            follower.become_ready();
            self.saved.clone_from(&self.read);
        }
    }

    /// What may happen between two system calls.
    fn anything(&mut self) {
        if self.follower.is_none() {
            if self.random.u32(..100) < 30 {
                self.start();
            }
        } else if self.random.u32(..100) < self.crashes {
            self.follower = None;
            self.held.clear();
            self.read.clone_from(&self.saved);
        }
        if self.random.u32(..100) < self.looks {
            let commits = self.random.u32(..100) < 70;
            self.look(commits);
        }
    }

    // System calls, each one with its place in the picture of the disk.

    fn append(&mut self, at: usize, name: &str, end: usize) {
        let log = &mut self.logs[at];
        let bytes = log.bytes[log.written..end].to_vec();
        (log.written, _) = (end, log.names.insert(name.to_owned(), log.file));
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(&bytes).unwrap();
        self.anything();
    }

    fn rename(&mut self, at: usize, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
        let names = &mut self.logs[at].names;
        let file = names.remove(from).unwrap();
        names.insert(to.to_owned(), file);
        self.anything();
    }

    fn remove(&mut self, at: usize, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
        self.logs[at].names.remove(name);
        self.anything();
    }

    /// Compresses in place, in two writes, and removes the plain file.
    fn zip(&mut self, at: usize, name: &str) {
        let to = format!("{name}.gz");
        let file = self.logs[at].names[name];
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(self.logs[at].content(file)).unwrap();
        let packed = encoder.finish().unwrap();
        let (front, rest) = packed.split_at(packed.len() / 2);
        self.logs[at].names.remove(&to);
        let mut output = fs::File::create(self.path(&to)).unwrap();
        self.anything();
        output.write_all(front).unwrap();
        self.anything();
        output.write_all(rest).unwrap();
        self.logs[at].names.insert(to, file);
        self.anything();
        self.remove(at, name);
    }

    fn live(&self, at: usize) -> String {
        let log = &self.logs[at];
        match self.pattern {
            Pattern::Direct => format!("{}-2026-11-20-{}.log", log.stem, log.file + 1),
            _ => format!("{}.log", log.stem),
        }
    }

    fn rotate(&mut self, at: usize) {
        let (stem, number, live) = (self.logs[at].stem, self.logs[at].file + 1, self.live(at));
        match self.pattern {
            Pattern::Shipped => {
                let name = format!("{stem}.20-Nov.log");
                self.rename(at, &live, &name);
                self.zip(at, &name);
            }
            Pattern::IndexGz => {
                let name = |number: usize| format!("{stem}.2026-11-20-{number}.log");
                if number > 5 {
                    self.remove(at, &format!("{}.gz", name(1)));
                    for number in 2..=5 {
                        self.rename(at, &format!("{}.gz", name(number)), &format!("{}.gz", name(number - 1)));
                    }
                }
                self.rename(at, &live, &name(number.min(5)));
                self.zip(at, &name(number.min(5)));
            }
            Pattern::MinPlain => {
                if number > 3 {
                    self.remove(at, &format!("{stem}.log.3"));
                }
                for number in (1..number.min(3)).rev() {
                    self.rename(at, &format!("{stem}.log.{number}"), &format!("{stem}.log.{}", number + 1));
                }
                self.rename(at, &live, &format!("{stem}.log.1"));
            }
            Pattern::Minute => self.rename(at, &live, &minutes(stem)[number - 1].0),
            Pattern::Direct => {
                if number >= 4 {
                    self.remove(at, &format!("{stem}-2026-11-20-{}.log", number - 3));
                }
            }
        }
        self.logs[at].file += 1;
    }

    /// Writes on to an offset of the whole log.
    fn write(&mut self, at: usize, target: usize) {
        while self.logs[at].written < target {
            if self.logs[at].written == self.logs[at].ends[self.logs[at].file] {
                self.rotate(at);
            }
            let end = target.min(self.logs[at].ends[self.logs[at].file]);
            let live = self.live(at);
            self.append(at, &live, end);
        }
    }

    /// Replays the capture's events and ends with what it left behind.
    fn run(&mut self) {
        let events = fixture_text(&format!("{}/events.jsonl", self.pattern.folder()));
        let mut known: [Option<(u64, u64)>; 2] = [None; 2];
        let mut files = [0; 2];
        for event in events.lines() {
            let event: Value = serde_json::from_str(event).unwrap();
            for at in 0..2 {
                let Some((inode, size)) = self.seen_live(&event["files"], at) else { continue };
                let is_next = known[at].is_some_and(|(of, before)| of != inode || size < before);
                files[at] += usize::from(is_next);
                known[at] = Some((inode, size));
                // A file that came and went between two events shifts the rest by one file; the end is
                // reached all the same.
                let size = usize::try_from(size).unwrap();
                let target = (self.logs[at].start_of(files[at]) + size).min(self.logs[at].ends[files[at]]);
                self.write(at, target);
            }
        }
        (0..2).for_each(|at| self.write(at, self.logs[at].bytes.len()));
        self.compare_end();
        if self.follower.is_none() {
            self.start();
        }
        self.look(true);
    }

    fn seen_live(&self, files: &Value, at: usize) -> Option<(u64, u64)> {
        let stem = self.logs[at].stem;
        let number = |name: &str| -> Option<u32> {
            name.strip_prefix(stem)?.strip_prefix("-2026-11-20-")?.strip_suffix(".log")?.parse().ok()
        };
        let files = files.as_object().unwrap();
        let live = match self.pattern {
            Pattern::Direct => {
                files.keys().filter(|name| number(name).is_some()).max_by_key(|name| number(name))?
            }
            _ => files.keys().find(|name| **name == format!("{stem}.log"))?,
        };
        Some((files[live]["inode"].as_u64()?, files[live]["size"].as_u64()?))
    }

    /// The replay ended with the very files that TorchServe left.
    fn compare_end(&self) {
        let contents = |folder: PathBuf| -> BTreeMap<String, Vec<u8>> {
            let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
            named.map(|(name, path)| (name, unpacked(&fs::read(path).unwrap()))).collect()
        };
        let theirs = contents(fixture(&format!("{}/end_state", self.pattern.folder())));
        let ours = contents(self.folder.path().join("logs"));
        assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
        assert!(theirs == ours, "{:?} ends with the same bytes", self.pattern);
    }

    /// What must have been counted, folded without any file.
    fn truth(&self) -> Vec<String> {
        let mut state = State::new(self.rules.clone());
        let (none, server) = (BTreeMap::new(), state.add_server());
        state.declare();
        for log in &self.logs {
            let source = state.add_source(log.stem);
            let origin = Origin { source, server, now: NOW, wall: 0, labels: &none, offset_minutes: 0 };
            for ((_, file), size) in self.read.iter().filter(|((stem, _), _)| *stem == log.stem) {
                let start = log.start_of(*file);
                for line in log.bytes[start..start + size].split_inclusive(|byte| *byte == b'\n') {
                    if line.ends_with(b"\n") {
                        state.fold(line, &FORMATS[0], Role::All, &origin).ok();
                    }
                }
            }
        }
        sorted(&state.view(Some(NOW)))
    }

    fn check(&self, what: &str) {
        let (truth, shown) = (self.truth(), sorted(&self.board.view.get().view));
        let is_same = |truth: &String, shown: &String| truth == shown || is_same_sum(truth, shown);
        let pairs = truth.iter().zip(&shown).filter(|(truth, shown)| !is_same(truth, shown));
        let wrong: Vec<_> = pairs.take(5).collect();
        assert!(
            wrong.is_empty() && truth.len() == shown.len(),
            "{:?}, {what}: (truth, shown) = {wrong:#?}",
            self.pattern
        );
    }
}

/// Whether two lines are of one sum of fractions. Files whose last writes fell into one tick of the file
/// system's clock are read in either order, and the last bit of such a sum depends on the order.
fn is_same_sum(one: &str, other: &str) -> bool {
    let parts =
        |line: &str| Some((line.rsplit_once(' ')?.0.to_owned(), line.rsplit_once(' ')?.1.parse().ok()?));
    type Parts = Option<(String, f64)>;
    let (one, other): (Parts, Parts) = (parts(one), parts(other));
    let Some(((one, ours), (other, theirs))) = one.zip(other) else { return false };
    one == other && one.contains("_sum") && (ours - theirs).abs() <= 1e-12 * ours.abs()
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    match flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked) {
        Ok(_) => unpacked,
        Err(_) => bytes.to_vec(),
    }
}

/// The exposition's lines without their order, which is that of the first lines seen.
fn sorted(view: &View) -> Vec<String> {
    let mut text = String::new();
    encode(&view.log, None, &mut text);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The types that the workers told; a metric log never holds them.
fn rules(pattern: Pattern) -> Rules {
    let text = fixture_text(&format!("{}/types.yaml", pattern.folder()));
    let types = text.lines().skip(1).map(|line| {
        let (name, kind) = line.trim().split_once(": ").unwrap();
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            other => panic!("no type: {other}"),
        };
        (name.trim_matches('"').to_owned(), kind)
    });
    Rules { types: types.collect(), ..Rules::default() }
}

fn replay(pattern: Pattern) {
    // A follower that always runs and looks at once sees every byte.
    let mut calm = Replay::new(pattern, 0, 100, 0);
    calm.run();
    for log in &calm.logs {
        let read: usize =
            calm.read.iter().filter(|((stem, _), _)| *stem == log.stem).map(|(_, size)| size).sum();
        assert_eq!(log.bytes.len(), read, "{pattern:?}: every byte of {} was there to see", log.stem);
    }
    calm.check("without a crash");
    for seed in 1..=SEEDS {
        let (looks, crashes) = (
            [15, 40, 80][usize::try_from(seed % 3).unwrap()],
            [4, 12, 25, 50][usize::try_from(seed % 4).unwrap()],
        );
        let mut replay = Replay::new(pattern, seed, looks, crashes);
        replay.run();
        replay.check(&format!("seed {seed}"));
    }
}

const SEEDS: u64 = 12;

#[test]
fn the_shipped_pattern_that_overwrites_its_archive_counts_all_that_could_be_seen() {
    replay(Pattern::Shipped);
}

#[test]
fn compressed_archives_with_an_index_count_once() {
    replay(Pattern::IndexGz);
}

#[test]
fn plain_archives_that_shift_count_once() {
    replay(Pattern::MinPlain);
}

#[test]
fn plain_archives_by_the_minute_count_once() {
    replay(Pattern::Minute);
}

#[test]
fn files_without_a_fixed_name_count_once() {
    replay(Pattern::Direct);
}
