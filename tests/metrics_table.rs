//! `deploy/metrics.md` lists every family. Its tables are written from the code's own tables and from what the code
//! shows of the fixtures, and whatever a demo, a server and the goldens expose stands in them.
//!
//! `UPDATE_GOLDENS=1 cargo test --test tests metrics_table::` writes the tables between the marks of the file; look at
//! the difference before you commit it.

use crate::support::exposition::{Exposition, owner};
use crate::support::fixture;
use crate::support::lines::{append, frontend};
use crate::support::nvml::Nvml;
use crate::support::process::{Server, eventually, exposition, inferometer, replay};
use inferometer::collect::{COLLECTORS, Compat, Context, Settings, gpu};
use inferometer::instruments::Instruments;
use inferometer::metric::FamilyView;
use parsers::{Catalog, Event, FORMATS, Format, Metric};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Labels of families that no fixture shows, because it takes an event of which there is no record.
const UNSEEN: &[(&str, &str)] = &[
    ("model_worker_gpu_memory_bytes", "model_name, model_version, uuid, worker_name"),
    ("host_uname_info", "domainname, machine, nodename, release, sysname, version"),
    ("host_hwmon_temp_celsius", "chip, label, sensor"),
    ("host_filesystem_avail_bytes", "device, fstype, mountpoint"),
    ("host_filesystem_files", "device, fstype, mountpoint"),
    ("host_filesystem_files_free", "device, fstype, mountpoint"),
    ("host_filesystem_free_bytes", "device, fstype, mountpoint"),
    ("host_filesystem_readonly", "device, fstype, mountpoint"),
    ("host_filesystem_size_bytes", "device, fstype, mountpoint"),
];

/// What stands in the place of labels that no fixture shows.
const OF_LINE: &str = "those of its line";

/// Recorded machines with a `/proc/stat` of their own.
const RECORDED: [&str; 3] = ["cores-64", "cgroup-v2", "missing-files"];

/// One row of a table.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    kind: String,
    labels: String,
    help: String,
}

impl Row {
    fn of_view(view: &FamilyView, labels: &Labels) -> Self {
        Self::new(&view.name, view.kind.label(), &view.help, labels)
    }

    fn of_metric(metric: &Metric<'_>, labels: &Labels) -> Self {
        Self::new(metric.name, metric.kind.label(), metric.help, labels)
    }

    fn new(name: &str, kind: &str, help: &str, labels: &Labels) -> Self {
        let seen = || labels.of(name);
        let labels =
            UNSEEN.iter().find(|(unseen, _)| *unseen == name).map(|(_, labels)| (*labels).to_owned());
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            labels: labels.unwrap_or_else(seen),
            help: help.to_owned(),
        }
    }
}

/// Which labels each family has had in an exposition.
#[derive(Default)]
struct Labels(BTreeMap<String, BTreeSet<String>>);

impl Labels {
    fn of_bodies<'a>(bodies: impl IntoIterator<Item = &'a Exposition>) -> Self {
        let mut labels = Self::default();
        for body in bodies {
            for (name, pairs) in body.samples.keys() {
                let family = owner(&body.families, name).unwrap_or(name);
                let names = pairs.keys().filter(|name| !["le", "quantile"].contains(&&***name)).cloned();
                labels.0.entry(family.to_owned()).or_default().extend(names);
            }
        }
        labels
    }

    /// What the fuzz targets' seeds tell of lines that no fixture has.
    fn add_seeds(&mut self, format: &Format) {
        for seed in fs::read_dir(root().join("tests/fuzz/seeds/line")).unwrap() {
            let seed = fs::read(seed.unwrap().path()).unwrap();
            // A seed is a line of one format and broken for the others.
            (format.parse)(&seed, &Catalog::default(), &mut |event| {
                if let Event::Measured(it) = event {
                    let names = it.labels.iter().map(|(name, _)| (*name).to_owned());
                    self.0.entry(it.metric.name.to_owned()).or_default().extend(names);
                }
            })
            .ok();
        }
    }

    fn of(&self, family: &str) -> String {
        let join = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        self.0.get(family).map_or_else(|| OF_LINE.to_owned(), join)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> PathBuf {
    root().join("deploy/metrics.md")
}

fn rows_of(body: &Exposition, labels: &Labels, is_wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    let families = body.families.iter().filter(|(name, _)| is_wanted(name));
    let row = |(name, family): (&String, &crate::support::exposition::Family)| {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        Row::new(name, &text(&family.kind), &text(&family.help), labels)
    };
    families.map(row).collect()
}

/// A table for people.
fn table(rows: &[Row]) -> String {
    let mut text = "| family | type | labels | what |\n|---|---|---|---|\n".to_owned();
    for row in rows {
        let escaped = row.help.replace('|', "\\|").replace('<', "\\<");
        let labels = match &*row.labels {
            "" | OF_LINE => row.labels.clone(),
            names => format!("`{names}`"),
        };
        writeln!(text, "| `{}` | {} | {labels} | {escaped} |", row.name, row.kind).unwrap();
    }
    text
}

/// Names alone, for families that are named elsewhere.
fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: BTreeSet<String> = names.into_iter().collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{}\n", quoted.join(" · "))
}

