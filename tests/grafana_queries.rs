//! Every query of the dashboards on a real Prometheus that keeps exemplars: it has data, in Grafana's own way of asking.
//!
//! An installation is fed that has something of everything: the demo beside a fake NVML, a recorded server with workers on
//! GPUs, a sidecar with all kinds of trouble, and the logs of other servers with `--naming uniform`.

use crate::queries::{GPUS, Scene};
use crate::support::lines::{append, frontend, model};
use crate::support::nvml::Nvml;
use crate::support::process::{Server, run};
use crate::support_grafana::{Asked, Dashboard, filled, label_values, labels, list, selectors, text};
use crate::support_prometheus::{Demo, Prometheus, within};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A few scrapes a second apart would do; a busy machine starts Prometheus in ten seconds.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn every_query_of_the_dashboards_has_data() {
    let mut installation = Installation::new();
    let dashboards = Dashboard::all();
    let mut open: Vec<Question> = dashboards.iter().flat_map(questions).collect();
    let all = open.len();
    assert!(all > 300, "{all} queries");
    within(LIMIT, "each query has data", || {
        installation.go_on();
        let mut bad = Vec::new();
        open.retain(|question| match question.answered(&installation.prometheus) {
            Ok(()) => false,
            Err(objection) => {
                bad.push(format!("{}: {}: {objection}", question.place, question.expression));
                true
            }
        });
        if bad.is_empty() { Ok(()) } else { Err(format!("{} of {all}:\n{}", bad.len(), bad.join("\n"))) }
    });
    // The demo's failures come by chance, and a query that has data without them may have been answered before.
    let selected = selected(&dashboards);
    within(LIMIT, "each selector has a series, and each variable a value", || {
        installation.go_on();
        let prometheus = &installation.prometheus;
        let missing = [unselected(&selected, prometheus), empty_variables(&dashboards, prometheus)].concat();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
    });
    let prometheus = &installation.prometheus;
    // And it is seen that a label has no such value.
    let odd = BTreeMap::from([("Requests2XX{Level=\"Hosts\"}".to_owned(), "here".to_owned())]);
    assert_eq!(vec!["here: Requests2XX{Level=\"Hosts\"}"], unselected(&odd, prometheus));
}

/// A query as it is asked with certain values of the variables.
struct Question {
    place: String,
    expression: String,
    legend: String,
    is_range: bool,
    has_exemplars: bool,
}

/// All queries of a dashboard with everything chosen; those that compare by a label for each label, those that are
/// repeated for a model as well.
fn questions(dashboard: &Dashboard) -> Vec<Question> {
    let mut questions = Vec::new();
    for asked in dashboard.asked() {
        let mut choices = vec![everything(dashboard)];
        if asked.expression.contains("$by") {
            let variable = dashboard.variables().iter().find(|variable| variable["name"] == "by").unwrap();
            choices = text(variable, "query").split(',').map(|by| with(dashboard, "by", by)).collect();
        }
        if asked.repeat.is_some() {
            choices.push(with(dashboard, "model_name", "resnet18"));
        }
        let Asked { place, expression, legend, is_range, has_exemplars, .. } = &asked;
        questions.extend(choices.iter().map(|values| Question {
            place: place.clone(),
            expression: filled(expression, values),
            legend: filled(legend, values),
            is_range: *is_range,
            has_exemplars: *has_exemplars,
        }));
    }
    questions
}

