//! A Docker engine of the tests' own, in a network of its own, with the images that they run.

use super::bill;
use crate::support::process::eventually;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;

/// What the image is built with, to be found in its labels.
pub(super) const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
pub(super) const SOURCE: &str = "https://example.org/inferometer";

/// Started in a network and with mounts of its own: whatever it leaves behind goes with it. However the tests end,
/// the pipe is closed then, and the engine ends as well.
const SCRIPT: &str = r#"
    ip link set lo up || exit
    dockerd --data-root "$1/data" --exec-root "$1/exec" --host "unix://$1/socket" --pidfile "$1/pid" \
        --config-file "$1/daemon.json" >"$1/log" 2>&1 &
    engine=$!
    cat >/dev/null
    kill "$engine"
    wait "$engine"
"#;

/// A running engine, its base image, and the image under test; ended when the last test drops it.
pub(super) struct Engine {
    shell: Child,
    folder: TempDir,
    /// The image under test.
    pub(super) image: String,
}

impl Engine {
    /// The engine of all tests that run at this time.
    pub(super) fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let engine = Arc::new(Self::start());
            *running = Arc::downgrade(&engine);
            engine
        })
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("daemon.json"), "{}").unwrap();
        let shell = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", SCRIPT, "sh"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("Debian's package util-linux");
        let mut engine = Self { shell, folder, image: compose_image("monitoring.yaml", "inferometer") };
        eventually("the engine answers", || {
            let ended = engine.shell.try_wait().unwrap();
            assert!(ended.is_none(), "the engine has ended (it needs root and dockerd): {}", engine.log());
            engine.try_docker(&["version"]).status.success().then_some(())
        });
        engine.import(&[], &default_of("BASE"));
        engine.build_image();
        engine
    }

    /// Makes an image of Debian with these packages, once.
    pub(super) fn import(&self, packages: &[&str], tag: &str) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        if self.try_docker(&["image", "inspect", tag]).status.success() {
            return;
        }
        self.docker(&["import", base(packages).to_str().unwrap(), tag]);
    }

    /// The binary of this build as it is in the image.
    pub(super) fn binary(&self) -> PathBuf {
        self.folder.path().join("context/target/release/inferometer")
    }

    /// Builds the real Dockerfile around the binary of this build, as its first lines say.
    fn build_image(&self) {
        let context = self.folder.path().join("context");
        let release = context.join("target/release");
        fs::create_dir_all(&release).unwrap();
        fs::create_dir(context.join("deploy")).unwrap();
        for file in [".dockerignore", "LICENSE", "deploy/Dockerfile"] {
            fs::copy(repository().join(file), context.join(file)).unwrap();
        }
        // A debug build is mostly names.
        succeed(Command::new("strip").arg("-o").arg(self.binary()).arg(env!("CARGO_BIN_EXE_inferometer")));
        fs::write(release.join("inferometer.cdx.json"), bill::written()).unwrap();
        let labels = [format!("REVISION={REVISION}"), format!("SOURCE={SOURCE}")];
        self.build(
            &context,
            "deploy/Dockerfile",
            &self.image,
            &["--target", "prebuilt", "--build-arg", &labels[0], "--build-arg", &labels[1]],
        );
    }

    /// Builds an image of one stage on the base.
    pub(super) fn build_on_base(&self, tag: &str, binary: Option<&Path>, instructions: &str) {
        let context = tempfile::tempdir_in(self.folder.path()).unwrap();
        if let Some(binary) = binary {
            fs::copy(binary, context.path().join("binary")).unwrap();
        }
        let text = format!("FROM {}\n{instructions}", default_of("BASE"));
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        self.build(context.path(), "Dockerfile", tag, &[]);
    }

    fn build(&self, context: &Path, file: &str, tag: &str, options: &[&str]) {
        let mut command = self.command("docker");
        command.args(["build", "--quiet", "--tag", tag, "--file"]).arg(context.join(file)).args(options);
        succeed(command.arg(context));
    }

    /// A program that finds this engine.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", format!("unix://{}", self.folder.path().join("socket").display()))
            // BuildKit needs a plugin that Debian does not have.
            .env("DOCKER_BUILDKIT", "0")
            .env("COMPOSE_DOCKER_CLI_BUILD", "0")
            .env("DOCKER_CONFIG", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(super) fn try_docker(&self, arguments: &[&str]) -> Output {
        self.command("docker").args(arguments).output().expect("Debian's package docker.io")
    }

    /// What a command of `docker` prints; it has to succeed.
    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        succeed(self.command("docker").args(arguments))
    }

    /// What is known of one object.
    pub(super) fn inspect(&self, object: &str) -> Value {
        let found: Value = serde_json::from_str(&self.docker(&["inspect", object])).unwrap();
        found.get(0).cloned().unwrap()
    }

    /// Runs a program of the image under test in place of ours.
    pub(super) fn in_image(&self, command: &[&str]) -> String {
        let start = ["run", "--rm", "--network", "none", "--entrypoint", command[0], &self.image];
        self.docker(&[&start, &command[1..]].concat())
    }

    /// Starts a container of the image under test.
    pub(super) fn run(self: &Arc<Self>, options: &[&str], more: &[&str], arguments: &[&str]) -> Container {
        let image = [self.image.as_str()];
        let id = self.docker(&[&["run", "--detach"], options, more, &image, arguments].concat());
        Container::of(self, id.trim())
    }

    /// Asks for an address in the engine's network, where published ports are.
    pub(super) fn get(&self, url: &str) -> Result<String, String> {
        let network = format!("--net=/proc/{}/ns/net", self.shell.id());
        let curl =
            ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "10"];
        let output = Command::new("nsenter").arg(network).args(curl).arg(url).output().unwrap();
        let body = String::from_utf8(output.stdout).unwrap();
        if output.status.success() { Ok(body) } else { Err(body + &String::from_utf8_lossy(&output.stderr)) }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What still runs would be given time to end.
        let running = self.try_docker(&["ps", "--quiet"]);
        let running = String::from_utf8_lossy(&running.stdout).into_owned();
        let containers: Vec<&str> = running.split_whitespace().collect();
        if !containers.is_empty() {
            self.try_docker(&[&["kill"], &*containers].concat());
        }
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
    }
}

