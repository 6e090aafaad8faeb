//! The commands as people call them: usage, configuration, which files are followed, what is said, how it ends.

use crate::support::exposition::Exposition;
use crate::support::folders::Folders;
use crate::support::lines::{HOST, append, console, frontend, model, requests};
use crate::support::process::{
    Pieces, Server, eventually, exposition, inferometer, replay, replay_input, replay_pieces, run, stderr,
};
use crate::support::{fixture, fixture_text};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const OF_MODEL: &[(&str, &str)] = &[("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")];

// --- Usage: exit 64, and words that help.

#[test]
fn what_was_typed_wrong_is_named() {
    let mut wrong = Vec::new();
    for (arguments, words) in [
        (&["run", "--limit.serie", "5"][..], "--limit.serie"),
        (&["run", "--limit.series", "many"], "many"),
        (&["run", "--limit.series"], "--limit.series"),
        (&["run", "--gauge-ttl", "soon"], "soon"),
        (&["run", "--from", "middle"], "middle"),
        (&["run", "--naming", "java"], "java"),
        (&["run", "--format", "nginx"], "torchserve-console"),
        (&["run", "--limit.line-bytes", "1"], "--limit.line-bytes"),
        (&["run", "--web.telemetry-path", "/"], "--web.telemetry-path"),
        (&["run", "--web.listen-address", "127.0.0.1"], "127.0.0.1"),
        (&["run", "--web.listen-address", ":port"], ":port"),
        (&["run", "--config.file", "no/such.yaml"], "no/such.yaml"),
        (&["run", "--torchserve.metrics-config", "no/such.yaml"], "no/such.yaml"),
        (&["replay"], "FILE"),
        (&["check", "a-path"], "a-path"),
        (&["tail"], "tail"),
        (&[], "Usage"),
    ] {
        let output = quietly(inferometer().args(arguments));
        let (code, said) = (output.status.code(), stderr(&output));
        if code != Some(64) || !output.stdout.is_empty() || !said.contains(words) {
            wrong.push(format!("{arguments:?}: expected 64 and {words:?}, observed {code:?} and {said:?}"));
        }
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in
        [&["--help"][..], &["--version"], &["run", "--help"], &["replay", "-h"], &["help", "check"]]
    {
        let output = inferometer().args(arguments).output().unwrap();
        assert_eq!((Some(0), ""), (output.status.code(), stderr(&output).as_str()), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
}

// --- Configuration: what is wrong has a file, a line and a column.

#[test]
fn mistakes_in_the_configuration_name_their_place() {
    let mut wrong = Vec::new();
    for (text, place, words) in [
        ("colour: red\n", "1:1", "colour"),
        ("limit:\n  series: 5\n  serie: 5\n", "3:3", "limit.serie"),
        ("web: {listen-addres: ':1'}\n", "1:7", "listen-addres"),
        ("web:\n  listen-address:\n    port: 1\n", "3:5", "port"),
        ("limit:\n  series: many\n", "2:3", "many"),
        ("limit: {line-bytes: 1}\n", "1:9", "line-bytes"),
        ("# a comment\n\ngauge-ttl: soon\n", "3:1", "soon"),
        ("types:\n  A: counters\n", "2:6", "counters"),
        ("types: [A]\n", "1:8", ""),
        ("buckets:\n  A: [2, 1]\n", "2:6", "ascend"),
        ("buckets:\n  A: []\n", "2:6", "ascend"),
        ("buckets:\n  A: [1, one]\n", "2:10", ""),
        ("buckets:\n  A: {exponential: {start: 1, factor: 1, count: 3}}\n", "2:6", "ascend"),
        ("buckets:\n  A: {exponential: {start: 1, factor: 1e300, count: 4}}\n", "2:6", "ascend"),
        ("buckets:\n  A: {linear: {start: 0, width: 1, count: 60000}}\n", "2:6", "ascend"),
        ("buckets:\n  A: {linear: {start: 0, width: 1}}\n", "2:26", "count"),
        ("sources:\n  - path: x\n    colour: red\n", "3:5", "colour"),
        ("sources:\n  - path: x\n    format: nginx\n", "3:13", "nginx"),
        ("sources:\n  - path: x\n    timezone: Mars\n", "3:15", "Mars"),
        ("sources:\n  - path: x\n    labels: {a-b: c}\n", "3:14", "a-b"),
        ("sources:\n  - format: auto\n", "2:5", "path"),
        ("process:\n  - match: 'vllm ('\n    model_name: m\n", "2:12", "unclosed group"),
        ("process:\n  - match: '(?:x{1000}){1000}'\n    model_name: m\n", "2:12", "size limit"),
        ("process:\n  - match: '(?P<modell>x)'\n", "2:12", "modell"),
        ("process:\n  - match: x\n", "2:12", "no label"),
        ("process:\n  - {match: '(?P<model_name>x)', model_name: m}\n", "2:13", "model_name"),
        ("process:\n  - {match: x, modelname: m}\n", "2:16", "modelname"),
        ("process:\n  - model_name: m\n", "2:5", "match"),
        ("process: vllm\n", "1:10", ""),
    ] {
        let (_file, path) = config(text);
        for arguments in [&["check"][..], &["replay", "-"]] {
            let output = quietly(inferometer().args(arguments).args(["--config.file", &path]));
            wrong.extend(misplaced(&output, &path, place, words, text));
        }
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn configurations_of_the_manual_are_right() {
    for (file, expected) in [("README.md", 1), ("deploy/rules.md", 1), ("deploy/machine.md", 1)] {
        let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let blocks = manual.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let is_other = |block: &&str| {
            ["# prometheus.yml", "# kustomization.yaml"].iter().any(|it| block.starts_with(it))
        };
        let ours: Vec<&str> = blocks.filter(|block| !is_other(block)).collect();
        assert_eq!(expected, ours.len(), "{file}: {ours:?}");
        for text in ours {
            let (_file, path) = config(text);
            let output = inferometer().args(["check", "--config.file", &path]).output().unwrap();
            assert_eq!(Some(0), output.status.code(), "{text}: {}", stderr(&output));
        }
    }
}

#[test]
fn mistakes_in_a_metrics_yaml_name_their_place() {
    let mut wrong = Vec::new();
    for (text, place, words) in [
        ("ts_metric:\n  counter: []\n", "1:1", "ts_metric"),
        ("ts_metrics:\n  counters:\n    - {name: A, unit: Count}\n", "2:3", "counters"),
        (
            "model_metrics:\n  gauge:\n    - name: A\n      unit: ms\n      dimension: [x]\n",
            "5:7",
            "dimension",
        ),
        ("ts_metrics: 5\n", "1:13", ""),
        ("ts_metrics:\n  counter:\n    name: A\n", "3:5", ""),
        ("ts_metrics:\n  counter:\n    - name: [A]\n      unit: ms\n", "3:13", ""),
        ("ts_metrics:\n  counter:\n    - name: A\n", "3:7", "unit"),
        ("ts_metrics:\n  counter:\n    - {name: A, unit: ms, dimensions: [*nowhere]}\n", "3:40", ""),
    ] {
        let (_file, path) = config(text);
        for arguments in [&["check"][..], &["replay", "-"]] {
            let output = quietly(inferometer().args(arguments).args(["--torchserve.metrics-config", &path]));
            wrong.extend(misplaced(&output, &path, place, words, text));
        }
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn broken_yaml_is_refused_with_a_place() {
    let deep = format!("a: {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let maps = format!("{}1{}\n", "{a: ".repeat(50_000), "}".repeat(50_000));
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\n\
                d: &d [*c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e]\n";
    for text in [
        "limit: [\n",
        "limit: {series: 5\n",
        "\tlimit: 5\n",
        "a: 'b\n",
        "a: b: c\n",
        "- a\n",
        "5\n",
        &deep,
        &maps,
        bomb,
    ] {
        let (_file, path) = config(text);
        for flag in ["--config.file", "--torchserve.metrics-config"] {
            let output = inferometer().args(["check", flag, &path]).output().unwrap();
            let said = assert_usage(&output);
            let shown = &text[..text.len().min(40)];
            assert!(place_of(&said, &path).is_some(), "{flag} {shown:?}: {said}");
        }
    }
}

#[test]
fn a_configuration_that_is_no_text_or_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    for bytes in [vec![0xff; 10], vec![b'#'; 3 * 1024 * 1024]] {
        fs::write(&path, bytes).unwrap();
        let output = inferometer().args(["check", "--config.file"]).arg(&path).output().unwrap();
        assert!(assert_usage(&output).contains(path.to_str().unwrap()));
    }
    let output = inferometer().args(["check", "--config.file"]).arg(folder.path()).output().unwrap();
    assert!(assert_usage(&output).contains(folder.path().to_str().unwrap()));
}

#[test]
fn an_empty_configuration_changes_nothing() {
    for text in ["", "# nothing\n", "---\n"] {
        let (_file, path) = config(text);
        let output = inferometer().args(["check", "--config.file", &path]).output().unwrap();
        assert_eq!(Some(0), output.status.code(), "{text:?}: {}", stderr(&output));
    }
}

#[test]
fn the_command_line_beats_the_environment_and_that_beats_the_file() {
    let (_file, path) = config("limit: {series-per-family: 1}\n");
    let lines: String = (0..6).map(|model| inference(&format!("m{model}"), "h")).collect();
    let count = |flags: &[&str], environment: Option<&str>| {
        let mut command = inferometer();
        command.args(["replay", "--config.file", &path]).args(flags).arg("-");
        if let Some(value) = environment {
            command.env("INFEROMETER_LIMIT_SERIES_PER_FAMILY", value);
        }
        let output = piped(command, &lines);
        let body = exposition(&output);
        // All but the overflow series.
        body.samples.keys().filter(|(name, _)| name == "ts_inference_requests_total").count() - 1
    };
    assert_eq!(1, count(&[], None));
    assert_eq!(2, count(&[], Some("2")));
    assert_eq!(3, count(&["--limit.series-per-family", "3"], Some("2")));
    assert_eq!(4, count(&["--limit.series-per-family", "4"], None));
}

#[test]
fn every_flag_has_an_environment_variable_and_a_key() {
    for command in ["run", "replay", "backfill", "check"] {
        for (flag, help) in flags_of(command) {
            let name = format!("INFEROMETER_{}", flag.to_uppercase().replace(['.', '-'], "_"));
            assert!(help.contains(&format!("[env: {name}=")), "{command} --{flag} has no {name}:\n{help}");
            if flag == "config.file" {
                continue;
            }
            let (open, close) = (flag.replace('.', ": {"), "}".repeat(flag.matches('.').count()));
            let (_file, path) = config(&format!("{open}: []{close}\n"));
            let output = inferometer().args(["check", "--config.file", &path]).output().unwrap();
            assert!(!stderr(&output).contains("unknown key"), "{flag}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_switch_can_be_set_at_each_level() {
    let line = model("HandlerTime.ms:5.0", "ModelName:m,Level:Model");
    let is_derived = |flags: &[&str], environment: Option<&str>, file: &str| {
        let (_file, path) = config(file);
        let mut command = inferometer();
        command.args(["replay", "--config.file", &path]).args(flags).arg("-");
        if let Some(value) = environment {
            command.env("INFEROMETER_LATENCY_HISTOGRAMS", value);
        }
        exposition(&piped(command, &line)).families.contains_key("ts_handler_time_seconds")
    };
    assert!(is_derived(&[], None, ""));
    assert!(!is_derived(&["--no-latency-histograms"], None, ""));
    assert!(!is_derived(&["--latency-histograms=false"], None, ""));
    assert!(!is_derived(&[], Some("false"), ""));
    assert!(!is_derived(&[], None, "latency-histograms: false\n"));
    assert!(is_derived(&[], Some("true"), "latency-histograms: false\n"));
    assert!(!is_derived(&["--no-latency-histograms"], Some("true"), "latency-histograms: true\n"));
    assert!(is_derived(&["--latency-histograms"], Some("false"), "latency-histograms: false\n"));
}

#[test]
fn a_file_may_serve_several_commands() {
    let (_file, path) = config("web: {listen-address: ['127.0.0.1:1', '127.0.0.1:2']}\nfrom: end\n");
    for arguments in [&["replay", "-"][..], &["check"]] {
        let mut command = inferometer();
        let output =
            command.args(arguments).args(["--config.file", &path]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(Some(0), output.status.code(), "{arguments:?}: {}", stderr(&output));
    }
}

// --- What the configuration does to metrics.

#[test]
fn types_are_given_to_names_that_nobody_declares() {
    let lines = ["Hits", "Depth", "Score", "HandlerTime"]
        .map(|name| model(&format!("{name}.Count:2.0"), "ModelName:m,Level:Model").repeat(3));
    let (_file, path) =
        config("types: {Hits: counter, Depth: Gauge, Score: HISTOGRAM, HandlerTime: counter}\n");
    let body = exposition(&replay_input(&["--config.file", &path], lines.concat()));
    for (name, kind) in
        [("Hits", "counter"), ("Depth", "gauge"), ("Score", "histogram"), ("HandlerTime", "gauge")]
    {
        assert_eq!(Some(kind), body.families[name].kind.as_deref(), "{name}");
    }
    assert_eq!(Some(6.0), body.value("Hits", OF_MODEL));
    assert_eq!(Some(2.0), body.value("Depth", OF_MODEL));
    assert_eq!(Some(3.0), body.value("Score_count", OF_MODEL));
    assert_eq!(Some(2.0), body.value("HandlerTime", OF_MODEL), "metrics.yaml comes before types:");
}

#[test]
fn buckets_give_a_histogram_its_bounds() {
    let (_file, path) = config(
        "types: {List: histogram, Exp: histogram, Lin: histogram, Plain: histogram}\n\
         buckets:\n  List: [1, 2.5]\n  Exp: {exponential: {start: 1, factor: 2, count: 4}}\n  \
         Lin: {linear: {start: -5, width: 5, count: 3}}\n  ts_list_seconds: [0.5]\n",
    );
    let lines = ["List", "Exp", "Lin", "Plain"]
        .map(|name| model(&format!("{name}.ms:2.5"), "ModelName:m,Level:Model"));
    let body = exposition(&replay_input(&["--config.file", &path], lines.concat()));
    assert_eq!(["1.0", "2.5", "+Inf"], *bounds(&body, "List"));
    assert_eq!(["1.0", "2.0", "4.0", "8.0", "+Inf"], *bounds(&body, "Exp"));
    assert_eq!(["-5.0", "0.0", "5.0", "+Inf"], *bounds(&body, "Lin"));
    assert_eq!(["0.5", "+Inf"], *bounds(&body, "ts_list_seconds"));
    assert_eq!(15, bounds(&body, "Plain").len(), "without a word, TorchServe's own");
    assert_eq!(19, bounds(&body, "ts_exp_seconds").len());
    let mut labels = OF_MODEL.to_vec();
    labels.push(("le", "2.5"));
    assert_eq!(Some(1.0), body.value("List_bucket", &labels), "a value on a bound is below it");
}

#[test]
fn sources_carry_their_labels_and_formats() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        console("TS_METRICS", requests(1).trim_end()) + &console("MODEL_LOG", "hello") + &banner("LOG");
    append(&folder.path().join("a/ts_metrics.log"), requests(2));
    append(&folder.path().join("b/ts_metrics.log"), requests(3));
    append(&folder.path().join("c/out.txt"), text);
    let (_file, path) = config(
        "sources:\n- {path: a, labels: {server: a}}\n- {path: b/ts_metrics.log, labels: {server: b, zone: \"x\\\"y\"}}\n\
         - {path: c/out.txt, format: torchserve-console, labels: {server: c}, timezone: '+01:00'}\n",
    );
    let mut command = run();
    command.args(["--config.file", &path]).current_dir(folder.path());
    let server = Server::launch(command).until_ready();
    let with = |more: &[(&'static str, &'static str)]| [HOST, more].concat();
    assert_eq!(Some(2.0), server.value("Requests2XX", &with(&[("server", "a")])));
    assert_eq!(Some(3.0), server.value("Requests2XX", &with(&[("server", "b"), ("zone", "x\"y")])));
    assert_eq!(Some(1.0), server.value("Requests2XX", &with(&[("server", "c")])));
    let info = [("version", "0.12.0"), ("metrics_mode", "log"), ("server", "c")];
    assert_eq!(Some(1.0), server.value("ts_server_info", &info));
}

#[test]
fn a_source_label_that_is_taken_keeps_the_exposition_valid() {
    for label in [
        "Level",
        "Hostname",
        "model_name",
        "le",
        "method",
        "code",
        "version",
        "metrics_mode",
        "overflow",
        "ModelName",
    ] {
        let folder = tempfile::tempdir().unwrap();
        append(&folder.path().join("ts_metrics.log"), requests(1) + &inference("m", "h"));
        append(
            &folder.path().join("model_metrics.log"),
            model("HandlerTime.ms:1.0", "ModelName:m,Level:Model"),
        );
        append(
            &folder.path().join("access_log.log"),
            "2026-11-20T17:44:55,933 - /127.0.0.1:5 \"GET /ping HTTP/1.1\" 200 1\n",
        );
        append(&folder.path().join("ts_log.log"), banner("LOG"));
        let (_file, path) =
            config(&format!("sources: [{{path: {:?}, labels: {{{label}: x}}}}]\n", folder.path()));
        let mut command = run();
        command.args(["--config.file", &path]);
        let server = Server::launch(command).until_ready();
        let body = server.scrape();
        assert!(!body.samples.is_empty(), "{label}");
    }
}

#[test]
fn dropped_labels_sum_counters_and_histograms() {
    let mut text = String::new();
    for host in ["a", "b"] {
        text += &requests(2).replace("hostname:h", &format!("hostname:{host}"));
        text += &inference("m", host).repeat(3);
        text += &model("HandlerTime.ms:5.0", "ModelName:m,Level:Model")
            .replace("hostname:h", &format!("hostname:{host}"));
        text += &model("Score.Count:5.0", "ModelName:m,Level:Model")
            .replace("hostname:h", &format!("hostname:{host}"));
    }
    let (_file, path) = config("types: {Score: histogram}\n");
    let body =
        exposition(&replay_input(&["--config.file", &path, "--drop-labels", "Hostname,hostname"], text));
    assert_eq!(Some(4.0), body.value("Requests2XX", &[("Level", "Host")]));
    assert_eq!(
        Some(6.0),
        body.value("ts_inference_requests_total", &[("model_name", "m"), ("model_version", "1.0")])
    );
    assert_eq!(Some(2.0), body.value("Score_count", &[("ModelName", "m"), ("Level", "Model")]));
    assert_eq!(Some(10.0), body.value("Score_sum", &[("ModelName", "m"), ("Level", "Model")]));
    assert_eq!(Some(5.0), body.value("HandlerTime", &[("ModelName", "m"), ("Level", "Model")]));
    assert!(
        !body
            .samples
            .keys()
            .any(|(_, labels)| labels.contains_key("Hostname") || labels.contains_key("hostname"))
    );
}

#[test]
fn naming_prometheus_gives_base_units_and_keeps_the_original_in_help() {
    let text = requests(3)
        + &frontend("GPUMemoryUsed.Megabytes:2.5", "Level:Host,DeviceId:0")
        + &frontend("CPUUtilization.Percent:50.0", "Level:Host")
        + &frontend("WorkerThreadTime.Milliseconds:1500.0", "Level:Host");
    let body = exposition(&replay_input(&["--naming", "prometheus"], text));
    let host = [("level", "Host"), ("hostname", "h")];
    assert_eq!(Some(3.0), body.value("ts_requests_2xx_total", &host));
    let device = [("level", "Host"), ("device_id", "0"), ("hostname", "h")];
    assert_eq!(Some(2.5 * 1_048_576.0), body.value("ts_gpu_memory_used_bytes", &device));
    assert_eq!(Some(0.5), body.value("ts_cpu_utilization_ratio", &host));
    assert_eq!(Some(1.5), body.value("ts_worker_thread_time_seconds", &host));
    for (family, name, unit) in [
        ("ts_requests_2xx_total", "Requests2XX", "Count"),
        ("ts_gpu_memory_used_bytes", "GPUMemoryUsed", "Megabytes"),
        ("ts_cpu_utilization_ratio", "CPUUtilization", "Percent"),
    ] {
        let help = body.families[family].help.as_deref().unwrap();
        assert!(help.contains(name) && help.contains(unit), "{family}: {help}");
    }
    assert!(
        !body.families.keys().any(|name| name.contains(char::is_uppercase)),
        "{:?}",
        body.families.keys()
    );
}

#[test]
fn naming_prometheus_replaces_what_a_histogram_measures_too() {
    let text = model("PredictionTime.ms:5.0", "ModelName:m,Level:Model")
        + &model("HandlerTime.ms:7.0", "ModelName:m,Level:Model")
        + &frontend("ts_inference_latency_microseconds.Microseconds:2000.0", "model_name:m,model_version:1");
    let body = exposition(&replay_input(&["--naming", "prometheus"], &text));
    for (family, labels, seconds, name, unit) in [
        ("ts_prediction_time_seconds", &[("model_name", "m")][..], 0.005, "PredictionTime", "ms"),
        ("ts_handler_time_seconds", &[("model_name", "m")], 0.007, "HandlerTime", "ms"),
        (
            "ts_inference_latency_seconds",
            &[("model_name", "m"), ("model_version", "1")],
            0.002,
            "ts_inference_latency_microseconds",
            "Microseconds",
        ),
    ] {
        assert_eq!(
            Some("histogram"),
            body.families.get(family).and_then(|family| family.kind.as_deref()),
            "{family}"
        );
        assert_eq!(Some(1.0), body.value(&format!("{family}_count"), labels));
        assert_eq!(Some(seconds), body.value(&format!("{family}_sum"), labels));
        let help = body.families[family].help.as_deref().unwrap();
        assert!(help.contains(name) && help.contains(unit), "{family}: {help}");
    }
    assert!(!body.families.contains_key("ts_inference_latency_seconds_total"));

    let without = exposition(&replay_input(&["--naming", "prometheus", "--no-latency-histograms"], &text));
    let labels = [("model_name", "m"), ("level", "Model"), ("hostname", "h")];
    assert_eq!(Some(0.005), without.value("ts_prediction_time_seconds", &labels));
}

#[test]
fn a_format_that_is_given_is_not_looked_for() {
    let text = requests(3);
    let output = replay_input(&["--format", "torchserve-console"], &text);
    assert_eq!(None, exposition(&output).value("Requests2XX", HOST));
    assert!(
        stderr(&output).contains("torchserve-console") && stderr(&output).contains("3 ignored"),
        "{}",
        stderr(&output)
    );
    let output = replay_input(&["--format", "torchserve"], "hello\n".to_owned() + &text);
    assert_eq!(Some(3.0), exposition(&output).value("Requests2XX", HOST));
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("server.log"), &text);
    let server = Server::ready(folder.path(), &["--format", "torchserve-console"]);
    assert_eq!(
        Some(3.0),
        server.value("inferometer_lines_total", &[("source", "server.log"), ("outcome", "ignored")])
    );
}

// --- replay.

#[test]
fn an_archive_is_equal_to_its_plain_text() {
    let mut archives = 0;
    for entry in fs::read_dir(fixture("rotate_index_gz/end_state")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let mut plain = String::new();
        MultiGzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut plain).unwrap();
        assert!(plain.lines().count() > 10, "{}", path.display());
        let (ours, theirs) = (replay([&path]), replay_input(&[], &plain));
        assert_eq!(Some(0), ours.status.code(), "{}", stderr(&ours));
        assert_eq!(exposition(&theirs), exposition(&ours), "{}", path.display());
        archives += 1;
    }
    assert_eq!(9, archives);
}

#[test]
fn all_members_of_an_archive_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = requests(10);
    let cut = text.len() / 2;
    for (name, members) in [
        ("two.log.gz", vec![gzip(&text[..cut]), gzip(&text[cut..])]),
        ("empty_between.log.gz", vec![gzip(&text), gzip(""), gzip("")]),
        ("without_a_telling_name.log", vec![gzip(&text)]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, members.concat()).unwrap();
        let output = replay([&path]);
        assert_eq!(Some(10.0), exposition(&output).value("Requests2XX", HOST), "{name}: {}", stderr(&output));
    }
    let output = replay_input(&[], [gzip(&text[..cut]), gzip(&text[cut..])].concat());
    assert_eq!(Some(10.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
}

#[test]
fn a_damaged_archive_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ts_metrics.1.log.gz");
    let whole = gzip(&requests(1000));
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let output = replay([&path]);
    assert_eq!(Some(1), output.status.code());
    assert!(stderr(&output).contains("ts_metrics.1.log.gz"), "{}", stderr(&output));
}

#[test]
fn several_files_and_standard_input_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.log"), folder.path().join("two.log.gz"));
    fs::write(&one, requests(2)).unwrap();
    fs::write(&two, gzip(&requests(3))).unwrap();
    let mut command = inferometer();
    command.arg("replay").args([&one, &two]).arg("-");
    let output = piped(command, &requests(4));
    assert_eq!(Some(9.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
    assert!(stderr(&output).contains("one.log") && stderr(&output).contains("two.log.gz"));
}

#[test]
fn the_format_of_a_replayed_pipe_is_found_however_it_arrives() {
    let (metrics, console) = (requests(2), console_behind_a_warning());
    for (format, input) in [
        ("torchserve", metrics.clone().into_bytes()),
        ("torchserve", gzip(&metrics)),
        ("torchserve", [gzip(&metrics[..4]), gzip(&metrics[4..])].concat()),
        ("torchserve-console", console.clone().into_bytes()),
        ("torchserve-console", gzip(&console)),
    ] {
        for first in [1, 4, console.find('\n').unwrap() + 1] {
            let (first, rest) = input.split_at(first.min(input.len()));
            let output =
                replay_pieces(&["--strict"], [first, rest].into_iter().filter(|piece| !piece.is_empty()));
            let said = stderr(&output);
            assert_eq!(Some(0), output.status.code(), "{said}");
            assert!(said.contains(&format!("- ({format}): ")), "{said}");
            let body = exposition(&output);
            assert_eq!(Some(2.0), body.value("Requests2XX", HOST), "{said}");
            assert!(body.families.contains_key("HandlerTime"), "not declared: {said}");
        }
    }
}

#[test]
fn replay_prints_the_log_families_only() {
    let body = exposition(&replay([fixture("log/ts_metrics.log")]));
    let own =
        body.families.keys().find(|name| name.starts_with("inferometer_") || name.starts_with("process_"));
    assert_eq!(None, own);
    let nothing = exposition(&replay_input(&[], ""));
    assert_eq!(Exposition::default(), nothing);
}

#[test]
fn the_report_says_what_became_of_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("mixed.log");
    let text = requests(2)
        + "\n"
        + "not a metric\n"
        + &requests(1)
        + "and not a second one\n"
        + "2026-11-20T17:48:00,476 - Requests2XX.Count:one|#Level:Host|#hostname:h,timestamp:1\n"
        + &model("Hits.Count:1.0", "ModelName:m,Level:Model")
        + "2026-11-20T17:48:00,476 - Requests2XX.Count:1";
    fs::write(&log, &text).unwrap();
    let output = replay([&log]);
    assert_eq!(Some(0), output.status.code());
    let report = stderr(&output);
    for words in ["torchserve", "4 parsed", "1 ignored", "3 rejected", "1 torn"] {
        assert!(report.contains(words), "{words:?} is not in\n{report}");
    }
    let whole = text.rfind('\n').unwrap() + 1;
    assert!(
        report.contains(&format!("{whole} bytes")) || report.contains(&format!("{} bytes", text.len())),
        "{report}"
    );
    for (reason, count, place) in [("not_a_metric", "2", "mixed.log:4"), ("bad_value", "1", "mixed.log:7")] {
        let line = report
            .lines()
            .find(|line| line.contains(reason))
            .unwrap_or_else(|| panic!("{reason}:\n{report}"));
        assert!(line.contains(count) && line.contains(place), "{line}");
    }
    let hint = report.lines().find(|line| line.contains("Hits")).unwrap_or_else(|| panic!("{report}"));
    assert!(hint.contains("types:"), "{hint}");
    assert!(
        report.contains("2 families") && report.contains("2 series") && report.contains("lines/s"),
        "{report}"
    );
}

#[test]
fn the_report_counts_the_bytes_of_lines_that_were_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("long.log");
    let text = requests(1) + &"x".repeat(100_000) + "\n" + &requests(1) + "not a metric\n";
    fs::write(&log, &text).unwrap();
    let report = stderr(&replay([&log]));
    assert!(report.contains("long.log:4"), "{report}");
    assert!(report.contains("long.log:2"), "{report}");
    assert!(report.contains(&format!("{} bytes", text.len())), "{} bytes in all:\n{report}", text.len());
}

#[test]
fn strict_fails_on_a_rejected_line_and_on_nothing_else() {
    let strict = |text: &str| replay_input(&["--strict"], text);
    assert_eq!(
        Some(0),
        strict(&(requests(2) + "\n" + "2026-11-20T17:48:00,476 - Requests2XX.Co")).status.code()
    );
    let output = strict(&(requests(2) + "rubbish\n"));
    assert_eq!(Some(1), output.status.code());
    assert_eq!(Some(2.0), exposition(&output).value("Requests2XX", HOST), "the body is printed all the same");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (path, reason) in
        [(folder.path().join("absent.log"), "No such file"), (folder.path().to_owned(), "folder")]
    {
        let output = replay([&path]);
        assert_eq!(Some(1), output.status.code());
        assert_eq!("", String::from_utf8_lossy(&output.stdout));
        let said = stderr(&output);
        assert!(said.contains(path.to_str().unwrap()) && said.contains(reason), "{said}");
    }
}

// --- check.

#[test]
fn check_prints_what_is_in_force() {
    let (_file, path) = config(
        "types: {Hits: counter}\nbuckets: {Score: [1, 2]}\nsources: [{path: some/where, format: torchserve}]\n\
         process: [{match: 'vllm serve (?P<model_name>\\S+)', model_version: 1.0}]\n",
    );
    let output = inferometer().args(["check", "--config.file", &path]).output().unwrap();
    assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    for (name, kind) in [
        ("Requests2XX", "counter"),
        ("ts_inference_latency_microseconds", "counter"),
        ("GPUUtilization", "gauge"),
        ("PredictionTime", "gauge"),
        ("Hits", "counter"),
    ] {
        assert!(said.lines().any(|line| line.contains(name) && line.contains(kind)), "{name}:\n{said}");
    }
    let rule = "process: vllm serve (?P<model_name>\\S+) model_name=(group) model_version=\"1.0\"\n";
    for words in ["Score", "some/where", "torchserve", "metrics.yaml", rule] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
    let vision = fixture("config/metrics_vision.yaml");
    let output = inferometer().args(["check", "--torchserve.metrics-config"]).arg(&vision).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("DecodeSeconds") && said.contains(vision.to_str().unwrap()), "{said}");
}

#[test]
fn check_warns_of_what_prometheus_or_the_server_would_not_like() {
    let (_file, path) = config(
        "ts_metrics:\n  counter:\n  - {name: Twice, unit: Count, dimensions: [Hostname]}\n  gauge:\n  \
         - {name: Twice, unit: ms, dimensions: [Hostname]}\n  - {name: 2xxShare, unit: ms, dimensions: [Hostname]}\n  \
         - {name: Labelled, unit: ms, dimensions: [model-id, Hostname]}\n  - {name: Tagged, unit: ms, dimensions: [Tag, Tag]}\n\
         model_metrics:\n  gauge:\n  - {name: Target, unit: ms, dimensions: [job, instance]}\n  - {name: Fine, unit: ms, dimensions: [ModelName]}\n",
    );
    let output = inferometer().args(["check", "--torchserve.metrics-config", &path]).output().unwrap();
    assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
    let said = stderr(&output) + std::str::from_utf8(&output.stdout).unwrap();
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("warning")).collect();
    for words in [
        ["Twice", "twice"],
        ["2xxShare", "illegal"],
        ["Labelled", "illegal"],
        ["Tagged", "twice"],
        ["Target", "job"],
        ["Target", "instance"],
    ] {
        let is_said = warnings.iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(is_said, "{words:?}:\n{said}");
    }
    assert!(!warnings.iter().any(|line| line.contains("Fine")), "{said}");
}

#[test]
fn check_refuses_two_families_of_one_openmetrics_name() {
    for metrics in [
        "gauge: [{name: decode_ms, unit: ms}, {name: DecodeSeconds, unit: s}]",
        "counter: [{name: Hits, unit: Count}]\n  gauge: [{name: ts_hits, unit: Count}]",
        "histogram: [{name: decode_ms, unit: ms}]\n  gauge: [{name: Decode, unit: s}]",
    ] {
        let (_file, path) = config(&format!("model_metrics:\n  {metrics}\n"));
        let check = |naming: &str| {
            inferometer()
                .args(["check", "--naming", naming, "--torchserve.metrics-config", &path])
                .output()
                .unwrap()
        };
        let output = check("prometheus");
        assert_eq!(Some(64), output.status.code(), "{metrics}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(stderr(&output).contains("ts_"), "{}", stderr(&output));
        assert_eq!(Some(0), check("torchserve").status.code(), "{metrics}");
    }
}

// --- probe.

#[test]
fn probe_tells_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::ready(folder.path(), &[]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probe = |url: &str| inferometer().args(["probe", url]).output().unwrap();
    for (url, code) in [
        (format!("http://{}/-/healthy", server.address), 0),
        (format!("http://{}/-/ready", server.address), 0),
        (format!("http://{}", server.address), 0),
        (format!("http://{}/nowhere", server.address), 1),
        (format!("http://{closed}/-/healthy"), 1),
        ("http://no-such-host.invalid:1/".to_owned(), 1),
        ("ftp://127.0.0.1/".to_owned(), 1),
    ] {
        let output = probe(&url);
        assert_eq!(Some(code), output.status.code(), "{url}: {}", stderr(&output));
        assert_eq!(code == 0, stderr(&output).is_empty(), "{url}: {}", stderr(&output));
    }
}

// --- run: which files a PATH means.

#[test]
fn standard_input_is_followed_and_outlived() {
    let mut command = run();
    command.arg("-").stdin(Stdio::piped());
    let mut server = Server::launch(command).until_ready();
    let mut stdin = server.stdin();
    stdin.write_all(requests(2).as_bytes()).unwrap();
    wait_for(&server, 2.0);
    stdin.write_all((requests(1) + "2026-11-20T17:48:00,476 - Requests2XX.Count:12").as_bytes()).unwrap();
    wait_for(&server, 3.0);
    drop(stdin);
    eventually("the end of standard input is seen", || {
        (server.value("inferometer_source_active", &[("source", "stdin")])? == 0.0).then_some(())
    });
    eventually("the half line is torn", || {
        (server.value("inferometer_lines_total", &[("source", "stdin"), ("outcome", "torn")])? == 1.0)
            .then_some(())
    });
    assert_eq!(Some(3.0), server.value("Requests2XX", HOST));
    assert_eq!(Some(0), server.terminate().code());
}

#[test]
fn a_console_can_be_piped_in() {
    let mut command = run();
    command.arg("-").stdin(Stdio::piped());
    let mut server = Server::launch(command).until_ready();
    let text = fixture_text("log/console.txt");
    server.stdin().write_all(text.as_bytes()).unwrap();
    let labels = [("Level", "Host"), ("Hostname", "ts-node-0")];
    let expected = text.matches(" TS_METRICS - Requests2XX.Count:1.0|#").count();
    eventually("the console is read", || {
        (server.value("Requests2XX", &labels)? == f64::from(u32::try_from(expected).unwrap())).then_some(())
    });
    assert_eq!(Some(1.0), server.value("ts_server_info", &[("version", "0.12.0"), ("metrics_mode", "log")]));
}

#[test]
fn the_format_of_a_followed_pipe_is_found_however_it_arrives() {
    for (format, text) in [("torchserve", requests(2)), ("torchserve-console", console_behind_a_warning())] {
        for length in [1, 4, text.find('\n').unwrap() + 1] {
            let input = Pieces::new();
            let mut command = run();
            command.arg("-").stdin(input.stdin());
            let server = Server::launch(command).until_ready();
            // The pipe stays open: what is there counts at once.
            text.as_bytes().chunks(length).for_each(|piece| input.send(piece));
            wait_for(&server, 2.0);
            let body = server.scrape();
            let rejected = [("source", "stdin"), ("outcome", "rejected")];
            assert_eq!(Some(0.0), body.value("inferometer_lines_total", &rejected), "{}", server.log());
            assert!(body.families.contains_key("HandlerTime"), "not declared");
            assert!(server.page().contains(format), "{}", server.page());
        }
    }
}

#[test]
fn the_format_of_a_followed_file_is_found_however_it_arrives() {
    let folder = tempfile::tempdir().unwrap();
    for (format, text) in [("torchserve", requests(2)), ("torchserve-console", console_behind_a_warning())] {
        let name = format!("{format}.out");
        let path = folder.path().join(&name);
        let (first, rest) = text.split_at(4);
        fs::write(&path, first).unwrap();
        let server = follow(&[&path]);
        append(&path, rest);
        wait_for(&server, 2.0);
        let body = server.scrape();
        let rejected = [("source", name.as_str()), ("outcome", "rejected")];
        assert_eq!(Some(0.0), body.value("inferometer_lines_total", &rejected), "{}", server.log());
        assert!(body.families.contains_key("HandlerTime"), "not declared");
    }
}

/// Health checks come long before the first line that only LMDeploy writes.
#[test]
fn lines_that_many_servers_write_do_not_hide_the_server() {
    let access = "INFO:     127.0.0.1:56890 - \"GET /health HTTP/1.1\" 200 OK\n";
    let statistics = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lmdeploy/stats.log");
    let statistics = fs::read_to_string(statistics).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.log");
    fs::write(&path, access).unwrap();
    let input = Pieces::new();
    let mut piped = run();
    piped.arg("-").stdin(input.stdin());
    let piped = Server::launch(piped).until_ready();
    input.send(access.as_bytes());
    let followed = follow(&[folder.path()]);
    for server in [&followed, &piped] {
        eventually("the access line is counted", || {
            let body = server.scrape();
            body.samples.keys().any(|(name, _)| name == "http_requests_total").then_some(())
        });
    }
    append(&path, &statistics);
    input.send(statistics.as_bytes());
    for server in [&followed, &piped] {
        eventually("the statistics are read", || {
            server
                .value("lmdeploy:num_requests_running", &[("engine", "1")])
                .filter(|running| *running == 86.0)
        });
    }
}

#[test]
fn a_named_file_that_begins_with_a_long_line_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.out");
    fs::write(&path, "x".repeat(100_000) + "\n" + &requests(2)).unwrap();
    let server = follow(&[&path]);
    wait_for(&server, 2.0);
}

#[test]
fn a_path_is_a_file_a_folder_or_a_glob() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    append(&root.join("logs/ts_metrics.log"), requests(1));
    append(&root.join("logs/other.log"), requests(100));
    append(&root.join("one/any.name"), requests(2));
    append(&root.join("globbed/a.txt"), requests(4));
    append(&root.join("globbed/b.log"), requests(100));
    append(&root.join("plain/server.log"), requests(8));
    append(&root.join("plain/readme.txt"), requests(100));
    append(&root.join("plain/unknown.log"), "what is this\n");
    let paths =
        [root.join("logs"), root.join("one/any.name"), root.join("globbed/*.txt"), root.join("plain")];
    let server = follow(&paths);
    assert_eq!(Some(15.0), server.value("Requests2XX", HOST), "{}", server.log());
    append(&root.join("globbed/c.txt"), requests(16));
    wait_for(&server, 31.0);
    append(&root.join("plain/new.log"), requests(32));
    wait_for(&server, 63.0);
}

#[test]
fn a_folder_that_appears_later_is_followed_from_its_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("not/there/yet");
    let server = follow(&[&logs]);
    assert_eq!(Some(1.0), server.value("inferometer_path_problems", &[("problem", "absent")]));
    assert!(server.page().contains("not/there/yet"));
    append(&logs.join("ts_metrics.log"), requests(3));
    wait_for(&server, 3.0);
    assert_eq!(Some(0.0), server.value("inferometer_path_problems", &[("problem", "absent")]));
    said_once(&server, "level=warn");
}

#[test]
fn an_empty_folder_is_ready_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, busy) = (folder.path().join("empty"), folder.path().join("busy"));
    fs::create_dir(&empty).unwrap();
    append(&busy.join("ts_metrics.log"), requests(1));
    let server = follow(&[&empty, &busy]);
    assert_eq!(Some(1.0), server.value("inferometer_path_problems", &[("problem", "empty")]));
    pass(&server, &busy);
    said_once(&server, empty.to_str().unwrap());
    assert!(server.page().contains(empty.to_str().unwrap()));
    let before = server.value("Requests2XX", HOST).unwrap();
    append(&empty.join("ts_metrics.log"), requests(5));
    wait_for(&server, before + 5.0);
}

#[test]
fn an_unreadable_folder_is_said_once_with_owner_mode_and_our_uid() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    let (closed, busy) = (folder.path().join("closed"), folder.path().join("busy"));
    append(&closed.join("ts_metrics.log"), requests(2));
    append(&busy.join("ts_metrics.log"), requests(1));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let owner = fs::metadata(&closed).unwrap().uid();
    // Root may read everything, so that root's test runs the binary as nobody, from where nobody may run it.
    let (mut command, mode, us) = if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let binary = folder.path().join("inferometer");
        let copied = Command::new("cp").arg(run().get_program()).arg(&binary).status().unwrap();
        assert!(copied.success());
        let mut command = Command::new(&binary);
        command.args(run().get_args()).stdin(Stdio::null()).env_clear().uid(NOBODY).gid(NOBODY);
        (command, 0o700, NOBODY)
    } else {
        (run(), 0o000, owner)
    };
    fs::set_permissions(&closed, Permissions::from_mode(mode)).unwrap();
    command.args([&closed, &busy]);
    let server = Server::launch(command).until_ready();
    assert_eq!(Some(1.0), server.value("Requests2XX", HOST), "the other PATH is followed");
    assert_eq!(Some(1.0), server.value("inferometer_path_problems", &[("problem", "unreadable")]));
    assert!(server.page().contains(closed.to_str().unwrap()));
    pass(&server, &busy);
    let said = said_once(&server, closed.to_str().unwrap());
    for words in [format!("uid {owner}"), format!("{mode:04o}"), format!("uid {us}")] {
        assert!(said.contains(&words), "{words}: {said}");
    }

    fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    let before = server.value("Requests2XX", HOST).unwrap();
    wait_for(&server, before + 2.0);
    assert_eq!(Some(0.0), server.value("inferometer_path_problems", &[("problem", "unreadable")]));
}

