//! `inferometer tee` with the real binary: every byte goes on, the file gets every line once while a follower reads
//! it, and neither the disk nor the reader of the output can stop the server.

use crate::support::folders::Folders;
use crate::support::lines::requests;
use crate::support::process::{Server, eventually, inferometer, stderr, strace, wait_for};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn tee(file: &Path, arguments: &[&str]) -> Command {
    let mut command = inferometer();
    command.arg("tee").arg(file).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a server of shell commands to its end.
fn serve(file: &Path, script: &str) -> Output {
    tee(file, &["--", "sh", "-c", script]).stdin(Stdio::null()).output().unwrap()
}

/// The same by way of another program.
fn under(program: &[&str], command: &Command) -> Command {
    let mut other = Command::new(program[0]);
    other.args(&program[1..]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    other
}

fn signal(process: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.id())]).status();
    assert!(status.unwrap().success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_pipe_goes_on_byte_for_byte_and_the_file_is_the_same() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let mut child = tee(&file, &[]).spawn().unwrap();
    let mut input: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    input.extend_from_slice(b"\nthe last line has no end");
    let mut stdin = child.stdin.take().unwrap();
    let sent = input.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(Some(0), output.status.code());
    assert!(input == output.stdout, "{} bytes of {}", output.stdout.len(), input.len());
    assert!(input == std::fs::read(&file).unwrap());
    assert_eq!("", stderr(&output));
}

#[test]
fn each_line_counts_once_while_the_file_is_rotated_under_a_follower() {
    let folders = Folders::new();
    let file = folders.live();
    let mut child =
        tee(&file, &["--max-bytes", "4096", "--keep", "2"]).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let state = folders.state();
    let arguments = ["--state.commit-interval", "50ms", "--state.dir", state.to_str().unwrap()];
    let mut server = Server::ready(&folders.logs(), &arguments);
    let mut expected = 0;
    for round in 0..60_usize {
        let count = round % 25 + 1;
        expected += count;
        stdin.write_all(requests(count).as_bytes()).unwrap();
        // A follower that keeps pace: what is three files behind is gone.
        wait_for(&server, expected as f64);
        if round == 30 {
            server.kill();
            server = Server::ready(&folders.logs(), &arguments);
        }
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    wait_for(&server, expected as f64);
    let body = server.scrape();
    let source = [("source", "ts_metrics.log")];
    assert!(body.value("inferometer_rotations_total", &source).unwrap() > 10.0);
    assert_eq!(Some(0.0), body.value("inferometer_gaps_total", &source));
    assert_eq!(Some(0.0), body.value("inferometer_truncations_total", &source));
    let lengths: Vec<u64> = std::fs::read_dir(folders.logs())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(3, lengths.len());
    assert!(lengths.iter().all(|length| *length <= 4096), "{lengths:?}");
}

#[test]
fn a_servers_outputs_and_its_exit_code_are_passed_on() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let output = serve(&file, "echo out; echo err >&2; exit 7");
    assert_eq!(Some(7), output.status.code());
    assert_eq!(("out\n", "err\n"), (&*text(&output.stdout), &*text(&output.stderr)));
    let mut lines: Vec<String> = std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(vec!["err", "out"], lines);
    // By a signal as a shell says it.
    assert_eq!(Some(128 + 9), serve(&file, "kill -9 $$").status.code());
    assert_eq!(Some(0), serve(&file, "true").status.code());
}

#[test]
fn a_command_that_cannot_be_started_ends_as_in_a_shell() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let output = tee(&file, &["--", "/nowhere/server"]).output().unwrap();
    assert_eq!(Some(127), output.status.code());
    assert!(stderr(&output).contains("cannot start /nowhere/server: "), "{}", stderr(&output));
    let none = folders.path().join("none");
    std::fs::write(&none, "").unwrap();
    std::fs::set_permissions(&none, PermissionsExt::from_mode(0o600)).unwrap();
    let output = tee(&file, &["--", none.to_str().unwrap()]).output().unwrap();
    assert_eq!(Some(126), output.status.code());
}

