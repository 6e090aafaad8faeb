//! Faults of the ground the follower stands on: full and read-only disks, damaged state, errors and delays
//! of system calls, missing watches, few descriptors, jumps of the clock, things at the live path that are no
//! log.

use crate::support::folders::Folders;
use crate::support::http;
use crate::support::lines::{HOST, append, frontend, requests};
use crate::support::process::{Server, behind, eventually, run, strace, wait_for};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SOURCE: (&str, &str) = ("source", "ts_metrics.log");

// --- The disk below the state folder.

#[test]
fn a_disk_that_fills_up_stops_neither_reading_nor_commits() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let server = Server::launch(scene.on_small_disk(&scene.command(), "true")).until_ready();
    append(&scene.0.live(), requests(1));
    wait_for(&server, 2.0);
    // Both slots have their room by now.
    let filler = scene.seen_by(&server).join("filler");
    fill(&filler);
    append(&scene.0.live(), requests(3));
    wait_for(&server, 5.0);
    assert_eq!(Some(0.0), server.value("inferometer_commit_failures_total", &[]), "{}", server.log());
    assert_eq!(Some(1.0), server.value("inferometer_durable", &[]));
}

#[test]
fn a_disk_that_is_full_at_the_start_keeps_nothing_from_being_counted() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(2));
    let full = "! head -c 100k /dev/zero 2>/dev/null >\"$STATE/filler\"";
    let server = Server::launch(scene.on_small_disk(&scene.command(), full)).until_ready();
    wait_for(&server, 2.0);
    assert_eq!(Some(0.0), server.value("inferometer_durable", &[]), "{}", server.log());
    assert!(server.value("inferometer_commit_failures_total", &[]).unwrap() > 0.0);
    fs::remove_file(scene.seen_by(&server).join("filler")).unwrap();
    becomes(&server, "inferometer_durable", &[], 1.0);
    append(&scene.0.live(), requests(1));
    wait_for(&server, 3.0);
}

#[test]
fn a_state_folder_that_turns_read_only_delays_what_is_shown_by_half_a_minute_at_most() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let server = Server::launch(scene.in_own_mounts(&scene.command(), "true")).until_ready();
    append(&scene.0.live(), requests(1));
    wait_for(&server, 2.0);
    assert_eq!(Some(1.0), server.value("inferometer_durable", &[]));
    scene.mount(&server, "mount --bind \"$STATE\" \"$STATE\" && mount -o remount,ro,bind \"$STATE\"");
    let start = Instant::now();
    append(&scene.0.live(), requests(1));
    eventually("a commit fails", || {
        (server.value("inferometer_commit_failures_total", &[])? > 0.0).then_some(())
    });
    // What is shown is durable as long as the last durable snapshot is what is shown.
    let body = server.scrape();
    if start.elapsed() < Duration::from_secs(25) {
        assert_eq!(Some(2.0), body.value("Requests2XX", HOST));
        assert_eq!(Some(1.0), body.value("inferometer_durable", &[]));
    }
    // In two parts, since the patience of one poll may be less than these 30 seconds.
    eventually("20 s have passed", || (start.elapsed() > Duration::from_secs(20)).then_some(()));
    wait_for(&server, 3.0);
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    assert_eq!(Some(0.0), server.value("inferometer_durable", &[]));
    assert_eq!(200, http::get(server.address, "/-/healthy").status);
    scene.mount(&server, "umount \"$STATE\"");
    becomes(&server, "inferometer_durable", &[], 1.0);
    // What is durable again is what was shown.
    server.kill();
    append(&scene.0.live(), requests(1));
    let server = scene.ready();
    wait_for(&server, 4.0);
}

#[test]
fn a_state_folder_that_is_read_only_at_the_start_keeps_its_positions() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(2));
    let server = scene.ready();
    wait_for(&server, 2.0);
    server.kill();
    append(&scene.0.live(), requests(1));
    let read_only = "mount --bind \"$STATE\" \"$STATE\" && mount -o remount,ro,bind \"$STATE\"";
    let server = Server::launch(scene.in_own_mounts(&scene.command(), read_only)).until_ready();
    assert_eq!(Some(0.0), server.value("inferometer_durable", &[]), "{}", server.log());
    // Counters start anew, and what was counted before is not counted again.
    assert_eq!(Some(1.0), server.value("Requests2XX", HOST), "{}", server.log());
}

