//! Broken and hostile logs: a bad line costs that line and nothing else. The next good line counts, every
//! scrape is a body that Prometheus accepts, and memory stays bounded.

use crate::support::exposition::Exposition;
use crate::support::lines::{HOST, append, console, frontend, model, next_time, requests};
use crate::support::process::{
    Server, eventually, exposition, inferometer, peak_memory, replay, replay_input, stderr,
};
use crate::support::{fixture, http};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::iter::repeat_n;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

const MIB: usize = 1024 * 1024;
/// What the process may need with its default limits, whatever a log holds.
const MEMORY_MAX: u64 = 64 * 1024;

/// A server that follows one metric log, and the good lines that it must have counted.
struct Scene {
    folder: tempfile::TempDir,
    server: Server,
    good: u32,
}

impl Scene {
    /// A TorchServe's folder with one good line.
    fn new(arguments: &[&str]) -> Self {
        Self::with_log(&requests(1), arguments)
    }

    fn with_log(text: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        append(&folder.path().join("ts_metrics.log"), text);
        let server = Server::ready(folder.path(), arguments);
        let good = u32::try_from(text.lines().count()).unwrap();
        Self { folder, server, good }
    }

    fn path(&self, file: impl AsRef<OsStr>) -> PathBuf {
        self.folder.path().join(file.as_ref())
    }

    /// Writes bytes and then a good line. Each scrape until that line counts is read strictly; the result
    /// is the first one in which it does.
    #[track_caller]
    fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Exposition {
        append(&self.path("ts_metrics.log"), [bytes.as_ref(), requests(1).as_bytes()].concat());
        self.wait()
    }

    /// Waits for one more good line; no more than the good ones may count.
    #[track_caller]
    fn wait(&mut self) -> Exposition {
        self.good += 1;
        let expected = f64::from(self.good);
        eventually("the next good line counts", || {
            let body = self.server.scrape();
            let observed = body.value("Requests2XX", HOST)?;
            assert!(observed <= expected, "expected {expected}, observed {observed}");
            (observed.to_bits() == expected.to_bits()).then_some(body)
        })
    }

    /// Checks that nothing of the log went to our own log as it was.
    #[track_caller]
    fn assert_log_is_printable(&self) {
        assert_eq!(None, unprintable(&self.server.log()));
    }
}

// --- What is no text.

#[test]
fn binary_rubbish_is_rejected_line_by_line() {
    let mut scene = Scene::new(&[]);
    let rubbish = [rubbish(64 * 1024), b"\n".to_vec()].concat();
    let lines = rubbish.split_inclusive(|byte| *byte == b'\n').filter(|line| *line != b"\n").count();
    let body = scene.feed(&rubbish);
    assert_eq!(whole(lines), lines_of(&body, "rejected"));
    assert_eq!(2.0, lines_of(&body, "parsed"));
    scene.assert_log_is_printable();
}

#[test]
fn a_line_that_is_not_utf8_is_rejected_alone() {
    let mut scene = Scene::new(&[]);
    for bad in 1..=2 {
        let front = requests(1) + &next_time();
        let body = scene.feed_good(
            [front.as_bytes(), b" - Caf\xe9.Count:1.0|#a:b|#hostname:h,timestamp:1\n"].concat(),
            1,
        );
        assert_eq!(rejections(&[("invalid_utf8", f64::from(bad))]), rejected(&body));
    }
}

#[test]
fn utf16_text_counts_nothing_and_does_not_harm_the_next_line() {
    for big_endian in [false, true] {
        let mut scene = Scene::new(&[]);
        let text = format!("\u{feff}{}", requests(3).replace('\n', "\r\n"));
        let bytes = text
            .encode_utf16()
            .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() });
        let body = scene.feed(bytes.collect::<Vec<u8>>());
        assert_eq!(2.0, lines_of(&body, "parsed"));
        assert_eq!(3.0, lines_of(&body, "rejected"));
    }
}

#[test]
fn nul_bytes_alone_are_no_metric_and_in_a_label_they_are_text() {
    let mut scene = Scene::new(&[]);
    let body = scene.feed([vec![0; 4096], b"\n\0\n".to_vec()].concat());
    assert_eq!(2.0, lines_of(&body, "rejected"));
    let body = scene.feed(model("Tagged.Count:7.0", "Tag:a\0b\u{1b}[2Jc,ModelName:m"));
    let labels = [("Tag", "a\0b\u{1b}[2Jc"), ("ModelName", "m"), ("Hostname", "h")];
    assert_eq!(Some(7.0), body.value("Tagged", &labels));
}

#[test]
fn crlf_lines_count_as_lf_lines_do() {
    let mut scene = Scene::new(&[]);
    let text = requests(4) + &model("HandlerTime.ms:2.5", "ModelName:m,Level:Model");
    let body = scene.feed_good(text.replace('\n', "\r\n"), 4);
    assert_eq!(
        Some(2.5),
        body.value("HandlerTime", &[("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")])
    );
    assert_eq!(0.0, lines_of(&body, "rejected"));
}

#[test]
fn an_empty_file_is_a_source_without_lines() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["ts_metrics.log", "model_metrics.log", "access_log.log"] {
        append(&folder.path().join(file), "");
    }
    let server = Server::ready(folder.path(), &[]);
    let body = server.scrape();
    assert_eq!(0.0, lines_of(&body, "parsed") + lines_of(&body, "rejected") + lines_of(&body, "torn"));
    assert!(body.families.contains_key("Requests2XX"), "a declared family is not listed");
    append(&folder.path().join("ts_metrics.log"), requests(1));
    eventually("the first line counts", || (server.value("Requests2XX", HOST)? == 1.0).then_some(()));

    let output = replay([folder.path().join("access_log.log")]);
    assert_eq!(Some(0), output.status.code(), "{}", stderr(&output));
    assert_eq!(0, exposition(&output).samples.len());
}

// --- What is too long.

