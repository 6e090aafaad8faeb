//! The queries of the README and of deploy/machine.md on a real Prometheus: each has an answer, and those that join what a log says with what is
//! measured beside it have the right one. They are taken from there, so none can rot.

use crate::support::lines::{append, frontend, next_time};
use crate::support::nvml::Nvml;
use crate::support_prometheus::{Prometheus, within};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Two scrapes a second apart would do; a busy machine starts Prometheus in ten seconds.
const LIMIT: Duration = Duration::from_secs(90);

const GIB: f64 = 1_073_741_824.0;

/// What a query of the README answers here, by what is said of it there: the label that tells the series apart,
/// and the range of each.
type Expected = (&'static str, &'static str, &'static [(&'static str, f64, f64)]);

/// Others need only have an answer.
const EXPECTED: &[Expected] = &[
    ("GPU memory per model", "model_name", &[("bert", 2.0 * GIB, 2.0 * GIB), ("resnet18", GIB, GIB)]),
    ("p95 per model", "model_name", &[("bert", 1.0, 2.5), ("resnet18", 1.0, 2.5)]),
    (
        "how busy the GPUs are that each model's workers run on, to stand beside its p95",
        "model_name",
        &[("bert", 0.2, 0.2), ("resnet18", 0.9, 0.9)],
    ),
    ("p95 of the models that are slow although their GPUs have room", "model_name", &[("bert", 1.0, 2.5)]),
    ("seconds since a GPU broke", "xid", &[("79", -5.0, 300.0)]),
    ("CPUs that each model uses", "model_name", &[("bert", 1e-3, 100.0), ("resnet18", 1e-3, 100.0)]),
    (
        "share of the CPU periods in which the server's container used up its quota",
        "of",
        &[("server", 0.499, 0.501)],
    ),
    (
        "seconds that a request waits for a worker while the quota holds the container back",
        "model_name",
        &[("bert", 0.499, 0.501), ("resnet18", 0.499, 0.501)],
    ),
];

#[test]
fn every_query_of_the_readme_has_its_answer() {
    let mut scene = Scene::new();
    let server = scene.nvml.serve(&scene.paths().each_ref().map(String::as_str));
    // An error that happens later than the start is counted.
    scene.nvml.pass();
    scene.nvml.set(&format!("{GPUS}0.xids=79\n"));
    let prometheus = Prometheus::scraping(server.address);
    let queries = queries();
    for (said, ..) in EXPECTED {
        assert!(queries.iter().any(|(of, _)| of == said), "{said:?} is not in the README: {queries:?}");
    }
    within(LIMIT, "each query has its answer", || {
        scene.go_on();
        for (said, query) in &queries {
            let expected = EXPECTED.iter().find(|(of, ..)| of == said);
            let label = expected.map_or("", |(_, label, _)| *label);
            let answer = prometheus.query(query, label)?;
            let is_good = expected.map_or(!answer.is_empty(), |(.., series)| is_as(&answer, series));
            let is_finite = answer.values().all(|value| value.is_finite());
            if !is_good || !is_finite {
                return Err(format!("{said}: {query}: {answer:?}\n{}", server.log()));
            }
        }
        Ok(())
    });
}

#[test]
fn queries_are_found_with_what_is_said_of_them() {
    let readme = "```promql\na  # first\nb   # second\n```\nc\n```promql\n# third\nd\n  and e\n# fourth\nf(\n  g  \
                  \n)\n```\n";
    let found = queries_in(readme);
    let found: Vec<(&str, &str)> = found.iter().map(|(said, query)| (&**said, &**query)).collect();
    assert_eq!(vec![("first", "a"), ("second", "b"), ("third", "d and e"), ("fourth", "f( g )")], found);
}

/// The series that are expected and no others, each in its range.
fn is_as(answer: &BTreeMap<String, f64>, expected: &[(&str, f64, f64)]) -> bool {
    answer.len() == expected.len()
        && expected
            .iter()
            .all(|(series, low, high)| answer.get(*series).is_some_and(|value| low <= value && value <= high))
}

/// Two GPUs, one busy, each with a worker of the recorded server.
pub(crate) const GPUS: &str = "count=2\n0.procs=22:1073741824\n1.procs=23:2147483648\n\
    0.nvmlDeviceGetUtilizationRates=90,10\n1.nvmlDeviceGetUtilizationRates=20,10\n";

