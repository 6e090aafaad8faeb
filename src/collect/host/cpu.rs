//! CPU time by mode, load averages, and what else `/proc/stat` counts.
//!
//! Format: <https://docs.kernel.org/filesystems/proc.html>, 1.7 and 1.8.

use super::boot_time;
use crate::collect::kernel::{number, single, value_of};
use crate::metric::{FamilyView, SeriesView, Shown, Type, push_label};
use std::collections::HashMap;
use std::sync::Arc;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const TIMES: usize = MODES.len() + GUEST_MODES.len();

/// A CPU whose time steps back by more than this, in seconds, was away: the kernel starts it at 0 again.
const STEP_BACK_MAX: f64 = 3.0;

/// What the CPUs showed last. The kernel computes idle and iowait anew at each look, and both may step back a little
/// (proc(5)); a counter must not, because Prometheus adds the whole value again then.
#[derive(Debug, Default)]
pub(super) struct Cpus {
    last: HashMap<u32, Cpu>,
}

#[derive(Debug)]
struct Cpu {
    /// In seconds, as shown.
    times: [f64; TIMES],
    labels: [Arc<str>; TIMES],
}

impl Cpu {
    fn new(number: u32) -> Self {
        let number = number.to_string();
        let mut modes = MODES.iter().chain(&GUEST_MODES);
        let labels = std::array::from_fn(|_| {
            let mut text = String::new();
            push_label(&mut text, "cpu", &number);
            push_label(&mut text, "mode", modes.next().copied().unwrap_or_default());
            text.into()
        });
        Self { times: [0.0; TIMES], labels }
    }
}

impl Cpus {
    pub(super) fn families(&mut self, stat: &str) -> Vec<FamilyView> {
        let ticks = number(rustix::param::clock_ticks_per_second());
        let mut time = FamilyView::new(
            "host_cpu_seconds_total",
            "Time that each CPU of the machine spent in each mode, whoever ran; guests are part of user and nice.",
            Type::Counter,
        );
        let mut guest = FamilyView::new(
            "host_cpu_guest_seconds_total",
            "Time that each CPU of the machine spent running virtual machines.",
            Type::Counter,
        );
        let mut present = HashMap::with_capacity(self.last.len());
        for line in stat.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { break };
            // The first line is the sum of the others.
            let Ok(cpu) = cpu.parse::<u32>() else { continue };
            let mut known = self.last.remove(&cpu).unwrap_or_else(|| Cpu::new(cpu));
            for (index, shown) in known.times.iter_mut().enumerate() {
                // Old kernels have fewer columns.
                let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else { break };
                let seconds = number(count) / ticks;
                let was_away = *shown - seconds > STEP_BACK_MAX;
                *shown = if was_away { seconds } else { seconds.max(*shown) };
                let family = if index < MODES.len() { &mut time } else { &mut guest };
                if let Some(labels) = known.labels.get(index) {
                    let value = Shown::Number(*shown);
                    family.series.push(SeriesView { labels: labels.clone(), value });
                }
            }
            present.insert(cpu, known);
        }
        self.last = present;
        vec![time, guest]
    }
}

/// What the kernel counts beside CPU time.
pub(super) fn kernel_families(stat: &str) -> Vec<FamilyView> {
    let mut families = Vec::new();
    let mut add = |name: &str, help: &str, kind: Type, value: Option<u64>| {
        families.extend(value.map(|value| single(name, help, kind, number(value))));
    };
    let of = |key: &str| value_of(stat, key);
    add(
        "host_boot_time_seconds",
        "When the machine was started, in seconds since 1970.",
        Type::Gauge,
        boot_time(stat),
    );
    add(
        "host_context_switches_total",
        "Context switches on all CPUs of the machine.",
        Type::Counter,
        of("ctxt"),
    );
    add("host_intr_total", "Interrupts on all CPUs of the machine.", Type::Counter, of("intr"));
    add("host_forks_total", "Processes and threads created on the machine.", Type::Counter, of("processes"));
    add(
        "host_procs_running",
        "Tasks of the machine that run or could run.",
        Type::Gauge,
        of("procs_running"),
    );
    add("host_procs_blocked", "Tasks of the machine that wait for I/O.", Type::Gauge, of("procs_blocked"));
    families
}

/// Load averages: `0.86 0.69 0.49 2/85 12147`.
pub(super) fn load_families(loadavg: &str) -> Vec<FamilyView> {
    let names = [
        ("host_load1", "Tasks that run or wait for a CPU or a disk, averaged over 1 minute."),
        ("host_load5", "Tasks that run or wait for a CPU or a disk, averaged over 5 minutes."),
        ("host_load15", "Tasks that run or wait for a CPU or a disk, averaged over 15 minutes."),
    ];
    let words = loadavg.split_ascii_whitespace().map_while(|word| word.parse::<f64>().ok());
    names.iter().zip(words).map(|((name, help), value)| single(name, help, Type::Gauge, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cpus: &mut Cpus, idle: u64) -> f64 {
        let stat = format!("cpu  9 9 9 9\ncpu7 1 2 3 {idle} 5 6 7 8 9 10\nintr 1\n");
        let families = cpus.families(&stat);
        assert_eq!(r#"cpu="7",mode="idle""#, &*families[0].series[3].labels);
        assert_eq!((8, 2), (families[0].series.len(), families[1].series.len()));
        let Shown::Number(value) = families[0].series[3].value else { panic!("no number") };
        value
    }

    #[test]
    fn idle_time_does_not_step_back_and_a_cpu_that_was_away_starts_anew() {
        let mut cpus = Cpus::default();
        assert_eq!(10.0, shown(&mut cpus, 1000));
        assert_eq!(10.0, shown(&mut cpus, 990));
        assert_eq!(10.02, shown(&mut cpus, 1002));
        assert_eq!(0.05, shown(&mut cpus, 5));
    }
}
