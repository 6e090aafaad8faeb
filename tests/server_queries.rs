//! The queries of the servers' own guides and dashboards on a real Prometheus: each returns the number that the
//! appended lines imply, and a panel that no log can fill stays empty.
//!
//! Each step appends the same requests, so whatever part of them a range holds, shares and quantiles are those of one
//! step, to the last digits.

use crate::support::lines::append;
use crate::support::process::{Server, run};
use crate::support_prometheus::{Prometheus, within};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Three scrapes a second apart would do; a busy machine starts Prometheus in ten seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// A query, the label that tells its series apart, and what they are.
type Panel = (String, &'static str, Vec<(String, f64)>);

#[test]
fn queries_of_the_servers_guides_and_dashboards_have_the_numbers_of_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let prometheus = Prometheus::scraping(server.address);
    let panels: Vec<Panel> =
        [bentoml_panels(), monitor_panels(), tgi_panels(), deepsparse_panels(), kserve_panels()].concat();
    let mut step = 0;
    within(LIMIT, "each panel shows what the lines imply", || {
        step += 1;
        append_step(folder.path(), step);
        for (query, label, expected) in &panels {
            let answer = prometheus.query(query, label)?;
            if !is_near(&answer, expected) {
                return Err(format!("{query}: {answer:?}, but should be {expected:?}\n{}", server.log()));
            }
        }
        Ok(())
    });
    // There was time for all that the lines hold; what they do not hold is still absent, not zero.
    for name in NOT_IN_THE_LOG {
        let answer = prometheus.query(&format!("count({{__name__=~\"{name}\"}})"), "").unwrap();
        assert_eq!(BTreeMap::new(), answer, "{name}");
    }
}

/// Follows the logs of all servers by their formats, and BentoML's data log by the rules of our example.
fn serve(folder: &Path) -> Server {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/bentoml-monitor.yaml");
    let rules = fs::read_to_string(example).unwrap();
    let path = |rest: &str| format!("  - path: {}/{rest}\n", folder.display());
    let of_example = "  - path: monitoring/*/data/data.*.log\n";
    assert!(rules.contains(of_example), "{rules}");
    let logs: String =
        ["bentoml", "tgi", "deepsparse", "kserve"].map(|name| path(&format!("{name}.log"))).concat();
    let ours = format!("{logs}{}", path("monitoring/*/data/data.*.log"));
    let config = folder.join("inferometer.yaml");
    fs::write(&config, rules.replace(of_example, &ours)).unwrap();
    let mut command = run();
    command.arg("--config.file").arg(config);
    Server::launch(command).until_ready()
}

/// What the dashboards ask for and no log tells.
const NOT_IN_THE_LOG: &[&str] = &[
    "tgi_request_input_length_.*",
    "tgi_request_max_new_tokens_.*",
    "tgi_request_skipped_tokens_.*",
    "tgi_batch_.*",
    "tgi_queue_size",
    "bentoml_service_request_in_progress",
    "bentoml_service_adaptive_batch_size_.*",
];

/// Answered requests of one step: endpoint, code, milliseconds.
const BENTOML: &[(&str, u16, &[f64])] = &[
    ("/encode", 200, &[4.2, 8.4, 31.5, 32.0, 77.9, 78.0, 130.25, 410.0, 900.75, 2600.0]),
    ("/encode", 500, &[3.5]),
    ("/classify", 200, &[1.5, 6.25]),
];

