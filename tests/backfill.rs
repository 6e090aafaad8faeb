//! `inferometer backfill`: what it writes is what a live run would have shown, step by step and to the last bit, and a
//! real Prometheus reads it so; and what odd times, odd files and odd wishes do to it.

use crate::support::exposition::Series;
use crate::support::exposition::openmetrics::OpenMetrics;
use crate::support::lines::append;
use crate::support::process::{Server, eventually, run, stderr};
use crate::support::{fixture_text, http};
use crate::support_backfill::{Scrapes, backfill, command, piped, scrapes, scrapes_of, values};
use crate::support_prometheus::{Prometheus, promtool};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

/// 2026-11-20T17:48:00Z.
const START: i64 = 1_795_196_880;

/// 2001-09-09T01:46:30Z: before now, wherever this runs.
const OLD: i64 = 999_999_990;

/// A metric line of this second, whose front is of another clock.
fn line(at: i64, metric: &str) -> String {
    format!("2020-01-01T00:00:00,000 - {metric}|#Level:Host|#hostname:h,timestamp:{at}\n")
}

fn request(at: i64) -> String {
    line(at, "Requests2XX.Count:1.0")
}

fn points(text: &str) -> (Scrapes, String) {
    let output = piped(&[], text);
    (scrapes(&output), stderr(&output))
}

fn counted(scrapes: &Scrapes) -> Vec<(i64, f64)> {
    values(scrapes, "Requests2XX").into_iter().map(|(at, value)| (at - START, value)).collect()
}

// --- What it writes is what a live run shows.

/// A log, and when each of its lines was written, in milliseconds.
struct Log {
    name: &'static str,
    lines: Vec<(i64, String)>,
}

impl Log {
    fn new(name: &'static str, text: &str, moment: impl Fn(&str) -> Option<i64>) -> Self {
        let mut last = text.lines().find_map(&moment).expect("a line with a time");
        let mut lines = Vec::new();
        for line in text.split_inclusive('\n') {
            last = moment(line).map_or(last, |moment| moment.max(last));
            lines.push((last, line.to_owned()));
        }
        Self { name, lines }
    }

    fn until(&self, from: i64, until: i64) -> String {
        let lines = self.lines.iter().filter(|(moment, _)| (from + 1..=until).contains(moment));
        lines.map(|(_, line)| line.as_str()).collect()
    }
}

fn seconds_at_end(line: &str) -> Option<i64> {
    let (_, seconds) = line.trim_end().rsplit_once(",timestamp:")?;
    Some(seconds.parse::<i64>().ok()? * 1000)
}

fn date_at_front(line: &str) -> Option<i64> {
    let front = line.split(' ').next()?.replace(',', ".");
    let zoned = if front.contains('+') { front } else { front + "+0000" };
    jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", zoned).ok().map(jiff::Timestamp::as_millisecond)
}

/// Requests every 300 ms to models that have measured something before, as TorchServe's access log has them: which
/// models there are it only knows from the metrics.
fn access_log() -> String {
    let moment = |at: i64| jiff::Timestamp::from_millisecond((START + 22) * 1000 + at * 300).unwrap();
    let line = |at: i64| {
        let (code, model) = if at % 7 == 3 { (503, "bert-qa") } else { (200, "resnet18") };
        let time = moment(at).strftime("%Y-%m-%dT%H:%M:%S,%3f");
        format!("{time} - /10.0.0.{}:4711 \"POST /predictions/{model} HTTP/1.1\" {code} {at}\n", at % 9)
    };
    (0..60).map(line).collect()
}

