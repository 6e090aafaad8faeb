//! What is measured beside the logs: against the kernel's own files, against node_exporter in the same moment,
//! on recorded folders, and when a collector fails, hangs or panics.

use crate::support::compare::{differences, only};
use crate::support::exposition::{Exposition, Series};
use crate::support::folders::Folders;
use crate::support::lines::{append, frontend};
use crate::support::process::{Server, eventually, run};
use crate::support::{fixture, http};
use inferometer::collect::{COLLECTORS, Collection, Collector, Post, Readings, Trouble};
use inferometer::metric::{FamilyView, Type};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const FAST: [&str; 2] = ["--collector.interval", "100ms"];

/// A server that measures often, on an empty folder.
fn start(arguments: &[&str]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    Server::ready(folder.path(), &[&FAST, arguments].concat())
}

/// A scrape whose readings of this collector began after this call.
fn fresh(server: &Server, collector: &str) -> Exposition {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let name = "inferometer_collector_last_success_timestamp_seconds";
    eventually("a reading that begins now", || {
        let body = server.scrape();
        (body.value(name, &[("collector", collector)])? >= now).then_some(body)
    })
}

fn recorded(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/host").join(case)
}

// Against the kernel's own files.

/// Columns of a file of the kernel's, each with the series that shows it.
fn kernel_counters() -> Vec<(Series, f64)> {
    let mut counters = Vec::new();
    let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
        counters.push((crate::support::exposition::series(name, labels), value));
    };
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for line in read("/proc/stat").lines().map(words) {
        let number = |at: usize| line[at].parse::<f64>().unwrap();
        match line[0].as_str() {
            "ctxt" => add("host_context_switches_total", &[], number(1)),
            "processes" => add("host_forks_total", &[], number(1)),
            "btime" => add("host_boot_time_seconds", &[], number(1)),
            // Idle and iowait may step back in the file.
            cpu if cpu.len() > 3 && cpu.starts_with("cpu") => {
                for (at, mode) in [(1, "user"), (2, "nice"), (3, "system"), (7, "softirq")] {
                    add("host_cpu_seconds_total", &[("cpu", &cpu[3..]), ("mode", mode)], number(at) / 100.0);
                }
            }
            _ => {}
        }
    }
    for line in read("/proc/net/dev").lines().filter(|line| line.contains(':')) {
        let line = words(&line.replace(':', " "));
        let device = [("device", line[0].as_str())];
        for (at, name) in [(1, "receive_bytes"), (2, "receive_packets"), (9, "transmit_bytes")] {
            add(&format!("host_network_{name}_total"), &device, line[at].parse().unwrap());
        }
    }
    for line in read("/proc/diskstats").lines().map(words).filter(|line| !line[2].starts_with("loop")) {
        for (at, name, unit) in [
            (3, "reads_completed_total", 1.0),
            (5, "read_bytes_total", 512.0),
            (9, "written_bytes_total", 512.0),
        ] {
            let value = line[at].parse::<f64>().unwrap() * unit;
            add(&format!("host_disk_{name}"), &[("device", &line[2])], value);
        }
    }
    counters
}

#[test]
fn counters_of_the_host_lie_between_two_looks_at_the_kernels_files() {
    let server = start(&[]);
    let before = kernel_counters();
    let shown = fresh(&server, "host");
    let after = kernel_counters();
    assert!(before.len() > 10, "{before:?}");
    for ((series, low), (_, high)) in before.iter().zip(&after) {
        // A partition is in the file and is no disk.
        let Some(bits) = shown.samples.get(series) else {
            assert!(series.0.starts_with("host_disk_"), "{series:?} is not shown");
            continue;
        };
        let value = f64::from_bits(*bits);
        assert!(*low <= value && value <= *high, "{series:?}: {low} <= {value} <= {high}");
    }
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total: f64 = kib.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(Some(total * 1024.0), shown.value("host_memory_total_bytes", &[]));
}