/// A container; removed when dropped.
pub(super) struct Container {
    engine: Arc<Engine>,
    pub(super) id: String,
}

impl Container {
    pub(super) fn of(engine: &Arc<Engine>, id: &str) -> Self {
        Self { engine: Arc::clone(engine), id: id.to_owned() }
    }

    /// Waits until its own check says so.
    pub(super) fn becomes(&self, health: &str) {
        eventually(&format!("the container is {health}"), || {
            let state = self.state();
            assert_eq!(Some(true), state["Running"].as_bool(), "{state}\n{}", self.log());
            (state["Health"]["Status"] == health).then_some(())
        });
    }

    pub(super) fn inspect(&self) -> Value {
        self.engine.inspect(&self.id)
    }

    pub(super) fn state(&self) -> Value {
        self.inspect()["State"].clone()
    }

    /// How often the engine has started it again by itself.
    pub(super) fn restarts(&self) -> u64 {
        self.inspect()["RestartCount"].as_u64().unwrap()
    }

    /// Its first process, as this machine sees it.
    pub(super) fn process(&self) -> Process {
        Process(u32::try_from(self.state()["Pid"].as_u64().unwrap()).unwrap())
    }

    /// Copies a file of this machine into it.
    pub(super) fn copy(&self, file: &Path, to: &str) {
        self.engine.docker(&["cp", file.to_str().unwrap(), &format!("{}:{to}", self.id)]);
    }

    /// Runs a program in it.
    pub(super) fn exec(&self, command: &[&str]) -> String {
        self.engine.docker(&[&["exec", &self.id], command].concat())
    }

    pub(super) fn start(&self) {
        self.engine.docker(&["start", &self.id]);
    }

    pub(super) fn kill(&self) {
        self.engine.docker(&["kill", &self.id]);
    }

    /// Has it end, and returns its exit code.
    pub(super) fn stop(&self) -> i64 {
        self.engine.docker(&["stop", &self.id]);
        self.state()["ExitCode"].as_i64().unwrap()
    }

    pub(super) fn log(&self) -> String {
        let output = self.engine.try_docker(&["logs", &self.id]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.engine.try_docker(&["rm", "--force", "--volumes", &self.id]);
    }
}

/// A process in a container.
pub(super) struct Process(pub(super) u32);

impl Process {
    /// A line of its `status` below /proc.
    pub(super) fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}: {status}")).trim().to_owned()
    }
}

/// The repository's top folder.
pub(super) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end, which has to be a good one, and returns what it printed.
pub(super) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The image that a Compose file names for a service.
pub(super) fn compose_image(file: &str, service: &str) -> String {
    let text = fs::read_to_string(repository().join("deploy/compose").join(file)).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    file["services"][service]["image"].as_str().unwrap_or_else(|| panic!("{service} has no image")).to_owned()
}

/// The default of one of the Dockerfile's arguments.
fn default_of(argument: &str) -> String {
    let text = fs::read_to_string(repository().join("deploy/Dockerfile")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("ARG {argument}=")));
    line.unwrap_or_else(|| panic!("no default of {argument}")).to_owned()
}

/// A file system of the release of Debian that this machine runs, so that its glibc is the one that the binary was
/// linked with, and these packages. Made once per build folder, from Debian's packages.
fn base(packages: &[&str]) -> PathBuf {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap();
    let name = [&["image", release], packages].concat().join("-");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.tar"));
    if !kept.exists() {
        let made = tempfile::Builder::new().suffix(".tar").tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = Command::new("mmdebstrap");
        // What Debian's own slim images leave out.
        for folder in ["doc", "info", "locale", "man"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
        }
        if !packages.is_empty() {
            command.arg(format!("--include={}", packages.join(",")));
        }
        succeed(command.args(["--quiet", "--variant=minbase", release]).arg(made.path()));
        // For every user of a build folder that is kept.
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o644)).unwrap();
        // Another run may have made one in the meantime; one is as good as the other.
        made.persist(&kept).unwrap();
    }
    kept
}
