//! The user's own rules: what is wrong with them is told with its place, which lines they see, and that nothing in a log
//! makes them slow or large.

use crate::support::lines::{append, frontend};
use crate::support::process::{Server, exposition, inferometer, replay, replay_input, run, stderr};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;

const COUNT: &str = "metrics: [{name: n_total, type: counter}]";

/// A configuration in a folder of its own.
struct Config {
    folder: TempDir,
    path: String,
}

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    fs::write(&path, text).unwrap();
    Config { path: path.to_str().unwrap().to_owned(), folder }
}

fn fold(rules: &str, log: impl AsRef<[u8]>) -> Output {
    let config = config(rules);
    replay_input(&["--config.file", &config.path], log)
}

// --- What is wrong has a file, a line and a column, and ends with 64.

#[test]
fn mistakes_in_rules_name_their_place() {
    let mut wrong = Vec::new();
    let metric = |metric: &str| format!("rules:\n  - regex: '(?P<a>x)'\n    metrics:\n      - {metric}\n");
    for (text, place, words) in [
        (format!("rules:\n  - regex: 'x(y'\n    {COUNT}\n"), "2:12", "character 2: unclosed group"),
        (format!("rules:\n  - regex: '(?=x)'\n    {COUNT}\n"), "2:12", "look-around"),
        (
            format!("rules:\n  - regex: '(x{{1000}}){{1000}}'\n    {COUNT}\n"),
            "2:12",
            "more than 1048576 bytes",
        ),
        (format!("rules:\n  - regx: x\n    {COUNT}\n"), "2:5", "regx"),
        (format!("rules:\n  - {COUNT}\n"), "2:5", "one of regex, json and pairs"),
        (
            format!("rules:\n  - regex: x\n    json: {{}}\n    {COUNT}\n"),
            "2:5",
            "one of regex, json and pairs",
        ),
        (format!("rules:\n  - pairs: {{separator: ''}}\n    {COUNT}\n"), "2:24", "cannot be empty"),
        (
            format!("rules:\n  - regex: x\n    format: apache\n    {COUNT}\n"),
            "3:13",
            "unknown format \"apache\"",
        ),
        (format!("rules:\n  - regex: x\n    lines: some\n    {COUNT}\n"), "3:12", "some"),
        ("rules:\n  - regex: x\n".to_owned(), "2:5", "metrics"),
        ("rules:\n  - regex: x\n    metrics: []\n".to_owned(), "2:5", "does nothing"),
        ("rules: {}\n".to_owned(), "1:8", ""),
        (metric("{name: a-b, type: counter}"), "4:16", "not legal in Prometheus"),
        (metric("{name: inferometer_x, type: counter}"), "4:16", "belongs to another metric"),
        (metric("{name: process_open_fds, type: gauge}"), "4:16", "belongs to another metric"),
        (metric("{name: n, type: untyped}"), "4:25", "not counter, gauge, histogram or summary"),
        (metric("{name: n, type: histogram}"), "4:16", "needs its buckets"),
        (metric("{name: n, type: gauge, buckets: [1]}"), "4:41", "only a histogram"),
        (metric("{name: n, type: histogram, buckets: [2, 1]}"), "4:45", "ascend"),
        (metric("{name: n, type: histogram, buckets: [1], labels: {le: a}}"), "4:16", "not legal"),
        (metric("{name: n, type: summary, labels: {quantile: a}}"), "4:16", "not legal"),
        (metric("{name: n, type: gauge, labels: {a-b: a}}"), "4:41", "no legal label name"),
        (metric("{name: n, type: gauge, labels: [b]}"), "4:41", "no group \"b\" (a)"),
        (metric("{name: n, type: gauge, labels: {x: {from: a, constant: b}}}"), "4:41", "or constant"),
        (metric("{name: n, type: gauge, labels: [a, a]}"), "4:16", "named twice"),
        (metric("{name: n, type: gauge, value: b}"), "4:39", "no group \"b\""),
        (metric("{name: n, type: gauge, value: a, unit: parsec}"), "4:48", "unknown unit \"parsec\""),
        (metric("{name: n, type: gauge, value: a, unit: ms, to: MB}"), "4:56", "does not become"),
        (metric("{name: n, type: gauge, value: a, to: ms}"), "4:46", "needs the `unit`"),
        (metric("{name: n, type: gauge, value: a, factor: .inf}"), "4:50", "finite"),
        (metric("{name: n, type: gauge, colour: red}"), "4:32", "colour"),
        (metric("{name: n, type: gauge}\n      - {name: n, type: counter}"), "5:16", "other type"),
        (
            metric("{name: n, type: gauge}\n      - {name: n, type: gauge, labels: [a]}"),
            "5:16",
            "other labels",
        ),
        (
            metric("{name: n, type: histogram, buckets: [1]}\n      - {name: n_sum, type: gauge}"),
            "5:16",
            "another",
        ),
        (
            metric(
                "{name: n, type: histogram, buckets: [1]}\n      - {name: n, type: histogram, buckets: [2]}",
            ),
            "5:16",
            "other buckets",
        ),
        (
            format!(
                "rules:\n  - regex: x\n    {COUNT}\n    examples:\n      - {{line: x, samples: ['n_total']}}\n"
            ),
            "5:29",
            "not of the form",
        ),
        (
            format!("rules:\n  - regex: x\n    {COUNT}\n    examples:\n      - {{line: x}}\n"),
            "5:9",
            "matches: false",
        ),
    ] {
        let config = config(&text);
        for arguments in [&["check"][..], &["replay", "-"]] {
            let output = inferometer()
                .args(arguments)
                .args(["--config.file", &config.path])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let (said, code) = (stderr(&output), output.status.code());
            let expected = format!("{}:{place}: ", config.path);
            if code != Some(64)
                || !said.starts_with(&expected)
                || !said.contains(words)
                || !output.stdout.is_empty()
            {
                wrong.push(format!(
                    "expected 64, {expected:?} and {words:?}, observed {code:?}, {said:?} for {text}"
                ));
            }
        }
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn a_failing_example_is_told_with_its_place_and_both_answers() {
    let rules = "rules:\n  - name: time\n    regex: 't=(?P<t>\\S+)'\n    metrics:\n      \
                 - {name: t_seconds, type: gauge, value: t, unit: ms}\n    examples:\n      \
                 - {line: t=500, samples: [t_seconds 0.5]}\n      - {line: t=500, samples: [t_seconds 500]}\n      \
                 - {line: u=1, matches: true}\n      - {line: t=1, matches: false}\n      \
                 - {line: t=x, samples: [t_seconds 1]}\n";
    let config = config(rules);
    let check = |text: &str| {
        fs::write(&config.path, text).unwrap();
        inferometer().args(["check", "--config.file", &config.path]).output().unwrap()
    };
    let output = check(rules);
    let said = stderr(&output);
    assert_eq!(Some(64), output.status.code(), "{said}");
    let path = &config.path;
    let expected = [
        format!("{path}:8:9: example of time: expected t_seconds 500, observed t_seconds 0.5"),
        format!("{path}:9:9: example of time: expected a match, observed no match"),
        format!("{path}:10:9: example of time: expected no match, observed t_seconds 0.001"),
        format!(
            "{path}:11:9: example of time: expected t_seconds 1, observed expected a number, or one with its unit at \
             column 3"
        ),
    ];
    assert_eq!(expected.join("\n"), said.trim_end());
    // A run does not test them: a wrong example keeps nobody from their metrics.
    assert_eq!(Some(0), replay_input(&["--config.file", path], "t=5\n").status.code());

    let good = rules.lines().take(7).collect::<Vec<_>>().join("\n");
    let output = check(&good);
    let said = String::from_utf8(output.stdout).unwrap();
    for words in ["rule: time (regex)\n  gauge t_seconds{} # ", "examples: 1 as expected\n", "\nok\n"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

// --- Which lines are seen.

#[test]
fn rules_see_what_the_format_leaves_and_nothing_it_takes() {
    let rules = "rules:\n  - regex: '^(?P<word>\\S+)'\n    metrics:\n      \
                 - {name: lines_total, type: counter, labels: [word]}\n";
    let taken = frontend("Requests2XX.Count:1.0", "Level:Host");
    let log = format!("{taken}Traceback of a model\n{}\nTraceback again\n", &taken[..taken.len() / 4 * 3]);
    let output = fold(rules, &log);
    let body = exposition(&output);
    assert_eq!(Some(2.0), body.value("lines_total", &[("word", "Traceback")]), "{}", stderr(&output));
    assert_eq!(1, body.samples.keys().filter(|(name, _)| name == "lines_total").count(), "{body:?}");
    let report = stderr(&output);
    assert!(
        report.contains("(torchserve)") && report.contains("3 parsed, 0 ignored, 1 rejected"),
        "{report}"
    );

    let all = rules.replace("    metrics", "    lines: all\n    metrics");
    let body = exposition(&fold(&all, &log));
    assert_eq!(2, body.samples.keys().filter(|(name, _)| name == "lines_total").count(), "{body:?}");
}

/// The identity of a line that is known takes the short way, which rules for all lines may not miss.
#[test]
fn rules_for_all_lines_see_those_of_known_series() {
    let rules =
        "rules:\n  - regex: Requests2XX\n    lines: all\n    metrics: [{name: seen_total, type: counter}]\n";
    let log = frontend("Requests2XX.Count:1.0", "Level:Host").repeat(50);
    let body = exposition(&fold(rules, &log));
    assert_eq!(Some(50.0), body.value("seen_total", &[]));
    let requests = body.samples.iter().find(|((name, _), _)| name == "Requests2XX").unwrap().1;
    assert_eq!(50.0, f64::from_bits(*requests));
}

#[test]
fn a_line_of_no_rule_is_ignored_and_one_that_is_not_text_is_rejected() {
    let rules = "rules:\n  - regex: 't=(?P<t>.*)$'\n    metrics: [{name: t, type: gauge, value: t}]\n";
    let output = fold(rules, b"t=1\r\nnothing\n\nt=5\xff\nt=-\nt=soon\nt=2\n");
    assert_eq!(Some(2.0), exposition(&output).value("t", &[]));
    let report = stderr(&output);
    assert!(report.contains("(rules)") && report.contains("2 parsed, 3 ignored, 2 rejected"), "{report}");
    assert!(report.contains("invalid_utf8") && report.contains("-:6: expected a number"), "{report}");
}

#[test]
fn counters_take_no_negative_numbers_and_dropped_labels_are_summed() {
    let rules = "rules:\n  - regex: '(?P<user>\\w+) (?P<n>\\S+)'\n    metrics:\n      \
                 - {name: n_total, type: counter, value: n, labels: [user]}\n";
    let config = config(rules);
    let arguments = ["--config.file", &config.path, "--drop-labels", "user"];
    let output = replay_input(&arguments, "a 1\nb 2\na -5\nb 1e400\n");
    assert_eq!(Some(3.0), exposition(&output).value("n_total", &[]));
    assert!(stderr(&output).contains("negative_counter"), "{}", stderr(&output));
}

// --- Followed files.

fn followed(config: &Config, arguments: &[&str]) -> Server {
    let mut command = run();
    command.args(["--config.file", &config.path]).args(arguments);
    Server::launch(command).until_ready()
}

#[test]
fn listed_and_named_files_of_no_format_are_for_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["listed-1.log", "listed-2.log", "named.txt"] {
        append(Path::new(&path(name)), "x\n");
    }
    let rule = "rules:\n  - {regex: x, source: 'l*.log', metrics: [{name: listed_total, type: counter}]}\n  \
                - {regex: x, format: rules, metrics: [{name: all_total, type: counter}]}\n";
    let listed = config(&format!("sources: [{{path: '{}'}}]\n{rule}", path("listed-*.log")));
    let server = followed(&listed, &[]);
    assert_eq!((Some(2.0), Some(2.0)), (server.value("listed_total", &[]), server.value("all_total", &[])));
    let named = config(rule);
    let server = followed(&named, &[&path("named.txt")]);
    assert_eq!((None, Some(1.0)), (server.value("listed_total", &[]), server.value("all_total", &[])));
    // A folder's other files are not known to be logs for the rules.
    let server = followed(&named, &[folder.path().to_str().unwrap()]);
    assert_eq!(None, server.value("all_total", &[]));
}

/// A rule may match the banner that comes before the first line that tells the format.
#[test]
fn a_matched_line_settles_no_format() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.txt");
    append(&log, "Starting\n");
    let rules = config("rules: [{regex: Start, metrics: [{name: starts_total, type: counter}]}]\n");
    let server = followed(&rules, &[log.to_str().unwrap()]);
    assert_eq!(Some(1.0), server.value("starts_total", &[]));
    append(&log, frontend("Requests2XX.Count:1.0", "Level:Host"));
    crate::support::process::eventually("TorchServe's line is read", || {
        let body = server.scrape();
        body.samples.keys().any(|(name, _)| name == "Requests2XX").then_some(())
    });
    assert_eq!(Some(1.0), server.value("starts_total", &[]));
}

#[test]
fn standard_input_is_for_the_rules_too() {
    let rules = config("rules: [{regex: x, metrics: [{name: x_total, type: counter}]}]\n");
    let mut command = run();
    command.args(["--config.file", &rules.path, "-"]).stdin(Stdio::piped());
    let mut server = Server::launch(command).until_ready();
    server.stdin().write_all(b"x\ny\nx\n").unwrap();
    crate::support::process::eventually("both lines", || {
        (server.value("x_total", &[]) == Some(2.0)).then_some(())
    });
}

#[test]
fn after_a_restart_counts_go_on_unless_the_rule_means_something_else() {
    let rule = |pattern: &str, labels: &str, buckets: &str| {
        format!(
            "rules:\n  - regex: '{pattern}'\n    metrics:\n      - {{name: a_total, type: counter}}\n      \
             - {{name: b_total, type: counter, labels: [{labels}]}}\n      \
             - {{name: c, type: histogram, value: w, buckets: {buckets}}}\n"
        )
    };
    let rules = config(&rule("x(?P<w>[0-9])", "", "[1, 2]"));
    let log = rules.folder.path().join("a.txt");
    let state = rules.folder.path().join("state");
    append(&log, "x1\nx2\n");
    let arguments = [log.to_str().unwrap(), "--state.dir", state.to_str().unwrap()];
    let values = |server: &Server| {
        let body = server.scrape();
        let b = body.samples.iter().filter(|((name, _), _)| name == "b_total");
        let b: Vec<_> = b.map(|((_, labels), bits)| (labels.len(), f64::from_bits(*bits))).collect();
        (body.value("a_total", &[]), b, body.value("c_count", &[]))
    };
    let mut server = followed(&rules, &arguments);
    assert_eq!((Some(2.0), vec![(0, 2.0)], Some(2.0)), values(&server));
    assert!(server.terminate().success());
    append(&log, "x3\n");
    let mut server = followed(&rules, &arguments);
    assert_eq!((Some(3.0), vec![(0, 3.0)], Some(3.0)), values(&server));
    assert!(server.terminate().success());

    fs::write(&rules.path, rule("[xz](?P<w>[0-9])", "w", "[1, 4]")).unwrap();
    append(&log, "z4\n");
    let mut server = followed(&rules, &arguments);
    assert_eq!((Some(4.0), vec![(1, 1.0)], Some(1.0)), values(&server));
    assert!(server.terminate().success());

    fs::write(&rules.path, "rules: [{regex: x, metrics: [{name: d_total, type: counter}]}]\n").unwrap();
    let server = followed(&rules, &arguments);
    assert_eq!((None, vec![], None), values(&server), "what no rule feeds any more is not shown");
}

// --- Hostile lines.

#[test]
fn label_values_without_end_are_bounded() {
    let rules = "limit: {series-per-family: 100}\nrules:\n  - regex: 'user=(?P<user>\\S+) n=(?P<n>\\d+)'\n    metrics:\n      \
                 - {name: n_total, type: counter, value: n, labels: [user]}\n      \
                 - {name: n_last, type: gauge, value: n, labels: [user]}\n";
    let log: String = (0..50_000).map(|user| format!("user=u{user} n=1\n")).collect();
    let output = fold(rules, &log);
    let body = exposition(&output);
    let series = |name: &str| body.samples.keys().filter(|(sample, _)| sample == name).count();
    assert_eq!((101, 100), (series("n_total"), series("n_last")));
    assert_eq!(Some(49_900.0), body.value("n_total", &[("overflow", "true")]));
    assert_eq!(
        50_000.0,
        body.samples
            .iter()
            .filter(|((name, _), _)| name == "n_total")
            .map(|(_, bits)| f64::from_bits(*bits))
            .sum::<f64>()
    );
    assert!(output.stdout.len() < 20_000, "{}", output.stdout.len());
}

#[test]
fn a_huge_label_value_makes_no_series() {
    let rules = "rules:\n  - regex: 'user=(?P<user>.*)'\n    metrics: [{name: n_total, type: counter, labels: [user]}]\n";
    let log: String = (0..200).map(|user| format!("user={user}{}\n", "\"\\x".repeat(10_000))).collect();
    let output = fold(rules, &log);
    assert_eq!(Some(200.0), exposition(&output).value("n_total", &[("overflow", "true")]));
    assert!(output.stdout.len() < 1_000, "{}", output.stdout.len());
}

/// In an engine that goes back and forth each of these lines would take longer than the universe is old.
#[test]
fn no_expression_is_catastrophic() {
    let patterns = ["(a+)+$", "^(a|a?)+$", "(a|aa)+b", "(.*a){20}$", "([a-zA-Z]+)*[0-9]", "^(a|b|ab)*c"];
    let rules: String = patterns
        .iter()
        .enumerate()
        .map(|(at, pattern)| {
            format!(
                "  - regex: '(?P<all>{pattern})'\n    metrics:\n      - {{name: p{at}_total, type: counter, labels: {{long: \
                 {{from: all, map: {{x: x}}, default: y}}}}}}\n"
            )
        })
        .collect();
    let line = "a".repeat(60_000);
    let output = fold(&format!("rules:\n{rules}"), format!("{line}!\n{line}\n").repeat(3));
    let body = exposition(&output);
    let counts: Vec<_> =
        (0..patterns.len()).map(|at| body.value(&format!("p{at}_total"), &[("long", "y")])).collect();
    assert_eq!([Some(3.0), Some(3.0), None, Some(3.0), None, None], *counts);
}

#[test]
fn a_file_that_names_its_format_keeps_it() {
    let rules = config("rules: [{regex: '.', metrics: [{name: n_total, type: counter}]}]\n");
    let log = rules.folder.path().join("ts_metrics.log");
    append(&log, frontend("Requests2XX.Count:1.0", "Level:Host"));
    let arguments = ["--config.file", &rules.path, "--format", "rules", log.to_str().unwrap()];
    assert_eq!(Some(1.0), exposition(&replay(arguments)).value("n_total", &[]));
    let arguments = ["--config.file", &rules.path, log.to_str().unwrap()];
    assert_eq!(None, exposition(&replay(arguments)).value("n_total", &[]));
}
