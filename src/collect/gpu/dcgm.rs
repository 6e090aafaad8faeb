//! dcgm-exporter's names, labels and units for what we measure, so that its public dashboard works unchanged.
//!
//! Names and HELP follow the metrics that dcgm-exporter exposes by default. Not here is what takes profiling
//! (`DCGM_FI_PROF_*`), NVLink traffic and the vGPU licence. One profiling metric is: the dashboard's panel of the
//! utilisation asks for it, and NVML's own utilisation is the nearest that is measured without profiling.

use super::Memory;
use super::session::Turn;
use super::table::rows;
use crate::metric::{FamilyView, Type, push_label};

/// One of dcgm-exporter's metrics.
struct Other {
    name: &'static str,
    help: &'static str,
    kind: Type,
    /// Our family, and the value of its label.
    ours: (&'static str, &'static str),
    /// Their unit in ours. They round down.
    factor: f64,
}

const fn gauge(name: &'static str, help: &'static str, ours: &'static str, factor: f64) -> Other {
    Other { name, help, kind: Type::Gauge, ours: (ours, ""), factor }
}

const fn counter(name: &'static str, help: &'static str, ours: &'static str, factor: f64) -> Other {
    Other { name, help, kind: Type::Counter, ours: (ours, ""), factor }
}

const fn of(value: &'static str, other: Other) -> Other {
    Other { ours: (other.ours.0, value), ..other }
}

const MIB: f64 = 1.0 / 1_048_576.0;

const OTHERS: &[Other] = &[
    of("sm", gauge("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", "gpu_clock_hertz", 1e-6)),
    of("memory", gauge("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", "gpu_clock_hertz", 1e-6)),
    gauge("DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C).", "gpu_memory_temperature_celsius", 1.0),
    gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", "gpu_temperature_celsius", 1.0),
    gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", "gpu_power_watts", 1.0),
    counter(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "Total energy consumption since boot (in mJ).",
        "gpu_energy_joules_total",
        1e3,
    ),
    counter(
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
        "Total number of PCIe retries.",
        "gpu_pcie_replays_total",
        1.0,
    ),
    gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", "gpu_utilization_ratio", 1e2),
    gauge("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", "gpu_memory_utilization_ratio", 1e2),
    gauge("DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %).", "gpu_encoder_utilization_ratio", 1e2),
    gauge("DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %).", "gpu_decoder_utilization_ratio", 1e2),
    gauge("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", "gpu_memory_free_bytes", MIB),
    gauge("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", "gpu_memory_used_bytes", MIB),
    gauge(
        "DCGM_FI_DEV_FB_RESERVED",
        "Framebuffer memory reserved (in MiB).",
        "gpu_memory_reserved_bytes",
        MIB,
    ),
    gauge(
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "Ratio of time the graphics engine is active; here NVML's GPU utilization, without profiling.",
        "gpu_utilization_ratio",
        1.0,
    ),
    of(
        "uncorrectable",
        counter(
            "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
            "Number of remapped rows for uncorrectable errors",
            "gpu_remapped_rows",
            1.0,
        ),
    ),
    of(
        "correctable",
        counter(
            "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
            "Number of remapped rows for correctable errors",
            "gpu_remapped_rows",
            1.0,
        ),
    ),
    gauge(
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        "Whether remapping of rows has failed",
        "gpu_row_remap_failure",
        1.0,
    ),
];

/// Their families, with `hostname` in their label of that name.
pub(super) fn families(turn: &Turn, memory: &Memory, hostname: &str) -> Vec<FamilyView> {
    let labels: Vec<Vec<(&str, String)>> = turn
        .gpus
        .iter()
        .map(|gpu| {
            let it = &gpu.identity;
            vec![
                ("gpu", it.index.to_string()),
                ("UUID", it.uuid.clone()),
                ("pci_bus_id", it.pci_bus_id.clone()),
                ("device", it.minor.map(|minor| format!("nvidia{minor}")).unwrap_or_default()),
                ("modelName", it.name.clone()),
                ("Hostname", hostname.to_owned()),
                ("DCGM_FI_DRIVER_VERSION", turn.driver_version.clone()),
            ]
        })
        .map(|pairs: Vec<(&'static str, String)>| pairs)
        .collect();
    let mut families = Vec::new();
    for other in OTHERS {
        let mut family = FamilyView::new(other.name, other.help, other.kind);
        let at = rows().position(|(family, row)| (family.name, row.value) == other.ours);
        for (gpu, labels) in turn.gpus.iter().zip(&labels) {
            let Some(value) = at.and_then(|at| gpu.values.get(at).copied().flatten()) else { continue };
            push(&mut family, labels, theirs(value, other.factor));
        }
        families.push(family);
    }
    let mut xid =
        FamilyView::new("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", Type::Gauge);
    for (gpu, labels) in turn.gpus.iter().zip(&labels) {
        push(&mut xid, labels, memory.last_xid.get(gpu.identity.uuid.as_str()).copied().unwrap_or(0.0));
    }
    families.push(xid);
    families
}

/// Watts stay as exact as NVML tells them; all their other values are whole.
fn theirs(value: f64, factor: f64) -> f64 {
    if factor.to_bits() == 1.0_f64.to_bits() {
        return value;
    }
    let scaled = value * factor;
    // 0.29 * 100 is a little less than 29.
    let whole = scaled.round();
    if (scaled - whole).abs() < 1e-12 * whole.abs() { whole } else { scaled.floor() }
}

fn push(family: &mut FamilyView, labels: &[(&str, String)], value: f64) {
    let mut text = String::new();
    labels.iter().for_each(|(name, value)| push_label(&mut text, name, value));
    let value = crate::metric::Shown::Number(value);
    family.series.push(crate::metric::SeriesView { labels: text.into(), value });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_of_them_is_something_that_we_measure() {
        for other in OTHERS {
            assert!(rows().any(|(family, row)| (family.name, row.value) == other.ours), "{}", other.name);
        }
    }

    #[test]
    fn values_are_whole_as_theirs_are() {
        for percent in 0..=100_u32 {
            let ratio = f64::from(percent) / 100.0;
            assert_eq!(f64::from(percent).to_bits(), theirs(ratio, 1e2).to_bits());
        }
        assert_eq!(1_023.0_f64.to_bits(), theirs(1_073_741_823.0, MIB).to_bits());
        assert_eq!(123_456_789.0_f64.to_bits(), theirs(123_456.789, 1e3).to_bits());
        assert_eq!(97.5_f64.to_bits(), theirs(97.5, 1.0).to_bits());
    }
}
