//! `--naming uniform`: one schema for every server, TorchServe among them; and `--compat vllm`.

use crate::support::exposition::Exposition;
use crate::support::process::{replay, stderr};
use std::collections::BTreeMap;
use std::path::PathBuf;

const LOGS: [&str; 2] = ["torchserve/log/ts_metrics.log", "torchserve/log/model_metrics.log"];

fn folded(arguments: &[&str], logs: &[&str]) -> Exposition {
    let logs = logs.iter().map(|log| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(log));
    let output = replay(arguments.iter().map(PathBuf::from).chain(logs));
    assert_eq!(Some(0), output.status.code(), "{arguments:?}: {}", stderr(&output));
    Exposition::strict(&String::from_utf8_lossy(&output.stdout)).unwrap_or_else(|error| panic!("{error}"))
}

/// All samples of a family, by labels without these; the name's own part is cut off.
fn samples(body: &Exposition, family: &str, without: &[&str]) -> BTreeMap<(String, String), u64> {
    let of_family = body.samples.iter().filter_map(|((name, labels), bits)| {
        let rest = name.strip_prefix(family)?;
        ["", "_bucket", "_count", "_sum"].contains(&rest).then(|| {
            let kept = labels.iter().filter(|(name, _)| !without.contains(&name.as_str()));
            ((rest.to_owned(), format!("{:?}", kept.collect::<Vec<_>>())), *bits)
        })
    });
    of_family.collect()
}

/// The numbers are those of the default names; TorchServe's own host label has no place in the schema.
#[test]
fn torchserves_requests_and_latencies_are_in_the_shared_schema() {
    let (own, shared) = (folded(&[], &LOGS), folded(&["--naming", "uniform"], &LOGS));
    for (name, uniform) in [
        ("ts_inference_requests_total", "model_requests_total"),
        ("ts_inference_latency_seconds", "model_request_duration_seconds"),
        ("ts_queue_latency_seconds", "model_queue_seconds"),
        ("ts_prediction_time_seconds", "model_inference_seconds"),
    ] {
        let expected = samples(&own, name, &["hostname"]);
        assert!(!expected.is_empty(), "{name} has no samples");
        assert_eq!(expected, samples(&shared, uniform, &[]), "{name}");
        assert!(samples(&shared, name, &[]).is_empty(), "{name} is shown as well");
    }
    let help = shared.families["model_requests_total"].help.as_deref();
    assert_eq!(Some("Requests that were answered."), help);
    assert!(shared.families.contains_key("ts_requests_2xx_total"), "the rest has conventional names");
}

/// A server's counters do not depend on whether histograms are wanted.
#[test]
fn without_histograms_torchserves_requests_are_still_shared() {
    let body = folded(&["--naming", "uniform", "--no-latency-histograms"], &LOGS);
    assert!(!samples(&body, "model_requests_total", &[]).is_empty());
    assert!(body.families.contains_key("ts_inference_latency_seconds_total"));
}

/// One family of the schema takes the lines of all servers, whoever comes first.
#[test]
fn servers_share_their_families() {
    let vllm = "vllm/stats-v0-2024.log";
    let ray = "ray-serve/text-proxy.log";
    for logs in [[LOGS[0], LOGS[1], vllm, ray], [ray, vllm, LOGS[0], LOGS[1]]] {
        let body = folded(&["--naming", "uniform"], &logs);
        let requests = samples(&body, "model_requests_total", &[]);
        let has = |label: &str| requests.keys().any(|(_, labels)| labels.contains(label));
        for label in [
            "(\"model_name\", \"resnet18\")",
            "(\"route\", \"/v1/completions\")",
            "(\"route\", \"/api/translate/{n}\")",
        ] {
            assert!(has(label), "no {label} in {requests:?}");
        }
        let durations = samples(&body, "model_request_duration_seconds", &[]);
        assert!(durations.keys().any(|(_, labels)| labels.contains("/api/ping")), "{durations:?}");
        assert!(
            !body.families.keys().any(|name| name.starts_with("ray_serve_http_request")),
            "own names are shown"
        );
        assert!(body.value("model_kv_cache_usage_ratio", &[]).is_some());
    }
}

#[test]
fn dashboards_of_2024_find_vllms_old_names_where_they_are_wanted() {
    let log = "vllm/stats-text.log";
    let (plain, both) = (folded(&[], &[log]), folded(&["--compat", "vllm"], &[log]));
    let engine = [("engine", "0")];
    for (new, old) in [
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        ("vllm:prefix_cache_hit_ratio", "vllm:gpu_prefix_cache_hit_rate"),
        ("vllm:prompt_tokens_per_second", "vllm:avg_prompt_throughput_toks_per_s"),
        ("vllm:generation_tokens_per_second", "vllm:avg_generation_throughput_toks_per_s"),
    ] {
        assert_eq!(None, plain.value(old, &engine));
        assert!(plain.value(new, &engine).is_some());
        assert_eq!(plain.value(new, &engine), both.value(new, &engine));
        assert_eq!(both.value(new, &engine), both.value(old, &engine), "{old}");
    }
    // What the newer engine does not have stays absent.
    for name in
        ["vllm:num_requests_swapped", "vllm:cpu_cache_usage_perc", "vllm:time_per_output_token_seconds"]
    {
        assert!(!both.families.contains_key(name), "{name}");
    }
}
