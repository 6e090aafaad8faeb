//! The demo under a real Prometheus: what a person who tries inferometer sees first.

use crate::support::exposition::Exposition;
use crate::support_prometheus::{Demo, Prometheus, promtool_check_metrics, within};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Two scrapes a second apart would do; a busy machine starts Prometheus in ten seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// The families that TorchServe 0.12.0 declares in its own `ts/configs/metrics.yaml`.
const TORCHSERVE: &[&str] = &[
    "Requests2XX",
    "Requests4XX",
    "Requests5XX",
    "ts_inference_requests_total",
    "ts_inference_latency_microseconds",
    "ts_queue_latency_microseconds",
    "QueueTime",
    "WorkerThreadTime",
    "WorkerLoadTime",
    "CPUUtilization",
    "MemoryUsed",
    "MemoryAvailable",
    "MemoryUtilization",
    "DiskUsage",
    "DiskUtilization",
    "DiskAvailable",
    "GPUMemoryUtilization",
    "GPUMemoryUsed",
    "GPUUtilization",
    "HandlerTime",
    "PredictionTime",
];

#[test]
fn prometheus_computes_latencies_and_rates_of_every_model() {
    let demo = Demo::start();
    let prometheus = Prometheus::scraping(demo.address);
    let p95 =
        "histogram_quantile(0.95, sum by (le, model_name) (rate(ts_inference_latency_seconds_bucket[1m])))";
    let queued = "sum by (model_name) (rate(ts_queue_latency_seconds_sum[1m]))";
    let requests = "sum(rate(ts_inference_requests_total[1m]))";
    within(LIMIT, "Prometheus sees all that a dashboard asks for", || {
        let (models, nothing_else) = (models(&demo), BTreeSet::from([String::new()]));
        each(&prometheus.query("up", "job")?, &BTreeSet::from(["demo".to_owned()]), |up| up == 1.0)?;
        each(&prometheus.query(p95, "model_name")?, &models, |seconds| seconds > 0.0 && seconds < 60.0)?;
        each(&prometheus.query(queued, "model_name")?, &models, |share| share.is_finite() && share >= 0.0)?;
        each(&prometheus.query(requests, "")?, &nothing_else, |rate| rate.is_finite() && rate > 0.0)
    });
}

#[test]
fn promtool_complains_about_torchserves_own_names_only() {
    let demo = Demo::start();
    // The derived families are the ones whose names are ours to choose, so they have to be there.
    let derived = ["ts_inference_latency_seconds", "ts_queue_latency_seconds", "ts_batch_size"];
    let body = within(LIMIT, "the demo shows the derived families", || {
        let body = demo.metrics();
        let absent = derived.into_iter().find(|family| !body.contains(&format!("\n{family}_count")));
        absent.map_or(Ok(body), |family| Err(format!("no {family}")))
    });
    let output = promtool_check_metrics(&body);
    let complaints = String::from_utf8(output.stderr).unwrap();
    // 3 says that there are complaints; 1 would say that the body is no exposition at all.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}\n{complaints}", output.status);
    let mut theirs: BTreeSet<String> = TORCHSERVE.iter().map(|&name| name.to_owned()).collect();
    theirs.extend(names_in_logs(&demo.folder));
    assert_eq!(Vec::<&str>::new(), complaints_about_others(&complaints, &theirs));
}

#[test]
fn demo_ends_cleanly_and_leaves_nothing_behind() {
    for signal in ["TERM", "INT"] {
        let mut demo = Demo::start();
        assert!(demo.folder.is_dir(), "{} is printed but does not exist", demo.folder.display());
        assert_eq!(Some(0), demo.end_by(signal).code(), "SIG{signal}");
        let left: Vec<_> = std::fs::read_dir(&demo.temporary).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(Vec::<std::path::PathBuf>::new(), left, "SIG{signal}");
    }
}

#[test]
fn complaint_about_a_name_of_ours_is_seen() {
    let theirs = BTreeSet::from(["WorkerLoadTime".to_owned()]);
    let stderr = "WorkerLoadTime no help text\nWorkerLoadTimes no help text\ninferometer_x no help text\n";
    let expected = vec!["WorkerLoadTimes no help text", "inferometer_x no help text"];
    assert_eq!(expected, complaints_about_others(stderr, &theirs));
    let unreadable = "error while linting: text format parsing error in line 3";
    assert_eq!(vec![unreadable], complaints_about_others(unreadable, &theirs));
}

#[test]
fn name_in_a_log_line_ends_before_its_unit() {
    let line =
        "2026-11-20T18:00:33,163 - Tokens.Count:12.0|#ModelName:m|#hostname:h,requestID:null,timestamp:1";
    assert_eq!(Some("Tokens"), name_in_line(line));
    assert_eq!(None, name_in_line("2026-11-20T18:00:33,163 - 127.0.0.1:51 \"GET /ping HTTP/1.1\" 200 3"));
}

/// Whether an answer is about these and no others, with a good value for each.
fn each(
    answer: &BTreeMap<String, f64>,
    names: &BTreeSet<String>,
    good: impl Fn(f64) -> bool,
) -> Result<(), String> {
    let is_complete =
        !names.is_empty() && answer.keys().eq(names) && answer.values().all(|value| good(*value));
    if is_complete { Ok(()) } else { Err(format!("expected {names:?}, answer {answer:?}")) }
}

/// The models with at least one answered request.
fn models(demo: &Demo) -> BTreeSet<String> {
    let exposition = Exposition::strict(&demo.metrics()).unwrap();
    let counted = exposition.samples.keys().filter(|(name, _)| name == "ts_inference_latency_seconds_count");
    counted.map(|(_, labels)| labels["model_name"].clone()).collect()
}

/// promtool's complaints, each of which begins with the family's name, about families of other names.
fn complaints_about_others<'a>(stderr: &'a str, theirs: &BTreeSet<String>) -> Vec<&'a str> {
    let is_about_theirs = |line: &str| line.split(' ').next().is_some_and(|name| theirs.contains(name));
    stderr.lines().filter(|line| !line.is_empty() && !is_about_theirs(line)).collect()
}

/// The names that a model's handler chose itself stand in the logs and nowhere else.
fn names_in_logs(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        names.extend(text.lines().filter_map(name_in_line).map(str::to_owned));
    }
    names
}

fn name_in_line(line: &str) -> Option<&str> {
    let (head, _) = line.split_once("|#")?;
    let (_, metric) = head.rsplit_once(" - ")?;
    let (named, _value) = metric.rsplit_once(':')?;
    named.rsplit_once('.').map(|(name, _unit)| name)
}
