//! The running process over HTTP: what a scrape sees of logs that grow, rotate and shrink under it.

use crate::support::compare::{differences, only};
use crate::support::exposition::{Exposition, Leave};
use crate::support::process::{Server, eventually};
use crate::support::{fixture, fixture_text, http, names};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

const HOST: &[(&str, &str)] = &[("Level", "Host"), ("Hostname", "h")];
const OF_MODEL: &[(&str, &str)] = &[("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")];

#[test]
fn a_scrape_is_equal_to_torchserves_endpoint() {
    let folder = sequential_logs();
    let server = sequential_server(folder.path());
    let reply = http::get(server.address, "/metrics");
    assert_eq!(200, reply.status);
    assert_eq!(Some("text/plain; version=0.0.4; charset=utf-8"), reply.header("content-type"));
    let whole = Exposition::strict(&reply.body).unwrap();
    let theirs = Exposition::torchserve(&fixture_text("pairs-sequential/2_later/metrics.prom")).unwrap();
    let ours = only(&whole, |family| theirs.families.contains_key(family));
    assert_eq!(Vec::<String>::new(), differences(&theirs, &ours));
}

#[test]
fn names_filter_as_torchserves_endpoint_does() {
    let folder = sequential_logs();
    let server = sequential_server(folder.path());
    let whole = server.scrape();
    for capture in [
        "3_one_name",
        "4_two_names",
        "5_unknown_name",
        "6_hist_series_name",
        "7_hist_family_name",
        "8_encoded",
    ] {
        let headers = fixture_text(&format!("prometheus/scrape_{capture}.headers"));
        let target = headers.lines().next().unwrap().strip_prefix("GET ").unwrap();
        let reply = http::get(server.address, target);
        assert_eq!(200, reply.status, "{target}");
        assert_eq!(
            Some("text/plain; version=0.0.4; charset=utf-8"),
            reply.header("content-type"),
            "{target}"
        );
        let leave = Leave { partial_histograms: true, ..Leave::default() };
        let ours = Exposition::read(&reply.body, leave).unwrap();
        let expected = names::filtered(&whole, &names::asked_for(target));
        assert_eq!(Vec::<String>::new(), differences(&expected, &ours), "{target}");

        let theirs = fixture_text(&format!("prometheus/scrape_{capture}.prom"));
        let theirs = Exposition::read(&theirs, Leave { trailing_comma: true, ..leave }).unwrap();
        assert_eq!(theirs.families, ours.families, "{target}");
        assert_eq!(theirs.samples.is_empty(), reply.body.is_empty(), "{target}");
    }
}

#[test]
fn health_readiness_and_the_page_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::ready(folder.path(), &[]);
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(200, http::get(server.address, path).status, "{path}");
    }
    let page = http::get(server.address, "/");
    assert_eq!(200, page.status);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
}

#[test]
fn an_unknown_path_is_not_found_and_not_echoed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::ready(folder.path(), &[]);
    for path in ["/no-such-path", "/metrics/no-such-path", "/-/no-such-path", "/%6eo-such-path"] {
        let reply = http::get(server.address, path);
        assert_eq!(404, reply.status, "{path}");
        assert!(!reply.body.contains("such-path"), "{path}: {}", reply.body);
    }
}

#[test]
fn only_reading_methods_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::ready(folder.path(), &[]);
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(405, http::request(server.address, method, "/metrics").unwrap().status, "{method}");
    }
    let head = http::request(server.address, "HEAD", "/metrics").unwrap();
    assert_eq!((200, ""), (head.status, head.body.as_str()));
}

#[test]
fn a_scrape_is_compressed_for_those_who_ask() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("ts_metrics.log"), &requests(2));
    let server = Server::ready(folder.path(), &["--no-collector.host"]);
    let ask = |headers| http::request_with(server.address, "GET", "/metrics", headers).unwrap();
    let (plain, packed) = (ask("Accept-Encoding: identity\r\n"), ask("Accept-Encoding: br, gzip;q=0.8\r\n"));
    assert_eq!((None, Some("gzip")), (plain.header("content-encoding"), packed.header("content-encoding")));
    for reply in [&plain, &packed] {
        assert_eq!(Some("accept, accept-encoding"), reply.header("vary"));
        assert!(reply.body.contains("Requests2XX{"), "{}", reply.body);
    }
    let length = |reply: &http::Reply| reply.header("content-length").unwrap().parse::<usize>().unwrap();
    assert!(length(&packed) * 3 < length(&plain), "{} of {}", length(&packed), length(&plain));
}

#[test]
fn appended_lines_become_visible() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    append(&log, &requests(2));
    let server = Server::ready(folder.path(), &[]);
    assert_eq!(Some(2.0), server.value("Requests2XX", HOST), "ready, but the first catch-up is not visible");
    for total in 3_u8..6 {
        append(&log, &requests(1));
        wait_for(&server, "Requests2XX", HOST, f64::from(total));
    }
}

