//! A Compose file that is up: the shipped one, with images of our own making under the names that it asks for.

use super::engine::{Container, Engine, compose_image, repository, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// All Compose files have the same ports.
static PORTS: Mutex<()> = Mutex::new(());

/// Debian's Prometheus as its own image would have it.
const PROMETHEUS: &str = "COPY binary /bin/prometheus\nRUN install -d -o 65534 -g 65534 /prometheus\nUSER 65534\n\
    ENTRYPOINT [\"/bin/prometheus\"]\n";

/// A user who can write where TorchServe's can: another one than the sidecar's.
const TORCHSERVE: &str = "USER 1000\nCMD [\"sleep\", \"infinity\"]\n";

/// Some services of a Compose file; taken down when dropped.
pub(super) struct Site {
    pub(super) engine: Arc<Engine>,
    file: &'static str,
    /// A copy of `deploy/`, since Compose makes the folders that it cannot find.
    folder: TempDir,
    _ports: MutexGuard<'static, ()>,
}

impl Site {
    pub(super) fn up(file: &'static str, services: &[&str]) -> Self {
        let ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = Engine::shared();
        let prometheus = compose_image("monitoring.yaml", "prometheus");
        engine.build_on_base(&prometheus, Some(&found("prometheus")), PROMETHEUS);
        engine.build_on_base(&compose_image("compose.yaml", "torchserve"), None, TORCHSERVE);
        let folder = tempfile::tempdir().unwrap();
        succeed(Command::new("cp").arg("-r").arg(repository().join("deploy")).arg(folder.path()));
        // Five times as fast, for a test's sake.
        let config = folder.path().join("deploy/compose/prometheus.yml");
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains("scrape_interval: 5s"), "{text}");
        fs::write(&config, text.replace("interval: 5s", "interval: 1s")).unwrap();
        let site = Self { engine, file, folder, _ports: ports };
        site.compose(&[&["up", "--detach", "--no-build"], services].concat());
        site
    }

    /// What `docker-compose` prints; it has to succeed.
    fn compose(&self, arguments: &[&str]) -> String {
        let mut command = self.engine.command("docker-compose");
        command.current_dir(self.folder.path().join("deploy/compose"));
        succeed(command.args(["--file", self.file]).args(arguments))
    }

    /// The container of a service.
    pub(super) fn container(&self, service: &str) -> Container {
        Container::of(&self.engine, self.compose(&["ps", "--quiet", service]).trim())
    }

    /// The body of inferometer's `/metrics`.
    pub(super) fn metrics(&self) -> Result<String, String> {
        self.engine.get("http://127.0.0.1:9082/metrics")
    }

    /// The value of a query of Prometheus that has one.
    pub(super) fn query(&self, expression: &str) -> Result<f64, String> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let answer = self.engine.get(&format!("http://127.0.0.1:9090/api/v1/query?{query}"))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        let results = answer.pointer("/data/result").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let [result] = results else { return Err(format!("{expression}: {answer}")) };
        result["value"][1].as_str().unwrap().parse().map_err(|error| format!("{error}: {result}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A failing test's last words are worth more than those of its end.
        let mut command = self.engine.command("docker-compose");
        command.current_dir(self.folder.path().join("deploy/compose"));
        command.args(["--file", self.file, "down", "--volumes", "--timeout", "1"]).output().ok();
    }
}

/// Where a program is.
fn found(program: &str) -> std::path::PathBuf {
    let folders = std::env::var_os("PATH").unwrap();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(program));
    paths
        .find(|path| Path::is_file(path))
        .unwrap_or_else(|| panic!("{program}: install it (tests/run.sh does)"))
}
