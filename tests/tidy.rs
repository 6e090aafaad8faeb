//! The house rules as ordinary tests: which module may know which, and what no file may hold.
//!
//! Each rule is a function from a file's name and text to what is wrong with it, so that the rule itself
//! has a test: a sample that it has to refuse.

use crate::support_tidy::{code, paths};
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_PER_FILE: usize = 450;

/// What the files of one place may not name.
struct Boundary {
    /// Files whose path begins so: `src/state` is `src/state.rs` and all below `src/state/`.
    of: &'static str,
    never: &'static [&'static str],
    /// Whether asking the time, under whatever type, is refused too.
    without_clock: bool,
    why: &'static str,
}

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        of: "parsers/src/",
        never: &["tokio", "prometheus", "std::fs", "std::net", "std::thread", "std::time"],
        without_clock: true,
        why: "the parsers are pure: the same bytes give the same samples",
    },
    Boundary {
        of: "src/state",
        never: &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "tokio",
            "crate::follow",
            "crate::expose",
            "crate::collect",
            "crate::snapshot",
            "crate::run",
            "crate::config",
        ],
        without_clock: true,
        why: "state is a fold over lines: no I/O, no clock, no locks",
    },
    Boundary {
        of: "src/snapshot",
        never: &["crate::follow", "tokio"],
        without_clock: false,
        why: "a snapshot is written by a plain call, whoever makes it",
    },
    Boundary {
        of: "src/follow",
        never: &["warp", "crate::collect", "crate::expose"],
        without_clock: false,
        why: "the follower publishes; it does not know who looks",
    },
    Boundary {
        of: "src/expose",
        never: &["crate::follow", "std::fs"],
        without_clock: false,
        why: "a scrape sees what was published, never a file",
    },
    Boundary {
        of: "src/collect",
        never: &["crate::state", "crate::follow", "parsers"],
        without_clock: false,
        why: "collectors are given the workers' names; they know no log",
    },
];

#[test]
fn modules_keep_to_their_boundaries() {
    check_modules(&["src", "parsers/src"], |file, text| {
        let mut wrong = beyond_boundary(file, text);
        wrong.extend(use_of_run(file, text));
        wrong
    });
}

#[test]
fn parsers_depend_on_nom_and_regex_and_what_both_are_made_of() {
    let manifest = read(&root().join("parsers/Cargo.toml"));
    assert_eq!(Vec::<String>::new(), foreign_dependencies(&manifest, &["nom", "regex", "memchr"]));
}

#[test]
fn sources_hold_no_ignored_tests_no_gaps_and_no_sleeps() {
    check_sources(&["src", "parsers/src", "tests"], |_, text| forbidden_lines(text));
}

#[test]
fn source_files_stay_readable_in_one_go() {
    check_modules(&["src", "parsers/src"], |_, text| too_long(text).into_iter().collect());
}

#[test]
fn modules_open_with_their_place_in_the_flow() {
    check_modules(&["src", "parsers/src"], |_, text| without_module_doc(text).into_iter().collect());
}

#[test]
fn fixture_folders_are_described() {
    let fixtures = root().join("fixtures");
    let readme = read(&fixtures.join("README.md"));
    let formats = folders(&fixtures);
    let cases = formats.iter().flat_map(|format| folders(format));
    let names: Vec<String> = formats.iter().cloned().chain(cases).map(|folder| name_of(&folder)).collect();
    assert!(!names.is_empty(), "no folder below {}", fixtures.display());
    assert_eq!(Vec::<&String>::new(), undescribed(&readme, &names));
}

#[test]
fn files_name_no_path_of_this_machine() {
    let needles = paths_of_this_machine(&root(), std::env::var_os("HOME").map(PathBuf::from));
    let mut wrong = Vec::new();
    for file in files_in_git() {
        // A file that is listed may just have been deleted.
        let Ok(bytes) = std::fs::read(root().join(&file)) else { continue };
        wrong.extend(
            mentions(&String::from_utf8_lossy(&bytes), &needles).map(|line| format!("{file}: {line}")),
        );
    }
    assert_eq!(Vec::<String>::new(), wrong);
}

// Each rule refuses what it is there to refuse.

#[test]
fn boundary_is_seen_however_the_path_is_spelled() {
    for text in [
        "use crate::follow::Tail;",
        "use crate::{labels::Labels, follow};",
        "pub(crate) use crate::{\n    labels::Labels,\n    follow::{Tail, cut::Cut},\n};",
        "use super::follow::Tail;",
        "use crate::*;",
        "fn f(tail: &crate::follow::Tail) {}",
        "use std::fs;",
        "use std::{collections::HashMap, fs::File};",
        "fn f() { std::fs::remove_file(\"x\") }",
        "use std::time::{Duration, Instant};",
        "use std::time;",
        "use std::time::*;",
        "use std::sync::{Arc, Mutex as Lock};",
        "fn f() { let now = jiff::Timestamp::now(); }",
        "#[cfg(test)]\nuse std::fs::File;\n\n#[cfg(test)]\nmod tests {}\n",
    ] {
        assert!(!beyond_boundary("src/state.rs", text).is_empty(), "{text}");
    }
    assert_eq!(1, beyond_boundary("src/state/value.rs", "use super::super::follow::Tail;").len());
    assert_eq!(1, beyond_boundary("parsers/src/formats/x.rs", "use std::time::Duration;").len());
}