#[test]
fn paths_that_mean_one_file_are_one_source() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    append(&log, requests(3));
    symlink(&log, folder.path().join("link.log")).unwrap();
    symlink(folder.path(), folder.path().join("again")).unwrap();
    let mut command = run();
    command.current_dir(folder.path());
    command
        .args([
            "ts_metrics.log",
            "./ts_metrics.log",
            "link.log",
            ".",
            "again",
            "again/ts_metrics.log",
            "*.log",
        ])
        .arg(&log);
    let server = Server::launch(command).until_ready();
    pass_in(&server, &log);
    let body = server.scrape();
    let sources = body.samples.keys().filter(|(name, _)| name == "inferometer_source_active").count();
    assert_eq!(1, sources, "{}", server.log());
    assert_eq!(0.0, sum(&body, "inferometer_path_problems"));
}

#[test]
fn files_of_one_name_are_told_apart_by_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> =
        ["a/logs", "b/logs", "c/logs", "c/more"].iter().map(|path| folder.path().join(path)).collect();
    for path in &paths {
        append(&path.join("ts_metrics.log"), requests(1));
    }
    let server = follow(&paths);
    let body = server.scrape();
    let sources: BTreeSet<&str> = body
        .samples
        .keys()
        .filter(|(name, _)| name == "inferometer_source_active")
        .map(|(_, labels)| labels["source"].as_str())
        .collect();
    assert_eq!(4, sources.len(), "{sources:?}");
    let is_name = |source: &&&str| source.contains("ts_metrics.log") && source.split('/').count() <= 3;
    assert_eq!(4, sources.iter().filter(is_name).count(), "{sources:?}");
    assert_eq!(Some(4.0), body.value("Requests2XX", HOST));
}

