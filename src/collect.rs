//! What is measured beside the logs: the machine, the container, each model worker, the GPUs.
//!
//! ```text
//!  /proc, /sys, NVML ──▶ Collector::read, thread "collect-NAME" ──▶ put(Reading) ──▶ a scrape clones the Arc
//! ```
//!
//! Each collector has a thread of its own, so one that hangs in a driver or a file system stops nobody else: its
//! reading gets old and is withheld, and the process ends without waiting for it. Nothing here knows a log; the
//! workers' names are given.
//!
//! A new collector is one file with a type that implements [`Collector`], and one line in [`COLLECTORS`].

mod cgroup;
pub mod gpu;
mod host;
mod kernel;
mod pace;
mod reading;
pub mod textfile;
pub mod worker;

pub use pace::Collection;
pub use reading::{Outcome, Post, Reading, Readings};

use crate::metric::FamilyView;
use crate::publish::Cell;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// All collectors, in the order in which their families are shown.
pub const COLLECTORS: &[Entry] = &[
    Entry {
        name: "host",
        summary: "the machine: CPU, memory, disks, file systems, network",
        open: |context| Box::new(host::HostCollector::new(context)),
    },
    Entry {
        name: "cgroup",
        summary: "the container that it runs in, and the model server's",
        open: |context| Box::new(cgroup::CgroupCollector::new(context)),
    },
    Entry {
        name: "worker",
        summary: "the model server's worker processes, by model",
        open: |context| Box::new(worker::WorkerCollector::new(context)),
    },
    Entry {
        name: "gpu",
        summary: "the NVIDIA GPUs",
        open: |context| Box::new(gpu::GpuCollector::new(context)),
    },
];

/// One collector of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in `--collector.NAME`, in the label `collector` and in its thread's name.
    pub name: &'static str,
    /// What it measures, for `--help`.
    pub summary: &'static str,
    /// Makes it; called on its own thread, and again after a panic.
    pub open: fn(&Context) -> Box<dyn Collector>,
}

/// Something that can be measured again and again. It stays on one thread.
pub trait Collector {
    /// Measures once: whole families, each name at most once, a series twice in none. What the system does not
    /// support is absent, never 0 or a sentinel. It may take its time, but holds no lock that others wait for.
    ///
    /// # Errors
    ///
    /// [`Trouble`]: nothing was measured; what was measured before stays in view until it is too old.
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble>;

    /// What people should know about the last measurement, each a whole sentence: why something is not shown, and
    /// what would change that.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Why nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is nothing to measure here, and that is no fault: no driver, no cgroup. Said once; no series tells
    /// of it.
    Absent(String),
    /// It should have worked. Said once per text; `inferometer_collector_success` is 0.
    Failed(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Absent(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

/// Whose names and labels are shown beside our own (`--compat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compat {
    /// node_exporter: `node_cpu_seconds_total` and its kin.
    #[value(name = "node_exporter")]
    NodeExporter,
    /// dcgm-exporter: `DCGM_FI_DEV_GPU_UTIL` and its kin.
    Dcgm,
    /// vLLM of 2023 to 2025: `vllm:gpu_cache_usage_perc` and its kin.
    // Made of log lines, so no collector looks at it. The comments above are the help of `--compat`.
    Vllm,
}

/// What the collectors are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names of the collectors that are on.
    pub enabled: Vec<&'static str>,
    /// Time between two measurements.
    pub interval: Duration,
    /// Other exporters' names that are wanted.
    pub compat: Vec<Compat>,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where sysfs is mounted; the cgroups lie in `fs/cgroup` below it.
    pub sysfs: PathBuf,
}

impl Settings {
    /// Whether the other exporter's names are wanted.
    pub fn has(&self, compat: Compat) -> bool {
        self.compat.contains(&compat)
    }
}

/// What a collector is made of: settings, and what is given or shared.
#[derive(Clone)]
pub struct Context {
    /// What the user wants.
    pub settings: Settings,
    /// Which processes are workers, beside TorchServe's.
    pub rules: Arc<[worker::Rule]>,
    /// The workers that the logs name, asked once per measurement.
    pub names: Arc<dyn Fn() -> Arc<[worker::Named]> + Send + Sync>,
    /// The worker processes that were found last; the worker collector puts, others look up process ids.
    pub workers: Arc<Cell<worker::Workers>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Context {
    /// A context without rules in which `names` tells the workers' names.
    pub fn new(settings: Settings, names: Arc<dyn Fn() -> Arc<[worker::Named]> + Send + Sync>) -> Self {
        Self { settings, rules: Arc::from([]), names, workers: Arc::default() }
    }
}
