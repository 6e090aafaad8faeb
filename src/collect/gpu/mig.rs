//! MIG instances: parts of a GPU that look like GPUs of their own.

use super::look::bytes;
use super::session::Errors;
use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

/// What one instance answered.
#[derive(Debug)]
pub(super) struct Instance {
    /// `MIG-…`.
    pub(super) uuid: String,
    /// Product name with the profile: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
    pub(super) name: String,
    /// Bytes: total, used, free.
    pub(super) memory: [Option<f64>; 3],
}

impl Instance {
    /// `1g.10gb`, if the name ends with it.
    pub(super) fn profile(&self) -> &str {
        self.name.rsplit_once(" MIG ").map_or("", |(_, profile)| profile)
    }
}

/// Most instances that a device in MIG mode can have; none if it is not in that mode.
pub(super) fn instances_max(device: &Device<'_>) -> Option<u32> {
    let is_on = device.mig_mode().is_ok_and(|mode| mode.current == 1);
    // No GPU has more than 7; whatever an unknown one says, the loop stays short.
    is_on.then(|| device.mig_device_count().unwrap_or(0).min(16))
}

/// Instance number `index`, if there is one now; they come and go.
pub(super) fn instance<'nvml>(
    device: &Device<'nvml>,
    index: u32,
    errors: &mut Errors,
) -> Option<(Instance, Device<'nvml>)> {
    let found = device.mig_device_by_index(index);
    if matches!(found, Err(NvmlError::NotFound | NvmlError::InvalidArg)) {
        return None;
    }
    let part = errors.take(found)?;
    let uuid = errors.take(part.uuid())?;
    let memory = match errors.take(part.memory_info()) {
        Some(memory) => [memory.total, memory.used, memory.free].map(|value| bytes(value).ok()),
        None => [None; 3],
    };
    Some((Instance { uuid, name: part.name().unwrap_or_default(), memory }, part))
}
