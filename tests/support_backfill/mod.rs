//! `inferometer backfill` as a process, and what it writes, read step by step.

use crate::support::exposition::openmetrics::OpenMetrics;
use crate::support::process::inferometer;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a scrape at each step would have shown, by seconds since 1970.
pub(crate) type Scrapes = BTreeMap<i64, OpenMetrics>;

/// The command, ready for its arguments.
pub(crate) fn command(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = inferometer();
    command.arg("backfill").args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn backfill(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    command(arguments).output().expect("the binary starts")
}

/// Runs it on a standard input and reads its standard output.
pub(crate) fn piped(arguments: &[&str], input: &str) -> Output {
    let mut command = command(["-", "-o", "-"]);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // If it ends before it has read all, its output says why.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().expect("the binary ends")
}

/// What a command wrote to its standard output.
pub(crate) fn scrapes(output: &Output) -> Scrapes {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(text)
}

/// What a file holds.
pub(crate) fn scrapes_of(path: &Path) -> Scrapes {
    read(&std::fs::read_to_string(path).expect("the file is there"))
}

/// Reads OpenMetrics with timestamps, as strictly as its specification is: families stand together, in them the points
/// of a label set, whose times only go forward. What is of one time is read as a scrape of that time.
pub(crate) fn read(text: &str) -> Scrapes {
    let lines = text.strip_suffix("# EOF\n").expect("# EOF at the end");
    let mut bodies: BTreeMap<i64, String> = BTreeMap::new();
    let (mut header, mut headed) = (String::new(), BTreeSet::new());
    let (mut groups, mut group, mut last) = (BTreeSet::new(), String::new(), i64::MIN);
    for line in lines.lines() {
        if line.starts_with("# ") {
            if line.starts_with("# HELP ") {
                (header, groups, group) = (String::new(), BTreeSet::new(), String::new());
                headed.clear();
            }
            header += &format!("{line}\n");
            continue;
        }
        let (sample, time) = line.rsplit_once(' ').expect("a sample with a time");
        let time: i64 = time.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
        let labels = labels.rsplit_once('}').map_or(labels, |(labels, _)| labels);
        let own = labels.rsplit_once("le=\"").map_or(labels, |(own, _)| own.trim_end_matches(','));
        if own != group || groups.is_empty() {
            assert!(groups.insert(own.to_owned()), "the points of a label set are not together: {line}");
            (group, last) = (own.to_owned(), i64::MIN);
        }
        assert!(time >= last, "time steps back: {line}");
        last = time;
        let body = bodies.entry(time).or_default();
        if headed.insert(time) {
            *body += &header;
        }
        *body += &format!("{sample}\n");
    }
    let read = |body: String| {
        OpenMetrics::read(&format!("{body}# EOF\n")).unwrap_or_else(|error| panic!("{error}\n{body}"))
    };
    bodies.into_iter().map(|(time, body)| (time, read(body))).collect()
}

/// One series' values by time.
pub(crate) fn values(scrapes: &Scrapes, name: &str) -> BTreeMap<i64, f64> {
    let value = |scrape: &OpenMetrics| {
        let mut all = scrape.samples.iter().filter(|((known, _), _)| known == name);
        let found = all.next().map(|(_, bits)| f64::from_bits(*bits));
        assert_eq!(None, all.next(), "{name} has more than one series");
        found
    };
    scrapes.iter().filter_map(|(time, scrape)| Some((*time, value(scrape)?))).collect()
}