#[test]
fn signals_go_to_the_server() {
    let folders = Folders::new();
    for (name, code) in [("TERM", 3), ("INT", 4), ("HUP", 5), ("USR1", 6), ("USR2", 7), ("QUIT", 8)] {
        let script = format!(
            "trap 'echo got {name}; exit {code}' {name}; echo ready; while :; do read line <&3 || :; done"
        );
        // It waits on a FIFO that nobody writes to, and no signal is lost in that.
        let fifo = folders.path().join(format!("fifo-{name}"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = format!("exec 3<>{}; {script}", fifo.display());
        let file = folders.logs().join(format!("{name}.log"));
        // Whoever runs the tests in the background may have them ignore some.
        let mut child = under(&["env", "--default-signal"], &tee(&file, &["--", "sh", "-c", &script]))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!("ready", lines.next().unwrap().unwrap());
        signal(&child, name);
        assert_eq!(format!("got {name}"), lines.next().unwrap().unwrap());
        assert_eq!(Some(code), child.wait().unwrap().code());
        assert_eq!(format!("ready\ngot {name}\n"), std::fs::read_to_string(&file).unwrap());
    }
}

#[test]
fn a_server_that_leaves_a_process_behind_holds_up_nobody() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let output = serve(&file, "echo started; sleep 60 >/dev/null 2>&1 & exit 2");
    assert_eq!((Some(2), "started\n"), (output.status.code(), &*text(&output.stdout)));
}

#[test]
fn a_full_disk_costs_lines_of_the_file_and_nothing_else() {
    // Nothing can be written to it, and it can be opened.
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    std::fs::write(&file, "").unwrap();
    let mut command = tee(&file, &[]);
    command.arg("--").args(["sh", "-c", "seq 1 20000; exit 9"]);
    // The limit on a file's size stands in for a full disk: a write fails after a part of it.
    let output = under(&["prlimit", "--fsize=8192"], &command).output().unwrap();
    let all: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert!(all == text(&output.stdout), "{}", output.stdout.len());
    let (written, message) = (std::fs::read_to_string(&file).unwrap(), stderr(&output));
    assert!(written.is_empty() || written.ends_with('\n'), "half a line");
    assert!(written.len() <= 8192, "{}", written.len());
    let left_out = 20_000 - written.lines().count();
    let expected =
        format!("{left_out} lines ({} bytes) have been left out so far: ", all.len() - written.len());
    assert!(message.contains(&expected), "{expected}: {message}");
    assert_eq!(Some(9), output.status.code(), "{message}");
}

#[test]
fn a_full_disk_keeps_the_whole_lines_that_it_took() {
    // A follower may have counted them already: taken away and followed by other lines, they would count again.
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let all = folders.path().join("all");
    let line = "a line of twenty b.\n";
    std::fs::write(&all, line.repeat(3000)).unwrap();
    let command = tee(&file, &["--", "dd", "bs=60000", "status=none", &format!("if={}", all.display())]);
    let output = under(&["prlimit", "--fsize=8192"], &command).output().unwrap();
    assert_eq!(line.repeat(8192 / 20), std::fs::read_to_string(&file).unwrap());
    let left_out = 3000 - 8192 / 20;
    let message = stderr(&output);
    assert!(message.contains(&format!("{left_out} lines ({} bytes) have been", left_out * 20)), "{message}");
}

#[test]
fn a_file_that_cannot_be_opened_is_no_reason_not_to_serve() {
    let folders = Folders::new();
    let output = serve(&folders.logs(), "echo served");
    assert_eq!((Some(0), "served\n"), (output.status.code(), &*text(&output.stdout)));
    let message = stderr(&output);
    assert!(message.contains("1 lines (7 bytes) have been left out so far: not a regular file"), "{message}");
}

#[test]
fn a_disk_that_hangs_does_not_stop_the_server() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let mut command = tee(&file, &["--", "sh", "-c", "seq 1 3000000; exit 5"]);
    command.stdin(Stdio::null());
    // Each write to the file takes seconds; no other one is held up.
    let (path, trace) = (file.to_str().unwrap(), folders.trace());
    let slow = ["-o", &trace, "-P", path, "-e", "trace=write", "-e", "inject=write:delay_enter=5000000"];
    let mut command = strace(&slow, &command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!((Some(5), 3_000_000), (output.status.code(), text(&output.stdout).lines().count()));
    let message = stderr(&output);
    assert!(message.contains("left out so far: the disk is too slow"), "{message}");
}

#[test]
fn nobody_reading_the_output_does_not_stop_the_file() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let mut child = tee(&file, &["--", "sh", "-c", "seq 1 50000"]).stdin(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(Some(0), child.wait().unwrap().code());
    assert_eq!(50_000, std::fs::read_to_string(&file).unwrap().lines().count());
}

#[test]
fn a_pipe_is_not_ended_by_the_first_signal_but_by_the_second() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let mut child = tee(&file, &[]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut echo = |line: &str| {
        stdin.write_all(line.as_bytes()).unwrap();
        let mut back = vec![0; line.len()];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(line, text(&back));
    };
    echo("before\n");
    signal(&child, "TERM");
    echo("the server's last words\n");
    eventually("the second signal is obeyed", || signal_if_alive(&mut child));
    let status = child.wait().unwrap();
    assert_eq!((Some(128 + 2), None), (status.code(), status.signal()));
    assert_eq!("before\nthe server's last words\n", std::fs::read_to_string(&file).unwrap());
}

/// Two signals that come together are one.
fn signal_if_alive(child: &mut Child) -> Option<()> {
    if child.try_wait().unwrap().is_none() {
        Command::new("sh").args(["-c", &format!("kill -INT {} 2>/dev/null", child.id())]).status().unwrap();
        return None;
    }
    Some(())
}

#[test]
fn an_open_file_that_is_taken_away_is_made_again() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let mut child = tee(&file, &[]).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    eventually("the file", || std::fs::read_to_string(&file).ok().filter(|text| text == "one\n"));
    std::fs::remove_file(&file).unwrap();
    eventually("a file of the same name", || {
        stdin.write_all(b"two\n").unwrap();
        std::fs::read_to_string(&file).ok().filter(|text| text.starts_with("two\n"))
    });
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_output_that_nobody_reads_does_not_hold_back_the_servers_end() {
    let folders = Folders::new();
    // Whoever is to say what the file has not got waits for the same pipe.
    let script = "seq 1 100000 >&2 & exit 3";
    let mut child = tee(&folders.logs(), &["--", "sh", "-c", script]).stdin(Stdio::null()).spawn().unwrap();
    let status = eventually("the end", || child.try_wait().unwrap());
    assert_eq!(Some(3), status.code());
}

#[test]
fn a_line_without_its_end_is_the_files_last_one_whichever_output_ends_first() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let script = "printf 'one\\nhalf'; exec >&-; echo later >&2; read line";
    let mut child = tee(&file, &["--", "sh", "-c", script]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!("later", said.next().unwrap().unwrap());
    drop(child.stdin.take());
    child.wait().unwrap();
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(["one\nlater\nhalf", "later\none\nhalf"].contains(&&*written), "{written:?}");
    assert_eq!(None, said.next().transpose().unwrap());
}

#[test]
fn a_server_behind_nohup_outlives_its_terminal() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let command = tee(&file, &["--", "sh", "-c", "kill -HUP $$; echo alive"]);
    let output = under(&["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"], &command).output().unwrap();
    assert_eq!((Some(0), "alive\n"), (output.status.code(), &*text(&output.stdout)));
}

#[test]
fn an_output_that_somebody_made_non_blocking_gets_all_of_it() {
    let folders = Folders::new();
    let file = folders.logs().join("server.log");
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut command = tee(&file, &["--", "seq", "1", "300000"]);
    let child = command.stdin(Stdio::null()).stdout(OwnedFd::from(theirs)).spawn();
    drop(command);
    let mut child = child.unwrap();
    eventually("more than the socket holds", || {
        std::fs::metadata(&file).ok().filter(|metadata| metadata.len() > 100_000).map(drop)
    });
    assert_eq!(300_000, BufReader::with_capacity(512, ours).lines().map_while(Result::ok).count());
    assert_eq!(Some(0), child.wait().unwrap().code());
}