/// A recorded server with two workers, whose files go on changing, and a log of its requests.
pub(crate) struct Scene {
    pub(crate) nvml: Nvml,
    step: u64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let nvml = Nvml::new(GPUS);
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/host/cgroup-v2");
        for folder in ["proc", "sys"] {
            copy(&recorded.join(folder), &nvml.path().join(folder));
        }
        nvml.name_worker("W-9000-resnet18_1.0");
        nvml.name_worker("W-9001-bert_2.1");
        let mut scene = Self { nvml, step: 0 };
        scene.go_on();
        scene
    }

    /// The flags with which the recorded server's machine is the one that is measured.
    pub(crate) fn paths(&self) -> [String; 4] {
        let at = |folder: &str| self.nvml.path().join(folder).display().to_string();
        ["--path.procfs".to_owned(), at("proc"), "--path.sysfs".to_owned(), at("sys")]
    }

    /// Some requests, each with two seconds to its answer and half a second in the queue, and CPU time: of the periods
    /// every second one was cut short.
    pub(crate) fn go_on(&mut self) {
        self.step += 1;
        for model in ["resnet18", "bert"] {
            for (metric, microseconds) in [("inference", "2000000.0"), ("queue", "500000.0")] {
                let metric = format!("ts_{metric}_latency_microseconds.Microseconds:{microseconds}");
                let labels = format!("model_name:{model},model_version:default");
                append(&self.nvml.logs().join("ts_metrics.log"), frontend(&metric, &labels));
            }
            let request = format!("/127.0.0.1:51 \"POST /predictions/{model} HTTP/1.1\" 200 2000");
            append(&self.nvml.logs().join("access_log.log"), format!("{} - {request}\n", next_time()));
        }
        let step = self.step;
        // The root folder of the server's process.
        self.change(Path::new("proc/22").join("root").join("sys/fs/cgroup/cpu.stat"), |text| {
            let value = |line: &str, key: &str| {
                line.strip_prefix(key).and_then(|value| value.trim().parse::<u64>().ok())
            };
            let line = |line: &str| match (value(line, "nr_periods "), value(line, "nr_throttled ")) {
                (Some(periods), _) => format!("nr_periods {}\n", periods + 2),
                (_, Some(throttled)) => format!("nr_throttled {}\n", throttled + 1),
                _ => match value(line, "throttled_usec ") {
                    Some(time) => format!("throttled_usec {}\n", time + 50_000),
                    None => format!("{line}\n"),
                },
            };
            text.lines().map(line).collect()
        });
        for process in ["22", "23"] {
            // The manual's field 14 is the CPU time, and no name in here has a blank.
            self.change(format!("proc/{process}/stat"), |text| {
                let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
                words[13] = (200_000 + step * 5).to_string();
                words.join(" ")
            });
        }
    }

    /// Replaces a file, whole at once.
    fn change(&self, file: impl AsRef<Path>, change: impl FnOnce(&str) -> String) {
        let (file, new) = (self.nvml.path().join(file), self.nvml.path().join("new-text"));
        fs::write(&new, change(&fs::read_to_string(&file).unwrap())).unwrap();
        fs::rename(new, file).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}

/// The queries of the README and of the page about machines, each with what is said of it.
fn queries() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let queries: Vec<_> =
        ["README.md", "deploy/machine.md"].iter().flat_map(|file| queries_in(&text(file))).collect();
    let names: BTreeSet<&str> = queries.iter().map(|(said, _)| &**said).collect();
    assert_eq!(queries.len(), names.len(), "two queries have one comment: {queries:?}");
    queries
}

/// Those of `promql` blocks: a comment stands above its query or behind it; a query goes on in lines that are
/// indented or close a bracket.
fn queries_in(readme: &str) -> Vec<(String, String)> {
    let mut queries: Vec<(String, String)> = Vec::new();
    let mut above = "";
    for block in readme.split("```promql\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        for line in block.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                above = comment;
            } else if line.starts_with([' ', ')']) {
                let (_, query) = queries.last_mut().unwrap();
                *query = format!("{query} {}", line.trim());
            } else {
                let (query, said) = line.split_once("  # ").unwrap_or((line, above));
                queries.push((said.trim().to_owned(), query.trim().to_owned()));
            }
        }
    }
    queries
}