/// What a real server shows of logs, when it has read them as far as they were written until each of these times.
fn live(logs: &[Log], times: impl Iterator<Item = i64>, step: i64) -> Scrapes {
    let folder = tempfile::tempdir().unwrap();
    let mut command = run();
    command.arg(folder.path()).args(["--state.commit-interval", "25ms", "--poll-interval", "10ms"]);
    for collector in ["host", "cgroup", "gpu", "worker"] {
        command.arg(format!("--no-collector.{collector}"));
    }
    let server = Server::launch(command).until_ready();
    let mut written = 0;
    let scrape = |time: i64| {
        let from = if written == 0 { i64::MIN } else { (time - step) * 1000 };
        for log in logs {
            let text = log.until(from.saturating_add(i64::from(from == i64::MIN)), time * 1000);
            written += text.len();
            append(&folder.path().join(log.name), text);
        }
        let read = |scrape: &OpenMetrics| {
            let bytes = scrape.samples.iter().filter(|((name, _), _)| name == "inferometer_read_bytes_total");
            bytes.map(|(_, bits)| f64::from_bits(*bits)).sum::<f64>()
        };
        let shown = eventually("the server has read what was written", || {
            let accept = "Accept: application/openmetrics-text;version=1.0.0\r\n";
            let reply = http::request_with(server.address, "GET", "/metrics", accept).ok()?;
            let scrape = OpenMetrics::read(&reply.body).unwrap_or_else(|error| panic!("{error}"));
            (read(&scrape) == written as f64).then_some(scrape)
        });
        (time, shown)
    };
    times.map(scrape).collect()
}

/// The samples that are made of log lines.
fn of_logs(scrape: &OpenMetrics) -> BTreeMap<Series, u64> {
    let is_own = |name: &str| ["inferometer_", "process_"].iter().any(|front| name.starts_with(front));
    let samples = scrape.samples.iter().filter(|((name, _), _)| !is_own(name));
    samples.map(|(series, bits)| (series.clone(), *bits)).collect()
}

