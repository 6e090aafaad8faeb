//! A node of Kubernetes: the logs of many pods by one glob, with labels that say whose they are, while pods come and
//! go and the kubelet rotates.

use crate::support::folders::Folders;
use crate::support::lines::{append, requests};
use crate::support::process::{Server, eventually, run};
use flate2::Compression;
use flate2::write::GzEncoder;
use inferometer::follow::{Follower, Settings, Start, Waker, WatchedPath};
use inferometer::publish::Board;
use inferometer::state::Rules;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const CONTAINER: &str = "server";

/// A node's folder of pods.
struct Node(Folders);

impl Node {
    fn new() -> Self {
        Self(Folders::new())
    }

    fn pods(&self) -> PathBuf {
        self.0.logs().join("pods")
    }

    fn glob(&self) -> PathBuf {
        self.pods().join("*_*_*/*/*.log")
    }

    /// The folder of a pod's container.
    fn folder(&self, pod: &str) -> PathBuf {
        self.pods().join(format!("ml_{pod}_0a-1b/{CONTAINER}"))
    }

    fn live(&self, pod: &str) -> PathBuf {
        self.folder(pod).join("0.log")
    }

    fn write(&self, pod: &str, count: usize) {
        append(&self.live(pod), cri(&requests(count)));
    }

    fn start(&self, arguments: &[&str]) -> Server {
        let mut command = run();
        command.arg(self.glob()).args(arguments);
        Server::launch(command).until_ready()
    }
}

fn cri(text: &str) -> String {
    text.lines().map(|line| format!("2026-11-20T18:00:00.123456789Z stdout F {line}\n")).collect()
}

fn labels<'a>(namespace: &'a str, pod: &'a str) -> [(&'a str, &'a str); 5] {
    [("Level", "Host"), ("Hostname", "h"), ("namespace", namespace), ("pod", pod), ("container", CONTAINER)]
}

#[track_caller]
fn wait_for(server: &Server, pod: &str, expected: f64) {
    eventually(&format!("{pod} has {expected}"), || {
        let observed = server.value("Requests2XX", &labels("ml", pod)).unwrap_or(0.0);
        assert!(observed <= expected, "{pod}: expected {expected}, observed {observed}");
        (observed.to_bits() == expected.to_bits()).then_some(())
    });
}

#[test]
fn five_hundred_pods_are_followed_by_one_glob() {
    let node = Node::new();
    let name = |number: usize| format!("tgi-{number}");
    (0..500).for_each(|number| node.write(&name(number), number % 3 + 1));
    let server = node.start(&[]);
    let total = |server: &Server| {
        let body = server.scrape();
        (0..500)
            .map(|number| body.value("Requests2XX", &labels("ml", &name(number))).unwrap_or(0.0))
            .sum::<f64>()
    };
    let expected: f64 = (0..500).map(|number| (number % 3 + 1) as f64).sum();
    eventually("all pods' lines", || (total(&server) == expected).then_some(()));
    assert_eq!(Some(1.0), server.value("inferometer_source_active", &[("source", "tgi-499/server/0.log")]));
    // They grow, and a new one comes.
    (0..500).for_each(|number| node.write(&name(number), 1));
    node.write("new", 2);
    eventually("all pods' new lines", || (total(&server) == expected + 500.0).then_some(()));
    wait_for(&server, "new", 2.0);
    assert!(server.peak_memory() < 64 * 1024, "{} KiB", server.peak_memory());
}