#[test]
fn half_written_line_is_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    append(&log, &requests(1));
    let server = Server::ready(folder.path(), &[]);
    let line = counter("12.0");
    let inside_the_value = line.find("2.0|").unwrap();
    for cut in [inside_the_value, line.len() - 1] {
        let before = server.value("Requests2XX", HOST).unwrap();
        append(&log, &line[..cut]);
        pass_twice(&server, folder.path());
        assert_eq!(Some(before), server.value("Requests2XX", HOST), "cut at {cut}");
        append(&log, &line[cut..]);
        wait_for(&server, "Requests2XX", HOST, before + 12.0);
    }
    let rejected = server.scrape().samples.into_iter().filter(|((name, _), value)| {
        name == "inferometer_rejected_lines_total" && f64::from_bits(*value) > 0.0
    });
    assert_eq!(0, rejected.count());
}

#[test]
fn renamed_file_is_drained_before_its_successor() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    append(&log, &requests(3));
    let server = Server::ready(folder.path(), &[]);
    let mut expected = 3.0;
    for archive in ["ts_metrics.20-Nov.log", "ts_metrics.21-Nov.log"] {
        let mut old = OpenOptions::new().append(true).open(&log).unwrap();
        old.write_all(requests(5).as_bytes()).unwrap();
        std::fs::rename(&log, folder.path().join(archive)).unwrap();
        // log4j may still write through its descriptor after the rename.
        old.write_all((gauge("1.0") + &requests(7)).as_bytes()).unwrap();
        append(&log, &(gauge("2.0") + &requests(11)));
        expected += 23.0;
        wait_for(&server, "Requests2XX", HOST, expected);
        assert_eq!(Some(2.0), server.value("QueueTime", HOST));
    }
}

#[test]
fn truncated_file_is_read_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ts_metrics.log");
    append(&log, &requests(20));
    let server = Server::ready(folder.path(), &[]);
    File::create(&log).unwrap();
    append(&log, &requests(4));
    wait_for(&server, "Requests2XX", HOST, 24.0);
    append(&log, &requests(1));
    wait_for(&server, "Requests2XX", HOST, 25.0);
}

#[test]
fn file_that_appears_later_is_read_from_its_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::ready(folder.path(), &["--from", "end"]);
    let declared = server.scrape();
    assert_eq!(None, declared.value("Requests2XX", HOST));
    append(&folder.path().join("ts_metrics.log"), &requests(3));
    wait_for(&server, "Requests2XX", HOST, 3.0);
    append(&folder.path().join("model_metrics.log"), &model_line("7.5"));
    wait_for(&server, "HandlerTime", OF_MODEL, 7.5);
}

#[test]
fn sigterm_ends_the_process_with_exit_code_zero() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("ts_metrics.log"), &requests(1));
    let mut server = Server::ready(folder.path(), &[]);
    let status = server.terminate();
    assert_eq!(Some(0), status.code(), "{}", server.log());
}

/// The logs of a pair as they were when its last body was made.
fn sequential_logs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for cut in fixture_text("pairs-sequential/2_later/cut.txt").lines() {
        let (log, length) = cut.split_once(' ').unwrap();
        let bytes = std::fs::read(fixture("pairs-sequential").join(log)).unwrap();
        std::fs::write(folder.path().join(log), &bytes[..length.parse().unwrap()]).unwrap();
    }
    folder
}

fn sequential_server(folder: &Path) -> Server {
    let path = |file: &str| fixture(file).into_os_string().into_string().unwrap();
    let (config, types) = (path("config/metrics_vision.yaml"), path("pairs-sequential/types.yaml"));
    let arguments =
        ["--torchserve.metrics-config", &config, "--config.file", &types, "--no-latency-histograms"];
    Server::ready(folder, &arguments)
}

fn append(log: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(log).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn counter(increment: &str) -> String {
    line("Requests2XX.Count", increment)
}

fn gauge(value: &str) -> String {
    line("QueueTime.Milliseconds", value)
}

fn line(metric: &str, value: &str) -> String {
    format!("{} - {metric}:{value}|#Level:Host|#hostname:h,timestamp:1795196880\n", next_time())
}

/// A time of its own for every line, as in a real log: files are recognised by their content.
fn next_time() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("2026-11-20T17:48:{:02},{:03}", next / 1000, next % 1000)
}

fn requests(count: usize) -> String {
    (0..count).map(|_| counter("1.0")).collect()
}

fn model_line(value: &str) -> String {
    let dims = "ModelName:m,Level:Model";
    format!("{} - HandlerTime.ms:{value}|#{dims}|#hostname:h,requestID:null,timestamp:1\n", next_time())
}

/// Waits until a series has reached a value; it may never overshoot on its way there.
#[track_caller]
fn wait_for(server: &Server, name: &str, labels: &[(&str, &str)], expected: f64) {
    eventually(&format!("{name} = {expected}"), || {
        let observed = server.value(name, labels)?;
        assert!(observed <= expected, "{name}: expected {expected}, observed {observed}");
        (observed.to_bits() == expected.to_bits()).then_some(())
    });
}

/// Returns when all that stands in the folder's files has been looked at: the second of two lines in
/// another file is read in a look that began after the first one was seen.
fn pass_twice(server: &Server, folder: &Path) {
    for _ in 0..2 {
        let before = server.value("HandlerTime", OF_MODEL).unwrap_or_default();
        append(&folder.join("model_metrics.log"), &model_line(&format!("{:?}", before + 1.0)));
        wait_for(server, "HandlerTime", OF_MODEL, before + 1.0);
    }
}