#[test]
fn boundary_leaves_the_rest_alone() {
    for text in [
        "use std::time::Duration;",
        "use crate::{labels::Labels, state::{self, follower}};",
        "use std::sync::{Arc, atomic::AtomicU64};",
        "//! See [`crate::follow`].\n/// Not `std::fs`.\nfn f() {} // crate::follow calls this\n",
        "use parsers::Sample;\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        "use super::publish::Sink;",
    ] {
        assert_eq!(Vec::<String>::new(), beyond_boundary("src/state.rs", text), "{text}");
    }
    assert_eq!(Vec::<String>::new(), beyond_boundary("src/state/value.rs", "use super::follow::Kept;"));
    assert_eq!(Vec::<String>::new(), beyond_boundary("src/run.rs", "use crate::follow;"));
}

#[test]
fn use_of_the_wiring_is_seen() {
    let text = "use crate::run::serve;";
    assert_eq!(1, use_of_run("src/config.rs", text).len());
    assert_eq!(1, use_of_run("src/expose/http.rs", text).len());
    assert_eq!(0, use_of_run("src/main.rs", "use inferometer::run::serve;").len());
    assert_eq!(0, use_of_run("src/run/demo.rs", "use super::Wiring;").len());
}

#[test]
fn foreign_dependency_is_seen_wherever_it_stands() {
    let manifest = "[package]\nname = \"p\"\n[dependencies]\nnom = { workspace = true }\ntokio = \"1\"\n\
        regex.workspace = true\n[dev-dependencies]\nproptest = \"1\"\n[dependencies.serde]\nversion = \"1\"\n\
        [target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n[build-dependencies]\ncc = \"1\"\n[lints]\nworkspace = true\n";
    assert_eq!(
        ["tokio", "serde", "libc", "cc"],
        *foreign_dependencies(manifest, &["nom", "regex", "memchr"])
    );
}

#[test]
fn forbidden_line_is_seen() {
    for line in [
        concat!("    #[", "ignore]"),
        concat!("#[", "ignore = \"slow\"]"),
        concat!("#[", "should_panic]"),
        concat!("    todo", "!(\"later\")"),
        concat!("unimplemented", "!()"),
        concat!("std::thread::", "sleep(SHORT);"),
        concat!("use std::thread::", "sleep;"),
    ] {
        assert_eq!(1, forbidden_lines(line).len(), "{line}");
    }
    let paced = concat!("thread::", "sleep(SHORT); // allow-", "sleep: pacing a bounded poll");
    assert_eq!(Vec::<String>::new(), forbidden_lines(paced));
    assert_eq!(Vec::<String>::new(), forbidden_lines("let ignored = 1; // what is still to do"));
}

#[test]
fn long_file_is_seen_and_its_tests_do_not_count() {
    let full = "fn f() {}\n".repeat(LINES_PER_FILE);
    let tests = format!("{full}#[cfg(test)]\nmod tests {{}}\n");
    assert_eq!(None, too_long(&full));
    assert_eq!(None, too_long(&tests));
    assert!(too_long(&format!("{full}fn g() {{}}\n")).is_some());
    assert!(too_long(&format!("use a;\n{tests}")).is_some());
}

#[test]
fn missing_module_doc_is_seen() {
    assert!(without_module_doc("use std::fmt;\n//! Late.\n").is_some());
    assert!(without_module_doc("// Not a doc comment.\n").is_some());
    assert_eq!(None, without_module_doc("//! The fold.\n"));
}

#[test]
fn undescribed_folder_is_seen() {
    let readme = "## servers/\n| `pairs` | x |\n| `layouts/` | y |\nthe log of pairs-edge\n";
    let names = ["servers", "pairs", "layouts", "pairs-edge", "log"].map(str::to_owned);
    assert_eq!(vec!["pairs-edge", "log"], undescribed(readme, &names));
}

#[test]
fn path_of_this_machine_is_seen() {
    let home = Some(PathBuf::from("/people/ann"));
    let needles = paths_of_this_machine(Path::new("/checkouts/project"), home);
    assert_eq!(vec!["/checkouts/", "/people/ann/"], needles);
    let text = "cd /checkouts/project\nHOME=/people/ann/x\n/people/anna/checkouts\n";
    assert_eq!(
        vec!["cd /checkouts/project", "HOME=/people/ann/x"],
        mentions(text, &needles).collect::<Vec<_>>()
    );
    // A clone in a folder that every machine has makes only its own name a needle.
    assert_eq!(vec!["/tmp/clone/"], paths_of_this_machine(Path::new("/tmp/clone"), Some(PathBuf::from("/"))));
}

