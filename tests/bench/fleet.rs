//! Many sidecars under one real Prometheus: what a node and a fleet carry.
//!
//! Each sidecar follows a log folder of its own with a state folder of its own and all collectors on, as in a pod; this
//! program is all of the servers. Prometheus is a Prometheus of 15 s, then one in agent mode that writes on to another.

use crate::program::{self, Program};
use crate::report;
use crate::traffic::{Traffic, exact};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Seconds between two scrapes of a sidecar.
const SCRAPE_S: u64 = 15;

/// Until every sidecar has been scraped some times.
const WARM_UP: Duration = Duration::from_secs(60);

/// What is measured: eight scrapes of each.
const MEASURED: Duration = Duration::from_secs(120);

/// Models of a server.
const MODELS: usize = 3;

/// Requests of a server in a second: 160 lines.
const REQUESTS: usize = 20;

/// How often all servers have written their requests of that time.
const TURN: Duration = Duration::from_secs(1);

/// Measures fleets of these sizes and writes the part of `deploy/SCALE.md`.
pub(crate) fn run(sizes: &[usize]) {
    let plain = |size: &usize| measure(*size, &[], Receiver::Prometheus);
    let mut rows: Vec<Measured> = sizes.iter().map(plain).collect();
    if let Some(most) = sizes.last() {
        rows.push(measure(*most, &["--no-collector.host", "--no-collector.worker"], Receiver::Prometheus));
        rows.push(measure(*most, &[], Receiver::Agent));
    }
    let machine = report::machine();
    report::replace(&report::top().join("deploy/SCALE.md"), "fleet", &format!("{machine}\n{}", table(&rows)));
}

/// Who scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    /// A Prometheus that keeps what it scrapes.
    Prometheus,
    /// A Prometheus in agent mode, which sends it to another one.
    Agent,
}

/// What one fleet costs.
struct Measured {
    name: String,
    sidecars: Costs,
    scraper: Costs,
    /// Samples that were scraped of a sidecar at once.
    series: f64,
    /// Seconds of a scrape.
    scrape_p50: f64,
    scrape_p99: f64,
    /// Bytes of a scrape over the wire, compressed.
    body: f64,
    /// Series that Prometheus has; none in agent mode.
    head: Option<f64>,
    /// Bytes that the agent has sent in a second.
    sent: Option<f64>,
}

/// Of processes of one kind, all together.
#[derive(Clone, Copy, Default)]
struct Costs {
    /// Part of a core.
    cpu: f64,
    /// MiB.
    resident: f64,
    /// MiB, without what processes share.
    own: f64,
    count: usize,
}

fn measure(size: usize, options: &[&str], receiver: Receiver) -> Measured {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers: Vec<Server> = (0..size).map(|at| Server::new(folder.path(), at)).collect();
    servers.iter_mut().for_each(|server| server.write(10));
    let start = |server: &Server| {
        let sidecar = program::inferometer(&server.logs(), options, Some(&server.folder.join("state")));
        sidecar.until_ready()
    };
    let sidecars: Vec<Program> = servers.iter().map(start).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = write_all(servers, is_over.clone());
    let store = (receiver == Receiver::Agent).then(|| store(folder.path()));
    let scraper = scraper(folder.path(), &sidecars, store.as_ref());

    thread::sleep(WARM_UP); // allow-sleep: the time that is measured begins when all has been scraped
    let watched = [&scraper];
    let before = (spent(&sidecars), spent(&watched), sent(&scraper), Instant::now());
    thread::sleep(MEASURED); // allow-sleep: this is the measurement
    let elapsed = before.3.elapsed().as_secs_f64();
    let costs = |before: f64, programs: &[&Program]| Costs {
        cpu: (spent(programs) - before) / elapsed,
        ..memory(programs)
    };
    let all: Vec<&Program> = sidecars.iter().collect();
    let (of_sidecars, of_scraper) = (costs(before.0, &all), costs(before.1, &watched));
    let rate = sent(&scraper).zip(before.2).map(|(after, before)| (after - before) / elapsed);
    // A last scrape of everything, after the last line.
    is_over.store(true, Ordering::Relaxed);
    let truth = writer.join().expect("the writer");
    thread::sleep(Duration::from_secs(2 * SCRAPE_S)); // allow-sleep: a scrape of each
    let asked = store.as_ref().unwrap_or(&scraper);
    let ask = |query: &str| asked.query(query);
    assert!((ask("sum(up)") - exact(size as u64)).abs() < 0.5, "every sidecar is up");
    assert!((ask("min(min_over_time(up[3m]))") - 1.0).abs() < 0.5, "and always was");
    let counted = ask("sum(ts_inference_requests_total)");
    assert!((counted - exact(truth)).abs() < 0.5, "{counted} of {truth} requests have arrived in Prometheus");
    let length = |sidecar: &Program| exact(sidecar.compressed_scrape() as u64);
    let measured = Measured {
        name: format!(
            "{size}{}{}",
            if options.is_empty() { String::new() } else { format!(", `{}`", options.join(" ")) },
            if receiver == Receiver::Agent { ", agent" } else { "" }
        ),
        sidecars: of_sidecars,
        scraper: of_scraper,
        series: ask("avg(scrape_samples_scraped)"),
        scrape_p50: ask("quantile(0.5, quantile_over_time(0.5, scrape_duration_seconds[2m]))"),
        scrape_p99: ask("quantile(0.99, quantile_over_time(0.99, scrape_duration_seconds[2m]))"),
        body: sidecars.iter().take(5).map(length).sum::<f64>() / 5.0,
        head: scraper.scrape().ok().map(|body| program::sum(&body, "prometheus_tsdb_head_series", "")),
        sent: rate,
    };
    print!("{}", row(&measured));
    measured
}

