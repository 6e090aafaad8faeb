//! SIGKILL at every system call that changes the state folder, found by counting: the N-th call of a kind,
//! for each N until there is none. After each kill a restart has to reach the truth, and no counter that
//! was scraped before it may be above what is scraped after it.
//!
//! `INFEROMETER_LONG=1` also kills at the calls that read, and runs a longer day.

use crate::support::exposition::{Exposition, Series};
use crate::support::folders::Folders;
use crate::support::http;
use crate::support::lines::{HOST, append, requests};
use crate::support::process::{Server, eventually, run, strace};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const SIGKILL: i32 = 9;

/// More calls than any day makes; a loop that reaches it injects nothing.
const CALLS_MAX: usize = 500;

/// What happens to the log, in order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize),
    /// The live file gets the name of an archive; a new one begins with this many lines.
    Rotate(usize),
    /// The newest archive is replaced by its compressed form.
    Compress,
    /// The live file is cut to nothing and filled again. Only done while all of it is counted: what is cut
    /// before it was read is nobody's to know.
    Truncate(usize),
}

const DAY: &[Step] = &[
    Step::Append(4),
    Step::Rotate(5),
    Step::Compress,
    Step::Append(6),
    Step::Truncate(7),
    Step::Rotate(3),
    Step::Append(2),
];

/// A log and a state folder.
struct Scene {
    folders: Folders,
    /// Lines that have to be counted by now.
    truth: u32,
    archives: usize,
}

impl Scene {
    /// A live file with 3 lines, and an archive of history that is never to be read.
    fn new() -> Self {
        let folders = Folders::new();
        append(&folders.logs().join("ts_metrics.history.log"), requests(100));
        append(&folders.live(), requests(3));
        fs::create_dir_all(folders.state()).unwrap();
        Self { folders, truth: 3, archives: 0 }
    }

    fn archive(&self) -> PathBuf {
        self.folders.logs().join(format!("ts_metrics.{}.log", self.archives))
    }

    fn command(&self) -> Command {
        let mut command = run();
        command
            .arg(self.folders.logs())
            .args(["--state.commit-interval", "10ms", "--state.dir"])
            .arg(self.folders.state());
        command
    }

    /// The command, killed at the N-th call of a kind that touches one of these paths.
    fn killed_at(&self, call: &str, number: usize, paths: &[PathBuf]) -> Command {
        let inject = format!("inject={call}:signal=SIGKILL:when={number}");
        let trace = format!("trace={call}");
        let output = self.folders.trace();
        let mut options = vec!["-o", &output, "-e", &trace, "-e", &inject];
        for path in paths {
            options.extend(["-P", path.to_str().unwrap()]);
        }
        strace(&options, &self.command())
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Append(count) => self.write(count),
            Step::Rotate(count) => {
                self.archives += 1;
                fs::rename(self.folders.live(), self.archive()).unwrap();
                self.write(count);
            }
            Step::Compress => {
                let plain = self.archive();
                let packed = self.folders.logs().join(format!("{}.gz", plain.display()));
                let mut encoder = GzEncoder::new(File::create(packed).unwrap(), Compression::default());
                encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
                encoder.finish().unwrap();
                fs::remove_file(plain).unwrap();
            }
            Step::Truncate(count) => {
                File::options().write(true).open(self.folders.live()).unwrap().set_len(0).unwrap();
                self.write(count);
            }
        }
    }

    fn write(&mut self, count: usize) {
        append(&self.folders.live(), requests(count));
        self.truth += u32::try_from(count).unwrap();
    }
}

/// Scrapes as fast as it can until told to stop, or until nobody answers; keeps the largest value that each
/// counter had. A counter that goes back while one process lives is a failure of its own.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<Series, f64>>,
}

impl Watcher {
    fn start(address: SocketAddr, known: BTreeMap<Series, f64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut highest = known;
            while !stopped.load(Ordering::Relaxed) {
                // A process that is killed while it answers leaves half an answer, which is none.
                let Ok(reply) = std::panic::catch_unwind(|| http::request(address, "GET", "/metrics")) else {
                    return highest;
                };
                let Ok(reply) = reply else { return highest };
                let Ok(body) = Exposition::strict(&reply.body) else { return highest };
                for (series, value) in counters(&body) {
                    let known = highest.entry(series.clone()).or_insert(value);
                    assert!(value >= *known, "{series:?} went back from {known} to {value}");
                    *known = value;
                }
                thread::sleep(Duration::from_millis(2)); // allow-sleep: pacing a poll that ends with the run
            }
            highest
        });
        Self { stop, thread }
    }

    fn finish(self) -> BTreeMap<Series, f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|reason| std::panic::resume_unwind(reason))
    }
}

/// What is in the snapshot: not what the process measures of itself.
fn counters(body: &Exposition) -> impl Iterator<Item = (Series, f64)> {
    let is_ours = |name: &str| {
        name == "Requests2XX"
            || ["lines", "rejected_lines", "read_bytes", "rotations", "truncations", "archives", "gaps"]
                .iter()
                .any(|stem| name == format!("inferometer_{stem}_total"))
    };
    body.samples
        .iter()
        .filter(move |((name, _), _)| is_ours(name))
        .map(|(series, bits)| (series.clone(), f64::from_bits(*bits)))
}

