//! Links, sockets and protocols, which only dashboards made for node_exporter ask for: under its names, all of our own
//! network namespace.

use crate::collect::kernel::{label, number, single, text};
use crate::metric::{FamilyView, SeriesView, Shown, Type};
use std::fs;
use std::path::Path;

/// A node has an interface per pod; one with more than this shows some of them.
const DEVICES_MAX: usize = 1000;

/// Whether the interfaces are up, and how large and fast their packets may be: `/sys/class/net`.
pub(super) fn links(sysfs: &Path) -> Vec<FamilyView> {
    let family = |name, help| FamilyView::new(name, help, Type::Gauge);
    let mut up = family("node_network_up", "Whether an interface is up (operstate).");
    let mut mtu = family("node_network_mtu_bytes", "Largest packet that an interface sends whole.");
    let mut speed = family("node_network_speed_bytes", "Bytes per second that an interface is made for.");
    let mut folders: Vec<_> =
        fs::read_dir(sysfs.join("class/net")).into_iter().flatten().flatten().take(DEVICES_MAX).collect();
    folders.sort_unstable_by_key(fs::DirEntry::file_name);
    for folder in folders {
        let (path, name) = (folder.path(), folder.file_name());
        let Ok(state) = text(&path.join("operstate")) else { continue };
        let labels = label("device", &name.to_string_lossy());
        let push = |family: &mut FamilyView, value: f64| {
            family.series.push(SeriesView { labels: labels.clone(), value: Shown::Number(value) });
        };
        push(&mut up, f64::from(u8::from(state.trim() == "up")));
        let count = |name: &str| text(&path.join(name)).ok()?.trim().parse::<u64>().ok();
        count("mtu").into_iter().for_each(|bytes| push(&mut mtu, number(bytes)));
        // In megabits; -1 is not known.
        count("speed").into_iter().for_each(|megabits| push(&mut speed, number(megabits) * 125_000.0));
    }
    vec![up, mtu, speed]
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 2`: sockets by protocol, `mem` in pages.
pub(super) fn sockstat(text: &str) -> Vec<FamilyView> {
    let mut families = Vec::new();
    for (protocol, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        let mut words = rest.split_ascii_whitespace();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            let Ok(value) = value.parse::<f64>() else { continue };
            let mut gauge = |key: &str, value: f64| {
                let help = format!("{key} of {protocol} in /proc/net/sockstat.");
                families.push(single(&format!("node_sockstat_{protocol}_{key}"), &help, Type::Gauge, value));
            };
            gauge(key, value);
            if key == "mem" {
                #[expect(clippy::cast_precision_loss, reason = "pages are not that large")]
                gauge("mem_bytes", value * rustix::param::page_size() as f64);
            }
        }
    }
    families
}

/// `TcpExt: ListenOverflows …` and below it `TcpExt: 0 …`: the counts that node_exporter shows unless told otherwise.
pub(super) fn netstat(text: &str) -> Vec<FamilyView> {
    let mut families = Vec::new();
    let mut lines = text.lines();
    while let (Some(keys), Some(values)) = (lines.next(), lines.next()) {
        let Some((protocol, keys)) = keys.split_once(':') else { continue };
        let values = values.split_ascii_whitespace().skip(1);
        families.extend(
            keys.split_ascii_whitespace()
                .zip(values)
                .filter_map(|(key, value)| protocol_family(protocol, key, value)),
        );
    }
    families
}

/// `Udp6InDatagrams    12`, a line per count.
pub(super) fn netstat6(text: &str) -> Vec<FamilyView> {
    let family = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (protocol, key) = words.next()?.split_once('6')?;
        protocol_family(&format!("{protocol}6"), key, words.next()?)
    };
    text.lines().filter_map(family).collect()
}

fn protocol_family(protocol: &str, key: &str, value: &str) -> Option<FamilyView> {
    let value = value.parse().ok().filter(|_| is_shown(protocol, key))?;
    let help = format!("{key} of {protocol}, as the kernel counts it.");
    Some(single(&format!("node_netstat_{protocol}_{key}"), &help, Type::Untyped, value))
}

/// The default of node_exporter's `--collector.netstat.fields`, as of version 1.8.
fn is_shown(protocol: &str, key: &str) -> bool {
    match key {
        "InErrors" | "InErrs" => true,
        "Forwarding" => protocol == "Ip",
        "InOctets" | "OutOctets" => matches!(protocol, "IpExt" | "Ip6"),
        "InMsgs" | "OutMsgs" => matches!(protocol, "Icmp" | "Icmp6"),
        "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors" => {
            matches!(protocol, "Udp" | "Udp6")
        }
        "ActiveOpens" | "PassiveOpens" | "CurrEstab" | "InSegs" | "OutSegs" | "OutRsts" | "RetransSegs" => {
            protocol == "Tcp"
        }
        _ => {
            let is_one = matches!(key, "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop");
            protocol == "TcpExt" && (is_one || key.starts_with("Listen") || key.starts_with("Syncookies"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(families: &[FamilyView]) -> Vec<(&str, f64)> {
        let number = |family: &FamilyView| match family.series[0].value {
            Shown::Number(value) => value,
            Shown::Histogram(_) => f64::NAN,
        };
        families.iter().map(|family| (&*family.name, number(family))).collect()
    }

    #[test]
    fn sockets_and_protocols_are_named_as_the_kernel_names_them() {
        #[expect(clippy::cast_precision_loss, reason = "pages are not that large")]
        let page = rustix::param::page_size() as f64;
        assert_eq!(
            vec![
                ("node_sockstat_sockets_used", 9.0),
                ("node_sockstat_TCP_inuse", 5.0),
                ("node_sockstat_TCP_mem", 2.0),
                ("node_sockstat_TCP_mem_bytes", 2.0 * page),
            ],
            values(&sockstat("sockets: used 9\nTCP: inuse 5 mem 2\nUDP: inuse\nbad\n"))
        );
        let snmp = "Tcp: RtoMin MaxConn InSegs InErrs\nTcp: 200 -1 7 8\nIp: Forwarding InOctets\nIp: 1 2\n";
        assert_eq!(
            vec![
                ("node_netstat_Tcp_InSegs", 7.0),
                ("node_netstat_Tcp_InErrs", 8.0),
                ("node_netstat_Ip_Forwarding", 1.0),
            ],
            values(&netstat(snmp))
        );
        assert_eq!(
            vec![("node_netstat_Udp6_InDatagrams", 3.0)],
            values(&netstat6("Udp6InDatagrams   3\nIp6InReceives 5\nbad\n"))
        );
    }

    #[test]
    fn links_are_up_or_not_and_what_is_not_known_is_absent() {
        let sysfs = tempfile::tempdir().unwrap();
        let write = |device: &str, file: &str, text: &str| {
            let folder = sysfs.path().join("class/net").join(device);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
        };
        for (device, state, speed) in [("eth0", "up\n", "1000\n"), ("lo", "unknown\n", "-1\n")] {
            write(device, "operstate", state);
            write(device, "speed", speed);
            write(device, "mtu", "1500\n");
        }
        let [up, mtu, speed] = links(sysfs.path()).try_into().unwrap();
        assert_eq!((2, 2, 1), (up.series.len(), mtu.series.len(), speed.series.len()));
        assert_eq!(("node_network_up", 1.0), values(&[up])[0]);
        assert_eq!(("node_network_speed_bytes", 125_000_000.0), values(&[speed])[0]);
        assert_eq!(0, links(Path::new("/nowhere")).iter().map(|family| family.series.len()).sum::<usize>());
    }
}
