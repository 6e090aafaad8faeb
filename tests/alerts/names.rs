//! Every metric, label and value of a label that a rule, a test's series or a query of the runbook names is one that the
//! real binary exposes.

use super::{Rule, place, rules, unit_tests};
use crate::support::exposition::Exposition;
use crate::support::lines::{append, model, next_time};
use crate::support::nvml::Nvml;
use crate::support::process::{Server, eventually, exposition, replay};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A selector of a PromQL expression: the name, and each matcher as label, operator and value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selector {
    name: String,
    matchers: Vec<(String, String, String)>,
}

/// What Prometheus itself adds.
const OF_PROMETHEUS: [&str; 2] = ["up", "scrape_samples_post_metric_relabeling"];

/// Labels of targets.
const OF_TARGETS: [&str; 3] = ["job", "instance", "namespace"];

/// The metrics that an expression names.
pub(super) fn named(expression: &str) -> Vec<String> {
    selectors(expression).into_iter().map(|selector| selector.name).collect()
}

/// The metrics that it names, with those in the place of a recorded one that the recording is made of.
pub(super) fn raw(expression: &str, rules: &[Rule]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in named(expression) {
        match rules.iter().find(|rule| rule.record == name) {
            Some(rule) => found.extend(raw(&rule.expr, rules)),
            None => drop(found.insert(name)),
        }
    }
    found
}

#[test]
fn rules_tests_and_runbook_name_only_what_is_exposed() {
    let exposed = Exposed::by_the_real_binary();
    let rules = rules();
    let recorded: BTreeSet<&str> = rules.iter().map(|rule| &*rule.record).collect();
    let mut wrong = Vec::new();
    let mut look = |place: &str, expression: &str| {
        for selector in selectors(expression) {
            if !recorded.contains(&*selector.name) {
                wrong.extend(exposed.objection(&selector).map(|objection| format!("{place}: {objection}")));
            }
        }
    };
    for rule in &rules {
        look(&format!("{}{}", rule.alert, rule.record), &rule.expr);
    }
    for file in ["runbook.md", "README.md"] {
        for block in super::text(file).split("```promql\n").skip(1) {
            block.split("```").next().unwrap().lines().for_each(|query| look(file, query));
        }
    }
    for (file, tests) in unit_tests() {
        for case in &tests.tests {
            case.input_series.iter().for_each(|input| look(&file, &as_label_names(&input.series)));
        }
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn selectors_are_found_wherever_they_stand() {
    let found = selectors(
        "sum by (job, le) (rate(a_total{x=\"}\", y=~\"b|c\"}[5m] offset 1h)) / on (job) group_left () (m:b:c > bool 2e3) \
         or time() - d_seconds unless ignoring (v) {z=\"1\"}",
    );
    let matcher =
        |label: &str, operator: &str, value: &str| (label.to_owned(), operator.to_owned(), value.to_owned());
    let selector = |name: &str, matchers| Selector { name: name.to_owned(), matchers };
    let expected = vec![
        selector("a_total", vec![matcher("x", "=", "}"), matcher("y", "=~", "b|c")]),
        selector("m:b:c", vec![]),
        selector("d_seconds", vec![]),
    ];
    assert_eq!(expected, found);
    assert_eq!("a{b=~\"1\", c=~\"2\"}", as_label_names("a{b=\"1\", c=\"2\"}"));
}

/// A test's series may have values of its own; its labels must exist.
fn as_label_names(series: &str) -> String {
    series.replace("=\"", "=~\"")
}

/// Series by name.
struct Exposed(BTreeMap<String, Vec<BTreeMap<String, String>>>);

impl Exposed {
    /// All that the rules are about: a server with its banner, GPUs and MIG instances, an XID, a container with limits,
    /// workers, answers of each kind; and other servers in the shared schema.
    fn by_the_real_binary() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        // One of the calls fails, for the count of errors.
        let devices = "count=2\n1.mig=1\n0.procs=22:1073741824\n1.nvmlDeviceGetPowerUsage=!999\n";
        let nvml = Nvml::new(devices);
        let recorded = manifest.join("fixtures/host/cgroup-v2");
        let capture = |mode: &str| manifest.join("fixtures/torchserve").join(mode).join("console.txt");
        fs::copy(capture("log"), nvml.logs().join("ts_log.log")).unwrap();
        for file in ["ts_metrics.log", "model_metrics.log"] {
            fs::copy(manifest.join("fixtures/torchserve/log").join(file), nvml.logs().join(file)).unwrap();
        }
        nvml.name_worker("W-9000-resnet18_1.0");
        append(&nvml.logs().join("ts_metrics.log"), "no metric\n");
        append(
            &nvml.logs().join("model_metrics.log"),
            model("NobodyKnows.Count:1", "ModelName:m,Level:Model"),
        );
        let answer = format!("{} - /127.0.0.1:51 \"POST /predictions/m HTTP/1.1\" 503 20\n", next_time());
        append(&nvml.logs().join("access_log.log"), answer);
        let second = nvml.path().join("second");
        fs::create_dir(&second).unwrap();
        fs::copy(capture("prometheus"), second.join("ts_log.log")).unwrap();
        let state = nvml.path().join("state");
        let folders: Vec<PathBuf> = ["proc", "sys"].map(|folder| recorded.join(folder)).to_vec();
        let mut command = nvml.command(&[]);
        command.arg(&second).arg("--state.dir").arg(state);
        command.arg("--path.procfs").arg(&folders[0]).arg("--path.sysfs").arg(&folders[1]);
        let server = Server::launch(command).until_ready();
        // An error that happens later than the start is counted.
        nvml.pass();
        nvml.set(&format!("{devices}0.xids=79\n"));
        let body = eventually("the XID and the workers are shown", || {
            let body = server.scrape();
            let has = |name: &str| body.samples.keys().any(|(of, _)| of == name);
            (has("gpu_xid_errors_total") && has("model_worker_gpu_memory_bytes")).then_some(body)
        });
        let fixtures = manifest.join("fixtures");
        let mut logs = Vec::new();
        for server in ["tgi", "vllm", "sglang", "bentoml", "kserve"] {
            let entries = fs::read_dir(fixtures.join(server)).unwrap().map(|entry| entry.unwrap().path());
            logs.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "log")));
        }
        let shared = ["--naming", "uniform"].into_iter().map(PathBuf::from).chain(logs);
        let shared = exposition(&replay(shared));
        Self::of([&body, &shared])
    }

    fn of<'a>(bodies: impl IntoIterator<Item = &'a Exposition>) -> Self {
        let mut series: BTreeMap<String, Vec<BTreeMap<String, String>>> = BTreeMap::new();
        for (name, labels) in bodies.into_iter().flat_map(|body| body.samples.keys()) {
            series.entry(name.clone()).or_default().push(labels.clone());
        }
        Self(series)
    }

    fn objection(&self, selector: &Selector) -> Option<String> {
        let Selector { name, matchers } = selector;
        if OF_PROMETHEUS.contains(&&**name) {
            return None;
        }
        let Some(series) = self.0.get(name) else { return Some(format!("{name} is not exposed")) };
        let wrong = matchers.iter().find(|(label, operator, value)| {
            let is_there = |labels: &BTreeMap<String, String>| match &**operator {
                "=" => labels.get(label) == Some(value),
                _ => labels.contains_key(label),
            };
            !OF_TARGETS.contains(&&**label) && !series.iter().any(is_there)
        });
        wrong.map(|matcher| format!("{name}: no series for {matcher:?}: {:?}", series.first()))
    }
}

