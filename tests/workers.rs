//! The share of each model worker: real processes with TorchServe's command line and a log that names them, or with
//! any command line and a rule.

use crate::support::exposition::Exposition;
use crate::support::folders::Folders;
use crate::support::lines::{append, frontend, requests};
use crate::support::process::{Server, eventually, run};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a worker process does here: takes memory, uses CPU, has a thread more, says that it is there, and waits.
const SCRIPT: &str = "\
import sys, threading, time, subprocess
held = bytearray(40 * 1024 * 1024)
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
if '--helper' in sys.argv:
    helper = subprocess.Popen([sys.executable, '-c', 'import sys; held = bytearray(60 * 1024 * 1024); sys.stdin.read()'],
                              stdin=subprocess.PIPE)
print('there', flush=True)
sys.stdin.read()
";

/// Who a worker is. All tests see all processes, so each test has numbers of its own.
#[derive(Clone)]
struct Name {
    number: u32,
    model: &'static str,
    version: &'static str,
    text: String,
}

impl Name {
    fn new(number: u32, model: &'static str, version: &'static str) -> Self {
        Self { number, model, version, text: format!("W-{number}-{model}_{version}") }
    }

    /// A value of it in a scrape.
    fn value(&self, body: &Exposition, family: &str) -> Option<f64> {
        let labels =
            [("model_name", self.model), ("model_version", self.version), ("worker_name", &*self.text)];
        body.value(&format!("model_worker_{family}"), &labels)
    }

    /// What TorchServe writes when a worker has loaded its model.
    fn loaded(&self, milliseconds: f64) -> String {
        let metric = format!("WorkerLoadTime.Milliseconds:{milliseconds:?}");
        frontend(&metric, &format!("WorkerName:{},Level:Host", self.text))
    }
}

/// A process that ends with the test: it waits for its standard input.
struct Worker(Child);

impl Worker {
    /// A stand-in for a worker with this number, and arguments of its own.
    fn start(folder: &Path, number: u32, arguments: &[&str]) -> Self {
        let script = script(folder);
        let socket = format!("/tmp/.ts.sock.{number}");
        let mut command = Command::new("python3");
        command.arg(script).args([
            "--sock-type",
            "unix",
            "--sock-name",
            &socket,
            "--metrics-config",
            "x.yaml",
        ]);
        Self::launch(command.args(arguments))
    }

    /// A stand-in for another server's worker: `python3 …/NAME ARGUMENTS`.
    fn other(folder: &Path, name: &str, arguments: &[&str]) -> Self {
        Self::launch(Command::new("python3").arg(script_named(folder, name)).args(arguments))
    }

    fn launch(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!("there\n", line);
        Self(child)
    }

