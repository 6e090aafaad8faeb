//! Files that begin alike: which of them are one log, and which are two.

use crate::support::folders::Folders;
use crate::support::lines::{append, requests};
use crate::support::process::{Server, run, wait_for};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;

fn start(folders: &Folders) -> Server {
    let mut command = run();
    command.arg(folders.logs()).arg("--state.dir").arg(folders.state());
    Server::launch(command).until_ready()
}

/// What a server writes first, each time the same.
fn banner(bytes: usize) -> String {
    let line = "Picked up JAVA_TOOL_OPTIONS: -Xmx4g\n";
    line.repeat(bytes / line.len())
}

#[test]
fn an_archive_that_shares_its_first_line_with_a_longer_log_is_read() {
    let folders = Folders::new();
    let first = banner(40);
    append(&folders.live(), first.clone() + &requests(100));
    let server = start(&folders);
    wait_for(&server, 100.0);
    append(&folders.logs().join("ts_metrics.1.log"), first + &requests(2));
    wait_for(&server, 102.0);
}

#[test]
fn an_archive_is_no_copy_because_of_a_first_line_that_only_begins_alike() {
    let folders = Folders::new();
    append(&folders.live(), format!("{}\n", "x".repeat(300_000)) + &requests(1));
    let server = start(&folders);
    wait_for(&server, 1.0);
    fs::remove_file(folders.live()).unwrap();
    append(&folders.live(), requests(1));
    wait_for(&server, 2.0);
    append(&folders.logs().join("ts_metrics.1.log"), format!("{}\n", "x".repeat(70_000)) + &requests(2));
    wait_for(&server, 4.0);
}

#[test]
fn logs_with_a_long_equal_front_are_two_logs_while_both_are_there() {
    let folders = Folders::new();
    append(&folders.live(), banner(64 * 1024) + &requests(100));
    let server = start(&folders);
    wait_for(&server, 100.0);
    fs::rename(folders.live(), folders.logs().join("ts_metrics.1.log")).unwrap();
    append(&folders.live(), banner(64 * 1024) + &requests(3));
    wait_for(&server, 103.0);
    append(&folders.logs().join("ts_metrics.2.log"), banner(64 * 1024) + &requests(1));
    wait_for(&server, 104.0);
    drop(server);
    wait_for(&start(&folders), 104.0);
}

#[test]
fn a_copy_that_stays_unfinished_is_read_by_nobody() {
    let folders = Folders::new();
    append(&folders.live(), requests(100));
    let server = start(&folders);
    wait_for(&server, 100.0);
    let half = fs::read(folders.live()).unwrap();
    append(&folders.logs().join("ts_metrics.1.log"), &half[..half.len() / 2]);
    append(&folders.live(), requests(1));
    wait_for(&server, 101.0);
    drop(server);
    append(&folders.live(), requests(1));
    wait_for(&start(&folders), 102.0);
}

#[test]
fn a_log_that_was_cut_inside_a_long_line_goes_on_in_its_copy() {
    let folders = Folders::new();
    append(&folders.live(), requests(1) + &"x".repeat(200_000));
    let server = start(&folders);
    wait_for(&server, 1.0);
    let archive = folders.logs().join("ts_metrics.1.log");
    append(&archive, fs::read(folders.live()).unwrap());
    append(&archive, "x\n".to_owned() + &requests(2));
    fs::write(folders.live(), requests(1)).unwrap();
    wait_for(&server, 4.0);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&fs::read(&archive).unwrap()).unwrap();
    fs::write(folders.logs().join("ts_metrics.1.log.gz"), packed.finish().unwrap()).unwrap();
    for count in 5..9_u8 {
        append(&folders.live(), requests(1));
        wait_for(&server, count.into());
    }
}

#[test]
fn a_log_that_lost_its_end_with_the_machine_is_gone_on_with_where_it_is_known() {
    let folders = Folders::new();
    append(&folders.live(), requests(2000));
    let server = start(&folders);
    wait_for(&server, 2000.0);
    let saved = fs::metadata(folders.live()).unwrap().len();
    for count in 1..=5_u32 {
        append(&folders.live(), requests(1));
        wait_for(&server, f64::from(2000 + count));
    }
    drop(server);
    // The last lines never reached the disk; the state did.
    fs::OpenOptions::new().write(true).open(folders.live()).unwrap().set_len(saved).unwrap();
    let server = start(&folders);
    wait_for(&server, 2005.0);
    append(&folders.live(), requests(3));
    wait_for(&server, 2008.0);
    drop(server);
    append(&folders.live(), requests(1));
    wait_for(&start(&folders), 2009.0);
}