#[test]
fn every_point_is_what_a_live_run_showed_and_prometheus_reads_it_so() {
    let (folder, blocks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let torchserve =
        |pair, name| Log::new(name, &fixture_text(&format!("pairs-{pair}/{name}")), seconds_at_end);
    let bentoml = include_str!("../fixtures/bentoml/http.log");
    let mut all: BTreeMap<Series, BTreeMap<i64, u64>> = BTreeMap::new();
    for (name, step, logs) in [
        (
            "torchserve",
            3,
            vec![
                torchserve("lifecycle", "ts_metrics.log"),
                torchserve("lifecycle", "model_metrics.log"),
                Log::new("access_log.log", &access_log(), date_at_front),
            ],
        ),
        // The server comes up a second time, and its log goes on.
        (
            "restart",
            3,
            vec![torchserve("restart", "ts_metrics.log"), torchserve("restart", "model_metrics.log")],
        ),
        ("bentoml", 1, vec![Log::new("bentoml.log", bentoml, date_at_front)]),
    ] {
        let logs_folder = folder.path().join(name);
        for log in &logs {
            append(&logs_folder.join(log.name), log.until(i64::MIN, i64::MAX));
        }
        let out = folder.path().join(format!("{name}.om"));
        let files = logs.iter().map(|log| logs_folder.join(log.name));
        let output =
            command(files).arg("-o").arg(&out).args(["--step", &format!("{step}s")]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let backfilled = scrapes_of(&out);
        assert!(backfilled.len() > 4, "{} steps of {name}", backfilled.len());
        let times = backfilled.keys().copied();
        assert!(times.clone().zip(times.clone().skip(1)).all(|(one, next)| one + step == next));
        for (time, shown) in live(&logs, times, step) {
            assert_eq!("", differences(&of_logs(&shown), &backfilled[&time].samples), "{name} at {time}");
        }
        for (time, scrape) in &backfilled {
            for (series, bits) in &scrape.samples {
                all.entry(series.clone()).or_default().insert(*time, *bits);
            }
        }
        let (out, into) = (out.to_str().unwrap(), blocks.path().to_str().unwrap());
        let said = promtool(folder.path(), &["tsdb", "create-blocks-from", "openmetrics", out, into]);
        assert!(said.status.success(), "{}", stderr(&said));
    }
    let prometheus = Prometheus::over_blocks(blocks.path(), &["--query.lookback-delta=500ms"]);
    let (first, last) = all
        .values()
        .flat_map(BTreeMap::keys)
        .fold((i64::MAX, 0), |(first, last), time| (first.min(*time), last.max(*time)));
    let stored = prometheus.range("{__name__=~\".+\"}", first, last, 1).unwrap();
    assert!(all.len() > 300, "{} series", all.len());
    assert_eq!("", differences(&all, &stored));
}

/// What two maps differ in, a line each.
fn differences<V: PartialEq + std::fmt::Debug>(
    expected: &BTreeMap<Series, V>,
    observed: &BTreeMap<Series, V>,
) -> String {
    let mut series: Vec<&Series> = expected.keys().chain(observed.keys()).collect();
    series.sort();
    series.dedup();
    let differ = series.into_iter().filter(|series| expected.get(series) != observed.get(series));
    let line = |series| {
        format!("{series:?}: expected {:?}, observed {:?}\n", expected.get(series), observed.get(series))
    };
    differ.take(10).map(line).collect()
}

#[test]
fn other_names_rules_and_labels_are_those_of_a_live_run() {
    let folder = tempfile::tempdir().unwrap();
    let (log, config) = (folder.path().join("server.log"), folder.path().join("c.yaml"));
    let text =
        "2026-11-20T17:48:00Z INFO request model=m ms=12.5\n2026-11-20T17:48:20Z INFO request model=m ms=7\n";
    fs::write(&log, text).unwrap();
    let rules = "rules:\n  - name: r\n    regex: 'request model=(?P<model>\\S+) ms=(?P<ms>[\\d.]+)'\n    metrics:\n    \
        - {name: app_request_seconds, type: histogram, value: ms, unit: ms, buckets: [0.01, 0.1], labels: [model]}\n";
    let sources =
        format!("sources:\n  - {{path: '{}/*.log', labels: {{zone: a}}}}\n", folder.path().display());
    fs::write(&config, format!("{sources}{rules}")).unwrap();
    let output = backfill([&log, Path::new("-o"), Path::new("-"), Path::new("--config.file"), &config]);
    let found = scrapes(&output);
    assert_eq!([(0, 1.0), (15, 1.0), (30, 2.0)], *relative(&values(&found, "app_request_seconds_count")));
    let labels =
        found.values().flat_map(|scrape| scrape.samples.keys()).map(|(_, labels)| labels.get("zone"));
    assert!(labels.eq(std::iter::repeat_n(Some(&"a".to_owned()), 15)), "{}", stderr(&output));

    let text = request(START) + &line(START, "CPUUtilization.Percent:50.0");
    let found = scrapes(&piped(&["--naming", "prometheus"], &text));
    assert_eq!([(0, 1.0)], *relative(&values(&found, "ts_requests_2xx_total")));
    assert_eq!([(0, 0.5)], *relative(&values(&found, "ts_cpu_utilization_ratio")));
    let (found, _) = points(&text);
    assert!(found[&START].families.contains_key("Requests2XX"));
}

fn relative(values: &BTreeMap<i64, f64>) -> Vec<(i64, f64)> {
    values.iter().map(|(at, value)| (at - START, *value)).collect()
}

// --- Which files, in which order.

#[test]
fn archives_are_read_by_their_lines_times_however_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines: Vec<String> = (0..90).map(|at| line(START + at / 2, &format!("A.ms:{at}.5"))).collect();
    fs::write(path("all.log"), lines.concat()).unwrap();
    let gzip = |name: &str, lines: &[String]| {
        let mut encoder = GzEncoder::new(fs::File::create(path(name)).unwrap(), Compression::default());
        encoder.write_all(lines.concat().as_bytes()).unwrap();
        encoder.finish().unwrap();
    };
    // Cut inside of a second: what is of one time stays in the order of the files.
    gzip("ts_metrics.log.9.gz", &lines[..31]);
    gzip("ts_metrics.20-Nov.log.gz", &lines[31..61]);
    fs::write(path("ts_metrics.log"), lines[61..].concat()).unwrap();
    fs::write(path("ts_metrics.log.1"), "").unwrap();
    let names = ["ts_metrics.log", "ts_metrics.20-Nov.log.gz", "ts_metrics.log.1", "ts_metrics.log.9.gz"];
    let whole = backfill([path("all.log"), "-o".into(), "-".into(), "--step".into(), "1s".into()]);
    assert_eq!(45, scrapes(&whole).len());
    for first in 0..names.len() {
        let files = (0..names.len()).map(|at| path(names[(first + at) % names.len()]));
        let output = command(files).args(["-o", "-", "--step", "1s"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&whole.stdout), String::from_utf8_lossy(&output.stdout));
        let said = stderr(&output);
        assert!(
            said.contains("ts_metrics.log") && said.contains("3 files") && said.contains("90 parsed"),
            "{said}"
        );
    }
    let copy = command([path("all.log"), path("ts_metrics.log.9.gz")]).args(["-o", "-"]).output().unwrap();
    assert_eq!(Some(64), copy.status.code());
    assert!(stderr(&copy).contains("begin alike"), "{}", stderr(&copy));
    let twice = command([path("all.log"), path("ts_metrics.log.9.gz")])
        .args(["-o", "-", "--source.allow-repeats"])
        .output()
        .unwrap();
    assert!(twice.status.success(), "{}", stderr(&twice));
}

#[test]
fn of_files_that_begin_at_one_time_the_older_one_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let [live, archive] = ["ts_metrics.log", "ts_metrics.log.1"].map(|name| folder.path().join(name));
    for (path, value, modified) in [(&archive, 1, START), (&live, 2, START + 1)] {
        fs::write(path, line(START, &format!("A.ms:{value}"))).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.unsigned_abs());
        fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    }
    for files in [[&live, &archive], [&archive, &live]] {
        let output = command(files).args(["-o", "-"]).output().unwrap();
        assert_eq!([(0, 2.0)], *relative(&values(&scrapes(&output), "A")), "{}", stderr(&output));
    }
}

