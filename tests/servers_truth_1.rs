//! What `inferometer replay` makes of the logs of BentoML, DeepSparse, KServe and TGI against what these servers said
//! themselves of the same run, or what was known when the log was made.

use crate::support::exposition::{Exposition, Leave, Series};
use crate::support::process::{replay, stderr};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(fixture(path)).unwrap()
}

/// What we make of a log.
fn ours(log: &str, arguments: &[&str]) -> Exposition {
    let mut all: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
    all.push(fixture(log));
    let output = replay(all);
    assert_eq!(Some(0), output.status.code(), "{log}: {}", stderr(&output));
    Exposition::strict(&String::from_utf8_lossy(&output.stdout))
        .unwrap_or_else(|error| panic!("{log}: {error}"))
}

/// What a server exposed.
fn theirs(scrape: &str) -> Exposition {
    Exposition::read(&text(scrape), Leave::default()).unwrap_or_else(|error| panic!("{scrape}: {error}"))
}

type Samples = BTreeMap<Series, f64>;

/// The samples of these names.
fn samples(body: &Exposition, names: &[&str]) -> Samples {
    let named = body.samples.iter().filter(|((name, _), _)| names.contains(&name.as_str()));
    named.map(|(series, bits)| (series.clone(), f64::from_bits(*bits))).collect()
}

fn sum(samples: &Samples, label: &str, value: &str) -> f64 {
    samples
        .iter()
        .filter(|((_, labels), _)| labels.get(label).is_some_and(|it| it == value))
        .map(|(_, it)| it)
        .sum()
}

#[track_caller]
fn assert_close(expected: f64, observed: f64, what: &str) {
    assert!((expected - observed).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {expected}, {observed}");
}

const BENTOML: &str = "bentoml_service_request_duration_seconds";

/// The server's own samples as the log can know them: without the version, without the paths that it does not log,
/// and with what no route answered under one name.
fn bentoml(names: &[&str]) -> Samples {
    let mut logged = Samples::new();
    for ((name, mut labels), value) in samples(&theirs("bentoml/http.server.prom"), names) {
        assert_eq!(Some("not available".to_owned()), labels.remove("service_version"));
        let endpoint = labels["endpoint"].clone();
        if ["/healthz", "/livez", "/readyz", "/metrics"].contains(&endpoint.as_str()) {
            continue;
        }
        if labels["http_response_code"] == "404" {
            labels.insert("endpoint".to_owned(), "other".to_owned());
        }
        // The server shows its own endpoints before they were asked.
        if value > 0.0 || !name.ends_with("_total") {
            *logged.entry((name, labels)).or_default() += value;
        }
    }
    logged
}

#[test]
fn bentoml_counts_are_the_servers_own() {
    let ours = ours("bentoml/http.log", &[]);
    for name in ["bentoml_service_request_total", &format!("{BENTOML}_count")] {
        let expected = bentoml(&[name]);
        assert_eq!(8, expected.len(), "{name}");
        assert_eq!(expected, samples(&ours, &[name]));
    }
}

/// The server's histogram is measured around the access log, by a fraction of a millisecond.
#[test]
fn bentoml_durations_are_the_servers_own_less_what_its_metrics_cost() {
    let ours = ours("bentoml/http.log", &[]);
    let (sum, count, bucket) =
        (format!("{BENTOML}_sum"), format!("{BENTOML}_count"), format!("{BENTOML}_bucket"));
    let counts = samples(&ours, &[&count]);
    let sums = samples(&ours, &[&sum]);
    for ((_, labels), theirs) in bentoml(&[&sum]) {
        let requests = counts[&(count.clone(), labels.clone())];
        let each = (theirs - sums[&(sum.clone(), labels.clone())]) / requests;
        assert!((0.000_01..0.001).contains(&each), "{labels:?}: {each} s for each request");
    }
    let buckets = samples(&ours, &[&bucket]);
    let expected = bentoml(&[&bucket]);
    assert_eq!(expected.keys().collect::<Vec<_>>(), buckets.keys().collect::<Vec<_>>(), "the same bounds");
    for (series, theirs) in expected {
        let ahead = buckets[&series] - theirs;
        assert!((0.0..=2.0).contains(&ahead), "{series:?}: {theirs} and {ahead} more");
    }
}

#[test]
fn bentoml_durations_are_those_of_the_lines() {
    let ours = ours("bentoml/http.log", &[]);
    let rows: serde_json::Value = serde_json::from_str(&text("bentoml/http.expected.json")).unwrap();
    let mut expected = BTreeMap::<(String, String), (f64, f64)>::new();
    for row in rows.as_array().unwrap() {
        let code = row["status"].to_string();
        let path = if code == "404" { "other" } else { row["path"].as_str().unwrap() };
        let entry = expected.entry((path.to_owned(), code)).or_default();
        entry.0 += row["access_lines"].as_f64().unwrap();
        entry.1 += row["sum_ms"].as_f64().unwrap() / 1000.0;
    }
    for ((endpoint, code), (lines, seconds)) in expected {
        let labels = [
            ("endpoint", endpoint.as_str()),
            ("http_response_code", &code),
            ("runner_name", "sentiment"),
            ("service_name", "sentiment"),
        ];
        assert_eq!(Some(lines), ours.value(&format!("{BENTOML}_count"), &labels), "{endpoint} {code}");
        assert_close(seconds, ours.value(&format!("{BENTOML}_sum"), &labels).unwrap(), &endpoint);
    }
}

#[test]
fn bentoml_grpc_calls_are_counted_by_their_status() {
    let ours = ours("bentoml/grpc.log", &[]);
    let log = text("bentoml/grpc.log");
    for code in ["200", "500"] {
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(&format!(" (http_status={code},"))).collect();
        let labels = [("http_response_code", code), ("service_name", "iris_grpc")];
        let count = ours.value("bentoml_api_server_request_total", &labels);
        assert_eq!(Some(f64::from(u32::try_from(lines.len()).unwrap())), count);
        let milliseconds =
            |line: &&str| line.split("ms (trace=").next()?.rsplit(' ').next()?.parse::<f64>().ok();
        let expected = lines.iter().filter_map(milliseconds).sum::<f64>() / 1000.0;
        let name = "bentoml_api_server_request_duration_seconds_sum";
        assert_close(expected, ours.value(name, &labels).unwrap(), code);
    }
}

