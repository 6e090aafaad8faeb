//! The service unit, as systemd judges it, and as a systemd of its own runs it.

use super::engine::{Container, Engine, repository};
use crate::support::exposition::Exposition;
use crate::support::lines::{HOST, requests};
use crate::support::process::eventually;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// systemd's own measure, from 0 (nothing can be reached) to 100, of what a service could do if it were taken over.
/// Most of what is left is the network that it serves on and the processes that it measures.
const EXPOSURE_MAX: u32 = 17;

/// The binary has to be where the unit says; in mounts of the command's own, nobody else sees it there.
const VERIFY: &str = r#"
    mount -t tmpfs tmpfs /usr/local/bin && cp "$1" /usr/local/bin/inferometer && systemd-analyze verify "$2"
"#;

#[test]
fn unit_is_one_that_systemd_takes_without_a_word() {
    let output = verify(&unit());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}\n{said}", output.status);
}

#[test]
fn unit_with_a_word_that_systemd_does_not_know_is_noticed() {
    let (_folder, unit) = changed("MemoryMax=", "MemoryMaximum=");
    assert!(String::from_utf8_lossy(&verify(&unit).stderr).contains("MemoryMaximum"));
}

#[test]
fn unit_leaves_a_service_little_to_reach() {
    let output = exposure(&unit());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn unit_that_opens_all_devices_is_over_the_threshold() {
    let (_folder, unit) = changed("DevicePolicy=closed\nDeviceAllow=char-nvidia* rw\n", "");
    assert!(!exposure(&unit).status.success());
}

#[test]
fn unit_reaches_what_is_measured() {
    let text = fs::read_to_string(unit()).unwrap();
    // NVIDIA's devices, the processes of model workers, the machine's numbers.
    for line in ["DeviceAllow=char-nvidia* rw", "ProtectProc=default", "ProcSubset=all"] {
        assert!(text.lines().any(|other| other == line), "{line}");
    }
    assert!(!text.contains("\nPrivateDevices="), "it hides the devices of GPUs");
}

#[test]
fn unit_runs_under_a_real_systemd_and_counts_on() {
    let machine = Machine::boot();
    machine.container.exec(&["systemctl", "start", "inferometer"]);
    machine.log(30);
    machine.counts(30.0);
    let process = machine.process();
    for (what, value) in [("CapBnd", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")] {
        assert_eq!(value, machine.status(&process, what), "{what}");
    }
    assert!(!machine.status(&process, "Uid").starts_with("0\t"));
    assert_eq!("67108864", machine.shown("MemoryMax"));

    machine.container.exec(&["sh", "-c", &format!("kill -KILL {process}")]);
    eventually("systemd starts it again", || (machine.shown("NRestarts") == "1").then_some(()));
    machine.log(12);
    machine.counts(42.0);

    let (process, before) = (machine.process(), machine.value(RELOADED, &[]));
    eventually("a reload is noticed", || {
        machine.container.exec(&["systemctl", "reload", "inferometer"]);
        (machine.value(RELOADED, &[]) > before).then_some(())
    });
    assert_eq!(process, machine.process());

    machine.container.exec(&["systemctl", "stop", "inferometer"]);
    assert_eq!(("0", "success"), (&*machine.shown("ExecMainStatus"), &*machine.shown("Result")));
}

#[test]
fn unit_is_not_started_again_over_a_bad_configuration() {
    let machine = Machine::boot();
    let set = "echo INFEROMETER_LIMIT_SERIES=many >/etc/default/inferometer";
    machine.container.exec(&["sh", "-c", set]);
    machine.container.exec(&["systemctl", "start", "inferometer"]);
    eventually("the service has failed", || (machine.shown("ActiveState") == "failed").then_some(()));
    assert_eq!(("64", "0"), (&*machine.shown("ExecMainStatus"), &*machine.shown("NRestarts")));
}

const RELOADED: &str = "inferometer_config_last_reload_success_timestamp_seconds";

/// A container whose first process is systemd, with the binary and the unit where the unit's guide puts them.
struct Machine {
    engine: Arc<Engine>,
    container: Container,
    url: String,
}

impl Machine {
    fn boot() -> Self {
        let engine = Engine::shared();
        engine.import(&["systemd-sysv"], "systemd");
        let options = "--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined \
            --security-opt systempaths=unconfined --cgroupns host --volume /sys/fs/cgroup:/sys/fs/cgroup \
            --tmpfs /run --tmpfs /tmp --publish 127.0.0.1::9082";
        let options: Vec<&str> = options.split_whitespace().collect();
        let start = [&["run", "--detach"], &*options, &["systemd", "/lib/systemd/systemd"]].concat();
        let container = Container::of(&engine, engine.docker(&start).trim());
        eventually("systemd is up", || {
            let state = engine.try_docker(&["exec", &container.id, "systemctl", "is-system-running"]);
            // What has failed in a container is none of ours.
            matches!(state.stdout.trim_ascii(), b"running" | b"degraded").then_some(())
        });
        container.copy(&engine.binary(), "/usr/local/bin/inferometer");
        container.copy(&unit(), "/etc/systemd/system/inferometer.service");
        container.exec(&["install", "-d", "-o", "1000", "/var/log/torchserve"]);
        container.exec(&["systemctl", "daemon-reload"]);
        let port = engine.docker(&["port", &container.id, "9082/tcp"]);
        Self { url: format!("http://{}/metrics", port.trim()), engine, container }
    }

    /// Has the server log some answered requests.
    fn log(&self, lines: usize) {
        let append = "printf %s \"$1\" >>/var/log/torchserve/ts_metrics.log";
        self.container.exec(&["sh", "-c", append, "sh", &requests(lines)]);
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        Exposition::strict(&self.engine.get(&self.url).ok()?).unwrap().value(name, labels)
    }

    /// Waits until so many requests are counted; they may never be more.
    #[track_caller]
    fn counts(&self, expected: f64) {
        eventually(&format!("{expected} requests"), || {
            let value = self.value("Requests2XX", HOST)?;
            assert!(value <= expected, "{value}");
            (value.to_bits() == expected.to_bits()).then_some(())
        });
    }

    /// A property of the service.
    fn shown(&self, property: &str) -> String {
        let show = ["systemctl", "show", "inferometer", "--value", "--property", property];
        self.container.exec(&show).trim().to_owned()
    }

    /// The number of the service's process, in there.
    fn process(&self) -> String {
        self.shown("MainPID")
    }

    fn status(&self, process: &str, name: &str) -> String {
        let script = "sed -n \"s/^$1:\\t//p\" /proc/$2/status";
        self.container.exec(&["sh", "-c", script, "sh", name, process]).trim().to_owned()
    }
}

fn unit() -> PathBuf {
    repository().join("deploy/systemd/inferometer.service")
}

/// The unit with some words in place of others.
fn changed(words: &str, others: &str) -> (tempfile::TempDir, PathBuf) {
    let text = fs::read_to_string(unit()).unwrap();
    assert!(text.contains(words), "{words}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inferometer.service");
    fs::write(&file, text.replace(words, others)).unwrap();
    (folder, file)
}

fn verify(unit: &Path) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", VERIFY, "sh", env!("CARGO_BIN_EXE_inferometer")]).arg(unit);
    command.output().expect("Debian's package util-linux")
}

fn exposure(unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command
        .args(["security", "--offline=yes", &format!("--threshold={EXPOSURE_MAX}"), "--no-pager"])
        .arg(unit);
    command.output().expect("Debian's package systemd")
}
