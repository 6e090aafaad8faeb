//! Disks: `/proc/diskstats`.
//!
//! Format: <https://docs.kernel.org/admin-guide/iostats.html>. A sector is 512 bytes there, whatever the disk.

use crate::collect::kernel::{Column, Table, label};
use crate::metric::FamilyView;

/// A storage node has hundreds of disks; a machine with more than this shows the first ones.
const DISKS_MAX: usize = 1000;

const COLUMNS: &[Column] = &[
    Column::counter("host_disk_reads_completed_total", 3, 1.0, "Reads that a disk has completed."),
    Column::counter("host_disk_read_bytes_total", 5, 512.0, "Bytes read from a disk."),
    Column::counter("host_disk_read_time_seconds_total", 6, 1e-3, "Time of all reads of a disk, added up."),
    Column::counter("host_disk_writes_completed_total", 7, 1.0, "Writes that a disk has completed."),
    Column::counter("host_disk_written_bytes_total", 9, 512.0, "Bytes written to a disk."),
    Column::counter(
        "host_disk_write_time_seconds_total",
        10,
        1e-3,
        "Time of all writes of a disk, added up.",
    ),
    Column::gauge("host_disk_io_now", 11, 1.0, "Requests that a disk is working on."),
    Column::counter("host_disk_io_time_seconds_total", 12, 1e-3, "Time in which a disk had something to do."),
    Column::counter(
        "host_disk_io_time_weighted_seconds_total",
        13,
        1e-3,
        "Time of all requests of a disk, waiting included, added up.",
    ),
];

/// The columns that only dashboards made for node_exporter ask for, under its names.
const RARE: &[Column] = &[
    Column::counter("node_disk_reads_merged_total", 4, 1.0, "Reads that a disk did together with others."),
    Column::counter("node_disk_writes_merged_total", 8, 1.0, "Writes that a disk did together with others."),
    Column::counter("node_disk_discards_completed_total", 14, 1.0, "Discards that a disk has completed."),
    Column::counter("node_disk_discards_merged_total", 15, 1.0, "Discards that a disk did with others."),
    Column::counter("node_disk_discarded_sectors_total", 16, 1.0, "Sectors that a disk has discarded."),
    Column::counter(
        "node_disk_discard_time_seconds_total",
        17,
        1e-3,
        "Time of all discards of a disk, added up.",
    ),
    Column::counter("node_disk_flush_requests_total", 18, 1.0, "Flushes that a disk has completed."),
    Column::counter(
        "node_disk_flush_requests_time_seconds_total",
        19,
        1e-3,
        "Time of all flushes of a disk, added up.",
    ),
];

/// What everybody asks for.
pub(super) fn families(diskstats: &str) -> Vec<FamilyView> {
    table(diskstats, COLUMNS)
}

/// The rest, for `--compat node_exporter`.
pub(super) fn rare_families(diskstats: &str) -> Vec<FamilyView> {
    table(diskstats, RARE)
}

/// One series per disk; partitions and what is no disk are left out.
fn table(diskstats: &str, columns: &'static [Column]) -> Vec<FamilyView> {
    let mut table = Table::new(columns);
    let lines = diskstats.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let disks = lines.filter(|words| words.get(2).is_some_and(|name| is_disk(name)));
    for words in disks.take(DISKS_MAX) {
        let name = words.get(2).copied().unwrap_or_default();
        table.push(&label("device", name), &words);
    }
    table.families()
}

/// The same devices that node_exporter leaves out: RAM disks, loops, floppies, partitions.
fn is_disk(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return true;
    }
    let is_letter_disk = ["hd", "sd", "vd", "xvd"].iter().any(|kind| {
        stem.strip_prefix(kind)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_lowercase()))
    });
    // nvme0n1p2
    let is_nvme_partition = stem.starts_with("nvme") && stem.ends_with('p');
    !(is_letter_disk || is_nvme_partition || ["ram", "loop", "fd"].contains(&stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_loops_are_no_disks() {
        for name in ["sda", "vda", "nvme0n1", "dm-0", "md127", "zram0", "mmcblk0", "sr0"] {
            assert!(is_disk(name), "{name}");
        }
        for name in ["sda1", "vda15", "nvme0n1p2", "loop0", "ram1", "fd0", "xvda1"] {
            assert!(!is_disk(name), "{name}");
        }
    }
}
