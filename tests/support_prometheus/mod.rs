//! Debian's real Prometheus and `inferometer demo`, each as a process that ends with its test.

use crate::support::exposition::Series;
use crate::support::http;
use crate::support::process::inferometer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a process may take to start or to end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until the answer is good; fails with the last objection when it stays bad.
pub(crate) fn within<T>(limit: Duration, claim: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(answer) => return answer,
            Err(objection) => {
                assert!(Instant::now() < deadline, "not within {limit:?}: {claim}: {objection}");
            }
        }
        std::thread::sleep(Duration::from_millis(100)); // allow-sleep: pacing a bounded poll
    }
}

/// A running `inferometer demo`; killed when dropped.
pub(crate) struct Demo {
    child: Child,
    /// Where its metrics are.
    pub(crate) address: SocketAddr,
    /// The folder of logs that it says it writes.
    pub(crate) folder: PathBuf,
    /// What is `TMPDIR` for it alone, so that nothing it leaves behind goes unseen.
    pub(crate) temporary: PathBuf,
    /// Holds that folder and the demo's stderr.
    _holder: TempDir,
}

impl Demo {
    /// Starts it on a free port and waits until it has said where everything is.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// The same with what this adds to its command.
    pub(crate) fn start_with(add: impl FnOnce(&mut Command)) -> Self {
        let holder = tempfile::tempdir().expect("a temporary folder");
        let (temporary, errors) = (holder.path().join("tmp"), holder.path().join("stderr"));
        std::fs::create_dir(&temporary).expect("a folder inside");
        let mut command = inferometer();
        command
            .args(["demo", "--web.listen-address", "127.0.0.1:0"])
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a file for stderr"));
        add(&mut command);
        let mut child = command.spawn().expect("the binary starts");
        let said = keep(child.stdout.take().expect("stdout is piped"));
        // Built before the wait, so that a failed wait drops it, and with it the process.
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut demo = Self { child, address, folder: PathBuf::new(), temporary, _holder: holder };
        (demo.address, demo.folder) = within(PATIENCE, "the demo prints its URL and its folder", || {
            let said = said.lock().expect("stdout is whole").clone();
            let found = metrics_address(&said).zip(folder_below(&said, &demo.temporary));
            found.ok_or_else(|| format!("stdout:\n{said}\nstderr:\n{}", contents(&errors)))
        });
        demo
    }

