//! A pod, played with real processes: commands, arguments, environment and volumes are those of the rendered manifest, the
//! order is the kubelet's. Only paths are others (each volume is a temporary folder), and the port is a free one.

use super::FOREIGN;
use super::manifest::{Cluster, named, object, pod};
use crate::support::compare::{differences, only};
use crate::support::exposition::Exposition;
use crate::support::lines::{HOST, append, requests};
use crate::support::process::{Server, behind, eventually, exposition, inferometer, replay};
use crate::support::{fixture, http};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A server that writes what it is told to, and its last words when it is asked to end: `FILE PIECE` on standard input
/// appends a piece to a file of its log folder.
const WRITER: &str = r#"
trap 'for file in ts_metrics model_metrics; do cat "$LAST/$file" >>"$METRICS_LOCATION/$file.log"; done; exit 0' TERM
while read -r file piece; do cat "$piece" >>"$METRICS_LOCATION/$file.log"; done
"#;

/// The same by its standard output.
const TALKER: &str = r#"
trap 'cat "$LAST/server"; exit 3' TERM
while read -r file piece; do cat "$piece"; done
"#;

/// In how many pieces a log is written; the last one comes while the server ends.
const PIECES: usize = 4;

/// A real log, cut into pieces between its lines.
struct Script {
    folder: TempDir,
    files: BTreeMap<&'static str, Vec<String>>,
}

