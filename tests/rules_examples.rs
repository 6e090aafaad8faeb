//! The example rules in `deploy/examples`: each gives what its golden file says, and what somebody else says about the
//! same log: mtail itself, the server's own numbers, or a naive reading.
//!
//! `UPDATE_GOLDENS=1 cargo test rules_examples::` writes the golden files anew; look at the difference before you commit
//! it.

use crate::support::compare::only;
use crate::support::exposition::{Exposition, Series, series};
use crate::support::process::{exposition, inferometer, replay, stderr};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> PathBuf {
    root().join("deploy/examples").join(name)
}

fn log(name: &str) -> PathBuf {
    root().join("fixtures/rules").join(format!("{name}.log"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(name: &str) -> Vec<String> {
    text(&log(name)).lines().map(str::to_owned).collect()
}

/// Names of the examples: of each file with rules.
fn names() -> Vec<String> {
    let files = fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path());
    let rules = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut names: Vec<String> =
        rules.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn fold(name: &str) -> Output {
    let config = example(&format!("{name}.yaml"));
    // Its source is for rules only, whatever format its lines may have.
    let is_for_rules = text(&config).contains("\n    format: rules\n");
    let format = if is_for_rules { "rules" } else { "auto" };
    let arguments = ["--strict", "--format", format, "--config.file"].map(Path::new);
    let output = replay(arguments.into_iter().chain([&*config, &*log(name)]));
    assert_eq!(Some(0), output.status.code(), "{name}: {}", stderr(&output));
    output
}

fn folded(name: &str) -> Exposition {
    exposition(&fold(name))
}

/// Equal but for the last digits of sums, which depend on how the parts were divided.
#[track_caller]
fn check(expected: &BTreeMap<Series, f64>, observed: &Exposition) {
    let keys: BTreeSet<&Series> = expected.keys().chain(observed.samples.keys()).collect();
    assert!(!keys.is_empty());
    for key in keys {
        let (theirs, ours) = (expected.get(key), observed.samples.get(key).map(|bits| f64::from_bits(*bits)));
        let near = |theirs: f64, ours: f64| (theirs - ours).abs() <= theirs.abs() * 1e-12;
        let is_equal = theirs.zip(ours).is_some_and(|(theirs, ours)| near(*theirs, ours));
        assert!(is_equal, "{key:?}: expected {theirs:?}, observed {ours:?}");
    }
}

/// The bounds of buckets as numbers: mtail writes `1`, we write `1.0`.
fn with_plain_bounds(samples: &BTreeMap<Series, u64>) -> BTreeMap<Series, f64> {
    let plain = |(name, labels): &Series| {
        let mut labels = labels.clone();
        if let Some(bound) = labels.get_mut("le") {
            *bound = format!("{:?}", bound.replace("+Inf", "inf").parse::<f64>().unwrap());
        }
        (name.clone(), labels)
    };
    samples.iter().map(|(key, bits)| (plain(key), f64::from_bits(*bits))).collect()
}

#[test]
fn every_example_checks_itself_and_has_its_golden_file() {
    let names = names();
    assert!(names.len() >= 6, "{names:?}");
    for name in &names {
        let config = example(&format!("{name}.yaml"));
        let output = inferometer().args(["check", "--config.file"]).arg(&config).output().unwrap();
        assert_eq!(Some(0), output.status.code(), "{name}: {}", stderr(&output));
        let said = String::from_utf8(output.stdout).unwrap();
        let rules = said.lines().filter(|line| line.starts_with("rule: ")).count();
        assert_eq!(
            rules,
            text(&config).matches("\n    examples:\n").count(),
            "{name}: a rule without examples"
        );
        assert!(said.contains(" as expected\n"), "{name}: {said}");
        let golden = log(name).with_extension("prom");
        let observed = String::from_utf8(fold(name).stdout).unwrap();
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &observed).unwrap();
        }
        assert_eq!(text(&golden), observed, "{name}");
    }
    let logs = fs::read_dir(root().join("fixtures/rules")).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let stems: BTreeSet<_> =
        logs.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, stems.into_iter().collect::<Vec<_>>(), "a log without rules, or rules without a log");
}

