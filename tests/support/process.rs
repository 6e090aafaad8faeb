//! The real binary, as a command and as a server.

use super::exposition::Exposition;
use super::http;
use super::lines::HOST;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, with nothing inherited that would configure it.
pub(crate) fn inferometer() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inferometer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INFEROMETER_") {
            command.env_remove(name);
        }
    }
    command.env_remove("METRICS_LOCATION").env_remove("LOG_LOCATION").env("TZ", "UTC");
    command
}

/// Runs `inferometer replay` to its end.
pub(crate) fn replay(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    inferometer().arg("replay").args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// A standard input of which each piece arrives as a read of its own, as a pipe cannot promise: a pipe joins
/// what is not read yet.
pub(crate) struct Pieces {
    ours: UnixDatagram,
    theirs: UnixDatagram,
}

impl Pieces {
    pub(crate) fn new() -> Self {
        let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
        // The queue is short and the process may have ended, so a piece that nobody takes is a failure.
        ours.set_write_timeout(Some(PATIENCE)).expect("a time that is not zero");
        Self { ours, theirs }
    }

    /// The end that the process reads.
    pub(crate) fn stdin(&self) -> Stdio {
        OwnedFd::from(self.theirs.try_clone().expect("a descriptor")).into()
    }

    /// Sends one piece. An empty one would be read as the end.
    pub(crate) fn send(&self, piece: &[u8]) {
        assert_eq!(piece.len(), self.ours.send(piece).expect("the process reads on"));
    }

    /// After what was sent there is nothing more, however often the process asks.
    pub(crate) fn end(self) {
        self.theirs.shutdown(Shutdown::Read).expect("an open socket");
    }
}

/// Runs `inferometer replay … -` to its end with this standard input.
pub(crate) fn replay_input(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = replay_stdin(arguments, Stdio::piped());
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // It reads to the end before it writes. If it ends earlier, its output says why.
    stdin.write_all(input.as_ref()).ok();
    drop(stdin);
    child.wait_with_output().expect("the binary ends")
}

/// The same with a standard input of which each of these pieces is one read.
pub(crate) fn replay_pieces<'a>(arguments: &[&str], pieces: impl IntoIterator<Item = &'a [u8]>) -> Output {
    let input = Pieces::new();
    let child = replay_stdin(arguments, input.stdin());
    pieces.into_iter().for_each(|piece| input.send(piece));
    input.end();
    child.wait_with_output().expect("the binary ends")
}

fn replay_stdin(arguments: &[&str], stdin: Stdio) -> Child {
    inferometer()
        .arg("replay")
        .args(arguments)
        .arg("-")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// The most memory that a process has ever used, in KiB.
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// What a command said to people.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command printed, as a body that Prometheus accepts.
pub(crate) fn exposition(output: &Output) -> Exposition {
    let text = std::str::from_utf8(&output.stdout).expect("the exposition is UTF-8");
    Exposition::strict(text).unwrap_or_else(|error| panic!("{error}\n{}", stderr(output)))
}

/// Looks again and again until there is an answer; fails when there is none in time.
pub(crate) fn eventually<T>(claim: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {claim}");
        std::thread::sleep(Duration::from_millis(10)); // allow-sleep: pacing a bounded poll
    }
}

/// Waits until `Requests2XX` of the test's host is that, and fails if it is ever more.
#[track_caller]
pub(crate) fn wait_for(server: &Server, expected: f64) {
    eventually(&format!("Requests2XX = {expected}"), || {
        let observed = server.value("Requests2XX", HOST)?;
        assert!(observed <= expected, "expected {expected}, observed {observed}:\n{}", server.log());
        (observed.to_bits() == expected.to_bits()).then_some(())
    });
}

/// `inferometer run` on a free port of this machine, without PATHs yet.
pub(crate) fn run() -> Command {
    let mut command = inferometer();
    command
        .args(["run", "--web.listen-address", "127.0.0.1:0", "--poll-interval", "50ms"])
        .stdin(Stdio::null());
    command
}