#[test]
fn from_end_begins_at_the_next_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    let half = "2026-11-20T17:48:00,476 - Requests2XX.Count:100.0|#Level:Host|#host";
    append(&log, requests(7) + half);
    let server = Server::ready(folder.path(), &["--from", "end"]);
    assert_eq!(None, server.value("Requests2XX", HOST));
    append(&log, "name:h,timestamp:1\n".to_owned() + &requests(2));
    wait_for(&server, 2.0);
}

#[test]
fn torchserves_own_variables_name_the_folders() {
    let folder = tempfile::tempdir().unwrap();
    let (metrics, logs) = (folder.path().join("metrics"), folder.path().join("logs"));
    append(&metrics.join("ts_metrics.log"), requests(1));
    append(&logs.join("ts_metrics.log"), requests(2));
    append(&logs.join("ts_log.log"), banner("LOG"));
    let other = folder.path().join("other");
    append(&other.join("ts_metrics.log"), requests(4));
    let started = |variables: &[(&str, &OsStr)], paths: &[&str]| {
        let mut command = run();
        command.args(paths).envs(variables.iter().copied()).current_dir(folder.path());
        Server::launch(command).until_ready()
    };
    let (metrics, logs) = (metrics.as_os_str(), logs.as_os_str());
    for (variables, paths, expected) in [
        (&[("METRICS_LOCATION", metrics), ("LOG_LOCATION", logs)][..], &[][..], 3.0),
        (&[("METRICS_LOCATION", metrics)], &[], 1.0),
        (&[("LOG_LOCATION", logs)], &[], 2.0),
        (&[("METRICS_LOCATION", logs), ("LOG_LOCATION", logs)], &[], 2.0),
        (&[("METRICS_LOCATION", OsStr::new("metrics"))], &[], 1.0),
        (&[("METRICS_LOCATION", metrics), ("LOG_LOCATION", logs)], &["other"], 4.0),
        (&[], &[], 2.0),
    ] {
        let server = started(variables, paths);
        assert_eq!(
            Some(expected),
            server.value("Requests2XX", HOST),
            "{variables:?} {paths:?}: {}",
            server.log()
        );
    }
}