#[test]
fn a_line_counts_up_to_exactly_the_limit() {
    let mut scene = Scene::new(&["--limit.line-bytes", "300"]);
    for (length, end) in [(300, "\n"), (299, "\r\n")] {
        let line = line_of(length, end);
        let before = scene.good;
        let body = scene.feed_good(&line, 1);
        assert_eq!(Some(f64::from(before + 2)), body.value("Requests2XX", HOST), "{length} bytes");
        assert_eq!(0.0, lines_of(&body, "rejected"));
    }
    for (index, (length, end)) in [(301, "\n"), (300, "\r\n"), (MIB, "\n")].into_iter().enumerate() {
        let body = scene.feed(line_of(length, end));
        assert_eq!(rejections(&[("too_long", whole(index + 1))]), rejected(&body), "{length} bytes");
    }
}

#[test]
fn the_limit_is_the_same_for_a_line_that_arrives_in_pieces() {
    let mut scene = Scene::new(&["--limit.line-bytes", "300"]);
    for (length, too_long) in [(300, 0.0), (301, 1.0)] {
        let line = line_of(length, "\n");
        append(&scene.path("ts_metrics.log"), &line[..line.len() - 1]);
        scene.pass();
        let body = if too_long == 0.0 { scene.feed_good("\n", 1) } else { scene.feed("\n") };
        assert_eq!(too_long, rejected(&body).get("too_long").copied().unwrap_or_default(), "{length} bytes");
    }
}

#[test]
fn a_metric_behind_the_limit_of_a_long_line_is_not_found() {
    let mut scene = Scene::new(&[]);
    let line = "x".repeat(2 * MIB) + &requests(1);
    let body = scene.feed(&line);
    assert_eq!(rejections(&[("too_long", 1.0)]), rejected(&body));
}

#[test]
fn a_line_of_256_mib_costs_no_memory() {
    let mut scene = Scene::new(&[]);
    let log = scene.path("ts_metrics.log");
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(file.metadata().unwrap().len() + 256 * MIB as u64).unwrap();
    let body = scene.feed("\n");
    assert_eq!(rejections(&[("too_long", 1.0)]), rejected(&body));
    let peak = scene.server.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} KiB");
}

