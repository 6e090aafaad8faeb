//! The binary beside `wc -l` and beside what people use today, on the same lines, as a table.

use crate::program::{self, PATIENCE, Program, inferometer, median, quantile};
use crate::report;
use crate::traffic::{self, Traffic, Truth, exact};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LINES: u64 = 5_000_000;
const ROUNDS: usize = 3;

/// What slow programs are given of it.
const PART: u64 = 500_000;

const RATE: u64 = 10_000;
const STEADY: u64 = 20;
const PIECE: Duration = Duration::from_millis(10);

/// Longer than each of them takes to publish.
const SETTLED: Duration = Duration::from_millis(1500);

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exporter {
    Inferometer { state: bool, latency_histograms: bool },
    Mtail,
    Python,
}

const OURS: Exporter = Exporter::Inferometer { state: true, latency_histograms: false };
const DEFAULT: Exporter = Exporter::Inferometer { state: true, latency_histograms: true };
const FORGETFUL: Exporter = Exporter::Inferometer { state: false, latency_histograms: false };

impl Exporter {
    fn name(self) -> String {
        match self {
            Self::Inferometer { state, latency_histograms } => format!(
                "inferometer, {} state{}",
                if state { "with" } else { "no" },
                if latency_histograms { ", latency histograms" } else { "" }
            ),
            Self::Mtail => "mtail".to_owned(),
            Self::Python => "Python".to_owned(),
        }
    }

    /// Whether it can be run here; if not, the table says so.
    fn is_there(self) -> bool {
        let works = |command: &mut Command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        match self {
            Self::Inferometer { .. } => true,
            Self::Mtail => works(Command::new("mtail").arg("--version")),
            Self::Python => works(python().args(["-c", "import prometheus_client"])),
        }
    }

    /// Starts it on a log, whose content it reads. mtail begins at the end of the first file that it sees, so for it
    /// the log takes the place of an empty one.
    fn start(self, folder: &Path, content: &Path) -> Program {
        let log = folder.join("model_metrics.log");
        let port = program::free_port();
        let link = || fs::hard_link(content, &log).expect("one disk holds both");
        match self {
            Self::Inferometer { state, latency_histograms } => {
                link();
                let state = state.then(|| folder.join("state"));
                let option =
                    if latency_histograms { "--latency-histograms" } else { "--no-latency-histograms" };
                inferometer(&log, &[option], state.as_deref())
            }
            Self::Mtail => {
                File::create(&log).expect("the disk takes it");
                let mut command = Command::new("mtail");
                command.arg("--progs").arg(exporters().join("torchserve.mtail")).arg("--logs").arg(&log);
                command.args(["--address", "127.0.0.1", "--port", &port.to_string()]);
                command.arg("--emit_prog_label=false").arg("--log_dir").arg(folder);
                let mut program = Program::start(command, port).expect("it has been there");
                program.until_served();
                thread::sleep(SETTLED); // allow-sleep: it has opened the empty one
                let fresh = folder.join("fresh");
                fs::hard_link(content, &fresh).expect("one disk holds both");
                fs::rename(&fresh, &log).expect("the log");
                program
            }
            Self::Python => {
                link();
                let mut command = python();
                command.arg(exporters().join("exporter.py")).arg(&log).arg(port.to_string());
                Program::start(command, port).expect("it has been there")
            }
        }
    }
}

fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

fn exporters() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bench/exporters")
}

/// A log that has been written, and what it adds up to.
struct Log {
    path: PathBuf,
    truth: Truth,
}

impl Log {
    fn write(path: PathBuf, mut traffic: Traffic, lines: u64) -> Self {
        let mut file = File::create(&path).expect("the disk takes it");
        while traffic.truth.lines < lines {
            file.write_all(traffic.lines(100_000.min(lines)).as_bytes()).expect("the disk takes it");
        }
        Self { path, truth: traffic.truth }
    }
}