#[test]
fn a_link_is_followed_while_it_ends_under_the_folder_or_an_allowed_root() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, outside) = (folder.path().join("logs"), folder.path().join("outside"));
    append(&logs.join("data/real.log"), requests(1));
    append(&outside.join("other.log"), requests(10));
    symlink(logs.join("data/real.log"), logs.join("inside.log")).unwrap();
    symlink(outside.join("other.log"), logs.join("outside.log")).unwrap();
    assert_eq!(Some(1.0), follow(&[&logs]).value("Requests2XX", HOST));
    let root = outside.to_str().unwrap();
    let server = Server::ready(&logs, &["--source.allow-root", root]);
    assert_eq!(Some(11.0), server.value("Requests2XX", HOST), "{}", server.log());
    // The PATH itself may be a link.
    let server = follow(&[logs.join("outside.log")]);
    assert_eq!(Some(10.0), server.value("Requests2XX", HOST), "{}", server.log());
}

#[test]
fn a_folder_of_links_that_lead_out_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, busy) = (folder.path().join("logs"), folder.path().join("busy"));
    fs::create_dir(&logs).unwrap();
    append(&busy.join("ts_metrics.log"), requests(1));
    append(&folder.path().join("secret.log"), requests(10));
    symlink(folder.path().join("secret.log"), logs.join("ts_metrics.log")).unwrap();
    let server = follow(&[&logs, &busy]);
    pass(&server, &busy);
    assert_eq!(Some(1.0), server.value("inferometer_path_problems", &[("problem", "outside")]));
    said_once(&server, "--source.allow-root");
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo").arg(folder.path().join("model_metrics.log")).status().unwrap();
    assert!(made.success());
    fs::create_dir(folder.path().join("access_log.log")).unwrap();
    append(&folder.path().join("ts_metrics.log"), requests(1));
    let server = Server::ready(folder.path(), &[]);
    assert_eq!(Some(1.0), server.value("Requests2XX", HOST));
    pass(&server, folder.path());
    for file in ["model_metrics.log", "access_log.log"] {
        let said =
            server.log().lines().filter(|line| line.contains("level=warn") && line.contains(file)).count();
        assert!(said <= 1, "{file} is said {said} times:\n{}", server.log());
    }
    assert_eq!(200, crate::support::http::get(server.address, "/-/healthy").status);
}