/// What Grafana puts in the place of variables: those of the dashboard with everything chosen, and its own, for a source
/// with a scrape every 15 seconds and a panel that shows an hour.
fn everything(dashboard: &Dashboard) -> BTreeMap<String, String> {
    let chosen = dashboard.variables().iter().map(|variable| {
        let first = text(variable, "query").split(',').next().unwrap_or_default();
        let value = variable["allValue"].as_str().unwrap_or(first);
        (text(variable, "name").to_owned(), value.to_owned())
    });
    let own = [("__rate_interval", "1m"), ("__interval", "15s"), ("__range", "1h")];
    chosen.chain(own.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

fn with(dashboard: &Dashboard, name: &str, value: &str) -> BTreeMap<String, String> {
    let mut values = everything(dashboard);
    assert!(values.insert(name.to_owned(), value.to_owned()).is_some(), "{name} is no variable");
    values
}

impl Question {
    /// Whether there is a number, and a request behind it where one is shown.
    fn answered(&self, prometheus: &Prometheus) -> Result<(), String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let (start, end) = ((now - 30.0).to_string(), now.to_string());
        let answer = if self.is_range {
            let range = [("query", &*self.expression), ("start", &start), ("end", &end), ("step", "5")];
            prometheus.ask("query_range", &range)?
        } else {
            prometheus.ask("query", &[("query", &self.expression), ("time", &end)])?
        };
        let of_series = |series: &Value| -> Vec<f64> {
            let points = list(series, "values").iter().chain(series.get("value"));
            points.filter_map(|point| point[1].as_str()?.parse().ok()).collect()
        };
        if !list(&answer, "result").iter().flat_map(of_series).any(f64::is_finite) {
            return Err(format!("no number in {}", list(&answer, "result").len()));
        }
        let is_told =
            |label: &&str| list(&answer, "result").iter().any(|series| series["metric"][*label].is_string());
        if let Some(label) = labels(&self.legend).into_iter().find(|label| !is_told(label)) {
            return Err(format!("no label {label} for the legend {:?}", self.legend));
        }
        if self.has_exemplars {
            // The other servers' lines, and so their exemplars, are as old as the fixtures.
            let asked = [("query", &*self.expression), ("start", "0"), ("end", &end)];
            let answer = prometheus.ask("query_exemplars", &asked)?;
            let has_request = |series: &Value| {
                list(series, "exemplars").iter().any(|it| it["labels"]["request_id"].is_string())
            };
            if !answer.as_array().is_some_and(|series| series.iter().any(has_request)) {
                return Err("no exemplar".to_owned());
            }
        }
        Ok(())
    }
}

/// What the queries select, name by name, each with a place where it does.
fn selected(dashboards: &[Dashboard]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for question in dashboards.iter().flat_map(questions) {
        for (names, matchers) in selectors(&question.expression) {
            let matchers: Vec<&str> = matchers.split(',').filter(|it| !it.starts_with("__name__")).collect();
            let each = names.iter().map(|name| format!("{name}{{{}}}", matchers.join(",")));
            found.extend(each.map(|selector| (selector, question.place.clone())));
        }
    }
    assert!(found.len() > 150, "{} selectors", found.len());
    found
}

/// Selectors without a series: what nothing exposes hides behind an `or` that has data.
fn unselected(selected: &BTreeMap<String, String>, prometheus: &Prometheus) -> Vec<String> {
    let is_empty = |(selector, _): &(&String, &String)| {
        let answer = prometheus.ask("series", &[("match[]", selector)]);
        !answer.is_ok_and(|series| series.as_array().is_some_and(|series| !series.is_empty()))
    };
    selected.iter().filter(is_empty).map(|(selector, place)| format!("{place}: {selector}")).collect()
}

/// Variables that offer nothing to choose.
fn empty_variables(dashboards: &[Dashboard], prometheus: &Prometheus) -> Vec<String> {
    let mut empty = Vec::new();
    for dashboard in dashboards {
        let values = everything(dashboard);
        for variable in dashboard.variables() {
            let Some((selector, label)) = label_values(text(&variable["query"], "query")) else { continue };
            let selector = filled(selector, &values);
            let answer = prometheus.ask(&format!("label/{label}/values"), &[("match[]", &selector)]);
            if !answer.as_ref().is_ok_and(|values| values.as_array().is_some_and(|values| !values.is_empty()))
            {
                empty.push(format!("{}: ${label} of {selector}: {answer:?}", dashboard.name));
            }
        }
    }
    empty
}

/// Sidecars of several kinds under one Prometheus.
struct Installation {
    prometheus: Prometheus,
    /// A recorded server with workers on GPUs, and the sidecar beside it.
    scene: Scene,
    _recorded: Server,
    /// The demo, and the machine that it sees.
    _demo: Demo,
    _of_demo: Scene,
    trouble: Trouble,
    others: Others,
}

impl Installation {
    fn new() -> Self {
        let (of_demo, scene) = (Scene::new(), Scene::new());
        let demo = Demo::start_with(|command| {
            command
                .args(["--collector.interval", "100ms"])
                .args(of_demo.paths())
                .env("LD_LIBRARY_PATH", of_demo.nvml.path())
                .env("FAKE_NVML_STATE", of_demo.nvml.path().join("scenario"));
        });
        let recorded = scene.nvml.serve(&scene.paths().each_ref().map(String::as_str));
        let (trouble, others) = (Trouble::new(), Others::new());
        let target = |pod: &str, address: SocketAddr| {
            format!("{{targets: ['{address}'], labels: {{namespace: models, pod: {pod}}}}}")
        };
        let torchserve = [
            target("demo-0", demo.address),
            target("recorded-0", recorded.address),
            target("trouble-0", trouble.server.address),
        ];
        let jobs = format!(
            "{{job_name: torchserve, static_configs: [{}]}}, {{job_name: others, static_configs: [{}]}}",
            torchserve.join(", "),
            target("others-0", others.server.address)
        );
        let prometheus = Prometheus::with_flags(&jobs, &["--enable-feature=exemplar-storage"]);
        Self { prometheus, scene, _recorded: recorded, _demo: demo, _of_demo: of_demo, trouble, others }
    }

    /// More lines everywhere.
    fn go_on(&mut self) {
        self.scene.go_on();
        self.trouble.go_on();
        self.others.go_on();
    }
}

/// A sidecar whose log, GPUs and limits give trouble.
struct Trouble {
    nvml: Nvml,
    server: Server,
    step: usize,
}

impl Trouble {
    fn new() -> Self {
        // A device in instances, one that does not tell its power, and errors that come later.
        let nvml = Nvml::new(&format!("{GPUS}1.mig=2\n1.nvmlDeviceGetPowerUsage=!999\n"));
        let state = nvml.path().join("state");
        let state = state.to_str().unwrap();
        let mut trouble = Self {
            server: nvml.serve(&["--state.dir", state, "--limit.series-per-family", "2"]),
            nvml,
            step: 0,
        };
        // XID errors before the start are history.
        trouble.nvml.pass();
        trouble.go_on();
        trouble
    }

    fn go_on(&mut self) {
        self.step += 1;
        let xids = vec!["79"; self.step.min(50)].join(",");
        self.nvml.set(&format!("{GPUS}0.xids={xids}\n1.mig=2\n1.nvmlDeviceGetPowerUsage=!999\n"));
        let log = self.nvml.logs().join("ts_metrics.log");
        append(&log, frontend("Requests5XX.Count:1.0", "Level:Host"));
        append(&log, frontend("Requests4XX.Count:1.0", "Level:Host"));
        append(&log, frontend("GPUUtilization.Percent:30.5", "Level:Host,DeviceId:0"));
        append(&log, frontend("GPUMemoryUtilization.Percent:40.5", "Level:Host,DeviceId:0"));
        // A name that clashes with ours, a family that nobody has declared, a label set too many.
        append(
            &log,
            "2026-11-20T17:44:20,762 - Requests2XX.Count:many|#Level:Host|#hostname:h,timestamp:1\n",
        );
        for class in ["a", "b", "c"] {
            append(
                &self.nvml.logs().join("model_metrics.log"),
                model("Found.count:1.0", &format!("Class:{class}")),
            );
        }
    }
}

/// Other servers' logs, with the names that all share.
struct Others {
    folder: TempDir,
    server: Server,
}

/// A log of each kind that the schema has something of, with the model's name where the server does not log it.
const LOGS: &[(&str, &str)] = &[
    ("tgi/router-text.log", "zephyr"),
    ("vllm/stats-text.log", "llama"),
    ("sglang/requests-json.log", "qwen"),
    ("ollama/serve.log", ""),
    ("bentoml/http.log", ""),
    ("ray-serve/text-proxy.log", ""),
    ("torchserve/log/ts_metrics.log", ""),
];

impl Others {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sources = LOGS.iter().map(|(log, model)| {
            let labels = if model.is_empty() { "{}".to_owned() } else { format!("{{model_name: {model}}}") };
            format!("  - {{path: {}, labels: {labels}}}\n", Self::copy(&folder, log).display())
        });
        let config = folder.path().join("inferometer.yaml");
        fs::write(&config, format!("sources:\n{}", sources.collect::<String>())).unwrap();
        let mut command = run();
        command.args(["--naming", "uniform", "--config.file"]).arg(config);
        let others = Self { server: Server::launch(command), folder };
        others.go_on();
        others
    }

    fn copy(folder: &TempDir, log: &str) -> PathBuf {
        // TorchServe's own names are known; others would be one source if they were alike.
        let name = log.strip_prefix("torchserve/log/").map_or_else(|| log.replace('/', "-"), str::to_owned);
        folder.path().join("logs").join(name)
    }

    /// Each server writes the same once more.
    fn go_on(&self) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for (log, _) in LOGS {
            append(&Self::copy(&self.folder, log), fs::read(fixtures.join(log)).unwrap());
        }
    }
}
