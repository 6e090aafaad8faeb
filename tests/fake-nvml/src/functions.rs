//! The functions of NVML that the product calls, with NVML's names and signatures.
//!
//! Defaults are those of a busy data-centre card, a little different for each device, so that a mixed-up device
//! shows.

#![expect(non_snake_case, reason = "these are NVML's own names")]
#![expect(
    clippy::missing_safety_doc,
    reason = "called by a dynamic loader only, with the pointers that NVML asks for"
)]

use crate::scenario::{Code, Given, Scenario, Unit, device, memory, outcome, system};
use nvml::{nvmlDevice_t, nvmlEventSet_t, nvmlReturn_t};
use nvml_wrapper_sys::bindings as nvml;
use std::ffi::{c_char, c_int, c_uint, c_ulonglong};

const SUCCESS: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_SUCCESS;
const INVALID_ARGUMENT: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const NOT_SUPPORTED: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
const NOT_FOUND: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
const INSUFFICIENT_SIZE: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
const TIMEOUT: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_TIMEOUT;

const GIB: u64 = 1 << 30;

/// What NVML writes where it has no number.
const UNKNOWN_BYTES: u64 = u64::MAX;
const NO_INSTANCE: c_uint = c_uint::MAX;

fn code(result: Result<(), Code>) -> nvmlReturn_t {
    result.err().unwrap_or(SUCCESS)
}

/// Writes a result where the caller wants it.
///
/// # Safety
///
/// `to` is null or valid.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    unsafe { to.write(value) };
    Ok(())
}