#[test]
fn a_state_folder_that_is_missing_is_made() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    assert!(!scene.0.state().exists());
    let server = scene.ready();
    wait_for(&server, 1.0);
    assert_eq!(Some(1.0), server.value("inferometer_durable", &[]));
    server.kill();
    append(&scene.0.live(), requests(1));
    wait_for(&scene.ready(), 2.0);
}

// --- Damaged state.

#[test]
fn a_flipped_byte_in_the_newest_slot_costs_nothing() {
    let scene = Scene::new();
    scene.count_and_kill();
    flip(&scene.newest_slot());
    append(&scene.0.live(), requests(1));
    let server = Server::launch(scene.command());
    eventually("3 lines are counted, and never less are shown", || {
        let observed = server.value("Requests2XX", HOST)?;
        assert!(observed >= 2.0, "{observed}:\n{}", server.log());
        (observed >= 3.0).then_some(())
    });
    wait_for(&server, 3.0);
    assert_eq!(Some(0.0), server.value("inferometer_state_resets_total", &[]));
}

#[test]
fn a_kill_before_the_catch_up_after_a_damaged_slot_lets_no_counter_go_back() {
    let scene = Scene::new();
    scene.count_and_kill();
    flip(&scene.newest_slot());
    // The older snapshot takes the place of the damaged one before the log is read. It must not be taken
    // for the newest by the start after it.
    let live = scene.0.live();
    let trace = scene.0.trace();
    let at_live = |inject: &str| {
        let inject = format!("inject=openat:{inject}");
        strace(
            &["-o", &trace, "-P", live.to_str().unwrap(), "-e", "trace=openat", "-e", &inject],
            &scene.command(),
        )
    };
    let mut killed = Server::start(at_live("signal=SIGKILL:when=1"));
    eventually("SIGKILL at the opening of the log", || killed.ended());
    // Two seconds, in which the restored state can be seen.
    let server = Server::launch(at_live("delay_enter=2000000:when=1"));
    eventually("2 lines are counted, and never less are shown", || {
        let observed = server.value("Requests2XX", HOST)?;
        assert!(observed >= 2.0, "went back to {observed}:\n{}", server.log());
        (observed >= 2.0).then_some(())
    });
}

#[test]
fn garbage_in_both_slots_is_a_reset_that_is_counted() {
    let scene = Scene::new();
    scene.count_and_kill();
    scene.slots().iter().for_each(|slot| fs::write(slot, "garbage\n".repeat(1000)).unwrap());
    append(&scene.0.live(), requests(1));
    let server = scene.ready();
    wait_for(&server, 3.0);
    assert_eq!(Some(1.0), server.value("inferometer_state_resets_total", &[]));
    assert_eq!(Some(1.0), server.value("inferometer_durable", &[]));
}

// --- System calls that wait or fail.

#[test]
fn a_sync_of_ten_seconds_delays_no_scrape() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let slow = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=10000000:when=3+3"];
    let server = Server::launch(scene.traced(&slow)).until_ready();
    let start = Instant::now();
    let mut counted = 0.0;
    // Lines keep coming, so that a commit is always pending.
    while start.elapsed() < Duration::from_secs(14) {
        append(&scene.0.live(), requests(1));
        let asked = Instant::now();
        let observed = server.value("Requests2XX", HOST).unwrap_or_default();
        assert!(observed >= counted);
        counted = observed;
        assert_eq!(200, http::get(server.address, "/-/healthy").status, "after {:?}", start.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(100)); // allow-sleep: pacing a bounded loop
    }
    let trace = fs::read_to_string(scene.0.trace()).unwrap();
    assert!(trace.contains("(DELAYED)"), "nothing was delayed:\n{trace}");
}

#[test]
fn reads_that_fail_now_and_then_count_each_line_once() {
    // Different distances, so that each read of a look is hit: before, at and after the chunk. None is below
    // 4, or each of the three reads that a chunk takes could fail for ever.
    let servers: Vec<(Scene, Server)> = ["EIO:when=9+7", "EIO:when=10+4", "EIO:when=3+5", "EINTR:when=8+5"]
        .iter()
        .map(|fault| {
            let scene = Scene::new();
            append(&scene.0.live(), requests(1));
            let inject = format!("inject=pread64:error={fault}");
            let live = scene.0.live();
            let options = ["-P", live.to_str().unwrap(), "-e", "trace=pread64", "-e", &inject];
            let server = Server::launch(scene.traced(&options)).until_ready();
            (scene, server)
        })
        .collect();
    let injected = |scene: &Scene| fs::read_to_string(scene.0.trace()).unwrap().matches("(INJECTED)").count();
    for (scene, server) in &servers {
        // Each line is a read of its own.
        for count in 2..300_u16 {
            append(&scene.0.live(), requests(1));
            wait_for(server, count.into());
            if injected(scene) > 10 {
                break;
            }
        }
        assert!(injected(scene) > 10, "{} injections", injected(scene));
    }
}