// What the code shows.

/// The bodies below `fixtures/<folder>` that end so.
fn goldens(folder: &str, is_golden: impl Fn(&str) -> bool) -> Vec<Exposition> {
    let mut bodies = Vec::new();
    let mut folders = vec![root().join("fixtures").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "proc" && name != "sys" {
                folders.push(path);
            } else if is_golden(&name) {
                let text = fs::read_to_string(&path).unwrap();
                bodies.push(Exposition::strict(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
            }
        }
    }
    bodies
}

fn is_ours(name: &str) -> bool {
    name.ends_with(".prom") && !name.ends_with(".server.prom")
}

/// What `replay` makes of TorchServe's own default traffic, of today and of 2023.
fn torchserve(arguments: &[&str]) -> Vec<Exposition> {
    let logs: [&[&str]; 3] = [
        &["log/ts_metrics.log", "log/model_metrics.log"],
        &["log/console.txt"],
        &["0.7.1-log/ts_metrics.log", "0.7.1-log/model_metrics.log"],
    ];
    let body = |logs: &&[&str]| {
        let arguments = arguments.iter().map(PathBuf::from);
        exposition(&replay(arguments.chain(logs.iter().map(|log| fixture(log)))))
    };
    logs.iter().map(body).collect()
}

/// One machine with everything on it: a server that logs what nobody has declared and what nobody can read, GPUs of
/// which one has instances and one has failed, and another program's text.
fn whole_machine() -> Exposition {
    let nvml = Nvml::new("count=2\n0.xids=13\n1.mig=1\n");
    let log = nvml.logs().join("ts_metrics.log");
    append(&log, frontend("Requests2XX.Count:1.0", "Level:Host"));
    append(&log, frontend("Unheard.Count:1.0", "Level:Host"));
    append(&log, "t - Requests2XX.Count:x|#Level:Host|#hostname:h,timestamp:1\n");
    let (state, text) = (nvml.path().join("state"), nvml.path().join("jobs.prom"));
    fs::write(&text, "jobs_done 1\n").unwrap();
    let paths = [&text, Path::new("--state.dir"), &state].map(|path| path.to_str().unwrap());
    let server = nvml.serve(&[&paths[..], &["--compat", "dcgm"]].concat());
    nvml.pass();
    nvml.set("count=2\n0.xids=13,79\n1.mig=1\n0.nvmlDeviceGetPowerUsage=!999\n");
    nvml.pass();
    let needed = [
        "gpu_info",
        "gpu_mig_info",
        "gpu_xid_errors_total",
        "inferometer_gpu_errors_total",
        "inferometer_textfile_error",
        "inferometer_durable",
        "inferometer_untyped_family",
        "inferometer_rejected_lines_total",
        "inferometer_collector_success",
        "host_load1",
    ];
    eventually("each of them has a series", || {
        let body = server.scrape();
        let has = |name: &&str| body.samples.keys().any(|(sample, _)| sample == *name);
        needed.iter().all(has).then_some(body)
    })
}

/// What one collector measures on a recorded machine, with node_exporter's names.
fn recorded(case: &str) -> Vec<FamilyView> {
    let folder = root().join("fixtures/host").join(case);
    let settings = Settings {
        enabled: vec!["host"],
        interval: Duration::from_secs(5),
        compat: vec![Compat::NodeExporter],
        procfs: folder.join("proc"),
        sysfs: folder.join("sys"),
    };
    let context = Context::new(settings, Arc::new(|| Arc::from([])));
    let entry = COLLECTORS.iter().find(|entry| entry.name == "host").unwrap();
    (entry.open)(&context).read().unwrap()
}

// The tables.

/// Every table by its mark.
fn tables() -> Vec<(&'static str, String)> {
    let machine = whole_machine();
    let mut tables = vec![("torchserve", table(&declared()))];
    let derived = torchserve(&[]);
    tables.push(("derived", table(&derived_rows(&derived))));
    tables.push(("conventional", conventional(&torchserve(&["--naming", "prometheus"]))));
    tables.push(("formats", formats()));
    tables.push(("uniform", table(&uniform())));
    tables.push(("compat-vllm", list(old().into_iter().map(|metric| metric.name.to_owned()))));
    let hosts = goldens("host", |name| name == "expected.prom");
    let host_labels = Labels::of_bodies(&hosts);
    let measured = |prefix: &str| {
        let rows = hosts.iter().flat_map(|body| rows_of(body, &host_labels, |name| name.starts_with(prefix)));
        by_name(rows.filter(|row| row.name != "model_worker_gpu_memory_bytes"))
    };
    let host = RECORDED.into_iter().flat_map(recorded);
    let host = host.filter(|family| family.name.starts_with("host_"));
    tables.push(("host", table(&by_name(host.map(|family| Row::of_view(&family, &host_labels))))));
    tables.push(("cgroup", table(&measured("cgroup_"))));
    tables.push(("worker", table(&measured("model_worker_"))));
    let machine_labels = Labels::of_bodies([&machine]);
    tables.push(("gpu", table(&gpus(&machine_labels))));
    tables.push(("compat-dcgm", list(starting(&machine, "DCGM_"))));
    tables.push(("compat-node_exporter", list(node_exporter())));
    tables.push(("own", table(&own(&machine, &machine_labels))));
    tables
}

/// The families of the `metrics.yaml` that is built in.
fn declared() -> Vec<Row> {
    let row = |it: &parsers::Declaration| Row {
        name: it.name.clone(),
        kind: it.kind.label().to_owned(),
        labels: it.labels.join(", "),
        help: format!("Unit: {}.", it.unit),
    };
    Catalog::torchserve_default().iter().map(row).collect()
}

/// What is derived from TorchServe's lines, but for the histograms of handlers' own metrics.
fn derived_rows(bodies: &[Exposition]) -> Vec<Row> {
    let catalog = Catalog::torchserve_default();
    let verbatim: BTreeSet<&str> = catalog.iter().map(|it| &*it.name).collect();
    let labels = Labels::of_bodies(bodies);
    let is_derived = |name: &str| name.starts_with("ts_") && !verbatim.contains(name);
    let rows = bodies.iter().flat_map(|body| rows_of(body, &labels, is_derived));
    by_name(rows.filter(|row| origin(&row.help).is_none_or(|origin| verbatim.contains(origin))))
}

/// The metric of the log that HELP names.
fn origin(help: &str) -> Option<&str> {
    let (_, rest) = help.split_once("From ")?;
    rest.split_once(", unit ").map(|(name, _)| name)
}

/// TorchServe's own families and their names by the conventions.
fn conventional(bodies: &[Exposition]) -> String {
    let rows = by_name(bodies.iter().flat_map(|body| rows_of(body, &Labels::default(), |_| true)));
    let mut text = "| in the log | `--naming prometheus` | type |\n|---|---|---|\n".to_owned();
    for declared in declared() {
        let theirs: Vec<&Row> =
            rows.iter().filter(|row| origin(&row.help) == Some(&*declared.name)).collect();
        assert!(!theirs.is_empty(), "{} has no name by the conventions", declared.name);
        for row in theirs {
            writeln!(text, "| `{}` | `{}` | {} |", declared.name, row.name, row.kind).unwrap();
        }
    }
    text
}

fn by_name(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let rows: BTreeMap<String, Row> = rows.map(|row| (row.name.clone(), row)).collect();
    rows.into_values().collect()
}

/// A table for each format whose families are known in advance.
fn formats() -> String {
    let mut text = String::new();
    let folders = FORMATS.iter().filter(|format| !(format.metrics)().is_empty());
    let everywhere = Labels::of_bodies(&folders.flat_map(|it| goldens(it.name, is_ours)).collect::<Vec<_>>());
    for format in FORMATS {
        let metrics = distinct((format.metrics)());
        if metrics.is_empty() {
            continue;
        }
        let mut labels = Labels::of_bodies(&goldens(format.name, is_ours));
        labels.add_seeds(format);
        for (family, names) in &everywhere.0 {
            labels.0.entry(family.clone()).or_insert_with(|| names.clone());
        }
        let rows: Vec<Row> = metrics.iter().map(|metric| Row::of_metric(metric, &labels)).collect();
        write!(text, "### `{}`\n\n{}\n", format.name, table(&rows)).unwrap();
    }
    text.trim_end().to_owned() + "\n"
}

fn distinct(metrics: Vec<&'static Metric<'static>>) -> Vec<&'static Metric<'static>> {
    let mut seen = BTreeSet::new();
    metrics.into_iter().filter(|metric| seen.insert(metric.name)).collect()
}

fn all_metrics() -> Vec<&'static Metric<'static>> {
    FORMATS.iter().flat_map(|format| (format.metrics)()).collect()
}

/// The schema of all servers.
fn uniform() -> Vec<Row> {
    let shared = all_metrics().into_iter().flat_map(|metric| metric.uniform);
    let metrics = distinct(shared.map(|uniform| uniform.metric).collect());
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for uniform in all_metrics().into_iter().flat_map(|metric| metric.uniform) {
        let names = uniform.labels.iter().map(|(_, name)| (*name).to_owned());
        labels.entry(uniform.metric.name.to_owned()).or_default().extend(names);
    }
    let labels = Labels(labels);
    metrics.into_iter().map(|metric| Row::of_metric(metric, &labels)).collect()
}

/// Names that a server had once.
fn old() -> Vec<&'static Metric<'static>> {
    distinct(all_metrics().into_iter().flat_map(|metric| metric.old).map(|old| old.metric).collect())
}

fn gpus(labels: &Labels) -> Vec<Row> {
    let single = gpu::FAMILIES.iter().map(|it| Row::new(it.name, it.kind.label(), it.help, labels));
    let others = gpu::OTHERS.iter().filter(|(name, ..)| !name.starts_with("inferometer_"));
    single.chain(others.map(|(name, help, kind)| Row::new(name, kind.label(), help, labels))).collect()
}

fn starting(body: &Exposition, prefix: &str) -> Vec<String> {
    body.families.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
}

fn node_exporter() -> Vec<String> {
    let all = RECORDED.into_iter().flat_map(recorded);
    all.map(|family| family.name).filter(|name| name.starts_with("node_")).collect()
}

/// What the process says of itself; the crate's tables come first, since those families need no event.
fn own(machine: &Exposition, labels: &Labels) -> Vec<Row> {
    let crates = Instruments::new().unwrap().families();
    let crates = crates.iter().map(|view| Row::of_view(view, labels));
    by_name(crates.chain(rows_of(machine, labels, |name| name.starts_with("inferometer_"))))
}

// The claims.

#[test]
fn the_tables_of_the_page_are_what_the_code_says() {
    let mut text = fs::read_to_string(page()).unwrap();
    for (mark, table) in tables() {
        let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no mark {mark}"));
        let (observed, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no end of {mark}"));
        let expected = format!("\n{table}\n");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            text = format!("{before}{begin}{expected}{end}{after}");
            continue;
        }
        let lines = observed.lines().zip(expected.lines());
        let differs = lines.clone().find(|(observed, expected)| observed != expected);
        let remedy = "UPDATE_GOLDENS=1 cargo test --test tests metrics_table:: writes it";
        assert_eq!(None, differs, "deploy/metrics.md, {mark}: there, and by the code; {remedy}");
        assert_eq!(observed.lines().count(), expected.lines().count(), "deploy/metrics.md, {mark}; {remedy}");
    }
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(page(), text).unwrap();
    }
}

