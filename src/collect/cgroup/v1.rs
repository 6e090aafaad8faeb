//! Files of cgroup version 1: <https://docs.kernel.org/admin-guide/cgroup-v1/>.

use super::numbers::{Io, Numbers};
use crate::collect::kernel::{count, number, scaled, text, value_of};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// "No limit" is the largest number of whole pages that fits; no machine has an exbibyte.
const NO_LIMIT: u64 = 1 << 60;

/// Takes what the controllers' folders have.
pub(super) fn read(controllers: &HashMap<&'static str, PathBuf>, numbers: &mut Numbers) {
    let folder = |controller: &str| controllers.get(controller).map(PathBuf::as_path);
    folder("cpuacct").into_iter().for_each(|folder| cpu_usage(folder, numbers));
    folder("cpu").into_iter().for_each(|folder| cpu_quota(folder, numbers));
    folder("memory").into_iter().for_each(|folder| memory(folder, numbers));
    if let Some(folder) = folder("pids") {
        numbers.threads = count(&folder.join("pids.current"));
        numbers.threads_max = count(&folder.join("pids.max"));
    }
    folder("blkio").into_iter().for_each(|folder| io(folder, numbers));
}

fn cpu_usage(folder: &Path, numbers: &mut Numbers) {
    let ticks = number(rustix::param::clock_ticks_per_second());
    numbers.cpu_usage = count(&folder.join("cpuacct.usage")).map(|count| scaled(count, 1e-9));
    let stat = text(&folder.join("cpuacct.stat")).unwrap_or_default();
    numbers.cpu_user = value_of(&stat, "user").map(|count| number(count) / ticks);
    numbers.cpu_system = value_of(&stat, "system").map(|count| number(count) / ticks);
}

fn cpu_quota(folder: &Path, numbers: &mut Numbers) {
    let stat = text(&folder.join("cpu.stat")).unwrap_or_default();
    numbers.periods = value_of(&stat, "nr_periods");
    numbers.throttled_periods = value_of(&stat, "nr_throttled");
    numbers.throttled = value_of(&stat, "throttled_time").map(|count| scaled(count, 1e-9));
    // A quota of -1 is none, and is no count.
    let quota = count(&folder.join("cpu.cfs_quota_us"));
    let period = count(&folder.join("cpu.cfs_period_us")).filter(|period| *period > 0);
    numbers.cpu_limit = quota.zip(period).map(|(quota, period)| number(quota) / number(period));
}

fn memory(folder: &Path, numbers: &mut Numbers) {
    let limit = |name: &str| count(&folder.join(name)).filter(|limit| *limit < NO_LIMIT);
    let stat = text(&folder.join("memory.stat")).unwrap_or_default();
    // Those with `total_` count what is below, as the other files do.
    let of = |key: &str| value_of(&stat, key);
    numbers.memory = count(&folder.join("memory.usage_in_bytes"));
    numbers.inactive_file = of("total_inactive_file");
    numbers.rss = of("total_rss");
    numbers.cache = of("total_cache");
    numbers.mapped_file = of("total_mapped_file");
    numbers.swap = of("total_swap");
    numbers.page_faults = of("total_pgfault");
    numbers.major_page_faults = of("total_pgmajfault");
    numbers.peak = count(&folder.join("memory.max_usage_in_bytes"));
    numbers.memory_limit = limit("memory.limit_in_bytes");
    let both = limit("memory.memsw.limit_in_bytes");
    numbers.swap_limit = both.zip(numbers.memory_limit).map(|(both, memory)| both.saturating_sub(memory));
    numbers.failcnt = count(&folder.join("memory.failcnt"));
    let control = text(&folder.join("memory.oom_control")).unwrap_or_default();
    numbers.oom_kills = value_of(&control, "oom_kill");
}

/// `254:0 Read 8192` in one file for bytes and one for requests; those of what is below where the kernel has them.
fn io(folder: &Path, numbers: &mut Numbers) {
    let read = |name: &str| {
        let whole = text(&folder.join(format!("blkio.throttle.{name}_recursive")));
        whole.or_else(|_| text(&folder.join(format!("blkio.throttle.{name}")))).unwrap_or_default()
    };
    let mut devices: BTreeMap<String, Io> = BTreeMap::new();
    for (text, is_bytes) in [(read("io_service_bytes"), true), (read("io_serviced"), false)] {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(device), Some(what), Some(Ok(count))) =
                (words.next(), words.next(), words.next().map(str::parse::<u64>))
            else {
                continue;
            };
            let is_read = what == "Read";
            if !is_read && what != "Write" {
                continue;
            }
            let io = devices.entry(device.to_owned()).or_default();
            *match (is_bytes, is_read) {
                (true, true) => &mut io.read_bytes,
                (true, false) => &mut io.written_bytes,
                (false, true) => &mut io.reads,
                (false, false) => &mut io.writes,
            } = count;
        }
    }
    numbers.io = devices.into_iter().collect();
}
