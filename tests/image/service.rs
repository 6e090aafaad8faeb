//! The service unit, as systemd itself judges it without running it.

use super::engine::repository;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