    /// The body of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let reply = http::get(self.address, "/metrics");
        assert_eq!(200, reply.status, "{}", reply.body);
        reply.body
    }

    /// Sends a signal, such as `TERM`, and waits for the end.
    pub(crate) fn end_by(&mut self, signal: &str) -> ExitStatus {
        let kill = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status();
        assert!(kill.expect("sh starts").success(), "kill failed");
        within(PATIENCE, "the demo ends after a signal", || {
            self.child.try_wait().expect("a child to wait for").ok_or_else(|| format!("SIG{signal}: running"))
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A running Prometheus that scrapes one target each second; killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    /// Holds its configuration, its database and its log.
    _folder: TempDir,
}

impl Prometheus {
    /// Starts it on a free port and waits until it answers queries.
    pub(crate) fn scraping(target: SocketAddr) -> Self {
        Self::with_flags(&demo(target), &[])
    }

    /// The same with these entries of `scrape_configs`.
    pub(crate) fn with_jobs(jobs: &str) -> Self {
        Self::with_flags(jobs, &[])
    }

    /// The same with these jobs and the rules of these files, evaluated each second.
    pub(crate) fn with_rules(jobs: &str, rules: &[PathBuf]) -> Self {
        let files: Vec<String> = rules.iter().map(|file| format!("'{}'", file.display())).collect();
        let rules = format!("rule_files: [{}]\n", files.join(", "));
        Self::in_folder(
            tempfile::tempdir().expect("a temporary folder"),
            &format!("global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n{rules}"),
            jobs,
            &[],
        )
    }

    /// The same as [`scraping`](Self::scraping), and it keeps exemplars.
    pub(crate) fn keeping_exemplars(target: SocketAddr) -> Self {
        Self::with_flags(&demo(target), &["--enable-feature=exemplar-storage"])
    }

    /// One that scrapes nothing and has these blocks, which are moved away from where they are.
    pub(crate) fn over_blocks(blocks: &Path, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::rename(blocks, folder.path().join("data")).expect("both are on one disk");
        // By their own time: they may be of any year.
        Self::in_folder(
            folder,
            "global: {scrape_interval: 1s}\n",
            "",
            &[&["--storage.tsdb.retention.time=100y"], flags].concat(),
        )
    }

    /// With these entries of `scrape_configs` and these flags.
    pub(crate) fn with_flags(jobs: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::in_folder(folder, "global: {scrape_interval: 1s}\n", jobs, flags)
    }

    fn in_folder(folder: TempDir, head: &str, jobs: &str, flags: &[&str]) -> Self {
        let config = folder.path().join("prometheus.yml");
        let text = format!("{head}scrape_configs: [{jobs}]\n");
        std::fs::write(&config, text).expect("the configuration is written");
        let log = folder.path().join("log");
        let child = tool("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            // It logs the port that it got, so none has to be guessed.
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("prometheus", &error)));
        let mut prometheus = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), _folder: folder };
        prometheus.address = within(PATIENCE, "Prometheus opens its port", || {
            let said = contents(&log);
            listening_address(&said).ok_or(said)
        });
        within(PATIENCE, "Prometheus is ready", || {
            let reply =
                http::request(prometheus.address, "GET", "/-/ready").map_err(|error| error.to_string())?;
            if reply.status == 200 { Ok(()) } else { Err(reply.body) }
        });
        prometheus
    }

    /// An instant query's values, by the label that tells them apart (empty where there is none).
    pub(crate) fn query(&self, expression: &str, label: &str) -> Result<BTreeMap<String, f64>, String> {
        let answer = self.ask("query", &[("query", expression)])?;
        let results = answer.pointer("/result").and_then(Value::as_array).ok_or("no result")?;
        Ok(results.iter().map(|result| (label_of(result, label), value_of(result))).collect())
    }

    /// The points of all series of an expression, one each so many seconds: time and bits of the value.
    pub(crate) fn range(
        &self,
        expression: &str,
        first: i64,
        last: i64,
        step: i64,
    ) -> Result<BTreeMap<Series, BTreeMap<i64, u64>>, String> {
        let [first, last, step] = [first, last, step].map(|number| number.to_string());
        let asked = [("query", expression), ("start", &first), ("end", &last), ("step", &step)];
        let answer = self.ask("query_range", &asked)?;
        let results = answer.pointer("/result").and_then(Value::as_array).ok_or("no result")?;
        Ok(results.iter().map(|result| (series_of(result), points_of(result))).collect())
    }

    /// The exemplars of all series of a selector: the id of the request, the value, and seconds since 1970.
    pub(crate) fn exemplars(&self, selector: &str) -> Result<Vec<(String, f64, f64)>, String> {
        let asked = [("query", selector), ("start", "0"), ("end", "9999999999")];
        let answer = self.ask("query_exemplars", &asked)?;
        let series = answer.as_array().ok_or("no series")?;
        let exemplars = series.iter().filter_map(|series| series.pointer("/exemplars")?.as_array()).flatten();
        Ok(exemplars.map(exemplar_of).collect())
    }

    /// The data of an answer of its HTTP API, below `/api/v1`.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut target = format!("/api/v1/{path}?");
        for (name, value) in parameters {
            write!(target, "{name}={}&", percent_encoded(value)).expect("a string takes everything");
        }
        let reply = http::request(self.address, "GET", &target).map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&reply.body).map_err(|error| error.to_string())?;
        answer.get_mut("data").map(Value::take).ok_or(reply.body)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The entry of `scrape_configs` for one address.