/// What BentoML's guide shows, and the same by endpoint and code.
fn bentoml_panels() -> Vec<Panel> {
    let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0];
    let of = |endpoint: &str, code: Option<u16>| -> Vec<f64> {
        let rows =
            BENTOML.iter().filter(|(at, is, _)| *at == endpoint && code.is_none_or(|code| *is == code));
        rows.flat_map(|(.., times)| times.iter().map(|time| time / 1000.0)).collect()
    };
    let bucket = "bentoml_service_request_duration_seconds_bucket";
    let by_code =
        [500, 200].map(|code| (code.to_string(), quantile(0.99, &of("/encode", Some(code)), &bounds)));
    let p95 = |endpoint: &str| quantile(0.95, &of(endpoint, None), &bounds);
    let by_endpoint = ["/classify", "/encode"].map(|at| (at.to_owned(), p95(at)));
    let share = |endpoint: &str, code| 100.0 * of(endpoint, Some(code)).len() as f64 / 13.0;
    let total = "rate(bentoml_service_request_total[1m])";
    vec![
        (
            format!("histogram_quantile(0.99, rate({bucket}{{endpoint=\"/encode\"}}[1m]))"),
            "http_response_code",
            by_code.to_vec(),
        ),
        (
            format!("histogram_quantile(0.95, sum by (le, endpoint) (rate({bucket}[1m])))"),
            "endpoint",
            by_endpoint.to_vec(),
        ),
        (
            format!("100 * sum by (http_response_code) ({total}) / on () group_left () sum({total})"),
            "http_response_code",
            vec![
                ("200".to_owned(), share("/encode", 200) + share("/classify", 200)),
                ("500".to_owned(), share("/encode", 500)),
            ],
        ),
    ]
}

/// Milliseconds of one step's classifications, by their outcome.
const MONITOR: &[(&str, &[f64])] =
    &[("positive", &[1.5, 7.25, 14.5, 33.0, 52.5, 80.0]), ("negative", &[27.185, 400.0])];

/// The histogram of BentoML's guide to custom metrics, whose seconds are here those of the data log.
fn monitor_panels() -> Vec<Panel> {
    let bounds = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0];
    let p95 = MONITOR.iter().map(|(class, times)| {
        let seconds: Vec<f64> = times.iter().map(|time| time / 1000.0).collect();
        ((*class).to_owned(), quantile(0.95, &seconds, &bounds))
    });
    vec![(
        "histogram_quantile(0.95, rate(inference_duration_bucket[1m]))".to_owned(),
        "sentiment_cls",
        p95.collect(),
    )]
}

/// Answered requests of one step, each as the milliseconds in the queue, the milliseconds of the model for a token, and
/// the tokens.
const TGI: &[(f64, f64, u32)] = &[
    (0.4, 12.5, 20),
    (0.9, 14.0, 512),
    (3.25, 18.0, 48),
    (27.5, 25.25, 100),
    (27.75, 25.5, 7),
    (210.0, 31.0, 256),
    (980.0, 60.0, 1),
];

/// Failed requests of one step: what the router says, its word for it, and how many.
const TGI_FAILED: &[(&str, &str, u32)] = &[
    ("Model is overloaded", "overloaded", 2),
    ("Input validation error: `inputs` must have less than 1024 tokens. Given: 1500", "validation", 1),
];

/// Time of validation in all requests, in milliseconds.
const TGI_VALIDATION: f64 = 0.5;