/// Paths that the file's place in the house forbids.
fn beyond_boundary(file: &str, text: &str) -> Vec<String> {
    let named = paths(file, &code(text));
    let mut wrong = Vec::new();
    for boundary in BOUNDARIES.iter().filter(|boundary| file.starts_with(boundary.of)) {
        let is_clock = |path: &str| boundary.without_clock && path.ends_with("::now");
        let is_beyond = |path: &&crate::support_tidy::Named| {
            is_clock(&path.path) || boundary.never.iter().any(|place| path.reaches(place))
        };
        wrong.extend(named.iter().filter(is_beyond).map(|path| format!("{}: {}", path.path, boundary.why)));
    }
    wrong
}

/// `run` wires everything together; whoever used it would be used by it too.
fn use_of_run(file: &str, text: &str) -> Vec<String> {
    if file == "src/main.rs" || file == "src/run.rs" || file.starts_with("src/run/") {
        return Vec::new();
    }
    let named = paths(file, &code(text));
    let uses = named.iter().filter(|path| file.starts_with("src/") && path.reaches("crate::run"));
    uses.map(|path| format!("{}: only main.rs uses the wiring", path.path)).collect()
}

/// The names in a manifest's dependency tables, those for tests apart, that are not allowed.
fn foreign_dependencies(manifest: &str, allowed: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            is_inside = heading.ends_with("dependencies") && heading != "dev-dependencies";
            names.extend(
                heading.split_once("dependencies.").filter(|(kind, _)| *kind != "dev-").map(|it| it.1),
            );
        } else if is_inside && !line.is_empty() && !line.starts_with('#') {
            names.extend(line.split(['=', '.', ' ']).next());
        }
    }
    names.into_iter().filter(|name| !allowed.contains(name)).map(str::to_owned).collect()
}

/// Lines that switch a test off, leave a gap or wait for luck. The needles are written in two pieces,
/// because this file is read too.
fn forbidden_lines(text: &str) -> Vec<String> {
    const NEEDLES: &[&str] = &[
        concat!("#[", "ignore"),
        concat!("#[", "should_panic"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let waits = |line: &str| line.contains(concat!("thread::", "sleep")) && !line.contains("allow-sleep");
    let is_forbidden = |line: &&str| NEEDLES.iter().any(|needle| line.contains(needle)) || waits(line);
    text.lines().filter(is_forbidden).map(|line| line.trim().to_owned()).collect()
}

fn too_long(text: &str) -> Option<String> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    (lines > LINES_PER_FILE).then(|| format!("{lines} lines before its tests; the limit is {LINES_PER_FILE}"))
}

fn without_module_doc(text: &str) -> Option<String> {
    (!text.starts_with("//!")).then(|| "does not begin with `//!`".to_owned())
}

/// Folder names that stand neither in backquotes nor as a heading.
fn undescribed<'a>(readme: &str, names: &'a [String]) -> Vec<&'a String> {
    let is_described = |name: &str| {
        let forms =
            [format!("`{name}`"), format!("`{name}/`"), format!("# {name}/\n"), format!("# {name}\n")];
        forms.iter().any(|form| readme.contains(form))
    };
    names.iter().filter(|name| !is_described(name)).collect()
}

/// What only this machine could mean: the folder that holds the checkout, and the home folder.
fn paths_of_this_machine(checkout: &Path, home: Option<PathBuf>) -> Vec<String> {
    // Every machine has these, so a file may name them.
    const EVERYWHERE: &[&str] =
        &["/", "/app", "/home", "/mnt", "/opt", "/src", "/srv", "/tmp", "/usr/src", "/var/tmp"];
    let is_telling = |path: &&Path| !EVERYWHERE.iter().any(|common| Path::new(common) == *path);
    let parent = checkout.parent().filter(is_telling).unwrap_or(checkout);
    let places = [Some(parent), home.as_deref()].into_iter().flatten().filter(is_telling);
    places.map(|path| format!("{}/", path.display())).collect()
}

fn mentions<'a>(text: &'a str, needles: &'a [String]) -> impl Iterator<Item = &'a str> {
    text.lines().filter(|line| needles.iter().any(|needle| line.contains(needle)))
}

/// Applies a rule to the source files below some folders, without the files that hold tests only.
fn check_modules(folders: &[&str], rule: impl Fn(&str, &str) -> Vec<String>) {
    check_sources(
        folders,
        |file, text| if file.ends_with("/tests.rs") { Vec::new() } else { rule(file, text) },
    );
}

/// Applies a rule to every source file below some folders and lists all that is wrong.
fn check_sources(folders: &[&str], rule: impl Fn(&str, &str) -> Vec<String>) {
    let is_source = |file: &String| {
        let is_below = |folder: &&str| file.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
        file.ends_with(".rs") && folders.iter().any(is_below)
    };
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files_in_git().into_iter().filter(is_source) {
        // A file that is listed may just have been deleted.
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        seen += 1;
        wrong.extend(rule(&file, &text).into_iter().map(|what| format!("{file}: {what}")));
    }
    assert!(seen > 0, "no source files below {folders:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files of the checkout: those in git, and those that the next commit could add.
fn files_in_git() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git starts; the house rules are checked on what git lists");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git ls-files: {message}");
    let list = String::from_utf8(output.stdout).expect("file names are UTF-8");
    list.split_terminator('\0').map(str::to_owned).collect()
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a folder has a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
