//! Where a process's cgroup lies in the file system.
//!
//! `/proc/PID/cgroup` names a path in each hierarchy, `/proc/PID/mountinfo` says which part of a hierarchy is mounted
//! where: the folder is the mount point and what the path has beyond the mounted part. Our own mounts show our own
//! cgroup, and rarely that of another container. Its mounts do: they are reached through `/proc/PID/root`, which the
//! kernel lets a process of the same user with a shared PID namespace do.

use crate::collect::kernel::text;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Controllers of version 1 that are read.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "blkio"];

/// The folders of one process's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder in the hierarchy of version 2.
    pub(super) unified: Option<PathBuf>,
    /// Folders in hierarchies of version 1, by controller.
    pub(super) controllers: HashMap<&'static str, PathBuf>,
}

impl Place {
    /// Whether version 1 has the controllers that count.
    pub(super) fn is_version_1(&self) -> bool {
        self.controllers.contains_key("memory") || self.controllers.contains_key("cpu")
    }

    fn is_empty(&self) -> bool {
        self.unified.is_none() && self.controllers.is_empty()
    }
}

/// What is mounted where.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) procfs: PathBuf,
    pub(super) sysfs: PathBuf,
}

impl Sight {
    /// The cgroup of this process.
    pub(super) fn own(&self) -> Option<Place> {
        let own = self.procfs.join("self");
        let paths = Paths::read(&own)?;
        let mounts = self.own_mounts();
        let folder = |mount: &Mount, path: &str| {
            // A mount of a part that we are not below of is still the container's own: mounted before its namespace.
            Some(self.reach(&mount.point).join(mount.beyond(path).unwrap_or_default()))
        };
        Some(place(&paths, &mounts, folder)).filter(|place| !place.is_empty())
    }

    /// The cgroup of another process, by our own mounts or else by its own.
    pub(super) fn of(&self, process: u32) -> Option<Place> {
        let other = self.procfs.join(process.to_string());
        let paths = Paths::read(&other)?;
        let ours = |mount: &Mount, path: &str| Some(self.reach(&mount.point).join(mount.beyond(path)?));
        let found = place(&paths, &self.own_mounts(), ours);
        if !found.is_empty() {
            return Some(found);
        }
        let root = other.join("root");
        let theirs = |mount: &Mount, path: &str| {
            Some(root.join(mount.point.trim_start_matches('/')).join(mount.beyond(path)?))
        };
        Some(place(&paths, &mounts(&other), theirs)).filter(|place| !place.is_empty())
    }

    fn own_mounts(&self) -> Vec<Mount> {
        mounts(&self.procfs.join("self"))
    }

    /// A mount point of ours, by the sysfs that was set.
    fn reach(&self, point: &str) -> PathBuf {
        point.strip_prefix("/sys/").map_or_else(|| PathBuf::from(point), |rest| self.sysfs.join(rest))
    }
}

/// Which cgroup a process is in: `4:memory:/docker/x`, `0::/docker/x`.
#[derive(Debug, Default)]
struct Paths {
    unified: Option<String>,
    controllers: HashMap<&'static str, String>,
}

impl Paths {
    fn read(process: &Path) -> Option<Self> {
        let mut paths = Self::default();
        for line in text(&process.join("cgroup")).ok()?.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
            if names.is_empty() {
                paths.unified = Some(path.to_owned());
            }
            let read = CONTROLLERS.iter().filter(|known| names.split(',').any(|name| name == **known));
            paths.controllers.extend(read.map(|known| (*known, path.to_owned())));
        }
        Some(paths)
    }
}

/// A mounted cgroup file system: `35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The part of the hierarchy that is mounted.
    root: String,
    point: String,
    /// Controllers; none for version 2.
    options: Option<String>,
}

fn mounts(process: &Path) -> Vec<Mount> {
    let text = text(&process.join("mountinfo")).unwrap_or_default();
    text.lines().filter_map(Mount::parse).collect()
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - cgroup")?;
        let mut words = left.split(' ').skip(3);
        let (root, point) = (words.next()?.to_owned(), words.next()?.to_owned());
        let options = match right.strip_prefix("2 ") {
            Some(_) => None,
            None => Some(right.trim_start().split(' ').nth(1)?.to_owned()),
        };
        Some(Self { root, point, options })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.as_ref().is_some_and(|options| options.split(',').any(|option| option == controller))
    }

    /// The part of a path that is below what is mounted; none if it is elsewhere.
    fn beyond<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = match &*self.root {
            "/" => path,
            root => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
        };
        // A path of another cgroup namespace leads out of what is mounted.
        let leads_out = rest.split('/').any(|part| part == "..");
        (!leads_out).then(|| rest.trim_start_matches('/'))
    }
}

/// The first folder that is there, for each hierarchy.
fn place(paths: &Paths, mounts: &[Mount], folder: impl Fn(&Mount, &str) -> Option<PathBuf>) -> Place {
    let find = |path: &str, is_meant: &dyn Fn(&Mount) -> bool| {
        let meant = mounts.iter().filter(|mount| is_meant(mount));
        meant.filter_map(|mount| folder(mount, path)).find(|folder| folder.is_dir())
    };
    let unified =
        paths.unified.as_ref().and_then(|path| find(path, &|mount: &Mount| mount.options.is_none()));
    let controllers = CONTROLLERS.iter().filter_map(|controller| {
        let path = paths.controllers.get(controller)?;
        Some((*controller, find(path, &|mount: &Mount| mount.has(controller))?))
    });
    Place { unified, controllers: controllers.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_reached_only_below_what_is_mounted() {
        let mount = |root: &str| Mount { root: root.to_owned(), point: String::new(), options: None };
        for (root, path, expected) in [
            ("/", "/", Some("")),
            ("/", "/a/b", Some("a/b")),
            ("/docker/x", "/docker/x", Some("")),
            ("/docker/x", "/docker/x/y", Some("y")),
            ("/docker/x", "/docker/xy", None),
            ("/docker/x", "/docker/y", None),
            ("/", "/../y", None),
            ("/../y", "/../y", Some("")),
        ] {
            assert_eq!(expected, mount(root).beyond(path), "{root} {path}");
        }
    }

    #[test]
    fn mounts_of_both_versions_are_read() {
        let line = "35 31 0:32 /a /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(("/a", "/sys/fs/cgroup/cpu,cpuacct"), (&*mount.root, &*mount.point));
        assert!(mount.has("cpuacct") && !mount.has("memory"));
        let mount = Mount::parse("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate").unwrap();
        assert_eq!(None, mount.options);
        assert_eq!(None, Mount::parse("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw"));
    }
}