#[test]
fn a_file_that_is_named_before_it_exists_is_followed_from_its_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("later/server.log");
    let server = follow(&[&log]);
    append(&log, requests(3));
    wait_for(&server, 3.0);
}

// --- run: what the console and ts_log.log are good for.

#[test]
fn ts_log_beside_the_metrics_tells_facts_only() {
    let folder = tempfile::tempdir().unwrap();
    for log in ["ts_metrics.log", "model_metrics.log"] {
        fs::copy(fixture("log").join(log), folder.path().join(log)).unwrap();
    }
    let without = follow(&[folder.path()]).scrape();
    fs::copy(fixture("log/console.txt"), folder.path().join("ts_log.log")).unwrap();
    let server = follow(&[folder.path()]);
    let with = server.scrape();
    let labels = [("Level", "Host"), ("Hostname", "ts-node-0")];
    assert!(without.value("Requests2XX", &labels).unwrap() > 10.0);
    assert_eq!(without.value("Requests2XX", &labels), with.value("Requests2XX", &labels));
    assert_eq!(Some("untyped"), without.families["ImagesProcessed"].kind.as_deref());
    for (name, kind) in
        [("ImagesProcessed", "counter"), ("ScoreHist", "histogram"), ("TopConfidence", "gauge")]
    {
        assert_eq!(Some(kind), with.families[name].kind.as_deref(), "{name}");
    }
    assert_eq!(Some(1.0), with.value("ts_server_info", &[("version", "0.12.0"), ("metrics_mode", "log")]));
    // The banner's line: 2026-11-20T17:44:19,713 in UTC.
    assert_eq!(Some(1_795_196_659.713), with.value("ts_server_start_time_seconds", &[]));
    assert!(
        !with.families.contains_key("ts_http_request_duration_seconds"),
        "an access line on ts_log.log counted"
    );
    assert!(!server.log().contains("--source.allow-repeats"), "{}", server.log());
}

