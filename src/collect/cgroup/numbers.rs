//! What a cgroup tells, whichever version, and the families that it becomes.

use crate::collect::kernel::number;
use crate::metric::{FamilyView, Type};
use std::collections::HashMap;

/// One cgroup's numbers in base units. None: not supported, not enabled, or no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Numbers {
    pub(super) version: &'static str,
    pub(super) cpu_usage: Option<f64>,
    pub(super) cpu_user: Option<f64>,
    pub(super) cpu_system: Option<f64>,
    pub(super) periods: Option<u64>,
    pub(super) throttled_periods: Option<u64>,
    pub(super) throttled: Option<f64>,
    pub(super) cpu_limit: Option<f64>,
    pub(super) memory: Option<u64>,
    pub(super) inactive_file: Option<u64>,
    pub(super) rss: Option<u64>,
    pub(super) cache: Option<u64>,
    pub(super) mapped_file: Option<u64>,
    pub(super) swap: Option<u64>,
    pub(super) peak: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) swap_limit: Option<u64>,
    pub(super) failcnt: Option<u64>,
    pub(super) oom_kills: Option<u64>,
    pub(super) page_faults: Option<u64>,
    pub(super) major_page_faults: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) threads_max: Option<u64>,
    /// By device number, `254:0`.
    pub(super) io: Vec<(String, Io)>,
    /// Some and all tasks waiting, for CPU, memory and I/O, in seconds.
    pub(super) pressure: [(Option<f64>, Option<f64>); 3],
}

/// Reads and writes of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Io {
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

impl Numbers {
    /// Whether there is anything to show.
    pub(super) fn has_any(&self) -> bool {
        MEASURES.iter().any(|measure| (measure.value)(self).is_some())
    }

    /// What the kernel could not give back at once: the number that the OOM killer goes by, nearly.
    fn working_set(&self) -> Option<u64> {
        Some(self.memory?.saturating_sub(self.inactive_file?))
    }
}

struct Measure {
    name: &'static str,
    kind: Type,
    value: fn(&Numbers) -> Option<f64>,
    help: &'static str,
}

const fn counter(name: &'static str, value: fn(&Numbers) -> Option<f64>, help: &'static str) -> Measure {
    Measure { name, kind: Type::Counter, value, help }
}

const fn gauge(name: &'static str, value: fn(&Numbers) -> Option<f64>, help: &'static str) -> Measure {
    Measure { name, kind: Type::Gauge, value, help }
}