#[test]
fn reads_that_return_a_few_bytes_count_each_line_once() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(100));
    let library = short_reads(scene.0.path());
    let calls = scene.0.path().join("short reads");
    let mut command = scene.command();
    command.env("LD_PRELOAD", &library).env("SHORT_READS", &calls);
    let server = Server::launch(command).until_ready();
    wait_for(&server, 100.0);
    for count in 101..120_u8 {
        append(&scene.0.live(), requests(1));
        wait_for(&server, count.into());
    }
    drop(server);
    fs::rename(scene.0.live(), scene.0.logs().join("ts_metrics.1.log")).unwrap();
    append(&scene.0.live(), requests(2));
    let mut command = scene.command();
    command.env("LD_PRELOAD", &library).env("SHORT_READS", &calls);
    wait_for(&Server::launch(command).until_ready(), 121.0);
    let cut = fs::metadata(calls).unwrap().len();
    assert!(cut > 1000, "{cut} reads were cut short");
}

#[test]
fn jumps_of_the_clock_neither_lose_nor_forget_anything() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1) + &frontend("MemoryUsed.Megabytes:5.0", "Level:Host"));
    let clock = scene.0.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let start = || {
        let mut command = scene.command();
        command
            .args(["--gauge-ttl", "1h", "--series-ttl", "1d"])
            .env("LD_PRELOAD", library("faketime/libfaketime.so.1"))
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .envs([("FAKETIME_NO_CACHE", "1"), ("DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
        Server::launch(command).until_ready()
    };
    let mut server = Some(start());
    wait_for(server.as_ref().unwrap(), 1.0);
    let years = |server: &Server| {
        let read = server.value("inferometer_source_last_read_timestamp_seconds", &[SOURCE]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        ((read - now) / 86_400.0 / 365.0).round()
    };
    let mut truth = 1.0;
    for (jump, expected, restarts) in [
        ("+365d", 1.0, false),
        ("-365d", -1.0, false),
        ("+730d", 2.0, true),
        ("-730d", -2.0, true),
        ("+0", 0.0, true),
    ] {
        if restarts {
            server = None;
        }
        fs::write(&clock, jump).unwrap();
        append(&scene.0.live(), requests(1));
        truth += 1.0;
        let server = server.get_or_insert_with(start);
        wait_for(server, truth);
        assert_eq!(expected, years(server), "the clock has jumped");
        assert_eq!(Some(5.0), server.value("MemoryUsed", HOST), "{jump}: a gauge does not age by a jump");
    }
}

#[test]
fn an_archive_that_cannot_be_opened_once_is_read_later() {
    let scene = Scene::new();
    scene.count_and_kill();
    append(&scene.0.live(), requests(2));
    let archive = scene.0.logs().join("ts_metrics.1.log");
    fs::rename(scene.0.live(), &archive).unwrap();
    append(&scene.0.live(), requests(1));
    let once = ["-P", archive.to_str().unwrap(), "-e", "trace=openat", "-e"];
    let server = Server::launch(scene.traced(&[&once[..], &["inject=openat:error=EIO:when=1"]].concat()))
        .until_ready();
    wait_for(&server, 5.0);
    assert_eq!(Some(0.0), server.value("inferometer_gaps_total", &[SOURCE]), "{}", server.log());
}

#[test]
fn history_that_cannot_be_read_stays_history() {
    let scene = Scene::new();
    let archive = scene.0.logs().join("ts_metrics.1.log");
    append(&archive, requests(100));
    append(&scene.0.live(), requests(1));
    let options = ["-P", archive.to_str().unwrap(), "-e", "trace=openat", "-e"];
    let server =
        Server::launch(scene.traced(&[&options[..], &["inject=openat:error=EIO"]].concat())).until_ready();
    wait_for(&server, 1.0);
    server.kill();
    append(&scene.0.live(), requests(1));
    wait_for(&scene.ready(), 2.0);
}

#[test]
fn without_file_events_lines_are_counted_by_polling() {
    for fault in ["inotify_add_watch:error=ENOSPC", "inotify_init1:error=EMFILE"] {
        let scene = Scene::new();
        append(&scene.0.live(), requests(1));
        let (call, _) = fault.split_once(':').unwrap();
        let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
        let server = Server::launch(scene.traced(&["-e", &trace, "-e", &inject])).until_ready();
        append(&scene.0.live(), requests(3));
        wait_for(&server, 4.0);
        let text = fs::read_to_string(scene.0.trace()).unwrap();
        assert!(text.contains("(INJECTED)"), "{fault} was never injected:\n{text}");
    }
}

#[test]
fn descriptors_that_run_out_cost_no_line() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let server = Server::launch(behind(&["prlimit", "--nofile=64:64"], &scene.command())).until_ready();
    let connections: Vec<TcpStream> =
        (0..100).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    assert!(connections.len() > 50, "{}", connections.len());
    // Two rotations while nothing can be opened; nothing tells when they have been looked at, or not.
    for number in 1..=2 {
        append(&scene.0.live(), requests(5));
        std::thread::sleep(Duration::from_millis(300)); // allow-sleep: some looks without descriptors
        fs::rename(scene.0.live(), scene.0.logs().join(format!("ts_metrics.{number}.log"))).unwrap();
        append(&scene.0.live(), requests(5));
        std::thread::sleep(Duration::from_millis(300)); // allow-sleep: some looks without descriptors
    }
    drop(connections);
    wait_for(&server, 21.0);
    assert_eq!(200, http::get(server.address, "/-/healthy").status);
}

// --- Two instances.

#[test]
fn a_second_instance_waits_for_the_first_and_goes_on_exactly() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let mut first = scene.ready();
    let second = Server::launch(scene.command());
    second.log_with("another instance");
    assert_eq!(503, http::get(second.address, "/-/ready").status);
    assert_eq!(200, http::get(second.address, "/-/healthy").status);
    let body = second.scrape();
    assert!(body.families.contains_key("inferometer_build_info"));
    assert_eq!(None, body.value("Requests2XX", HOST));
    assert!(second.page().contains("another instance"), "{}", second.page());
    append(&scene.0.live(), requests(4));
    wait_for(&first, 5.0);
    assert!(first.terminate().success());
    append(&scene.0.live(), requests(2));
    eventually("the second instance goes on from 5 to 7", || {
        let observed = second.value("Requests2XX", HOST)?;
        assert!((5.0..=7.0).contains(&observed), "{observed}");
        (observed >= 7.0).then_some(())
    });
    eventually("/-/ready", || (http::get(second.address, "/-/ready").status == 200).then_some(()));
    assert!(!second.page().contains("another instance"));
    wait_for(&second, 7.0);
}

// --- What stands at the live path.

#[test]
fn what_is_no_log_at_the_live_path_is_left_alone_until_a_log_comes() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let other = scene.0.logs().join("access_log.log");
    append(&other, "x\n");
    let secret = scene.0.path().join("outside/secret.log");
    append(&secret, requests(50));
    let server = scene.ready();
    let mut truth = 1.0;
    wait_for(&server, truth);
    let places: [Place<'_>; 5] = [
        ("a FIFO", &|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ("a folder", &|path| fs::create_dir(path).unwrap()),
        ("a device", &|path| {
            let made = Command::new("mknod").arg(path).args(["c", "1", "5"]).status();
            assert!(made.unwrap().success(), "mknod needs root");
        }),
        ("a loop", &|path| symlink(path, path).unwrap()),
        ("a link that leads out", &|path| symlink(&secret, path).unwrap()),
    ];
    for (round, (what, place)) in places.iter().enumerate() {
        fs::rename(scene.0.live(), scene.0.logs().join(format!("ts_metrics.{round}.log"))).unwrap();
        place(&scene.0.live());
        for _ in 0..3 {
            pass(&server, &other);
        }
        assert_eq!(Some(truth), server.value("Requests2XX", HOST), "{what}:\n{}", server.log());
        assert_eq!(200, http::get(server.address, "/-/healthy").status, "{what}");
        // The other file, and each rotated one, which is held for some seconds.
        let held = opened(&server).iter().filter(|path| path.starts_with(scene.0.path())).count();
        assert!(held <= round + 3, "{what}: {:?}", opened(&server));
        if scene.0.live().is_dir() {
            fs::remove_dir(scene.0.live()).unwrap();
        } else {
            fs::remove_file(scene.0.live()).unwrap();
        }
        append(&scene.0.live(), requests(1));
        truth += 1.0;
        wait_for(&server, truth);
    }
}

#[test]
fn a_fifo_that_is_named_holds_nothing_up() {
    let scene = Scene::new();
    let fifo = scene.0.path().join("fifo.log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    append(&scene.0.live(), requests(1));
    let mut command = run();
    command.arg(&fifo).arg(scene.0.logs());
    let mut server = Server::launch(command).until_ready();
    wait_for(&server, 1.0);
    assert!(server.terminate().success());
}

#[test]
fn a_log_that_was_replaced_while_nobody_looked_is_a_gap() {
    let scene = Scene::new();
    scene.count_and_kill();
    fs::remove_file(scene.0.live()).unwrap();
    append(&scene.0.live(), requests(1));
    let server = scene.ready();
    wait_for(&server, 3.0);
    assert_eq!(Some(1.0), server.value("inferometer_gaps_total", &[SOURCE]));
}

#[test]
fn a_gap_is_counted_beside_an_archive_that_stays_empty() {
    let scene = Scene::new();
    scene.count_and_kill();
    fs::remove_file(scene.0.live()).unwrap();
    append(&scene.0.logs().join("ts_metrics.1.log"), "");
    append(&scene.0.live(), requests(1));
    let server = scene.ready();
    wait_for(&server, 3.0);
    becomes(&server, "inferometer_gaps_total", &[SOURCE], 1.0);
}

#[test]
fn a_log_that_was_deleted_while_nobody_looked_is_a_gap() {
    let scene = Scene::new();
    append(&scene.0.logs().join("access_log.log"), "x\n");
    scene.count_and_kill();
    fs::remove_file(scene.0.live()).unwrap();
    let server = scene.ready();
    becomes(&server, "inferometer_gaps_total", &[SOURCE], 1.0);
    wait_for(&server, 2.0);
}

#[test]
fn a_torn_last_line_of_an_archive_is_counted_once() {
    let scene = Scene::new();
    append(&scene.0.live(), requests(1));
    let server = scene.ready();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all((requests(1) + "torn").as_bytes()).unwrap();
    append(&scene.0.logs().join("ts_metrics.1.log.gz"), encoder.finish().unwrap());
    wait_for(&server, 2.0);
    for _ in 0..3 {
        let before = server.value("Requests2XX", HOST).unwrap();
        append(&scene.0.live(), requests(1));
        wait_for(&server, before + 1.0);
    }
    let body = server.scrape();
    assert_eq!(Some(1.0), body.value("inferometer_lines_total", &[SOURCE, ("outcome", "torn")]));
    assert_eq!(Some(1.0), body.value("inferometer_archives_total", &[SOURCE]));
}

#[test]
fn a_mount_of_a_single_file_that_was_replaced_outside_is_said_to_be_stale() {
    let scene = Scene::new();
    let (outside, inside) = (scene.0.path().join("outside.log"), scene.0.live());
    append(&outside, requests(1));
    append(&inside, "");
    let script = format!("mount --bind {} {}", outside.display(), inside.display());
    let server = Server::launch(scene.in_own_mounts(&scene.command(), &script)).until_ready();
    wait_for(&server, 1.0);
    assert_eq!(Some(0.0), server.value("inferometer_source_stale", &[SOURCE]));
    append(&outside, requests(1));
    wait_for(&server, 2.0);
    fs::remove_file(&outside).unwrap();
    append(&outside, requests(1));
    becomes(&server, "inferometer_source_stale", &[SOURCE], 1.0);
    assert_eq!(1, server.log().matches("mount its folder").count(), "{}", server.log());
    assert_eq!(Some(2.0), server.value("Requests2XX", HOST));
}

// --- Helpers.

/// What stands at a path, and how it gets there.
type Place<'a> = (&'a str, &'a dyn Fn(&Path));

/// What the server runs on.
struct Scene(Folders);

impl Scene {
    fn new() -> Self {
        Self(Folders::new())
    }

    fn slots(&self) -> [PathBuf; 2] {
        ["slot-a", "slot-b"].map(|name| self.0.state().join(name))
    }

    /// The slot with the higher sequence number.
    fn newest_slot(&self) -> PathBuf {
        let sequence = |path: &PathBuf| {
            let mut number = [0; 8];
            File::open(path).unwrap().read_exact_at(&mut number, 8).unwrap();
            u64::from_le_bytes(number)
        };
        self.slots().into_iter().max_by_key(sequence).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = run();
        command
            .arg(self.0.logs())
            .args(["--state.commit-interval", "100ms", "--state.dir"])
            .arg(self.0.state());
        command
    }

    fn ready(&self) -> Server {
        Server::launch(self.command()).until_ready()
    }

    fn traced(&self, options: &[&str]) -> Command {
        strace(&[&["-o", &self.0.trace()], options].concat(), &self.command())
    }

    /// Counts 2 lines, in a commit each, and dies.
    fn count_and_kill(&self) {
        append(&self.0.live(), requests(1));
        let server = self.ready();
        wait_for(&server, 1.0);
        append(&self.0.live(), requests(1));
        wait_for(&server, 2.0);
        server.kill();
    }

    /// In a mount namespace of its own, where a script prepares `$STATE`. This needs root; a refusal is in
    /// the log that the failing start shows.
    fn in_own_mounts(&self, command: &Command, script: &str) -> Command {
        fs::create_dir_all(self.0.state()).unwrap();
        let script = format!("set -e; {script}; exec \"$@\"");
        let mut command = behind(&["unshare", "--mount", "sh", "-c", &script, "sh"], command);
        command.env("STATE", self.0.state());
        command
    }

    fn on_small_disk(&self, command: &Command, script: &str) -> Command {
        let script = format!("mount -t tmpfs -o size=64k tmpfs \"$STATE\"; {script}");
        self.in_own_mounts(command, &script)
    }

    /// The state folder as a server in its own mount namespace sees it.
    fn seen_by(&self, server: &Server) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", server.id()));
        root.join(self.0.state().strip_prefix("/").unwrap())
    }

    /// Changes the mounts of a server.
    fn mount(&self, server: &Server, script: &str) {
        let target = server.id().to_string();
        let status = Command::new("nsenter")
            .args(["--mount", "--target", &target, "sh", "-c", script])
            .env("STATE", self.0.state())
            .stdin(Stdio::null())
            .status();
        assert!(status.expect("nsenter starts").success(), "{script}");
    }
}

/// Waits until so many lines are counted; they may never be more.
#[track_caller]
fn becomes(server: &Server, name: &str, labels: &[(&str, &str)], expected: f64) {
    eventually(&format!("{name} = {expected}"), || {
        (server.value(name, labels)?.to_bits() == expected.to_bits()).then_some(())
    });
}

/// Returns when all files have been looked at again, by a line in one that is followed.
fn pass(server: &Server, log: &Path) {
    let lines = || -> f64 {
        let body = server.scrape();
        let is_ours = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get("source").is_some_and(|source| source == "access_log.log")
        };
        let ours = body
            .samples
            .iter()
            .filter(|((name, labels), _)| name == "inferometer_lines_total" && is_ours(labels));
        ours.map(|(_, bits)| f64::from_bits(*bits)).sum()
    };
    let before = lines();
    append(log, "x\n");
    eventually("a line of the other file is counted", || (lines() > before).then_some(()));
}

