//! A program under measurement: a process on a port of this machine, looked at from outside.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before it is called missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The kernel tells processor time to user space in hundredths of a second, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    port: u16,
    pub(crate) started: Instant,
}

impl Program {
    /// Starts a program that is to serve this port.
    pub(crate) fn start(mut command: Command, port: u16) -> io::Result<Self> {
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, port, started })
    }

    /// Waits until `/metrics` answers; tells how long after the start that was.
    pub(crate) fn until_served(&mut self) -> Duration {
        self.until("an answer", Duration::from_millis(1), |program| program.scrape().ok());
        self.started.elapsed()
    }

    /// Waits until an inferometer has done its first catch-up.
    pub(crate) fn until_ready(mut self) -> Self {
        self.until("a first catch-up", Duration::from_millis(5), |program| {
            program.get("/-/ready").ok().filter(|(status, _)| *status == 200)
        });
        self
    }

    /// Looks again and again until there is something; pauses in between.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        pause: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let status = self.child.try_wait().expect("a child of ours");
            assert!(status.is_none(), "waiting for {what}: it has ended with {status:?}");
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            thread::sleep(pause); // allow-sleep: pacing a bounded poll
        }
    }

    /// The body of `/metrics`.
    pub(crate) fn scrape(&self) -> io::Result<String> {
        match self.get("/metrics")? {
            (200, body) => Ok(body),
            (status, body) => Err(io::Error::other(format!("{status}: {body}"))),
        }
    }

    /// Where it serves.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes a scrape has on the wire, as Prometheus asks for it.
    pub(crate) fn compressed_scrape(&self) -> usize {
        let answer = self.answer("/metrics", "Accept-Encoding: gzip\r\n").expect("a scrape");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
        answer.len() - end - 4
    }

    /// The one number that a query of this Prometheus comes to.
    pub(crate) fn query(&self, expression: &str) -> f64 {
        let encoded = expression.bytes().fold(String::new(), |mut encoded, byte| {
            write!(encoded, "%{byte:02X}").expect("a String");
            encoded
        });
        let (status, body) = self.get(&format!("/api/v1/query?query={encoded}")).expect("an answer");
        let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let number = value["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("{expression}: {status} {body}"))
    }

    /// A scrape, and how long it takes from connecting to the end of the body.
    pub(crate) fn timed_scrape(&self) -> (Duration, String) {
        let start = Instant::now();
        let body = self.scrape().expect("a scrape");
        (start.elapsed(), body)
    }

    /// HTTP/1.0, where a body is never in chunks and the connection's end is its end.
    fn answer(&self, target: &str, headers: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::with_capacity(1 << 20);
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn get(&self, target: &str) -> io::Result<(u16, String)> {
        let answer = String::from_utf8(self.answer(target, "")?).map_err(io::Error::other)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no headers"))?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }

    /// Processor time since its start, user and system, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let times = self.read("stat");
        let fields = times.rsplit_once(')').expect("a name in brackets").1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = ticks.map(|ticks| ticks.parse::<u32>().expect("ticks")).sum();
        TICK * ticks
    }

    /// The same of the threads that live, to the nanosecond: for what takes less than some hundred ticks.
    pub(crate) fn fine_cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let spent = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// A line of its memory in MiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("that line");
        let kibibytes: f64 =
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("KiB");
        kibibytes / 1024.0
    }

    /// Resident memory in MiB, in which a page that n processes share counts one n-th.
    pub(crate) fn proportional_memory(&self) -> f64 {
        let rollup = self.read("smaps_rollup");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("that line");
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("KiB");
        kibibytes / 1024.0
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it runs")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended; nothing is left to do then.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The binary that was built together with this program, or the one that `INFEROMETER_BIN` names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("INFEROMETER_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_inferometer")), PathBuf::from)
}

/// `inferometer run` on a path, with room for any number of series.
pub(crate) fn inferometer(path: &Path, options: &[&str], state: Option<&Path>) -> Program {
    let port = free_port();
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INFEROMETER_") {
            command.env_remove(name);
        }
    }
    command.arg("run").arg(path).args(["--limit.series", "1000000", "--limit.series-per-family", "1000000"]);
    command.arg("--web.listen-address").arg(format!("127.0.0.1:{port}")).args(options);
    if let Some(state) = state {
        command.arg("--state.dir").arg(state);
    }
    Program::start(command, port).expect("the binary starts")
}

/// Processor seconds of all children that have ended and were waited for.
pub(crate) fn cpu_of_children() -> f64 {
    let times = fs::read_to_string("/proc/self/stat").expect("we run");
    let fields = times.rsplit_once(')').expect("a name in brackets").1;
    let ticks = fields.split_whitespace().skip(13).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}

/// A port that nobody has at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The sum of all samples with this name, and with the label text where one is given.
pub(crate) fn sum(body: &str, name: &str, label: &str) -> f64 {
    let of_name = body.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    of_name.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of all values is below; not a number if there are none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of these values")]
    let at = (crate::traffic::exact(values.len() as u64) * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
