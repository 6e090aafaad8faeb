//! Prometheus text files as sources, with the real binary: DeepSparse's own file comes out as it went in, replaced or
//! damaged, old or hostile.

use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::lines::{HOST, append, requests};
use crate::support::process::{Server, eventually, run, wait_for};
use inferometer::collect::Collector;
use inferometer::collect::textfile::{Settings, TextFile, TextFiles};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn deepsparse() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/textfile/deepsparse.prom");
    fs::read_to_string(path).unwrap()
}

/// As a writer that knows what it does: whole, by rename.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

fn start(path: &Path, arguments: &[&str]) -> Server {
    let mut command = run();
    command.arg(path).args(["--collector.interval", "100ms"]).args(arguments);
    // What the file says of its own process is about that process; ours comes from the real one.
    for collector in ["HOST", "CGROUP", "WORKER", "GPU"] {
        command.env(format!("INFEROMETER_COLLECTOR_{collector}"), "false");
    }
    Server::launch(command).until_ready()
}

#[track_caller]
fn shows(server: &Server, name: &str, expected: Option<f64>) -> Exposition {
    eventually(&format!("{name} is {expected:?}"), || {
        let body = server.scrape();
        (body.value(name, &[]) == expected).then_some(body)
    })
}

fn own<'a>(body: &'a Exposition, name: &str) -> impl Iterator<Item = f64> + 'a {
    let name = format!("inferometer_textfile_{name}");
    body.samples.iter().filter(move |((known, _), _)| *known == name).map(|(_, bits)| f64::from_bits(*bits))
}

#[test]
fn deepsparses_own_file_comes_out_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prometheus_logs.prom");
    let text = deepsparse();
    replace(&path, &text);
    let server = start(&path, &[]);
    let theirs = Exposition::strict(&text).unwrap();
    let body = eventually("the file's families", || {
        let body = server.scrape();
        theirs.families.keys().all(|name| body.families.contains_key(name)).then_some(body)
    });
    // The process is another one's, but its families have the names of ours: left out, and counted.
    let is_process = |name: &str| name.starts_with("process_");
    let left_out = theirs.families.keys().filter(|name| is_process(name)).count();
    assert_eq!(Some(left_out as f64), body.value("inferometer_textfile_left_out_families", &[]));
    for (name, family) in theirs.families.iter().filter(|(name, _)| !is_process(name)) {
        assert_eq!(Some(family), body.families.get(name), "{name}");
    }
    let samples = theirs.samples.iter().filter(|((name, _), _)| !is_process(name));
    for (series, bits) in samples {
        assert_eq!(Some(bits), body.samples.get(series), "{series:?}");
    }
    assert!(theirs.samples.len() > 50 && left_out > 0);
}

#[test]
fn a_replaced_file_is_read_anew_and_a_damaged_one_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.prom");
    let server = start(&path, &[]);
    let body = shows(&server, "a", None);
    assert!(own(&body, "error").eq([1.0]) || own(&body, "error").count() == 0);
    replace(&path, "# TYPE a gauge\na 1\n");
    shows(&server, "a", Some(1.0));
    replace(&path, "# TYPE a gauge\na 2\n");
    let body = shows(&server, "a", Some(2.0));
    assert!(own(&body, "error").eq([0.0]));
    replace(&path, "# TYPE a gauge\na 3\nb{\n");
    eventually("the damage", || own(&server.scrape(), "error").eq([1.0]).then_some(()));
    assert_eq!(Some(2.0), server.value("a", &[]), "what was read last is shown on");
    assert!(server.page().contains("expected a closing brace in line 3"), "{}", server.page());
    server.log_with("expected a closing brace in line 3");
    replace(&path, "# TYPE a gauge\na 4\n");
    shows(&server, "a", Some(4.0));
    fs::remove_file(&path).unwrap();
    shows(&server, "a", None);
}

#[test]
fn what_a_log_says_wins_and_no_sample_has_two_owners() {
    let folder = tempfile::tempdir().unwrap();
    let (log, text) = (folder.path().join("ts_metrics.log"), folder.path().join("a.prom"));
    append(&log, requests(3));
    replace(
        &text,
        "# TYPE Requests2XX gauge\nRequests2XX 99\n# TYPE ts_inference_latency_seconds_count gauge\n\
         inferometer_up 1\nprocess_threads 1\ninferometer_lines_total 1\ninferometer_commit_seconds_sum 7\nfree 5\n",
    );
    let server = start(&text, &[log.to_str().unwrap()]);
    wait_for(&server, 3.0);
    let body = shows(&server, "free", Some(5.0));
    assert_eq!(None, body.value("Requests2XX", &[]));
    assert_eq!(None, body.value("inferometer_up", &[]), "our own prefix is ours");
    assert_eq!(Some(3.0), body.value("Requests2XX", HOST));
    assert_eq!(
        Some(2.0),
        body.value("inferometer_textfile_left_out_families", &[]),
        "Requests2XX, process_threads"
    );
}