/// Writes a text with its NUL.
///
/// # Safety
///
/// `to` is null or has room for `length` bytes.
unsafe fn put_text(to: *mut c_char, length: c_uint, text: &str) -> Result<(), Code> {
    if to.is_null() || text.len() >= length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    unsafe {
        to.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// Functions of a device whose results are numbers, in the order of their pointers. The defaults are made from the
/// device's number and the first argument.
macro_rules! numbers {
    ($($function:ident($($argument:ident)?) -> $($out:ident: $type:ty = $default:expr),+;)+) => {
        $(
            #[doc = concat!("`", stringify!($function), "`")]
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $function(
                handle: nvmlDevice_t,
                $($argument: c_uint,)?
                $($out: *mut $type,)+
            ) -> nvmlReturn_t {
                let argument: Option<u32> = None$(.or(Some($argument)))?;
                code(device(stringify!($function), handle, argument).and_then(|given| {
                    let defaults: &[fn(u64, u64) -> u64] = &[$($default),+];
                    let mut at = 0;
                    $(
                        let default = defaults.get(at).map_or(0, |default| {
                            default(u64::from(given.unit.device), u64::from(argument.unwrap_or(0)))
                        });
                        unsafe { put($out, given.number(at, default) as $type) }?;
                        at += 1;
                    )+
                    let _ = at;
                    Ok(())
                }))
            }
        )+
        const NUMBERS: &[&str] = &[$(stringify!($function)),+];
    };
}

numbers! {
    nvmlDeviceGetMinorNumber() -> minor: c_uint = |d, _| d;
    nvmlDeviceGetTemperature(sensor) -> celsius: c_uint = |d, _| 40 + d;
    nvmlDeviceGetTemperatureThreshold(threshold) -> celsius: c_uint = |_, t| if t == 0 { 95 } else { 92 };
    nvmlDeviceGetPowerUsage() -> milliwatts: c_uint = |d, _| 250_000 + 1_000 * d;
    nvmlDeviceGetEnforcedPowerLimit() -> milliwatts: c_uint = |_, _| 700_000;
    nvmlDeviceGetClockInfo(clock) -> megahertz: c_uint = |d, clock| 1_000 + 100 * clock + d;
    nvmlDeviceGetMaxClockInfo(clock) -> megahertz: c_uint = |_, clock| 2_000 + 100 * clock;
    nvmlDeviceGetNumFans() -> fans: c_uint = |_, _| 2;
    nvmlDeviceGetFanSpeed_v2(fan) -> percent: c_uint = |d, fan| 30 + 10 * fan + d;
    nvmlDeviceGetPerformanceState() -> state: c_uint = |_, _| 0;
    nvmlDeviceGetCurrentClocksThrottleReasons() -> reasons: c_ulonglong = |_, _| 4;
    nvmlDeviceGetSupportedClocksThrottleReasons() -> reasons: c_ulonglong = |_, _| 0x1ff;
    nvmlDeviceGetEncoderUtilization() -> percent: c_uint = |d, _| 5 + d, period: c_uint = |_, _| 100_000;
    nvmlDeviceGetDecoderUtilization() -> percent: c_uint = |d, _| 7 + d, period: c_uint = |_, _| 100_000;
    nvmlDeviceGetCurrPcieLinkGeneration() -> generation: c_uint = |_, _| 5;
    nvmlDeviceGetCurrPcieLinkWidth() -> width: c_uint = |_, _| 16;
    nvmlDeviceGetSupportedEventTypes() -> types: c_ulonglong = |_, _| 0x1f;
}

/// Functions whose result is a text.
macro_rules! texts {
    ($($function:ident = $default:expr;)+) => {
        $(
            #[doc = concat!("`", stringify!($function), "`")]
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $function(handle: nvmlDevice_t, to: *mut c_char, length: c_uint) -> nvmlReturn_t {
                code(device(stringify!($function), handle, None).and_then(|given| {
                    let default: fn(Unit) -> String = $default;
                    let text = given.text(|| default(given.unit));
                    unsafe { put_text(to, length, &text) }
                }))
            }
        )+
        const TEXTS: &[&str] = &[$(stringify!($function)),+];
    };
}

texts! {
    nvmlDeviceGetName = |unit| match unit.instance {
        None => "NVIDIA Fake 80GB".to_owned(),
        Some(_) => "NVIDIA Fake 80GB MIG 1g.10gb".to_owned(),
    };
    nvmlDeviceGetUUID = |unit| match unit.instance {
        None => format!("GPU-00000000-0000-0000-0000-{:012}", unit.device),
        Some(instance) => format!("MIG-00000000-0000-0000-{instance:04}-{:012}", unit.device),
    };
    nvmlDeviceGetSerial = |unit| format!("15600000000{:02}", unit.device);
    nvmlDeviceGetVbiosVersion = |_| "96.00.61.00.01".to_owned();
}

macro_rules! system_texts {
    ($($function:ident = $default:expr;)+) => {
        $(
            #[doc = concat!("`", stringify!($function), "`")]
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $function(to: *mut c_char, length: c_uint) -> nvmlReturn_t {
                code(system(stringify!($function)).and_then(|given| {
                    unsafe { put_text(to, length, &given.text(|| $default.to_owned())) }
                }))
            }
        )+
        const SYSTEM_TEXTS: &[&str] = &[$(stringify!($function)),+];
    };
}

system_texts! {
    nvmlSystemGetDriverVersion = "550.54.15";
}

const OTHERS: &[&str] = &[
    "nvmlInit_v2",
    "nvmlShutdown",
    "nvmlSystemGetCudaDriverVersion_v2",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetBAR1MemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlEventSetCreate",
    "nvmlEventSetFree",
    "nvmlEventSetWait_v2",
    "nvmlDeviceRegisterEvents",
];

/// All functions that the library has, but those of [`ACTIVE`].
pub const FUNCTIONS: &[&[&str]] = &[NUMBERS, TEXTS, SYSTEM_TEXTS, OTHERS];

/// `nvmlInit_v2`
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    code(system("nvmlInit_v2").map(|_| memory().begin()))
}

/// `nvmlShutdown`
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    code(system("nvmlShutdown").map(|_| {
        let mut memory = memory();
        memory.users = memory.users.saturating_sub(1);
    }))
}

/// `nvmlSystemGetCudaDriverVersion_v2`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> nvmlReturn_t {
    let given = system("nvmlSystemGetCudaDriverVersion_v2");
    code(given.and_then(|given| unsafe { put(version, given.number(0, 12_040) as c_int) }))
}

/// `nvmlDeviceGetCount_v2`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> nvmlReturn_t {
    let given = system("nvmlDeviceGetCount_v2");
    code(given.and_then(|given| unsafe { put(count, given.scenario.number("count").unwrap_or(1)) }))
}

/// `nvmlDeviceGetHandleByIndex_v2`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    handle: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    let unit = Unit { device: index, instance: None };
    let given = device("nvmlDeviceGetHandleByIndex_v2", unit.handle(), None);
    code(given.and_then(|given| {
        if index >= given.scenario.number("count").unwrap_or(1) {
            return Err(INVALID_ARGUMENT);
        }
        unsafe { put(handle, unit.handle()) }
    }))
}