#[test]
fn a_console_beside_the_files_that_it_repeats_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [console, metrics] = ["ts_log.log", "ts_metrics.log"].map(|name| folder.path().join(name));
    fs::write(&metrics, request(START)).unwrap();
    let line = request(START).replace(" - ", " [INFO ] pool-3-thread-1 TS_METRICS - ");
    let banner = "2020-01-01T00:00:00,000 [INFO ] main org.pytorch.serve.ModelServer - \n";
    fs::write(&console, banner.to_owned() + &line).unwrap();
    let output = backfill([&console, &metrics, Path::new("-o"), Path::new("-")]);
    assert_eq!((Some(64), 0), (output.status.code(), output.stdout.len()));
    assert!(stderr(&output).contains("count twice"), "{}", stderr(&output));
}

// --- What times mean.

#[test]
fn a_time_without_a_zone_is_of_the_given_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access_log.log");
    let access = "2026-11-20T23:18:00,000 - /10.0.0.1:1 \"GET /ping HTTP/1.1\" 200 0\n";
    fs::write(&log, access).unwrap();
    let config = folder.path().join("c.yaml");
    fs::write(&config, format!("sources:\n  - {{path: '{}', timezone: '+05:30'}}\n", log.display())).unwrap();
    let config = config.to_str().unwrap();
    for (flags, expected) in [
        (&["--timezone", "+05:30"][..], START),
        (&["--timezone", "Asia/Kolkata"], START),
        (&[], START + 19_800),
        (&["--timezone", "-01:00"], START + 23_400),
        (&["--config.file", config], START),
        (&["--config.file", config, "--timezone", "-01:00"], START),
    ] {
        let output = command([&log]).args(["-o", "-"]).args(flags).output().unwrap();
        assert_eq!(vec![expected], scrapes(&output).into_keys().collect::<Vec<_>>(), "{flags:?}");
    }
    let zoned = "2026-11-20T17:48:00+0000 [INFO] [entry_service:s:1] 127.0.0.1:1 (scheme=http,method=POST,path=/a,\
        type=,length=) (status=200,type=,length=2) 84.366ms (trace=a,span=b,sampled=0,service.name=s)\n";
    assert_eq!(
        vec![START],
        scrapes(&piped(&["--timezone", "+05:30"], zoned)).into_keys().collect::<Vec<_>>()
    );
    // A runtime's line has a zone, whatever is inside.
    let cri = |text: &str| format!("2026-11-20T17:48:00.5Z stdout F {text}\n");
    let uvicorn = cri("INFO:     127.0.0.1:1 - \"POST /v1/completions HTTP/1.1\" 200 OK");
    assert_eq!(vec![START + 15], scrapes(&piped(&[], &uvicorn)).into_keys().collect::<Vec<_>>());
}