/// A pretended TorchServe.
struct Server {
    folder: PathBuf,
    traffic: Traffic,
    log: File,
}

impl Server {
    fn new(folder: &Path, at: usize) -> Self {
        let folder = folder.join(format!("pod-{at:04}"));
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).expect("a temporary folder");
        let log = OpenOptions::new().create(true).append(true).open(logs.join("model_metrics.log"));
        Self { folder, traffic: Traffic::of_models(0..MODELS, at as u64), log: log.expect("a file in it") }
    }

    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    fn write(&mut self, requests: usize) {
        let lines = self.traffic.requests(requests);
        self.log.write_all(lines.as_bytes()).expect("the disk takes it");
    }
}

/// Has all servers write, one after the other so that they do not write at once; tells how many requests there were.
fn write_all(mut servers: Vec<Server>, is_over: Arc<AtomicBool>) -> JoinHandle<u64> {
    thread::spawn(move || {
        let pause = TURN / u32::try_from(servers.len()).expect("a number of servers");
        let mut next = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            for server in &mut servers {
                server.write(REQUESTS);
                next += pause;
                thread::sleep(next.saturating_duration_since(Instant::now())); // allow-sleep: the pace of the servers
            }
        }
        servers.iter().map(|server| server.traffic.truth.requests).sum()
    })
}

/// Starts the Prometheus that scrapes them all.
fn scraper(folder: &Path, sidecars: &[Program], store: Option<&Program>) -> Program {
    let mut config = format!(
        "global: {{scrape_interval: {SCRAPE_S}s, scrape_timeout: 10s}}\nscrape_configs:\n  - job_name: inferometer\n    static_configs:\n"
    );
    for (at, sidecar) in sidecars.iter().enumerate() {
        writeln!(
            config,
            "      - {{targets: [\"127.0.0.1:{}\"], labels: {{pod: \"pod-{at:04}\"}}}}",
            sidecar.port()
        )
        .expect("a String");
    }
    if let Some(store) = store {
        writeln!(config, "remote_write: [{{url: \"http://127.0.0.1:{}/api/v1/write\"}}]", store.port())
            .expect("a String");
    }
    let options: &[&str] = if store.is_some() { &["--enable-feature=agent"] } else { &[] };
    prometheus(&folder.join("scraper"), &config, options, store.is_some())
}

/// Starts the Prometheus that an agent writes to.
fn store(folder: &Path) -> Program {
    prometheus(&folder.join("store"), "", &["--web.enable-remote-write-receiver"], false)
}

fn prometheus(folder: &Path, config: &str, options: &[&str], is_agent: bool) -> Program {
    fs::create_dir_all(folder).expect("a temporary folder");
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).expect("the disk takes it");
    let port = program::free_port();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    let data = if is_agent { "--storage.agent.path" } else { "--storage.tsdb.path" };
    command.arg(format!("{data}={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).args(options);
    let mut program = Program::start(command, port).expect("prometheus is installed");
    program.until_served();
    program
}

/// Processor seconds since their starts.
fn spent<P: std::borrow::Borrow<Program>>(programs: &[P]) -> f64 {
    programs.iter().map(|program| program.borrow().cpu().as_secs_f64()).sum()
}

fn memory(programs: &[&Program]) -> Costs {
    let total = |name: &str| programs.iter().map(|program| program.memory(name)).sum();
    Costs {
        cpu: 0.0,
        resident: total("VmRSS"),
        own: programs.iter().map(|program| program.proportional_memory()).sum(),
        count: programs.len(),
    }
}

/// Bytes that an agent has sent; none where nothing is sent.
fn sent(scraper: &Program) -> Option<f64> {
    let bytes = program::sum(&scraper.scrape().ok()?, "prometheus_remote_storage_bytes_total", "");
    (bytes > 0.0).then_some(bytes)
}

fn table(rows: &[Measured]) -> String {
    let mut table = "| sidecars | CPU of a sidecar | RSS | PSS | series of a sidecar | body, gzip | scrape p50 | p99 | Prometheus CPU | RSS | series in the head | sent |\n\
                     |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    rows.iter().for_each(|measured| table += &row(measured));
    table
}

fn row(measured: &Measured) -> String {
    let Measured { name, sidecars, scraper, series, scrape_p50, scrape_p99, body, head, sent } = measured;
    let count = exact(sidecars.count as u64);
    let or_none = |value: &Option<f64>, write: fn(f64) -> String| value.map_or("-".to_owned(), write);
    format!(
        "| {name} | {:.2} % | {:.1} MiB | {:.1} MiB | {series:.0} | {:.1} KiB | {:.1} ms | {:.1} ms | {:.1} % | {:.0} MiB | {} | {} |\n",
        sidecars.cpu / count * 100.0,
        sidecars.resident / count,
        sidecars.own / count,
        body / 1024.0,
        scrape_p50 * 1e3,
        scrape_p99 * 1e3,
        scraper.cpu * 100.0,
        scraper.resident,
        or_none(&head.filter(|head| *head > 0.0), |head| format!("{head:.0}")),
        or_none(sent, |sent| format!("{:.0} KiB/s", sent / 1024.0)),
    )
}