    /// The words of `/proc/PID/stat` behind the name; the manual's field 3 is the first.
    fn stat(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, rest) = text.rsplit_once(") ").unwrap();
        rest.split_whitespace().map(str::to_owned).collect()
    }

    fn field(&self, number: usize) -> f64 {
        self.stat()[number - 3].parse().unwrap()
    }

    fn cpu_seconds(&self) -> f64 {
        (self.field(14) + self.field(15)) / 100.0
    }

    fn resident_bytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
    }

    fn kill(&mut self) {
        // A shell passes no signal on; the end of its standard input reaches what it has started.
        drop(self.0.stdin.take());
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn script(folder: &Path) -> PathBuf {
    script_named(folder, "model_service_worker.py")
}

fn script_named(folder: &Path, name: &str) -> PathBuf {
    let script = folder.join(name);
    fs::write(&script, SCRIPT).unwrap();
    script
}

fn start(folders: &Folders, arguments: &[&str]) -> Server {
    let mut command = run();
    command.arg(folders.logs()).args(["--collector.interval", "100ms"]).args(arguments);
    Server::launch(command).until_ready()
}

/// A scrape with a reading of the workers that began after this call.
fn fresh(server: &Server) -> Exposition {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let name = "inferometer_collector_last_success_timestamp_seconds";
    eventually("a reading that begins now", || {
        let body = server.scrape();
        (body.value(name, &[("collector", "worker")])? >= now).then_some(body)
    })
}

fn of_workers(body: &Exposition, family: &str) -> usize {
    body.samples.keys().filter(|(name, _)| *name == format!("model_worker_{family}")).count()
}

#[test]
fn each_workers_share_is_what_proc_says_of_its_process() {
    let folders = Folders::new();
    let [resnet, bert] = [Name::new(19_000, "resnet18", "1.0"), Name::new(19_001, "my_bert", "2.1")];
    let first = Worker::start(folders.path(), resnet.number, &[]);
    let mut by_port = Command::new("python3");
    by_port.arg(script(folders.path())).args(["--sock-type", "tcp", "--port", "19001"]);
    let second = Worker::launch(&mut by_port);
    // Named by no log, so nobody knows whose it is.
    let _unnamed = Worker::start(folders.path(), 19_002, &[]);
    append(&folders.live(), resnet.loaded(1.0) + &bert.loaded(2.0));
    let server = start(&folders, &[]);
    let body = eventually("both workers are shown", || {
        let body = fresh(&server);
        (of_workers(&body, "threads") == 2).then_some(body)
    });
    let boot = body.value("host_boot_time_seconds", &[]).unwrap();
    for (name, worker) in [(&resnet, &first), (&bert, &second)] {
        let value = |family: &str| name.value(&body, family).unwrap();
        // They wait, so nothing of them moves.
        assert_eq!(worker.cpu_seconds(), value("cpu_seconds_total"), "{}", name.text);
        assert!(value("cpu_seconds_total") >= 0.3, "{}", name.text);
        assert_eq!(worker.field(20), value("threads"), "{}", name.text);
        assert_eq!(boot + worker.field(22) / 100.0, value("start_time_seconds"), "{}", name.text);
        let (expected, resident) = (worker.resident_bytes(), value("resident_memory_bytes"));
        // The kernel counts pages in lots of its own for one file and exactly for the other.
        assert!((expected - resident).abs() < 1_048_576.0, "{}: {expected} {resident}", name.text);
        assert!(resident > 40.0 * 1_048_576.0, "{}: {resident}", name.text);
    }
    // The same by the other naming, whose label has another name.
    let server = start(&folders, &["--naming", "prometheus"]);
    eventually("both workers are shown", || (of_workers(&fresh(&server), "threads") == 2).then_some(()));
}

#[test]
fn a_restarted_worker_is_a_new_start_time_on_the_same_series() {
    let folders = Folders::new();
    let resnet = Name::new(19_010, "resnet18", "1.0");
    append(&folders.live(), resnet.loaded(1.0));
    let mut worker = Worker::start(folders.path(), resnet.number, &[]);
    let server = start(&folders, &[]);
    let started = || resnet.value(&fresh(&server), "start_time_seconds");
    let first = eventually("the worker is shown", started);
    worker.kill();
    eventually("it is gone", || started().is_none().then_some(()));
    let _worker = Worker::start(folders.path(), resnet.number, &[]);
    append(&folders.live(), resnet.loaded(3.0));
    let second = eventually("it is shown again", started);
    assert!(second > first, "{first} {second}");
    assert_eq!(1, of_workers(&fresh(&server), "start_time_seconds"));
}

#[test]
fn what_a_worker_starts_belongs_to_it() {
    let folders = Folders::new();
    let resnet = Name::new(19_020, "resnet18", "1.0");
    append(&folders.live(), resnet.loaded(1.0));
    let worker = Worker::start(folders.path(), resnet.number, &["--helper"]);
    let server = start(&folders, &[]);
    let both = eventually("the helper is counted", || {
        let body = fresh(&server);
        let resident = resnet.value(&body, "resident_memory_bytes")?;
        (resident > worker.resident_bytes() + 40.0 * 1_048_576.0).then_some(body)
    });
    assert_eq!(Some(worker.field(20) + 1.0), resnet.value(&both, "threads"));
    assert_eq!(1, of_workers(&both, "threads"));
}

#[test]
fn workers_are_found_when_they_come_and_the_servers_cgroup_with_them() {
    let folders = Folders::new();
    let resnet = Name::new(19_030, "resnet18", "1.0");
    append(&folders.live(), resnet.loaded(1.0));
    let server = start(&folders, &[]);
    let body = fresh(&server);
    assert_eq!(0, of_workers(&body, "threads"));
    let has_cgroup = body.families.contains_key("cgroup_info");
    let _worker = Worker::start(folders.path(), resnet.number, &[]);
    eventually("the worker and its cgroup are shown", || {
        let body = fresh(&server);
        let usage = body.value("cgroup_cpu_usage_seconds_total", &[("of", "server")]);
        (of_workers(&body, "threads") == 1 && usage.is_some() == has_cgroup).then_some(())
    });
}

#[test]
fn of_two_models_with_a_workers_number_the_later_one_is_meant() {
    let folders = Folders::new();
    let resnet = Name::new(19_040, "resnet18", "1.0");
    // Two lives of a server: the number was given to another model in the second one.
    append(&folders.live(), Name::new(19_040, "old", "1.0").loaded(1.0) + &resnet.loaded(2.0));
    let _worker = Worker::start(folders.path(), resnet.number, &[]);
    let server = start(&folders, &[]);
    let body = eventually("the worker is shown", || {
        let body = fresh(&server);
        (of_workers(&body, "threads") == 1).then_some(body)
    });
    assert!(resnet.value(&body, "threads").is_some(), "{:?}", body.samples.keys());
}

#[test]
fn a_number_that_two_servers_use_is_shown_for_neither() {
    let folders = Folders::new();
    let resnet = Name::new(19_050, "resnet18", "1.0");
    append(&folders.live(), resnet.loaded(1.0));
    let _ours = Worker::start(folders.path(), resnet.number, &[]);
    let server = start(&folders, &[]);
    eventually("the worker is shown", || resnet.value(&fresh(&server), "threads"));
    // Another one, whose server is a shell.
    let mut shell = Command::new("sh");
    shell.args(["-c", "python3 \"$0\" --port 19050; exit"]).arg(script(folders.path()));
    let other = Worker::launch(&mut shell);
    server.log_with("several servers");
    eventually("it is shown no more", || resnet.value(&fresh(&server), "threads").is_none().then_some(()));
    // Its standard input ends, and it with that.
    drop(other);
    eventually("the worker is shown again", || resnet.value(&fresh(&server), "threads"));
}

#[test]
fn a_worker_keeps_its_name_when_its_load_line_is_long_gone() {
    let folders = Folders::new();
    let resnet = Name::new(19_060, "resnet18", "1.0");
    append(&folders.live(), resnet.loaded(1.0));
    let _worker = Worker::start(folders.path(), resnet.number, &[]);
    let state = folders.state();
    let lives = ["--state.dir", state.to_str().unwrap(), "--series-ttl", "1s"];
    let mut server = start(&folders, &lives);
    eventually("the load time is forgotten", || {
        append(&folders.live(), requests(1));
        (!server.scrape().samples.keys().any(|(name, _)| name == "WorkerLoadTime")).then_some(())
    });
    assert_eq!(Some(0), server.terminate().code());
    let server = start(&folders, &lives);
    eventually("the worker is shown", || resnet.value(&fresh(&server), "threads"));
    assert!(!server.scrape().samples.keys().any(|(name, _)| name == "WorkerLoadTime"));
}

// Rules. All tests see all processes, so each test has a script with a name of its own.

/// A server with these entries of `process:`.
fn ruled(folders: &Folders, rules: &str) -> Server {
    let file = folders.path().join("rules.yaml");
    fs::write(&file, format!("process:\n{rules}")).unwrap();
    start(folders, &["--config.file", file.to_str().unwrap()])
}

/// A worker's value, by its three labels.
fn of_rule(body: &Exposition, family: &str, [model, version, worker]: [&str; 3]) -> Option<f64> {
    let labels = [("model_name", model), ("model_version", version), ("worker_name", worker)];
    body.value(&format!("model_worker_{family}"), &labels)
}

#[test]
fn a_rule_finds_the_workers_of_any_server() {
    let folders = Folders::new();
    let start = |arguments: &[&str]| Worker::other(folders.path(), "llm-a", arguments);
    // Two of one name, and one whose model has a version.
    let twins = [start(&["serve", "org/Llama"]), start(&["serve", "org/Llama"])];
    let single = start(&["serve", "mistral", "--revision", "v2", "--helper"]);
    let _no_worker = start(&["bench", "org/Llama"]);
    let pattern = r"llm-a serve (?P<model_name>\S+)(?: --revision (?P<model_version>\S+))?";
    let server = ruled(&folders, &format!("  - {{match: '{pattern}', worker_name: vllm}}\n"));
    let both = ["org/Llama", "", "vllm"];
    let body = eventually("all three, and what one has started", || {
        let body = fresh(&server);
        let resident = of_rule(&body, "resident_memory_bytes", ["mistral", "v2", "vllm"])?;
        let is_whole = resident > single.resident_bytes() + 40.0 * 1_048_576.0;
        (is_whole && of_workers(&body, "threads") == 2).then_some(body)
    });
    let sum = |of: &dyn Fn(&Worker) -> f64| twins.iter().map(of).sum::<f64>();
    let cpu = of_rule(&body, "cpu_seconds_total", both).unwrap();
    assert!((sum(&Worker::cpu_seconds) - cpu).abs() < 1e-9, "{cpu}");
    assert_eq!(Some(sum(&|worker| worker.field(20))), of_rule(&body, "threads", both));
    let resident = of_rule(&body, "resident_memory_bytes", both).unwrap();
    assert!((sum(&Worker::resident_bytes) - resident).abs() < 2.0 * 1_048_576.0, "{resident}");
    let boot = body.value("host_boot_time_seconds", &[]).unwrap();
    let started = twins.each_ref().map(|worker| boot + worker.field(22) / 100.0);
    assert_eq!(Some(started[0].min(started[1])), of_rule(&body, "start_time_seconds", both));
}

#[test]
fn workers_of_one_name_may_be_replaced_one_by_one() {
    let folders = Folders::new();
    let start = || Worker::other(folders.path(), "llm-b", &["serve", "m"]);
    let (mut first, _second) = (start(), start());
    let server = ruled(&folders, "  - {match: 'llm-b serve (?P<model_name>\\S+)'}\n");
    let value = |family| of_rule(&fresh(&server), family, ["m", "", ""]);
    let both =
        eventually("both are counted", || value("cpu_seconds_total").filter(|seconds| *seconds >= 0.6));
    first.kill();
    eventually("one is left", || value("threads").filter(|threads| *threads <= 2.0));
    let one = value("cpu_seconds_total").unwrap();
    assert!(one >= both, "the counter stepped back from {both} to {one}");
    let _third = start();
    let three = eventually("the new one is counted", || {
        value("cpu_seconds_total").filter(|seconds| *seconds >= both + 0.3)
    });
    assert!(three < both + 30.0, "{three}");
}

#[test]
fn the_first_rule_that_matches_counts_and_torchserves_workers_keep_their_names() {
    let folders = Folders::new();
    let resnet = Name::new(19_070, "resnet18", "1.0");
    append(&folders.live(), resnet.loaded(1.0));
    let _torchserve = Worker::start(folders.path(), resnet.number, &["llm-c"]);
    let _first = Worker::other(folders.path(), "llm-c", &["serve", "a"]);
    // It says that it is TorchServe's.
    let _liar = Worker::other(folders.path(), "llm-c", &[&resnet.text]);
    // Our own command line, which names the file, has the words too.
    let file = folders.path().join("llm-c.yaml");
    let rules = "process:\n  - {match: 'llm-c serve', model_name: first}\n  - {match: 'llm-c W-19070', model_name: resnet18, \
                 model_version: '1.0', worker_name: W-19070-resnet18_1.0}\n  - {match: llm-c, model_name: last}\n";
    fs::write(&file, rules).unwrap();
    let server = start(&folders, &["--config.file", file.to_str().unwrap()]);
    let body = eventually("both are shown", || {
        let body = fresh(&server);
        (of_workers(&body, "threads") == 2).then_some(body)
    });
    assert_eq!(Some(2.0), resnet.value(&body, "threads"), "TorchServe's own process alone");
    assert_eq!(Some(2.0), of_rule(&body, "threads", ["first", "", ""]));
}

/// A folder like `/proc`, with these command lines.
fn procfs(folder: &Path, command_lines: impl Iterator<Item = Vec<u8>>) {
    let stat: Vec<String> =
        (4..=52).map(|field| if field == 4 { 1 } else { field * 10 }.to_string()).collect();
    for (id, line) in (100..).zip(command_lines) {
        let process = folder.join(id.to_string());
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("cmdline"), line).unwrap();
        fs::write(process.join("stat"), format!("{id} (x) S {}\n", stat.join(" "))).unwrap();
    }
    fs::write(folder.join("uptime"), "1000.00 900.00\n").unwrap();
    fs::write(folder.join("loadavg"), "0.86 0.69 0.49 2/85 9999\n").unwrap();
    fs::write(folder.join("stat"), "btime 1700000000\n").unwrap();
}