#[test]
fn a_console_named_beside_the_metrics_that_it_repeats_is_refused() {
    let (metrics, repeats) = (fixture("log/ts_metrics.log"), fixture("log/console.txt"));
    let folder = tempfile::tempdir().unwrap();
    let ts_log = folder.path().join("ts_log.log");
    fs::copy(&repeats, &ts_log).unwrap();
    for paths in [[&metrics, &repeats], [&repeats, &metrics], [&ts_log, &metrics]] {
        let output = run().args(paths).output().unwrap();
        let said = assert_usage(&output);
        assert!(said.contains("--source.allow-repeats") && said.contains("ts_metrics.log"), "{said}");
    }
    let mut command = run();
    command.args([&metrics, &repeats]).arg("--source.allow-repeats");
    let server = Server::launch(command).until_ready();
    let once = fixture_text("log/ts_metrics.log").matches(" - Requests2XX.Count:1.0|#").count();
    let again = fixture_text("log/console.txt").matches(" - Requests2XX.Count:1.0|#").count();
    let expected = f64::from(u32::try_from(once + again).unwrap());
    assert_eq!(Some(expected), server.value("Requests2XX", &[("Level", "Host"), ("Hostname", "ts-node-0")]));
}

#[test]
fn a_console_that_appears_beside_the_metrics_counts_nothing_twice() {
    let labels = [("Level", "Host"), ("Hostname", "ts-node-0")];
    let text = fixture_text("log/console.txt");
    // A file is mostly seen before its first line is in it.
    for first in ["", &text] {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(fixture("log/ts_metrics.log"), folder.path().join("ts_metrics.log")).unwrap();
        let server = follow(&[folder.path().join("*")]);
        let once = server.value("Requests2XX", &labels);
        assert!(once.unwrap() > 10.0);
        let made = folder.path().join("made elsewhere/console.txt");
        append(&made, first);
        let console = folder.path().join("console.txt");
        fs::rename(&made, &console).unwrap();
        pass_in(&server, &folder.path().join("ts_metrics.log"));
        append(&console, &text[first.len()..]);
        eventually("the console is refused", || {
            assert_eq!(once, server.value("Requests2XX", &labels), "{}", server.log());
            server.log().contains("--source.allow-repeats").then_some(())
        });
        assert!(server.page().contains("console.txt"), "{}", server.page());
    }
}