/// The selectors of an expression that have a name.
fn selectors(expression: &str) -> Vec<Selector> {
    const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    // Aggregations are told by their `by (…)`; functions by their brackets.
    const WORDS: [&str; 10] = ["and", "or", "unless", "bool", "offset", "sum", "max", "min", "count", "topk"];
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if first.is_ascii_digit() {
            // A number or a duration.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_part(first) {
            let (word, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
            let next = after.trim_start();
            rest = next;
            if LISTS.contains(&word) {
                rest = next.split_once(')').map_or("", |(_, after)| after);
            } else if !WORDS.contains(&word) && !next.starts_with('(') {
                let (matchers, after) = matchers(after);
                found.push(Selector { name: word.to_owned(), matchers });
                rest = after;
            }
        } else if first == '"' {
            rest = quoted(rest).1;
        } else if first == '{' {
            rest = matchers(rest).1;
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// What stands in braces at the begin of a text, and what comes after it.
fn matchers(text: &str) -> (Vec<(String, String, String)>, &str) {
    let mut found = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (found, text) };
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return (found, after);
        }
        let (head, _) = rest.split_once('"').expect("a matcher has a value");
        let at = head.find(['=', '!']).expect("a matcher has an operator");
        let (value, after) = quoted(&rest[head.len()..]);
        found.push((head[..at].trim().to_owned(), head[at..].trim().to_owned(), value.to_owned()));
        rest = after;
    }
}

/// A text in quotes without them, and what comes after it; none of ours has an escape.
fn quoted(text: &str) -> (&str, &str) {
    text[1..].split_once('"').expect("a quote has an end")
}

#[test]
fn a_name_or_a_label_that_nobody_exposes_is_seen() {
    let body = Exposition::strict("# TYPE a_total counter\na_total{b=\"c\"} 1.0\n").unwrap();
    let exposed = Exposed::of([&body]);
    let objections = |expression: &str| -> Vec<String> {
        selectors(expression).iter().filter_map(|selector| exposed.objection(selector)).collect()
    };
    assert_eq!(Vec::<String>::new(), objections("up or a_total{b=\"c\", job=\"x\"} or a_total{b!~\"z\"}"));
    for wrong in ["a", "a_total{b=\"d\"}", "a_total{d=~\"c\"}"] {
        assert_eq!(1, objections(wrong).len(), "{wrong}");
    }
    assert!(place().is_dir());
}
