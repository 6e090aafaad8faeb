//! The queries that TorchServe itself and the monitoring that it recommends have published, on a real Prometheus: each
//! returns the number that the appended lines imply.
//!
//! TorchServe ships no dashboard: its documentation says to draw one, and its README names Datadog's. So these are the
//! queries of its Kubernetes autoscaling, and the panels of Datadog's "TorchServe Overview" with its names
//! put back into TorchServe's own.

use crate::server_queries::is_near;
use crate::support::lines::{append, frontend, model};
use crate::support::process::Server;
use crate::support_prometheus::{Prometheus, within};
use std::path::Path;
use std::time::Duration;

/// Three scrapes a second apart would do; a busy machine starts Prometheus in ten seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// Increments of one step: a counter of the frontend and what is added. Shares of them are those of any range.
const REQUESTS: &[(&str, u32)] = &[("2XX", 17), ("4XX", 2), ("5XX", 1)];

/// Microseconds that a step's requests to each model wait, and how many they are.
const MODELS: &[(&str, f64, u32)] = &[("resnet18", 1500.0, 12), ("bert", 250.0, 8)];

/// What TorchServe measures of its machine, in its units.
const SYSTEM: &[(&str, &str, f64)] = &[
    ("CPUUtilization", "Percent", 12.5),
    ("MemoryUtilization", "Percent", 7.1),
    ("MemoryUsed", "Megabytes", 1709.25),
    ("MemoryAvailable", "Megabytes", 22396.5),
    ("DiskUsage", "Gigabytes", 20.125),
    ("DiskAvailable", "Gigabytes", 70.75),
    ("DiskUtilization", "Percent", 22.1),
    ("QueueTime", "Milliseconds", 3.0),
    ("WorkerThreadTime", "Milliseconds", 2.0),
];

/// The same of each GPU.
const GPU: &[(&str, &str, f64)] = &[
    ("GPUUtilization", "Percent", 90.5),
    ("GPUMemoryUtilization", "Percent", 40.5),
    ("GPUMemoryUsed", "Megabytes", 32768.0),
];

/// A query, the label that tells its series apart, and what they are.
type Panel = (String, &'static str, Vec<(String, f64)>);

#[test]
fn published_queries_have_the_numbers_of_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    append_step(folder.path(), 1);
    let server = Server::ready(folder.path(), &[]);
    let prometheus = Prometheus::scraping(server.address);
    let mut step = 1;
    within(LIMIT, "each panel shows what the lines imply", || {
        step += 1;
        append_step(folder.path(), step);
        for (query, label, expected) in autoscaling().into_iter().chain(overview()) {
            let answer = prometheus.query(&query, label)?;
            // Of a counter itself only the order is known: lines are read between a scrape and its query.
            let is_good = match expected.as_slice() {
                [(series, least)] if series == "at least" => {
                    answer.values().all(|value| value >= least) && !answer.is_empty()
                }
                expected => is_near(&answer, expected),
            };
            if !is_good {
                return Err(format!("{query}: {answer:?}, but should be {expected:?}\n{}", server.log()));
            }
        }
        Ok(())
    });
}

