//! A wrapped line is its bare line: for every fixture of every format, in every wrapper, cut into parts wherever a
//! runtime may cut it, and over crashes between the parts.

use crate::support::folders::Folders;
use crate::support::lines::{HOST, append, requests};
use crate::support::process::{Server, eventually, exposition, replay, replay_input, run, stderr, wait_for};
use fastrand::Rng;
use parsers::framing::{self, Frame};
use parsers::{Catalog, Dialect, Pending, Unwrapped};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const LINE_MAX: usize = 64 * 1024;

/// How a line looks in a file, and how often a runtime cuts it.
type Wrap = fn(&str, &mut Rng) -> String;

const WRAPPERS: [(&str, Wrap); 6] = [
    (" in cri", |line, _| cri("stdout", "F", line)),
    (" in docker", |line, _| docker("stdout", &format!("{line}\n"))),
    (" in systemd", |line, _| format!("Nov  2 18:00:00 gpu-1 server[123]: {line}\n")),
    (" in klog", |line, _| format!("I1120 18:00:00.123456    1234 server.cc:12] {line}\n")),
    (" in klog in cri", |line, random| {
        parts(&format!("W1120 18:00:00.123456 1 server.cc:12] {line}"), random, |output, part, text| {
            cri(output, if part { "P" } else { "F" }, text)
        })
    }),
    (" in docker", |line, random| {
        parts(line, random, |output, part, text| {
            docker(output, &format!("{text}{}", if part { "" } else { "\n" }))
        })
    }),
];

fn cri(output: &str, tag: &str, text: &str) -> String {
    format!("2026-11-20T18:00:00.123456789Z {output} {tag} {text}\n")
}

fn docker(output: &str, log: &str) -> String {
    let log = serde_json::to_string(log).unwrap();
    format!("{{\"log\":{log},\"stream\":\"{output}\",\"time\":\"2026-11-20T18:00:00.123456789Z\"}}\n")
}

/// A line in parts now and then, with parts of the other output's line between them.
fn parts(line: &str, random: &mut Rng, wrap: impl Fn(&str, bool, &str) -> String) -> String {
    let mut text = String::new();
    let mut rest = line;
    while random.u32(..4) == 0 {
        let at = (0..=random.usize(..=rest.len())).rev().find(|at| rest.is_char_boundary(*at)).unwrap();
        let (part, after) = rest.split_at(at);
        text += &wrap("stdout", true, part);
        text += &wrap("stderr", true, "the other output's part ");
        rest = after;
    }
    text + &wrap("stdout", false, rest)
}

/// All files below `fixtures` of which a line tells the format.
fn fixtures() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "log" || end == "txt")
                && let Ok(text) = std::fs::read_to_string(&entry)
                && parsers::detect(text.as_bytes()).is_some()
            {
                found.push((entry, text));
            }
        }
    }
    // No capture of TorchServe has its access log as a file of its own; the console has the same lines.
    let console = crate::support::fixture_text("log/console.txt");
    let access = console.lines().filter(|line| line.contains(" ACCESS_LOG - "));
    let access: String = access.map(|line| format!("{line}\n")).collect();
    found.push(("access_log.log".into(), access));
    found.sort();
    found
}

/// What each record says, as text.
fn events(dialect: Dialect, bytes: &[u8]) -> Vec<String> {
    let catalog = Catalog::torchserve_default();
    let mut found = Vec::new();
    let mut take = |unwrapped: Unwrapped<'_>| {
        let Unwrapped::Record(record) = unwrapped else { return };
        let mut events = Vec::new();
        let result = (dialect.format.parse)(record, &catalog, &mut |event| events.push(format!("{event:?}")));
        found.push(format!("{events:?} {result:?}"));
    };
    let (mut rest, mut pending) = (bytes, Pending::default());
    loop {
        let frame = match dialect.frame(rest) {
            Frame::Incomplete => framing::line(rest),
            frame => frame,
        };
        let Frame::Record(length) = frame else { break };
        let (record, after) = rest.split_at(length);
        dialect.unwrap(record, &mut pending, LINE_MAX, &mut take);
        rest = after;
    }
    dialect.finish(&mut pending, &mut take);
    found
}

