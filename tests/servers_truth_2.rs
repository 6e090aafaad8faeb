//! What we make of the logs of vLLM, Ray Serve, SGLang, llama.cpp, Ollama, LMDeploy and MLServer, against what these
//! servers said themselves of the same run, or what was known when the log was made.
//!
//! A gauge shows only its last value, so those are compared line by line, as the parsers hand them out.

use crate::support::exposition::{Exposition, Leave};
use crate::support::process::{replay, stderr};
use parsers::{Catalog, Event, format_named};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(fixture(path)).unwrap()
}

/// What `replay` makes of logs.
fn ours(logs: &[&str]) -> Exposition {
    let output = replay(logs.iter().map(|log| fixture(log)));
    assert_eq!(Some(0), output.status.code(), "{logs:?}: {}", stderr(&output));
    Exposition::strict(&String::from_utf8_lossy(&output.stdout))
        .unwrap_or_else(|error| panic!("{logs:?}: {error}"))
}

/// What a server exposed: any order, integers without a dot.
fn theirs(path: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let body = text(path);
    let samples = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let mut rest = labels.strip_suffix('}').unwrap();
            let mut all = BTreeMap::new();
            while let Some((name, after)) = rest.split_once("=\"") {
                let (value, next) = after.split_once('"').unwrap();
                all.insert(name.to_owned(), value.to_owned());
                rest = next.trim_start_matches(',');
            }
            (name.to_owned(), all, value.parse().unwrap())
        })
        .collect()
}

/// Values of one name by these labels, summed over all others.
type By = BTreeMap<Vec<String>, f64>;

fn by(
    samples: impl IntoIterator<Item = (String, BTreeMap<String, String>, f64)>,
    name: &str,
    labels: &[&str],
) -> By {
    let mut sums = By::new();
    for (_, found, value) in samples.into_iter().filter(|(found, ..)| found == name) {
        let key = labels.iter().map(|label| found.get(*label).cloned().unwrap_or_default()).collect();
        *sums.entry(key).or_default() += value;
    }
    sums
}

fn samples(body: &Exposition) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let samples = body.samples.iter();
    samples.map(|((name, labels), bits)| (name.clone(), labels.clone(), f64::from_bits(*bits))).collect()
}

/// Counters and gauges that each line tells, by name and by the value of a label where it has one.
fn told(format: &str, log: &str) -> Vec<BTreeMap<String, f64>> {
    let format = format_named(format).unwrap();
    let lines = text(log);
    let all = lines.lines().map(|line| {
        let mut values = BTreeMap::new();
        let outcome = (format.parse)(line.as_bytes(), &Catalog::default(), &mut |event| {
            let Event::Measured(measured) = event else { panic!("{event:?}") };
            let own: Vec<_> = measured.labels.iter().filter(|(name, _)| !name.ends_with("rank")).collect();
            let suffix: String = own.iter().map(|(_, value)| format!(" {value}")).collect();
            values.insert(format!("{}{suffix}", measured.metric.name), measured.value);
        });
        assert!(outcome.is_ok(), "{line}: {outcome:?}");
        values
    });
    all.filter(|values| !values.is_empty()).collect()
}

