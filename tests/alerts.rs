//! `deploy/prometheus`: rules and scrape configurations under a real promtool and a real Prometheus, and what keeps
//! rules, their tests, the runbook and what the binary exposes together.

mod live;
mod names;

use crate::support_prometheus::promtool;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const RULES: [&str; 2] = ["rules/recording.yml", "rules/alerts.yml"];

/// `deploy/prometheus`.
fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

fn text(file: &str) -> String {
    let path = place().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml<T: for<'a> Deserialize<'a>>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Clone, Deserialize)]
struct Rule {
    #[serde(default)]
    alert: String,
    #[serde(default)]
    record: String,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TestFile {
    rule_files: Vec<String>,
    #[serde(default)]
    group_eval_order: Vec<String>,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    input_series: Vec<Input>,
    #[serde(default)]
    alert_rule_test: Vec<AlertCheck>,
    #[serde(default)]
    promql_expr_test: Vec<QueryCheck>,
}

#[derive(Deserialize)]
struct Input {
    series: String,
}

#[derive(Deserialize)]
struct AlertCheck {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<BTreeMap<String, BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
struct QueryCheck {
    expr: String,
}

/// Rules of both files, in their order.
fn rules() -> Vec<Rule> {
    let files = RULES.map(|file| yaml::<RuleFile>(&text(file)));
    files.into_iter().flat_map(|file| file.groups).flat_map(|group| group.rules).collect()
}

fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| !rule.alert.is_empty()).collect()
}

/// The unit tests, by the name of their file.
fn unit_tests() -> BTreeMap<String, TestFile> {
    let entries = fs::read_dir(place().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "yml"));
    files
        .map(|path| {
            let name = format!("tests/{}", path.file_name().unwrap().to_str().unwrap());
            let file = yaml(&text(&name));
            (name, file)
        })
        .collect()
}

