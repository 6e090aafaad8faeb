//! What checks files without running them: the Dockerfile, the Compose files, and what they mount.

use super::engine::{repository, succeed};
use serde_json::Value;
use std::fs;
use std::process::Command;

#[test]
fn dockerfile_has_nothing_to_complain_about() {
    succeed(Command::new("hadolint").arg("--no-color").arg(repository().join("deploy/Dockerfile")));
}

#[test]
fn dockerfile_of_a_bad_habit_is_complained_about() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    fs::write(&file, "FROM debian:latest\n").unwrap();
    let output = Command::new("hadolint").arg(&file).output().expect("hadolint, by tests/run.sh");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("DL3007"));
}

#[test]
fn compose_files_are_valid_alone_and_with_gpus() {
    for files in [&["compose.yaml"][..], &["demo.yaml"], &["compose.yaml", "gpu.yaml"]] {
        let config = resolved(files);
        let services = config["services"].as_object().unwrap();
        for (name, service) in services {
            let image = service["image"].as_str().unwrap_or_else(|| panic!("{files:?}: {name} has no image"));
            let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
            assert!(
                tag.contains(|c: char| c.is_ascii_digit()) || name == "log-folder",
                "{image} is not pinned"
            );
            // Nothing is open to others than this machine.
            for port in service["ports"].as_array().into_iter().flatten() {
                assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port}");
            }
            // What is mounted and not there Docker makes, as an empty folder.
            for volume in service["volumes"].as_array().into_iter().flatten() {
                let from = volume.as_str().unwrap().split(':').next().unwrap();
                assert!(!from.starts_with('/') || std::path::Path::new(from).exists(), "{name}: {volume}");
            }
        }
        for name in ["inferometer", "prometheus", "grafana"] {
            let service = &services[name];
            assert_eq!("[\"ALL\"]", service["cap_drop"].to_string(), "{files:?}: {name}");
            assert_eq!(
                "[\"no-new-privileges:true\"]",
                service["security_opt"].to_string(),
                "{files:?}: {name}"
            );
        }
        assert_eq!(Some(true), services["inferometer"]["read_only"].as_bool());
    }
}

#[test]
fn compose_file_of_an_unknown_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yaml"), "services: {a: {image: 'b:1', readonly: true}}\n").unwrap();
    let mut command = Command::new("docker-compose");
    let output = command.args(["config"]).current_dir(folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("readonly"));
}

#[test]
fn grafana_is_given_what_is_mounted_and_asks_the_prometheus_that_is_there() {
    let config = resolved(&["compose.yaml"]);
    let grafana = &config["services"]["grafana"];
    let mounts: Vec<String> = strings(&grafana["volumes"]);
    let target_of = |source: &str| {
        let mount = mounts.iter().find(|mount| mount.contains(&format!("/deploy/{source}:")));
        let mount = mount.unwrap_or_else(|| panic!("{source} is not mounted: {mounts:?}"));
        mount.rsplit(':').nth(1).unwrap().to_owned()
    };
    // Where Grafana looks by itself.
    assert_eq!("/etc/grafana/provisioning", target_of("grafana/provisioning"));
    let dashboards = target_of("grafana/dashboards");
    let provisioning = repository().join("deploy/grafana/provisioning");
    let provider = yaml(&provisioning.join("dashboards/inferometer.yaml"));
    assert_eq!(Some(dashboards.as_str()), provider["providers"][0]["options"]["path"].as_str());
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    let home =
        home.strip_prefix(&format!("{dashboards}/")).unwrap_or_else(|| panic!("{home} is not mounted"));
    assert!(repository().join("deploy/grafana/dashboards").join(home).is_file(), "{home}");
    let source = yaml(&provisioning.join("datasources/prometheus.yaml"));
    assert_eq!(Some("http://prometheus:9090"), source["datasources"][0]["url"].as_str());
    // Grafana takes rates over four of what it believes to be Prometheus' interval.
    let believed = seconds(&source["datasources"][0]["jsonData"]["timeInterval"]);
    let real =
        seconds(&yaml(&repository().join("deploy/compose/prometheus.yml"))["global"]["scrape_interval"]);
    assert!(real <= believed, "{real} > {believed}");
}

#[test]
fn prometheus_can_read_its_configuration() {
    let config = repository().join("deploy/compose/prometheus.yml");
    succeed(Command::new("promtool").args(["check", "config", "--lint=all", "--lint-fatal"]).arg(config));
}

/// What Compose makes of these files.
fn resolved(files: &[&str]) -> Value {
    let mut command = Command::new("docker-compose");
    command.current_dir(repository().join("deploy/compose"));
    for file in files {
        command.args(["--file", file]);
    }
    serde_saphyr::from_str(&succeed(command.arg("config"))).unwrap()
}

fn yaml(path: &std::path::Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// An interval such as `15s`.
fn seconds(interval: &Value) -> u32 {
    let text = interval.as_str().and_then(|text| text.strip_suffix('s'));
    text.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no seconds: {interval}"))
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