/// `kubernetes/adapter.yaml` of TorchServe's repository: the series that its adapter looks for, and the metric on which
/// its HorizontalPodAutoscaler scales.
fn autoscaling() -> Vec<Panel> {
    let least = vec![("at least".to_owned(), 250.0)];
    vec![
        (r#"{__name__=~"^ts_queue_latency_microseconds"}"#.to_owned(), "model_name", least.clone()),
        ("ts_queue_latency_microseconds".to_owned(), "model_name", least),
    ]
}

/// The panels of Datadog's dashboard and its monitor of errors (`torchserve/assets` of its `integrations-core`) that ask
/// TorchServe's metrics endpoint; the others ask its management API. `sum:x{…} by {y}` of a gauge is a sum by `y`, of a
/// counter the increase in what the panel shows.
fn overview() -> Vec<Panel> {
    let one = |value: f64| vec![(String::new(), value)];
    let all: u32 = REQUESTS.iter().map(|(_, count)| count).sum();
    let total = "sum(increase(Requests2XX[1m]) + increase(Requests4XX[1m]) + increase(Requests5XX[1m]))";
    let mut panels: Vec<Panel> = Vec::new();
    // "Response codes". Prometheus extrapolates an increase, and all of them alike: each is held against the others.
    for (class, count) in REQUESTS {
        let share = f64::from(*count) / f64::from(all);
        panels.push((format!("sum(increase(Requests{class}[1m])) / {total}"), "", one(share)));
    }
    // "Requests error ratio is high".
    let failed = "sum(increase(Requests4XX[1m]) + increase(Requests5XX[1m]))";
    panels.push((format!("{failed} / {total}"), "", one(3.0 / f64::from(all))));
    // "Number of Inference Request per Model".
    let inferences = "increase(ts_inference_requests_total[1m])";
    let shares = MODELS.iter().map(|(model, _, count)| ((*model).to_owned(), f64::from(*count) / 20.0));
    panels.push((
        format!("sum by (model_name) ({inferences}) / on () group_left () sum({inferences})"),
        "model_name",
        shares.collect(),
    ));
    // The mean wait and the mean time to the answer, which the names of the map allow.
    for name in ["queue", "inference"] {
        let means = MODELS
            .iter()
            .map(|(model, wait, _)| ((*model).to_owned(), if name == "queue" { *wait } else { 4.0 * wait }));
        let means: Vec<(String, f64)> = means.collect();
        let of = |metric: &str| format!("sum by (model_name) (rate({metric}[1m]))");
        let query = format!(
            "{} / {}",
            of(&format!("ts_{name}_latency_microseconds")),
            of("ts_inference_requests_total")
        );
        panels.push((query, "model_name", means));
    }
    // "Prediction time", "CPU usage", "Memory …", "Disk …", "Worker …" and the GPU's: the last value.
    let by_model = |metric: &str, value: f64| {
        let each = MODELS.iter().map(|(model, ..)| ((*model).to_owned(), value));
        (format!("sum by (ModelName) ({metric})"), "ModelName", each.collect())
    };
    panels.push(by_model("HandlerTime", 8.5));
    panels.push(by_model("PredictionTime", 9.25));
    panels.extend(SYSTEM.iter().map(|(name, _, value)| (format!("sum({name})"), "", one(*value))));
    panels.extend(GPU.iter().map(|(name, _, value)| (format!("sum({name})"), "", one(2.0 * value))));
    panels.push(("sum(WorkerLoadTime)".to_owned(), "", one(3101.0)));
    panels
}

/// The lines of one step, all at once: a scrape sees all of a step or nothing.
fn append_step(folder: &Path, step: u32) {
    let mut lines = String::new();
    for (class, count) in REQUESTS {
        for _ in 0..*count {
            lines += &frontend(&format!("Requests{class}.Count:1.0"), "Level:Host");
        }
    }
    for (name, wait, count) in MODELS {
        let labels = format!("model_name:{name},model_version:default");
        for _ in 0..*count {
            lines += &frontend("ts_inference_requests_total.Count:1.0", &labels);
            lines += &frontend(&format!("ts_queue_latency_microseconds.Microseconds:{wait:?}"), &labels);
            lines += &frontend(
                &format!("ts_inference_latency_microseconds.Microseconds:{:?}", 4.0 * wait),
                &labels,
            );
        }
    }
    for (name, unit, value) in SYSTEM {
        lines += &frontend(&format!("{name}.{unit}:{value:?}"), "Level:Host");
    }
    for (name, unit, value) in GPU {
        for device in 0..2 {
            lines += &frontend(&format!("{name}.{unit}:{value:?}"), &format!("Level:Host,DeviceId:{device}"));
        }
    }
    if step == 1 {
        lines += &frontend("WorkerLoadTime.Milliseconds:3101.0", "WorkerName:W-9000-resnet18_1.0,Level:Host");
    }
    append(&folder.join("ts_metrics.log"), &lines);
    lines.clear();
    for (name, ..) in MODELS {
        lines += &model("HandlerTime.ms:8.5", &format!("ModelName:{name},Level:Model"));
        lines += &model("PredictionTime.ms:9.25", &format!("ModelName:{name},Level:Model"));
    }
    append(&folder.join("model_metrics.log"), &lines);
}