#[test]
fn prometheus_mode_is_said_once_in_the_log_and_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("ts_metrics.log"), "");
    fs::copy(fixture("prometheus/console.txt"), folder.path().join("ts_log.log")).unwrap();
    let server = follow(&[folder.path()]);
    assert_eq!(
        Some(1.0),
        server.value("ts_server_info", &[("version", "0.12.0"), ("metrics_mode", "prometheus")])
    );
    pass_in(&server, &folder.path().join("ts_metrics.log"));
    assert!(said_once(&server, "prometheus mode").contains("8082"));
    assert!(server.page().contains("prometheus mode"), "{}", server.page());

    let other = tempfile::tempdir().unwrap();
    append(&other.path().join("ts_metrics.log"), requests(1));
    append(&other.path().join("ts_log.log"), banner("LOG"));
    let quiet = follow(&[other.path()]);
    assert!(!quiet.log().contains("prometheus mode") && !quiet.page().contains("prometheus mode"));
}

// --- run: ports and logs.

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output =
        inferometer().args(["run", "--web.listen-address", &address]).arg(folder.path()).output().unwrap();
    assert_eq!(Some(1), output.status.code());
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn all_given_addresses_and_the_given_path_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::ready(folder.path(), &["--web.listen-address", "localhost:0", "--web.telemetry-path", "/m"]);
    // Both are said before the follower has anything to say.
    let log = server.log_with("caught up");
    let addresses: BTreeSet<&str> = log
        .lines()
        .filter_map(|line| Some(line.split_once("address=")?.1.split(' ').next()?.trim_matches('"')))
        .collect();
    assert_eq!(2, addresses.len(), "{log}");
    for address in addresses {
        let address = address.parse().unwrap();
        assert_eq!(200, crate::support::http::get(address, "/m").status);
        assert_eq!(404, crate::support::http::get(address, "/metrics").status);
    }
}

