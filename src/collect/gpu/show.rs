//! A turn as families.

use super::Memory;
use super::session::Turn;
use super::table::FAMILIES;
use crate::collect::worker::Workers;
use crate::metric::{FamilyView, SeriesView, Shown, Type};
use std::collections::BTreeMap;

/// Families that are not answers to one question: name, HELP, type.
pub const OTHERS: &[(&str, &str, Type)] = &[
    (
        "gpu_info",
        "Who a GPU is: its number now, product, PCI bus, serial number, VBIOS, and the versions of the driver and of CUDA; 1.",
        Type::Gauge,
    ),
    (
        "gpu_xid_errors_total",
        "XID errors of the GPU since our start, by code; NVIDIA's XID catalogue says what each one means.",
        Type::Counter,
    ),
    (
        "gpu_xid_last_timestamp_seconds",
        "When the last XID error with this code was seen, in seconds since 1970.",
        Type::Gauge,
    ),
    ("gpu_mig_info", "A MIG instance, the GPU that it is a part of, and its profile; 1.", Type::Gauge),
    ("gpu_mig_memory_total_bytes", "Memory of a MIG instance.", Type::Gauge),
    ("gpu_mig_memory_used_bytes", "Memory of a MIG instance that is allocated.", Type::Gauge),
    ("gpu_mig_memory_free_bytes", "Memory of a MIG instance that is free.", Type::Gauge),
    (
        "model_worker_gpu_memory_bytes",
        "GPU memory that a model worker's process holds, on a GPU or a MIG instance.",
        Type::Gauge,
    ),
    (
        "inferometer_gpu_errors_total",
        "Calls of NVML that failed, by its error; what a device does not support is no error.",
        Type::Counter,
    ),
];

/// An empty family of [`OTHERS`].
fn empty(name: &str) -> FamilyView {
    let found = OTHERS.iter().find(|(other, ..)| *other == name);
    let (help, kind) = found.map_or(("", Type::Untyped), |(_, help, kind)| (*help, *kind));
    FamilyView::new(name, help, kind)
}

/// All families about GPUs.
pub(super) fn families(turn: &Turn, memory: &Memory) -> Vec<FamilyView> {
    let mut families = vec![info(turn)];
    families.extend(of_the_table(turn));
    families.extend(xids(memory));
    families.extend(instances(turn));
    let mut errors = empty("inferometer_gpu_errors_total");
    for (name, count) in &memory.errors {
        errors.push(&[("error", name)], exact(*count));
    }
    families.push(errors);
    families
}

fn info(turn: &Turn) -> FamilyView {
    let mut info = empty("gpu_info");
    for gpu in &turn.gpus {
        let it = &gpu.identity;
        let labels = [
            ("uuid", it.uuid.as_str()),
            ("index", &it.index.to_string()),
            ("name", &it.name),
            ("pci_bus_id", &it.pci_bus_id),
            ("serial", &it.serial),
            ("vbios_version", &it.vbios_version),
            ("driver_version", &turn.driver_version),
            ("cuda_version", &turn.cuda_version),
        ];
        info.push(&labels, 1.0);
    }
    info
}

fn of_the_table(turn: &Turn) -> impl Iterator<Item = FamilyView> {
    let mut first = 0;
    FAMILIES.iter().map(move |family| {
        let mut view = FamilyView::new(family.name, family.help, family.kind);
        for gpu in &turn.gpus {
            let rows = first..first + family.rows.len();
            let values = gpu.values.get(rows.clone()).unwrap_or_default();
            let labels = gpu.identity.labels.get(rows).unwrap_or_default();
            for (value, labels) in values.iter().zip(labels) {
                let Some(value) = value else { continue };
                view.series.push(SeriesView { labels: labels.clone(), value: Shown::Number(*value) });
            }
        }
        first += family.rows.len();
        view
    })
}

fn xids(memory: &Memory) -> [FamilyView; 2] {
    let (mut count, mut last) = (empty("gpu_xid_errors_total"), empty("gpu_xid_last_timestamp_seconds"));
    for ((uuid, xid), seen) in &memory.xids {
        let labels = [("uuid", &**uuid), ("xid", xid.as_str())];
        count.push(&labels, seen.count);
        last.push(&labels, seen.last);
    }
    [count, last]
}

fn instances(turn: &Turn) -> impl Iterator<Item = FamilyView> {
    let mut info = empty("gpu_mig_info");
    let mut memory =
        ["gpu_mig_memory_total_bytes", "gpu_mig_memory_used_bytes", "gpu_mig_memory_free_bytes"].map(empty);
    for gpu in &turn.gpus {
        for instance in &gpu.instances {
            let it = [("uuid", instance.uuid.as_str()), ("gpu_uuid", gpu.identity.uuid.as_str())];
            let [uuid, gpu_uuid] = it;
            info.push(&[uuid, gpu_uuid, ("name", &instance.name), ("profile", instance.profile())], 1.0);
            for (family, value) in memory.iter_mut().zip(instance.memory) {
                if let Some(value) = value {
                    family.push(&it, value);
                }
            }
        }
    }
    std::iter::once(info).chain(memory)
}

/// GPU memory of the worker processes among those that hold some. A worker may have several processes.
pub(super) fn workers(turn: &Turn, workers: &Workers) -> FamilyView {
    let mut sums = BTreeMap::new();
    for (uuid, process) in turn.gpus.iter().flat_map(|gpu| &gpu.processes) {
        let Some(identity) = workers.by_pid.get(&process.pid) else { continue };
        let sum: &mut u64 = sums.entry((uuid, identity.labels())).or_default();
        *sum = sum.saturating_add(process.bytes);
    }
    let mut family = empty("model_worker_gpu_memory_bytes");
    for ((uuid, [name, version, worker]), bytes) in sums {
        family.push(&[("uuid", uuid), name, version, worker], exact(bytes));
    }
    family
}

#[expect(clippy::cast_precision_loss, reason = "every value of Prometheus is a double")]
fn exact(count: u64) -> f64 {
    count as f64
}
