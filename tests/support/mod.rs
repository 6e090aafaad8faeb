//! What the integration tests share; none of it calls the library, so that it can contradict it.

pub(crate) mod browser;
pub(crate) mod compare;
pub(crate) mod events;
pub(crate) mod exposition;
pub(crate) mod folders;
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod names;
pub(crate) mod nvml;
pub(crate) mod process;

use std::path::PathBuf;

/// A path below `fixtures/torchserve`.
pub(crate) fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/torchserve").join(path)
}

/// The text of a file below `fixtures/torchserve`.
pub(crate) fn fixture_text(path: &str) -> String {
    let path = fixture(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
