//! The rules in a real Prometheus that scrapes the real binary: a healthy server raises nothing, the demo only what it
//! does wrong on purpose, and what goes wrong with the others raises its alert.

use super::{RULES, alerts, text};
use crate::support::lines::{append, frontend, next_time, requests};
use crate::support::nvml::Nvml;
use crate::support::process::{Server, run};
use crate::support_prometheus::{Demo, Prometheus, within};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Some seconds would do; a busy machine starts Prometheus in ten.
const LIMIT: Duration = Duration::from_secs(120);

/// The alerts that each server raises, and no others.
const EXPECTED: &[(&str, &[&str])] = &[
    ("healthy", &[]),
    ("rejecting", &["InferometerRejectedLines"]),
    ("first-error", &["ModelServerErrorsSlowBurn"]),
    ("burning", &["ModelServerErrorsFastBurn", "ModelServerErrorsSlowBurn"]),
    ("undurable", &["InferometerNotDurable"]),
    ("silent", &["InferometerServerSilent"]),
    ("down", &["InferometerDown"]),
    ("sick-gpu", &["GpuBroken", "GpuHot", "GpuMemoryFull", "GpuThrottled"]),
    ("history", &[]),
];

/// What may be said of the demo: it has a metric without a type and fails now and then, to show what that looks like.
const OF_THE_DEMO: &[&str] =
    &["InferometerUntypedFamilies", "ModelServerErrorsFastBurn", "ModelServerErrorsSlowBurn"];

#[test]
fn each_alert_is_raised_by_what_it_is_about_and_by_nothing_else() {
    let rules = tempfile::tempdir().unwrap();
    let files = impatient_rules(rules.path());
    // This machine's own container may well be short of processor time or memory.
    let demo = Demo::start_with(|command| {
        command.env("INFEROMETER_COLLECTOR_CGROUP", "false");
    });
    let mut servers = Servers::start();
    let prometheus = Prometheus::with_rules(&servers.jobs(demo.address), &files);
    within(LIMIT, "all servers have been scraped with nothing wrong", || {
        servers.go_on();
        let scraped = prometheus.query("count_over_time(inferometer_catching_up[1m] offset 1s)", "job")?;
        let caught_up = prometheus.query("inferometer_catching_up == 0", "job")?;
        let all = servers.all.len() + 1;
        if scraped.len() == all && caught_up.len() == all { Ok(()) } else { Err(format!("{scraped:?}")) }
    });
    servers.break_down();
    let mut of_demo = BTreeSet::new();
    within(LIMIT, "each server raises its own alerts", || {
        servers.go_on();
        let mut raised: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (job, alert, state) in raised_alerts(&prometheus)? {
            let mark = if state == "firing" { "" } else { "?" };
            raised.entry(job).or_default().insert(format!("{alert}{mark}"));
        }
        of_demo = raised.remove("demo").unwrap_or_default();
        for (job, expected) in EXPECTED {
            let raised = raised.remove(*job).unwrap_or_default();
            if !raised.iter().eq(expected.iter()) {
                return Err(format!("{job}: {raised:?}"));
            }
        }
        if raised.is_empty() && of_demo.contains(OF_THE_DEMO[0]) {
            Ok(())
        } else {
            Err(format!("{raised:?} {of_demo:?}"))
        }
    });
    let of_demo: Vec<&str> = of_demo.iter().map(|alert| alert.trim_end_matches('?')).collect();
    assert!(of_demo.iter().all(|alert| OF_THE_DEMO.contains(alert)), "{of_demo:?}");
    assert_eq!(Vec::<String>::new(), failing_rules(&prometheus));
    let recorded = "count by (__name__) ({__name__=~\"model:ts_.+\", job=\"demo\"} >= 0)";
    let expected =
        super::rules().into_iter().map(|rule| rule.record).filter(|name| name.starts_with("model:ts_"));
    let expected: BTreeSet<String> = expected.collect();
    assert_eq!(expected, prometheus.query(recorded, "__name__").unwrap().into_keys().collect());
}

/// The rules with all their patience taken away, and a silence of some seconds.
fn impatient_rules(folder: &Path) -> Vec<PathBuf> {
    let silence = "inferometer_source_last_read_timestamp_seconds) > 600\n";
    let mut patience = 0;
    let files = RULES.map(|file| {
        let text = text(file);
        if file.ends_with("alerts.yml") {
            assert_eq!(1, text.matches(silence).count(), "the time of silence has changed");
        }
        let shorter: String = text
            .replace(silence, &silence.replace("600", "8"))
            .lines()
            .map(|line| match line.strip_prefix("        for: ") {
                Some(_) => {
                    patience += 1;
                    "        for: 1s\n".to_owned()
                }
                None => format!("{line}\n"),
            })
            .collect();
        let file = folder.join(Path::new(file).file_name().unwrap());
        fs::write(&file, shorter).unwrap();
        file
    });
    assert!(patience > 10, "{patience} of {} alerts wait", alerts().len());
    files.to_vec()
}

