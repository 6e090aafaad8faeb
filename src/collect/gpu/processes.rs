//! Processes that hold memory of a GPU, and which of them are the model server's workers.
//!
//! NVML tells process ids. Drivers with the open kernel modules translate them into the PID namespace of who asks and
//! leave out what is not in it; older ones tell the host's, whoever asks. A number alone does not say which, so the
//! numbers count as ours only where that is certain: in the host's own PID namespace, or where every process that
//! NVML lists exists here, too. In a container with the host's numbers nearly none does.

use super::session::Errors;
use nvml_wrapper::Device;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The inode number of the host's PID namespace (`PROC_PID_INIT_INO` in the kernel's `proc_ns.h`).
const HOST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Times that a list is asked for whose length changes meanwhile.
const TRIES: usize = 3;

/// Most processes of one device that are looked at; far more than a GPU has room for.
const PROCESSES_MAX: usize = 4096;

/// A process on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its id, in the namespace that the driver thinks of.
    pub(super) pid: u32,
    /// GPU memory that it holds.
    pub(super) bytes: u64,
}

/// All processes of a device or a MIG instance; none if it does not tell. One that computes and draws is listed
/// twice with the same memory.
pub(super) fn of(device: &Device<'_>, errors: &mut Errors) -> Option<Vec<Process>> {
    let compute = list(|| device.running_compute_processes(), errors);
    let graphics = list(|| device.running_graphics_processes(), errors);
    if compute.is_none() && graphics.is_none() {
        return None;
    }
    let mut by_pid = BTreeMap::new();
    for process in compute.into_iter().chain(graphics).flatten().take(PROCESSES_MAX) {
        let UsedGpuMemory::Used(bytes) = process.used_gpu_memory else { continue };
        if process.pid != 0 {
            let known: &mut u64 = by_pid.entry(process.pid).or_default();
            *known = bytes.max(*known);
        }
    }
    Some(by_pid.into_iter().map(|(pid, bytes)| Process { pid, bytes }).collect())
}

/// The list, asked for again when processes were started meanwhile; none if the device will never tell.
fn list(
    ask: impl Fn() -> Result<Vec<ProcessInfo>, NvmlError>,
    errors: &mut Errors,
) -> Option<Vec<ProcessInfo>> {
    let mut answer = ask();
    for _ in 1..TRIES {
        if !matches!(answer, Err(NvmlError::InsufficientSize(_))) {
            break;
        }
        answer = ask();
    }
    let mut is_absent = false;
    let list = errors.keep(answer.map_err(Into::into), &mut is_absent);
    if is_absent { None } else { Some(list.unwrap_or_default()) }
}

/// Whether these process ids are meant as we count them.
pub(super) fn are_ours(procfs: &Path, mut pids: impl Iterator<Item = u32>) -> bool {
    let namespace = std::fs::metadata(procfs.join("self/ns/pid")).map(|metadata| metadata.ino());
    namespace.is_ok_and(|inode| inode == HOST_NAMESPACE)
        || pids.all(|pid| procfs.join(pid.to_string()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ours_only_when_every_process_is_here() {
        let procfs = tempfile::tempdir().unwrap();
        for pid in ["20", "21"] {
            std::fs::create_dir(procfs.path().join(pid)).unwrap();
        }
        assert!(are_ours(procfs.path(), [20, 21].into_iter()));
        assert!(!are_ours(procfs.path(), [20, 10_021].into_iter()));
    }
}
