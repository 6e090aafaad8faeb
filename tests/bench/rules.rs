//! Fifty rules on one log, beside mtail with the same fifty expressions.
//!
//! A line is one of sixty kinds, so ten of them no rule wants. Each rule adds to a counter and to a histogram. Both
//! programs read the whole file once and print what it comes to (`replay`, `--one_shot`), and both have to come to the
//! same numbers. Done twice: with every rule trying every line, and with the first one that matches ending it.

use crate::program::{self, binary};
use crate::report;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const RULES: usize = 50;
const KINDS: usize = 60;
const MODELS: [&str; 4] = ["bert-base-uncased", "resnet50", "llama-3.1-8b", "whisper_small"];
const BUCKETS: &str = "0.01, 0.05, 0.1, 0.5, 1, 5";

/// Makes the log and the programs, and prints a table of processor seconds.
pub(crate) fn run(lines: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let log = path("server.log");
    fs::write(&log, content(lines)).expect("the disk takes it");
    println!("{}\n\n{RULES} rules, {lines} lines, {} bytes\n", report::machine(), size(&log));
    println!("| | every rule tries every line | the first match ends the line |\n|---|--:|--:|");
    let row = |name: &str, command: &dyn Fn(bool) -> Command| {
        let cells: Vec<String> = [false, true].map(|stop| cost(&mut command(stop), lines)).into();
        println!("| {name} | {} |", cells.join(" | "));
    };
    row("inferometer replay", &|stop| {
        let config = path("rules.yaml");
        fs::write(&config, rules(stop)).expect("the disk takes it");
        let mut command = Command::new(binary());
        command.arg("replay").arg("--config.file").arg(config).arg(&log);
        command
    });
    row("mtail --one_shot", &|stop| {
        let program = path("rules.mtail");
        fs::write(&program, mtail(stop)).expect("the disk takes it");
        let mut command = Command::new("mtail");
        command.args(["--one_shot", "--one_shot_format=prometheus"]).arg("--progs").arg(program);
        command.arg("--logs").arg(&log).arg("--log_dir").arg(folder.path());
        command
    });
}

/// Runs it to its end: processor seconds, and what that is per line.
fn cost(command: &mut Command, lines: usize) -> String {
    let before = program::cpu_of_children();
    let output = match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return format!("{error}"),
    };
    let seconds = program::cpu_of_children() - before;
    assert!(output.status.success(), "{command:?}");
    let body = String::from_utf8(output.stdout).expect("text");
    let counts = body.lines().filter(|line| line.starts_with("event") && line.contains("_seconds_count"));
    let counted: f64 = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
    let expected = wanted(lines);
    assert!((counted - expected).abs() < 0.5, "expected {expected} lines, counted {counted}: {command:?}");
    let nanoseconds = seconds * 1e9 / crate::traffic::exact(lines as u64);
    format!("{seconds:.2} s, {nanoseconds:.0} ns/line")
}

/// Kinds follow each other in a fixed order with gaps, so that their numbers are known.
const fn kind(line: usize) -> usize {
    line * 7 % KINDS
}

/// How many lines a rule wants.
fn wanted(lines: usize) -> f64 {
    crate::traffic::exact((0..lines).filter(|line| kind(*line) < RULES).count() as u64)
}

fn content(lines: usize) -> String {
    let mut random = fastrand::Rng::with_seed(6);
    let mut text = String::with_capacity(lines * 130);
    for line in 0..lines {
        let (kind, model) = (kind(line), MODELS[random.usize(..MODELS.len())]);
        let (second, took) = (line / 1000, random.u32(..90_000));
        writeln!(
            text,
            "2026-11-20T{:02}:{:02}:{:02}.{:03}Z INFO worker-{} event{kind:02} model={model} request={:016x} took={}.{:02}ms size={}",
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            line % 1000,
            random.u8(..8),
            random.u64(..),
            took / 100,
            took % 100,
            random.u16(..)
        )
        .expect("a String");
    }
    text
}

fn expression(rule: usize) -> String {
    format!(
        r"^\S+ INFO (?P<worker>worker-\d) event{rule:02} model=(?P<model>\S+) request=[0-9a-f]+ took=(?P<took>\d+\.\d+)ms size=(?P<size>\d+)$"
    )
}

fn rules(stop: bool) -> String {
    let rule = |rule: usize| {
        format!(
            "  - regex: '{}'\n    stop: {stop}\n    metrics:\n      \
             - {{name: event{rule:02}_bytes_total, type: counter, value: size, labels: [worker, model]}}\n      \
             - {{name: event{rule:02}_seconds, type: histogram, value: took, unit: ms, labels: [model], buckets: [{BUCKETS}]}}\n",
            expression(rule)
        )
    };
    format!("rules:\n{}", (0..RULES).map(rule).collect::<String>())
}

fn mtail(stop: bool) -> String {
    let declared = |rule: usize| {
        format!(
            "counter event{rule:02}_bytes_total by worker, model\n\
             histogram event{rule:02}_seconds by model buckets {BUCKETS}\n"
        )
    };
    let stop = if stop { "  stop\n" } else { "" };
    let block = |rule: usize| {
        format!(
            "/{}/ {{\n  event{rule:02}_bytes_total[$worker][$model] += $size\n  \
             event{rule:02}_seconds[$model] = $took / 1000.0\n{stop}}}\n",
            expression(rule)
        )
    };
    (0..RULES).map(declared).chain((0..RULES).map(block)).collect()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("the log").len()
}
