//! The Compose files, played: a server's user writes, inferometer reads, Prometheus scrapes, and what is killed goes on.

use super::engine::{Container, Process};
use super::site::Site;
use crate::support::exposition::Exposition;
use crate::support::lines::{HOST, requests};
use crate::support::process::{eventually, peak_memory};
use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const LIVE: &str = "/logs/ts_metrics.log";
const COUNTER: &str = r#"Requests2XX{job="torchserve",Level="Host"}"#;
const STARTS: &str = r#"changes(process_start_time_seconds{job="torchserve"}[10m])"#;

/// 64 MiB, as the Compose file says.
const MEMORY: u32 = 64 << 20;

#[test]
fn killed_container_counts_on_beside_a_real_prometheus() {
    let site = Site::up("compose.yaml", &["torchserve", "inferometer", "prometheus"]);
    let (sidecar, server) = (site.container("inferometer"), site.container("torchserve"));
    let mut counted = 0.0;
    let mut writer = Writer::start(&site, &server);
    at_least(&site, &mut counted, 100);
    check_confinement(&sidecar);
    scraped(&site, "up", 1.0);

    // Killed by a person: it stays down while the server writes on and rotates its log.
    sidecar.kill();
    scraped(&site, "up", 0.0);
    let so_far = writer.written();
    eventually("the server writes on", || (writer.written() > so_far + 100).then_some(()));
    let mut total = writer.finish();
    server.exec(&["mv", LIVE, "/logs/ts_metrics.1.log"]);
    writer = Writer::start(&site, &server);
    sidecar.start();
    at_least(&site, &mut counted, total + 100);
    scraped(&site, STARTS, 1.0);

    // Killed from outside, as for want of memory: Docker starts it again.
    signal_kill(&sidecar.process());
    eventually("Docker starts it again", || (sidecar.restarts() == 1).then_some(()));
    let so_far = total + writer.written();
    at_least(&site, &mut counted, so_far + 100);
    scraped(&site, STARTS, 2.0);

    total += writer.finish();
    at_least(&site, &mut counted, total);
    let lines = server.exec(&["sh", "-c", "cat /logs/ts_metrics*.log | wc -l"]);
    assert_eq!((total, total.to_string()), (whole(counted), lines.trim().to_owned()), "{}", sidecar.log());
    scraped(&site, COUNTER, counted);
    assert_eq!(Ok(0.0), site.query(&format!("resets({COUNTER}[10m])")), "no counter ever steps back");

    let exposed = Exposition::strict(&site.metrics().unwrap()).unwrap();
    let own = |name: &str| exposed.value(name, &[("of", "self")]);
    assert_eq!(Some(f64::from(MEMORY)), own("cgroup_memory_limit_bytes"));
    assert!(own("cgroup_memory_working_set_bytes").unwrap() < f64::from(MEMORY) / 2.0, "{exposed:?}");
    let peak = peak_memory(sidecar.process().0);
    assert!(peak < u64::from(MEMORY) >> 10, "{peak} KiB");
    assert_eq!(Some(false), sidecar.state()["OOMKilled"].as_bool());
    assert_eq!(0, sidecar.stop(), "{}", sidecar.log());
}

#[test]
fn demo_fills_a_real_prometheus_without_a_server() {
    let site = Site::up("demo.yaml", &["inferometer", "prometheus"]);
    let demo = site.container("inferometer");
    scraped(&site, "up", 1.0);
    let p95 = "histogram_quantile(0.95, sum by (le) (rate(ts_inference_latency_seconds_bucket[1m])))";
    eventually("a latency to draw", || site.query(p95).ok().filter(|seconds| *seconds > 0.0));
    check_confinement(&demo);
    let page = site.engine.get("http://127.0.0.1:9082/").unwrap();
    assert!(page.contains("<title>"), "{page}");
    assert!(demo.exec(&["sh", "-c", "ls /tmp"]).contains("inferometer-demo-"));
    assert_eq!(0, demo.stop(), "{}", demo.log());
}

/// What the Compose file takes away is really gone.
fn check_confinement(container: &Container) {
    let process = container.process();
    assert_eq!(Some("65532"), process.status("Uid").split('\t').next());
    for (what, value) in [("CapEff", "0000000000000000"), ("CapBnd", "0000000000000000"), ("NoNewPrivs", "1")]
    {
        assert_eq!(value, process.status(what), "{what}");
    }
    let host = container.inspect()["HostConfig"].clone();
    assert_eq!(Some(true), host["ReadonlyRootfs"].as_bool());
    assert_eq!(Some(u64::from(MEMORY)), host["Memory"].as_u64());
}

/// Waits until so many lines are counted. Between two looks the counter never steps back.
#[track_caller]
fn at_least(site: &Site, counted: &mut f64, lines: usize) {
    eventually(&format!("{lines} lines are counted"), || {
        // It may be down, and it shows nothing of the logs before it has caught up.
        let exposed = Exposition::strict(&site.metrics().ok()?).unwrap();
        let value = exposed.value("Requests2XX", HOST)?;
        assert!(value >= *counted, "{value} after {counted}");
        *counted = value;
        (whole(value) >= lines).then_some(())
    });
}

/// Waits until Prometheus says so.
#[track_caller]
fn scraped(site: &Site, expression: &str, expected: f64) {
    eventually(&format!("Prometheus has {expression} = {expected}"), || {
        site.query(expression).is_ok_and(|value| value.to_bits() == expected.to_bits()).then_some(())
    });
}

/// A number of lines.
fn whole(value: f64) -> usize {
    assert!(value >= 0.0 && value.fract() == 0.0, "{value} lines");
    format!("{value:.0}").parse().unwrap()
}

fn signal_kill(process: &Process) {
    let kill = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {}", process.0)]).status();
    assert!(kill.unwrap().success());
}

/// A server that writes some thousand lines per second into its log, as its own user, until it is told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
    container: Child,
}

impl Writer {
    fn start(site: &Site, server: &Container) -> Self {
        let mut container = site
            .engine
            .command("docker")
            .args(["exec", "--interactive", &server.id, "sh", "-c", &format!("cat >>{LIVE}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = container.stdin.take().unwrap();
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                log.write_all(requests(10).as_bytes()).unwrap();
                count.fetch_add(10, Ordering::Release);
                std::thread::sleep(Duration::from_millis(5)); // allow-sleep: the pace of a server
            }
        });
        Self { stop, written, thread, container }
    }

    fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Ends it, and returns how many lines are in the file through it.
    fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
        assert!(self.container.wait().unwrap().success());
        self.written.load(Ordering::Acquire)
    }
}