/// Whether the body shows what the lines add up to. The Python client adds `_total` to a counter's name.
fn shows(body: &str, truth: Truth) -> bool {
    let is = |name: &str, expected: u64| {
        let shown = program::sum(body, name, "") + program::sum(body, &format!("{name}_total"), "");
        (shown - exact(expected)).abs() < 0.5
    };
    is("ts_inference_requests_total", truth.requests) && is("ts_queue_latency_microseconds", truth.queued)
}

/// Measures everything and writes the README's part.
pub(crate) fn run() {
    let peers = [Exporter::Mtail, Exporter::Python];
    let mut part = format!("{}\n", report::machine());
    for peer in peers.iter().filter(|peer| !peer.is_there()) {
        writeln!(part, "**{} is not installed here** and is missing below.\n", peer.name())
            .expect("a String");
    }
    let peers: Vec<Exporter> = peers.into_iter().filter(|peer| peer.is_there()).collect();
    part += &catch_up(&peers);
    part += "\n| | CPU at 10 000 lines/s | CPU idle | RSS | scrape of 10 000 series, new values | nothing new | written to visible, p50 | p99 |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n";
    for exporter in [&[DEFAULT, OURS, FORGETFUL], &*peers].concat() {
        let Steady { busy, idle, memory } = steady(exporter);
        let (fresh, again) = scrape(exporter);
        let seen = visible(exporter);
        let row = format!(
            "| {} | {:.2} % | {:.2} ms/s | {memory:.1} MiB | {fresh:.1} ms | {again:.1} ms | {:.1} ms | {:.1} ms |\n",
            exporter.name(),
            busy * 100.0,
            idle * 1e3,
            median(&seen),
            quantile(&seen, 0.99)
        );
        print!("{row}");
        part += &row;
    }
    let size = fs::metadata(program::binary()).expect("the binary").len();
    writeln!(
        part,
        "\n| | |\n|---|--:|\n| garbage refused | {:.0} MB/s |\n| start to first scrape, no state | {:.1} ms |\n| start to first scrape, state of 10 000 series | {:.1} ms |\n| binary | {:.2} MB |",
        garbage() / 1e6,
        first_scrape(false),
        first_scrape(true),
        exact(size) / 1e6
    )
    .expect("a String");
    report::replace(&report::folder().join("README.md"), "compare", &part);
}

/// Processor time per line of a catch-up, and its ratio to `wc -l`.
fn catch_up(peers: &[Exporter]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log =
        |name: &str, series, lines| Log::write(folder.path().join(name), Traffic::new(series, 1), lines);
    let (few, many, part) = (log("few", 700, LINES), log("many", 42_000, LINES), log("part", 700, PART));
    let ours = [(DEFAULT, &few, ""), (OURS, &few, ""), (OURS, &many, ", 42 000 series")];
    let theirs = peers.iter().map(|peer| (*peer, &part, ""));
    let runs: Vec<(Exporter, &Log, &str)> = ours.into_iter().chain(theirs).collect();
    // Round by round: the yardstick, and everybody's cost.
    let mut yardstick = Vec::new();
    let mut costs = vec![(Vec::new(), Vec::new(), Vec::new()); runs.len()];
    for round in 0..ROUNDS {
        // A tick is much of one count, so there are ten.
        let cost = wc(&[&few.path; 10]) / exact(few.truth.lines * 10);
        yardstick.push(cost);
        for ((exporter, log, what), (costs, ratios, peaks)) in runs.iter().zip(&mut costs) {
            let folder = tempfile::tempdir_in(folder.path()).expect("a temporary folder");
            let mut program = exporter.start(folder.path(), &log.path);
            if let Exporter::Inferometer { .. } = exporter {
                program = program.until_ready();
            }
            // Who publishes while it reads is looked at rarely: each look is a scrape.
            let pause = Duration::from_millis(300);
            program.until("all lines in view", pause, |program| {
                program.scrape().ok().filter(|body| shows(body, log.truth))
            });
            let line = program.cpu().as_secs_f64() / exact(log.truth.lines);
            costs.push(line);
            ratios.push(line / cost);
            peaks.push(program.memory("VmHWM"));
            println!("round {round}: {}{what}: {:.0} ns/line", exporter.name(), line * 1e9);
        }
    }
    let mut table =
        "| catch-up | lines | CPU per line | lines per CPU second | × `wc -l` | peak RSS |\n|---|--:|--:|--:|--:|--:|\n"
            .to_owned();
    let mut row = |name: &str, lines: u64, cost: f64, ratio: f64, peak: &str| {
        let (nanoseconds, rate) = (cost * 1e9, 1.0 / cost);
        writeln!(table, "| {name} | {lines} | {nanoseconds:.0} ns | {rate:.0} | {ratio:.1} | {peak} |")
            .expect("a String");
    };
    row("`wc -l`", few.truth.lines, median(&yardstick), 1.0, "");
    for ((exporter, log, what), (costs, ratios, peaks)) in runs.iter().zip(&costs) {
        let name = exporter.name() + what;
        row(&name, log.truth.lines, median(costs), median(ratios), &format!("{:.1} MiB", median(peaks)));
    }
    table
}