#[test]
fn the_cgroup_is_ours() {
    let server = start(&[]);
    let shown = fresh(&server, "cgroup");
    let own = [("of", "self")];
    if shown.value("cgroup_cpu_usage_seconds_total", &own).is_none() {
        // A machine whose cgroups cannot be seen: then nothing at all is shown, and the log says so once.
        assert!(!shown.families.keys().any(|name| name.starts_with("cgroup_")));
        server.log_with("nothing to measure");
        return;
    }
    let before = shown.value("cgroup_cpu_usage_seconds_total", &own).unwrap();
    let spent = Instant::now() + Duration::from_millis(100);
    while Instant::now() < spent {
        std::hint::spin_loop();
    }
    // The server was started by this test and shares its cgroup.
    let after = fresh(&server, "cgroup").value("cgroup_cpu_usage_seconds_total", &own).unwrap();
    assert!(after - before >= 0.05, "{before} {after}");
}

// Against node_exporter.

/// How far apart a family's two values may be, because they are read at two moments.
fn tolerance(name: &str, theirs: f64) -> f64 {
    let mebibyte = 1024.0 * 1024.0;
    match name {
        "node_load1" | "node_load5" | "node_load15" => 1.0,
        "node_procs_running" | "node_procs_blocked" | "node_disk_io_now" => 100.0,
        "node_filefd_allocated" => 5000.0,
        "node_netstat_Tcp_CurrEstab" => 1000.0,
        _ if name.starts_with("node_sockstat_") => {
            if name.ends_with("_bytes") {
                64.0 * mebibyte
            } else {
                10_000.0
            }
        }
        "node_filesystem_files_free" => 100_000.0,
        "node_time_seconds" => 60.0,
        _ if name.starts_with("node_filesystem_") && name.ends_with("_bytes") => 4096.0 * mebibyte,
        "node_memory_MemTotal_bytes" | "node_memory_SwapTotal_bytes" => 0.0,
        _ if name.starts_with("node_memory_") => 1024.0 * mebibyte + theirs * 0.1,
        _ => 0.0,
    }
}

/// Counters need no tolerance: ours is read between two looks of theirs.
#[test]
fn the_same_names_and_values_as_node_exporter() {
    let mut command = Command::new("prometheus-node-exporter");
    command.arg("--web.listen-address=127.0.0.1:0");
    let theirs = Server::launch(command);
    let look = || {
        let body = http::get(theirs.address, "/metrics").body;
        let ours: String = body
            .lines()
            .filter(|line| {
                line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").starts_with("node_")
            })
            .map(|line| format!("{line}\n"))
            .collect();
        Exposition::strict(&ours).unwrap()
    };
    let server = start(&["--compat", "node_exporter"]);
    let before = look();
    let shown = fresh(&server, "host");
    let after = look();
    let mut compared = HashSet::new();
    for (series, bits) in shown.samples.iter().filter(|((name, _), _)| name.starts_with("node_")) {
        let (Some(low), Some(high)) = (before.samples.get(series), after.samples.get(series)) else {
            // Debian's package leaves out lo and mounts beside the root, and its version has fewer counts of TCP.
            let leaves_out =
                ["node_network_", "node_filesystem_", "node_disk_", "node_hwmon_", "node_netstat_TcpExt_TCP"];
            assert!(leaves_out.iter().any(|family| series.0.starts_with(family)), "only ours: {series:?}");
            continue;
        };
        let (low, high, value) = (f64::from_bits(*low), f64::from_bits(*high), f64::from_bits(*bits));
        let (low, high) = (low.min(high), low.max(high));
        // It multiplies milliseconds by 0.001, which is not the nearest number.
        let room = tolerance(&series.0, low) + high.abs() * 1e-12;
        assert!(low - room <= value && value <= high + room, "{series:?}: {low} {value} {high}");
        assert_eq!(before.families[&series.0].kind, shown.families[&series.0].kind, "{}", series.0);
        compared.insert(series.0.as_str());
    }
    for name in [
        "node_cpu_seconds_total",
        "node_memory_MemAvailable_bytes",
        "node_load1",
        "node_boot_time_seconds",
        "node_network_receive_bytes_total",
        "node_uname_info",
        "node_sockstat_TCP_inuse",
        "node_netstat_Tcp_InSegs",
    ] {
        assert!(compared.contains(name), "{name} was not compared: {compared:?}");
    }
    assert!(compared.len() >= 60, "{}: {compared:?}", compared.len());
}

#[test]
fn other_exporters_names_are_shown_when_they_are_asked_for() {
    let names = |server: &Server| fresh(server, "host").families.into_keys().collect::<HashSet<_>>();
    let is_theirs = |name: &String| name.starts_with("node_");
    assert!(!names(&start(&[])).iter().any(is_theirs));
    assert!(names(&start(&["--compat", "dcgm,node_exporter"])).iter().any(is_theirs));
}

