//! How many instructions an item of each hot path takes: a figure that, unlike a time, is the same on a busy machine.
//!
//! A child process takes some items along the path under valgrind, another one twice as many; the difference is
//! what these items cost, without the start, the input and what happens once. Keys of hash tables are random in
//! each process, so figures differ a little from run to run (by less than 0.5 %).

use crate::drive;
use crate::limits::{self, Figure};
use crate::paths;
use crate::traffic::{self, Shape};
use inferometer::snapshot::Slots;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines of the smaller run; in their first 1 088 all series come up.
const LINES: u64 = 20_000;

const SERIES: usize = 700;

/// Series of a state that is looked at again and again, and how often.
const HELD: usize = 1000;
const ROUNDS: u64 = 20;

/// A hot path: how its input is made beforehand, and how so many items take it.
struct HotPath {
    name: &'static str,
    /// Items of the smaller run.
    items: u64,
    input: fn(items: u64) -> Vec<u8>,
    take: fn(items: u64, input: &Path),
}

const fn nothing(_: u64) -> Vec<u8> {
    Vec::new()
}

fn known(items: u64) -> Vec<u8> {
    paths::known_lines(SERIES, items).into_bytes()
}

const HOT_PATHS: &[HotPath] = &[
    HotPath {
        name: "line of a known series, followed",
        items: LINES,
        input: known,
        take: |items, input| expect(items, paths::follow(input, paths::METRIC_FILE, false, "parsed")),
    },
    HotPath {
        name: "line of a known series, followed, with latency histograms",
        items: LINES,
        input: known,
        take: |items, input| expect(items, paths::follow(input, paths::METRIC_FILE, true, "parsed")),
    },
    HotPath {
        name: "line of a known series in no order, followed",
        items: LINES,
        input: |items| paths::unordered_lines(SERIES, items).into_bytes(),
        take: |items, input| expect(items, paths::follow(input, paths::METRIC_FILE, false, "parsed")),
    },
    HotPath {
        name: "line that has to be parsed, followed",
        items: LINES,
        input: known,
        take: |items, input| expect(items, paths::follow(input, &paths::UNIDENTIFIED, false, "parsed")),
    },
    HotPath {
        name: "line of a new series, followed",
        items: LINES,
        input: |items| traffic::series(Shape::Numbers, size(items)).into_bytes(),
        take: |items, input| expect(items, paths::follow(input, paths::METRIC_FILE, false, "parsed")),
    },
    HotPath {
        name: "line of garbage, followed",
        items: LINES,
        input: |items| traffic::garbage(size(items), 1),
        take: |items, input| expect(items, paths::follow(input, paths::METRIC_FILE, false, "rejected")),
    },
    HotPath {
        name: "series in a view",
        items: ROUNDS * HELD as u64,
        input: nothing,
        take: |items, _| {
            let state = paths::state_of(Shape::Numbers, HELD);
            rounds(items, || state.view(Some(1)).log.len());
        },
    },
    HotPath {
        name: "counter or gauge, rendered",
        items: ROUNDS * HELD as u64,
        input: nothing,
        take: |items, _| render(items, Shape::Numbers),
    },
    HotPath {
        name: "histogram, rendered",
        items: ROUNDS * HELD as u64,
        input: nothing,
        take: |items, _| render(items, Shape::Histograms),
    },
    HotPath {
        name: "counter or gauge, committed",
        items: ROUNDS * HELD as u64,
        input: nothing,
        take: |items, folder| commit(items, Shape::Numbers, folder),
    },
    HotPath {
        name: "histogram, committed",
        items: ROUNDS * HELD as u64,
        input: nothing,
        take: |items, folder| commit(items, Shape::Histograms, folder),
    },
];

fn render(items: u64, shape: Shape) {
    let view = paths::state_of(shape, HELD).view(Some(1));
    let mut text = drive::body(&view.log);
    rounds(items, || paths::render(&view.log, &mut text));
}

fn commit(items: u64, shape: Shape, input: &Path) {
    let state = paths::state_of(shape, HELD);
    let mut slots = Slots::open(&input.with_extension("state")).expect("a folder of our own");
    rounds(items, || paths::commit(&state, &mut slots));
}

fn rounds<T>(items: u64, mut round: impl FnMut() -> T) {
    for _ in 0..items / HELD as u64 {
        std::hint::black_box(round());
    }
}

/// The path has to do what it is said to do, or the figure is about something else.
#[track_caller]
fn expect(items: u64, observed: u64) {
    assert!((items..items + 32).contains(&observed), "{items} items, {observed} of them went along");
}

fn size(items: u64) -> usize {
    usize::try_from(items).expect("a size of this machine")
}

/// Takes items along a path: what the child process does.
pub(crate) fn take(path: &str, items: &str, input: &str) {
    let path: usize = path.parse().expect("a path's number");
    (HOT_PATHS[path].take)(items.parse().expect("a number"), Path::new(input));
}

/// Counts all paths and tells whether they keep to their limits, or writes limits that they keep.
pub(crate) fn run(update: bool) -> bool {
    let table = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bench/limits.txt");
    let limits = fs::read_to_string(&table).unwrap_or_default();
    let figures = figures();
    println!("instructions      limit  of it");
    for Figure { path, instructions } in &figures {
        match limits::limit(&limits, path) {
            Some(limit) => {
                println!("{instructions:>12} {limit:>10} {:>5}%  {path}", instructions * 100 / limit.max(1));
            }
            None => println!("{instructions:>12}          -      -  {path}"),
        }
    }
    if update {
        fs::write(&table, limits::table(&figures)).expect("the table of limits is ours");
        println!("written: {}", table.display());
        return true;
    }
    let complaints = limits::complaints(&limits, &figures);
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    println!("{} passed, {} failed", figures.len().saturating_sub(complaints.len()), complaints.len());
    complaints.is_empty()
}

fn figures() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(BTreeMap::new());
    let jobs: Vec<(usize, u64)> = (0..HOT_PATHS.len()).flat_map(|path| [(path, 1), (path, 2)]).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(&(path, times)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let input = folder.path().join(format!("{path}-{times}.log"));
                    let count = count(path, HOT_PATHS[path].items * times, &input);
                    counts.lock().expect("nobody panics with it").insert((path, times), count);
                }
            });
        }
    });
    let counts = counts.into_inner().expect("nobody panics with it");
    let figure = |(at, path): (usize, &HotPath)| Figure {
        path: path.name.to_owned(),
        instructions: counts[&(at, 2)].saturating_sub(counts[&(at, 1)]) / path.items,
    };
    HOT_PATHS.iter().enumerate().map(figure).collect()
}

/// The instructions of a process that takes so many items along a path.
fn count(path: usize, items: u64, input: &Path) -> u64 {
    fs::write(input, (HOT_PATHS[path].input)(items)).expect("the temporary folder takes it");
    let program = std::env::current_exe().expect("our own path");
    let output = Command::new("valgrind")
        // Only instructions: no caches are simulated, and nobody reads which lines they belong to.
        .args(TOOL)
        .arg(program)
        .args(["take", &path.to_string(), &items.to_string()])
        .arg(input)
        .output()
        .expect("valgrind starts: it is the Debian package of this name");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", HOT_PATHS[path].name);
    let count = said.lines().find_map(|line| line.split_once("refs:")).expect("a count of instructions");
    count.1.trim().replace(',', "").parse().expect("a number")
}

const TOOL: [&str; 3] = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