#[test]
fn an_endless_line_on_standard_input_costs_no_memory() {
    let last = format!("\n{}", requests(1)).into_bytes();
    let (peak, output) = replayed(repeat_n(vec![0; MIB], 300).chain([last]));
    assert!(peak < MEMORY_MAX, "{peak} KiB");
    assert_eq!(Some(1.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
    assert!(stderr(&output).contains("too_long"), "{}", stderr(&output));
}

#[test]
fn a_gzip_bomb_costs_no_memory() {
    let last = gzip(format!("\n{}", requests(1)).as_bytes());
    let (peak, output) = replayed(repeat_n(gzip(&vec![0; MIB]), 200).chain([last]));
    assert!(peak < MEMORY_MAX, "{peak} KiB");
    assert_eq!(Some(1.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
}

#[test]
fn long_lines_of_one_series_that_all_differ_cost_no_memory() {
    let line = |number| frontend(&format!("Requests2XX.{number:030000}:1.0"), "Level:Host").into_bytes();
    let (peak, output) = replayed((0..5000).map(line));
    assert!(peak < MEMORY_MAX, "{peak} KiB");
    assert_eq!(Some(5000.0), exposition(&output).value("Requests2XX", HOST), "{}", stderr(&output));
}

/// Feeds `replay -` these pieces; tells its peak memory in KiB before its input ended, and what it said.
fn replayed(pieces: impl Iterator<Item = Vec<u8>>) -> (u64, Output) {
    let mut child = inferometer()
        .args(["replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for piece in pieces {
        stdin.write_all(&piece).unwrap();
    }
    let peak = peak_memory(child.id());
    drop(stdin);
    (peak, child.wait_with_output().unwrap())
}

#[test]
fn lines_made_to_be_slow_are_passed_over_quickly() {
    let mut scene = Scene::new(&[]);
    let tail = "|#a:b|#hostname:h,requestID:null,timestamp:1\n";
    let long = |text: &str| text.repeat(60_000 / text.len());
    let slow = [
        format!("{} - {}:1{tail}", next_time(), long(".")),
        format!("{} - x.y{}1{tail}", next_time(), long(":")),
        format!("{} - x.y:1{}\n", next_time(), long("|#")),
        format!("{} - x.y:1|#{}|#hostname:h,timestamp:1\n", next_time(), long("a:v,")),
        format!("{} {}x.y:1{tail}", next_time(), long("a ")),
        format!("{}x.y:1{tail}", long(" - ")),
        format!("{}x.y:1{tail}", long("\u{1b}[1m")),
        format!("{} - /1:2 \"GET {}HTTP/1.1\" 200 1\n", next_time(), long("\" ")),
        format!("{{\"a\":{}\n", long("[{\"a\":")),
        format!("{} - x.y:1|#a:b|#hostname:h,requestID:{}\n", next_time(), long(",timestamp:1")),
    ];
    scene.feed(slow.concat().repeat(4));
}

// --- What is no value.

#[test]
fn a_gauge_takes_numbers_as_java_writes_them() {
    let digits = format!("0.{}", "3".repeat(400));
    let good: &[(&str, f64)] = &[
        ("1.0", 1.0),
        ("1.0E7", 1e7),
        ("4.9E-324", 5e-324),
        ("1.7976931348623157E308", f64::MAX),
        ("-0.0", -0.0),
        ("-0", -0.0),
        ("50176", 50176.0),
        ("1e-05", 1e-5),
        ("Infinity", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("1e-999", 0.0),
        (&digits, 1.0 / 3.0),
    ];
    let mut scene = Scene::new(&[]);
    let lines = good.iter().enumerate().map(|(worker, (text, _))| load_time(worker, text));
    let body = scene.feed(lines.collect::<String>());
    for (worker, (text, value)) in good.iter().enumerate() {
        let observed = loaded(&body, worker).map(f64::to_bits);
        assert_eq!(Some(value.to_bits()), observed, "{text}");
    }
    assert_eq!(rejections(&[]), rejected(&body));
}

#[test]
fn what_the_server_never_writes_is_no_value() {
    let digits = "9".repeat(400);
    let bad = [
        "",
        "-",
        "+7",
        "1,5",
        "1,234.5",
        "0x10",
        "0x1p3",
        "inf",
        "-inf",
        "Inf",
        "+Inf",
        "+Infinity",
        "nan",
        "NaN",
        "-NaN",
        "NAN",
        "infinity",
        "1e",
        "e5",
        "1.2.3",
        "--1",
        "1_000",
        "1f",
        "1d",
        " 5",
        "5 ",
        "\t5",
        "٣",
        "½",
        "None",
        "True",
        "1e999",
        "-1e999",
        &digits,
    ];
    let mut scene = Scene::new(&[]);
    let lines = bad.iter().enumerate().map(|(worker, text)| load_time(worker, text));
    let body = scene.feed(lines.collect::<String>());
    let taken: Vec<_> =
        bad.iter().enumerate().filter_map(|(worker, text)| Some((text, loaded(&body, worker)?))).collect();
    assert_eq!(Vec::<(&&str, f64)>::new(), taken);
    assert_eq!(rejections(&[("bad_value", whole(bad.len()))]), rejected(&body));
}

#[test]
fn a_counter_never_goes_down_and_never_stops_being_a_number() {
    let mut scene = Scene::new(&[]);
    let count = |value: &str| {
        frontend(&format!("ts_inference_requests_total.Count:{value}"), "model_name:m,model_version:1")
    };
    let labels = [("model_name", "m"), ("model_version", "1"), ("hostname", "h")];
    let text: String = ["5.0", "-1.0", "-4.9E-324", "-Infinity", "NaN", "-0.0", "2.5"]
        .iter()
        .map(|value| count(value))
        .collect();
    let body = scene.feed(text);
    assert_eq!(Some(7.5), body.value("ts_inference_requests_total", &labels));
    assert_eq!(rejections(&[("bad_value", 1.0), ("negative_counter", 3.0)]), rejected(&body));
}

// simpleclient makes the series before it looks at the increment.
#[test]
fn a_counter_that_refuses_its_increments_is_there_as_on_the_servers_endpoint() {
    let types = config("types: {Early: counter}\n");
    let path = types.path().to_str().unwrap();
    let refused = |name: &str, model_name: &str| {
        let line = model(&format!("{name}.Count:-2.0"), &format!("ModelName:{model_name},Level:Model"));
        console("MODEL_METRICS", line.trim_end())
    };
    let log = refused("Early", "m") + &refused("Late", "m") + &echo("Late", "COUNTER");
    let output = replay_input(
        &["--config.file", path, "--limit.series-per-family", "1"],
        log + &refused("Early", "n") + &refused("Late", "n"),
    );
    let body = exposition(&output);
    for name in ["Early", "Late"] {
        let labels = [("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")];
        assert_eq!(Some(0.0), body.value(name, &labels), "{name}");
        // What has no room is summed up as any other increment is.
        assert_eq!(Some(0.0), body.value(name, &[("overflow", "true")]), "{name}");
    }
    assert!(stderr(&output).contains("rejected 3 negative_counter"), "{}", stderr(&output));
}

#[test]
fn odd_values_leave_histograms_whole() {
    let types = config("types: {Score: histogram}\n");
    let mut scene = Scene::new(&["--config.file", types.path().to_str().unwrap()]);
    let observe = |value: &str| model(&format!("Score.ms:{value}"), "ModelName:m,Level:Model");
    let text: String =
        ["0.5", "-3.0", "Infinity", "NaN", "-Infinity"].iter().map(|value| observe(value)).collect();
    let body = scene.feed(text);
    assert_eq!(
        Some(4.0),
        body.value("Score_count", &[("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")])
    );
    // No latency is negative or endless.
    assert_eq!(Some(1.0), body.value("ts_score_seconds_count", &[("model_name", "m")]));
    assert_eq!(Some(0.0005), body.value("ts_score_seconds_sum", &[("model_name", "m")]));
}

// --- What is no name.

#[test]
fn a_worker_cannot_write_into_the_frontends_families() {
    let mut scene = Scene::new(&[]);
    let body = scene.feed(
        model("Requests2XX.Count:100.0", "Level:Host")
            + &model("Requests2XX.Count:1.0", "ModelName:m,Level:Model"),
    );
    assert_eq!(rejections(&[("name_clash", 2.0)]), rejected(&body));
}

#[test]
fn a_name_in_both_halves_belongs_to_the_first() {
    let yaml = config(
        "ts_metrics:\n  counter:\n  - {name: Requests2XX, unit: Count, dimensions: [Level, Hostname]}\n  gauge:\n  \
         - {name: Both, unit: ms, dimensions: [Hostname]}\nmodel_metrics:\n  counter:\n  - {name: Both, unit: Count}\n",
    );
    let mut scene = Scene::new(&["--torchserve.metrics-config", yaml.path().to_str().unwrap()]);
    let body = scene.feed(frontend("Both.ms:3.0", "") + &model("Both.Count:5.0", ""));
    assert_eq!(Some(3.0), body.value("Both", &[("Hostname", "h")]));
    assert_eq!(rejections(&[("name_clash", 1.0)]), rejected(&body));
}

#[test]
fn a_name_that_a_histograms_sample_has_is_refused_whichever_comes_first() {
    let types = config("types: {Early: histogram, Late: histogram}\n");
    let mut scene = Scene::new(&["--config.file", types.path().to_str().unwrap()]);
    let one = |name: &str| model(&format!("{name}.Count:1.0"), "ModelName:m");
    let labels = [("ModelName", "m"), ("Hostname", "h")];
    let body = scene
        .feed(one("Early") + &one("Early_count") + &one("Early_sum") + &one("Late_bucket") + &one("Late"));
    assert_eq!(Some(1.0), body.value("Early_count", &labels));
    assert_eq!(Some("histogram"), body.families["Early"].kind.as_deref());
    assert_eq!(Some(1.0), body.value("Late_bucket", &labels));
    assert!(!body.families.contains_key("Late"));
    assert_eq!(rejections(&[("name_clash", 3.0)]), rejected(&body));
}

#[test]
fn a_type_that_comes_late_and_clashes_keeps_the_exposition_valid() {
    let mut scene = Scene::new(&[]);
    let one = |name: &str| model(&format!("{name}.Count:1.0"), "ModelName:m");
    scene.feed(one("Score") + &one("Score_count") + &model("Bound.Count:1.0", "le:1"));
    append(&scene.path("ts_log.log"), echo("Score", "HISTOGRAM") + &echo("Bound", "HISTOGRAM"));
    eventually("the types are learned", || {
        let body = scene.server.scrape();
        (!body.families.contains_key("Score") && !body.families.contains_key("Bound")).then_some(())
    });
    scene.feed(one("Score") + &one("Score_count"));
}

#[test]
fn illegal_names_are_refused() {
    let names = ["2xxShare", "p 99", "größe", "a-b"];
    let labels = ["model-id", "__x", "", "größe", "a b", "1a"];
    let mut scene = Scene::new(&[]);
    let mut text: String =
        names.iter().map(|name| model(&format!("{name}.ms:1.0"), "ModelName:m,Level:Model")).collect();
    for (index, label) in labels.iter().enumerate() {
        text += &model(&format!("Labelled{index}.Count:1.0"), &format!("{label}:x"));
    }
    let before = log_samples(&scene.server.scrape());
    let body = scene.feed(text);
    assert_eq!(before, log_samples(&body));
    assert_eq!(rejections(&[("illegal_name", whole(names.len() + labels.len()))]), rejected(&body));
}

/// A worker may put blanks into a name; the endpoint refuses it, and it is not the metric it ends like.
#[test]
fn a_name_that_ends_like_a_declared_one_is_another_name() {
    let mut scene = Scene::new(&[]);
    let body = scene.feed(model("My HandlerTime.ms:1.0", "ModelName:m,Level:Model"));
    assert_eq!(0, values_of(&body, "HandlerTime").len());
    assert_eq!(rejections(&[("illegal_name", 1.0)]), rejected(&body));
}

#[test]
fn le_is_no_label_of_a_histogram() {
    let types = config("types: {Score: histogram, Level: gauge}\n");
    let mut scene = Scene::new(&["--config.file", types.path().to_str().unwrap()]);
    let body = scene.feed(
        model("Score.Count:1.0", "le:0.5,ModelName:m") + &model("Level.Count:1.0", "le:0.5,ModelName:m"),
    );
    assert!(!body.families.contains_key("Score"));
    assert_eq!(Some(1.0), body.value("Level", &[("le", "0.5"), ("ModelName", "m"), ("Hostname", "h")]));
    assert_eq!(rejections(&[("illegal_name", 1.0)]), rejected(&body));
}

#[test]
fn a_label_that_is_named_twice_is_refused() {
    let mut scene = Scene::new(&[]);
    let body = scene.feed(model("Twice.Count:1.0", "Tag:a,Tag:b") + &model("Host.Count:1.0", "Hostname:x"));
    assert!(!body.families.contains_key("Twice") && !body.families.contains_key("Host"));
    assert_eq!(rejections(&[("duplicate_label", 2.0)]), rejected(&body));
}

#[test]
fn a_latency_histograms_labels_stay_legal_and_distinct() {
    for dimensions in ["ModelName:a,model_name:b", "_1:a", "_:a", "le:0.5,ModelName:m", "Le:0.5"] {
        let mut scene = Scene::new(&[]);
        let body = scene.feed(model("Latency.ms:1.0", dimensions));
        assert!(body.families.contains_key("Latency"), "{dimensions}: the line itself is legal");
    }
}

#[test]
fn two_labels_that_one_convention_makes_alike_keep_the_exposition_valid() {
    for naming in ["torchserve", "prometheus"] {
        let scene = Scene::new(&["--naming", naming, "--no-latency-histograms"]);
        let text =
            model("Alike.Count:1.0", "ModelName:a,model_name:b") + &model("Bare.Count:1.0", "_1:a,_:b");
        append(&scene.path("model_metrics.log"), text);
        let outcome = if naming == "torchserve" { "parsed" } else { "rejected" };
        eventually("both lines are read", || {
            (lines_of(&scene.server.scrape(), outcome) >= 2.0).then_some(())
        });
    }
}

#[test]
fn label_values_come_out_as_they_went_in() {
    let mut scene = Scene::new(&[]);
    let values = [
        r#"say "hi""#,
        r"C:\x\n",
        r"\",
        r#"\""#,
        "{x=\"1\"}",
        "} 1.0",
        "#",
        "# HELP a b",
        "=\"",
        "a:b:c",
        " padded ",
        "\t",
        "🚀",
        "\u{202e}rtl",
        "\u{feff}",
        "<script>alert(1)</script>",
        "$(reboot)",
        "%s%n",
        "\u{85}\u{2028}",
    ];
    let text: String =
        values.iter().map(|value| model("Tagged.Count:1.0", &format!("Tag:{value}"))).collect();
    let body = scene.feed(text);
    for value in values {
        assert_eq!(Some(1.0), body.value("Tagged", &[("Tag", value), ("Hostname", "h")]), "{value:?}");
    }
    assert_eq!(rejections(&[]), rejected(&body));
    scene.assert_log_is_printable();
}

#[test]
fn a_unit_comes_out_in_the_help_as_it_went_in() {
    let mut scene = Scene::new(&[]);
    let units = [r"a\b\n", r#"say "hi""#, "<b>bold</b>", "{x=\"1\"}", "tokens per second", "µs/🚀"];
    let text: String = units
        .iter()
        .enumerate()
        .map(|(index, unit)| model(&format!("Unit{index}.{unit}:1.0"), "ModelName:m,Level:Model"))
        .collect();
    let body = scene.feed(text);
    for (index, unit) in units.iter().enumerate() {
        let help = body.families.get(&format!("Unit{index}")).and_then(|family| family.help.clone());
        assert_eq!(Some(format!("Torchserve prometheus untyped metric with unit: {unit}")), help);
    }
    scene.assert_log_is_printable();
    assert!(!scene.server.page().contains("<b>"));
}

#[test]
fn names_of_our_own_families_are_refused() {
    let mut scene = Scene::new(&[]);
    append(&scene.path("ts_log.log"), banner("0.12.0", "LOG"));
    let before = eventually("the banner is read", || {
        let body = scene.server.scrape();
        body.families.contains_key("ts_server_info").then_some(body)
    });
    let is_own =
        |name: &str| ["inferometer_", "process_", "ts_server_"].iter().any(|own| name.starts_with(own));
    let families = before.families.keys().cloned();
    let names: BTreeSet<String> =
        families.chain(before.samples.keys().map(|(name, _)| name.clone())).collect();
    let names: Vec<String> = names.into_iter().filter(|name| is_own(name)).collect();
    for name in ["inferometer_lines_total", "process_cpu_seconds_total", "ts_server_info"] {
        assert!(names.iter().any(|own| own == name), "{name} is not in {names:?}");
    }
    let text: String = names
        .iter()
        .map(|name| {
            let metric = format!("{name}.Count:100.0");
            frontend(&metric, "Level:Host") + &model(&metric, "ModelName:m,Level:Model")
        })
        .collect();
    let after = scene.feed(text);
    for name in &names {
        assert_eq!(before.families.get(name), after.families.get(name), "{name}");
    }
    let from_log =
        after.samples.keys().find(|(name, labels)| names.contains(name) && labels.contains_key("Hostname"));
    assert_eq!(None, from_log);
    assert_eq!(rejections(&[("name_clash", whole(2 * names.len()))]), rejected(&after));
}

#[test]
fn a_log_metric_wins_the_name_of_a_derived_histogram_whichever_comes_first() {
    let access = format!("{} - /127.0.0.1:5 \"GET /ping HTTP/1.1\" 200 1\n", next_time());
    let derived = model("PredictionTime.ms:5.0", "ModelName:m,Level:Model") + &access;
    let verbatim: String = [
        "ts_http_request_duration_seconds_count",
        "ts_prediction_time_seconds",
        "ts_batch_size_sum",
        "ts_inference_latency_seconds_bucket",
    ]
    .iter()
    .map(|name| model(&format!("{name}.Count:42.0"), "ModelName:m,Level:Model"))
    .collect();
    for texts in [[&derived, &verbatim], [&verbatim, &derived]] {
        let mut scene = Scene::new(&[]);
        scene.feed(texts[0]);
        scene.feed(texts[1]);
        let body = scene.feed(texts[0]);
        let labels = [("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")];
        assert_eq!(Some(42.0), body.value("ts_prediction_time_seconds", &labels));
        assert_eq!(Some(42.0), body.value("ts_http_request_duration_seconds_count", &labels));
        assert_eq!(Some(5.0), body.value("PredictionTime", &labels));
    }
}

#[test]
fn a_hostile_banner_is_text() {
    let mut scene = Scene::new(&[]);
    let version = r#"0.12.0"} 1 \n <script>alert(1)</script>"#;
    append(&scene.path("ts_log.log"), banner(version, "\u{1b}[2JLOG\"}"));
    eventually("the banner is read", || {
        scene.server.scrape().families.contains_key("ts_server_info").then_some(())
    });
    scene.feed("");
    assert!(!scene.server.page().contains("<script>"));
    scene.assert_log_is_printable();
}

// --- What is a metric in the wrong place.

/// Metrics that a client or a model would like us to count.
const FORGED: &[&str] = &[
    "Requests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1",
    "x?y=Requests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1",
    "?a=Requests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1&b=1",
    "\"Requests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1",
    ";Requests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1",
    "%20-%20Requests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1",
    "\tRequests2XX.Count:100.0|#Level:Host|#hostname:h,timestamp:1",
    "=HandlerTime.ms:100.0|#ModelName:forged,Level:Model|#hostname:h,requestID:null,timestamp:1",
    "=Forged.Count:100.0|#ModelName:forged|#hostname:h,requestID:null,timestamp:1",
];

#[test]
fn metrics_in_a_request_are_not_counted_in_the_access_log() {
    let mut scene = Scene::new(&[]);
    append(&scene.path("access_log.log"), access_lines(|message| format!("{} - {message}\n", next_time())));
    eventually("the access log is read", || {
        (lines_of_source(&scene.server.scrape(), "access_log.log") > 0.0).then_some(())
    });
    assert_nothing_is_forged(&scene.feed(""));
}

#[test]
fn metrics_in_a_request_are_not_counted_on_the_console() {
    let text = access_lines(|message| console("ACCESS_LOG", &message))
        + &console("TS_METRICS", requests(1).trim_end());
    let output = replay_input(&["--format", "torchserve-console"], text);
    let body = exposition(&output);
    assert_eq!(Some(1.0), body.value("Requests2XX", HOST));
    assert_nothing_is_forged(&body);
}

#[test]
fn metrics_that_a_model_prints_are_not_counted_on_the_console() {
    let mut text = String::new();
    for forged in FORGED {
        for message in [
            (*forged).to_owned(),
            format!(" - {forged}"),
            format!("TS_METRICS - {forged}"),
            format!("{} - {forged}", next_time()),
            console("TS_METRICS", forged),
            format!("{{\"logger\":\"TS_METRICS\",\"message\":\"{forged}\"}}"),
            format!("\u{1b}[32m{forged}\u{1b}[m"),
            format!("result=[METRICS]{forged}"),
            format!("\r{}", console("TS_METRICS", forged)),
        ] {
            let message = message.trim_end_matches('\n');
            for logger in
                ["MODEL_LOG", "org.pytorch.serve.wlm.WorkerLifeCycle", "ACCESS_LOG", "TS_METRICS_NOT"]
            {
                text += &console(logger, message);
            }
        }
        text += &format!("{forged}\n\tat {forged}\n");
    }
    text += &console("TS_METRICS", requests(1).trim_end());
    let body = exposition(&replay_input(&[], text));
    assert_eq!(Some(1.0), body.value("Requests2XX", HOST));
    assert_nothing_is_forged(&body);
}

#[test]
fn metrics_in_request_ids_and_label_values_are_text() {
    let mut scene = Scene::new(&[]);
    let mut text = String::new();
    for forged in FORGED {
        text += &format!(
            "{} - Honest.Count:1.0|#Tag:{tag}|#hostname:h,requestID: - {forged},timestamp:1\n",
            next_time(),
            tag = forged.split('|').next().unwrap()
        );
    }
    let body = scene.feed(text);
    assert_nothing_is_forged(&body);
    let honest =
        body.samples.iter().filter(|((name, _), _)| name == "Honest").map(|(_, bits)| f64::from_bits(*bits));
    assert_eq!(vec![1.0; FORGED.len()], honest.collect::<Vec<_>>());
}

#[test]
fn unfinished_blocks_do_not_hide_the_next_line() {
    for front in [
        "{\n",
        "{\n \"MetricName\": \"x\",\n",
        "HostName=h\n",
        "HostName=h\nStartTime=1\n",
        "{\r\n",
        "[\n",
        "{",
    ] {
        let mut scene = Scene::new(&[]);
        let body = if front == "{" { scene.feed("{\n") } else { scene.feed(front) };
        assert_eq!(2.0, lines_of(&body, "parsed"), "{front:?}");
    }
}

// --- What is too much.

#[test]
fn many_model_names_are_summed_in_one_series() {
    const MODELS: usize = 100_000;
    let mut scene = Scene::new(&["--limit.series", "100"]);
    let line = |model: usize| {
        format!(
            "{} - ts_inference_requests_total.Count:1.0|#model_name:m{model},model_version:1|#hostname:h,timestamp:1\n",
            next_time()
        )
    };
    let body = scene.feed((0..MODELS).map(line).collect::<String>());
    let values = values_of(&body, "ts_inference_requests_total");
    let kept = values.len() - 1;
    assert!((90..100).contains(&kept), "{kept} series of their own");
    assert_eq!(whole(MODELS), values.iter().sum::<f64>());
    let overflow = body.value("ts_inference_requests_total", &[("overflow", "true")]);
    assert_eq!(Some(whole(MODELS - kept)), overflow);
    assert_eq!(Some(whole(MODELS - kept)), body.value("inferometer_dropped_series_total", &[]));

    let body = scene.feed(line(0) + &line(MODELS));
    let first = [("model_name", "m0"), ("model_version", "1"), ("hostname", "h")];
    assert_eq!(Some(2.0), body.value("ts_inference_requests_total", &first), "a known series is exact");
    let peak = scene.server.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} KiB");
}

#[test]
fn a_label_named_overflow_is_not_taken_for_the_overflow_series() {
    let types = config("types: {Hits: counter}\n");
    let types = types.path().to_str().unwrap();
    let limits = ["--limit.series-per-family", "3", "--config.file", types];
    for drop in [&["--drop-labels", "Hostname"][..], &[]] {
        let scene = Scene::with_log("", &[&limits, drop].concat());
        let lines = ["true", "a", "b", "c", "d", "true"].map(|value| {
            let dimension = format!("overflow:{value}");
            model("Hits.Count:1.0", &dimension) + &model("Latency.ms:1.0", &dimension)
        });
        append(&scene.path("model_metrics.log"), lines.concat());
        eventually("all lines are read", || {
            (lines_of(&scene.server.scrape(), "parsed") == 12.0).then_some(())
        });
        assert_eq!(6.0, values_of(&scene.server.scrape(), "Hits").iter().sum::<f64>());
        assert_eq!(6.0, values_of(&scene.server.scrape(), "ts_latency_seconds_count").iter().sum::<f64>());
    }
}

#[test]
fn gauges_without_room_are_dropped_and_counted() {
    let mut scene = Scene::new(&["--limit.series-per-family", "10", "--no-latency-histograms"]);
    let lines =
        (0..3000).map(|index| model("HandlerTime.ms:1.0", &format!("ModelName:m{index},Level:Model")));
    let body = scene.feed(lines.collect::<String>());
    assert_eq!(10, values_of(&body, "HandlerTime").len());
    assert_eq!(None, body.value("HandlerTime", &[("overflow", "true")]));
    assert_eq!(Some(2990.0), body.value("inferometer_dropped_series_total", &[]));
    // The limit is each family's own.
    assert_eq!(Some(2.0), body.value("Requests2XX", HOST));
}

#[test]
fn many_metric_names_are_refused_when_there_is_no_room() {
    const NAMES: usize = 10_000;
    let mut scene = Scene::new(&["--limit.series", "1000"]);
    let lines = (0..NAMES).map(|name| model(&format!("Name{name}.ms:1.0"), "ModelName:m,Level:Model"));
    let body = scene.feed(lines.collect::<String>());
    let families = body.families.keys().filter(|name| name.starts_with("Name")).count();
    assert!((400..1000).contains(&families), "{families} families");
    assert_eq!(rejections(&[("no_room", whole(NAMES - families))]), rejected(&body));
    assert!(body.value("inferometer_series", &[]).unwrap() <= 1000.0);
    let peak = scene.server.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} KiB");
}

#[test]
fn names_as_long_as_a_line_are_bounded_in_memory() {
    let mut scene = Scene::new(&[]);
    let long = "x".repeat(60_000);
    for index in 0..100 {
        let text = model(&format!("n{index}{long}.ms:1"), "a:b")
            + &model(&format!("u{index}.{long}:1"), "a:b")
            + &model(&format!("l{index}.ms:1"), &format!("{long}:b"))
            + &model(&format!("v{index}.ms:1"), &format!("b:{long}"));
        append(&scene.path("model_metrics.log"), text);
        append(&scene.path("ts_log.log"), echo(&format!("t{index}{long}"), "COUNTER"));
    }
    eventually("the files are read", || {
        let body = scene.server.scrape();
        let read = lines_of_source(&body, "model_metrics.log") + lines_of_source(&body, "ts_log.log");
        (read >= 500.0).then_some(())
    });
    scene.feed("");
    let peak = scene.server.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} KiB");
}

#[test]
fn families_of_thousands_of_labels_are_bounded_in_memory() {
    let mut scene = Scene::new(&[]);
    let labels: Vec<String> = (0..8000).map(|index| format!("l{index}:v")).collect();
    let labels = labels.join(",");
    let lines = (0..200).map(|index| model(&format!("Name{index}.Count:1.0"), &labels));
    scene.feed(lines.collect::<String>());
    let peak = scene.server.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} KiB");
}

#[test]
fn a_flood_of_bad_lines_is_one_warning_for_each_reason() {
    let mut scene = Scene::new(&["--limit.series", "50"]);
    scene.feed(bad_lines());
    let body = scene.feed(bad_lines().repeat(500));
    let reasons = rejected(&body);
    assert!(reasons.len() >= 10, "{reasons:?}");
    let log = scene.server.log();
    for reason in reasons.keys() {
        let said = log.lines().filter(|line| line.contains(reason.as_str())).count();
        assert!(said <= 1, "{reason} is said {said} times:\n{log}");
    }
    assert!(log.lines().count() < 40, "{log}");
}

#[test]
fn each_reason_to_reject_a_line_is_said() {
    let mut scene = Scene::new(&["--limit.series", "50"]);
    let body = scene.feed(bad_lines());
    // The last line of all.
    let log = scene.server.log_with("no_room");
    let silent: Vec<_> =
        rejected(&body).into_keys().filter(|reason| !log.contains(reason.as_str())).collect();
    assert_eq!(Vec::<String>::new(), silent, "{log}");
}

#[test]
fn two_servers_in_one_file_are_counted_and_said_once() {
    let mut scene = Scene::new(&[]);
    let of = |host: &str| {
        format!("{} - Requests4XX.Count:1.0|#Level:Host|#hostname:{host},timestamp:1\n", next_time())
    };
    let turns: String = (0..20).map(|_| of("node-a") + &of("node-b")).collect();
    let body = scene.feed(turns);
    for host in ["node-a", "node-b"] {
        assert_eq!(Some(20.0), body.value("Requests4XX", &[("Level", "Host"), ("Hostname", host)]));
    }
    let source = [("source", "ts_metrics.log")];
    assert!(body.value("inferometer_interleaved_hosts_total", &source).unwrap() > 0.0);
    scene.server.log_with("level=warn");
    scene.feed("");
    let log = scene.server.log();
    assert_eq!(1, log.lines().filter(|line| line.contains("level=warn")).count(), "{log}");
}

#[test]
fn the_gauges_of_a_silent_server_disappear_and_its_counters_stay() {
    let mut scene = Scene::new(&["--gauge-ttl", "1s"]);
    let body = scene.feed(frontend("QueueTime.Milliseconds:7.0", "Level:Host"));
    if let Some(value) = body.value("QueueTime", HOST) {
        assert_eq!(7.0, value);
    }
    eventually("the gauge disappears", || scene.server.value("QueueTime", HOST).is_none().then_some(()));
    assert_eq!(Some(2.0), scene.server.value("Requests2XX", HOST));
    append(&scene.path("ts_metrics.log"), frontend("QueueTime.Milliseconds:8.0", "Level:Host"));
    eventually("the gauge comes back", || (scene.server.value("QueueTime", HOST)? == 8.0).then_some(()));
    assert_eq!(Some(2.0), scene.server.value("Requests2XX", HOST));
}

// --- What a terminal or a browser would obey.

#[test]
fn our_own_log_holds_no_control_characters_of_the_log() {
    for format in ["logfmt", "json"] {
        let mut scene = Scene::new(&["--log.format", format, "--log.level", "debug"]);
        let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{8}\0\u{202e}";
        let mut text = format!("{evil}\n{}", model("Bad.Count:1.0", &format!("{evil}-id:x")));
        text += &frontend(&format!("QueueTime.Milliseconds:{evil}"), "Level:Host");
        text += &frontend(&format!("Requests2XX.Count:-1.0{evil}"), "Level:Host");
        scene.feed(text);
        let log = scene.server.log_with("not_a_metric");
        assert!(log.lines().all(|line| line.len() < 1000), "{log}");
        scene.assert_log_is_printable();
    }
}

#[test]
fn file_names_are_hostile_text_too() {
    let folder = tempfile::tempdir().unwrap();
    let names: &[&[u8]] = &[
        b"plain.log",
        b"\x1b[2J.log",
        b"two\nlines.log",
        b"<script>alert(1)<script>.log",
        b"quote\"back\\slash.log",
        b"no utf8 \xff.log",
    ];
    for name in names {
        append(&folder.path().join(OsStr::from_bytes(name)), requests(1) + "rubbish\n");
    }
    let server = Server::ready(folder.path(), &[]);
    assert_eq!(Some(whole(names.len())), server.value("Requests2XX", HOST));
    let page = http::get(server.address, "/");
    assert!(!page.body.contains("alert(1)"), "nothing of a log is in the document");
    let shown = server.page();
    assert!(shown.contains("alert(1)") && !shown.contains('<'), "{shown}");
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert_eq!(Some("nosniff"), page.header("x-content-type-options"));
    assert_eq!(None, unprintable(&server.log()));
}

#[test]
fn files_whose_names_look_alike_stay_sources_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for byte in 0xf8..=0xff {
        append(&folder.path().join(OsStr::from_bytes(&[byte, b'.', b'l', b'o', b'g'])), requests(1));
    }
    let server = Server::ready(folder.path(), &[]);
    let body = server.scrape();
    let sources = body.samples.keys().filter(|(name, _)| name == "inferometer_source_active");
    let sources: Vec<_> = sources.map(|(_, labels)| labels["source"].clone()).collect();
    assert_eq!(8, sources.len());
    let above = folder.path().parent().unwrap().to_str().unwrap();
    assert!(
        !sources.iter().any(|source| source.contains(above)),
        "a source is named by its path: {sources:?}"
    );
}

// --- A fixture with all that a real server's log can be made to hold.

#[test]
fn real_awkward_lines_are_followed_without_harm() {
    let mut scene =
        Scene::new(&["--torchserve.metrics-config", fixture("config/metrics_edge.yaml").to_str().unwrap()]);
    let bytes = std::fs::read(fixture("pairs-edge/model_metrics.log")).unwrap();
    append(&scene.path("model_metrics.log"), &bytes);
    eventually("the file is read", || {
        let lag = scene.server.value("inferometer_source_lag_bytes", &[("source", "model_metrics.log")])?;
        (lag == 0.0).then_some(())
    });
    scene.feed("");
    scene.assert_log_is_printable();
}

impl Scene {
    /// Like [`Scene::feed`], where the bytes hold good lines themselves.
    #[track_caller]
    fn feed_good(&mut self, bytes: impl AsRef<[u8]>, lines: u32) -> Exposition {
        append(&self.path("ts_metrics.log"), [bytes.as_ref(), requests(1).as_bytes()].concat());
        self.good += lines;
        self.wait()
    }

    /// Returns when all that stands in the files now has been looked at: the second of two lines in another
    /// file is read in a look that began after the first one was seen.
    fn pass(&self) {
        let labels = [("ModelName", "pass"), ("Level", "Model"), ("Hostname", "h")];
        for _ in 0..2 {
            let next = self.server.value("HandlerTime", &labels).unwrap_or_default() + 1.0;
            append(
                &self.path("model_metrics.log"),
                model(&format!("HandlerTime.ms:{next:?}"), "ModelName:pass,Level:Model"),
            );
            eventually("a line in another file counts", || {
                (self.server.value("HandlerTime", &labels)? == next).then_some(())
            });
        }
    }
}

/// A good line of this many bytes before its line end.
fn line_of(length: usize, end: &str) -> String {
    let line = requests(1);
    let line = line.trim_end();
    let (front, metric) = line.split_once(" - ").unwrap();
    format!("{front} {} - {metric}{end}", "x".repeat(length - line.len() - 1))
}

fn load_time(worker: usize, value: &str) -> String {
    frontend(&format!("WorkerLoadTime.Milliseconds:{value}"), &format!("WorkerName:{worker},Level:Host"))
}

fn loaded(body: &Exposition, worker: usize) -> Option<f64> {
    body.value("WorkerLoadTime", &[("WorkerName", &worker.to_string()), ("Level", "Host"), ("Hostname", "h")])
}

/// A line for each reason that a single line can have, without a bad value of its own kind twice.
fn bad_lines() -> String {
    let mut text = "no metric at all\n".to_owned();
    text += &format!("{} - Requests2XX.Count:1.0|#Level:Host|#hostn\n", next_time());
    text += &frontend("QueueTime.Milliseconds:none", "Level:Host");
    text += &("x".repeat(70_000) + "\n");
    text += "org.apache.logging.log4j.core.impl.MutableLogEvent@22890606\n";
    text += &frontend("QueueTime.Milliseconds:1.0", "Level:Host,Surplus:1");
    text += &model("2xxShare.Count:1.0", "ModelName:m");
    text += &model("Requests2XX.Count:1.0", "Level:Host");
    text += &model("Twice.Count:1.0", "Tag:a,Tag:b");
    text += &frontend("Requests4XX.Count:-1.0", "Level:Host");
    text += &(0..60).map(|name| model(&format!("Name{name}.Count:1.0"), "ModelName:m")).collect::<String>();
    text
}

/// The worker's line from which a type is learned.
fn echo(name: &str, kind: &str) -> String {
    let message = format!(
        "result=[METRICS]{name}.Count:1|#ModelName:m|#type:{kind}|#hostname:h,1795196665,id, pattern=[METRICS]"
    );
    console("org.pytorch.serve.wlm.WorkerLifeCycle", &message)
}

fn banner(version: &str, mode: &str) -> String {
    let front = console("org.pytorch.serve.ModelServer", "");
    format!("{front}Torchserve version: {version}\nMetrics mode: {mode}\n")
}

/// Requests in which a client has put a metric wherever it can, each line by `layout`.
fn access_lines(layout: impl Fn(String) -> String) -> String {
    let mut text = String::new();
    for forged in FORGED {
        // The protocol's name is the client's text too; Netty takes any word there.
        for protocol in ["HTTP/1.1", "FOO/1.1", "HTTP/1.1\"", "="] {
            // An address may come with its name, and that of a Unix socket is empty.
            for client in ["/127.0.0.1:5", "/[0:0:0:0:0:0:0:1]:5", "localhost/127.0.0.1:5", ""] {
                text += &layout(format!("{client} \"GET /{forged} {protocol}\" 404 0"));
                text += &layout(format!("{client} \"={forged} / {protocol}\" 404 0"));
                text += &layout(format!("{client} \"GET / {forged} {protocol}\" 404 0"));
            }
        }
    }
    text
}

#[track_caller]
fn assert_nothing_is_forged(body: &Exposition) {
    let text = format!(
        "{:?}",
        body.samples.keys().filter(|(name, _)| !name.starts_with("Honest")).collect::<Vec<_>>()
    );
    assert!(!text.contains("forged") && !text.contains("Forged"), "{text}");
    assert!(values_of(body, "Requests2XX").iter().all(|value| *value < 100.0));
    assert_eq!(0, values_of(body, "HandlerTime").len());
}

/// A line that would steer a terminal.
fn unprintable(log: &str) -> Option<&str> {
    log.lines().find(|line| line.chars().any(|c| c.is_control() || c == '\u{202e}'))
}

fn config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that look like nothing, the same ones every time.
fn rubbish(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

fn values_of(body: &Exposition, name: &str) -> Vec<f64> {
    body.samples
        .iter()
        .filter(|((sample, _), _)| sample == name)
        .map(|(_, bits)| f64::from_bits(*bits))
        .collect()
}

/// The samples that come from the log, and nothing about ourselves.
fn log_samples(body: &Exposition) -> BTreeSet<String> {
    let names = body.samples.keys().map(|(name, _)| name.clone());
    names.filter(|name| !name.starts_with("inferometer_") && !name.starts_with("process_")).collect()
}

/// Lines of all sources with one outcome.
fn lines_of(body: &Exposition, outcome: &str) -> f64 {
    sum(body, "inferometer_lines_total", |labels| labels["outcome"] == outcome)
}

/// Lines of one source with whatever outcome.
fn lines_of_source(body: &Exposition, source: &str) -> f64 {
    sum(body, "inferometer_lines_total", |labels| labels["source"] == source)
}

fn sum(body: &Exposition, metric: &str, keep: impl Fn(&BTreeMap<String, String>) -> bool) -> f64 {
    let samples = body.samples.iter().filter(|((name, labels), _)| name == metric && keep(labels));
    samples.map(|(_, bits)| f64::from_bits(*bits)).sum()
}

/// Rejected lines by reason.
fn rejected(body: &Exposition) -> BTreeMap<String, f64> {
    let mut reasons = BTreeMap::new();
    for ((_, labels), bits) in
        body.samples.iter().filter(|((name, _), _)| name == "inferometer_rejected_lines_total")
    {
        *reasons.entry(labels["reason"].clone()).or_default() += f64::from_bits(*bits);
    }
    reasons
}

fn rejections(expected: &[(&str, f64)]) -> BTreeMap<String, f64> {
    expected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
}

fn whole(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
