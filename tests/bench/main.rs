//! What the product costs: one program that measures it in six ways.
//!
//! | command | measures | takes |
//! |---|---|---|
//! | `cargo bench` | times of the hot paths; `cargo bench -- fold` only those | 15 s |
//! | `cargo bench -- instructions` | instructions of the hot paths, held against `limits.txt`; part of `tests/run.sh` | 15 s |
//! | `cargo bench -- growth` | the binary with more and more files and series; writes `deploy/performance` | 4 minutes |
//! | `cargo bench -- rules` | 50 rules on a million lines beside the same program in mtail; `rules 100000` fewer lines | 2 minutes |
//! | `cargo bench -- compare` | the binary beside `wc -l` and other exporters; writes `deploy/performance` | 15 minutes |
//! | `cargo bench -- fleet` | 50 and 200 sidecars under one Prometheus; `fleet 10 20` others; writes `deploy/SCALE.md` | 16 minutes |
//!
//! All inputs are made by `traffic`, from seeds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement that cannot be taken ends by panicking, and prints when it can"
)]

mod compare;
#[path = "../support_properties/drive.rs"]
mod drive;
mod fleet;
mod growth;
mod instructions;
mod limits;
mod paths;
mod plot;
mod program;
mod report;
mod rules;
mod speed;
mod traffic;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo adds the flag.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_good = match *words.as_slice() {
        ["instructions"] => instructions::run(false),
        ["instructions", "--update"] => instructions::run(true),
        ["growth"] => {
            growth::run();
            true
        }
        ["compare"] => {
            compare::run();
            true
        }
        ["fleet"] => {
            fleet::run(&[50, 200]);
            true
        }
        ["fleet", ref sizes @ ..] => {
            let size = |size: &&str| size.parse().expect("a number of sidecars");
            fleet::run(&sizes.iter().map(size).collect::<Vec<usize>>());
            true
        }
        ["rules"] => {
            rules::run(1_000_000);
            true
        }
        ["rules", lines] => {
            rules::run(lines.parse().expect("a number of lines"));
            true
        }
        ["take", path, items, input] => {
            instructions::take(path, items, input);
            true
        }
        _ => {
            divan::main();
            true
        }
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
