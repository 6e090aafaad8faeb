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

/// The columns that only dashboards made for node_exporter ask for, under its names.
const RARE: &[Column] = &[
    Column::counter("node_network_receive_fifo_total", 5, 1.0, help!("Receive overruns of an interface.")),
    Column::counter("node_network_receive_frame_total", 6, 1.0, help!("Framing errors of an interface.")),
    Column::counter(
        "node_network_receive_compressed_total",
        7,
        1.0,
        help!("Compressed packets received by an interface."),
    ),
    Column::counter(
        "node_network_receive_multicast_total",
        8,
        1.0,
        help!("Multicast packets received by an interface."),
    ),
    Column::counter("node_network_transmit_fifo_total", 13, 1.0, help!("Send overruns of an interface.")),
    Column::counter("node_network_transmit_colls_total", 14, 1.0, help!("Collisions of an interface.")),
    Column::counter("node_network_transmit_carrier_total", 15, 1.0, help!("Carrier losses of an interface.")),
    Column::counter(
        "node_network_transmit_compressed_total",
        16,
        1.0,
        help!("Compressed packets sent by an interface."),
    ),
];

/// What everybody asks for.
pub(super) fn families(dev: &str) -> Vec<FamilyView> {
    table(dev, COLUMNS)
}

/// The rest, for `--compat node_exporter`.
pub(super) fn rare_families(dev: &str) -> Vec<FamilyView> {
    table(dev, RARE)
}

/// `  eth0: 1617569139   65868 …`. A large count may stand right behind the colon.
fn table(dev: &str, columns: &'static [Column]) -> Vec<FamilyView> {
    let mut table = Table::new(columns);
    // The two headings have no colon.
    for (name, counts) in dev.lines().filter_map(|line| line.rsplit_once(':')).take(DEVICES_MAX) {
        let name = name.trim();
        let words: Vec<&str> = [name].into_iter().chain(counts.split_ascii_whitespace()).collect();
        table.push(&label("device", name), &words);
    }
    table.families()
}
