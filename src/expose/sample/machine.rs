//! The machine: host, containers, GPUs and worker processes, as the collectors have measured them.

use super::{Families, exact, number};
use crate::expose::history::{Group, Subject};
use crate::expose::labels;
use std::collections::{BTreeMap, BTreeSet};

/// The subjects of all collectors' families.
pub(super) fn all(families: &[Families<'_>]) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = families.iter().filter_map(host).collect();
    subjects.extend(cgroups(families));
    subjects.extend(gpus(families));
    subjects.extend(workers(families));
    subjects
}

fn host(families: &Families<'_>) -> Option<Subject> {
    const CPU: &str = "host_cpu_seconds_total";
    let total = families.only("host_memory_total_bytes");
    let mode = |labels: &str| labels::first(labels, &["mode"]).unwrap_or_default();
    let all = families.only(CPU);
    if total.is_nan() && all.is_nan() {
        return None;
    }
    let idle = families.sum(CPU, |labels| matches!(&*mode(labels), "idle" | "iowait"));
    let is_outside = |labels: &str| labels::first(labels, &["device"]).is_none_or(|device| device != "lo");
    let inputs = vec![
        all - idle,
        all,
        1.0 - families.only("host_memory_available_bytes") / total,
        families.only("host_load1"),
        families.only("host_disk_read_bytes_total"),
        families.only("host_disk_written_bytes_total"),
        families.sum("host_network_receive_bytes_total", is_outside),
        families.sum("host_network_transmit_bytes_total", is_outside),
    ];
    let mut subject = families.subject(Group::Host, Vec::new(), inputs);
    let cores: BTreeSet<String> =
        families.series(CPU).iter().filter_map(|series| labels::first(&series.labels, &["cpu"])).collect();
    let facts = [
        ("cpu_cores", exact(cores.len() as u64)),
        ("memory_total_bytes", total),
        ("memory_available_bytes", families.only("host_memory_available_bytes")),
        ("boot_time_seconds", families.only("host_boot_time_seconds")),
    ];
    subject.facts.extend(facts.into_iter().filter(|(_, value)| value.is_finite() && *value > 0.0));
    Some(subject)
}

/// A row per label set, each only the named labels, and in it a number per family: the sum of its series with these
/// labels; not a number without any. The first family says which rows there are.
fn table(
    all: &[Families<'_>],
    names: &[&str],
    columns: &[&str],
) -> BTreeMap<Vec<(String, String)>, Vec<f64>> {
    let mut rows: BTreeMap<Vec<(String, String)>, Vec<f64>> = BTreeMap::new();
    for (column, family) in columns.iter().enumerate() {
        for series in all.iter().flat_map(|families| families.series(family)) {
            let pairs = labels::pairs(&series.labels).filter(|(name, _)| names.contains(name));
            let identity: Vec<(String, String)> =
                pairs.map(|(name, value)| (name.to_owned(), value)).collect();
            if column == 0 && !rows.contains_key(&identity) {
                rows.insert(identity.clone(), vec![f64::NAN; columns.len()]);
            }
            if let Some(cell) = rows.get_mut(&identity).and_then(|row| row.get_mut(column)) {
                *cell = if cell.is_nan() { number(series) } else { *cell + number(series) };
            }
        }
    }
    rows
}

/// The subjects of a table: the first columns are charted, the others are facts with these names.
fn subjects(
    group: Group,
    all: &[Families<'_>],
    names: &[&str],
    columns: &[&str],
    facts: &[&'static str],
) -> Vec<Subject> {
    // All of a group are measured by one collector, whose time counts.
    let first = columns.first().copied().unwrap_or_default();
    let Some(families) = all.iter().find(|families| !families.series(first).is_empty()) else {
        return Vec::new();
    };
    let rows = table(all, names, columns).into_iter().map(|(labels, mut inputs)| {
        let others = inputs.split_off(columns.len().saturating_sub(facts.len()));
        let mut subject = families.subject(group, labels, inputs);
        let others = facts.iter().copied().zip(others).filter(|(_, value)| value.is_finite());
        subject.facts = others.collect();
        subject
    });
    rows.collect()
}

fn cgroups(all: &[Families<'_>]) -> Vec<Subject> {
    const COLUMNS: [&str; 6] = [
        "cgroup_cpu_usage_seconds_total",
        "cgroup_cpu_throttled_seconds_total",
        "cgroup_memory_working_set_bytes",
        "cgroup_cpu_limit_cores",
        "cgroup_memory_limit_bytes",
        "cgroup_oom_events_total",
    ];
    let facts = ["cpu_limit_cores", "memory_limit_bytes", "oom_events"];
    subjects(Group::Cgroups, all, &["of"], &COLUMNS, &facts)
}

fn gpus(all: &[Families<'_>]) -> Vec<Subject> {
    const COLUMNS: [&str; 6] = [
        "gpu_memory_used_bytes",
        "gpu_utilization_ratio",
        "gpu_power_watts",
        "gpu_temperature_celsius",
        "gpu_memory_total_bytes",
        "gpu_power_limit_watts",
    ];
    let mut gpus =
        subjects(Group::Gpus, all, &["uuid"], &COLUMNS, &["memory_total_bytes", "power_limit_watts"]);
    let infos = table(all, &["uuid", "index", "name"], &["gpu_info"]);
    for gpu in &mut gpus {
        let is_its = |info: &&Vec<(String, String)>| gpu.labels.iter().all(|label| info.contains(label));
        if let Some(info) = infos.keys().find(is_its) {
            gpu.labels.clone_from(info);
        }
    }
    gpus
}

fn workers(all: &[Families<'_>]) -> Vec<Subject> {
    const COLUMNS: [&str; 5] = [
        "model_worker_cpu_seconds_total",
        "model_worker_resident_memory_bytes",
        "model_worker_gpu_memory_bytes",
        "model_worker_threads",
        "model_worker_start_time_seconds",
    ];
    let names = ["model_name", "model_version", "worker_name"];
    subjects(Group::Workers, all, &names, &COLUMNS, &["threads", "start_time_seconds"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{FamilyView, Type};
    use std::time::Instant;

    fn family(name: &str, all: &[(&[(&str, &str)], f64)]) -> FamilyView {
        let mut family = FamilyView::new(name, "", Type::Gauge);
        all.iter().for_each(|(labels, value)| family.push(labels, *value));
        family
    }

    #[test]
    fn a_workers_memory_on_all_gpus_is_one_number() {
        let worker: &[(&str, &str)] =
            &[("model_name", "m"), ("model_version", "1"), ("worker_name", "W-9000-m_1")];
        let on = |uuid: &'static str| [&[("uuid", uuid)], worker].concat();
        let (a, b) = (on("a"), on("b"));
        let processes = [
            family("model_worker_cpu_seconds_total", &[(worker, 4.0)]),
            family("model_worker_threads", &[(worker, 3.0)]),
        ];
        let gpus = [family("model_worker_gpu_memory_bytes", &[(&a, 10.0), (&b, 20.0)])];
        let all = [Families::of(&processes, Instant::now()), Families::of(&gpus, Instant::now())];
        let found = workers(&all);
        assert_eq!(1, found.len());
        assert!(matches!(*found[0].moment.inputs, [4.0, memory, 30.0] if memory.is_nan()));
        assert_eq!(vec![("threads", 3.0)], found[0].facts);
    }

    #[test]
    fn the_hosts_idle_time_is_not_busy() {
        let cpu = |mode| [("cpu", "0"), ("mode", mode)];
        let families = [
            family(
                "host_cpu_seconds_total",
                &[(&cpu("user"), 3.0), (&cpu("idle"), 5.0), (&cpu("iowait"), 2.0)],
            ),
            family("host_memory_total_bytes", &[(&[], 100.0)]),
            family("host_memory_available_bytes", &[(&[], 75.0)]),
        ];
        let host = host(&Families::of(&families, Instant::now())).unwrap();
        assert_eq!([3.0, 10.0, 0.25], host.moment.inputs[..3]);
        assert_eq!(Some(&("cpu_cores", 1.0)), host.facts.first());
    }
}