#[test]
fn wrapped_lines_of_every_fixture_say_what_the_bare_ones_say() {
    let (fixtures, mut random) = (fixtures(), Rng::with_seed(7));
    let formats: std::collections::BTreeSet<&str> =
        fixtures.iter().map(|(_, text)| parsers::detect(text.as_bytes()).unwrap().format.name).collect();
    let all: std::collections::BTreeSet<&str> =
        parsers::FORMATS.iter().map(|format| format.name).filter(|name| *name != parsers::RULES).collect();
    let missing: Vec<_> = all.difference(&formats).collect();
    assert_eq!(Vec::<&&str>::new(), missing, "formats without a fixture whose lines tell them");
    for (path, text) in fixtures {
        // What follows the last newline is no line.
        let text = text.rfind('\n').map_or("", |end| &text[..=end]);
        let bare = parsers::detect(text.as_bytes()).unwrap();
        let expected = events(bare, text.as_bytes());
        for (suffix, wrap) in WRAPPERS {
            let wrapped: String = text.split_terminator('\n').map(|line| wrap(line, &mut random)).collect();
            let dialect = parsers::detect(wrapped.as_bytes()).unwrap_or_else(|| panic!("{path:?}{suffix}"));
            assert_eq!(format!("{bare}{suffix}"), dialect.to_string(), "{path:?}");
            let observed = events(dialect, wrapped.as_bytes());
            if let Some((at, (one, other))) =
                expected.iter().zip(&observed).enumerate().find(|(_, (one, other))| one != other)
            {
                panic!("{path:?}{suffix}, record {at}:\n{one}\n{other}");
            }
            assert_eq!(expected.len(), observed.len(), "{path:?}{suffix}");
        }
    }
}

fn wrapped(text: &str, wrap: impl Fn(&str) -> String) -> String {
    text.lines().map(wrap).collect()
}

#[test]
fn replay_names_what_is_around_the_lines_and_prints_what_is_inside() {
    let folder = tempfile::tempdir().unwrap();
    let lines = requests(7);
    let print = |name: &str, text: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let all: Vec<_> = arguments.iter().map(Into::into).chain([path.into_os_string()]).collect();
        let output = replay(all);
        (exposition(&output), stderr(&output))
    };
    let (bare, report) = print("a.log", &lines, &[]);
    assert!(report.contains("a.log (torchserve): "), "{report}");
    assert_eq!(Some(7.0), bare.value("Requests2XX", HOST));
    let in_cri = wrapped(&lines, |line| cri("stdout", "F", line));
    let (ours, report) = print("b.log", &in_cri, &["--strict"]);
    assert_eq!(bare, ours);
    let expected = format!("b.log (torchserve in cri): {} bytes, 7 parsed, 0 ignored", in_cri.len());
    assert!(report.contains(&expected), "{report}");
    // The format may be set; what is around it is found all the same.
    let (ours, report) = print("c.log", &in_cri, &["--format", "torchserve-console"]);
    assert!(report.contains("(torchserve-console in cri)"), "{report}");
    assert_eq!(0, ours.samples.len(), "a metric file's lines are none of the console's");
    let in_docker = wrapped(&lines, |line| docker("stderr", &format!("{line}\n")));
    let (ours, report) = print("d.log", &in_docker, &["--format", "torchserve"]);
    assert_eq!(bare, ours, "{report}");
}