fn counted(address: SocketAddr) -> Option<f64> {
    let reply = std::panic::catch_unwind(|| http::request(address, "GET", "/metrics")).ok()?.ok()?;
    Exposition::strict(&reply.body).ok()?.value("Requests2XX", HOST)
}

/// Waits until all lines are counted; `false` when the process has ended before.
fn settles(server: &mut Server, scene: &Scene, context: &str) -> bool {
    let truth = f64::from(scene.truth);
    eventually(&format!("{context}: {truth} lines are counted"), || {
        if server.ended().is_some() {
            return Some(false);
        }
        let observed = counted(server.address)?;
        assert!(observed <= truth, "{context}: {observed} counted of {truth}:\n{}", server.log());
        (observed >= truth).then_some(true)
    })
}

/// Lives through the day with a process that is killed at one call. Tells whether it was killed.
fn day_with_a_kill(days: usize, call: &str, number: usize, paths: impl Fn(&Scene) -> Vec<PathBuf>) -> bool {
    let context = format!("SIGKILL at {call} {number}");
    let mut scene = Scene::new();
    let mut server = Server::start(scene.killed_at(call, number, &paths(&scene)));
    let mut watcher = Some(Watcher::start(server.address, BTreeMap::new()));
    let (mut was_killed, mut has_counted) = (false, false);
    let mut steps = (0..days).flat_map(|_| DAY.iter().copied()).peekable();
    loop {
        let lives = settles(&mut server, &scene, &context);
        if !lives {
            assert!(!was_killed, "{context}: it ended again:\n{}", server.log());
            let status = server.ended().unwrap();
            assert_eq!(Some(SIGKILL), status.signal(), "{context}: {status}:\n{}", server.log());
            was_killed = true;
            let before = watcher.take().unwrap().finish();
            // The log goes on while nobody reads it. Before the first lines were counted no snapshot need
            // exist, and an archive that the next start finds is history by definition.
            let is_safe = |step: &Step| match step {
                Step::Append(_) => true,
                Step::Rotate(_) | Step::Compress => has_counted,
                Step::Truncate(_) => false,
            };
            while let Some(step) = steps.next_if(is_safe) {
                scene.apply(step);
            }
            server = Server::start(scene.command());
            watcher = Some(Watcher::start(server.address, before));
            continue;
        }
        has_counted = true;
        let Some(step) = steps.next() else { break };
        scene.apply(step);
    }
    let highest = watcher.take().unwrap().finish();
    let body = server.scrape();
    let source = ("source", "ts_metrics.log");
    let parsed = body.value("inferometer_lines_total", &[source, ("outcome", "parsed")]);
    assert_eq!(Some(f64::from(scene.truth)), parsed, "{context}");
    for (series, value) in counters(&body) {
        let known = highest.get(&series).copied().unwrap_or_default();
        assert!(value >= known, "{context}: {series:?} went back from {known} to {value}");
    }
    was_killed
}

/// Kills at the first, second, … call until the day is over before; tells how many there were.
fn kill_at_each(call: &str, paths: impl Fn(&Scene) -> Vec<PathBuf>) -> usize {
    let days = if is_long() { 3 } else { 1 };
    let kills = (1..CALLS_MAX).take_while(|number| day_with_a_kill(days, call, *number, &paths)).count();
    assert!(kills + 1 < CALLS_MAX, "the injection never stops firing");
    kills
}

fn is_long() -> bool {
    std::env::var_os("INFEROMETER_LONG").is_some_and(|value| value == "1")
}

fn state_folder(scene: &Scene) -> Vec<PathBuf> {
    let inside = ["slot-a", "slot-b", "lock"].map(|name| scene.folders.state().join(name));
    inside.into_iter().chain([scene.folders.state()]).collect()
}

fn log_files(scene: &Scene) -> Vec<PathBuf> {
    let names = ["ts_metrics.log", "ts_metrics.history.log", "ts_metrics.1.log", "ts_metrics.1.log.gz"];
    names.map(|name| scene.folders.logs().join(name)).into_iter().chain([scene.folders.logs()]).collect()
}

#[test]
fn a_kill_at_any_write_of_the_state_costs_nothing() {
    // Each of the two slots is filled with zeros once, and then each commit is one write.
    assert!(kill_at_each("pwrite64", state_folder) >= 6);
}

#[test]
fn a_kill_at_any_sync_of_the_state_costs_nothing() {
    assert!(kill_at_each("fdatasync", state_folder) >= 4);
    // The folder is synced when a slot is new.
    assert_eq!(2, kill_at_each("fsync", state_folder));
}

#[test]
fn a_kill_at_any_opening_of_the_state_costs_nothing() {
    // The folder for its lock, both slots to read, and one to write for each commit.
    assert!(kill_at_each("openat", state_folder) >= 5);
    assert_eq!(1, kill_at_each("flock", state_folder));
}

#[test]
fn a_kill_at_any_look_at_the_logs_costs_nothing_in_the_long_run() {
    if !is_long() {
        // One of each stands for the many hundreds, each of which takes a second.
        assert!(day_with_a_kill(1, "pread64", 3, log_files));
        assert!(day_with_a_kill(1, "openat", 4, log_files));
        return;
    }
    assert!(kill_at_each("pread64", log_files) > 10);
    assert!(kill_at_each("openat", log_files) > 10);
}