/// A command that is started by another one, such as `strace` or `prlimit`, and takes its place: the child
/// is still the process that is meant.
pub(crate) fn behind(prefix: &[&str], command: &Command) -> Command {
    let (program, arguments) = prefix.split_first().expect("a program");
    let mut wrapped = Command::new(program);
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// A command under `strace`, whose injections make system calls fail, wait or kill. `-D` keeps the traced
/// process our child, so its exit status is its own. Each call of any thread waits for the tracer, so what is measured
/// beside the logs is off: its thousands of calls would hold up the follower, which is what these tests are about.
pub(crate) fn strace(options: &[&str], command: &Command) -> Command {
    let mut command = behind(&[&["strace", "-D", "-f", "-qq"], options].concat(), command);
    for collector in ["HOST", "CGROUP", "WORKER", "GPU"] {
        command.env(format!("INFEROMETER_COLLECTOR_{collector}"), "false");
    }
    command
}

/// A running `inferometer run`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts on a folder and waits until the first catch-up is done.
    pub(crate) fn ready(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = run();
        command.arg(folder).args(arguments);
        Self::launch(command).until_ready()
    }

    /// Waits until the first catch-up is done.
    pub(crate) fn until_ready(self) -> Self {
        eventually("/-/ready answers 200", || {
            let reply = http::request(self.address, "GET", "/-/ready").ok()?;
            (reply.status == 200).then_some(())
        });
        self
    }

    /// Starts a prepared [`run`] and waits until the port is open.
    pub(crate) fn launch(command: Command) -> Self {
        let server = Self::start(command);
        assert_ne!(0, server.address.port(), "no port:\n{}", server.log());
        server
    }

    /// Starts a prepared [`run`] and waits until the port is open, or the process has ended; its address has
    /// port 0 then.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let sink = Arc::clone(&log);
        std::thread::spawn(move || keep_log(stderr, &sink, &found));
        let address = address.recv_timeout(PATIENCE);
        Self { child, address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))), log }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child to wait for")
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("a child to wait for");
    }

    /// Its standard input, where the test has made that a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("stdin is piped")
    }

    /// The most memory that it has ever used, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        peak_memory(self.child.id())
    }

    /// What the page for people shows: it draws itself from this.
    pub(crate) fn page(&self) -> String {
        http::get(self.address, "/api/v1/status").body
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log is whole").clone()
    }

    /// The log, once it says this: what a process writes is read a moment later.
    pub(crate) fn log_with(&self, words: &str) -> String {
        eventually(&format!("{words:?} in the log"), || Some(self.log()).filter(|log| log.contains(words)))
    }

    /// Scrapes `/metrics`.
    pub(crate) fn scrape(&self) -> Exposition {
        let reply = http::get(self.address, "/metrics");
        assert_eq!(200, reply.status, "{}", self.log());
        Exposition::strict(&reply.body).unwrap_or_else(|error| panic!("{error}\n{}", reply.body))
    }

    /// One series' value in a fresh scrape.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.scrape().value(name, labels)
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        assert!(kill.expect("sh starts").success(), "kill failed");
        eventually("the process ends after SIGTERM", || self.child.try_wait().expect("a child to wait for"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; nothing is left to do then.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Keeps stderr read, so that the process never blocks on it, and reports the first bound address.
fn keep_log(mut stderr: impl BufRead, log: &Mutex<String>, found: &Sender<SocketAddr>) {
    let mut bytes = Vec::new();
    while stderr.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned();
        bytes.clear();
        if let Some(address) = bound_address(&line) {
            // Nobody listens for a second one.
            found.send(address).ok();
        }
        let mut log = log.lock().expect("the log is whole");
        log.push_str(&line);
        log.push('\n');
    }
}

/// The address in `address=127.0.0.1:80` or `"address":"127.0.0.1:80"`.
fn bound_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("address=").or_else(|| line.split_once("\"address\":"))?;
    let address: SocketAddr = rest.trim_start_matches('"').split([' ', '"']).next()?.parse().ok()?;
    (address.port() != 0).then_some(address)
}