/// `nvmlDeviceGetPciInfo_v3`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(
    handle: nvmlDevice_t,
    to: *mut nvml::nvmlPciInfo_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetPciInfo_v3", handle, None).and_then(|given| {
        let bus = given.unit.device;
        let text = given.text(|| format!("00000000:{bus:02X}:00.0"));
        let mut info = nvml::nvmlPciInfo_t {
            busIdLegacy: [0; 16],
            domain: 0,
            bus,
            device: 0,
            pciDeviceId: 0x2330_10de,
            pciSubSystemId: 0,
            busId: [0; 32],
        };
        // One byte stays the NUL.
        for (to, from) in info.busId.iter_mut().take(31).zip(text.bytes()) {
            *to = from as c_char;
        }
        unsafe { put(to, info) }
    }))
}

/// `nvmlDeviceGetMemoryInfo_v2`: total, reserved, free, used
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    handle: nvmlDevice_t,
    to: *mut nvml::nvmlMemory_v2_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetMemoryInfo_v2", handle, None).and_then(|given| {
        let size = if given.unit.instance.is_some() { 10 * GIB } else { 80 * GIB };
        let used = (1 + u64::from(given.unit.device)) * GIB;
        let memory = nvml::nvmlMemory_v2_t {
            version: (size_of::<nvml::nvmlMemory_v2_t>() | (2 << 24)) as c_uint,
            total: given.number(0, size),
            reserved: given.number(1, GIB / 2),
            free: given.number(2, size.saturating_sub(used + GIB / 2)),
            used: given.number(3, used),
        };
        unsafe { put(to, memory) }
    }))
}

/// `nvmlDeviceGetBAR1MemoryInfo`: total, free, used
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetBAR1MemoryInfo(
    handle: nvmlDevice_t,
    to: *mut nvml::nvmlBAR1Memory_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetBAR1MemoryInfo", handle, None).and_then(|given| {
        let memory = nvml::nvmlBAR1Memory_t {
            bar1Total: given.number(0, 128 * GIB),
            bar1Free: given.number(1, 127 * GIB),
            bar1Used: given.number(2, GIB),
        };
        unsafe { put(to, memory) }
    }))
}

/// `nvmlDeviceGetUtilizationRates`: GPU, memory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    handle: nvmlDevice_t,
    to: *mut nvml::nvmlUtilization_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetUtilizationRates", handle, None).and_then(|given| {
        let device = u64::from(given.unit.device);
        let (gpu, memory) = (given.number(0, 50 + device), given.number(1, 20 + device));
        unsafe { put(to, nvml::nvmlUtilization_t { gpu: gpu as c_uint, memory: memory as c_uint }) }
    }))
}

/// `nvmlDeviceGetFieldValues`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(
    handle: nvmlDevice_t,
    count: c_int,
    values: *mut nvml::nvmlFieldValue_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetFieldValues", handle, None).and_then(|given| {
        if values.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        let values = unsafe { std::slice::from_raw_parts_mut(values, usize::try_from(count).unwrap_or(0)) };
        values.iter_mut().for_each(|value| field(&given, value));
        Ok(())
    }))
}

/// Answers one field: `12` as 64 bits, `12u` as 32 bits, `!3` as an error.
fn field(given: &Given, value: &mut nvml::nvmlFieldValue_t) {
    let line = given.scenario.of(given.unit, &format!("field:{}", value.fieldId));
    let is_strict = given.scenario.get("strict").is_some();
    let text = match line {
        Some(line) => outcome(line),
        None if is_strict => Err(NOT_SUPPORTED),
        None => Ok(Some(default_field(value.fieldId, given.unit.device).to_string())),
    };
    match text {
        Ok(text) => {
            let text = text.unwrap_or_default();
            let narrow = text.strip_suffix('u');
            let number: u64 = narrow.unwrap_or(&text).parse().unwrap_or_default();
            value.nvmlReturn = SUCCESS;
            if narrow.is_some() {
                value.valueType = nvml::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
                value.value.uiVal = number as c_uint;
            } else {
                value.valueType = nvml::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
                value.value.ullVal = number;
            }
        }
        Err(code) => value.nvmlReturn = code,
    }
}

/// Degrees for the temperature, nothing where a number would be bad news, else a number that tells field and device.
fn default_field(id: u32, device: u32) -> u64 {
    match id {
        nvml::field_id::NVML_FI_DEV_MEMORY_TEMP => 60 + u64::from(device),
        nvml::field_id::NVML_FI_DEV_RETIRED_PENDING
        | nvml::field_id::NVML_FI_DEV_REMAPPED_PENDING
        | nvml::field_id::NVML_FI_DEV_REMAPPED_FAILURE
        | nvml::field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION => 0,
        _ => 1_000 * u64::from(id) + u64::from(device),
    }
}