/// Processor seconds that `wc -l` takes for files.
fn wc(files: &[&PathBuf]) -> f64 {
    let before = program::cpu_of_children();
    let status = Command::new("wc").arg("-l").args(files).stdout(Stdio::null()).status();
    assert!(status.expect("wc starts").success(), "wc counts");
    program::cpu_of_children() - before
}

/// A log without lines for an exporter that has started, and a file to append to.
fn on_empty_log(exporter: Exporter, folder: &Path) -> (Program, File) {
    let content = folder.join("content");
    File::create(&content).expect("the disk takes it");
    let mut program = exporter.start(folder, &content);
    program.until_served();
    thread::sleep(SETTLED); // allow-sleep: it has opened its files and is idle
    (program, appended(folder))
}

/// The log of a started exporter.
fn appended(folder: &Path) -> File {
    OpenOptions::new().append(true).open(folder.join("model_metrics.log")).expect("the log")
}

/// Seconds of processor time a second while lines come and while none come, and MiB then.
struct Steady {
    busy: f64,
    idle: f64,
    memory: f64,
}

fn steady(exporter: Exporter) -> Steady {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut program, mut file) = on_empty_log(exporter, folder.path());
    let mut traffic = Traffic::new(700, 2);
    let mut write = |seconds: u64| {
        let (begin, first) = (Instant::now(), traffic.truth.lines);
        while traffic.truth.lines - first < RATE * seconds {
            let due = exact(RATE) * begin.elapsed().as_secs_f64();
            let behind = due - exact(traffic.truth.lines - first);
            if behind >= 1.0 {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
                let lines = traffic.lines(behind as u64);
                file.write_all(lines.as_bytes()).expect("the disk takes it");
            }
            thread::sleep(PIECE); // allow-sleep: the pace of a server's log
        }
        begin.elapsed().as_secs_f64()
    };
    // All series are there before it is measured.
    write(2);
    let before = program.fine_cpu();
    let took = write(STEADY);
    let busy = (program.fine_cpu() - before).as_secs_f64() / took;
    let truth = traffic.truth;
    program.until("all lines in view", SETTLED, |program| {
        program.scrape().ok().filter(|body| shows(body, truth))
    });
    thread::sleep(SETTLED); // allow-sleep: it is idle
    let before = program.fine_cpu();
    let begin = Instant::now();
    thread::sleep(Duration::from_secs(STEADY)); // allow-sleep: what it does meanwhile is measured
    let idle = (program.fine_cpu() - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    Steady { busy, idle, memory: program.memory("VmRSS") }
}

