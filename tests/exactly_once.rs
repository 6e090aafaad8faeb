//! What a real Prometheus computes while inferometer starts on a big log, and while it is killed again and again.
//!
//! `INFEROMETER_LONG=1` makes the log bigger and the time of the kills longer.

use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::lines::{append, frontend, model};
use crate::support::process::{Server, inferometer};
use crate::support_prometheus::{Prometheus, within};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const FRONTEND: &str = "ts_metrics.log";
const MODEL: &str = "model_metrics.log";
const REQUESTS: &str = "ts_inference_requests_total";

/// What Prometheus needs at most to see what is so.
const LIMIT: Duration = Duration::from_secs(60);

/// A counter that climbs while a big log is read looks like a load that never was, and wakes people.
#[test]
fn first_start_on_a_big_log_fakes_no_rate() {
    let (size, limit) =
        if is_long() { (2_000_000_000, Duration::from_secs(3600)) } else { (60_000_000, 4 * LIMIT) };
    let holder = tempfile::tempdir().unwrap();
    let (logs, state) = folders(holder.path());
    let big = write_big_log(&logs.join(FRONTEND), size);
    let address = free_address();
    let prometheus = Prometheus::scraping(address);
    // Someone goes on writing while the past is read.
    let load = Load::start(&logs, &["live"], None);
    let server = Server::launch(command(&logs, &state, address));

    let mut scrapes_before = 0;
    within(limit, "the first catch-up is done", || {
        let is_ready = http::get(server.address, "/-/ready").status == 200;
        let shown = by_label(&server.scrape(), REQUESTS, "model_name");
        if shown.is_empty() {
            scrapes_before += 1;
            return Err("no counter yet".to_owned());
        }
        let past: BTreeMap<_, _> = shown.into_iter().filter(|(name, _)| name != "live").collect();
        assert_eq!(big, past, "a counter is shown before the past is read");
        if is_ready { Ok(()) } else { Err("not ready".to_owned()) }
    });
    assert!(scrapes_before > 0, "the log was too small: no scrape met the first catch-up");
    within(LIMIT, "Prometheus sees the live load for a while", || {
        let seen = prometheus
            .query(&format!("count_over_time({REQUESTS}{{model_name='live'}}[1h])"), "model_name")?;
        if seen.values().any(|count| *count >= 15.0) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let written = load.stop();
    let total: BTreeMap<_, _> =
        big.iter().chain(&written.requests).map(|(name, n)| (name.clone(), *n)).collect();
    within(LIMIT, "Prometheus sees the last line", || {
        same(&total, &prometheus.query(REQUESTS, "model_name")?)
    });

    // Lines of the past were all there in the first sample that Prometheus got.
    let past = format!("min_over_time({REQUESTS}{{model_name!='live'}}[2h])");
    assert_eq!(Ok(&big), prometheus.query(&past, "model_name").as_ref());
    for (name, by, true_rate) in [
        (REQUESTS, "model_name", Load::PER_SECOND),
        ("ts_inference_latency_microseconds", "model_name", Load::PER_SECOND * Load::MICROSECONDS),
        ("ts_inference_latency_seconds_count", "model_name", Load::PER_SECOND),
        // Each request is two lines there.
        ("inferometer_lines_total", "outcome", 2.0 * Load::PER_SECOND),
        ("inferometer_read_bytes_total", "source", 2.0 * 200.0 * Load::PER_SECOND),
    ] {
        let rate = format!("max_over_time(rate({name}[10s])[{}:1s])", if is_long() { "70m" } else { "5m" });
        let rates = prometheus.query(&format!("max by ({by}) ({rate})"), by).unwrap();
        assert!(!rates.is_empty(), "no rate of {name}");
        // What waits for a busy machine comes a bit later and looks faster; a past of a minute looks like a
        // hundred times the load.
        let faked: Vec<_> = rates.iter().filter(|(_, rate)| **rate > 4.0 * true_rate).collect();
        assert!(faked.is_empty(), "{name} at {true_rate}/s: {faked:?}");
        if by == "model_name" {
            let past: Vec<_> = rates.iter().filter(|(name, rate)| *name != "live" && **rate != 0.0).collect();
            assert!(past.is_empty(), "{name}: {past:?}");
        }
    }
    assert_eq!(Vec::<String>::new(), resets(&prometheus, &server.scrape()));
}

/// The claim of the README: kill it when you like, the counters are exact and never step back.
#[test]
fn counters_stay_exact_and_never_reset_over_many_kills() {
    let (kills, mean) =
        if is_long() { (100, Duration::from_millis(2600)) } else { (20, Duration::from_millis(2200)) };
    let holder = tempfile::tempdir().unwrap();
    let (logs, state) = folders(holder.path());
    let address = free_address();
    let models = ["one", "two", "three"];
    // So that every series is there at the first scrape.
    let first = Load::start(&logs, &models, None);
    let mut server = Server::launch(command(&logs, &state, address)).until_ready();
    let prometheus = Prometheus::scraping(address);
    let start = first.stop();
    await_prometheus(&prometheus, &start);
    let start_time = now();

    let load = Load::start(&logs, &models, Some(Duration::from_secs(4)));
    let mut random = fastrand::Rng::with_seed(1);
    let mut seen = server.scrape();
    for kill in 0..kills {
        // Every fourth does not live long enough to catch up.
        let life = if kill % 4 == 3 { mean / 50 } else { mean.mul_f64(random.f64() * 2.2) };
        let end = Instant::now() + life;
        while Instant::now() < end {
            let now = server.scrape();
            assert_eq!(Vec::<String>::new(), steps_back(&seen, &now), "after {kill} kills\n{}", server.log());
            seen = now;
            pause(Duration::from_millis(25));
        }
        let answer = http::request(address, "GET", "/-/healthy");
        assert!(answer.is_ok(), "it has ended by itself: {answer:?}\n{}", server.log());
        // SIGKILL; more lines come, and perhaps another file, before it is there again.
        drop(server);
        pause(mean.mul_f64(random.f64() / 3.0));
        server = Server::launch(command(&logs, &state, address));
    }
    let written = load.stop();
    let total = start.plus(&written);
    within(LIMIT, "inferometer has counted every line once", || {
        let scrape = server.scrape();
        same(&total.requests, &by_label(&scrape, REQUESTS, "model_name"))?;
        same(&total.requests, &by_label(&scrape, "ts_handler_time_seconds_count", "model_name"))
    });
    let scrape = server.scrape();
    assert_eq!(Vec::<String>::new(), steps_back(&seen, &scrape));
    assert_eq!(total.requests, by_label(&scrape, "ts_inference_latency_seconds_count", "model_name"));
    assert_eq!(total.lines, outcome(&scrape, "parsed"));
    for other in ["ignored", "rejected", "torn"] {
        assert_eq!(0.0, outcome(&scrape, other).values().sum::<f64>(), "{other}");
    }
    assert_eq!(Some(0.0), scrape.value("inferometer_state_resets_total", &[]));
    assert!(written.rotations >= 5, "{} rotations", written.rotations);

    await_prometheus(&prometheus, &total);
    let (end_time, whole) = (now(), "2h");
    assert_eq!(Vec::<String>::new(), resets(&prometheus, &scrape));
    let downs = prometheus.query(&format!("changes(up[{whole}])"), "job").unwrap();
    assert!(downs["demo"] > 0.0, "Prometheus never met a killed one: {downs:?}");
    let seconds = end_time - start_time;
    for (name, by, expected) in [
        (REQUESTS, "model_name", &written.requests),
        ("ts_inference_latency_seconds_count", "model_name", &written.requests),
        ("ts_handler_time_seconds_count", "model_name", &written.requests),
        ("inferometer_lines_total{outcome='parsed'}", "source", &written.lines),
    ] {
        let difference = format!("{name} @ {end_time:.3} - {name} @ {start_time:.3}");
        assert_eq!(Ok(expected), prometheus.query(&difference, by).as_ref(), "{name}");
        let increase = format!("increase({name}[{:.0}ms] @ {end_time:.3})", seconds * 1000.0);
        for (label, increase) in prometheus.query(&increase, by).unwrap() {
            // Prometheus stretches what it saw to the ends of the window.
            let ratio = increase / expected[&label];
            assert!(
                (0.99..1.06).contains(&ratio),
                "{name} {label}: increase() is {ratio} of what was written"
            );
        }
    }
}

/// Lines at a steady pace from a thread of its own: never faster, also after it had to wait.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

/// What a load wrote, by model and by file, as a scrape says it.
#[derive(Clone, Debug, Default)]
struct Written {
    requests: BTreeMap<String, f64>,
    lines: BTreeMap<String, f64>,
    rotations: u32,
}

impl Load {
    /// Requests a second at most, over all models; each is two lines of the frontend and one of the model.
    const PER_SECOND: f64 = 100.0;
    const PER_TURN: u8 = 2;
    const TURN: Duration = Duration::from_millis(20);
    /// Each request's latency.
    const MICROSECONDS: f64 = 2500.0;

    fn start(logs: &Path, models: &[&str], rotate_each: Option<Duration>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (logs, models) =
            (logs.to_owned(), models.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut written, mut last_rotation) = (Written::default(), Instant::now());
            // To the end of a round, so that every model and file has lines.
            for turn in 0_usize.. {
                if turn >= models.len() && stopped.load(Ordering::Acquire) {
                    break;
                }
                written.turn(&logs, &models, turn);
                if rotate_each.is_some_and(|each| last_rotation.elapsed() >= each) {
                    written.rotate(&logs);
                    last_rotation = Instant::now();
                }
                pause(Self::TURN);
            }
            written
        });
        Self { stop, thread }
    }

    /// Ends after a whole line.
    fn stop(self) -> Written {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the writer does not fail")
    }
}

