//! The fake NVML in the place of the real one: a folder with `libnvidia-ml.so.1`, for `LD_LIBRARY_PATH`.

use super::lines::append;
use super::process::{Server, eventually, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A library, its scenario and the list of its calls.
pub(crate) struct Nvml(TempDir);

impl Nvml {
    /// With all functions.
    pub(crate) fn new(scenario: &str) -> Self {
        let nvml = Self::with_library(scenario);
        std::os::unix::fs::symlink(library(), nvml.0.path().join("libnvidia-ml.so.1")).expect("a link");
        nvml
    }

    /// Without one of them. A loader finds a function by the text of its name, so a name that is changed in a copy
    /// of the library is not there for it.
    pub(crate) fn without(function: &str, scenario: &str) -> Self {
        let nvml = Self::with_library(scenario);
        let mut bytes = std::fs::read(library()).expect("the library can be read");
        let name = format!("\0{function}\0");
        let places: Vec<usize> = (0..bytes.len() - name.len())
            .filter(|at| bytes[*at] == 0 && bytes[*at..].starts_with(name.as_bytes()))
            .collect();
        assert!(!places.is_empty(), "{function} is no name in the library");
        places.into_iter().for_each(|at| bytes[at + 1] = b'x');
        std::fs::write(nvml.0.path().join("libnvidia-ml.so.1"), bytes).expect("a copy of the library");
        nvml
    }

    /// Files of the library's names that are no library: what a machine without a driver is like, even if this one
    /// has a driver.
    pub(crate) fn absent() -> Self {
        let nvml = Self::with_library("");
        for name in ["libnvidia-ml.so.1", "libnvidia-ml.so"] {
            std::fs::write(nvml.0.path().join(name), "").expect("an empty file");
        }
        nvml
    }

    fn with_library(scenario: &str) -> Self {
        let nvml = Self(tempfile::tempdir().expect("a temporary folder"));
        std::fs::create_dir(nvml.logs()).expect("a folder of logs");
        nvml.set(scenario);
        nvml
    }

    /// Changes the scenario, whole at once.
    pub(crate) fn set(&self, scenario: &str) {
        let new = self.0.path().join("new");
        std::fs::write(&new, scenario).expect("a scenario");
        std::fs::rename(new, self.0.path().join("scenario")).expect("a new scenario");
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The folder that the server follows.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.path().join("logs")
    }

    /// A log in which a worker has loaded its model.
    pub(crate) fn name_worker(&self, name: &str) {
        let line = super::lines::frontend(
            "WorkerLoadTime.Milliseconds:1500.0",
            &format!("WorkerName:{name},Level:Host"),
        );
        append(&self.logs().join("ts_metrics.log"), line);
    }

    /// `inferometer run` with this library.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = run();
        command
            .arg(self.logs())
            .args(["--collector.interval", "100ms"])
            .args(arguments)
            .env("LD_LIBRARY_PATH", self.path())
            .env("FAKE_NVML_STATE", self.path().join("scenario"))
            .env("FAKE_NVML_CALLS", self.path().join("calls"));
        command
    }

    /// The same, running.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        Server::launch(self.command(arguments)).until_ready()
    }

    /// All calls so far: function and device (`-` for the system).
    pub(crate) fn calls(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.path().join("calls")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let pairs = whole.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(function, device)| (function.to_owned(), device.to_owned())).collect()
    }

    /// How often each function was called.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.calls().into_iter().for_each(|(function, _)| *counts.entry(function).or_default() += 1);
        counts
    }

    /// Waits until what the scenario says now has been measured and published: each turn, and each opening, begins
    /// with the number of devices. A turn that sees a change, an opening with its first turn, and one more to know that that is over.
    pub(crate) fn pass(&self) {
        let turns = || self.counts().get("nvmlDeviceGetCount_v2").copied().unwrap_or_default();
        let before = turns();
        eventually("the collector goes on", || (turns() >= before + 4).then_some(()));
    }
}

/// Where cargo leaves the shared library of a dev-dependency: beside the test program.
pub(crate) fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    program.with_file_name("libfake_nvml.so")
}

/// The UUID of device number `index`.
pub(crate) fn uuid(index: usize) -> String {
    format!("GPU-00000000-0000-0000-0000-{index:012}")
}