#[test]
fn our_own_log_is_json_when_asked_for_and_quiet_when_told() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("ts_metrics.log"), requests(1) + "rubbish \"{\u{1b}\n");
    let server = Server::ready(folder.path(), &["--log.format", "json"]);
    let log = server.log_with("not_a_metric");
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object(), "{line}");
    }
    let output = inferometer()
        .args(["replay", "--log.level", "error"])
        .arg(folder.path().join("ts_metrics.log"))
        .output()
        .unwrap();
    assert!(!stderr(&output).contains("level="), "{}", stderr(&output));
}

// --- Helpers.

/// The one line of the log that holds these words.
#[track_caller]
fn said_once(server: &Server, words: &str) -> String {
    let log = server.log_with(words);
    let said: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
    assert_eq!(1, said.len(), "{log}");
    said[0].to_owned()
}

/// Exit 64, nothing on standard output; tells what was said.
#[track_caller]
fn assert_usage(output: &Output) -> String {
    let said = stderr(output);
    assert_eq!((Some(64), ""), (output.status.code(), &*String::from_utf8_lossy(&output.stdout)), "{said}");
    assert!(!said.trim().is_empty());
    said
}

/// What is wrong with an answer that should name this place of this file.
fn misplaced(output: &Output, path: &str, place: &str, words: &str, text: &str) -> Option<String> {
    let (code, said) = (output.status.code(), stderr(output));
    let is_right = code == Some(64)
        && output.stdout.is_empty()
        && place_of(&said, path).as_deref() == Some(place)
        && said.contains(words);
    (!is_right).then(|| format!("{text:?}: expected 64, {place} and {words:?}, observed {code:?}, {said:?}"))
}

/// The `line:column` behind the file's name.
fn place_of(said: &str, path: &str) -> Option<String> {
    let (_, rest) = said.split_once(path)?;
    let mut parts = rest.strip_prefix(':')?.splitn(3, ':');
    let (line, column, what) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str| text.parse::<u64>().is_ok_and(|number| number > 0);
    (is_number(line) && is_number(column) && what.starts_with(' ')).then(|| format!("{line}:{column}"))
}

/// A configuration file with its path.
fn config(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

/// Runs a command to its end without standard input.
fn quietly(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the binary starts")
}

/// Runs a command to its end with this standard input.
fn piped(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything; its output says why.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// The flags that a command's long help lists, each with its paragraphs.
fn flags_of(command: &str) -> Vec<(String, String)> {
    let output = inferometer().args([command, "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let words = line.trim_start();
        if let Some(flag) = words.strip_prefix("--").filter(|_| line.starts_with("      --")) {
            let name = flag.split([' ', '[', '=']).next().unwrap();
            flags.push((name.to_owned(), String::new()));
        }
        if let Some((_, help)) = flags.last_mut() {
            *help += line;
            help.push('\n');
        }
    }
    flags.retain(|(name, _)| name != "help");
    assert!(flags.len() > 10, "{flags:?}");
    flags
}

/// What a server prints, its Java first: two requests, and lines that only a console may hold.
fn console_behind_a_warning() -> String {
    let warning = "WARNING: sun.reflect.Reflection.getCallerClass is not supported.\n".to_owned();
    let trace =
        console("org.pytorch.serve.wlm.WorkerThread", "Backend worker error") + "\tat java.lang.Thread.run\n";
    let metrics = console("TS_METRICS", requests(1).trim_end())
        + &trace
        + &console("TS_METRICS", requests(1).trim_end());
    warning + &banner("LOG") + &metrics
}

/// Follows these PATHs; ready when it returns.
fn follow(paths: &[impl AsRef<OsStr>]) -> Server {
    let mut command = run();
    command.args(paths);
    Server::launch(command).until_ready()
}

/// Waits until `Requests2XX` has reached a value; it may never overshoot on its way there.
#[track_caller]
fn wait_for(server: &Server, expected: f64) {
    eventually(&format!("Requests2XX = {expected}"), || {
        let observed = server.value("Requests2XX", HOST)?;
        assert!(observed <= expected, "expected {expected}, observed {observed}");
        (observed.to_bits() == expected.to_bits()).then_some(())
    });
}

/// Returns when all PATHs have been looked at again, by two lines one after the other in a file that is
/// followed.
fn pass(server: &Server, folder: &Path) {
    pass_in(server, &folder.join("ts_metrics.log"));
}

fn pass_in(server: &Server, log: &Path) {
    for _ in 0..2 {
        let before = server.value("Requests2XX", HOST).unwrap_or_default();
        append(log, requests(1));
        wait_for(server, before + 1.0);
    }
}

fn inference(model_name: &str, host: &str) -> String {
    let dimensions = format!("model_name:{model_name},model_version:1.0");
    frontend("ts_inference_requests_total.Count:1.0", &dimensions)
        .replace("hostname:h", &format!("hostname:{host}"))
}

fn banner(mode: &str) -> String {
    console("org.pytorch.serve.ModelServer", "")
        + &format!("Torchserve version: 0.12.0\nMetrics mode: {mode}\n")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The bounds of a histogram's buckets, in the order of their values.
fn bounds(body: &Exposition, name: &str) -> Vec<String> {
    let bucket = format!("{name}_bucket");
    let mut bounds: Vec<String> = body
        .samples
        .keys()
        .filter(|(sample, _)| *sample == bucket)
        .map(|(_, labels)| labels["le"].clone())
        .collect();
    let value = |bound: &str| bound.replace("+Inf", "inf").parse::<f64>().unwrap();
    bounds.sort_by(|one, other| value(one).total_cmp(&value(other)));
    bounds
}

fn sum(body: &Exposition, metric: &str) -> f64 {
    body.samples.iter().filter(|((name, _), _)| name == metric).map(|(_, bits)| f64::from_bits(*bits)).sum()
}

#[test]
fn check_says_what_a_state_folder_holds_while_an_instance_has_it() {
    let folders = Folders::new();
    let told = || {
        let output = inferometer().arg("check").arg("--state.dir").arg(folders.state()).output().unwrap();
        assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(told().contains(": nothing is saved yet\n"), "{}", told());
    append(&folders.live(), requests(7) + "no metric\n");
    let state = folders.state();
    let server = Server::ready(&folders.logs(), &["--state.dir", state.to_str().unwrap()]);
    wait_for(&server, 7.0);
    let length = fs::metadata(folders.live()).unwrap().len();
    let line = format!(
        "  {} (torchserve): at byte {length}, 0 archives known, 0 of them never read; lines: 7 parsed, 0 ignored, 1 rejected, 0 torn\n",
        folders.live().display()
    );
    assert!(told().contains(&line), "{}{line}", told());
    assert!(told().contains(": 1 sources, 21 families, 1 series, after "), "{}", told());
    server.kill();
    for slot in ["slot-a", "slot-b"] {
        fs::write(folders.state().join(slot), [7; 64]).unwrap();
    }
    assert!(
        told().contains(": damaged or of another version, a start would begin counters at 0\n"),
        "{}",
        told()
    );
}
