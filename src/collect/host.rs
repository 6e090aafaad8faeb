//! The machine: CPU, load, memory, disks, file systems, network, pressure, temperatures.
//!
//! Names are node_exporter's in snake case with `host_` in front, so that they never mix with those of a real
//! node_exporter. Everything but temperatures comes from the kernel's own files below a root that can be set:
//! sysinfo has neither counters of CPU time nor buffers, pressure or dropped packets, knows no other root than
//! `/proc`, and asks every mount for its size, also one that never answers.

mod cpu;
mod disk;
mod filesystem;
mod memory;
mod network;
mod node_exporter;
mod sensors;
mod sockets;

use super::kernel::{pressure, single, text, value_of};
use super::{Collector, Compat, Context, Trouble};
use crate::metric::{FamilyView, Type};
use std::path::PathBuf;

/// Reads the machine's numbers.
pub(super) struct HostCollector {
    procfs: PathBuf,
    sysfs: PathBuf,
    cpus: cpu::Cpus,
    sensors: sensors::Sensors,
    as_node_exporter: bool,
}

impl HostCollector {
    pub(super) fn new(context: &Context) -> Self {
        let settings = &context.settings;
        Self {
            procfs: settings.procfs.clone(),
            sysfs: settings.sysfs.clone(),
            cpus: cpu::Cpus::default(),
            sensors: sensors::Sensors::default(),
            as_node_exporter: settings.has(Compat::NodeExporter),
        }
    }
}

impl Collector for HostCollector {
    /// A file that is missing or cannot be read leaves out its families; without `/proc/stat` there is no host.
    fn read(&mut self) -> Result<Vec<FamilyView>, Trouble> {
        let path = self.procfs.join("stat");
        let stat = text(&path)
            .map_err(|error| Trouble::Failed(format!("cannot read {}: {error}", path.display())))?;
        let mut families = self.cpus.families(&stat);
        families.extend(cpu::kernel_families(&stat));
        let read = |name: &str| text(&self.procfs.join(name)).unwrap_or_default();
        families.extend(cpu::load_families(&read("loadavg")));
        let meminfo = read("meminfo");
        families.extend(memory::families(&meminfo));
        families.extend(memory::paging_families(&read("vmstat")));
        families.extend(self.pressure_families());
        families.extend(disk::families(&read("diskstats")));
        families.extend(filesystem::families(&read("self/mounts")));
        families.extend(network::families(&read("net/dev")));
        families.extend(descriptor_families(&read("sys/fs/file-nr")));
        families.extend(self.sensors.families());
        families.extend(uname());
        if self.as_node_exporter {
            let theirs = node_exporter::families(&families, &meminfo);
            families.extend(theirs);
            families.extend(disk::rare_families(&read("diskstats")));
            families.extend(network::rare_families(&read("net/dev")));
            families.extend(sockets::links(&self.sysfs));
            families.extend(sockets::sockstat(&read("net/sockstat")));
            families.extend(sockets::sockstat(&read("net/sockstat6")));
            families.extend(sockets::netstat(&read("net/netstat")));
            families.extend(sockets::netstat(&read("net/snmp")));
            families.extend(sockets::netstat6(&read("net/snmp6")));
        }
        Ok(families)
    }
}

impl HostCollector {
    fn pressure_families(&self) -> Vec<FamilyView> {
        let mut families = Vec::new();
        let mut add = |name: &str, help: &str, seconds: Option<f64>| {
            families.extend(seconds.map(|seconds| single(name, help, Type::Counter, seconds)));
        };
        let read = |name: &str| pressure(&self.procfs.join("pressure").join(name)).unwrap_or_default();
        // For the whole machine the kernel has no full CPU stall, and no partial one of interrupts.
        add(
            "host_pressure_cpu_waiting_seconds_total",
            "Time in which some task was ready and had no CPU (/proc/pressure/cpu).",
            read("cpu").0,
        );
        let (waiting, stalled) = read("io");
        add(
            "host_pressure_io_waiting_seconds_total",
            "Time in which some task waited for I/O (/proc/pressure/io).",
            waiting,
        );
        add(
            "host_pressure_io_stalled_seconds_total",
            "Time in which all tasks that could have run waited for I/O (/proc/pressure/io).",
            stalled,
        );
        let (waiting, stalled) = read("memory");
        add(
            "host_pressure_memory_waiting_seconds_total",
            "Time in which some task waited for memory (/proc/pressure/memory).",
            waiting,
        );
        add(
            "host_pressure_memory_stalled_seconds_total",
            "Time in which all tasks that could have run waited for memory (/proc/pressure/memory).",
            stalled,
        );
        add(
            "host_pressure_irq_stalled_seconds_total",
            "Time in which interrupts kept all tasks from running (/proc/pressure/irq).",
            read("irq").1,
        );
        families
    }
}

fn descriptor_families(file_nr: &str) -> Vec<FamilyView> {
    let mut words = file_nr.split_whitespace().map(|word| word.parse::<f64>().ok());
    let (allocated, _, most) = (words.next().flatten(), words.next(), words.next().flatten());
    let gauge = |name, help, value: Option<f64>| value.map(|value| single(name, help, Type::Gauge, value));
    let allocated = gauge("host_filefd_allocated", "File descriptors in use on the machine.", allocated);
    let most = gauge("host_filefd_maximum", "Most file descriptors that the machine allows.", most);
    allocated.into_iter().chain(most).collect()
}

/// Which kernel runs here. `nodename` is the pod's name in a pod.
fn uname() -> Option<FamilyView> {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mut family = FamilyView::new(
        "host_uname_info",
        "The kernel, as uname tells it; nodename is the pod's in a container; 1.",
        Type::Gauge,
    );
    let parts = [
        ("sysname", text(uname.sysname())),
        ("release", text(uname.release())),
        ("version", text(uname.version())),
        ("machine", text(uname.machine())),
        ("nodename", text(uname.nodename())),
        ("domainname", text(uname.domainname())),
    ];
    family.push(&parts.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
    Some(family)
}

/// When the machine was started, in seconds since 1970: `btime` of `/proc/stat`.
pub(super) fn boot_time(stat: &str) -> Option<u64> {
    value_of(stat, "btime")
}
