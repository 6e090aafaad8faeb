//! The binary with more and more files and series: how fast it reads, how much memory it takes, how long a scrape is.

use crate::plot::{Chart, Line, short};
use crate::program::{self, Program, inferometer, median};
use crate::report;
use crate::traffic::{self, Shape, Traffic, exact};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

const FILES: [usize; 4] = [1, 10, 100, 1000];
const SERIES: [usize; 4] = [100, 1000, 10_000, 100_000];

/// Lines whose reading is timed.
const LINES: u64 = 2_000_000;
const ROUNDS: usize = 3;

/// Models in all of the files together.
const MODELS: usize = 1000;

/// Scrapes that each begin after a new publication.
const SCRAPES: u32 = 10;

/// Longer than a lone line takes to be committed.
const COMMITTED: Duration = Duration::from_secs(1);

/// Measures everything and writes data, charts and the README's part.
pub(crate) fn run() {
    let by_files = by_files();
    let by_series = by_series();
    let held: Vec<Held> = [Shape::Numbers, Shape::Histograms].into_iter().map(held).collect();
    let charts = charts(by_files, by_series, &held);
    let folder = report::folder();
    let mut data = "chart,line,x,y\n".to_owned();
    let mut part = report::machine();
    for (name, chart) in &charts {
        fs::write(folder.join(format!("{name}.svg")), chart.svg()).expect("the folder takes it");
        for line in &chart.lines {
            let points = line.points.iter();
            points.for_each(|(x, y)| writeln!(data, "{name},{},{x},{y:.4}", line.name).expect("a String"));
        }
        write!(part, "\n![{}]({name}.svg)\n\n{}", chart.title, table(chart)).expect("a String");
    }
    fs::write(folder.join("growth.csv"), data).expect("the folder takes it");
    report::replace(&report::folder().join("README.md"), "growth", &part);
}

/// Lines a second of processor time over the number of files.
fn by_files() -> Vec<Line> {
    let point = |files: usize| {
        let logs = |folder: &Path, lines: u64| {
            fs::create_dir_all(folder).expect("a temporary folder");
            let models = MODELS / files;
            for at in 0..files {
                let mut traffic = Traffic::of_models(at * models..(at + 1) * models, at as u64);
                let text = traffic.requests(traffic.cover()) + &traffic.lines(lines / files as u64);
                fs::write(folder.join(format!("server-{at:04}.log")), text).expect("the disk takes it");
            }
        };
        (exact(files as u64), rate(&["--no-latency-histograms"], &logs))
    };
    vec![Line { name: "1 000 models".to_owned(), points: FILES.map(point).into() }]
}

/// The same over the number of series.
fn by_series() -> Vec<Line> {
    let line = |(name, option): (&str, &str)| {
        let point = |series: usize| {
            let logs = |folder: &Path, lines: u64| {
                fs::create_dir_all(folder).expect("a temporary folder");
                let mut traffic = Traffic::new(series, 1);
                let text = traffic.requests(traffic.cover()) + &traffic.lines(lines);
                fs::write(folder.join("model_metrics.log"), text).expect("the disk takes it");
            };
            (exact(series as u64), rate(&[option], &logs))
        };
        Line { name: name.to_owned(), points: SERIES.map(point).into() }
    };
    let options = [
        ("without latency histograms", "--no-latency-histograms"),
        ("with latency histograms", "--latency-histograms"),
    ];
    options.map(line).into()
}

/// Lines a second of processor time. A start on the same logs without the lines that are timed is taken off: what
/// begins once, and the first line of each series, is no part of it.
fn rate(options: &[&str], logs: &dyn Fn(&Path, u64)) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (few, many) = (folder.path().join("few"), folder.path().join("many"));
    logs(&few, 0);
    logs(&many, LINES);
    let rounds: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let cost = |logs: &Path| {
                let state = folder.path().join(format!("state-{round}"));
                let program = inferometer(logs, options, Some(&state)).until_ready();
                let cpu = program.fine_cpu();
                let lines = lines(&program);
                drop(program);
                fs::remove_dir_all(&state).expect("its state");
                (cpu.as_secs_f64(), lines)
            };
            let (idle, few) = cost(&few);
            let (busy, many) = cost(&many);
            assert!(many - few >= exact(LINES), "{few} and {many} lines were read");
            (many - few) / (busy - idle)
        })
        .collect();
    let rate = median(&rounds);
    println!("{}: {rate:.0} lines/s", options.join(" "));
    rate
}

fn lines(program: &Program) -> f64 {
    let body = program.scrape().expect("a scrape");
    assert_eq!(0.0.to_string(), program::sum(&body, "inferometer_dropped_series_total", "").to_string());
    parsed(&body)
}

fn parsed(body: &str) -> f64 {
    program::sum(body, "inferometer_lines_total", "outcome=\"parsed\"")
}

type Points = Vec<(f64, f64)>;