fn ndjson(path: &str) -> Vec<Value> {
    text(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Holds what lines told against what is known of them: a value that is `null` there is absent here.
#[track_caller]
fn check(lines: &[BTreeMap<String, f64>], known: &[Value], names: &[(&str, &str)]) {
    assert_eq!(known.len(), lines.len());
    for (line, known) in lines.iter().zip(known) {
        for (name, key) in names {
            let expected = known.get(*key).unwrap_or_else(|| panic!("no {key} in {known}")).as_f64();
            let observed = line.get(*name).copied();
            assert_eq!(expected.is_some(), observed.is_some(), "{name}: {line:?}, {known}");
            // The JSON reader's numbers may be the double beside the nearest one.
            expected.zip(observed).into_iter().for_each(|(known, told)| assert_close(known, told, name));
        }
    }
}

#[test]
fn vllms_periodic_lines_tell_what_was_put_in() {
    let names = [
        ("vllm:prompt_tokens_per_second 0", "prompt_tps"),
        ("vllm:generation_tokens_per_second 0", "gen_tps"),
        ("vllm:num_requests_running 0", "running"),
        ("vllm:num_requests_waiting 0", "waiting"),
        ("vllm:num_requests_waiting_by_reason 0 deferred", "deferred"),
        ("vllm:kv_cache_usage_perc 0", "kv_cache_usage_ratio"),
        ("vllm:prefix_cache_hit_ratio 0", "prefix_hit_ratio"),
    ];
    for case in ["stats-text", "stats-color", "stats-json", "stats-spec"] {
        let mut lines = told("vllm", &format!("vllm/{case}.log"));
        lines.retain(|line| line.contains_key("vllm:num_requests_running 0"));
        check(&lines, &ndjson(&format!("vllm/{case}.expected.ndjson")), &names);
    }
    let mut lines = told("vllm", "vllm/stats-v0-2024.log");
    lines.retain(|line| line.contains_key("vllm:num_requests_running"));
    let names = [
        ("vllm:prompt_tokens_per_second", "prompt_tps"),
        ("vllm:generation_tokens_per_second", "gen_tps"),
        ("vllm:num_requests_running", "running"),
        ("vllm:num_requests_swapped", "swapped"),
        ("vllm:num_requests_waiting", "waiting"),
        ("vllm:gpu_cache_usage_perc", "gpu_kv_ratio"),
        ("vllm:cpu_cache_usage_perc", "cpu_kv_ratio"),
    ];
    check(&lines, &ndjson("vllm/stats-v0-2024.expected.ndjson"), &names);
}

/// The prompts of this log hold text that looks like a measurement.
#[test]
fn a_prompt_of_vllms_is_never_a_measurement() {
    let log = text("vllm/stats-v0-2024.log");
    assert_eq!(34, log.matches("throughput: 12.0 tokens/s").count());
    let body = ours(&["vllm/stats-v0-2024.log"]);
    let requests = by(samples(&body), "http_requests_total", &[]);
    assert_eq!(vec![34.0], requests.into_values().collect::<Vec<_>>());
    assert_eq!(19, told("vllm", "vllm/stats-v0-2024.log").len() - 34);
}

#[test]
fn sglangs_lines_tell_what_was_put_in() {
    for case in ["scheduler-default", "scheduler-2024", "scheduler-tp-spec", "requests-json"] {
        let mut lines = told("sglang", &format!("sglang/{case}.log"));
        lines.retain(|line| !line.keys().any(|name| name.starts_with("sglang:http_responses_total")));
        let known = ndjson(&format!("sglang/{case}.expected.ndjson"));
        assert_eq!(known.len(), lines.len(), "{case}");
        for (line, known) in lines.iter().zip(&known) {
            let names: &[(&str, &str)] = match known["kind"].as_str().unwrap() {
                "prefill" => &[
                    ("sglang:realtime_tokens_total prefill_compute", "new_tokens"),
                    ("sglang:realtime_tokens_total prefill_cache", "cached_tokens"),
                    ("sglang:token_usage", "usage"),
                    ("sglang:num_running_reqs", "running"),
                    ("sglang:num_queue_reqs", "queue"),
                    ("sglang:prompt_tokens_per_second", "input_tps"),
                ],
                "decode" => &[
                    ("sglang:num_running_reqs", "running"),
                    ("sglang:token_usage", "usage"),
                    ("sglang:gen_throughput", "gen_tps"),
                    ("sglang:num_queue_reqs", "queue"),
                ],
                "finished" => &[
                    ("sglang:prompt_tokens_total", "prompt_tokens"),
                    ("sglang:generation_tokens_total", "completion_tokens"),
                    ("sglang:e2e_request_latency_seconds", "e2e_s"),
                    ("sglang:time_to_first_token_seconds", "ttft_s"),
                ],
                _ => &[
                    ("sglang:request_time_input_tokens", "input_len"),
                    ("sglang:request_time_output_tokens", "output_len"),
                ],
            };
            check(std::slice::from_ref(line), std::slice::from_ref(known), names);
            for (name, key) in [("queue", "queue_ms"), ("forward", "forward_ms")] {
                let observed = line.get(&format!("sglang:request_time_{name}_seconds"));
                match known.get(key).and_then(Value::as_f64) {
                    Some(known) => assert_close(known / 1000.0, *observed.unwrap(), name),
                    None => assert_eq!(None, observed),
                }
            }
        }
    }
}

#[test]
fn sglangs_totals_are_the_sums_of_what_was_put_in() {
    let body = ours(&["sglang/requests-json.log"]);
    let known = ndjson("sglang/requests-json.expected.ndjson");
    let finished: Vec<_> = known.iter().filter(|known| known["kind"] == "finished").collect();
    let sum = |key: &str| finished.iter().map(|known| known[key].as_f64().unwrap()).sum::<f64>();
    for (name, expected) in [
        ("sglang:num_requests_total", f64::from(u32::try_from(finished.len()).unwrap())),
        ("sglang:prompt_tokens_total", sum("prompt_tokens")),
        ("sglang:generation_tokens_total", sum("completion_tokens")),
        ("sglang:e2e_request_latency_seconds_sum", sum("e2e_s")),
        ("sglang:time_to_first_token_seconds_sum", sum("ttft_s")),
    ] {
        assert_close(expected, body.value(name, &[]).unwrap(), name);
    }
}

#[test]
fn lmdeploys_lines_tell_what_was_put_in() {
    let lines = told("lmdeploy", "lmdeploy/stats.log");
    for (line, known) in lines.iter().zip(ndjson("lmdeploy/stats.expected.ndjson")) {
        let engine = known["dp"].as_u64().unwrap();
        for (name, key) in [
            ("prompt_tokens_per_second", "in_tps"),
            ("generation_tokens_per_second", "out_tps"),
            ("num_requests_succeeded", "succeeded"),
            ("num_requests_failed", "failed"),
            ("num_api_requests_routed", "routed"),
            ("num_api_requests_waiting", "api_waiting"),
            ("num_requests_running", "running"),
            ("num_requests_waiting", "waiting"),
            ("gpu_cache_usage_perc", "kv_ratio"),
            ("prefix_cache_hit_ratio", "prefix_hit_ratio"),
        ] {
            assert_eq!(
                known[key].as_f64(),
                line.get(&format!("lmdeploy:{name} {engine}")).copied(),
                "{known}"
            );
        }
    }
    assert_eq!(ndjson("lmdeploy/stats.expected.ndjson").len(), lines.len());
}

#[test]
fn ollamas_requests_and_loads_are_those_that_were_put_in() {
    let body = ours(&["ollama/serve.log"]);
    let known = ndjson("ollama/serve.expected.ndjson");
    let (mut counts, mut seconds) = (By::new(), By::new());
    for request in known.iter().filter(|known| known["kind"] == "http") {
        let path = request["path"].as_str().unwrap().split('?').next().unwrap();
        let key =
            vec![request["method"].as_str().unwrap().into(), path.into(), request["status"].to_string()];
        *counts.entry(key.clone()).or_default() += 1.0;
        *seconds.entry(key).or_default() += request["seconds"].as_f64().unwrap();
    }
    let labels = ["method", "route", "code"];
    assert_eq!(counts, by(samples(&body), "ollama_requests_total", &labels));
    assert_eq!(counts, by(samples(&body), "ollama_request_duration_seconds_count", &labels));
    assert_same(&seconds, &by(samples(&body), "ollama_request_duration_seconds_sum", &labels));

    let loads: Vec<_> = known
        .iter()
        .filter(|known| known["kind"] == "model_load")
        .filter_map(|known| known["seconds"].as_f64())
        .collect();
    assert_eq!(Some(5.0), body.value("ollama_model_load_seconds_count", &[]));
    assert_close(loads.iter().sum(), body.value("ollama_model_load_seconds_sum", &[]).unwrap(), "loads");
}

/// Tokens and generation are exact; the log has milliseconds to a hundredth, so each request may be half of one off.
#[test]
fn llamacpps_totals_are_those_of_its_endpoint() {
    for case in ["server-default", "server-jsonl"] {
        let body = ours(&[&format!("llamacpp/{case}.log")]);
        let scrape = theirs(&format!("llamacpp/{case}.server.prom"));
        let value = |name: &str| by(scrape.clone(), name, &[]).into_values().next().unwrap();
        for name in ["llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"] {
            assert_eq!(Some(value(name)), body.value(name, &[]), "{case}: {name}");
        }
        let requests = body.value("llamacpp:requests_total", &[]).unwrap();
        let rounding = requests * 0.000_005;
        let name = "llamacpp:tokens_predicted_seconds_total";
        let (expected, observed) = (value(name), body.value(name, &[]).unwrap());
        assert!((expected - observed).abs() <= rounding, "{case}: {expected}, {observed}");

        // The endpoint has less time for prompts than the server told its clients; the log has what those were told.
        let responses: Vec<Value> =
            serde_json::from_str(&text(&format!("llamacpp/{case}.responses.json"))).unwrap();
        let timings: Vec<_> =
            responses.iter().map(|response| &response["timings"]).filter(|it| !it.is_null()).collect();
        assert_eq!(f64::from(u32::try_from(timings.len()).unwrap()), requests, "{case}");
        let clients: f64 = timings.iter().map(|timing| timing["prompt_ms"].as_f64().unwrap() / 1000.0).sum();
        let name = "llamacpp:prompt_seconds_total";
        let observed = body.value(name, &[]).unwrap();
        assert!((clients - observed).abs() <= rounding, "{case}: {clients}, {observed}");
        assert!((0.9..0.98).contains(&(value(name) / observed)), "{case}: {}, {observed}", value(name));
    }
    let errors = ours(&["llamacpp/server-default.log"]).value("llamacpp:request_errors_total", &[]);
    assert_eq!(Some(3.0), errors);
}

#[test]
fn llamacpps_older_shape_gives_what_was_put_in() {
    let body = ours(&["llamacpp/server-2024-multiline.log"]);
    let known: Vec<Value> =
        serde_json::from_str(&text("llamacpp/server-2024-multiline.expected.json")).unwrap();
    let sum = |key: &str| known.iter().map(|known| known[key].as_f64().unwrap()).sum::<f64>();
    for (name, expected) in [
        ("llamacpp:prompt_tokens_total", sum("prompt_tokens")),
        ("llamacpp:prompt_seconds_total", sum("prompt_ms") / 1000.0),
        ("llamacpp:tokens_predicted_total", sum("gen_tokens")),
        ("llamacpp:tokens_predicted_seconds_total", sum("gen_ms") / 1000.0),
        ("llamacpp:requests_total", f64::from(u32::try_from(known.len()).unwrap())),
    ] {
        assert_close(expected, body.value(name, &[]).unwrap(), name);
    }
}

const REQUEST: [&str; 3] = ["method", "route", "status_code"];
const REPLICA: [&str; 3] = ["deployment", "replica", "route"];

/// Ray's proxy counts health checks as well, and never logs them. Of everything else each count is equal.
#[test]
fn rays_requests_are_those_of_its_endpoint() {
    for (case, checks, logged) in [("text", 3.0, 67.0), ("json", 2.0, 58.0)] {
        let body = samples(&ours(&[&format!("ray-serve/{case}-proxy.log")]));
        let scrape = theirs(&format!("ray-serve/{case}.server.prom"));
        for name in ["ray_serve_num_http_requests_total", "ray_serve_http_request_latency_ms_count"] {
            let mut expected = by(scrape.clone(), name, &REQUEST);
            let health = ["GET", "/-/healthz", "200"].map(str::to_owned).to_vec();
            assert_eq!(Some(checks), expected.remove(&health), "{case}: {name}");
            assert_eq!(expected, by(body.clone(), name, &REQUEST), "{case}: {name}");
            assert_close(logged, expected.values().sum(), name);
        }
        let name = "ray_serve_num_http_error_requests_total";
        let labels = ["method", "route", "error_code"];
        assert_eq!(by(scrape, name, &labels), by(body, name, &labels), "{case}");
    }
}

/// A replica that is called by another one does not log the route as text; in JSON it does.
#[test]
fn rays_queries_are_those_of_its_endpoint() {
    for case in ["text", "json"] {
        let logs = ["gateway", "translator"].map(|part| format!("ray-serve/{case}-replica-{part}.log"));
        let body = samples(&ours(&logs.each_ref().map(String::as_str)));
        // The endpoint lists these families twice, once for each of their owners.
        let scrape: Vec<_> = theirs(&format!("ray-serve/{case}.server.prom"));
        let mut seen = BTreeSet::new();
        let unique = |sample: &(String, BTreeMap<String, String>, f64)| {
            seen.insert((sample.0.clone(), format!("{:?}", sample.1)))
        };
        let scrape: Vec<_> = scrape.into_iter().filter(unique).collect();
        let labels: &[&str] = if case == "text" { &REPLICA[..2] } else { &REPLICA };
        for name in [
            "ray_serve_deployment_request_counter_total",
            "ray_serve_deployment_error_counter_total",
            "ray_serve_deployment_processing_latency_ms_count",
        ] {
            assert_eq!(by(scrape.clone(), name, labels), by(body.clone(), name, labels), "{case}: {name}");
        }
    }
}

/// Ray builds its sums of bucket midpoints: two cancelled requests of 2.01 s become 7 s. Ours are of the lines.
#[test]
fn rays_latency_sums_are_the_true_ones() {
    for case in ["text", "json"] {
        let log = format!("ray-serve/{case}-proxy.log");
        let mut expected = By::new();
        for line in text(&log).lines() {
            let Some((_, message)) = line.split_once(" -- ") else { continue };
            let words: Vec<&str> = message.split(' ').collect();
            if let [method @ ("GET" | "POST"), route, status, time] = words.as_slice() {
                let key = vec![(*method).to_owned(), (*route).to_owned(), (*status).to_owned()];
                *expected.entry(key).or_default() += time.strip_suffix("ms").unwrap().parse::<f64>().unwrap();
            }
        }
        let name = "ray_serve_http_request_latency_ms_sum";
        let observed = by(samples(&ours(&[&log])), name, &REQUEST);
        assert_same(&expected, &observed);
        let slow = ["GET", "/api/slow", "408"].map(str::to_owned).to_vec();
        let rays = by(theirs(&format!("ray-serve/{case}.server.prom")), name, &REQUEST);
        assert!(rays[&slow] > 1.5 * observed[&slow], "{case}: {}, {}", rays[&slow], observed[&slow]);
    }
}

#[test]
fn mlservers_requests_are_those_of_its_endpoint() {
    let body = samples(&ours(&["access/mlserver.log"]));
    let mut observed = by(body, "http_requests_total", &["method", "route", "code"]);
    // The metrics' own port is not instrumented.
    assert_eq!(Some(1.0), observed.remove(["GET", "/metrics", "200"].map(str::to_owned).as_slice()));
    let scrape = theirs("access/mlserver.server.prom");
    assert_eq!(by(scrape, "rest_server_requests_total", &["method", "path", "status_code"]), observed);
}

#[test]
fn a_servers_own_scrape_is_read_as_it_is() {
    for case in ["server-default", "server-jsonl"] {
        let path = format!("llamacpp/{case}.server.prom");
        let strict = Exposition::read(&text(&path), Leave::default()).unwrap();
        assert_eq!(strict.samples.len(), theirs(&path).len());
    }
}

#[track_caller]
fn assert_close(expected: f64, observed: f64, what: &str) {
    assert!((expected - observed).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {expected}, {observed}");
}

#[track_caller]
fn assert_same(expected: &By, observed: &By) {
    assert!(expected.keys().eq(observed.keys()), "{expected:?}, {observed:?}");
    for (key, value) in expected {
        assert_close(*value, observed[key], &format!("{key:?}"));
    }
}