impl Written {
    fn turn(&mut self, logs: &Path, models: &[String], turn: usize) {
        let count = f64::from(Load::PER_TURN);
        let mut frontends = String::new();
        let mut of_model = String::new();
        let name = &models[turn % models.len()];
        for _ in 0..Load::PER_TURN {
            frontends += &request(name);
            of_model += &model("HandlerTime.Milliseconds:2.5", &format!("ModelName:{name},Level:Model"));
        }
        *self.requests.entry(name.clone()).or_default() += count;
        *self.lines.entry(FRONTEND.to_owned()).or_default() += 2.0 * count;
        *self.lines.entry(MODEL.to_owned()).or_default() += count;
        // Now and then only half of a line is there for a moment.
        let (now, later) = frontends.split_at(if turn.is_multiple_of(5) { frontends.len() / 3 } else { 0 });
        append(&logs.join(FRONTEND), now);
        append(&logs.join(MODEL), of_model);
        if !now.is_empty() {
            pause(Duration::from_millis(5));
        }
        append(&logs.join(FRONTEND), later);
    }

    /// By rename, as log4j2 does; the archives stay.
    fn rotate(&mut self, logs: &Path) {
        self.rotations += 1;
        for name in [FRONTEND, MODEL] {
            fs::rename(logs.join(name), logs.join(format!("{name}.{}", self.rotations))).unwrap();
        }
    }

    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (into, from) in [(&mut sum.requests, &other.requests), (&mut sum.lines, &other.lines)] {
            from.iter().for_each(|(key, count)| *into.entry(key.clone()).or_default() += count);
        }
        sum
    }
}