/// The families that the page lists.
fn listed() -> BTreeSet<String> {
    let text = fs::read_to_string(page()).unwrap();
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("| `") {
            names.extend(rest.split('`').next().map(str::to_owned));
        } else if line.starts_with('`') {
            names.extend(line.split(" · ").map(|name| name.trim_matches('`').to_owned()));
        }
    }
    names
}

#[test]
fn a_demo_on_a_machine_with_gpus_exposes_nothing_else() {
    let nvml = Nvml::new("count=2");
    let mut command = inferometer();
    command
        .args(["demo", "--web.listen-address", "127.0.0.1:0", "--collector.interval", "100ms"])
        .args(["--compat", "node_exporter,dcgm"])
        .env("LD_LIBRARY_PATH", nvml.path())
        .env("FAKE_NVML_STATE", nvml.path().join("scenario"))
        .env("FAKE_NVML_CALLS", nvml.path().join("calls"));
    let server = Server::launch(command).until_ready();
    let body = eventually("GPUs and latencies are shown", || {
        let body = server.scrape();
        let has = |name: &&str| body.families.contains_key(*name);
        ["gpu_info", "host_load1", "ts_inference_latency_seconds"].iter().all(has).then_some(body)
    });
    let listed = listed();
    let traffic = fs::read_to_string(root().join("fixtures/demo/traffic.txt")).unwrap();
    let verbatim: BTreeSet<String> = declared().into_iter().map(|row| row.name).collect();
    let is_handlers = |name: &str| {
        let is_logged = traffic.contains(&format!(" - {name}."));
        is_logged && !verbatim.contains(name)
    };
    let others = body.families.iter().filter(|(name, family)| {
        // What /proc/meminfo, /proc/net/netstat and /proc/net/snmp hold is the kernel's choice.
        let of_kernel = ["node_memory_", "node_netstat_", "node_sockstat_"];
        let is_kernels = of_kernel.iter().any(|prefix| name.starts_with(prefix));
        let is_derived = family.help.as_deref().and_then(origin).is_some_and(is_handlers);
        !(listed.contains(*name) || is_kernels || is_handlers(name) || is_derived)
    });
    assert_eq!(Vec::<&String>::new(), others.map(|(name, _)| name).collect::<Vec<_>>());
    assert!(body.families.len() > 200, "{}", body.families.len());
}