fn demo(target: SocketAddr) -> String {
    format!("{{job_name: demo, static_configs: [{{targets: ['{target}']}}]}}")
}

/// Has `promtool check metrics` read a scrape's body.
pub(crate) fn promtool_check_metrics(body: &str) -> Output {
    let mut child = tool("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing("promtool", &error)));
    // It reads all of its input before it writes, so neither side waits for the other.
    child.stdin.take().expect("stdin is piped").write_all(body.as_bytes()).expect("promtool reads");
    child.wait_with_output().expect("promtool ends")
}

/// Runs `promtool` in a folder to its end.
pub(crate) fn promtool(folder: &Path, arguments: &[&str]) -> Output {
    let output = tool("promtool").args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{}", missing("promtool", &error)))
}

/// A tool found in `PATH`, without the proxy settings that would keep it from loopback.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

fn missing(tool: &str, error: &std::io::Error) -> String {
    format!("cannot start {tool}: {error}; install Debian's package `prometheus` (tests/run.sh does)")
}

fn end(child: &mut Child) {
    // It may have ended already; nothing is left to do then.
    drop(child.kill());
    drop(child.wait());
}

/// Keeps a pipe read, so that the process never blocks on it.
fn keep(pipe: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut said = sink.lock().expect("stdout is whole");
            said.push_str(&line);
            said.push('\n');
        }
    });
    said
}

fn contents(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}

/// The address in `http://127.0.0.1:PORT/metrics`.
fn metrics_address(said: &str) -> Option<SocketAddr> {
    said.split_whitespace()
        .filter_map(|word| word.split_once("http://")?.1.split_once("/metrics"))
        .find_map(|(address, _)| address.parse().ok())
}

/// The first word that is a path below a folder.
fn folder_below(said: &str, folder: &Path) -> Option<PathBuf> {
    said.split_whitespace()
        .map(|word| Path::new(word.trim_matches(['"', '\'', '`', '(', ')', ',', ';', ':'])))
        .find(|path| path.starts_with(folder) && *path != folder)
        .map(Path::to_path_buf)
}

/// The address in Prometheus' `msg="Listening on" address=127.0.0.1:PORT`.
fn listening_address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("msg=\"Listening on\" address=")?;
    // A line that is only half written would give a port cut short.
    rest.split_once('\n')?.0.split(' ').next()?.parse().ok()
}

fn label_of(result: &Value, label: &str) -> String {
    let value = result.pointer(&format!("/metric/{label}")).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn series_of(result: &Value) -> Series {
    let labels = result.pointer("/metric").and_then(Value::as_object).expect("labels");
    let mut labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("a label is text").to_owned()))
        .collect();
    (labels.remove("__name__").expect("a name"), labels)
}

fn points_of(result: &Value) -> BTreeMap<i64, u64> {
    let values = result.pointer("/values").and_then(Value::as_array).expect("values");
    let point = |point: &Value| {
        let time = point.pointer("/0").and_then(Value::as_f64).expect("a time");
        let value: f64 =
            point.pointer("/1").and_then(Value::as_str).expect("a value").parse().expect("a number");
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        (time as i64, value.to_bits())
    };
    values.iter().map(point).collect()
}

/// The value of one result; Prometheus writes it as text, `NaN` and `+Inf` included.
fn value_of(result: &Value) -> f64 {
    let text = result.pointer("/value/1").and_then(Value::as_str).expect("an instant value");
    text.parse().expect("a number")
}

fn exemplar_of(exemplar: &Value) -> (String, f64, f64) {
    let text = |place| exemplar.pointer(place).and_then(Value::as_str);
    let id = text("/labels/request_id").expect("the label of the request").to_owned();
    let value = text("/value").and_then(|value| value.parse().ok()).expect("a number");
    (id, value, exemplar.pointer("/timestamp").and_then(Value::as_f64).expect("a time"))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
        encoded
    })
}