/// Milliseconds of a scrape that is the first of its values, and of the next one.
fn scrape(exporter: Exporter) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let traffic = Traffic::new(10_000, 3);
    let cover = traffic.cover() as u64 * 8;
    let log = Log::write(folder.path().join("content"), traffic, cover);
    let mut program = exporter.start(folder.path(), &log.path);
    let mut truth = log.truth;
    program.until("all series in view", SETTLED, |program| {
        program.scrape().ok().filter(|body| shows(body, truth))
    });
    let mut file = appended(folder.path());
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for value in 0..20_u64 {
        let line = probe("ts_queue_latency_microseconds.Microseconds", value);
        file.write_all(line.as_bytes()).expect("the disk takes it");
        truth.queued += value;
        // Asking whether it is there would be a scrape already.
        thread::sleep(SETTLED); // allow-sleep: between two scrapes, as a server writes
        let (took, body) = program.timed_scrape();
        assert!(shows(&body, truth), "{}: a line is missing", exporter.name());
        fresh.push(took.as_secs_f64() * 1e3);
        again.push(program.timed_scrape().0.as_secs_f64() * 1e3);
    }
    (median(&fresh), median(&again))
}

/// Milliseconds from writing a line until its value is in a body.
fn visible(exporter: Exporter) -> Vec<f64> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut program, mut file) = on_empty_log(exporter, folder.path());
    let mut random = fastrand::Rng::with_seed(4);
    let look = Duration::from_micros(500);
    let times = (1..=200_u64).map(|value| {
        // At no fixed place of its polling period.
        thread::sleep(Duration::from_millis(random.u64(..300))); // allow-sleep: a random moment
        let begin = Instant::now();
        let line = probe("WorkerThreadTime.Milliseconds", value);
        file.write_all(line.as_bytes()).expect("the disk takes it");
        program.until("the line's value", look, |program| {
            let body = program.scrape().ok()?;
            ((program::sum(&body, "WorkerThreadTime", "") - exact(value)).abs() < 0.5).then_some(())
        });
        begin.elapsed().as_secs_f64() * 1e3
    });
    times.collect()
}

/// A line of the frontend whose series are its own.
fn probe(metric: &str, value: u64) -> String {
    let dimensions =
        if metric.starts_with("ts_") { "model_name:probe,model_version:1" } else { "Level:Host" };
    format!("2026-11-20T17:48:00,476 - {metric}:{value}.0|#{dimensions}|#hostname:h,timestamp:1795196880\n")
}

/// Bytes of garbage refused in a second of processor time.
fn garbage() -> f64 {
    const LINES: usize = 300_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cost = |lines: usize| {
        let log = folder.path().join(format!("{lines}.log"));
        let bytes = traffic::garbage(lines, 1);
        fs::write(&log, &bytes).expect("the disk takes it");
        let program = inferometer(&log, &["--format", "torchserve"], None).until_ready();
        let cpu = program.fine_cpu().as_secs_f64();
        let rejected = program::sum(
            &program.scrape().expect("a scrape"),
            "inferometer_lines_total",
            "outcome=\"rejected\"",
        );
        assert!((rejected - exact(lines as u64)).abs() < 0.5, "{rejected} of {lines} lines are refused");
        (exact(bytes.len() as u64), cpu)
    };
    let ((few, start), (many, all)) = (cost(1), cost(LINES));
    (many - few) / (all - start)
}

/// Milliseconds from the start to the end of the first scrape.
fn first_scrape(has_state: bool) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (log, state) = (folder.path().join("model_metrics.log"), folder.path().join("state"));
    let mut traffic = Traffic::new(10_000, 5);
    fs::write(&log, traffic.requests(if has_state { traffic.cover() } else { 0 }))
        .expect("the disk takes it");
    let state = has_state.then_some(&*state);
    drop(inferometer(&log, &["--no-latency-histograms"], state).until_ready());
    let times: Vec<f64> = (0..10)
        .map(|_| {
            let mut program = inferometer(&log, &["--no-latency-histograms"], state);
            let took = program.until_served();
            assert!(took < PATIENCE);
            took.as_secs_f64() * 1e3
        })
        .collect();
    median(&times)
}