/// The panels of the router's dashboard (`assets/tgi_grafana.json`, and OPEA's copy of it, which has `job="$job"`)
/// whose metrics are in the log.
fn tgi_panels() -> Vec<Panel> {
    let job = "{job=\"demo\"}";
    let seconds: Vec<f64> =
        std::iter::successors(Some(0.0001 * 1.5), |bound| Some(bound * 1.5)).take(35).collect();
    let tokens: Vec<f64> = (1..=100).map(|k| 4096.0 / 100.0 * f64::from(k)).collect();
    let inference = |(_, each, tokens): &(f64, f64, u32)| each * f64::from(*tokens);
    let column = |of: &dyn Fn(&(f64, f64, u32)) -> f64| -> Vec<f64> { TGI.iter().map(of).collect() };
    let queue = column(&|row| row.0 / 1000.0);
    let per_token = column(&|row| row.1 / 1000.0);
    let generated = column(&|row| f64::from(row.2));
    let duration = column(&|row| (row.0 + inference(row) + TGI_VALIDATION) / 1000.0);
    let mut panels: Vec<Panel> = Vec::new();
    let mut add = |query: String, label, expected| panels.push((query, label, expected));
    let one = |value: f64| vec![(String::new(), value)];
    // "Time to first token", the part that waits; prefill is not in the log.
    add(
        format!(
            "(histogram_quantile(0.5, sum by (le) (rate(tgi_request_queue_duration_bucket{job}[10m]))) * 1000) > 0"
        ),
        "",
        one(quantile(0.5, &queue, &seconds) * 1000.0),
    );
    // "Throughput (generated tok/s)", which are tokens of a request.
    let name = "tgi_request_generated_tokens";
    add(
        format!("sum((rate({name}_sum{job}[10m]) / rate({name}_count{job}[10m]))>0)"),
        "",
        one(generated.iter().sum::<f64>() / 7.0),
    );
    for (name, values, bounds) in [
        ("generated_tokens", &generated, &tokens),
        ("mean_time_per_token_duration", &per_token, &seconds),
        ("duration", &duration, &seconds),
        ("queue_duration", &queue, &seconds),
    ] {
        for q in [0.5, 0.9, 0.99] {
            add(
                format!("histogram_quantile({q}, sum by (le) (rate(tgi_request_{name}_bucket{job}[10m])))"),
                "",
                one(quantile(q, values, bounds)),
            );
        }
    }
    // "Requests". Prometheus extrapolates an increase, and all of them alike: each is held against the other panel.
    let success = format!("sum(increase(tgi_request_success{job}[1m]))");
    let failures = TGI_FAILED.iter().map(|(_, word, count)| ((*word).to_owned(), f64::from(*count) / 7.0));
    add(
        format!("sum(increase(tgi_request_failure{job}[1m])) by (err) / on () group_left () {success}"),
        "err",
        failures.collect(),
    );
    // "Mean Time Per Token", a heat map: how many of a step's seven are not above each bound.
    let shares = seconds.iter().map(|bound| (le(*bound), below(&per_token, *bound)));
    add(
        format!(
            "7 * sum(increase(tgi_request_mean_time_per_token_duration_bucket{job}[5m])) by (le) \
             / on () group_left () sum(increase(tgi_request_mean_time_per_token_duration_count{job}[5m]))"
        ),
        "le",
        shares.chain([("+Inf".to_owned(), 7.0)]).collect(),
    );
    // "Number of replicas".
    add(format!("count(tgi_request_count{job})"), "", one(1.0));
    panels
}

/// Seconds of one step's inferences.
const DEEPSPARSE: &[f64] = &[0.178_171_167, 0.012_5, 0.25, 0.033_25];

fn deepsparse_panels() -> Vec<Panel> {
    let name = "deepsparse_toy_classifier__prediction_latency__total_inference_seconds";
    let mean = DEEPSPARSE.iter().sum::<f64>() / 4.0;
    let bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let pipeline = |value| vec![("toy_classifier".to_owned(), value)];
    vec![
        (format!("rate({name}_sum[5m])/rate({name}_count[5m])"), "pipeline_name", pipeline(mean)),
        (
            format!("histogram_quantile(0.9, rate({name}_bucket[5m]))"),
            "pipeline_name",
            pipeline(quantile(0.9, DEEPSPARSE, &bounds)),
        ),
    ]
}

/// Milliseconds of one step's predictions.
const KSERVE: &[f64] = &[24.685_382_843, 3.5, 110.0];

fn kserve_panels() -> Vec<Panel> {
    let name = "request_predict_seconds";
    let mean = KSERVE.iter().sum::<f64>() / 3000.0;
    vec![(format!("rate({name}_sum[5m]) / rate({name}_count[5m])"), "", vec![(String::new(), mean)])]
}

