//! Memory: `/proc/meminfo` and the paging counters of `/proc/vmstat`.

use crate::collect::kernel::{number, single, value_of};
use crate::metric::{FamilyView, Type};

/// The kernel's key, our stem, and what it is. A key that the kernel lacks has no family.
const MEMORY: &[(&str, &str, &str)] = &[
    ("MemTotal", "total", "Memory of the machine that the kernel can give away."),
    ("MemFree", "free", "Memory of the machine that holds nothing."),
    (
        "MemAvailable",
        "available",
        "The kernel's estimate of the memory that new programs could get without swapping.",
    ),
    ("Buffers", "buffers", "Memory that holds raw disk blocks."),
    ("Cached", "cached", "Memory that holds pages of files."),
    (
        "SwapCached",
        "swap_cached",
        "Memory that was swapped out, is back, and still lies in the swap as well.",
    ),
    ("Active", "active", "Memory used lately."),
    ("Inactive", "inactive", "Memory not used lately."),
    ("AnonPages", "anon_pages", "Memory of programs that belongs to no file."),
    ("Mapped", "mapped", "Pages of files that are mapped."),
    ("Shmem", "shmem", "Shared memory and tmpfs."),
    ("Dirty", "dirty", "Memory that waits to be written to disks."),
    ("Writeback", "writeback", "Memory that is being written to disks."),
    ("Slab", "slab", "The kernel's own objects."),
    ("SReclaimable", "slab_reclaimable", "The kernel's own objects that it could give up."),
    ("KernelStack", "kernel_stack", "Stacks of the kernel."),
    ("PageTables", "page_tables", "Page tables."),
    ("Committed_AS", "committed_as", "Memory that programs were promised."),
    ("CommitLimit", "commit_limit", "Memory that could be promised under strict overcommit."),
    ("AnonHugePages", "anon_huge_pages", "Memory of programs in transparent huge pages."),
    ("HardwareCorrupted", "hardware_corrupted", "Memory that the kernel has found broken."),
    ("SwapTotal", "swap_total", "Swap space."),
    ("SwapFree", "swap_free", "Swap space that is not used."),
];

/// The same for counters of `/proc/vmstat`.
const PAGING: &[(&str, &str)] = &[
    ("pgfault", "Page faults on the machine, minor and major."),
    ("pgmajfault", "Page faults on the machine that had to read from a disk."),
    ("pswpin", "Pages read from the swap."),
    ("pswpout", "Pages written to the swap."),
    ("oom_kill", "Processes that the kernel has killed for lack of memory, in the machine or in a cgroup."),
];

/// `MemTotal:       24684084 kB`.
pub(super) fn families(meminfo: &str) -> Vec<FamilyView> {
    let family = |(key, stem, help): &(&str, &str, &str)| {
        let bytes = number(value_of(meminfo, key)?) * 1024.0;
        Some(single(&name(stem), &format!("{help} ({key} of /proc/meminfo)"), Type::Gauge, bytes))
    };
    MEMORY.iter().filter_map(family).collect()
}

fn name(stem: &str) -> String {
    format!("host_memory_{stem}_bytes")
}

/// `pgfault 123`.
pub(super) fn paging_families(vmstat: &str) -> Vec<FamilyView> {
    let family = |(key, help): &(&str, &str)| {
        let count = value_of(vmstat, key)?;
        Some(single(&format!("host_vmstat_{key}_total"), help, Type::Counter, number(count)))
    };
    PAGING.iter().filter_map(family).collect()
}

/// Whether a family of ours is one of memory; node_exporter spells these as the kernel does.
pub(super) fn is_memory(family: &str) -> bool {
    family.starts_with("host_memory_")
}
