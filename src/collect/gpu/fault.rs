//! What an error of NVML means for us: whether it passes, stays, or ends the session.

use nvml_wrapper::error::NvmlError;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The device, driver or library does not have it; asked again only when the device is opened again.
    Absent,
    /// It may be there next time.
    Passing(&'static str),
    /// The device or the library is lost to us: NVML has to be initialised again. The name is that of the error in
    /// the label `error`.
    Broken(&'static str),
}

/// `NVML_ERROR_DEPRECATED`, which the wrapper does not name: newer drivers answer so for what they no longer have.
const DEPRECATED: u32 = 26;

impl From<NvmlError> for Fault {
    fn from(error: NvmlError) -> Self {
        Self::from(&error)
    }
}

impl From<&NvmlError> for Fault {
    fn from(error: &NvmlError) -> Self {
        match error {
            NvmlError::NotSupported
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::FunctionNotFound
            | NvmlError::NoPermission
            | NvmlError::VgpuEccNotSupported
            | NvmlError::UnexpectedVariant(DEPRECATED) => Self::Absent,
            NvmlError::Uninitialized => Self::Broken("uninitialized"),
            NvmlError::DriverNotLoaded => Self::Broken("driver_not_loaded"),
            NvmlError::LibRmVersionMismatch => Self::Broken("version_mismatch"),
            NvmlError::GpuLost => Self::Broken("gpu_is_lost"),
            // After `systemctl daemon-reload` took the devices from a container's cgroup, one of these two.
            NvmlError::OperatingSystem => Self::Broken("operating_system"),
            NvmlError::Unknown => Self::Broken("unknown"),
            NvmlError::ResetRequired => Self::Passing("reset_required"),
            NvmlError::InvalidArg => Self::Passing("invalid_argument"),
            NvmlError::NotFound => Self::Passing("not_found"),
            NvmlError::InsufficientSize(_) => Self::Passing("insufficient_size"),
            NvmlError::InsufficientPower => Self::Passing("insufficient_power"),
            NvmlError::Timeout => Self::Passing("timeout"),
            NvmlError::IrqIssue => Self::Passing("irq_issue"),
            NvmlError::CorruptedInfoROM => Self::Passing("corrupted_inforom"),
            NvmlError::InUse => Self::Passing("in_use"),
            NvmlError::InsufficientMemory => Self::Passing("memory"),
            NvmlError::NoData => Self::Passing("no_data"),
            _ => Self::Passing("other"),
        }
    }
}