/// The files that a server has open, its state among them.
fn opened(server: &Server) -> Vec<PathBuf> {
    let fds = fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok()).collect()
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let chunk = [b'x'; 4096];
    let written = (0..1000).take_while(|_| file.write_all(&chunk).is_ok()).count();
    assert!(written < 1000, "the disk is not small");
}

/// A library of the system's, below the folder for this machine's kind of processor.
fn library(name: &str) -> PathBuf {
    let found = glob::glob(&format!("/usr/lib/*/{name}")).unwrap().flatten().next();
    found.unwrap_or_else(|| panic!("the Debian package that has {name} is installed"))
}

/// Builds a library that lets `pread64` return 7 bytes at most, and adds a byte to `$SHORT_READS` each time
/// that this was less than was asked for.
fn short_reads(folder: &Path) -> PathBuf {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <unistd.h>
        ssize_t pread64(int file, void *space, size_t length, off64_t offset) {
            static ssize_t (*real)(int, void *, size_t, off64_t);
            static int calls = -1;
            if (!real) {
                real = dlsym(RTLD_NEXT, "pread64");
                calls = open(getenv("SHORT_READS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            }
            if (length > 7) {
                length = 7;
                (void)!write(calls, "x", 1);
            }
            return real(file, space, length, offset);
        }
    "#;
    let (source, library) = (folder.join("short_reads.c"), folder.join("short_reads.so"));
    fs::write(&source, SOURCE).unwrap();
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(status.success(), "cc builds it");
    library
}

/// Flips a byte of a slot's payload.
fn flip(slot: &Path) {
    let file = File::options().read(true).write(true).open(slot).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], 100).unwrap();
}
