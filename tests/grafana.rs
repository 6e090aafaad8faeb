//! The dashboards in `deploy/grafana`: written by their source, complete, and placed without a gap in the grid. What their
//! queries answer is in `grafana_queries.rs`.

use crate::support_grafana::{
    Dashboard, filled, folder, label_values, labels, list, ranges, selectors, text,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Units of Grafana that the dashboards use; a word that it does not know would be shown as it is.
const UNITS: &[&str] = &[
    "Bps",
    "bool_yes_no",
    "bytes",
    "celsius",
    "cps",
    "hertz",
    "ms",
    "ops",
    "percent",
    "percentunit",
    "reqps",
    "s",
    "short",
    "watt",
];

#[test]
fn dashboards_are_what_their_source_writes() {
    let written = tempfile::tempdir().unwrap();
    let output = Command::new("/usr/bin/python3").arg(folder().join("source")).arg(written.path()).output();
    let output = output.expect("Debian's python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (expected, observed) = (contents(written.path()), contents(&folder().join("dashboards")));
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&observed));
    let changed: Vec<&String> = expected.keys().filter(|name| expected[*name] != observed[*name]).collect();
    assert_eq!(Vec::<&String>::new(), changed, "run `python3 deploy/grafana/source` after a change");
}

#[test]
fn dashboards_have_all_that_grafana_and_a_reader_need() {
    let dashboards = Dashboard::all();
    let titles =
        ["inferometer-fleet", "inferometer-machine", "inferometer-model-servers", "inferometer-self"];
    let uids: Vec<&str> = dashboards.iter().map(|dashboard| text(&dashboard.json, "uid")).collect();
    assert_eq!([&titles[..], &["inferometer-torchserve"]].concat(), uids);
    let wrong: Vec<String> = dashboards
        .iter()
        .flat_map(|dashboard| {
            let wrong = wrong_of_frame(&dashboard.json).into_iter().chain(wrong_of_panels(dashboard));
            wrong.map(|wrong| format!("{}: {wrong}", dashboard.name)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn every_selector_is_filtered_by_the_variables() {
    let mut wrong = Vec::new();
    for dashboard in Dashboard::all() {
        let of_variables = dashboard.variables().iter().filter_map(|variable| {
            let (selector, _) = label_values(text(&variable["query"], "query"))?;
            Some((format!("{}: ${}", dashboard.name, text(variable, "name")), selector.to_owned()))
        });
        // A variable is filtered by those before it.
        let of_variables =
            of_variables.filter(|(place, _)| !place.ends_with("$job") && !place.ends_with("$instance"));
        let of_panels = dashboard.asked().into_iter().map(|asked| (asked.place, asked.expression));
        for (place, expression) in of_panels.chain(of_variables) {
            let found = selectors(&expression);
            assert!(!found.is_empty(), "{place}: {expression} selects nothing");
            wrong.extend(found.iter().filter_map(|(names, matchers)| {
                let is_filtered = matchers.starts_with(r#"job=~"$job",instance=~"$instance""#);
                (!is_filtered || names.is_empty()).then(|| format!("{place}: {names:?}{{{matchers}}}"))
            }));
        }
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

/// The picture that TorchServe's own tools cannot draw: all four over time, for one model.
#[test]
fn one_panel_has_p95_queue_batch_and_gpu_memory_of_each_model() {
    let dashboards = Dashboard::all();
    let torchserve = dashboards.iter().find(|dashboard| dashboard.name == "torchserve.json").unwrap();
    let wanted = [
        "ts_inference_latency_seconds_bucket",
        "ts_queue_latency_seconds_sum",
        "ts_batch_size_sum",
        "model_worker_gpu_memory_bytes",
    ];
    let is_it = |panel: &&Value| {
        let all: String = list(panel, "targets").iter().map(|target| text(target, "expr")).collect();
        panel["repeat"] == "model_name" && wanted.iter().all(|name| all.contains(name))
    };
    let panel = torchserve.drawn().find(is_it).expect("the panel");
    // Four units, so each has an axis.
    let overrides = list(&panel["fieldConfig"], "overrides");
    for target in list(panel, "targets") {
        let of_it = |change: &&Value| change["matcher"]["options"] == target["legendFormat"];
        let sets = |id: &str| {
            overrides
                .iter()
                .filter(of_it)
                .any(|change| list(change, "properties").iter().any(|it| it["id"] == id))
        };
        assert!(sets("unit") && sets("custom.axisPlacement"), "{target}");
    }
}

/// Exemplars come with lines that tell the request's id, and only there.
#[test]
fn exemplars_are_shown_where_lines_tell_the_request() {
    let shown: BTreeSet<String> = Dashboard::all()
        .iter()
        .flat_map(Dashboard::asked)
        .filter(|asked| asked.has_exemplars)
        .flat_map(|asked| selectors(&asked.expression))
        .flat_map(|(names, _)| names)
        .collect();
    for name in
        ["ts_prediction_time_seconds_bucket", "ts_handler_time_seconds_bucket", "ts_batch_size_bucket"]
    {
        assert!(shown.contains(name), "{name} is not among {shown:?}");
    }
}

#[test]
fn provisioning_names_what_is_there() {
    let read = |file: &str| -> Value {
        let text = fs::read_to_string(folder().join("provisioning").join(file)).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let source = read("datasources/prometheus.yaml");
    assert_eq!(1, source["apiVersion"]);
    let source = &source["datasources"][0];
    assert_eq!(("prometheus", true), (text(source, "type"), source["isDefault"] == true));
    // The dashboards take their rates over four scrapes of this distance.
    assert_eq!("15s", source["jsonData"]["timeInterval"]);
    let provider = read("dashboards/inferometer.yaml");
    assert_eq!(1, provider["apiVersion"]);
    let provider = &provider["providers"][0];
    assert_eq!(("file", false), (text(provider, "type"), provider["disableDeletion"] == true));
    let path = text(&provider["options"], "path");
    assert!(path.ends_with("/dashboards"), "{path}");
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    assert!(readme.contains(path), "the README says where {path} has to be mounted");
    for dashboard in Dashboard::all() {
        assert!(readme.contains(&dashboard.name), "the README says what {} is for", dashboard.name);
    }
}

#[test]
fn runbook_has_an_entry_for_every_link() {
    let dashboards = Dashboard::all();
    let links = dashboards.iter().flat_map(Dashboard::drawn).flat_map(|panel| list(panel, "links"));
    let entries: BTreeSet<&str> =
        links.filter_map(|link| text(link, "title").strip_prefix("Runbook: ")).collect();
    assert!(entries.len() > 20, "{entries:?}");
    let runbook = fs::read_to_string(folder().join("../prometheus/runbook.md")).unwrap();
    let known: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(Vec::<&&str>::new(), entries.difference(&known).collect::<Vec<_>>());
}

#[test]
fn every_dashboard_is_a_config_map() {
    let text_of = fs::read_to_string(folder().join("kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&text_of).unwrap();
    assert_eq!("1", kustomization["generatorOptions"]["labels"]["grafana_dashboard"]);
    let files: BTreeSet<String> = list(&kustomization, "configMapGenerator")
        .iter()
        .flat_map(|generated| list(generated, "files"))
        .map(|file| file.as_str().unwrap().to_owned())
        .collect();
    let expected = Dashboard::all().into_iter().map(|dashboard| format!("dashboards/{}", dashboard.name));
    assert_eq!(expected.collect::<BTreeSet<_>>(), files);
    for file in files {
        // `kubectl apply` keeps a copy of the whole in an annotation, of which all together have 256 KiB.
        let bytes = fs::metadata(folder().join(&file)).unwrap().len();
        assert!(bytes < 200_000, "{file}: {bytes} bytes");
    }
}

/// What is wrong around the panels.
fn wrong_of_frame(dashboard: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut claim = |is_good: bool, what: &str| (!is_good).then(|| wrong.push(what.to_owned()));
    claim(dashboard["schemaVersion"] == 38, "not the schema of Grafana 10");
    claim(dashboard.get("id").is_none_or(Value::is_null), "an id of somebody's database");
    claim(dashboard.get("__inputs").is_none(), "asks for inputs at import");
    for key in ["title", "description", "refresh"] {
        claim(!text(dashboard, key).is_empty(), key);
    }
    claim(list(dashboard, "tags").contains(&json!("inferometer")), "its siblings do not find it");
    let variables = list(&dashboard["templating"], "list");
    let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    claim(names.starts_with(&["datasource", "job", "instance"]), "the first variables");
    claim(names.len() == names.iter().collect::<BTreeSet<_>>().len(), "two variables of one name");
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let name = text(variable, "name");
        claim(label_values(text(&variable["query"], "query")).is_some_and(|(_, label)| label == name), name);
        claim(variable["multi"] == true && variable["includeAll"] == true, &format!("not all of {name}"));
        claim(is_of_the_variable(variable), &format!("{name} has a data source of its own"));
    }
    for annotation in list(&dashboard["annotations"], "list") {
        claim(is_of_the_variable(annotation), "an annotation has a data source of its own");
    }
    wrong
}

/// What is wrong with panels.
fn wrong_of_panels(dashboard: &Dashboard) -> Vec<String> {
    let panels = dashboard.panels();
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    let mut wrong = Vec::new();
    if ids.len() != panels.len() {
        wrong.push(format!("{} ids for {} panels", ids.len(), panels.len()));
    }
    wrong.extend(overlaps(
        &panels.iter().map(|panel| (text(panel, "title"), &panel["gridPos"])).collect::<Vec<_>>(),
    ));
    let titles = dashboard.drawn().map(|panel| (text(panel, "title"), text(panel, "type")));
    let titles: Vec<_> = titles.collect();
    wrong.extend(
        titles
            .iter()
            .enumerate()
            .filter(|(at, title)| titles[..*at].contains(title))
            .map(|(_, title)| format!("{title:?} twice")),
    );
    wrong.extend(dashboard.drawn().flat_map(|panel| {
        wrong_of_panel(panel)
            .into_iter()
            .map(|wrong| format!("{}: {wrong}", text(panel, "title")))
            .collect::<Vec<_>>()
    }));
    wrong
}

fn wrong_of_panel(panel: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut claim = |is_good: bool, what: &str| (!is_good).then(|| wrong.push(what.to_owned()));
    claim(text(panel, "description").ends_with('.'), "a description that is no sentence");
    claim(panel.get("libraryPanel").is_none(), "lives in a library");
    claim(is_of_the_variable(panel), "a data source of its own");
    let mut units = vec![&panel["fieldConfig"]["defaults"]["unit"]];
    for change in list(&panel["fieldConfig"], "overrides") {
        units
            .extend(list(change, "properties").iter().filter(|it| it["id"] == "unit").map(|it| &it["value"]));
    }
    claim(
        units.iter().all(|unit| unit.as_str().is_some_and(|unit| UNITS.contains(&unit))),
        "a unit that is none",
    );
    let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps");
    let bounds: Vec<f64> = steps.iter().skip(1).filter_map(|step| step["value"].as_f64()).collect();
    claim(!steps.is_empty() && steps[0]["value"].is_null(), "the first threshold has a value");
    claim(bounds.len() + 1 == steps.len() && bounds.is_sorted(), "thresholds out of order");
    for link in list(panel, "links") {
        let entry = text(link, "title").strip_prefix("Runbook: ").unwrap_or_default();
        claim(
            text(link, "url") == format!("${{runbook}}#{}", entry.to_lowercase()),
            "a link to somewhere else",
        );
    }
    let targets = list(panel, "targets");
    let refs: BTreeSet<&str> = targets.iter().map(|target| text(target, "refId")).collect();
    claim(!targets.is_empty() && refs.len() == targets.len() && !refs.contains(""), "refIds");
    let is_heat = panel["type"] == "heatmap";
    for target in targets {
        claim(is_of_the_variable(target), "a query with a data source of its own");
        claim(!text(target, "legendFormat").is_empty(), "no legend");
        claim((target["range"] == true) != (target["instant"] == true), "neither now nor over time");
        claim(!is_heat || target["format"] == "heatmap", "a heat map of plain series");
        // A fixed range is wrong at any other zoom or scrape interval.
        claim(ranges(text(target, "expr")).iter().all(|range| *range == "$__rate_interval"), "a fixed range");
    }
    wrong
}

fn is_of_the_variable(object: &Value) -> bool {
    object["datasource"] == json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Panels beyond the grid, or on each other.
fn overlaps(places: &[(&str, &Value)]) -> Vec<String> {
    let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (title, place) in places {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| place[key].as_u64().unwrap_or(u64::MAX / 4));
        if w == 0 || h == 0 || x + w > COLUMNS || y > 10_000 || h > 100 {
            wrong.push(format!("{title}: {place} is not on the grid"));
            continue;
        }
        let cells = (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line)));
        let others: BTreeSet<&str> = cells.filter_map(|cell| taken.insert(cell, title)).collect();
        wrong.extend(others.iter().map(|other| format!("{title} lies on {other}")));
    }
    wrong
}

fn contents(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| {
            (file.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&file).unwrap())
        })
        .collect()
}

// Each check refuses what it is there to refuse.

#[test]
fn panels_on_each_other_or_beyond_the_grid_are_seen() {
    let place = |x, y, w, h| json!({"x": x, "y": y, "w": w, "h": h});
    let (left, right, beyond) = (place(0, 0, 12, 8), place(12, 0, 12, 8), place(13, 8, 12, 8));
    assert_eq!(Vec::<String>::new(), overlaps(&[("a", &left), ("b", &right)]));
    assert_eq!(vec!["c lies on a"], overlaps(&[("a", &left), ("b", &right), ("c", &place(11, 7, 1, 1))]));
    assert_eq!(1, overlaps(&[("a", &beyond)]).len());
    assert_eq!(1, overlaps(&[("a", &json!({}))]).len());
}

#[test]
fn incomplete_panel_is_seen() {
    let datasource = json!({"type": "prometheus", "uid": "${datasource}"});
    let good = json!({
        "type": "timeseries", "description": "What it shows.", "datasource": datasource,
        "fieldConfig": {"defaults": {"unit": "s", "thresholds": {"steps": [{"value": null}, {"value": 1}]}}},
        "targets": [{"refId": "A", "datasource": datasource, "legendFormat": "a", "range": true, "instant": false,
                     "expr": "rate(a[$__rate_interval])"}],
    });
    assert_eq!(Vec::<String>::new(), wrong_of_panel(&good));
    for (pointer, bad) in [
        ("/description", json!("")),
        ("/datasource/uid", json!("P1")),
        ("/fieldConfig/defaults/unit", json!("furlongs")),
        ("/fieldConfig/defaults/thresholds/steps/1/value", json!(null)),
        ("/targets", json!([])),
        ("/targets/0/refId", json!("")),
        ("/targets/0/expr", json!("rate(a[5m])")),
        ("/targets/0/range", json!(false)),
        ("/type", json!("heatmap")),
    ] {
        let mut panel = good.clone();
        *panel.pointer_mut(pointer).unwrap() = bad;
        assert_eq!(1, wrong_of_panel(&panel).len(), "{pointer}");
    }
}

#[test]
fn selectors_are_found_wherever_they_stand() {
    let found = |expression: &str| -> Vec<String> {
        let found = selectors(expression);
        found.iter().map(|(names, matchers)| format!("{}{{{matchers}}}", names.join("|"))).collect()
    };
    for (expression, expected) in [
        ("a", &["a{}"][..]),
        ("sum by (b, c) (rate(a{d=\"}\\\"\"}[5m])) / on (e) group_left f{}", &["a{d=\"}\\\"\"}", "f{}"]),
        ("topk(10, avg(a{}) > bool 1e3) or vector(0) unless c{}", &["a{}", "c{}"]),
        ("{x=\"y\",__name__=~\"a|b\"}", &["a|b{x=\"y\",__name__=~\"a|b\"}"]),
        ("histogram_quantile(0.95, sum by (le) (rate(a_bucket{}[$__rate_interval])))", &["a_bucket{}"]),
        ("1000 * a:b{} offset 5m", &["a:b{}"]),
        ("topk($top, sum by ($by) (a{}))", &["a{}"]),
        ("label_replace(a{}, \"x\", \"y\", \"z\", \"\")", &["a{}"]),
    ] {
        assert_eq!(expected.to_vec(), found(expression), "{expression}");
    }
}

#[test]
fn labels_of_a_legend_are_found() {
    assert_eq!(vec!["a", "b"], labels("{{a}} and {{b}}"));
    assert_eq!(Vec::<&str>::new(), labels("a {b}"));
}

#[test]
fn ranges_are_found_outside_of_texts() {
    assert_eq!(vec!["5m", "$r"], ranges("rate(a{b=~\"[45]..\"}[5m]) / c[$r]"));
}

#[test]
fn variables_are_filled_in_as_grafana_does() {
    let values = [("a", "1"), ("ab", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let values = BTreeMap::from(values);
    assert_eq!("x1 2 2c", filled("x$a $ab ${ab}c", &values));
    assert_eq!("x", filled("x", &values));
}