/// The real mtail, from Debian, with the program that the rules were made of.
#[test]
fn a_translated_mtail_program_gives_mtails_own_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("mtail")
        .args(["--one_shot", "--one_shot_format=prometheus", "--emit_prog_label=false"])
        .arg("--progs")
        .arg(example("mtail.mtail"))
        .arg("--logs")
        .arg(log("mtail"))
        .arg("--log_dir")
        .arg(folder.path())
        .output()
        .expect("mtail starts; it is a package of Debian");
    assert!(output.status.success(), "{}", stderr(&output));
    let theirs = String::from_utf8(output.stdout).unwrap();
    let theirs = Exposition::strict(&theirs).unwrap_or_else(|error| panic!("{error}\n{theirs}"));
    let ours = folded("mtail");
    let kinds = |body: &Exposition| -> BTreeMap<String, Option<String>> {
        body.families.iter().map(|(name, family)| (name.clone(), family.kind.clone())).collect()
    };
    assert_eq!(kinds(&theirs), kinds(&ours));
    assert_eq!(5, ours.families.len());
    let with_their_bounds = with_plain_bounds(&ours.samples);
    let ours = with_their_bounds.into_iter().map(|(key, value)| (key, value.to_bits())).collect();
    check(&with_plain_bounds(&theirs.samples), &Exposition { samples: ours, ..Exposition::default() });
}

/// What it is to give was computed by `tests/support_rules/grok_expected.py`, which knows the original configuration.
#[test]
fn a_translated_grok_exporter_configuration_gives_the_same_numbers() {
    let expected = text(&root().join("fixtures/rules/grok_exporter.expected.json"));
    let expected: BTreeMap<String, f64> = serde_json::from_str(&expected).unwrap();
    // The keys are series as an exposition writes them.
    let parsed = |key: &str| -> Series {
        let (name, labels) = key.trim_end_matches('}').split_once('{').unwrap();
        let labels = labels.split(',').map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        (name.to_owned(), labels.collect())
    };
    let expected = expected.iter().map(|(key, value)| (parsed(key), *value)).collect();
    check(&expected, &folded("grok_exporter"));
}

#[test]
fn bentomls_monitoring_log_is_a_histogram_of_its_inferences() {
    let mut expected = BTreeMap::new();
    // min, then twice as much as long as it is below max, then max.
    let bounds = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, f64::INFINITY];
    let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
        *expected.entry(series(name, labels)).or_insert(0.0) += value;
    };
    for line in lines("bentoml-monitor") {
        let record: Value = serde_json::from_str(&line).unwrap();
        let seconds = record["infer_ms"].as_f64().unwrap() / 1000.0;
        let class = [("sentiment_cls", record["pred"].as_str().unwrap())];
        for bound in bounds {
            let le = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            let is_below = if seconds <= bound { 1.0 } else { 0.0 };
            add("inference_duration_bucket", &[class[0], ("le", &le)], is_below);
        }
        add("inference_duration_count", &class, 1.0);
        add("inference_duration_sum", &class, seconds);
        add("inference_text_length_count", &[], 1.0);
        add("inference_text_length_sum", &[], record["text_length"].as_f64().unwrap());
    }
    check(&expected, &folded("bentoml-monitor"));
}

/// Beside the server's own families, which are what they are without the rules.
#[test]
fn the_plugins_families_come_beside_torchserves_own() {
    let with = folded("torchserve-plugin");
    let without = exposition(&replay([log("torchserve-plugin")]));
    let is_new = |family: &str| !without.families.contains_key(family);
    assert_eq!(without, only(&with, |family| !is_new(family)));
    let new = only(&with, is_new);
    assert_eq!(["memory_used", "ts_queue_latency_milliseconds"], *new.families.keys().collect::<Vec<_>>());
    let uuid = ("uuid", "b5b23535-9d55-4564-8865-4fda3ce8aa2c");
    let mut waits: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for line in lines("torchserve-plugin") {
        if let Some((_, rest)) = line.split_once(" - ts_queue_latency_microseconds.Microseconds:") {
            let (value, rest) = rest.split_once("|#model_name:").unwrap();
            let (model, rest) = rest.split_once(",model_version:").unwrap();
            let version = rest.split('|').next().unwrap();
            waits
                .entry((model.to_owned(), version.to_owned()))
                .or_default()
                .push(value.parse::<f64>().unwrap() / 1000.0);
        }
    }
    assert_eq!(88, waits.values().map(Vec::len).sum::<usize>());
    for ((model, version), waits) in waits {
        let labels = [uuid, ("model_name", &model), ("model_version", &version)];
        let value = |suffix: &str| new.value(&format!("ts_queue_latency_milliseconds_{suffix}"), &labels);
        assert_eq!(Some(waits.len() as f64), value("count"));
        let sum: f64 = waits.iter().sum();
        assert!((value("sum").unwrap() - sum).abs() < 1e-9);
        let within = |bound: f64| waits.iter().filter(|wait| **wait <= bound).count() as f64;
        for (le, bound) in [("0.005", 0.005), ("0.1", 0.1), ("0.75", 0.75), ("7.5", 7.5), ("10.0", 10.0)] {
            let bucket =
                new.value("ts_queue_latency_milliseconds_bucket", &[&labels[..], &[("le", le)]].concat());
            assert_eq!(Some(within(bound)), bucket, "{model} {le}");
        }
    }
    assert_eq!(Some(1_709.277_343_75), new.value("memory_used", &[uuid]));
}