#[test]
fn deepsparse_counts_sums_and_buckets_are_the_servers_own() {
    let (ours, theirs) =
        (ours("deepsparse/python-logger.log", &[]), theirs("deepsparse/python-logger.server.prom"));
    let is_logged = |name: &str| name.starts_with("deepsparse_") && !name.ends_with("_created");
    let kinds = |body: &Exposition| -> BTreeMap<String, Option<String>> {
        let families = body.families.iter().filter(|(name, _)| is_logged(name));
        families.map(|(name, family)| (name.clone(), family.kind.clone())).collect()
    };
    assert_eq!(5, kinds(&theirs).len());
    assert_eq!(kinds(&theirs), kinds(&ours));
    let names: BTreeSet<&str> = theirs.samples.keys().map(|(name, _)| name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| is_logged(name)).collect();
    let (expected, observed) = (samples(&theirs, &names), samples(&ours, &names));
    assert_eq!(expected.keys().collect::<Vec<_>>(), observed.keys().collect::<Vec<_>>());
    for (series, value) in &expected {
        // Values were added in the order of the lines on both sides.
        assert_eq!(value.to_bits(), observed[series].to_bits(), "{series:?}: {value}, {}", observed[series]);
    }
}

#[test]
fn deepsparse_lines_of_the_newer_logger_are_all_there() {
    let ours = ours("deepsparse/root-logger.log", &[]);
    let log = text("deepsparse/root-logger.log");
    let values: Vec<f64> =
        log.lines().filter_map(|line| line.split_once(".identity]: ")?.1.parse().ok()).collect();
    let labels = [("pipeline_name", "latency_seconds")];
    assert_eq!(Some(20.0), ours.value("deepsparse_latency_seconds_count", &labels));
    let sum = ours.value("deepsparse_latency_seconds_sum", &labels).unwrap();
    assert_close(values.iter().sum(), sum, "sum");
}

#[test]
fn kserve_counts_are_the_servers_own() {
    let (ours, theirs) = (ours("kserve/stdout-stderr.log", &[]), theirs("kserve/stdout-stderr.server.prom"));
    let toy = [("model_name", "toy")];
    // Only requests that got through postprocess are told with their stages.
    let through = theirs.value("request_postprocess_seconds_count", &toy);
    assert_eq!(Some(44.0), through);
    for stage in ["preprocess", "predict", "postprocess"] {
        assert_eq!(through, ours.value(&format!("request_{stage}_seconds_count"), &[]), "{stage}");
    }
    assert!(!ours.families.contains_key("request_explain_seconds"), "nothing was explained");
    // All requests that reached the model have timing lines, failed ones too.
    let reached = theirs.value("request_predict_seconds_count", &toy).unwrap();
    for name in
        ["kserve_requests_total", "kserve_request_duration_seconds_count", "kserve_request_cpu_seconds_count"]
    {
        assert_eq!(reached, sum(&samples(&ours, &[name]), "model_name", "toy"), "{name}");
    }
}

