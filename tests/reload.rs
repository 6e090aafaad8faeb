//! Another configuration while the process runs: what changes, what stays, and what a bad file does.

use crate::support::folders::Folders;
use crate::support::http;
use crate::support::lines::{HOST, append, model, requests};
use crate::support::process::{Server, eventually, run, wait_for};
use std::fs;
use std::process::Command;

const HITS: &[(&str, &str)] = &[("Hostname", "h")];
const SUCCESSFUL: &str = "inferometer_config_last_reload_successful";

/// A folder with logs and a configuration file.
struct Place(Folders);

impl Place {
    fn new(config: &str) -> Self {
        let place = Self(Folders::new());
        append(&place.0.live(), requests(3));
        append(&place.0.logs().join("model_metrics.log"), hits(2));
        place.put(config);
        place
    }

    fn put(&self, config: &str) {
        fs::write(self.0.path().join("c.yaml"), config).unwrap();
    }

    /// Starts without PATHs, so that the file may name them.
    fn run(&self, arguments: &[&str]) -> Server {
        let mut command = run();
        command.arg("--config.file").arg(self.0.path().join("c.yaml")).args(arguments);
        command.env("METRICS_LOCATION", self.0.logs());
        Server::launch(command).until_ready()
    }
}

fn hits(count: usize) -> String {
    (0..count).map(|_| model("Hits.Count:1.0", "")).collect()
}

/// Has it read its configuration again, and waits until that is in force.
#[track_caller]
fn reload(server: &Server) {
    let reply = http::request(server.address, "POST", "/-/reload").unwrap();
    assert_eq!((200, "reloaded\n"), (reply.status, reply.body.as_str()), "{}", server.log());
}