#[test]
fn the_past_may_lie_on_both_sides_of_a_change_of_the_clocks() {
    let access = |time: &str| format!("{time},000 - /10.0.0.1:1 \"GET /ping HTTP/1.1\" 200 0\n");
    let text = ["2026-10-25T02:59:40", "2026-10-25T02:00:10", "2026-10-25T02:00:50"].map(access).concat();
    let output = piped(&["--timezone", "Europe/Berlin", "--step", "10s"], &text);
    let times: Vec<i64> = scrapes(&output).into_keys().collect();
    let first = "2026-10-25T00:59:40Z".parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!((0..8).map(|at| first + at * 10).collect::<Vec<_>>(), times, "{}", stderr(&output));
}

#[test]
fn a_step_back_counts_where_the_line_stands_and_is_said() {
    let text = [0, 20, 50, 19, 51, 50, 44].map(|at| request(START + at)).concat();
    let (found, said) = points(&text);
    assert_eq!([(0, 1.0), (15, 1.0), (30, 2.0), (45, 2.0), (60, 7.0)], *counted(&found));
    assert!(said.contains("2 lines are earlier than the line before, by up to 31 s"), "{said}");
}

#[test]
fn a_line_without_a_time_has_that_of_the_line_before() {
    let access =
        |time: &str| format!("{time}INFO:     127.0.0.1:1 - \"POST /v1/completions HTTP/1.1\" 200 OK\n");
    let (none, time) = (access(""), access("[2026-11-20 17:48:20] "));
    let output =
        piped(&[], &[&*none, &time, &none, "rubbish \u{1} \"\n", &access("[2026-11-20 17:49:00] ")].concat());
    let found = values(&scrapes(&output), "http_requests_total");
    assert_eq!([(30, 3.0), (45, 3.0), (60, 4.0)], *relative(&found), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("3 lines tell no time") && said.contains("1 ignored"), "{said}");
}

#[test]
fn lines_that_cannot_be_read_are_counted() {
    let text = request(START)
        + &line(START + 1, "Requests2XX.Count:x")
        + &request(START + 16)
        + "2026-11-20T17:48:16,000 - R";
    let (found, said) = points(&text);
    assert_eq!([(0, 1.0), (15, 1.0), (30, 2.0)], *counted(&found));
    for words in ["rejected 1 ", "-:2: ", "2 parsed", "1 rejected", "1 torn"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_year_of_silence_is_a_gap() {
    let year = 365 * 86_400;
    let (found, said) = points(&[0, year, year + 7].map(|at| request(OLD + at)).concat());
    let counted: Vec<(i64, f64)> =
        values(&found, "Requests2XX").into_iter().map(|(at, value)| (at - OLD, value)).collect();
    // An hour of points, the one before the next line, and that line's.
    assert_eq!(241 + 1 + 2, counted.len());
    assert_eq!([(year - 15, 1.0), (year, 2.0), (year + 15, 3.0)], counted[241..]);
    assert!(said.contains(", gaps: 1"), "{said}");
}

#[test]
fn gauges_end_with_their_server_and_counters_stay() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name).join("ts_metrics.log"));
    append(&one, request(START) + &line(START, "CPUUtilization.Percent:50.0"));
    append(&other, (0..40).map(|at| line(START + at * 30, "DiskUsage.Gigabytes:1.0")).collect::<String>());
    let output = backfill([&one, &other, Path::new("-o"), Path::new("-")]);
    let found = scrapes(&output);
    let ends = |name: &str| *relative(&values(&found, name)).last().unwrap();
    assert_eq!((285, 50.0), ends("CPUUtilization"), "shown for less than --gauge-ttl after the last line");
    assert_eq!(((1170, 1.0), (1170, 1.0)), (ends("Requests2XX"), ends("DiskUsage")));
    let output = command([&one, &other]).args(["-o", "-", "--series-ttl", "10m"]).output().unwrap();
    let last = relative(&values(&scrapes(&output), "Requests2XX")).last().unwrap().0;
    assert_eq!(615, last, "it goes with the first line that comes after its time");
}