/// The two lines that the frontend writes for one request.
fn request(name: &str) -> String {
    let dimensions = format!("model_name:{name},model_version:default");
    let latency = format!("ts_inference_latency_microseconds.Microseconds:{:?}", Load::MICROSECONDS);
    frontend("ts_inference_requests_total.Count:1.0", &dimensions) + &frontend(&latency, &dimensions)
}

/// Writes at least this many bytes; tells the requests of each model.
fn write_big_log(path: &Path, bytes: u64) -> BTreeMap<String, f64> {
    let models = ["a", "b", "c"];
    let block: String = (0..3000).map(|number| request(models[number % 3])).collect();
    let count = bytes.div_ceil(block.len() as u64);
    let mut file = File::create(path).unwrap();
    (0..count).for_each(|_| file.write_all(block.as_bytes()).unwrap());
    models.iter().map(|name| ((*name).to_owned(), 1000.0 * count as f64)).collect()
}

fn is_long() -> bool {
    std::env::var_os("INFEROMETER_LONG").is_some_and(|value| value == "1")
}

/// The folder of logs and the folder of state.
fn folders(inside: &Path) -> (PathBuf, PathBuf) {
    let (logs, state) = (inside.join("logs"), inside.join("state"));
    fs::create_dir(&logs).unwrap();
    (logs, state)
}