/// `nvmlDeviceGetComputeRunningProcesses_v3`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    handle: nvmlDevice_t,
    count: *mut c_uint,
    to: *mut nvml::nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let given = device("nvmlDeviceGetComputeRunningProcesses_v3", handle, None);
    code(given.and_then(|given| unsafe { processes(&given, "procs", count, to) }))
}

/// `nvmlDeviceGetGraphicsRunningProcesses_v3`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    handle: nvmlDevice_t,
    count: *mut c_uint,
    to: *mut nvml::nvmlProcessInfo_t,
) -> nvmlReturn_t {
    let given = device("nvmlDeviceGetGraphicsRunningProcesses_v3", handle, None);
    code(given.and_then(|given| unsafe { processes(&given, "graphics", count, to) }))
}

/// NVML's way to give a list: too little room is an error that says how much is needed.
///
/// # Safety
///
/// `count` is null or valid, and `to` has room for as many.
unsafe fn processes(
    given: &Given,
    key: &str,
    count: *mut c_uint,
    to: *mut nvml::nvmlProcessInfo_t,
) -> Result<(), Code> {
    if count.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    let room = unsafe { count.read() } as usize;
    let mut list: Vec<nvml::nvmlProcessInfo_t> = Vec::new();
    for entry in given.scenario.of(given.unit, key).unwrap_or_default().split(',') {
        let Some((pid, bytes)) = entry.split_once(':') else { continue };
        let usedGpuMemory = bytes.parse().unwrap_or(UNKNOWN_BYTES);
        list.push(info(pid.trim().parse().unwrap_or_default(), usedGpuMemory, given.unit));
    }
    let grow: u32 = given.scenario.of(given.unit, "grow").and_then(|text| text.parse().ok()).unwrap_or(0);
    if room > 0 {
        list.extend((0..grow).map(|more| info(4_000_000 + more, GIB, given.unit)));
    }
    let needed = c_uint::try_from(list.len()).unwrap_or(c_uint::MAX);
    unsafe { count.write(needed) };
    if list.len() > room {
        return Err(INSUFFICIENT_SIZE);
    }
    if !list.is_empty() {
        if to.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        unsafe { to.copy_from_nonoverlapping(list.as_ptr(), list.len()) };
    }
    Ok(())
}

fn info(pid: c_uint, usedGpuMemory: u64, unit: Unit) -> nvml::nvmlProcessInfo_t {
    let instance = unit.instance.unwrap_or(NO_INSTANCE);
    nvml::nvmlProcessInfo_t { pid, usedGpuMemory, gpuInstanceId: instance, computeInstanceId: instance }
}

/// `nvmlDeviceGetMigMode`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    handle: nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetMigMode", handle, None).and_then(|given| {
        let is_on = c_uint::from(given.scenario.of(given.unit, "mig").is_some());
        unsafe {
            put(current, is_on)?;
            put(pending, is_on)
        }
    }))
}

/// `nvmlDeviceGetMaxMigDeviceCount`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(
    handle: nvmlDevice_t,
    count: *mut c_uint,
) -> nvmlReturn_t {
    let given = device("nvmlDeviceGetMaxMigDeviceCount", handle, None);
    code(given.and_then(|given| unsafe { put(count, given.number(0, 7) as c_uint) }))
}

/// `nvmlDeviceGetMigDeviceHandleByIndex`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    handle: nvmlDevice_t,
    index: c_uint,
    to: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceGetMigDeviceHandleByIndex", handle, Some(index)).and_then(|given| {
        let instances: u32 =
            given.scenario.of(given.unit, "mig").and_then(|text| text.parse().ok()).unwrap_or(0);
        if index >= instances {
            return Err(NOT_FOUND);
        }
        unsafe { put(to, Unit { instance: Some(index), ..given.unit }.handle()) }
    }))
}

/// `nvmlEventSetCreate`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetCreate(to: *mut nvmlEventSet_t) -> nvmlReturn_t {
    code(system("nvmlEventSetCreate").and_then(|_| {
        let mut memory = memory();
        memory.last_event_set += 1;
        let number = memory.last_event_set;
        memory.event_sets.insert(number, Vec::new());
        unsafe { put(to, number as nvmlEventSet_t) }
    }))
}