#[test]
fn broken_clocks_cost_neither_space_nor_the_lines_behind() {
    let far = "2099-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let plain: Vec<i64> = (0..30).map(|at| START + at).collect();
    let text = |times: &[i64]| times.iter().map(|at| request(*at)).collect::<String>();
    let with = |at: usize, odd: &[i64]| {
        let mut times = plain.clone();
        times.splice(at..at, odd.iter().copied());
        times
    };
    for (times, words) in [
        (with(10, &[far]), "1 lines are far ahead"),
        (with(10, &[far, far + 1, far]), "3 lines are far ahead"),
        (with(0, &[far]), "1 lines are far ahead"),
        (with(30, &[far]), "1 lines are far ahead"),
        (with(10, &[4_102_444_800, 253_402_300_799, 0, 1]), "4 lines tell no time"),
        (with(10, &[START - 400 * 86_400]), "1 lines are earlier than the line before, by up to 34560009 s"),
    ] {
        let (found, said) = points(&text(&times));
        assert!(said.contains(words), "{words}: {said}");
        let total = times.len() as f64;
        assert_eq!([0, 15, 30], *counted(&found).iter().map(|(at, _)| *at).collect::<Vec<_>>(), "{said}");
        assert_eq!(Some(total), counted(&found).last().map(|(_, value)| *value), "each line counts once");
    }
    // Each line a day after the one before: some points for each, not a day's.
    let days: Vec<i64> = (0..50).map(|at| OLD + at * 86_400).collect();
    let (found, _) = points(&text(&days));
    assert_eq!(50 * 242 - 241, found.len());
}

#[test]
fn a_leap_at_a_files_end_is_believed_if_the_file_is_as_young() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    append(&log, request(START) + &request(START + 7_200));
    for (modified, expected) in [(START + 7_200, 2), (START - 86_400 + 7_199, 1)] {
        let seconds = Duration::from_secs(modified.unsigned_abs());
        fs::File::open(&log).unwrap().set_modified(SystemTime::UNIX_EPOCH + seconds).unwrap();
        let found = scrapes(&backfill([&log, Path::new("-o"), Path::new("-")]));
        let last = if expected == 2 { START + 7_200 } else { START };
        assert_eq!(Some(&last), found.keys().last());
        assert_eq!(Some(2.0), values(&found, "Requests2XX").into_values().last());
    }
}

#[test]
fn a_log_without_any_time_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.om");
    for log in [
        include_str!("../fixtures/llamacpp/server-default.log"),
        "INFO:     127.0.0.1:1 - \"POST /v1/completions HTTP/1.1\" 200 OK\n",
        "rubbish\n",
    ] {
        let path = folder.path().join("server.log");
        fs::write(&path, log).unwrap();
        let output = backfill([&path, Path::new("-o"), &out]);
        assert_eq!(Some(1), output.status.code());
        let said = stderr(&output);
        assert!(said.contains("server.log") && said.contains("do not tell when they were written"), "{said}");
        assert!(!out.exists());
    }
    // No line at all is no error.
    assert_eq!("# EOF\n", String::from_utf8_lossy(&piped(&[], "").stdout));
}