/// What holding series of one shape costs, one point per number of series.
struct Held {
    name: &'static str,
    /// In the names of files.
    file: &'static str,
    before: Points,
    after: Points,
    peak: Points,
    fresh: Points,
    again: Points,
}

fn held(shape: Shape) -> Held {
    let (name, file) = match shape {
        Shape::Numbers => ("counters and gauges", "numbers"),
        Shape::Histograms => ("histograms", "histograms"),
    };
    let none = Points::new;
    let mut held =
        Held { name, file, before: none(), after: none(), peak: none(), fresh: none(), again: none() };
    for series in SERIES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, state) = (folder.path().join("model_metrics.log"), folder.path().join("state"));
        let config = folder.path().join("inferometer.yaml");
        let types = traffic::TYPES.map(|(name, kind)| format!("{name}: {kind}"));
        fs::write(&config, format!("types: {{{}}}\n", types.join(", "))).expect("the disk takes it");
        fs::write(&log, traffic::series(shape, series)).expect("the disk takes it");
        let options = ["--config.file", config.to_str().expect("a plain name")];
        let program = inferometer(&log, &options, Some(&state)).until_ready();
        let at = exact(series as u64);
        held.before.push((at, program.memory("VmRSS")));
        let read = lines(&program);
        held.after.push((at, program.memory("VmRSS")));
        assert!(read >= at, "{read} lines of {series} series were read");
        let (fresh, again) = scrapes(&program, &log, shape);
        held.fresh.push((at, fresh));
        held.again.push((at, again));
        held.peak.push((at, program.memory("VmHWM")));
        println!(
            "{name} {series}: {:.1} MiB, a scrape takes {fresh:.2} ms",
            held.peak[held.peak.len() - 1].1
        );
    }
    held
}

/// Milliseconds of a scrape that is the first of its publication, and of the next one.
fn scrapes(program: &Program, log: &Path, shape: Shape) -> (f64, f64) {
    let before = lines(program);
    let mut file = OpenOptions::new().append(true).open(log).expect("the log");
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for scrape in 1..=SCRAPES {
        file.write_all(traffic::series(shape, 1).as_bytes()).expect("the disk takes it");
        // Asking whether it is committed would be a scrape already.
        thread::sleep(COMMITTED); // allow-sleep: between two scrapes, as a server writes
        let (took, body) = program.timed_scrape();
        assert!((parsed(&body) - before - f64::from(scrape)).abs() < 0.5, "the line is shown");
        fresh.push(took.as_secs_f64() * 1e3);
        again.push(program.timed_scrape().0.as_secs_f64() * 1e3);
    }
    (median(&fresh), median(&again))
}

fn charts(by_files: Vec<Line>, by_series: Vec<Line>, held: &[Held]) -> Vec<(String, Chart)> {
    let line = |name: &str, points: &Points| Line { name: name.to_owned(), points: points.clone() };
    let rates = |title: &str, across, lines| Chart {
        title: format!("Lines per second of processor time, by {title}"),
        across,
        up: "lines/s",
        is_log: false,
        lines,
    };
    let of_held = |title: String, up, lines| Chart { title, across: "series", up, is_log: true, lines };
    let mut charts = vec![
        ("lines-by-files".to_owned(), rates("files", "files", by_files)),
        ("lines-by-series".to_owned(), rates("series", "series", by_series)),
    ];
    for held in held {
        let lines = vec![
            line("after the catch-up", &held.before),
            line("after the first scrape", &held.after),
            line("at most", &held.peak),
        ];
        let chart = of_held(format!("Resident memory, {}", held.name), "MiB", lines);
        charts.push((format!("memory-of-{}", held.file), chart));
    }
    let scrapes = held.iter().flat_map(|held| {
        let name = |what: &str| format!("{}, {what}", held.name);
        [line(&name("new values"), &held.fresh), line(&name("nothing new"), &held.again)]
    });
    charts.push(("scrape".to_owned(), of_held("Time of a scrape".to_owned(), "ms", scrapes.collect())));
    charts
}

/// A chart's points as a table: a row per point, a column per line.
fn table(chart: &Chart) -> String {
    let names: Vec<String> = chart.lines.iter().map(|line| format!("{}, {}", line.name, chart.up)).collect();
    let mut table =
        format!("| {} | {} |\n|--:|{}\n", chart.across, names.join(" | "), "--:|".repeat(names.len()));
    for at in 0..chart.lines[0].points.len() {
        let cells: Vec<String> = chart.lines.iter().map(|line| rounded(line.points[at].1)).collect();
        writeln!(table, "| {} | {} |", short(chart.lines[0].points[at].0), cells.join(" | "))
            .expect("a String");
    }
    table
}

/// Three digits: more are not the same on the next day.
fn rounded(value: f64) -> String {
    let digits = 10_f64.powf(value.abs().log10().floor() - 2.0);
    short((value / digits).round() * digits)
}