/// `nvmlEventSetFree`
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(set: nvmlEventSet_t) -> nvmlReturn_t {
    code(
        system("nvmlEventSetFree")
            .and_then(|_| memory().event_sets.remove(&(set as usize)).map(|_| ()).ok_or(INVALID_ARGUMENT)),
    )
}

/// `nvmlDeviceRegisterEvents`
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(
    handle: nvmlDevice_t,
    _types: c_ulonglong,
    set: nvmlEventSet_t,
) -> nvmlReturn_t {
    code(device("nvmlDeviceRegisterEvents", handle, None).and_then(|given| {
        // What happened before is not told.
        let seen = given.scenario.xids(given.unit.device).len();
        let mut memory = memory();
        let watched = memory.event_sets.get_mut(&(set as usize)).ok_or(INVALID_ARGUMENT)?;
        watched.push((given.unit.device, seen));
        Ok(())
    }))
}

/// `nvmlEventSetWait_v2`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetWait_v2(
    set: nvmlEventSet_t,
    data: *mut nvml::nvmlEventData_t,
    _milliseconds: c_uint,
) -> nvmlReturn_t {
    code(system("nvmlEventSetWait_v2").and_then(|_| {
        let scenario = Scenario::now();
        let mut memory = memory();
        let watched = memory.event_sets.get_mut(&(set as usize)).ok_or(INVALID_ARGUMENT)?;
        for (device, seen) in watched {
            if let Some(xid) = scenario.xids(*device).get(*seen) {
                *seen += 1;
                let event = nvml::nvmlEventData_t {
                    device: Unit { device: *device, instance: None }.handle(),
                    eventType: c_ulonglong::from(nvml::nvmlEventTypeXidCriticalError),
                    eventData: *xid,
                    gpuInstanceId: NO_INSTANCE,
                    computeInstanceId: NO_INSTANCE,
                };
                return unsafe { put(data, event) };
            }
        }
        Err(TIMEOUT)
    }))
}

/// Functions that change a device or take long. Nobody may call them: they only write down that somebody did.
macro_rules! active {
    ($($function:ident)+) => {
        $(
            #[doc = concat!("`", stringify!($function), "`, without its arguments")]
            #[unsafe(no_mangle)]
            pub extern "C" fn $function() -> nvmlReturn_t {
                code(system(stringify!($function)).and(Err(NOT_SUPPORTED)))
            }
        )+
        /// Functions that change a device or take long: none of them may ever be called.
        pub const ACTIVE: &[&str] = &[$(stringify!($function)),+];
    };
}

active! {
    nvmlDeviceClearAccountingPids nvmlDeviceClearCpuAffinity nvmlDeviceClearEccErrorCounts
    nvmlDeviceClearFieldValues nvmlDeviceDiscoverGpus nvmlDeviceFreezeNvLinkUtilizationCounter
    nvmlDeviceGetPcieThroughput nvmlDeviceModifyDrainState nvmlDeviceRemoveGpu_v2
    nvmlDeviceResetApplicationsClocks nvmlDeviceResetGpuLockedClocks nvmlDeviceResetMemoryLockedClocks
    nvmlDeviceResetNvLinkErrorCounters nvmlDeviceResetNvLinkUtilizationCounter nvmlDeviceSetAPIRestriction
    nvmlDeviceSetAccountingMode nvmlDeviceSetApplicationsClocks nvmlDeviceSetAutoBoostedClocksEnabled
    nvmlDeviceSetClockOffsets nvmlDeviceSetComputeMode nvmlDeviceSetCpuAffinity
    nvmlDeviceSetDefaultAutoBoostedClocksEnabled nvmlDeviceSetDefaultFanSpeed_v2 nvmlDeviceSetDriverModel
    nvmlDeviceSetEccMode nvmlDeviceSetFanControlPolicy nvmlDeviceSetFanSpeed_v2 nvmlDeviceSetGpcClkVfOffset
    nvmlDeviceSetGpuLockedClocks nvmlDeviceSetGpuOperationMode nvmlDeviceSetMemClkVfOffset
    nvmlDeviceSetMemoryLockedClocks nvmlDeviceSetMigMode nvmlDeviceSetNvLinkUtilizationControl
    nvmlDeviceSetPersistenceMode nvmlDeviceSetPowerManagementLimit nvmlDeviceSetTemperatureThreshold
    nvmlDeviceSetVirtualizationMode nvmlDeviceValidateInforom nvmlGpmSampleGet nvmlGpmSetStreamingEnabled
}
