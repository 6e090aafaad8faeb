//! File systems: the mounts that this process sees, and their sizes.

use crate::collect::kernel::number;
use crate::metric::{FamilyView, SeriesView, Shown, Type, push_label};
use std::collections::HashSet;
use std::sync::Arc;

/// Sizes that are asked for at most; a node has many mounts per pod.
const MOUNTS_MAX: usize = 500;

/// File systems that live on no disk, by type; and those on a network or in a process, which may never answer and
/// would hold up everything else about the machine.
const LEFT_OUT: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs", // no disk
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "virtiofs", // not here
];

/// Mounts below these are the kernel's, or one per container.
const PLACES_LEFT_OUT: &[&str] =
    &["/dev", "/proc", "/sys", "/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"];

/// Sizes of the file systems in `/proc/self/mounts`: `/dev/vda / ext4 rw,relatime 0 0`.
pub(super) fn families(mounts: &str) -> Vec<FamilyView> {
    let gauge = |name: &str, help: &str| FamilyView::new(name, help, Type::Gauge);
    let mut size =
        gauge("host_filesystem_size_bytes", "Size of a file system that this process sees mounted.");
    let mut free =
        gauge("host_filesystem_free_bytes", "Free bytes of a file system, also those kept for root.");
    let mut avail =
        gauge("host_filesystem_avail_bytes", "Free bytes of a file system that any user could fill.");
    let mut files = gauge("host_filesystem_files", "Inodes of a file system.");
    let mut files_free = gauge("host_filesystem_files_free", "Free inodes of a file system.");
    let mut readonly = gauge("host_filesystem_readonly", "Whether a file system is mounted read-only.");
    let mut seen = HashSet::new();
    for mount in mounts.lines().filter_map(Mount::parse).filter(Mount::is_asked).take(MOUNTS_MAX) {
        // A later mount hides an earlier one at the same place, and the answer is the later one's for both.
        let labels = mount.labels();
        if !seen.insert(labels.clone()) {
            continue;
        }
        let Ok(stat) = rustix::fs::statvfs(&*mount.point) else { continue };
        if stat.f_blocks == 0 {
            continue;
        }
        let bytes = |blocks: u64| number(blocks) * number(stat.f_frsize);
        let push = |family: &mut FamilyView, value: f64| {
            family.series.push(SeriesView { labels: labels.clone(), value: Shown::Number(value) });
        };
        push(&mut size, bytes(stat.f_blocks));
        push(&mut free, bytes(stat.f_bfree));
        push(&mut avail, bytes(stat.f_bavail));
        // Those that make inodes as they need them (btrfs) say 0.
        if stat.f_files > 0 {
            push(&mut files, number(stat.f_files));
            push(&mut files_free, number(stat.f_ffree));
        }
        push(&mut readonly, f64::from(u8::from(mount.is_readonly)));
    }
    vec![size, free, avail, files, files_free, readonly]
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    point: String,
    fstype: String,
    is_readonly: bool,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (device, point, fstype) = (words.next()?, words.next()?, words.next()?);
        let is_readonly = words.next()?.split(',').any(|option| option == "ro");
        Some(Self {
            device: unescape(device),
            point: unescape(point),
            fstype: fstype.to_owned(),
            is_readonly,
        })
    }

    /// What a container has of the machine's disk (`/etc/hosts` and its kin are mounts of single files) is left out.
    fn is_asked(&self) -> bool {
        let kind = self.fstype.split('.').next().unwrap_or_default();
        // A container's own root is an overlay; those elsewhere are other containers.
        let is_foreign_root = kind == "overlay" && self.point != "/";
        let is_place_left_out = PLACES_LEFT_OUT.iter().any(|place| {
            self.point.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let is_bound_file = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&&*self.point);
        !LEFT_OUT.contains(&kind) && !is_foreign_root && !is_place_left_out && !is_bound_file
    }

    fn labels(&self) -> Arc<str> {
        let mut text = String::new();
        push_label(&mut text, "device", &self.device);
        push_label(&mut text, "mountpoint", &self.point);
        push_label(&mut text, "fstype", &self.fstype);
        text.into()
    }
}

/// The kernel writes blank, tab, line feed and backslash as three octal digits.
fn unescape(word: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(word.to_owned(), |word, (code, char)| word.replace(code, char))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> bool {
        Mount::parse(line).unwrap().is_asked()
    }

    #[test]
    fn who_may_never_answer_is_not_asked() {
        for line in ["/dev/vda / ext4 rw 0 0", "overlay / overlay rw 0 0", "tmpfs /scratch tmpfs rw 0 0"] {
            assert!(asked(line), "{line}");
        }
        for line in [
            "nas:/models /models nfs4 rw 0 0",
            "bucket /models fuse.gcsfuse rw 0 0",
            "overlay /run/c/rootfs overlay rw 0 0",
            "tmpfs /dev/shm tmpfs rw 0 0",
            "/dev/sda1 /etc/hosts ext4 rw 0 0",
            "/dev/sda1 /var/lib/docker/x ext4 rw 0 0",
        ] {
            assert!(!asked(line), "{line}");
        }
    }

    #[test]
    fn a_blank_in_a_mount_point_is_read() {
        let mount = Mount::parse(r"/dev/sda1 /my\040disk\134x xfs ro,noatime 0 0").unwrap();
        assert_eq!((r"/my disk\x", true), (&*mount.point, mount.is_readonly));
    }
}