/// The lines of one step, each file's at once: a scrape sees all of a step or nothing.
fn append_step(folder: &Path, step: u32) {
    let (minute, second) = (step / 60 % 60, step % 60);
    let mut lines = String::new();
    for (endpoint, code, times) in BENTOML {
        for (at, milliseconds) in times.iter().enumerate() {
            lines += &format!(
                "2026-11-20T17:{minute:02}:{second:02}+0000 [INFO] [entry_service:sentiment:{}] 127.0.0.1:57412 \
                 (scheme=http,method=POST,path={endpoint},type=application/json,length=51) \
                 (status={code},type=application/json,length=9) {milliseconds:.3}ms \
                 (trace=a2bbb426328c0e97a7ad2410c1{step:06x},span=e92fafb961481f97,sampled=0,service.name=sentiment)\n",
                at % 2 + 1
            );
        }
    }
    append(&folder.join("bentoml.log"), &lines);
    lines.clear();
    for (class, times) in MONITOR {
        for milliseconds in *times {
            lines += &format!(
                "{{\"text_length\": 168, \"pred\": \"{class}\", \"infer_ms\": {milliseconds}, \"timestamp\": \
                 \"2026-11-20T17:{minute:02}:{second:02}.537099\", \"request_id\": \"{step}\", \"trace_id\": \"26\"}}\n"
            );
        }
    }
    append(&folder.join("monitoring/sentiment/data/data.1.log"), &lines);
    lines.clear();
    for (queue, per_token, tokens) in TGI {
        let inference = per_token * f64::from(*tokens);
        lines += &format!(
            "2026-11-20T17:{minute:02}:{second:02}.570722Z  INFO generate{{parameters=GenerateParameters {{ \
             best_of: None, stop: [\"}}: {{\\\"a\\\"\"], seed: None }} total_time=\"{:.6}ms\" \
             validation_time=\"{TGI_VALIDATION:.6}ms\" queue_time=\"{queue:.6}ms\" \
             inference_time=\"{inference:.6}ms\" time_per_token=\"{per_token:.6}ms\" seed=\"Some({step})\"}}: \
             text_generation_router::server: router/src/server.rs:432: Success\n",
            queue + inference + TGI_VALIDATION
        );
    }
    for (said, _, count) in TGI_FAILED {
        for _ in 0..*count {
            lines += &format!(
                "2026-11-20T17:{minute:02}:{second:02}.588847Z ERROR generate{{parameters=GenerateParameters {{ \
                 best_of: None, seed: Some({step}) }}}}:generate:generate_stream: text_generation_router::infer: \
                 router/src/infer/mod.rs:118: {said}\n"
            );
        }
    }
    append(&folder.join("tgi.log"), &lines);
    lines.clear();
    for seconds in DEEPSPARSE {
        lines += &format!(
            "20/11/2026 17:{minute:02}:{second:02}:475835 Identifier: \
             toy_classifier/prediction_latency/total_inference_seconds | Category: system | Logged Data: {seconds} | \
             Additional Info: {{'pipeline_name': 'toy_classifier'}}\n"
        );
    }
    append(&folder.join("deepsparse.log"), &lines);
    lines.clear();
    for milliseconds in KSERVE {
        lines += &format!(
            "2026-11-20 18:{minute:02}:{second:02}.247 3600 kserve.trace requestId: req-{step}, preprocess_ms: \
             1.244068146, explain_ms: 0, predict_ms: {milliseconds}, postprocess_ms: 0.010967255\n"
        );
    }
    append(&folder.join("kserve.log"), &lines);
}

/// `histogram_quantile`, by its definition: linear inside the bucket that holds the rank.
fn quantile(q: f64, values: &[f64], bounds: &[f64]) -> f64 {
    let rank = q * values.len() as f64;
    let mut lower = 0.0;
    for bound in bounds {
        let (before, upto) = (below(values, lower), below(values, *bound));
        if upto >= rank {
            return lower + (bound - lower) * (rank - before) / (upto - before);
        }
        lower = *bound;
    }
    lower
}

fn below(values: &[f64], bound: f64) -> f64 {
    values.iter().filter(|value| **value <= bound).count() as f64
}

/// A bound as Prometheus keeps it: whole numbers end with `.0`.
fn le(bound: f64) -> String {
    format!("{bound:?}")
}

/// The expected series and no others. Rates are quotients of doubles: their last digits are not the lines'.
pub(crate) fn is_near(answer: &BTreeMap<String, f64>, expected: &[(String, f64)]) -> bool {
    answer.len() == expected.len()
        && expected.iter().all(|(series, value)| {
            answer.get(series).is_some_and(|it| (it - value).abs() <= 1e-9 * value.abs().max(1e-3))
        })
}

#[test]
fn quantiles_are_those_of_the_definition() {
    let bounds = [1.0, 2.0, 4.0];
    let values = [0.5, 1.5, 1.5, 3.0];
    for (q, expected) in [(0.25, 1.0), (0.5, 1.5), (0.75, 2.0), (0.9, 3.2), (1.0, 4.0)] {
        assert!(
            (quantile(q, &values, &bounds) - expected).abs() < 1e-12,
            "{q}: {}",
            quantile(q, &values, &bounds)
        );
    }
    assert!((quantile(0.5, &[9.0], &bounds) - 4.0).abs() < 1e-12, "above the last bound it is that bound");
}