const MEASURES: &[Measure] = &[
    counter("cgroup_cpu_usage_seconds_total", |n| n.cpu_usage, "CPU time used by a cgroup."),
    counter("cgroup_cpu_user_seconds_total", |n| n.cpu_user, "CPU time used by a cgroup outside the kernel."),
    counter("cgroup_cpu_system_seconds_total", |n| n.cpu_system, "CPU time used by a cgroup in the kernel."),
    counter(
        "cgroup_cpu_periods_total",
        |n| n.periods.map(number),
        "Periods in which a cgroup ran under a CPU quota.",
    ),
    counter(
        "cgroup_cpu_throttled_periods_total",
        |n| n.throttled_periods.map(number),
        "Periods in which a cgroup used up its CPU quota and had to wait.",
    ),
    counter(
        "cgroup_cpu_throttled_seconds_total",
        |n| n.throttled,
        "Time for which a cgroup had to wait because its CPU quota was used up, added up over CPUs.",
    ),
    gauge(
        "cgroup_cpu_limit_cores",
        |n| n.cpu_limit,
        "CPU quota of a cgroup, in CPUs; absent without a quota.",
    ),
    gauge(
        "cgroup_memory_usage_bytes",
        |n| n.memory.map(number),
        "Memory of a cgroup, its page cache included.",
    ),
    gauge(
        "cgroup_memory_working_set_bytes",
        |n| n.working_set().map(number),
        "Memory of a cgroup less inactive pages of files: what counts when it nears its limit.",
    ),
    gauge("cgroup_memory_rss_bytes", |n| n.rss.map(number), "Memory of a cgroup that belongs to no file."),
    gauge(
        "cgroup_memory_cache_bytes",
        |n| n.cache.map(number),
        "Memory of a cgroup that holds pages of files.",
    ),
    gauge(
        "cgroup_memory_mapped_file_bytes",
        |n| n.mapped_file.map(number),
        "Mapped pages of files of a cgroup.",
    ),
    gauge("cgroup_memory_swap_bytes", |n| n.swap.map(number), "Swap space used by a cgroup."),
    gauge("cgroup_memory_peak_bytes", |n| n.peak.map(number), "Most memory that a cgroup has ever used."),
    gauge(
        "cgroup_memory_limit_bytes",
        |n| n.memory_limit.map(number),
        "Memory limit of a cgroup; absent without a limit.",
    ),
    gauge(
        "cgroup_memory_swap_limit_bytes",
        |n| n.swap_limit.map(number),
        "Swap space that a cgroup may use; absent without a limit.",
    ),
    counter(
        "cgroup_memory_failcnt_total",
        |n| n.failcnt.map(number),
        "Times that a cgroup ran into its memory limit and pages had to be given up.",
    ),
    counter(
        "cgroup_oom_events_total",
        |n| n.oom_kills.map(number),
        "Processes of a cgroup that the kernel has killed for lack of memory.",
    ),
    counter("cgroup_memory_page_faults_total", |n| n.page_faults.map(number), "Page faults of a cgroup."),
    counter(
        "cgroup_memory_major_page_faults_total",
        |n| n.major_page_faults.map(number),
        "Page faults of a cgroup that had to read from a disk.",
    ),
    gauge("cgroup_threads", |n| n.threads.map(number), "Threads of a cgroup; pids.current counts them."),
    gauge(
        "cgroup_threads_max",
        |n| n.threads_max.map(number),
        "Most threads that a cgroup may have; absent without a limit.",
    ),
    counter(
        "cgroup_pressure_cpu_waiting_seconds_total",
        |n| n.pressure[0].0,
        "Time in which some task of a cgroup was ready and had no CPU.",
    ),
    counter(
        "cgroup_pressure_cpu_stalled_seconds_total",
        |n| n.pressure[0].1,
        "Time in which all ready tasks of a cgroup had no CPU, by its quota for example.",
    ),
    counter(
        "cgroup_pressure_memory_waiting_seconds_total",
        |n| n.pressure[1].0,
        "Time in which some task of a cgroup waited for memory.",
    ),
    counter(
        "cgroup_pressure_memory_stalled_seconds_total",
        |n| n.pressure[1].1,
        "Time in which all tasks of a cgroup waited for memory.",
    ),
    counter(
        "cgroup_pressure_io_waiting_seconds_total",
        |n| n.pressure[2].0,
        "Time in which some task of a cgroup waited for I/O.",
    ),
    counter(
        "cgroup_pressure_io_stalled_seconds_total",
        |n| n.pressure[2].1,
        "Time in which all tasks of a cgroup waited for I/O.",
    ),
];

type OfIo = fn(&Io) -> u64;

const IO: &[(&str, OfIo, &str)] = &[
    ("cgroup_fs_reads_bytes_total", |io| io.read_bytes, "Bytes that a cgroup has read from a disk."),
    ("cgroup_fs_writes_bytes_total", |io| io.written_bytes, "Bytes that a cgroup has written to a disk."),
    ("cgroup_fs_reads_total", |io| io.reads, "Reads of a cgroup from a disk."),
    ("cgroup_fs_writes_total", |io| io.writes, "Writes of a cgroup to a disk."),
];

/// The families of several cgroups, each with what the label `of` says.
pub(super) fn families(cgroups: &[(&str, Numbers)], devices: &HashMap<String, String>) -> Vec<FamilyView> {
    let mut info = FamilyView::new(
        "cgroup_info",
        "The cgroups that are shown: of=\"self\" is that of inferometer, of=\"server\" that of the model server's \
        workers where they are visible; they may be the same. version is that of the interface; 1.",
        Type::Gauge,
    );
    for (of, numbers) in cgroups.iter().filter(|(_, numbers)| numbers.has_any()) {
        info.push(&[("of", of), ("version", numbers.version)], 1.0);
    }
    let mut families = vec![info];
    families.extend(MEASURES.iter().map(|measure| {
        let mut family = FamilyView::new(measure.name, measure.help, measure.kind);
        for (of, numbers) in cgroups {
            (measure.value)(numbers).into_iter().for_each(|value| family.push(&[("of", of)], value));
        }
        family
    }));
    families.extend(IO.iter().map(|(name, value, help)| {
        let mut family = FamilyView::new(name, help, Type::Counter);
        for (of, numbers) in cgroups {
            for (device, io) in &numbers.io {
                let device = devices.get(device).unwrap_or(device);
                family.push(&[("of", of), ("device", device)], number(value(io)));
            }
        }
        family
    }));
    families
}
