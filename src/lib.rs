//! inferometer: a sidecar that turns model-server logs into Prometheus metrics.
//!
//! # The one idea
//!
//! State is a fold over log lines. What a scrape sees of a log is a commit of that fold, never something
//! in between.
//!
//! ```text
//!  log file ──read──▶ whole records ──parse──▶ events ──▶ State::apply      thread "follow": plain calls
//!                                                             │ commit, if anything changed
//!                                                   put(Published) ──┐
//!  /proc, /sys, NVML ──▶ thread "collect-NAME" ──▶ put(Reading) ────────┤
//!                                                                    ▼ clone of an Arc
//!                                            render (kept per publication) ─▶ /metrics, /api/v1/status, /
//! ```
//!
//! # The map
//!
//! | module | what it is | never |
//! |---|---|---|
//! | `parsers` (a crate of its own) | bytes in, typed samples out | I/O, clock, threads, anything of ours |
//! | [`state`] | the fold: families, series, values, limits | I/O, clock, locks |
//! | [`follow`] | which files, rotation, truncation, whole records, wake-ups | HTTP |
//! | [`collect`] | host, cgroup, GPU and worker processes, a thread each | the fold, files of logs |
//! | [`metric`] | what an exposition shows: families, series, values, whoever measured them | where they come from |
//! | [`publish`] | where the follower and the collectors put and scrapes take | work under its lock |
//! | [`expose`] | text format, HTTP, page and its charted past | files, the follower's insides |
//! | [`instruments`] | what the process measures about itself, by the `prometheus` crate | facts of the fold |
//! | [`config`] | arguments, environment, file → one valid configuration | being wrong afterwards |
//! | [`run`] | wiring of the commands | being used by any |
//! | `stamp` | whether a file has changed, for `follow`, `collect` and `config` | reading it |
//! | `whole` | files read once from first byte to last, for `replay` and `backfill` | |
//! | [`demo`], `replay`, `backfill`, `check`, `tee`, `probe` | the commands beside `run` | |
//!
//! `tests/tidy.rs` holds these rules.
//!
//! # Invariants
//!
//! - One thread reads and folds; what it publishes is immutable. No lock is held for longer than the swap
//!   of a pointer.
//! - A record is folded when it is whole: its newline has arrived. The offset stands between records.
//! - Nothing newer than the last publication is shown before the first catch-up is done.
//! - One bad line, file or PATH is counted, said once, and passed over. It never stops the process.
//! - All text of a log is hostile: bounded in memory, escaped in every output.

mod backfill;
pub mod check;
pub mod collect;
pub mod config;
pub mod demo;
pub mod exit;
pub mod expose;
pub mod follow;
pub mod instruments;
mod logging;
pub mod metric;
mod probe;
pub mod publish;
mod replay;
pub mod run;
pub mod snapshot;
mod stamp;
pub mod state;
mod tee;
mod whole;
