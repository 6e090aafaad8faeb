//! What is asked of each GPU: a row per series. Code, README and tests go through this table, so a metric more is a
//! row more.

use super::fault::Fault;
use super::look::{Look, bytes, percent};
use crate::metric::Type;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureThreshold};
use nvml_wrapper::sys_exports::field_id as field;

/// A family whose series are one or several per GPU.
#[derive(Debug)]
pub struct Family {
    /// Name.
    pub name: &'static str,
    /// Text after `# HELP`, with the unit and where it comes from.
    pub help: &'static str,
    /// Type.
    pub kind: Type,
    /// The label beside `uuid`; empty if there is none.
    pub label: &'static str,
    /// Its series of one GPU.
    pub rows: &'static [Row],
}

/// One series of one GPU.
#[derive(Debug)]
pub struct Row {
    /// Value of the family's label; empty if it has none.
    pub value: &'static str,
    pub(super) read: Read,
}

/// How a value is found, in the family's unit.
#[derive(Debug)]
pub(super) enum Read {
    /// A call at each turn.
    Call(fn(&Look<'_>) -> Result<f64, Fault>),
    /// A call when the device is opened: it does not change.
    Once(fn(&Look<'_>) -> Result<f64, Fault>),
    /// A field value by its number, divided by that. All fields of a device are one call.
    Field(u32, f64),
    /// A field that counts bytes. One of 32 bits would wrap several times between two scrapes and say nothing.
    Wide(u32),
}

const fn one(read: Read) -> Row {
    Row { value: "", read }
}

const fn row(value: &'static str, read: Read) -> Row {
    Row { value, read }
}

const fn gauge(name: &'static str, help: &'static str, rows: &'static [Row]) -> Family {
    Family { name, help, kind: Type::Gauge, label: "", rows }
}

const fn counter(name: &'static str, help: &'static str, rows: &'static [Row]) -> Family {
    Family { name, help, kind: Type::Counter, label: "", rows }
}

const fn by(label: &'static str, family: Family) -> Family {
    Family { label, ..family }
}

use Read::{Call, Field, Once, Wide};

/// All families with the label `uuid` that NVML answers directly.
pub const FAMILIES: &[Family] = &[
    gauge(
        "gpu_utilization_ratio",
        "Share of the last sample period (1/6 s to 1 s) in which a kernel ran on the GPU, 0 to 1 (nvmlDeviceGetUtilizationRates).",
        &[one(Call(|look| percent(look.utilization()?.gpu)))],
    ),
    gauge(
        "gpu_memory_utilization_ratio",
        "Share of the last sample period in which GPU memory was read or written, 0 to 1 (nvmlDeviceGetUtilizationRates).",
        &[one(Call(|look| percent(look.utilization()?.memory)))],
    ),
    gauge(
        "gpu_encoder_utilization_ratio",
        "Share of its sample period in which the video encoder was busy, 0 to 1 (nvmlDeviceGetEncoderUtilization).",
        &[one(Call(|look| percent(look.encoder()?)))],
    ),
    gauge(
        "gpu_decoder_utilization_ratio",
        "Share of its sample period in which the video decoder was busy, 0 to 1 (nvmlDeviceGetDecoderUtilization).",
        &[one(Call(|look| percent(look.decoder()?)))],
    ),
    gauge(
        "gpu_memory_total_bytes",
        "GPU memory (nvmlDeviceGetMemoryInfo_v2).",
        &[one(Call(|look| bytes(look.memory()?.total)))],
    ),
    gauge(
        "gpu_memory_used_bytes",
        "GPU memory that is allocated, without what is reserved (nvmlDeviceGetMemoryInfo_v2).",
        &[one(Call(|look| bytes(look.memory()?.used)))],
    ),
    gauge(
        "gpu_memory_free_bytes",
        "GPU memory that is free (nvmlDeviceGetMemoryInfo_v2).",
        &[one(Call(|look| bytes(look.memory()?.free)))],
    ),
    gauge(
        "gpu_memory_reserved_bytes",
        "GPU memory that the driver and the firmware keep (nvmlDeviceGetMemoryInfo_v2).",
        &[one(Call(|look| bytes(look.memory()?.reserved)))],
    ),
    gauge(
        "gpu_bar1_memory_total_bytes",
        "Window through which the host reaches GPU memory (nvmlDeviceGetBAR1MemoryInfo).",
        &[one(Call(|look| bytes(look.bar1()?.total)))],
    ),
    gauge(
        "gpu_bar1_memory_used_bytes",
        "Part of that window that is in use (nvmlDeviceGetBAR1MemoryInfo).",
        &[one(Call(|look| bytes(look.bar1()?.used)))],
    ),
    gauge(
        "gpu_temperature_celsius",
        "Temperature of the chip (nvmlDeviceGetTemperature).",
        &[one(Call(|look| look.temperature()))],
    ),
    gauge(
        "gpu_memory_temperature_celsius",
        "Temperature of the memory (field 82).",
        &[one(Field(field::NVML_FI_DEV_MEMORY_TEMP, 1.0))],
    ),
    by(
        "threshold",
        gauge(
            "gpu_temperature_threshold_celsius",
            "Temperature of the chip at which it slows down, or shuts down (nvmlDeviceGetTemperatureThreshold).",
            &[
                row("slowdown", Once(|look| look.threshold(TemperatureThreshold::Slowdown))),
                row("shutdown", Once(|look| look.threshold(TemperatureThreshold::Shutdown))),
            ],
        ),
    ),
    gauge(
        "gpu_power_watts",
        "Power drawn by the board; since Ampere the mean of the last second (nvmlDeviceGetPowerUsage).",
        &[one(Call(|look| look.power()))],
    ),
    gauge(
        "gpu_power_limit_watts",
        "Power limit that is enforced, the lowest of all that were set (nvmlDeviceGetEnforcedPowerLimit).",
        &[one(Call(|look| look.power_limit()))],
    ),
    counter(
        "gpu_energy_joules_total",
        "Energy used since the driver was loaded; Volta and newer (field 83).",
        &[one(Field(field::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, 1e3))],
    ),
    by(
        "clock",
        gauge(
            "gpu_clock_hertz",
            "Clock as it is now (nvmlDeviceGetClockInfo).",
            &[
                row("graphics", Call(|look| look.clock(Clock::Graphics))),
                row("sm", Call(|look| look.clock(Clock::SM))),
                row("memory", Call(|look| look.clock(Clock::Memory))),
                row("video", Call(|look| look.clock(Clock::Video))),
            ],
        ),
    ),
    by(
        "clock",
        gauge(
            "gpu_clock_max_hertz",
            "Highest clock of the GPU (nvmlDeviceGetMaxClockInfo).",
            &[
                row("graphics", Once(|look| look.max_clock(Clock::Graphics))),
                row("sm", Once(|look| look.max_clock(Clock::SM))),
                row("memory", Once(|look| look.max_clock(Clock::Memory))),
                row("video", Once(|look| look.max_clock(Clock::Video))),
            ],
        ),
    ),
    by(
        "fan",
        gauge(
            "gpu_fan_speed_ratio",
            "Share of its full speed that a fan is told to run at; 1 can be exceeded (nvmlDeviceGetFanSpeed_v2).",
            &[
                row("0", Call(|look| look.fan(0))),
                row("1", Call(|look| look.fan(1))),
                row("2", Call(|look| look.fan(2))),
                row("3", Call(|look| look.fan(3))),
            ],
        ),
    ),
    gauge(
        "gpu_performance_state",
        "Performance state, from 0 (fastest) to 15 (nvmlDeviceGetPerformanceState).",
        &[one(Call(|look| look.performance_state()))],
    ),
    by(
        "reason",
        gauge(
            "gpu_throttle_reason_active",
            "Whether the clocks are held down for a reason right now (nvmlDeviceGetCurrentClocksThrottleReasons).",
            &[
                row("gpu_idle", Call(|look| look.throttles(ThrottleReasons::GPU_IDLE))),
                row(
                    "applications_clocks_setting",
                    Call(|look| look.throttles(ThrottleReasons::APPLICATIONS_CLOCKS_SETTING)),
                ),
                row("sw_power_cap", Call(|look| look.throttles(ThrottleReasons::SW_POWER_CAP))),
                row("hw_slowdown", Call(|look| look.throttles(ThrottleReasons::HW_SLOWDOWN))),
                row("sync_boost", Call(|look| look.throttles(ThrottleReasons::SYNC_BOOST))),
                row("sw_thermal_slowdown", Call(|look| look.throttles(ThrottleReasons::SW_THERMAL_SLOWDOWN))),
                row("hw_thermal_slowdown", Call(|look| look.throttles(ThrottleReasons::HW_THERMAL_SLOWDOWN))),
                row(
                    "hw_power_brake_slowdown",
                    Call(|look| look.throttles(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN)),
                ),
                row(
                    "display_clock_setting",
                    Call(|look| look.throttles(ThrottleReasons::DISPLAY_CLOCK_SETTING)),
                ),
            ],
        ),
    ),
    by(
        "reason",
        counter(
            "gpu_throttled_seconds_total",
            "Time for which the clocks were held down for a reason since the driver was loaded (fields 74 to 79).",
            &[
                row("power", Field(field::NVML_FI_DEV_PERF_POLICY_POWER, 1e9)),
                row("thermal", Field(field::NVML_FI_DEV_PERF_POLICY_THERMAL, 1e9)),
                row("sync_boost", Field(field::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST, 1e9)),
                row("board_limit", Field(field::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT, 1e9)),
                row("low_utilization", Field(field::NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION, 1e9)),
                row("reliability", Field(field::NVML_FI_DEV_PERF_POLICY_RELIABILITY, 1e9)),
            ],
        ),
    ),
    counter(
        "gpu_pcie_transmit_bytes_total",
        "Bytes that the GPU sent over PCIe, where the driver counts them in 64 bits (field 197).",
        &[one(Wide(field::NVML_FI_DEV_PCIE_COUNT_TX_BYTES))],
    ),
    counter(
        "gpu_pcie_receive_bytes_total",
        "Bytes that the GPU received over PCIe, where the driver counts them in 64 bits (field 198).",
        &[one(Wide(field::NVML_FI_DEV_PCIE_COUNT_RX_BYTES))],
    ),
    counter(
        "gpu_pcie_replays_total",
        "Packets that had to be sent over PCIe again (field 94).",
        &[one(Field(field::NVML_FI_DEV_PCIE_REPLAY_COUNTER, 1.0))],
    ),
    gauge(
        "gpu_pcie_link_generation",
        "Generation of the PCIe link as it is now; it may go down while the GPU is idle (nvmlDeviceGetCurrPcieLinkGeneration).",
        &[one(Call(|look| look.link_generation()))],
    ),
    gauge(
        "gpu_pcie_link_width",
        "Lanes of the PCIe link as it is now (nvmlDeviceGetCurrPcieLinkWidth).",
        &[one(Call(|look| look.link_width()))],
    ),
    by(
        "error",
        counter(
            "gpu_ecc_errors_total",
            "Memory errors that ECC found since the driver was loaded (fields 3 and 4).",
            &[
                row("corrected", Field(field::NVML_FI_DEV_ECC_SBE_VOL_TOTAL, 1.0)),
                row("uncorrected", Field(field::NVML_FI_DEV_ECC_DBE_VOL_TOTAL, 1.0)),
            ],
        ),
    ),
    by(
        "error",
        counter(
            "gpu_ecc_lifetime_errors_total",
            "Memory errors that ECC found in the life of the GPU (fields 5 and 6).",
            &[
                row("corrected", Field(field::NVML_FI_DEV_ECC_SBE_AGG_TOTAL, 1.0)),
                row("uncorrected", Field(field::NVML_FI_DEV_ECC_DBE_AGG_TOTAL, 1.0)),
            ],
        ),
    ),
    by(
        "cause",
        gauge(
            "gpu_retired_pages",
            "Pages of memory that are no longer used; before Ampere (fields 29 and 30).",
            &[
                row("single_bit", Field(field::NVML_FI_DEV_RETIRED_SBE, 1.0)),
                row("double_bit", Field(field::NVML_FI_DEV_RETIRED_DBE, 1.0)),
            ],
        ),
    ),
    gauge(
        "gpu_retired_pages_pending",
        "Whether pages will be retired at the next restart of the GPU (field 31).",
        &[one(Field(field::NVML_FI_DEV_RETIRED_PENDING, 1.0))],
    ),
    by(
        "cause",
        gauge(
            "gpu_remapped_rows",
            "Rows of memory that were replaced; Ampere and newer (fields 142 and 143).",
            &[
                row("correctable", Field(field::NVML_FI_DEV_REMAPPED_COR, 1.0)),
                row("uncorrectable", Field(field::NVML_FI_DEV_REMAPPED_UNC, 1.0)),
            ],
        ),
    ),
    gauge(
        "gpu_row_remap_pending",
        "Whether rows will be replaced at the next restart of the GPU (field 144).",
        &[one(Field(field::NVML_FI_DEV_REMAPPED_PENDING, 1.0))],
    ),
    gauge(
        "gpu_row_remap_failure",
        "Whether replacing a row has failed: the GPU should be changed (field 145).",
        &[one(Field(field::NVML_FI_DEV_REMAPPED_FAILURE, 1.0))],
    ),
    gauge(
        "gpu_recovery_action",
        "What the driver asks for: 0 nothing, 1 reset the GPU, 2 restart the machine, 3 drain peers, 4 drain and reset (field 230).",
        &[one(Field(field::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, 1.0))],
    ),
];

/// Number of rows of the whole table.
pub(super) fn row_count() -> usize {
    FAMILIES.iter().map(|family| family.rows.len()).sum()
}

/// The families and rows in one line, each row with the family that it belongs to.
pub(super) fn rows() -> impl Iterator<Item = (&'static Family, &'static Row)> {
    FAMILIES.iter().flat_map(|family| family.rows.iter().map(move |row| (family, row)))
}