#[test]
fn a_type_that_becomes_known_late_leaves_the_file_valid() {
    let console = |at: i64, text: &str| {
        let time = jiff::Timestamp::from_second(START + at).unwrap().strftime("%Y-%m-%dT%H:%M:%S,000");
        format!("{time} [INFO ] W-9000-m_1.0-stdout {text}\n")
    };
    let metric = |at: i64| {
        let line = format!("Hits.Count:2|#ModelName:m|#hostname:h,requestID:r,timestamp:{}", START + at);
        console(at, &format!("MODEL_METRICS - {line}"))
    };
    for (kind, expected) in [("counter", "Hits"), ("histogram", "Hits_sum")] {
        let echo = format!(
            "org.pytorch.serve.wlm.WorkerLifeCycle - result=[METRICS]Hits.Count:2|#ModelName:m|#type:{kind}|#hostname:h,1795196880,r, pattern=[METRICS]"
        );
        let text = [metric(0), metric(14), console(20, &echo), metric(21)].concat();
        let output = piped(&["--format", "torchserve-console"], &text);
        let found = scrapes(&output);
        let expected_before =
            if kind == "counter" { vec![(0, 2.0), (15, 2.0), (30, 6.0)] } else { vec![(0, 2.0), (15, 2.0)] };
        assert_eq!(expected_before, relative(&values(&found, "Hits")), "{}", stderr(&output));
        assert_eq!(Some(6.0), values(&found, expected).get(&(START + 30)).copied());
    }
}

// --- OUT, and wrong wishes.