#[test]
fn the_kubelets_rotation_loses_and_repeats_nothing() {
    let node = Node::new();
    node.write("tgi-0", 3);
    let state = node.0.state();
    let arguments = ["--state.dir", state.to_str().unwrap()];
    let mut server = node.start(&arguments);
    wait_for(&server, "tgi-0", 3.0);
    let mut expected = 3.0;
    for round in 0..3 {
        node.write("tgi-0", 2);
        let rotated = node.folder("tgi-0").join(format!("0.log.20261120-18000{round}"));
        fs::rename(node.live("tgi-0"), &rotated).unwrap();
        // The runtime writes on to the old file until it is told to open it again.
        append(&rotated, cri(&requests(1)));
        node.write("tgi-0", 1);
        expected += 4.0;
        if round == 1 {
            server.kill();
            server = node.start(&arguments);
        }
        wait_for(&server, "tgi-0", expected);
        // What is rotated is compressed at the next turn, under a temporary name first.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(&rotated).unwrap()).unwrap();
        let temporary = rotated.with_extension(format!("log.20261120-18000{round}.tmp"));
        fs::write(&temporary, encoder.finish().unwrap()).unwrap();
        fs::rename(&temporary, node.folder("tgi-0").join(format!("0.log.20261120-18000{round}.gz"))).unwrap();
        fs::remove_file(&rotated).unwrap();
        node.write("tgi-0", 1);
        expected += 1.0;
        wait_for(&server, "tgi-0", expected);
    }
    // A restarted container has a file of its own, and the same labels.
    append(&node.folder("tgi-0").join("1.log"), cri(&requests(2)));
    wait_for(&server, "tgi-0", expected + 2.0);
}

#[test]
fn pods_of_one_name_in_two_namespaces_stay_apart() {
    let node = Node::new();
    node.write("tgi-0", 1);
    let other = node.pods().join(format!("dev_tgi-0_2c-3d/{CONTAINER}/0.log"));
    append(&other, cri(&requests(2)));
    let server = node.start(&[]);
    wait_for(&server, "tgi-0", 1.0);
    eventually("the other one", || {
        (server.value("Requests2XX", &labels("dev", "tgi-0"))? == 2.0).then_some(())
    });
    let body = server.scrape();
    for source in ["tgi-0/server/0.log", "ml/tgi-0/server/0.log"] {
        assert_eq!(Some(1.0), body.value("inferometer_source_active", &[("source", source)]), "{source}");
    }
}

#[test]
fn links_across_folders_need_an_allowed_root() {
    let node = Node::new();
    node.write("tgi-0", 2);
    let secrets = node.0.path().join("secrets");
    append(&secrets.join("a.log"), cri(&requests(5)));
    // A file, a container's folder and a pod's folder that lead out of the node's pods.
    for (link, target) in [
        (node.folder("evil").join("0.log"), secrets.join("a.log")),
        (node.pods().join("ml_worse_1/server"), secrets.clone()),
        (node.pods().join("ml_worst_1"), node.0.path().join("box")),
    ] {
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    }
    append(&node.0.path().join("box/server/0.log"), cri(&requests(5)));
    append(&secrets.join("0.log"), cri(&requests(5)));
    // A link to another pod's log stays in the PATH's folder, and is the same source.
    fs::create_dir_all(node.folder("twin")).unwrap();
    symlink(node.live("tgi-0"), node.live("twin")).unwrap();
    let server = node.start(&[]);
    wait_for(&server, "tgi-0", 2.0);
    let body = server.scrape();
    for pod in ["evil", "worse", "worst", "twin"] {
        assert_eq!(None, body.value("Requests2XX", &labels("ml", pod)), "{pod}");
    }
    drop(server);
    let server = node.start(&["--source.allow-root", secrets.to_str().unwrap()]);
    wait_for(&server, "evil", 5.0);
    wait_for(&server, "worse", 5.0);
    assert_eq!(None, server.value("Requests2XX", &labels("ml", "worst")));
}