/// Raised alerts: job, name and state (`pending` or `firing`).
fn raised_alerts(prometheus: &Prometheus) -> Result<Vec<(String, String, String)>, String> {
    let answer = prometheus.ask("alerts", &[])?;
    let alerts = answer.pointer("/alerts").and_then(|alerts| alerts.as_array()).ok_or("no alerts")?;
    let text = |alert: &serde_json::Value, place: &str| {
        alert.pointer(place).and_then(|text| text.as_str()).unwrap_or_default().to_owned()
    };
    Ok(alerts
        .iter()
        .map(|alert| (text(alert, "/labels/job"), text(alert, "/labels/alertname"), text(alert, "/state")))
        .collect())
}

/// Rules that Prometheus cannot evaluate, with its reason; none that it has not evaluated.
fn failing_rules(prometheus: &Prometheus) -> Vec<String> {
    let answer = prometheus.ask("rules", &[]).unwrap();
    let groups = answer.pointer("/groups").and_then(|groups| groups.as_array()).unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut count = 0;
    let failing = rules
        .inspect(|_| count += 1)
        .filter(|rule| rule["health"] != "ok")
        .map(ToString::to_string)
        .collect();
    assert_eq!(super::rules().len(), count);
    failing
}

/// One that runs, with its log folder.
struct One {
    job: &'static str,
    server: Server,
    logs: PathBuf,
}

/// The servers of [`EXPECTED`].
struct Servers {
    all: Vec<One>,
    sick: Nvml,
    _healthy: Nvml,
    _folder: TempDir,
}

impl Servers {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (healthy, sick) = (Nvml::new("count=2\n"), Nvml::new("count=1\n"));
        let mut all = Vec::new();
        for (job, _) in EXPECTED {
            let mut logs = folder.path().join(job);
            let mut command = match *job {
                "healthy" => healthy.command(&[]),
                "sick-gpu" => sick.command(&[]),
                _ => {
                    fs::create_dir(&logs).unwrap();
                    let mut command = run();
                    command.arg(&logs).arg("--no-collector.gpu");
                    command
                }
            };
            match *job {
                "healthy" => logs = healthy.logs(),
                "sick-gpu" => logs = sick.logs(),
                "undurable" => {
                    // No folder can be below a file, and root may write anywhere else.
                    let file = folder.path().join("a-file");
                    fs::write(&file, "").unwrap();
                    command.arg("--state.dir").arg(file.join("state"));
                }
                "silent" => {
                    let banner = crate::support::fixture("log/console.txt");
                    fs::copy(banner, logs.join("ts_log.log")).unwrap();
                }
                // What was there before the first scrape is history, errors and all.
                "history" => append(&logs.join("access_log.log"), answers(40, 503)),
                _ => {}
            }
            // What this machine is like is not what this is about.
            command.args(["--no-collector.host", "--no-collector.cgroup", "--no-collector.worker"]);
            append(&logs.join("access_log.log"), answers(20, 200));
            append(&logs.join("ts_metrics.log"), requests(20));
            all.push(One { job, server: Server::launch(command).until_ready(), logs });
        }
        Self { all, sick, _healthy: healthy, _folder: folder }
    }

    fn jobs(&self, demo: SocketAddr) -> String {
        let job = |name: &str, address: SocketAddr| {
            format!("{{job_name: {name}, static_configs: [{{targets: ['{address}']}}]}}")
        };
        let all = self.all.iter().map(|one| job(one.job, one.server.address));
        all.chain([job("demo", demo)]).collect::<Vec<_>>().join(", ")
    }

    /// Lines as a server writes them all the time.
    fn go_on(&self) {
        for one in self.all.iter().filter(|one| one.job != "silent") {
            append(&one.logs.join("ts_metrics.log"), requests(1));
        }
    }

    fn break_down(&mut self) {
        for one in &mut self.all {
            let access = one.logs.join("access_log.log");
            match one.job {
                "rejecting" => {
                    let broken = frontend("Requests2XX.Count:many", "Level:Host");
                    append(&one.logs.join("ts_metrics.log"), broken.repeat(200));
                }
                "first-error" => append(&access, answers(1, 503)),
                "burning" => append(&access, answers(10, 500)),
                "down" => drop(one.server.terminate()),
                "sick-gpu" => self.sick.set(
                    "count=1\n0.nvmlDeviceGetTemperature=90\n0.xids=79\n\
                     0.nvmlDeviceGetCurrentClocksThrottleReasons=64\n\
                     0.nvmlDeviceGetMemoryInfo_v2=85899345920,536870912,1073741824,84288733184\n",
                ),
                _ => {}
            }
        }
    }
}

fn answers(count: usize, code: u16) -> String {
    (0..count)
        .map(|_| format!("{} - /127.0.0.1:51 \"POST /predictions/m HTTP/1.1\" {code} 20\n", next_time()))
        .collect()
}