#[test]
fn out_is_whole_or_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.om");
    fs::write(&out, "old").unwrap();
    let mut child =
        command(["-", "-o"]).arg(&out).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all((0..10_000).map(|at| request(START + at)).collect::<String>().as_bytes()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!("old", fs::read_to_string(&out).unwrap());
    assert_eq!(vec![out.clone()], names(folder.path()), "nothing is left behind");
    let log = tempfile::NamedTempFile::new().unwrap();
    fs::write(log.path(), request(START)).unwrap();
    let link = folder.path().join("link.om");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    assert!(backfill([log.path(), Path::new("-o"), &link]).status.success());
    assert_eq!(1, scrapes_of(&out).len());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(2, names(folder.path()).len());
    let mode = fs::metadata(&out).unwrap().permissions().mode() & 0o777;
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    assert_eq!(fs::metadata(&plain).unwrap().permissions().mode() & 0o777, mode, "as the umask has it");
    assert!(backfill([log.path(), Path::new("-o"), Path::new("/dev/null")]).status.success());
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    fs::write(&log, request(START)).unwrap();
    let log = log.to_str().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [nowhere, absent, own] = ["no/out.om", "absent.log", ""].map(path);
    for (arguments, code, words) in [
        (&[log][..], 64, "--output"),
        (&["-o", "-"], 64, "FILE"),
        (&[log, "-o", "-", "--step", "0s"], 64, "--step"),
        (&[log, "-o", "-", "--step", "1500ms"], 64, "--step"),
        (&[log, "-o", "-", "--step", "soon"], 64, "--step"),
        (&[log, "-o", "-", "--timezone", "Mars"], 64, "Mars"),
        (&[log, "-o", "-", "--format", "nginx"], 64, "nginx"),
        (&[log, "-o", log], 64, "read and written at once"),
        (&[log, "-o", &nowhere], 1, "cannot write"),
        (&[log, "-o", "/proc"], 1, "cannot write"),
        (&[&absent, "-o", "-"], 1, "absent.log"),
        (&[&own, "-o", "-"], 1, "it is a folder"),
    ] {
        let output = backfill(arguments);
        assert_eq!(Some(code), output.status.code(), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
        assert_eq!(0, output.stdout.len());
    }
    assert_eq!(1, names(folder.path()).len());
    assert_eq!(request(START), fs::read_to_string(log).unwrap());
}

#[test]
fn a_folder_gets_a_file_for_each_day_that_together_are_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    // Two days and a bit with every kind of value, and a silence that begins at midnight.
    let midnight = START.div_euclid(86_400) * 86_400;
    let text: String = (0..60)
        .map(|at| {
            let at = midnight - 86_400 - 3_000 + at * 1_500;
            request(at)
                + &line(at, &format!("QueueTime.Milliseconds:{}", at % 7))
                + &line(at, "MemoryUsed.Megabytes:5")
        })
        .chain([request(midnight + 30_000)])
        .collect();
    fs::write(&log, text).unwrap();
    let days = tempfile::tempdir().unwrap();
    let output = command([&log]).arg("-o").arg(days.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut files = names(days.path());
    files.sort();
    let found: Vec<String> =
        files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(["2026-11-18.om", "2026-11-19.om", "2026-11-20.om"], *found, "{}", stderr(&output));
    assert!(stderr(&output).contains(" bytes in 3 files, "), "{}", stderr(&output));
    let mut whole = Scrapes::new();
    for (file, day) in files.iter().zip(-2..) {
        for (time, scrape) in scrapes_of(file) {
            assert_eq!(day, (time - midnight).div_euclid(86_400), "{} holds {time}", file.display());
            assert!(whole.insert(time, scrape).is_none());
        }
    }
    let one = scrapes(&command([&log]).args(["-o", "-"]).output().unwrap());
    assert_eq!(one.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert!(one.iter().all(|(time, scrape)| scrape.samples == whole[time].samples));
}

// --- Documentation.

/// What each format's lines tell of their time, from the fixtures.
fn table() -> String {
    let mut rows = String::from(
        "| format | a line's time | zone | lines that measure and tell it |\n|---|---|---|---|\n",
    );
    for format in parsers::FORMATS {
        let (mut dates, mut zones) = (Vec::new(), Vec::new());
        let (mut told, mut lines) = (0, 0);
        for text in logs_of(format.name) {
            for record in text.split_inclusive('\n') {
                let mut is_telling = false;
                let catalog = parsers::Catalog::torchserve_default();
                let read = (format.parse)(record.as_bytes(), &catalog, &mut |_| is_telling = true);
                if read.is_err() || !(is_telling || format.name == parsers::RULES) {
                    continue;
                }
                lines += 1;
                let (date, zone) = match (format.written)(record.as_bytes()) {
                    None => continue,
                    Some(parsers::Written::Unix(_)) => ("seconds since 1970", "-"),
                    Some(parsers::Written::Date(date)) => (
                        if date.year == 0 { "date without a year" } else { "date" },
                        if date.offset_minutes.is_some() { "its own" } else { "`--timezone`" },
                    ),
                };
                told += 1;
                dates.push(date);
                zones.push(zone);
            }
        }
        for list in [&mut dates, &mut zones] {
            list.sort_unstable();
            list.dedup();
        }
        let share = match (told, lines) {
            (0, _) => "none",
            (told, lines) if told == lines => "all",
            _ => "some",
        };
        let or_none = |list: &[&str]| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
        rows += &format!("| `{}` | {} | {} | {share} |\n", format.name, or_none(&dates), or_none(&zones));
    }
    rows
}

/// The fixtures in which a format's lines stand.
fn logs_of(format: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folder = match format {
        "torchserve" => {
            return vec![fixture_text("log/ts_metrics.log"), fixture_text("log/model_metrics.log")];
        }
        "torchserve-access" => return vec![access_log()],
        "torchserve-console" => return vec![fixture_text("log/console.txt")],
        other => root.join(other),
    };
    let mut paths = names(&folder);
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(!texts.is_empty(), "no fixture of {format}");
    texts
}

#[test]
fn the_documentation_says_which_formats_tell_their_time() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backfill.md")).unwrap();
    let table = table();
    assert!(page.contains(&table), "deploy/backfill.md has to have this:\n{table}");
}

#[test]
fn the_report_tells_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.om");
    let log = folder.path().join("ts_metrics.log");
    fs::write(&log, request(START) + &request(START + 30)).unwrap();
    let output: Output = backfill([&log, Path::new("-o"), &out]);
    let said = stderr(&output);
    let bytes = fs::metadata(&out).unwrap().len();
    let expected = format!(
        "{}: {bytes} bytes, 1 families with 1 series, 3 points from 2026-11-20T17:48:00Z to 2026-11-20T17:48:30Z, gaps: 0\n",
        out.display()
    );
    assert!(said.contains(&expected), "{expected}{said}");
    assert!(said.contains("ts_metrics.log (torchserve): ") && said.contains("2 lines, "), "{said}");
}