#[test]
fn the_containers_links_are_followed_to_the_pods() {
    let node = Node::new();
    node.write("tgi-0", 2);
    let containers = node.0.logs().join("containers");
    fs::create_dir_all(&containers).unwrap();
    let link = containers.join(format!("tgi-0_ml_server-{}.log", "0123456789abcdef".repeat(4)));
    symlink(node.live("tgi-0"), link).unwrap();
    let mut command = run();
    command.arg(containers.join("*.log")).arg("--source.allow-root").arg(node.pods());
    let server = Server::launch(command).until_ready();
    wait_for(&server, "tgi-0", 2.0);
    fs::rename(node.live("tgi-0"), node.folder("tgi-0").join("0.log.20261120-180000")).unwrap();
    node.write("tgi-0", 1);
    wait_for(&server, "tgi-0", 3.0);
    let source = [("source", "tgi-0/server/0.log")];
    assert_eq!(Some(1.0), server.value("inferometer_rotations_total", &source));
}

/// A follower that is told the time.
struct Told {
    follower: Follower,
    board: Arc<Board>,
    now: u64,
}

impl Told {
    fn new(node: &Node, now: u64) -> Self {
        let watched = WatchedPath {
            path: node.glob(),
            format: None,
            labels: BTreeMap::new(),
            offset_minutes: 0,
            is_listed: false,
        };
        let settings = Settings {
            paths: vec![watched],
            allowed_roots: Vec::new(),
            allow_repeats: false,
            start: Start::Start,
            poll_interval: Duration::from_secs(1),
            commit_interval: Duration::from_secs(1),
            line_max: 1 << 16,
            state_dir: Some(node.0.state()),
            keep_lines: false,
        };
        let board = Arc::<Board>::default();
        let rules = Arc::new(Rules { series_limit: 50, ..Rules::default() });
        let mut follower = Follower::new(settings, rules, board.clone(), &Waker::default()).unwrap();
        eventually("the state folder is free", || follower.begin(now).then_some(()));
        Self { follower, board, now }
    }

    fn step(&mut self, seconds: u64) {
        self.now += seconds;
        for _ in 0..3 {
            while self.follower.step(self.now).has_more {}
        }
        self.follower.commit(self.now);
        self.follower.become_ready();
    }

    /// Names of the sources that are shown, and how many series the log families have.
    fn shown(&self) -> (Vec<String>, usize) {
        let published = self.board.view.get();
        let lines = published.view.own.iter().find(|family| family.name == "inferometer_lines_total");
        let mut names: Vec<String> =
            lines.unwrap().series.iter().map(|series| series.labels.to_string()).collect();
        names.retain(|labels| labels.contains("outcome=\"parsed\""));
        let log = &published.view.log;
        (names, log.iter().map(|family| family.series.len()).sum())
    }

    fn size_of_state(node: &Node) -> u64 {
        let slots = fs::read_dir(node.0.state()).unwrap();
        slots.map(|slot| slot.unwrap().metadata().unwrap().len()).max().unwrap()
    }
}

#[test]
fn what_is_remembered_of_pods_goes_with_them() {
    let node = Node::new();
    let mut told = Told::new(&node, 100);
    let mut size = 0;
    for generation in 0..40 {
        let pods: Vec<String> = (0..10).map(|number| format!("g{generation}-{number}")).collect();
        pods.iter().for_each(|pod| node.write(pod, 1));
        told.step(1);
        let (sources, series) = told.shown();
        assert_eq!((10, 10), (sources.len(), series), "{generation}: {sources:?}");
        assert!(sources[0].contains(&format!("g{generation}-")), "{sources:?}");
        remove(&node.pods());
        told.step(30);
        assert_eq!(10, told.shown().0.len(), "they may come back for a while");
        if generation == 20 {
            // They vanished before a crash: the next life forgets them, too.
            told = {
                drop(told);
                Told::new(&node, 2000)
            };
            told.step(1);
        }
        told.step(61);
        assert_eq!((Vec::new(), 0), told.shown(), "{generation}");
        match generation {
            1 => size = Told::size_of_state(&node),
            _ => assert!(generation == 0 || Told::size_of_state(&node) <= size * 2),
        }
    }
}

fn remove(folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
}