/// `inferometer run` on that address; nothing but the state folder and the address is set.
fn command(logs: &Path, state: &Path, address: SocketAddr) -> Command {
    let mut command = inferometer();
    command.arg("run").arg(logs).arg("--state.dir").arg(state);
    command.args(["--web.listen-address", &address.to_string()]).stdin(Stdio::null());
    command
}

/// An address for several lives: below the ports that the system hands out, or somebody's connection could
/// take it between two of them.
fn free_address() -> SocketAddr {
    let mut random = fastrand::Rng::new();
    let mut candidates =
        std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, random.u16(10_000..32_000))));
    candidates.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

/// Seconds since 1970, as Prometheus takes a time.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn pause(time: Duration) {
    thread::sleep(time); // allow-sleep: the pace of a load, or the life of a process
}

/// Waits until Prometheus shows what was written, in its newest sample and in the one before.
fn await_prometheus(prometheus: &Prometheus, written: &Written) {
    within(LIMIT, "Prometheus sees the last line", || {
        same(
            &written.requests,
            &prometheus.query(&format!("min_over_time({REQUESTS}[2500ms])"), "model_name")?,
        )?;
        let lines = "min_over_time(inferometer_lines_total{outcome='parsed'}[2500ms])";
        same(&written.lines, &prometheus.query(lines, "source")?)
    });
}

fn same(expected: &BTreeMap<String, f64>, observed: &BTreeMap<String, f64>) -> Result<(), String> {
    if expected == observed { Ok(()) } else { Err(format!("expected {expected:?}, observed {observed:?}")) }
}

/// The samples of one name, summed by one of its labels.
fn by_label(scrape: &Exposition, name: &str, label: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for ((_, labels), bits) in scrape.samples.iter().filter(|((sample, _), _)| sample == name) {
        *found.entry(labels[label].clone()).or_default() += f64::from_bits(*bits);
    }
    found
}

/// How many lines of each source came to this.
fn outcome(scrape: &Exposition, outcome: &str) -> BTreeMap<String, f64> {
    let samples = scrape.samples.iter().filter(|((name, _), _)| name == "inferometer_lines_total");
    let samples = samples.filter(|((_, labels), _)| labels["outcome"] == outcome);
    samples.map(|((_, labels), bits)| (labels["source"].clone(), f64::from_bits(*bits))).collect()
}

/// Names of all samples that are counters made of log lines; what the process counts about itself begins
/// anew with it.
fn counters_of_lines(scrape: &Exposition) -> BTreeSet<String> {
    let is_of_lines = |name: &str| {
        let own = ["lines", "rejected_lines", "read_bytes", "rotations", "truncations", "archives", "gaps"];
        let is_fold = |own: &&str| name == format!("inferometer_{own}_total");
        if name.starts_with("inferometer_") { own.iter().any(is_fold) } else { !name.starts_with("process_") }
    };
    let mut names = BTreeSet::new();
    for (name, family) in scrape.families.iter().filter(|(name, _)| is_of_lines(name)) {
        match family.kind.as_deref() {
            Some("counter") => drop(names.insert(name.clone())),
            Some("histogram") => {
                names.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
            }
            _ => {}
        }
    }
    names
}

/// Counters that Prometheus takes for restarted, over all that it has seen.
fn resets(prometheus: &Prometheus, scrape: &Exposition) -> Vec<String> {
    let names = counters_of_lines(scrape);
    assert!(names.len() > 10, "{names:?}");
    let reset = names.into_iter().flat_map(|name| {
        let answer = prometheus.query(&format!("max(resets({name}[2h]))"), "").unwrap();
        answer
            .into_values()
            .filter(|resets| *resets != 0.0)
            .map(move |resets| format!("{name}: {resets} resets"))
    });
    reset.collect()
}

/// Counters made of log lines that are lower than before. One that is not shown at all is no step back:
/// Prometheus goes on when it is there again.
fn steps_back(before: &Exposition, now: &Exposition) -> Vec<String> {
    let names = counters_of_lines(before);
    let counters = before.samples.iter().filter(|((name, _), _)| names.contains(name));
    let lower = counters.filter_map(|(series, bits)| {
        let (before, now) = (f64::from_bits(*bits), f64::from_bits(*now.samples.get(series)?));
        (now < before).then(|| format!("{series:?}: {before}, then {now}"))
    });
    lower.collect()
}