/// Counted by splitting at quotes and blanks, without an expression.
#[test]
fn nginxs_access_log_is_counted_by_method_and_status() {
    let mut requests = BTreeMap::<(String, String), f64>::new();
    let (mut bytes, mut upstream) = (0.0, 0.0);
    let log = lines("nginx");
    let answers = log.iter().filter(|line| line.contains(" rt="));
    for line in answers.clone() {
        let parts: Vec<&str> = line.split('"').collect();
        let word = parts[1].split(' ').next().unwrap();
        let is_known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&word);
        let numbers: Vec<&str> = parts[2].split_whitespace().collect();
        let method = if is_known { word } else { "other" };
        *requests.entry((method.to_owned(), numbers[0].to_owned())).or_default() += 1.0;
        bytes += numbers[1].parse::<f64>().unwrap();
        upstream += if line.ends_with("urt=\"-\"") { 0.0 } else { 1.0 };
    }
    assert_eq!((64, 63), (log.len(), answers.count()));
    let observed = folded("nginx");
    for ((method, status), count) in &requests {
        let labels = [("method", method.as_str()), ("status", status.as_str())];
        assert_eq!(Some(*count), observed.value("nginx_http_requests_total", &labels), "{labels:?}");
    }
    let shown = observed.samples.keys().filter(|(name, _)| name == "nginx_http_requests_total").count();
    assert_eq!(requests.len(), shown);
    assert_eq!(Some(bytes), observed.value("nginx_http_response_bytes_total", &[]));
    assert_eq!(Some(upstream), observed.value("nginx_http_upstream_duration_seconds_count", &[]));
}

/// Counted by what each line ends with; what stands inside a quoted message is no pair.
#[test]
fn key_values_are_read_with_their_units_and_quotes() {
    let (mut tokens, mut seconds) = (0.0, 0.0);
    for line in lines("key-values").iter().filter(|line| line.contains("msg=\"request done\"")) {
        tokens += line.rsplit('=').next().unwrap().parse::<f64>().unwrap();
        let latency = line.split("latency=").nth(1).unwrap().split(' ').next().unwrap();
        let number = |unit: &str| latency.strip_suffix(unit).and_then(|text| text.parse::<f64>().ok());
        seconds += number("us")
            .map(|us| us / 1e6)
            .or_else(|| number("ms").map(|ms| ms / 1e3))
            .unwrap_or_else(|| {
                number("s").unwrap_or_else(|| if latency == "1m2.5s" { 62.5 } else { panic!("{latency}") })
            });
    }
    let observed = folded("key-values");
    let sum = |name: &str| -> f64 {
        let of_name = observed.samples.iter().filter(|((sample, _), _)| sample == name);
        of_name.map(|(_, bits)| f64::from_bits(*bits)).sum()
    };
    assert_eq!(tokens, sum("server_generated_tokens_total"));
    assert!((seconds - sum("server_request_duration_seconds_sum")).abs() < 1e-9);
    assert_eq!(45.0, sum("server_requests_total"));
    assert_eq!(
        0,
        observed.samples.keys().filter(|(_, labels)| labels.values().any(|value| value == "evil")).count()
    );
}
