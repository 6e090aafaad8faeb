//! Our own cgroup, and that of the model server where its processes are visible: CPU, memory, I/O, pressure, and
//! the limits, which are what a container really has of a machine.
//!
//! Version 1 and 2 have the same names here: cAdvisor's stems with `cgroup_` in front. What a version, a kernel or a
//! cgroup does not have is absent; so is a limit that is not set.

mod numbers;
mod place;
mod v1;
mod v2;

use super::kernel::text;
use super::worker::Workers;
use super::{Collector, Context, Trouble};
use crate::metric::FamilyView;
use crate::publish::Cell;
use numbers::Numbers;
use place::{Place, Sight};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process may be moved to another cgroup, and mounts may come: looked for again this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Reads the numbers of two cgroups.
pub(super) struct CgroupCollector {
    sight: Sight,
    workers: Arc<Cell<Workers>>,
    own: Found,
    server: Found,
}

/// Where a process's cgroup lies, and when that was found out.
#[derive(Debug, Default)]
struct Found {
    place: Option<Place>,
    process: Option<u32>,
    looked: Option<Instant>,
}

impl CgroupCollector {
    pub(super) fn new(context: &Context) -> Self {
        let settings = &context.settings;
        Self {
            sight: Sight { procfs: settings.procfs.clone(), sysfs: settings.sysfs.clone() },
            workers: context.workers.clone(),
            own: Found::default(),
            server: Found::default(),
        }
    }
}

impl Collector for CgroupCollector {
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        let own = self.own.numbers(None, || self.sight.own());
        let worker = self.workers.get().oldest;
        let server = worker.and_then(|id| self.server.numbers(Some(id), || self.sight.of(id)));
        if own.is_none() && server.is_none() {
            return Err(Trouble::Absent("no cgroup of ours is mounted here".to_owned()));
        }
        let devices = self.devices();
        let shown = [("self", own), ("server", server)];
        Ok(numbers::families(&shown.map(|(of, numbers)| (of, numbers.unwrap_or_default())), &devices))
    }
}

impl CgroupCollector {
    /// Names of block devices by their numbers, `254:0`.
    fn devices(&self) -> HashMap<String, String> {
        let path: PathBuf = self.sight.procfs.join("diskstats");
        let diskstats = text(&path).unwrap_or_default();
        let device = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let (major, minor, name) = (words.next()?, words.next()?, words.next()?);
            Some((format!("{major}:{minor}"), name.to_owned()))
        };
        diskstats.lines().filter_map(device).collect()
    }
}

impl Found {
    /// The numbers of the cgroup of a process (none: our own), found by `look` at times.
    fn numbers(&mut self, process: Option<u32>, look: impl Fn() -> Option<Place>) -> Option<Numbers> {
        let is_old = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL);
        if is_old || process != self.process {
            *self = Self { place: look(), process, looked: Some(Instant::now()) };
        }
        let numbers = self.place.as_ref().map(read).filter(Numbers::has_any);
        if numbers.is_none() {
            // The cgroup has gone; the next look may find another one.
            self.looked = None;
        }
        numbers
    }
}

/// Each controller where it is mounted: a machine may have some in version 1 and the rest in version 2.
fn read(place: &Place) -> Numbers {
    let mut numbers = Numbers::default();
    if let Some(folder) = &place.unified {
        v2::read(folder, &mut numbers);
    }
    v1::read(&place.controllers, &mut numbers);
    numbers.version = if place.is_version_1() { "1" } else { "2" };
    numbers
}
