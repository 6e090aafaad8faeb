//! Network interfaces: `/proc/net/dev`, of our own network namespace.

use crate::collect::kernel::{Column, Table, label};
use crate::metric::FamilyView;

/// A node has an interface per pod; one with more than this shows the first ones.
const DEVICES_MAX: usize = 1000;

macro_rules! help {
    ($what:literal) => {
        concat!($what, " In a container: of the pod.")
    };
}

const COLUMNS: &[Column] = &[
    Column::counter("host_network_receive_bytes_total", 1, 1.0, help!("Bytes received by an interface.")),
    Column::counter("host_network_receive_packets_total", 2, 1.0, help!("Packets received by an interface.")),
    Column::counter(
        "host_network_receive_errs_total",
        3,
        1.0,
        help!("Packets received broken by an interface."),
    ),
    Column::counter(
        "host_network_receive_drop_total",
        4,
        1.0,
        help!("Packets received and dropped by an interface."),
    ),
    Column::counter("host_network_transmit_bytes_total", 9, 1.0, help!("Bytes sent by an interface.")),
    Column::counter("host_network_transmit_packets_total", 10, 1.0, help!("Packets sent by an interface.")),
    Column::counter(
        "host_network_transmit_errs_total",
        11,
        1.0,
        help!("Packets that an interface failed to send."),
    ),
    Column::counter(
        "host_network_transmit_drop_total",
        12,
        1.0,
        help!("Packets to send that an interface dropped."),
    ),
];

/// `  eth0: 1617569139   65868 …`. A large count may stand right behind the colon.
pub(super) fn families(dev: &str) -> Vec<FamilyView> {
    let mut table = Table::new(COLUMNS);
    // The two headings have no colon.
    for (name, counts) in dev.lines().filter_map(|line| line.rsplit_once(':')).take(DEVICES_MAX) {
        let name = name.trim();
        let words: Vec<&str> = [name].into_iter().chain(counts.split_ascii_whitespace()).collect();
        table.push(&label("device", name), &words);
    }
    table.families()
}