impl Script {
    fn of(logs: &[(&'static str, PathBuf)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = BTreeMap::new();
        for (name, path) in logs {
            let text = fs::read_to_string(path).unwrap();
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let pieces = lines.chunks(lines.len().div_ceil(PIECES)).map(|piece| piece.concat());
            let pieces: Vec<String> = pieces.collect();
            assert_eq!(PIECES, pieces.len());
            for (number, piece) in pieces.iter().enumerate() {
                append(&folder.path().join(number.to_string()).join(name), piece);
            }
            files.insert(*name, pieces);
        }
        Self { folder, files }
    }

    fn torchserve() -> Self {
        Self::of(&["ts_metrics", "model_metrics"].map(|name| (name, fixture(&format!("log/{name}.log")))))
    }

    fn piece(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// What the first pieces add up to when each of their lines counts once.
    fn truth(&self, pieces: usize) -> Exposition {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            self.files.keys().map(|name| folder.path().join(format!("{name}.log"))).collect();
        for (path, all) in paths.iter().zip(self.files.values()) {
            fs::write(path, all[..pieces].concat()).unwrap();
        }
        exposition(&replay(&paths))
    }
}

/// The containers of a pod and the volumes that they share.
struct Pod {
    spec: Value,
    node: TempDir,
}

impl Pod {
    fn of(workload: &Value) -> Self {
        let pod = Self { spec: pod(workload)["spec"].clone(), node: tempfile::tempdir().unwrap() };
        for volume in pod.spec["volumes"].as_array().unwrap() {
            fs::create_dir(pod.volume(volume["name"].as_str().unwrap())).unwrap();
        }
        pod
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.node.path().join(name)
    }

    /// A path, or an argument with one at its end, as a process outside of the container has to say it.
    fn mapped(&self, container: &Value, text: &str) -> String {
        let (before, path) = match text.split_once('=') {
            Some((flag, path)) if flag.starts_with("--") => (format!("{flag}="), path),
            _ => (String::new(), text),
        };
        for mount in container["volumeMounts"].as_array().unwrap() {
            let place = mount["mountPath"].as_str().unwrap();
            let rest = path.strip_prefix(place).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            if let Some(rest) = rest {
                return format!("{before}{}{rest}", self.volume(mount["name"].as_str().unwrap()).display());
            }
        }
        text.replace("/usr/local/bin/inferometer", env!("CARGO_BIN_EXE_inferometer"))
    }

    fn words(&self, container: &Value, field: &str) -> Vec<String> {
        let words = container[field].as_array().into_iter().flatten();
        words.map(|word| self.mapped(container, word.as_str().unwrap())).collect()
    }

    fn environment(&self, container: &Value) -> Vec<(String, String)> {
        let entries = container["env"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        entries.map(|entry| (text(&entry["name"]), self.mapped(container, &text(&entry["value"])))).collect()
    }

    /// A container of inferometer's image, whose entry point is the binary.
    fn inferometer(&self, container: &Value) -> Command {
        assert_eq!(Value::Null, container["command"]);
        let mut command = inferometer();
        command.args(self.words(container, "args")).envs(self.environment(container)).stdin(Stdio::null());
        command.env("INFEROMETER_WEB_LISTEN_ADDRESS", "127.0.0.1:0");
        command
    }

    /// Starts the sidecar; its probe passes before anything else happens.
    fn start_sidecar(&self) -> Server {
        let sidecar = named(&self.spec["initContainers"], "inferometer");
        let server = Server::launch(self.inferometer(sidecar));
        let path = sidecar["livenessProbe"]["httpGet"]["path"].as_str().unwrap();
        eventually("the liveness probe passes", || {
            let reply = http::request(server.address, "GET", path).ok()?;
            (reply.status == 200).then_some(())
        });
        server
    }

    /// Starts the first container with the given command, which is that of its image where the manifest has none.
    fn start_server(&self, of_image: &[&str], script: &Script) -> Writer {
        let container = &self.spec["containers"][0];
        let mut words = self.words(container, "command");
        match of_image {
            [] => words.extend(self.words(container, "args")),
            words_of_image => words = words_of_image.iter().map(|word| (*word).to_owned()).collect(),
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.environment(container));
        command.env("LAST", script.piece(PIECES - 1));
        Writer(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
}

/// A server's process; it ends when nobody tells it anything any more.
struct Writer(Child);

impl Writer {
    fn write(&mut self, script: &Script, number: usize) {
        let mut stdin = self.0.stdin.as_ref().unwrap();
        for name in script.files.keys() {
            writeln!(stdin, "{name} {}", script.piece(number).join(name).display()).unwrap();
        }
    }

    /// Asks it to end, and waits until it has. `Child::wait` would close its standard input first.
    fn stop(mut self) -> ExitStatus {
        signal(self.0.id());
        eventually("the server ends after SIGTERM", || self.0.try_wait().unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended already; nothing is left to do then.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn signal(process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -TERM {process}")]).status();
    assert!(status.unwrap().success());
}

/// A pod of somebody else's, with these components.
fn foreign(components: &[&str], objects: &str) -> Pod {
    let cluster = Cluster::new();
    cluster.with_own("own", objects, components);
    Pod::of(object(&cluster.objects("own"), "StatefulSet"))
}

/// Waits until a scrape of the log families is exactly this.
#[track_caller]
fn wait_for(server: &Server, truth: &Exposition) -> Exposition {
    let mut last = Vec::new();
    eventually("every line is counted", || {
        let body = only(&server.scrape(), |name| truth.families.contains_key(name));
        last = differences(truth, &body);
        last.is_empty().then_some(body)
    })
}

/// Counters and parts of histograms that are lower than they were.
fn steps_back(before: &Exposition, after: &Exposition) -> Vec<String> {
    let kind = |name: &str| before.families.get(name).and_then(|family| family.kind.clone());
    let grows = |name: &str| {
        let stem = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        kind(name).as_deref() == Some("counter") || stem.and_then(kind).as_deref() == Some("histogram")
    };
    let growing = before.samples.iter().filter(|((name, _), _)| grows(name));
    let lower = growing.filter(|(series, bits)| {
        after.samples.get(series).is_none_or(|now| f64::from_bits(*now) < f64::from_bits(**bits))
    });
    lower.map(|(series, _)| format!("{series:?}")).collect()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_sidecar_is_there_first_and_last_and_a_last_scrape_has_every_line() {
    let (script, pod) = (Script::torchserve(), foreign(&["sidecar", "torchserve", "last-scrape"], FOREIGN));
    let mut sidecar = pod.start_sidecar();
    assert!(is_empty(&pod.volume("inferometer-logs")), "the server has not started yet");
    let mut server = pod.start_server(&["sh", "-c", WRITER], &script);
    for number in 0..PIECES - 1 {
        server.write(&script, number);
        wait_for(&sidecar, &script.truth(number + 1));
    }
    // What it writes while it ends is there before the sidecar is asked to.
    assert_eq!(Some(0), server.stop().code());
    signal(sidecar.id());
    wait_for(&sidecar, &script.truth(PIECES));
    assert_eq!(None, sidecar.ended(), "it stays for the last scrape");
}

#[test]
fn a_sidecar_that_is_killed_goes_on_and_no_line_counts_twice() {
    let (script, pod) = (Script::torchserve(), foreign(&["sidecar", "torchserve"], FOREIGN));
    let sidecar = pod.start_sidecar();
    let mut server = pod.start_server(&["sh", "-c", WRITER], &script);
    server.write(&script, 0);
    let before = wait_for(&sidecar, &script.truth(1));
    sidecar.kill();
    // The server goes on, and the kubelet starts the sidecar again on the same volumes.
    server.write(&script, 1);
    let mut sidecar = pod.start_sidecar().until_ready();
    assert_eq!(Vec::<String>::new(), steps_back(&before, &sidecar.scrape()));
    wait_for(&sidecar, &script.truth(2));
    server.write(&script, 2);
    wait_for(&sidecar, &script.truth(3));
    assert_eq!(Some(0), server.stop().code());
    assert_eq!(Some(0), sidecar.terminate().code());
    // Nobody saw the last lines; they are in the state, as the next start shows.
    let next = pod.start_sidecar().until_ready();
    let truth = script.truth(PIECES);
    let body = only(&next.scrape(), |name| truth.families.contains_key(name));
    assert_eq!(Vec::<String>::new(), differences(&truth, &body));
}

#[test]
fn what_a_server_says_behind_tee_is_counted_to_its_last_line() {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tgi/router-text.log");
    let script = Script::of(&[("server", log)]);
    let command = serde_json::to_string(&["sh", "-c", TALKER]).unwrap();
    let objects = FOREIGN.replace("command: [torchserve, --foreground]", &format!("command: {command}"));
    let pod = foreign(&["sidecar", "tee"], &objects);
    // Init containers that are no sidecars end before what comes after them begins.
    let copying = named(&pod.spec["initContainers"], "inferometer-binary");
    let words = pod.words(copying, "command");
    assert!(Command::new(&words[0]).args(&words[1..]).status().unwrap().success(), "{words:?}");
    let sidecar = pod.start_sidecar();
    let mut server = pod.start_server(&[], &script);
    for number in 0..PIECES - 1 {
        server.write(&script, number);
        wait_for(&sidecar, &script.truth(number + 1));
    }
    assert_eq!(Some(3), server.stop().code(), "the server's own");
    wait_for(&sidecar, &script.truth(PIECES));
}

#[test]
fn a_node_is_read_without_a_capability() {
    let workload = Cluster::new().objects("node").remove(0);
    let pod = Pod::of(&workload);
    let container = &pod.spec["containers"][0];
    let mut command = pod.inferometer(container);
    if rustix::process::geteuid().is_root() {
        command = behind(&["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"], &command);
    }
    let log = pod.volume("pods").join("models_bert-0_uid/server/0.log");
    let cri = |line: &str| format!("2026-11-20T18:00:00.123456789Z stdout F {line}\n");
    append(&log, requests(3).lines().map(cri).collect::<String>());
    append(
        &pod.volume("pods").join("others_x_uid/server/0.log"),
        requests(1).lines().map(cri).collect::<String>(),
    );
    // As a container runtime leaves it.
    fs::set_permissions(&log, fs::Permissions::from_mode(0o640)).unwrap();
    let server = Server::launch(command).until_ready();
    let labels = [HOST, &[("namespace", "models"), ("pod", "bert-0"), ("container", "server")]].concat();
    let body = server.scrape();
    assert_eq!(Some(3.0), body.value("Requests2XX", &labels), "{}", server.log());
    assert_eq!(1, body.samples.keys().filter(|(name, _)| name == "Requests2XX").count());
    assert!(!is_empty(&pod.volume("state")));
}