#[test]
fn kserve_times_are_the_servers_own_less_its_clockwork() {
    let (ours, theirs) = (ours("kserve/stdout-stderr.log", &[]), theirs("kserve/stdout-stderr.server.prom"));
    let name = "request_postprocess_seconds";
    let sum = |body: &Exposition, labels: &[_]| body.value(&format!("{name}_sum"), labels).unwrap();
    let (theirs_sum, ours_sum) = (sum(&theirs, &[("model_name", "toy")]), sum(&ours, &[]));
    assert!(0.0 < ours_sum && ours_sum <= theirs_sum + 1e-4, "{ours_sum} {theirs_sum}");
    for ((_, mut labels), value) in samples(&theirs, &[&format!("{name}_bucket")]) {
        labels.remove("model_name");
        let observed = ours.samples.get(&(format!("{name}_bucket"), labels.clone()));
        assert_eq!(Some(value), observed.map(|bits| f64::from_bits(*bits)), "{labels:?}");
    }
    // Sum of the lines, read by another way.
    for (key, stage) in [("preprocess_ms: ", "preprocess"), ("predict_ms: ", "predict")] {
        let log = text("kserve/stdout-stderr.log");
        let values = log.lines().filter(|line| line.contains("requestId: ")).map(|line| {
            line.rsplit_once(key).unwrap().1.split(',').next().unwrap().parse::<f64>().unwrap() / 1000.0
        });
        assert_close(values.sum(), ours.value(&format!("request_{stage}_seconds_sum"), &[]).unwrap(), stage);
    }
}

/// The values that were known when the log was made, as histograms.
fn tgi_expected(name: &str) -> Samples {
    let mut samples = Samples::new();
    let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
        *samples.entry(crate::support::exposition::series(name, labels)).or_default() += value;
    };
    let seconds: Vec<f64> = (0..35)
        .scan(0.0001, |bound, _| {
            *bound *= 1.5;
            Some(*bound)
        })
        .collect();
    let tokens: Vec<f64> = (1..=100).map(|step| 40.96 * f64::from(step)).collect();
    for line in text(&format!("tgi/{name}.expected.ndjson")).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        add("tgi_request_count", &[], 1.0);
        if event["kind"] == "failure" {
            add("tgi_request_failure", &[("err", event["err"].as_str().unwrap())], 1.0);
            continue;
        }
        add("tgi_request_success", &[], 1.0);
        for (family, key, bounds) in [
            ("tgi_request_duration", "total_s", &seconds),
            ("tgi_request_validation_duration", "validation_s", &seconds),
            ("tgi_request_queue_duration", "queue_s", &seconds),
            ("tgi_request_inference_duration", "inference_s", &seconds),
            ("tgi_request_mean_time_per_token_duration", "time_per_token_s", &seconds),
            ("tgi_request_generated_tokens", "generated_tokens_exact", &tokens),
        ] {
            let value = event[key].as_f64().unwrap();
            add(&format!("{family}_sum"), &[], value);
            add(&format!("{family}_count"), &[], 1.0);
            for bound in bounds.iter().chain([&f64::INFINITY]) {
                let le = if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:.6}") };
                add(&format!("{family}_bucket"), &[("le", &le)], if value <= *bound { 1.0 } else { 0.0 });
            }
        }
    }
    samples
}

#[test]
fn tgi_gives_every_value_that_was_known_when_the_log_was_made() {
    for name in ["router-text", "router-text-ansi", "router-json"] {
        let ours = ours(&format!("tgi/{name}.log"), &[]);
        // Bounds by their first digits, since both sides print theirs in their own way.
        let observed: Samples = ours
            .samples
            .iter()
            .map(|((name, labels), bits)| {
                let mut labels = labels.clone();
                if let Some(bound) =
                    labels.get("le").and_then(|le| le.parse::<f64>().ok()).filter(|le| le.is_finite())
                {
                    labels.insert("le".to_owned(), format!("{bound:.6}"));
                }
                ((name.clone(), labels), f64::from_bits(*bits))
            })
            .collect();
        let expected = tgi_expected(name);
        assert_eq!(expected.keys().collect::<Vec<_>>(), observed.keys().collect::<Vec<_>>(), "{name}");
        for (series, value) in expected {
            assert_close(value, observed[&series], &format!("{name} {series:?}"));
        }
    }
}

#[test]
fn one_schema_fits_all_four() {
    for (log, model, requests) in [
        ("bentoml/http.log", Some("sentiment"), 102.0),
        ("tgi/router-text.log", None, 64.0),
        ("deepsparse/python-logger.log", Some("toy_classifier"), 60.0),
        ("kserve/stdout-stderr.log", Some("toy"), 52.0),
    ] {
        let ours = ours(log, &["--naming", "uniform"]);
        let name = "model_request_duration_seconds";
        assert_eq!(Some("histogram"), ours.families[name].kind.as_deref(), "{log}");
        let counts = samples(&ours, &[&format!("{name}_count")]);
        let of_model = |((_, labels), _): &(&Series, &f64)| {
            model.is_none_or(|model| labels.get("model_name").is_some_and(|it| it == model))
        };
        assert_eq!(requests, counts.iter().filter(of_model).map(|(_, count)| count).sum::<f64>(), "{log}");
    }
}