fn accepts(folder: &Path, arguments: &[&str]) -> String {
    let output = promtool(folder, arguments);
    assert!(output.status.success(), "promtool {arguments:?}: {}", said(&output));
    said(&output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn promtool_accepts_the_rules_and_every_unit_test_of_them() {
    accepts(&place(), &[&["check", "rules"][..], &RULES].concat());
    let tests = unit_tests();
    assert!(tests.len() > 1);
    // Each case has a database of its own, which takes its time.
    std::thread::scope(|scope| {
        for file in tests.keys() {
            scope.spawn(move || accepts(&place(), &["test", "rules", file]));
        }
    });
}

#[test]
fn a_rule_that_no_longer_does_what_its_test_says_is_seen() {
    let copy = tempfile::tempdir().unwrap();
    for file in RULES.iter().copied().map(str::to_owned).chain(unit_tests().into_keys()) {
        let to = copy.path().join(&file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // The error budget, told only by what increase() sees.
        let born = "unless ts_http_request_duration_seconds_count";
        fs::write(to, text(&file).replace(born, "and ts_http_request_duration_seconds_count")).unwrap();
    }
    let output = promtool(copy.path(), &["test", "rules", "tests/model-server.yml"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("a series that is born with 1"), "{}", said(&output));
}

/// What a test's series tell must be what the alert asks for, or its silence would mean nothing.
#[test]
fn every_alert_fires_in_a_test_and_stays_silent_in_another() {
    let rules = rules();
    let asked = |alert: &str| -> BTreeSet<String> {
        let of_alert = rules.iter().filter(|rule| rule.alert == alert);
        of_alert.flat_map(|rule| names::raw(&rule.expr, &rules)).collect()
    };
    let mut verdicts: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for (file, tests) in unit_tests() {
        for case in tests.tests {
            let given: BTreeSet<String> =
                case.input_series.iter().flat_map(|input| names::named(&input.series)).collect();
            let named: BTreeSet<&str> = case.alert_rule_test.iter().map(|check| &*check.alertname).collect();
            for alert in named {
                let asked = asked(alert);
                assert!(
                    !given.is_disjoint(&asked),
                    "{file}: {}: {given:?} tell nothing of {asked:?}",
                    case.name
                );
                let mut checks = case.alert_rule_test.iter().filter(|check| check.alertname == alert);
                let fires = checks.any(|check| !check.exp_alerts.is_empty());
                verdicts.entry(alert.to_owned()).or_default()[usize::from(fires)] = true;
            }
        }
    }
    let known: BTreeSet<String> = alerts().into_iter().map(|rule| rule.alert).collect();
    assert_eq!(known, verdicts.keys().cloned().collect(), "alerts and those with tests");
    for (alert, [is_silent, fires]) in verdicts {
        assert!(fires, "{alert} fires in no test");
        assert!(is_silent, "{alert} has no test in which it stays silent");
    }
}

#[test]
fn every_recording_rule_has_a_value_in_a_test() {
    let tests = unit_tests();
    let queries: BTreeSet<String> = tests
        .values()
        .flat_map(|file| &file.tests)
        .flat_map(|case| &case.promql_expr_test)
        .flat_map(|check| names::named(&check.expr))
        .collect();
    let recorded: BTreeSet<String> =
        rules().into_iter().map(|rule| rule.record).filter(|record| !record.is_empty()).collect();
    assert_eq!(recorded, queries);
    for record in recorded {
        let parts: Vec<&str> = record.split(':').collect();
        assert!(
            parts.len() == 3 && parts.iter().all(|part| !part.is_empty()),
            "{record}: level:metric:operations"
        );
    }
}

/// Without an order it is left to chance whether an alert sees the numbers of this evaluation or of the last one.
#[test]
fn unit_tests_of_what_is_recorded_say_in_which_order_groups_are_evaluated() {
    let files = RULES.map(|file| yaml::<RuleFile>(&text(file)));
    let groups: Vec<String> =
        files.iter().flat_map(|file| &file.groups).map(|group| group.name.clone()).collect();
    let mut ordered = 0;
    for (name, file) in unit_tests() {
        if RULES.map(|rules| format!("../{rules}")).to_vec() == file.rule_files {
            assert_eq!(groups, file.group_eval_order, "{name}");
            ordered += 1;
        }
    }
    assert!(ordered > 0);
}

#[test]
fn every_alert_says_how_bad_it_is_and_has_its_place_in_the_runbook() {
    let runbook = text("runbook.md");
    let readme = text("README.md");
    let headings: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut known = BTreeSet::new();
    for Rule { alert, labels, annotations, .. } in alerts() {
        let severity = labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("critical" | "warning")), "{alert}: {severity:?}");
        assert_eq!(1, labels.len(), "{alert}: {labels:?}");
        let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
        assert_eq!(["description", "runbook_url", "summary"].to_vec(), keys, "{alert}");
        let url = format!("deploy/prometheus/runbook.md#{}", alert.to_lowercase());
        assert_eq!(url, annotations["runbook_url"], "{alert}");
        let (_, entry) =
            runbook.split_once(&format!("## {alert}\n")).unwrap_or_else(|| panic!("no entry {alert}"));
        let entry = entry.split("\n## ").next().unwrap();
        for part in ["**Meaning.**", "**Causes.**", "**Look.**", "**Do.**"] {
            assert!(entry.contains(part), "{alert} has no {part}");
        }
        assert!(readme.contains(&format!("| `{alert}` |")), "{alert} is not in the table of README.md");
        known.insert(alert);
    }
    assert_eq!(known, headings.into_iter().map(str::to_owned).collect(), "alerts and headings");
    for record in rules().into_iter().map(|rule| rule.record).filter(|record| !record.is_empty()) {
        // The windows of the ratios are in one row.
        let row = record.replace("30m", "5m").replace("1h", "5m").replace("6h", "5m");
        assert!(readme.contains(&row), "{record} is not in README.md");
    }
}

#[test]
fn promtool_accepts_the_scrape_configurations() {
    let copy = copied();
    // What an endpoint with TLS takes lies beside its configuration.
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(copy.path().join("ca.crt"), key.cert.pem()).unwrap();
    fs::write(copy.path().join("password"), "secret").unwrap();
    for file in ["prometheus.yml", "https.yml", "kubernetes.yml"] {
        let said = accepts(copy.path(), &["check", "config", file]);
        assert!(said.contains("SUCCESS: 2 rule files found"), "{said}");
    }
    accepts(copy.path(), &["check", "config", "--agent", "agent.yml"]);
    // The collector itself is not here: what it hands to its copy of Prometheus is.
    let collector: Value = yaml(&text("otel-collector.yaml"));
    let inner = &collector["receivers"]["prometheus"]["config"];
    fs::write(copy.path().join("inner.yml"), inner.to_string()).unwrap();
    accepts(copy.path(), &["check", "config", "inner.yml"]);
    assert_eq!(json!(["prometheus"]), collector["service"]["pipelines"]["metrics"]["receivers"]);
    for file in ["agent.yml", "otel-collector.yaml"] {
        for part in ["job_name: model-servers", "sample_limit: 300000"] {
            assert!(text(file).contains(part) && text("prometheus.yml").contains(part), "{file}: {part}");
        }
    }
    let web = fs::read_to_string(place().join("../web.md")).unwrap();
    assert!(web.contains("\n  prometheus: $2y$"), "the user of https.yml is the one of web.md");
    assert!(text("https.yml").contains("username: prometheus\n"));
}

#[test]
fn of_a_pod_only_the_sidecars_own_port_is_scraped_and_once() {
    let copy = copied();
    let annotated = |port: &str, phase: &str| {
        let prefix = "__meta_kubernetes_pod";
        [
            (format!("{prefix}_annotation_prometheus_io_scrape"), "true".to_owned()),
            (format!("{prefix}_annotation_prometheus_io_port"), port.to_owned()),
            (format!("{prefix}_annotation_prometheus_io_path"), "/metrics".to_owned()),
            (format!("{prefix}_phase"), phase.to_owned()),
            (format!("{prefix}_name"), "ts-0".to_owned()),
            (format!("{prefix}_node_name"), "node-1".to_owned()),
            (format!("{prefix}_label_app_kubernetes_io_name"), "torchserve".to_owned()),
            ("__meta_kubernetes_namespace".to_owned(), "serving".to_owned()),
        ]
    };
    let container = |address: &str, pod: &[(String, String)], is_init: bool| {
        let mut labels: BTreeMap<String, String> = pod.iter().cloned().collect();
        labels.insert("__meta_kubernetes_pod_container_init".to_owned(), is_init.to_string());
        if let Some((_, port)) = address.split_once(':') {
            labels.insert("__meta_kubernetes_pod_container_port_number".to_owned(), port.to_owned());
        }
        serde_json::json!({"targets": [address], "labels": labels})
    };
    let ours = annotated("9082", "Running");
    let pods = serde_json::json!([
        container("10.0.0.1:9082", &ours, true),
        container("10.0.0.1:8080", &ours, false),
        container("10.0.0.1:8082", &ours, false),
        container("10.0.0.1", &ours, false),
        // Its annotation is that of TorchServe's own documentation.
        container("10.0.0.2:8082", &annotated("8082", "Running"), false),
        container("10.0.0.3:9082", &annotated("9082", "Pending"), true),
        container("10.0.0.4:9082", &annotated("9082", "Succeeded"), true),
    ]);
    fs::write(copy.path().join("pods.json"), pods.to_string()).unwrap();
    let scraped = |job: &str| -> BTreeMap<String, BTreeMap<String, String>> {
        let output =
            promtool(copy.path(), &["check", "service-discovery", "--timeout=1s", "kubernetes.yml", job]);
        let said = said(&output);
        let targets: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        let labels = targets.as_array().unwrap().iter().map(|target| &target["labels"]);
        let kept = labels.filter(|labels| labels.get("__address__").is_some());
        kept.map(|labels| {
            let shown = labels.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("__"));
            let shown = shown.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
            (labels["__address__"].as_str().unwrap().to_owned(), shown.collect())
        })
        .collect()
    };
    let sidecars = scraped("model-servers");
    assert_eq!(vec!["10.0.0.1:9082", "10.0.0.3:9082"], sidecars.keys().collect::<Vec<_>>());
    let expected = [
        ("app", "torchserve"),
        ("instance", "10.0.0.1:9082"),
        ("job", "model-servers"),
        ("namespace", "serving"),
        ("node", "node-1"),
        ("pod", "ts-0"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(BTreeMap::from(expected), sidecars["10.0.0.1:9082"]);
    let theirs = scraped("torchserve-endpoint");
    assert_eq!(vec!["10.0.0.1:8082", "10.0.0.2:8082"], theirs.keys().collect::<Vec<_>>());
}

/// The command of README.md that makes PrometheusRules of the rules.
#[test]
fn rules_become_what_the_operator_takes() {
    let readme = text("README.md");
    let (_, block) = readme.split_once("kind: PrometheusRule").expect("the command is in README.md");
    let start = readme.len() - block.len();
    let begin = readme[..start].rfind("```sh\n").unwrap() + "```sh\n".len();
    let command = readme[begin..].split("```").next().unwrap();
    let output =
        std::process::Command::new("sh").args(["-euc", command]).current_dir(place()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let made = String::from_utf8(output.stdout).unwrap();
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct PrometheusRule {
        api_version: String,
        kind: String,
        metadata: Value,
        spec: RuleFile,
    }
    let documents: Vec<PrometheusRule> =
        made.split("---\n").filter(|part| !part.is_empty()).map(yaml).collect();
    assert_eq!(RULES.len(), documents.len(), "{made}");
    let names = |files: &[&RuleFile]| -> Vec<(String, String, String)> {
        let rules = files.iter().flat_map(|file| &file.groups).flat_map(|group| &group.rules);
        rules.map(|rule| (rule.alert.clone(), rule.record.clone(), rule.expr.clone())).collect()
    };
    let files = RULES.map(|file| yaml::<RuleFile>(&text(file)));
    let specs: Vec<&RuleFile> = documents.iter().map(|document| &document.spec).collect();
    assert_eq!(names(&files.iter().collect::<Vec<_>>()), names(&specs));
    for document in &documents {
        assert_eq!(("monitoring.coreos.com/v1", "PrometheusRule"), (&*document.api_version, &*document.kind));
        let name = document.metadata["name"].as_str().unwrap();
        assert!(name.starts_with("inferometer-"), "{name}");
    }
}

/// All of `deploy/prometheus` with another discovery in the place of Kubernetes', which Debian's Prometheus is built
/// without; what comes after it is the same.
fn copied() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("rules")).unwrap();
    for file in RULES.iter().chain(&["prometheus.yml", "https.yml", "kubernetes.yml", "agent.yml"]) {
        let kubernetes = "    kubernetes_sd_configs:\n      - role: pod\n";
        let text = text(file);
        assert_eq!(
            if *file == "kubernetes.yml" { 2 } else { 0 },
            text.matches("kubernetes_sd_configs").count()
        );
        fs::write(
            copy.path().join(file),
            text.replace(kubernetes, "    file_sd_configs: [{files: [pods.json]}]\n"),
        )
        .unwrap();
    }
    copy
}