#[test]
fn labels_and_the_format_of_any_name_come_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("metrics.txt"), folder.path().join("c.yaml"));
    replace(&path, "a{x=\"1\"} 1\na{x=\"2\",server=\"own\"} 2\n");
    let text = format!("sources: [{{path: {}, format: textfile, labels: {{server: s}}}}]\n", path.display());
    fs::write(&config, text).unwrap();
    let server = start(&path, &["--config.file", config.to_str().unwrap()]);
    eventually("both series", || {
        let body = server.scrape();
        let one = body.value("a", &[("x", "1"), ("server", "s")])?;
        let two = body.value("a", &[("x", "2"), ("server", "own")])?;
        (one + two == 3.0).then_some(())
    });
    let check = crate::support::process::inferometer()
        .args(["check", "--config.file", config.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("metrics.txt (text file)"), "{said}");
}

#[test]
fn quantiles_and_a_filter_by_name_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.prom");
    replace(&path, "# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 4\ns_count 2\n");
    let server = start(&path, &[]);
    shows(&server, "s_count", Some(2.0));
    let body = |query: &str| http::get(server.address, &format!("/metrics?{query}")).body;
    assert_eq!("# HELP s \n# TYPE s summary\ns{quantile=\"0.5\"} 2.0\n", body("name[]=s"));
    assert_eq!("# HELP s \n# TYPE s summary\ns_sum 4.0\n", body("name[]=s_sum"));
}

/// The collector itself, to whom the files' ages can be told.
struct Files {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Files {
    fn new(texts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = (0..).zip(texts).map(|(number, text)| {
            let path = folder.path().join(format!("{number}.prom"));
            fs::write(&path, text).unwrap();
            path
        });
        let files = files.collect();
        Self { folder, files }
    }

    fn read(&self, series: usize, series_per_family: usize) -> Exposition {
        let file = |path: &PathBuf| TextFile { path: path.clone(), labels: BTreeMap::new() };
        let mut collector = TextFiles::new(Settings {
            files: self.files.iter().map(file).collect(),
            max_age: Duration::from_secs(300),
            series,
            series_per_family,
        });
        let families = collector.read().unwrap();
        let mut text = String::new();
        inferometer::expose::text::encode(&families, None, &mut text);
        Exposition::strict(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

#[test]
fn an_old_file_is_withheld() {
    let files = Files::new(&["a 1\n", "b 1\n"]);
    let old = fs::File::options().write(true).open(&files.files[0]).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(400)).unwrap();
    let body = files.read(100, 100);
    assert_eq!((None, Some(1.0)), (body.value("a", &[]), body.value("b", &[])));
    assert!(own(&body, "stale").eq([1.0, 0.0]), "by name");
}

#[test]
fn an_old_file_is_withheld_by_the_binary_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.prom");
    replace(&path, "a 1\n");
    let server = start(&path, &["--source.textfile-max-age", "200ms"]);
    eventually("it is stale", || own(&server.scrape(), "stale").eq([1.0]).then_some(()));
    assert_eq!(None, server.value("a", &[]));
    eventually("a new one is shown", || {
        replace(&path, "a 2\n");
        server.value("a", &[])
    });
}

#[test]
fn files_that_say_the_same_are_merged_within_the_limits() {
    let files = Files::new(&[
        "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n",
        "# TYPE a counter\na{x=\"2\"} 3\na{x=\"3\"} 4\n# TYPE b gauge\nb 1\n",
        "# TYPE a gauge\na{x=\"4\"} 5\n",
    ]);
    let body = files.read(100, 100);
    let values = ["1", "2", "3", "4"].map(|x| body.value("a", &[("x", x)]));
    assert_eq!([Some(1.0), Some(2.0), Some(4.0), None], values);
    assert!(own(&body, "dropped_series").eq([0.0, 1.0, 1.0]));
    let count =
        |body: &Exposition| body.samples.keys().filter(|(name, _)| name == "a" || name == "b").count();
    assert_eq!(2, count(&files.read(2, 100)));
    assert_eq!(2, count(&files.read(100, 1)), "one of each family");
}

#[test]
fn hostile_files_are_refused_whole_and_cost_little() {
    let files = Files::new(&["", "", "", "ok 1\n"]);
    fs::write(&files.files[0], "a 1\n".repeat(2 << 20)).unwrap();
    fs::write(&files.files[1], b"a\xff 1\n").unwrap();
    fs::remove_file(&files.files[2]).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&files.files[2]).status().unwrap().success());
    let body = files.read(100, 100);
    assert!(own(&body, "error").eq([1.0, 1.0, 1.0, 0.0]));
    assert_eq!(Some(1.0), body.value("ok", &[]));
    // As many series as fit into the file.
    let many: String = (0..200_000).map(|number| format!("a{{x=\"{number}\"}} 1\n")).collect();
    assert!((2 << 20..4 << 20).contains(&many.len()), "{}", many.len());
    fs::write(&files.files[0], &many).unwrap();
    let body = files.read(50, 100);
    assert_eq!(50, body.samples.keys().filter(|(name, _)| name == "a" || name == "ok").count());
    assert!(files.folder.path().is_dir());
}