#[test]
fn what_the_goldens_show_is_listed() {
    let listed = listed();
    for format in FORMATS.iter().filter(|format| !(format.metrics)().is_empty()) {
        for name in goldens(format.name, is_ours).iter().flat_map(|body| body.families.keys()) {
            assert!(listed.contains(name), "{}: {name}", format.name);
        }
    }
    for name in goldens("deepsparse", is_ours).iter().flat_map(|body| body.families.keys()) {
        assert!(name.starts_with("deepsparse_"), "{name}");
    }
    for name in goldens("host", |name| name == "expected.prom").iter().flat_map(|body| body.families.keys()) {
        assert!(listed.contains(name), "{name}");
    }
}

/// What a line measures is in its format's list, so that a metric that is added cannot be forgotten there.
#[test]
fn formats_feed_only_the_families_that_they_name() {
    let catalog = Catalog::default();
    let mut fed = 0;
    for format in FORMATS.iter().filter(|format| !(format.metrics)().is_empty()) {
        let known: BTreeSet<&str> = (format.metrics)().into_iter().map(|metric| metric.name).collect();
        for entry in fs::read_dir(root().join("fixtures").join(format.name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "log") {
                continue;
            }
            for line in fs::read(&path).unwrap().split_inclusive(|byte| *byte == b'\n') {
                (format.parse)(line, &catalog, &mut |event| {
                    if let Event::Measured(it) = event {
                        assert!(known.contains(it.metric.name), "{}: {}", format.name, it.metric.name);
                        fed += 1;
                    }
                })
                .ok();
            }
        }
    }
    assert!(fed > 1000, "{fed}");
}

/// Whatever looks like a name of ours in the sources is listed.
#[test]
fn names_in_the_sources_are_listed() {
    /// What only begins like a family.
    const OTHERS: &[&str] = &[
        "DCGM_FI_DRIVER_VERSION",
        "gpu_idle",
        "gpu_is_lost",
        "gpu_memory_bytes",
        "gpu_uuid",
        "model_metrics",
        "model_name",
        "model_version",
        "node_exporter",
        "ts_metrics",
    ];
    let listed = listed();
    let mut missing = BTreeSet::new();
    let mut seen = 0;
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for word in literals(&text).filter(|word| looks_like_ours(word)) {
            seen += 1;
            if !listed.contains(word) && !OTHERS.contains(&word) {
                missing.insert(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(seen > 150, "{seen}");
    assert_eq!(BTreeSet::new(), missing);
}

/// Texts in quotes, before a file's tests and outside of comments.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2))
}

fn looks_like_ours(word: &str) -> bool {
    let ours = ["inferometer_", "host_", "cgroup_", "gpu_", "model_", "ts_", "node_", "DCGM_"];
    let is_name = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name && !word.ends_with('_') && ours.iter().any(|prefix| word.starts_with(prefix))
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src"), root().join("parsers/src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    files
}
