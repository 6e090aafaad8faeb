//! A file or folder as it was at one moment, by what the kernel says of it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Differs when a file was written or replaced, or a name in a folder came or went; as finely as the kernel's clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    id: (u64, u64),
    size: u64,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            id: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
