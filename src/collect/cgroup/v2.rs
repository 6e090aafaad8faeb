//! Files of cgroup version 2: <https://docs.kernel.org/admin-guide/cgroup-v2.html>.

use super::numbers::{Io, Numbers};
use crate::collect::kernel::{count, number, pressure, scaled, text, value_of};
use std::path::Path;

/// Takes what the folder has. A word `max` is no limit.
pub(super) fn read(folder: &Path, numbers: &mut Numbers) {
    let read = |name: &str| text(&folder.join(name)).unwrap_or_default();
    let cpu = read("cpu.stat");
    let microseconds = |key: &str| value_of(&cpu, key).map(|count| scaled(count, 1e-6));
    numbers.cpu_usage = microseconds("usage_usec");
    numbers.cpu_user = microseconds("user_usec");
    numbers.cpu_system = microseconds("system_usec");
    numbers.periods = value_of(&cpu, "nr_periods");
    numbers.throttled_periods = value_of(&cpu, "nr_throttled");
    numbers.throttled = microseconds("throttled_usec");
    numbers.cpu_limit = cpu_limit(&read("cpu.max"));
    let stat = read("memory.stat");
    numbers.memory = count(&folder.join("memory.current"));
    numbers.inactive_file = value_of(&stat, "inactive_file");
    numbers.rss = value_of(&stat, "anon");
    numbers.cache = value_of(&stat, "file");
    numbers.mapped_file = value_of(&stat, "file_mapped");
    numbers.page_faults = value_of(&stat, "pgfault");
    numbers.major_page_faults = value_of(&stat, "pgmajfault");
    numbers.swap = count(&folder.join("memory.swap.current"));
    numbers.peak = count(&folder.join("memory.peak"));
    numbers.memory_limit = count(&folder.join("memory.max"));
    numbers.swap_limit = count(&folder.join("memory.swap.max"));
    let events = read("memory.events");
    numbers.failcnt = value_of(&events, "max");
    numbers.oom_kills = value_of(&events, "oom_kill");
    numbers.threads = count(&folder.join("pids.current"));
    numbers.threads_max = count(&folder.join("pids.max"));
    numbers.io = read("io.stat").lines().filter_map(device).collect();
    numbers.pressure = ["cpu.pressure", "memory.pressure", "io.pressure"]
        .map(|name| pressure(&folder.join(name)).unwrap_or_default());
}

/// `50000 100000`: microseconds of CPU time in a period.
fn cpu_limit(max: &str) -> Option<f64> {
    let mut words = max.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (quota, period) = (words.next()??, words.next()??);
    (period > 0).then(|| number(quota) / number(period))
}

/// `254:0 rbytes=8192 wbytes=0 rios=2 wios=0 dbytes=0 dios=0`.
fn device(line: &str) -> Option<(String, Io)> {
    let mut words = line.split_ascii_whitespace();
    let device = words.next()?.to_owned();
    let mut io = Io::default();
    let mut is_any = false;
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let place = match key {
            "rbytes" => &mut io.read_bytes,
            "wbytes" => &mut io.written_bytes,
            "rios" => &mut io.reads,
            "wios" => &mut io.writes,
            _ => continue,
        };
        *place = value.parse().ok()?;
        is_any = true;
    }
    // A device that was never used may stand there alone.
    is_any.then_some((device, io))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_of_cpus() {
        assert_eq!([Some(0.5), None, None], ["50000 100000\n", "max 100000\n", ""].map(cpu_limit));
    }

    #[test]
    fn a_device_without_numbers_is_left_out() {
        let io = Io { read_bytes: 8192, written_bytes: 1, reads: 2, writes: 3 };
        let line = "254:0 rbytes=8192 wbytes=1 rios=2 wios=3 dbytes=0 dios=0";
        assert_eq!(Some(("254:0".to_owned(), io)), device(line));
        assert_eq!(None, device("254:16"));
    }
}
