//! `inferometer replay` against what a real TorchServe showed for the same events, sample by sample and
//! to the last bit.

use crate::support::compare::{differences, only};
use crate::support::events::{self, Event};
use crate::support::exposition::Exposition;
use crate::support::process::{exposition, replay, stderr};
use crate::support::{fixture, fixture_text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

const VISION: Option<&str> = Some("config/metrics_vision.yaml");
const EDGE: Option<&str> = Some("config/metrics_edge.yaml");
/// The server ran with its own default, and so do we: no flag at all.
const DEFAULT: Option<&str> = None;

/// Which `metrics_config` each server ran with.
const PAIRS: &[(&str, Option<&str>)] = &[
    ("pairs-default_yaml", DEFAULT),
    ("pairs-edge", EDGE),
    ("pairs-gpu_lines", DEFAULT),
    ("pairs-lifecycle", VISION),
    ("pairs-restart", VISION),
    ("pairs-sequential", VISION),
];

/// A label set that names one label twice: Prometheus refuses a scrape with it, so we refuse the line.
/// It is its family's only series, and we do not list a family that has never had a legal one.
const DUPLICATE_LABEL: &str = "\
# HELP DupDims Torchserve prometheus gauge metric with unit: Milliseconds
# TYPE DupDims gauge
DupDims{Tag=\"a\",Tag=\"b\",ModelName=\"resnet18\",Level=\"Model\",Hostname=\"ts-node-0\",} 1.0
";

/// An event with one label too many: the endpoint refused it, the log holds it cut so that it looks legal.
const CUT_TO_LOOK_LEGAL: &str = "Dim{Hostname=\"ts-node-0\",Level=\"resnet18\",ModelName=\"c\",Tag=\"a\"}: \
    expected nothing, observed 4.0";

#[test]
fn every_pair_is_equal_to_torchserves_endpoint_to_the_last_bit() {
    let mut steps = 0;
    for folder in pair_folders() {
        for step in steps_of(&folder) {
            if (folder.as_str(), step.as_str()) != ("pairs-restart", "1_second_life") {
                check_step(&folder, &step);
                steps += 1;
            }
        }
    }
    assert_eq!(17, steps);
}

fn check_step(folder: &str, step: &str) {
    let mut theirs = fixture_text(&format!("{folder}/{step}/metrics.prom"));
    let mut listed: &[&str] = &[];
    if folder == "pairs-edge" {
        assert!(theirs.contains(DUPLICATE_LABEL), "the duplicate label is gone from the fixture");
        theirs = theirs.replace(DUPLICATE_LABEL, "");
        listed = &[CUT_TO_LOOK_LEGAL];
    }
    let observed = differences(&Exposition::torchserve(&theirs).unwrap(), &replay_step(folder, step));
    assert_eq!(listed, observed, "{folder}/{step}");
}

/// The log goes on over a restart and the endpoint starts from zero: what we show for counters and
/// histograms is both lives together.
#[test]
fn a_restarted_servers_lives_add_up() {
    let life = |step: &str| {
        Exposition::torchserve(&fixture_text(&format!("pairs-restart/{step}/metrics.prom"))).unwrap()
    };
    let (first, second) = (life("0_first_life"), life("1_second_life"));
    let ours = replay_step("pairs-restart", "1_second_life");

    let mut families = first.families.clone();
    families.extend(second.families.clone());
    assert_eq!(families, ours.families);

    let mut expected = first.samples.clone();
    for (series, bits) in &second.samples {
        let is_gauge = families.get(&series.0).is_some_and(|family| family.kind.as_deref() == Some("gauge"));
        let before =
            first.samples.get(series).filter(|_| !is_gauge).map_or(0.0, |bits| f64::from_bits(*bits));
        expected.insert(series.clone(), (before + f64::from_bits(*bits)).to_bits());
    }
    // The first life's scrape was counted after its body was made, and after the cut.
    let scrape = first.samples.keys().find(|series| series.0 == "Requests2XX").unwrap();
    let counted = f64::from_bits(expected[scrape]) + 1.0;
    expected.insert(scrape.clone(), counted.to_bits());

    assert!(expected.keys().eq(ours.samples.keys()));
    for (series, bits) in &expected {
        let (expected, observed) = (f64::from_bits(*bits), f64::from_bits(ours.samples[series]));
        // One sum in the order of the lines is not to the last bit the sum of two sums.
        assert!((expected - observed).abs() <= expected * 1e-14, "{series:?}: {expected} and {observed}");
    }
}

#[test]
fn what_torchserve_refused_is_refused_with_a_reason() {
    let (_folder, logs) = cut_logs("pairs-edge", "0_all_cases");
    let output = replay_strictly(&logs, EDGE, Some("pairs-edge/types.yaml"));
    assert_eq!(Some(1), output.status.code());
    let report = stderr(&output);
    for reason in ["label_count", "illegal_name", "name_clash", "duplicate_label"] {
        assert!(report.contains(reason), "{reason} is not in\n{report}");
    }
}

/// The files were written without rotation; the endpoint's body was made before its own scrape was counted.
#[test]
fn the_events_of_a_rotated_log_are_equal_to_torchserves_endpoint() {
    for (folder, requests) in [
        ("rotate_direct", 112),
        ("rotate_index_gz", 112),
        ("rotate_min_plain", 112),
        ("rotate_minute", 72),
        ("rotate_shipped", 112),
    ] {
        let logs = ["full_ts_metrics.txt", "full_model_metrics.txt"].map(|log| fixture(folder).join(log));
        let output = replay_strictly(&logs, VISION, Some(&format!("{folder}/types.yaml")));
        assert_eq!(Some(0), output.status.code(), "{folder}: {}", stderr(&output));
        let theirs = Exposition::torchserve(&fixture_text(&format!("{folder}/scrape_after.prom"))).unwrap();
        let scrape = format!(
            "Requests2XX{{Hostname=\"ts-node-0\",Level=\"Host\"}}: expected {requests}.0, observed {}.0",
            requests + 1
        );
        assert_eq!(vec![scrape], differences(&theirs, &exposition(&output)), "{folder}");
    }
}

#[test]
fn every_line_of_the_old_dialect_is_read() {
    let logs = ["0.7.1-log/ts_metrics.log", "0.7.1-log/model_metrics.log"];
    let output = replay_strictly(&logs.map(fixture), DEFAULT, None);
    assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
    let observed = exposition(&output);
    let expected = metric_lines(&logs);
    check_events(&expected, &observed);

    let labels = [("WorkerName", "W-9000-resnet18_1.0"), ("Level", "Host"), ("Hostname", "ts-node-0")];
    assert_eq!(Some(6542.0), observed.value("WorkerLoadTime", &labels));
    let requests = observed.value("Requests2XX", &[("Level", "Host"), ("Hostname", "ts-node-0")]);
    assert_eq!(Some(80.0), requests);
    assert_eq!(80.0, events::sum(&expected, "Requests2XX"));
}

#[test]
fn a_family_that_nobody_declares_is_untyped() {
    let logs = ["0.7.1-log/ts_metrics.log", "0.7.1-log/model_metrics.log"].map(fixture);
    let output = replay_strictly(&logs, DEFAULT, None);
    let observed = exposition(&output);
    let untyped: Vec<_> = observed
        .families
        .iter()
        .filter(|(_, family)| family.kind.as_deref() == Some("untyped"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(["HalfUnits", "ImageSize", "PixelsTotal", "PreprocessTime", "TopConfidence"], *untyped);
    for name in untyped {
        assert!(stderr(&output).contains(name), "the report does not name {name}");
    }
}

#[test]
fn line_layouts_are_read_whole() {
    for layout in ["pattern_highlight", "pattern_json", "pattern_like_console", "pattern_utc_zone"] {
        let logs =
            ["ts_metrics.log", "model_metrics.log"].map(|log| format!("layouts/0.12.0-{layout}/{log}"));
        let logs = logs.each_ref().map(String::as_str);
        let output = replay_strictly(&logs.map(fixture), VISION, Some("log/types.yaml"));
        assert_eq!(Some(0), output.status.code(), "{layout}: {}", stderr(&output));
        check_events(&metric_lines(&logs), &exposition(&output));
    }
}

#[test]
fn block_layouts_are_read_whole() {
    let json = fixture_text("layouts/0.7.1-json/ts_metrics.log");
    let qlog = fixture_text("layouts/0.7.1-qlog/ts_metrics.log");
    for (layout, expected) in
        [("0.7.1-json", events::of_json_blocks(&json)), ("0.7.1-qlog", events::of_qlog_blocks(&qlog))]
    {
        assert_eq!(51, expected.len(), "{layout}");
        let log = fixture(&format!("layouts/{layout}/ts_metrics.log"));
        let output = replay_strictly(&[log], DEFAULT, None);
        assert_eq!(Some(0), output.status.code(), "{layout}: {}", stderr(&output));
        check_events(&expected, &exposition(&output));
    }
}

#[test]
fn a_layout_that_lost_its_data_is_named_with_the_remedy() {
    for (log, lines) in [
        ("layouts/0.12.0-json/ts_metrics.log", 88),
        ("layouts/0.12.0-json/model_metrics.log", 169),
        ("layouts/0.7.1-json/model_metrics.log", 84),
    ] {
        assert_eq!(lines, fixture_text(log).lines().count());
        let output = replay_strictly(&[fixture(log)], DEFAULT, None);
        assert_eq!(Some(1), output.status.code(), "{log}");
        assert_eq!(0, exposition(&output).samples.len(), "{log}");
        let report = stderr(&output);
        for words in ["no_data", &lines.to_string(), "MutableLogEvent", "PatternLayout"] {
            assert!(report.contains(words), "{words:?} is not in the report on {log}:\n{report}");
        }
        let lenient = replay([fixture(log)]);
        assert_eq!(Some(0), lenient.status.code(), "{log}");
    }
}

#[test]
fn empty_files_are_fine() {
    for folder in ["layouts/0.12.0-qlog", "prometheus"] {
        let logs = ["ts_metrics.log", "model_metrics.log"].map(|log| fixture(folder).join(log));
        let output = replay_strictly(&logs, DEFAULT, None);
        assert_eq!(Some(0), output.status.code(), "{folder}: {}", stderr(&output));
        assert_eq!(0, exposition(&output).samples.len(), "{folder}");
    }
}

#[test]
fn the_console_counts_its_metric_lines_and_never_their_echoes() {
    for (folder, config) in
        [("log", VISION), ("log", DEFAULT), ("0.7.1-log", DEFAULT), ("prometheus", VISION)]
    {
        let console = format!("{folder}/console.txt");
        let output = replay_strictly(&[fixture(&console)], config, None);
        assert_eq!(Some(0), output.status.code(), "{folder}: {}", stderr(&output));
        let text = fixture_text(&console);
        let lines =
            text.lines().filter(|line| line.contains(" TS_METRICS - ") || line.contains(" MODEL_METRICS - "));
        check_events(&events::of_lines(lines), &log_families(&exposition(&output)));
    }
}

#[test]
fn the_console_tells_the_types() {
    let text = fixture_text("log/console.txt");
    let echoes: BTreeMap<String, String> = text.lines().filter_map(echo).collect();
    assert_eq!(13, echoes.len());
    let output = replay([fixture("log/console.txt")]);
    let observed = exposition(&output);
    for (name, kind) in &echoes {
        assert_eq!(Some(kind.as_str()), observed.families[name].kind.as_deref(), "{name}");
    }
    let help = "Torchserve prometheus counter metric with unit: count";
    assert_eq!(Some(help), observed.families["ImagesProcessed"].help.as_deref());
}

#[test]
fn a_console_beside_the_metric_files_that_it_repeats_is_refused() {
    let files = ["log/ts_metrics.log", "log/console.txt"].map(fixture);
    let output = replay(&files);
    assert_eq!(Some(64), output.status.code());
    assert_eq!("", String::from_utf8_lossy(&output.stdout));
    assert!(stderr(&output).contains("--source.allow-repeats"), "{}", stderr(&output));
}

#[test]
fn a_console_repeats_no_other_servers_lines() {
    let bentoml = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bentoml/http.log");
    let output = replay([fixture("log/console.txt"), bentoml]);
    assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
    let body = String::from_utf8_lossy(&output.stdout);
    assert!(body.contains("\nbentoml_service_request_total{") && body.contains("\nRequests2XX{"), "{body}");
}

#[test]
fn repeats_are_counted_when_they_are_allowed() {
    let [log, console] = ["log/ts_metrics.log", "log/console.txt"].map(fixture);
    let output = replay([Path::new("--source.allow-repeats"), &log, &console]);
    assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
    let once = fixture_text("log/ts_metrics.log").matches(" - Requests2XX.Count:1.0|#").count();
    let again = fixture_text("log/console.txt").matches(" - Requests2XX.Count:1.0|#").count();
    let observed = exposition(&output).value("Requests2XX", &[("Level", "Host"), ("Hostname", "ts-node-0")]);
    assert_eq!(Some(f64::from(u32::try_from(once + again).unwrap())), observed);
}

/// All folders of pairs there are; each one needs its row in [`PAIRS`].
fn pair_folders() -> Vec<String> {
    let folders = names_in(&fixture("")).into_iter().filter(|name| name.starts_with("pairs-")).collect();
    let rows: Vec<_> = PAIRS.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(rows, folders);
    folders
}

fn steps_of(folder: &str) -> Vec<String> {
    names_in(&fixture(folder)).into_iter().filter(|name| fixture(folder).join(name).is_dir()).collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What `replay` makes of the bytes that had been written when a step's body was made.
fn replay_step(folder: &str, step: &str) -> Exposition {
    let (_, config) = PAIRS.iter().find(|(name, _)| *name == folder).unwrap();
    let (_folder, logs) = cut_logs(folder, step);
    let output = replay(arguments(&logs, *config, Some(&format!("{folder}/types.yaml"))));
    assert_eq!(Some(0), output.status.code(), "{folder}/{step}: {}", stderr(&output));
    exposition(&output)
}

/// The two logs of a pair, cut as a step's `cut.txt` says, in a folder that lives as long as the handle.
fn cut_logs(folder: &str, step: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let target = tempfile::tempdir().unwrap();
    let cuts = fixture_text(&format!("{folder}/{step}/cut.txt"));
    let logs = cuts.lines().map(|cut| {
        let (log, length) = cut.split_once(' ').unwrap();
        let bytes = std::fs::read(fixture(folder).join(log)).unwrap();
        let path = target.path().join(log);
        std::fs::write(&path, &bytes[..length.parse().unwrap()]).unwrap();
        path
    });
    let logs = logs.collect();
    (target, logs)
}

fn replay_strictly(logs: &[PathBuf], config: Option<&str>, types: Option<&str>) -> Output {
    replay([vec!["--strict".into()], arguments(logs, config, types)].concat())
}

fn arguments(logs: &[PathBuf], config: Option<&str>, types: Option<&str>) -> Vec<PathBuf> {
    let mut arguments = vec!["--no-latency-histograms".into()];
    for (flag, file) in [("--torchserve.metrics-config", config), ("--config.file", types)] {
        arguments.extend(file.into_iter().flat_map(|file| [flag.into(), fixture(file)]));
    }
    arguments.extend_from_slice(logs);
    arguments
}

fn metric_lines(logs: &[&str]) -> Vec<Event> {
    logs.iter().flat_map(|log| events::of_lines(fixture_text(log).lines())).collect()
}

/// Every sample is what the naive reading of the same events gives, and nothing else is there.
#[track_caller]
fn check_events(expected: &[Event], observed: &Exposition) {
    let kinds = observed
        .families
        .iter()
        .filter_map(|(name, family)| Some((name.clone(), family.kind.clone()?)))
        .collect();
    let expected =
        Exposition { samples: events::fold(expected, &kinds), families: observed.families.clone() };
    assert_eq!(Vec::<String>::new(), differences(&expected, observed));
}

/// Without what the banner and the access log on a console give besides the metric lines.
fn log_families(body: &Exposition) -> Exposition {
    let derived = ["ts_server_info", "ts_server_start_time_seconds", "ts_http_request_duration_seconds"];
    only(body, |family| !derived.contains(&family))
}

/// Name and type from a worker's own line on the console.
fn echo(line: &str) -> Option<(String, String)> {
    let (_, echo) = line.split_once("result=[METRICS]")?;
    let (name, _) = echo.split_once('.')?;
    let (_, kind) = echo.split_once("|#type:")?;
    Some((name.to_owned(), kind.split('|').next()?.to_lowercase()))
}