// On recorded folders.

fn is_measured(name: &str) -> bool {
    let own = ["host_", "cgroup_", "model_worker_"].iter().any(|prefix| name.starts_with(prefix));
    // These are asked of the system that runs the test.
    own && !["host_uname_info", "host_hwmon_temp_celsius"].contains(&name)
}

/// `UPDATE_GOLDENS=1` writes what is expected; look at the difference before you commit it.
#[test]
fn recorded_folders_give_what_is_expected() {
    let mut cases: Vec<_> = fs::read_dir(recorded("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert_eq!(5, cases.len(), "{cases:?}");
    for case in cases {
        let (procfs, sysfs) = (case.join("proc"), case.join("sys"));
        let mut command = run();
        command
            .arg(fixture("log"))
            .args(FAST)
            .arg("--path.procfs")
            .arg(procfs)
            .arg("--path.sysfs")
            .arg(sysfs);
        let server = Server::launch(command).until_ready();
        fresh(&server, "worker");
        // The worker collector has told the cgroup's which process is the server's.
        fresh(&server, "host");
        let shown = only(&fresh(&server, "host"), is_measured);
        let file = case.join("expected.prom");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            let body = http::get(server.address, "/metrics").body;
            let name = |line: &str| {
                let line = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
                line.split([' ', '{']).next().unwrap().to_owned()
            };
            let lines = body.lines().filter(|line| is_measured(&name(line)));
            fs::write(&file, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        let expected = Exposition::strict(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(Vec::<String>::new(), differences(&expected, &shown), "{}", case.display());
    }
}

// Flags.

#[test]
fn a_collector_can_be_turned_off() {
    let health = "inferometer_collector_success";
    for off in COLLECTORS {
        let server = start(&[&format!("--no-collector.{}", off.name)]);
        for entry in COLLECTORS.iter().filter(|entry| ["host", "worker"].contains(&entry.name)) {
            let shown = if entry.name == off.name { server.scrape() } else { fresh(&server, entry.name) };
            let value = shown.value(health, &[("collector", entry.name)]);
            assert_eq!((entry.name != off.name).then_some(1.0), value, "without {}", off.name);
        }
        let has_host = server.scrape().families.contains_key("host_load1");
        assert_eq!(off.name != "host", has_host, "without {}", off.name);
    }
}

#[test]
fn a_collector_that_fails_says_so_and_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let server = start(&["--path.procfs", nowhere.to_str().unwrap()]);
    let log = server.log_with("cannot measure");
    assert!(log.contains("nowhere/stat"), "{log}");
    let body = server.scrape();
    let success = |name: &str| body.value("inferometer_collector_success", &[("collector", name)]);
    assert_eq!([Some(0.0), Some(0.0)], ["host", "worker"].map(success));
    assert!(body.families.contains_key("inferometer_build_info"));
    assert!(!body.families.keys().any(|name| name.starts_with("host_")));
}

/// Opening a pipe that nobody writes to waits for ever, as a driver or a dead network mount does.
#[test]
fn a_collector_that_hangs_holds_up_neither_scrapes_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("stat");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::write(folder.path().join("loadavg"), "0 0 0 1/1 1\n").unwrap();
    let mut server = start(&["--path.procfs", folder.path().to_str().unwrap()]);
    let body = fresh(&server, "worker");
    assert_eq!(Some(1.0), body.value("inferometer_collector_success", &[("collector", "worker")]));
    eventually("a collector that hangs has not succeeded", || {
        let success = server.value("inferometer_collector_success", &[("collector", "host")]);
        (success? == 0.0).then_some(())
    });
    assert_eq!(Some(0), server.terminate().code(), "{}", server.log());
}

// Through the API: time is injected.

fn family(name: &str) -> FamilyView {
    let mut family = FamilyView::new(name, "Help.", Type::Gauge);
    family.push(&[], 1.0);
    family
}

fn names(readings: &Readings, now: Instant, log: &[&str]) -> Vec<String> {
    let taken = log.iter().copied().collect();
    let families = readings.families(now, &taken).into_iter().map(|family| family.name);
    families.filter(|name| !name.starts_with("inferometer_")).collect()
}

fn success(readings: &Readings, now: Instant) -> Option<f64> {
    let families = readings.families(now, &HashSet::new());
    let health = families.iter().find(|family| family.name == "inferometer_collector_success")?;
    let inferometer::metric::Shown::Number(value) = health.series.first()?.value else { return None };
    Some(value)
}

#[test]
fn a_reading_older_than_three_intervals_is_withheld() {
    let interval = Duration::from_secs(5);
    let readings = Readings::of(&COLLECTORS[..1], interval);
    let post = readings.post(COLLECTORS[0].name).unwrap();
    let start = Instant::now();
    assert_eq!(None, success(&readings, start), "nothing is known before the first measurement");
    post.cell.put(post.cell.get().next(start, Ok(vec![family("a")])));
    assert_eq!(vec!["a"], names(&readings, start + interval * 3, &[]));
    assert_eq!(Some(1.0), success(&readings, start + interval * 3));
    let late = start + interval * 3 + Duration::from_millis(1);
    assert_eq!(Vec::<String>::new(), names(&readings, late, &[]));
    assert_eq!(Some(0.0), success(&readings, late), "a collector that hangs has not succeeded");
}

#[test]
fn trouble_leaves_the_last_reading_in_view_and_is_told() {
    let readings = Readings::of(&COLLECTORS[..1], Duration::from_secs(5));
    let post = readings.post(COLLECTORS[0].name).unwrap();
    let start = Instant::now();
    post.cell.put(post.cell.get().next(start, Ok(vec![family("a")])));
    post.cell.put(post.cell.get().next(start, Err(Trouble::Failed("broken".to_owned()))));
    assert_eq!((vec!["a".to_owned()], Some(0.0)), (names(&readings, start, &[]), success(&readings, start)));
    // What is not there to be measured is no failure.
    post.cell.put(post.cell.get().next(start, Err(Trouble::Absent("no driver".to_owned()))));
    assert_eq!(None, success(&readings, start));
}

#[test]
fn a_log_that_has_the_name_already_keeps_it() {
    let readings = Readings::of(&COLLECTORS[..1], Duration::from_secs(5));
    let post = readings.post(COLLECTORS[0].name).unwrap();
    post.cell.put(post.cell.get().next(Instant::now(), Ok(vec![family("a"), family("b")])));
    assert_eq!(vec!["b"], names(&readings, Instant::now(), &["a"]));

    let folders = Folders::new();
    append(&folders.live(), frontend("host_load1.Count:7.0", "Level:Host"));
    let mut command = run();
    command.arg(folders.logs()).args(FAST);
    let server = Server::launch(command).until_ready();
    let body = fresh(&server, "host");
    let of_log = [("Level", "Host"), ("Hostname", "h")];
    assert_eq!((Some(7.0), None), (body.value("host_load1", &of_log), body.value("host_load1", &[])));
    assert!(body.value("host_load5", &[]).is_some());
}

/// Panics at its first measurement, and is made anew.
struct Fragile(Arc<std::sync::atomic::AtomicU32>);

impl Collector for Fragile {
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        let made = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(made > 0, "this panic is part of a test");
        Ok(vec![family("a")])
    }
}

#[test]
fn a_collector_that_panics_is_made_anew() {
    let post = Arc::new(Post::new("fragile", Duration::from_millis(20)));
    let calls = Arc::default();
    let mut collection = Collection::default();
    let made = Arc::clone(&calls);
    collection.add(Arc::clone(&post), move || Box::new(Fragile(Arc::clone(&made)))).unwrap();
    let trouble = eventually("the panic is known", || post.cell.get().outcome.clone());
    if let Some(trouble) = trouble.trouble {
        assert!(trouble.to_string().contains("panicked"), "{trouble}");
    }
    eventually("it measures", || (!post.cell.get().families.is_empty()).then_some(()));
    assert!(calls.load(std::sync::atomic::Ordering::Relaxed) >= 2);
}

#[test]
fn names_are_legal_and_described() {
    let server = start(&["--compat", "node_exporter"]);
    fresh(&server, "cgroup");
    let body = fresh(&server, "host");
    for (name, family) in body.families.iter().filter(|(name, _)| is_measured(name)) {
        let help = family.help.as_deref().unwrap_or_default();
        assert!(help.len() > 10 && help.ends_with(['.', ')', '1']), "{name}: {help:?}");
        let is_counter = family.kind.as_deref() == Some("counter");
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
    }
    assert!(Path::new("/proc/stat").exists());
}
