//! The manifests of `deploy/kubernetes` as a cluster would get them: rendered by the real tools.

use crate::support::process::stderr;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A copy of `deploy/kubernetes` with kustomizations of a test's own beside it. Since it is a copy, whatever it needs from
/// elsewhere is missing.
pub(super) struct Cluster(TempDir);

impl Cluster {
    pub(super) fn new() -> Self {
        let cluster = Self(tempfile::tempdir().expect("a temporary folder"));
        copy(&source(), &cluster.folder());
        cluster
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.0.path().join("kubernetes")
    }

    /// Adds a kustomization of somebody else's objects that lists these components.
    pub(super) fn with_own(&self, name: &str, objects: &str, components: &[&str]) {
        let folder = self.0.path().join("kubernetes").join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("objects.yaml"), objects).expect("a file");
        let components: String =
            components.iter().map(|name| format!("  - ../components/{name}\n")).collect();
        let text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamePrefix: own-\n\
             resources: [objects.yaml]\ncomponents:\n{components}"
        );
        std::fs::write(folder.join("kustomization.yaml"), text).expect("a file");
    }

    /// What a tool makes of a kustomization: the text.
    pub(super) fn text(&self, name: &str) -> String {
        self.try_text(name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The same, or what the tool says is wrong.
    pub(super) fn try_text(&self, name: &str) -> Result<String, String> {
        renderers()[0].render(&self.folder().join(name))
    }

    /// The same by every tool that is here: a person has one or the other, and both have to do.
    pub(super) fn agreed_text(&self, name: &str) -> String {
        let text = self.text(name);
        for renderer in &renderers()[1..] {
            let other = renderer.render(&self.folder().join(name));
            assert_eq!(Ok(&text), other.as_ref(), "{name}, by {}", renderer.program);
        }
        text
    }

    /// The objects of a kustomization.
    pub(super) fn objects(&self, name: &str) -> Vec<Value> {
        parse(&self.text(name))
    }
}

/// `deploy/kubernetes` itself.
pub(super) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// The documents of a YAML file.
pub(super) fn parse(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The only object of a kind.
pub(super) fn object<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind} in {objects:?}"));
    assert!(found.next().is_none(), "two objects of kind {kind}");
    object
}

/// The pod that a Deployment, StatefulSet or DaemonSet makes.
pub(super) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]
}

/// An entry of a list by its name.
pub(super) fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let entries = list.as_array().unwrap_or_else(|| panic!("no list that could hold {name}: {list}"));
    entries.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("no {name} in {list}"))
}

/// A tool that tests/run.sh installs, found as it finds it: in the build folder or in `PATH`.
pub(super) fn tool(name: &str) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_inferometer")).ancestors().nth(2).expect("the build folder");
    let mut places = vec![built.join("tools/bin"), built.join("tools/python/bin")];
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path: OsString = std::env::join_paths(&places).expect("folders without a colon");
    let program = places.iter().map(|place| place.join(name)).find(|file| file.is_file());
    let mut command = Command::new(program.unwrap_or_else(|| PathBuf::from(name)));
    command.env("PATH", path);
    command
}

/// A program that renders kustomizations.
struct Renderer {
    program: &'static str,
    verb: &'static str,
}

impl Renderer {
    fn render(&self, folder: &Path) -> Result<String, String> {
        let output = tool(self.program).arg(self.verb).arg(folder).output().expect("it has told its version");
        if !output.status.success() {
            return Err(stderr(&output));
        }
        Ok(String::from_utf8(output.stdout).expect("YAML is UTF-8"))
    }

    /// Components are as old as kustomize 3.7, what ours need is not: kubectl has it since 1.24, with kustomize 4.5.4.
    fn is_usable(&self) -> bool {
        let version: &[&str] = match self.program {
            "kubectl" => &["version", "--client", "--output=json"],
            _ => &["version", "--short"],
        };
        let Ok(output) = tool(self.program).args(version).output() else { return false };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if self.program != "kubectl" {
            return output.status.success();
        }
        let known: Value = serde_json::from_str(&text).unwrap_or_default();
        let minor = known["clientVersion"]["minor"].as_str().unwrap_or_default();
        let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().is_ok_and(|minor: u32| minor >= 24)
    }
}

/// Those that are here, at least one.
fn renderers() -> &'static [Renderer] {
    static HERE: OnceLock<Vec<Renderer>> = OnceLock::new();
    HERE.get_or_init(|| {
        let mut known = vec![
            Renderer { program: "kubectl", verb: "kustomize" },
            Renderer { program: "kustomize", verb: "build" },
        ];
        known.retain(Renderer::is_usable);
        assert!(
            !known.is_empty(),
            "nothing renders kustomizations here: install kubectl 1.24 or newer, or kustomize 4.5.4 or newer \
             (tests/run.sh installs the latter)"
        );
        known
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a file to copy")),
        }
    }
}