fn hang_up(server: &Server) {
    let kill = format!("kill -HUP {}", server.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn kind(server: &Server, family: &str) -> String {
    server.scrape().families.get(family).map(|family| format!("{family:?}")).unwrap_or_default()
}

#[test]
fn only_families_that_changed_start_anew() {
    let place = Place::new("types: {Hits: gauge}\n");
    let server = place.run(&["--web.enable-lifecycle"]);
    assert_eq!(Some(1.0), server.value("Hits", HITS), "a gauge has its last value");
    place.put("types: {Hits: counter}\nlimit: {series: 20000}\n");
    reload(&server);
    assert_eq!(None, server.value("Hits", HITS), "{}", kind(&server, "Hits"));
    assert_eq!(Some(3.0), server.value("Requests2XX", HOST));
    append(&place.0.logs().join("model_metrics.log"), hits(4));
    append(&place.0.live(), requests(2));
    wait_for(&server, 5.0);
    eventually("new lines count from 0", || (server.value("Hits", HITS)? == 4.0).then_some(()));
    // The same file again changes nothing.
    reload(&server);
    assert_eq!((Some(4.0), Some(5.0)), (server.value("Hits", HITS), server.value("Requests2XX", HOST)));
}

#[test]
fn a_bad_file_keeps_the_old_configuration_and_says_so() {
    let place = Place::new("types: {Hits: counter}\n");
    let server = place.run(&["--web.enable-lifecycle"]);
    let since = server.value("inferometer_config_last_reload_success_timestamp_seconds", &[]).unwrap();
    assert_eq!(Some(1.0), server.value(SUCCESSFUL, &[]));
    for (config, place_of_it) in [
        ("types: {Hits: counters}\n", "c.yaml:1:15: "),
        ("limit:\n  serie: 5\n", "c.yaml:2:3: "),
        ("sources: [{path: x, timezone: Mars}]\n", "c.yaml:1:31: "),
    ] {
        place.put(config);
        let reply = http::request(server.address, "POST", "/-/reload").unwrap();
        assert_eq!(500, reply.status);
        assert!(!reply.body.contains("yaml"), "no path is told to clients: {}", reply.body);
        server.log_with(place_of_it);
        assert_eq!(Some(0.0), server.value(SUCCESSFUL, &[]));
        assert_eq!(
            Some(since),
            server.value("inferometer_config_last_reload_success_timestamp_seconds", &[])
        );
    }
    append(&place.0.live(), requests(2));
    append(&place.0.logs().join("model_metrics.log"), hits(1));
    wait_for(&server, 5.0);
    eventually("Hits is a counter", || (server.value("Hits", HITS)? == 3.0).then_some(()));
    place.put("types: {Hits: counter}\n");
    hang_up(&server);
    eventually("a good file is taken", || (server.value(SUCCESSFUL, &[])? == 1.0).then_some(()));
    assert_eq!(Some(3.0), server.value("Hits", HITS));
}

#[test]
fn rules_of_the_user_and_text_files_change_too() {
    let place = Place::new("");
    let (log, text) = (place.0.path().join("own.log"), place.0.path().join("other.prom"));
    let write = |count: usize| append(&log, "job done took=2\n".repeat(count));
    fs::write(&text, "other_value 7\n").unwrap();
    let put = |rules: &[(&str, &str)], extra: &str| {
        let rule = |(name, what): &(&str, &str)| {
            format!("  - {{regex: 'took=(?P<took>\\d)$', metrics: [{{name: {name}, {what}}}]}}\n")
        };
        let rules: String = rules.iter().map(rule).collect();
        let rules = if rules.is_empty() { rules } else { format!("rules:\n{rules}") };
        place.put(&format!("sources:\n  - {{path: {}}}\n{extra}{rules}", log.display()));
    };
    let (jobs, seconds) =
        (("own_jobs_total", "type: counter"), ("own_seconds_total", "type: counter, value: took"));
    write(1);
    put(&[], "");
    let server = place.run(&["--web.enable-lifecycle"]);
    let becomes = |name: &str, expected: Option<f64>| {
        eventually(&format!("{name} = {expected:?}"), || (server.value(name, &[]) == expected).then_some(()));
    };
    put(&[jobs], "");
    reload(&server);
    write(2);
    let counted = |name: &str| server.value(name, &[]);
    eventually("lines go to the new rule", || (counted("own_jobs_total")? >= 2.0).then_some(()));
    let before = counted("own_jobs_total").unwrap();
    put(&[jobs, seconds], &format!("  - {{path: {}}}\n", text.display()));
    reload(&server);
    write(3);
    becomes("own_seconds_total", Some(6.0));
    becomes("own_jobs_total", Some(before + 3.0));
    eventually("the text file is merged", || counted("other_value"));
    put(&[seconds], "");
    reload(&server);
    write(1);
    becomes("own_seconds_total", Some(8.0));
    assert_eq!((None, None), (counted("own_jobs_total"), counted("other_value")));
}

#[test]
fn paths_come_and_go_and_each_line_counts_once() {
    let place = Place::new("");
    let sources = |folders: &[&str]| {
        let entry = |folder: &&str| {
            format!("  - {{path: {}, labels: {{server: {folder}}}}}\n", place.0.path().join(folder).display())
        };
        place.put(&format!("sources:\n{}", folders.iter().map(entry).collect::<String>()));
    };
    let write = |folder: &str, count| {
        append(&place.0.path().join(folder).join("ts_metrics.log"), requests(count));
    };
    for folder in ["a", "b"] {
        write(folder, 1);
    }
    sources(&["a"]);
    let server = place.run(&["--web.enable-lifecycle"]);
    let value = |folder: &str| {
        server.value("Requests2XX", &[("Level", "Host"), ("Hostname", "h"), ("server", folder)])
    };
    let becomes = |folder: &str, expected: f64| {
        eventually(&format!("{folder} = {expected}"), || (value(folder)? == expected).then_some(()));
    };
    assert_eq!((Some(1.0), None), (value("a"), value("b")));
    sources(&["a", "b"]);
    reload(&server);
    becomes("b", 1.0);
    write("a", 1);
    write("b", 1);
    becomes("a", 2.0);
    becomes("b", 2.0);
    sources(&["b"]);
    reload(&server);
    write("a", 5);
    write("b", 1);
    becomes("b", 3.0);
    assert_eq!(Some(2.0), value("a"), "nobody reads it");
    sources(&["a", "b"]);
    reload(&server);
    becomes("a", 7.0);
    write("a", 1);
    becomes("a", 8.0);
    assert_eq!(Some(3.0), value("b"));
}

#[test]
fn labels_of_a_source_hold_for_the_lines_that_follow() {
    let place = Place::new("");
    let label = |value: &str| {
        let logs = place.0.logs();
        place.put(&format!("sources: [{{path: {}, labels: {{zone: {value}}}}}]\n", logs.display()));
    };
    label("one");
    let server = place.run(&["--web.enable-lifecycle"]);
    let value = |zone| server.value("Requests2XX", &[("Level", "Host"), ("Hostname", "h"), ("zone", zone)]);
    assert_eq!((Some(3.0), None), (value("one"), value("two")));
    label("two");
    reload(&server);
    append(&place.0.live(), requests(2));
    eventually("the new label", || (value("two")? == 2.0).then_some(()));
    assert_eq!(Some(3.0), value("one"), "what was counted stays");
}

#[test]
fn a_restart_after_a_reload_goes_on_with_it() {
    let place = Place::new("types: {Hits: gauge}\n");
    let state = place.0.state();
    let arguments = ["--web.enable-lifecycle", "--state.dir", state.to_str().unwrap()];
    let server = place.run(&arguments);
    place.put("types: {Hits: counter}\nnaming: torchserve\ndrop-labels: [Level]\n");
    reload(&server);
    append(&place.0.logs().join("model_metrics.log"), hits(4));
    eventually("it counts", || (server.value("Hits", HITS)? == 4.0).then_some(()));
    server.kill();
    let server = place.run(&arguments);
    assert_eq!(Some(4.0), server.value("Hits", HITS));
}

#[test]
fn collectors_and_limits_follow_the_file() {
    let place = Place::new("collector: {host: false, cgroup: false, worker: false, gpu: false}\n");
    let server = place.run(&["--web.enable-lifecycle"]);
    let has = |family: &str| server.scrape().families.contains_key(family);
    assert!(!has("host_load1"));
    place.put("collector: {host: true, cgroup: false, worker: false, gpu: false}\n");
    reload(&server);
    eventually("the host is measured", || has("host_load1").then_some(()));
    place.put(
        "collector: {host: false, cgroup: false, worker: false, gpu: false}\nlimit: {series-per-family: 1}\n",
    );
    reload(&server);
    assert!(!has("host_load1"));
    append(&place.0.live(), crate::support::lines::frontend("Requests2XX.Count:1.0", "Level:Other"));
    let overflow = [("overflow", "true")];
    eventually("the limit holds", || (server.value("Requests2XX", &overflow)? == 1.0).then_some(()));
}

#[test]
fn what_takes_a_restart_is_said() {
    let place = Place::new("");
    let server = place.run(&["--web.enable-lifecycle"]);
    place.put("web: {telemetry-path: /numbers, shutdown-linger: 1s}\nstate: {dir: /nowhere}\n");
    reload(&server);
    let log = server.log_with("configuration read again");
    for flag in ["web.telemetry-path", "web.shutdown-linger", "state.dir"] {
        assert!(log.contains(&format!("flag={flag}")), "{flag}: {log}");
    }
    assert!(!log.contains("flag=web.listen-address"), "{log}");
    assert_eq!(404, http::get(server.address, "/numbers").status);
}

#[test]
fn a_reload_by_http_must_be_allowed() {
    let place = Place::new("");
    let server = place.run(&[]);
    let status = |method| http::request(server.address, method, "/-/reload").unwrap().status;
    assert_eq!((403, 403), (status("POST"), status("GET")));
    let server = place.run(&["--web.enable-lifecycle"]);
    assert_eq!(405, http::request(server.address, "GET", "/-/reload").unwrap().status);
}

#[test]
fn many_reloads_at_once_end_and_lose_nothing() {
    let place = Place::new("types: {Hits: counter}\n");
    let server = place.run(&["--web.enable-lifecycle"]);
    let (address, live) = (server.address, place.0.live());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(200, http::request(address, "POST", "/-/reload").unwrap().status);
                }
            });
        }
        for _ in 0..50 {
            append(&live, requests(2));
            hang_up(&server);
        }
    });
    wait_for(&server, 103.0);
    assert_eq!(Some(2.0), server.value("Hits", HITS));
}
