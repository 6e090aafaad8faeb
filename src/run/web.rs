//! The web configuration while the process runs: read again when its files have changed.

use crate::config::web::{self, Seen, WebConfig};
use crate::expose::access::Access;
use crate::instruments::Reload;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The file of `--web.config.file`.
#[derive(Debug)]
pub(super) struct WebFile {
    path: PathBuf,
    seen: Mutex<Seen>,
    instruments: Reload,
}

impl WebFile {
    pub(super) fn new(path: PathBuf, seen: Seen, instruments: Reload) -> Arc<Self> {
        Arc::new(Self { path, seen: Mutex::new(seen), instruments })
    }

    /// What it says now, if that is something else and good. What it must not do unasked is let more people in: a
    /// file that is just being written may be empty for a moment.
    pub(super) fn renew(&self, current: &Access) -> Option<Access> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.has_changed() {
            return None;
        }
        let (now_seen, config) = web::read(&self.path);
        *seen = now_seen;
        let file = self.path.display();
        let access = match config {
            Ok(config) if config.access.is_weaker_than(current) => {
                tracing::error!(%file, "it would ask for less than before; SIGHUP puts it in force");
                None
            }
            Ok(config) => {
                tracing::info!(%file, "web configuration read again");
                Some(accepted(config))
            }
            Err(reason) => {
                tracing::error!(reason, "web configuration not read again; the one before stays in force");
                None
            }
        };
        self.instruments.ended(access.is_some());
        access
    }

    /// Notes the files of a configuration that was put in force otherwise.
    pub(super) fn note(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// What a good configuration grants; what it asks for in vain is said.
pub(super) fn accepted(config: WebConfig) -> Access {
    for remark in config.remarks {
        tracing::warn!("{remark}");
    }
    config.access
}
