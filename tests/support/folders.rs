//! A folder of logs and a folder for state.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Both in a temporary folder, which goes with it.
pub(crate) struct Folders(TempDir);

impl Folders {
    /// With a folder of logs, empty, and none for state.
    pub(crate) fn new() -> Self {
        let folders = Self(tempfile::tempdir().expect("a temporary folder"));
        std::fs::create_dir(folders.logs()).expect("a folder of logs");
        folders
    }

    /// The folder that holds both.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// The file that is written to.
    pub(crate) fn live(&self) -> PathBuf {
        self.logs().join("ts_metrics.log")
    }

    /// Its folder does not exist either: it is made with it.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("lib/state")
    }

    /// Where a trace of system calls is written to.
    pub(crate) fn trace(&self) -> String {
        self.path().join("strace").to_str().expect("a path in UTF-8").to_owned()
    }
}