#[test]
fn command_lines_can_be_hostile() {
    let folders = Folders::new();
    let hostile = [&b"llm-d \"quoted\"\\"[..], b"llm-d \xff\xfe", b"llm-d a\nb{c=\"d\"} 1", b"llm-d ", b""];
    let long = [format!("llm-d {}", "x".repeat(7000)).into_bytes()];
    let many = (0..1200).map(|number| format!("/bin/llm-d\0model{number}\0").into_bytes());
    let lines = hostile.iter().map(|line| line.to_vec()).chain(long).chain(many);
    procfs(&folders.path().join("proc"), lines);
    let file = folders.path().join("rules.yaml");
    fs::write(&file, "process: [{match: '(?s)llm-d (?P<model_name>.*)'}]\n").unwrap();
    let procfs = folders.path().join("proc");
    let arguments = ["--config.file", file.to_str().unwrap(), "--path.procfs", procfs.to_str().unwrap()];
    let server = start(&folders, &arguments);
    // A scrape is read strictly: what it accepts, Prometheus accepts.
    eventually("as many as there is room for", || {
        (of_workers(&fresh(&server), "threads") == 1000).then_some(())
    });
    server.log_with("match too many workers");
    eventually("the page says so", || {
        server.page().contains("203 more workers than 1000 match the rules").then_some(())
    });
}