#[test]
fn a_journal_is_read_from_a_pipe() {
    let journal = wrapped(&requests(3), |line| format!("Nov 20 18:00:00 gpu-1 server[9]: {line}\n"));
    let output = replay_input(&["--strict"], format!("-- Journal begins at Mon. --\n{journal}"));
    assert_eq!(Some(3.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
    let mut command = run();
    command.arg("-").stdin(Stdio::piped());
    let mut server = Server::launch(command);
    let mut stdin = server.stdin();
    stdin.write_all(journal.as_bytes()).unwrap();
    wait_for(&server, 3.0);
    assert!(server.page().contains("torchserve in systemd"), "{}", server.page());
}

#[test]
fn what_is_not_wrapped_in_a_wrapped_file_is_taken_as_it_is() {
    let mixed = [wrapped(&requests(2), |line| cri("stdout", "F", line)), requests(3)].concat();
    let output = replay_input(&[], mixed);
    assert_eq!(Some(5.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
}

/// A metric line in two parts.
fn halves(line: &str) -> [String; 2] {
    let (one, other) = line.trim_end().split_at(40);
    [cri("stdout", "P", one), cri("stdout", "F", other)]
}

#[test]
fn a_line_of_parts_counts_once_over_a_crash_between_them() {
    let folders = Folders::new();
    let file = folders.logs().join("0.log");
    append(&file, wrapped(&requests(2), |line| cri("stdout", "F", line)));
    let state = folders.state();
    let arguments = ["--state.dir", state.to_str().unwrap()];
    let server = Server::ready(&folders.logs(), &arguments);
    wait_for(&server, 2.0);
    let [first, last] = halves(&requests(1));
    append(&file, &first);
    // A line of the other output is not held up.
    append(&file, wrapped(&requests(1), |line| cri("stderr", "F", line)));
    wait_for(&server, 3.0);
    let source = [("source", "0.log")];
    let length = std::fs::metadata(&file).unwrap().len() as f64;
    eventually("the part is committed", || {
        (server.value("inferometer_read_bytes_total", &source)? == length).then_some(())
    });
    server.kill();
    append(&file, &last);
    let server = Server::ready(&folders.logs(), &arguments);
    wait_for(&server, 4.0);
    let lines = |server: &Server, outcome: &str| {
        server.value("inferometer_lines_total", &[("source", "0.log"), ("outcome", outcome)])
    };
    assert_eq!((Some(4.0), Some(0.0)), (lines(&server, "parsed"), lines(&server, "rejected")));
    assert!(server.page().contains("\"format\":\"torchserve in cri\""), "{}", server.page());
    // What is never finished is torn.
    let output = replay_input(&[], [wrapped(&requests(1), |line| cri("stdout", "F", line)), first].concat());
    assert!(stderr(&output).contains("1 parsed, 0 ignored, 0 rejected, 1 torn"), "{}", stderr(&output));
}

#[test]
fn a_hostile_writer_of_parts_costs_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.log");
    let mut text = wrapped(&requests(1), |line| cri("stdout", "F", line));
    let part = cri("stdout", "P", &"x".repeat(16 * 1024));
    (0..2000).for_each(|_| text += &part);
    text += &cri("stdout", "F", "");
    text += &wrapped(&requests(1), |line| cri("stdout", "F", line));
    std::fs::write(&path, text).unwrap();
    let server = Server::ready(folder.path(), &[]);
    wait_for(&server, 2.0);
    let too_long = [("source", "0.log"), ("reason", "too_long")];
    assert_eq!(Some(1.0), server.value("inferometer_rejected_lines_total", &too_long));
    assert!(server.peak_memory() < 32 * 1024, "{} KiB", server.peak_memory());
}

#[test]
fn a_format_is_found_behind_what_a_server_says_first() {
    let folders = Folders::new();
    let noise = cri("stderr", "F", "loading checkpoint shards, 17% done").repeat(2000);
    assert!((100_000..200_000).contains(&noise.len()));
    let (named, found) = (folders.path().join("named.log"), folders.logs().join("found.log"));
    for file in [&named, &found] {
        append(file, &noise);
        append(file, wrapped(&requests(2), |line| cri("stdout", "F", line)));
    }
    let server = Server::ready(&folders.logs(), &[named.to_str().unwrap()]);
    wait_for(&server, 4.0);
    for source in ["named.log", "found.log"] {
        let labels = [("source", source), ("outcome", "parsed")];
        assert_eq!(Some(2.0), server.value("inferometer_lines_total", &labels), "{source}");
    }
    // It may also come later than the file was opened.
    let late = folders.logs().join("late.log");
    append(&late, &noise);
    eventually("it is open", || {
        (server.value("inferometer_source_active", &[("source", "late.log")])? == 1.0).then_some(())
    });
    append(&late, wrapped(&requests(3), |line| cri("stdout", "F", line)));
    wait_for(&server, 7.0);
}
