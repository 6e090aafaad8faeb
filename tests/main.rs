//! All integration tests, one program: each module is about one claim or one part of the product, and what
//! they share is compiled once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod alerts;
mod alike;
mod backfill;
mod collect;
mod commands;
mod crash;
mod docs;
mod exactly_once;
mod exposition;
mod faults;
mod fold;
mod golden;
mod gpu;
mod gpu_faults;
mod grafana;
mod grafana_queries;
mod hostile;
mod identity;
mod image;
mod kill;
mod kubernetes;
mod limits;
mod metrics_table;
mod openmetrics;
mod page;
mod pods;
mod prometheus;
mod properties;
mod queries;
mod reload;
mod rotation;
mod rules;
mod rules_examples;
mod scrape;
mod server;
mod server_queries;
mod servers;
mod servers_truth_1;
mod servers_truth_2;
mod support;
mod support_backfill;
mod support_grafana;
mod support_prometheus;
mod support_properties;
mod support_tidy;
mod tee;
mod textfile;
mod tidy;
mod tls;
mod torchserve_queries;
mod uniform;
mod workers;
mod wrappers;
