//! The software bill of materials that the image holds, against Cargo's own files.

use super::engine::{repository, succeed};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// What the script writes for these sources.
pub(super) fn written() -> String {
    succeed(&mut Command::new(repository().join("deploy/image/sbom.sh")))
}

/// Whether a bill is a CycloneDX document that names what is linked in, as Cargo.lock has it, and nothing else.
pub(super) fn check(text: &str) {
    let bill: Value = serde_json::from_str(text).unwrap();
    assert_eq!((Some("CycloneDX"), Some("1.5")), (bill["bomFormat"].as_str(), bill["specVersion"].as_str()));
    let main = &bill["metadata"]["component"];
    let named = (main["type"].as_str(), main["name"].as_str(), main["version"].as_str());
    assert_eq!((Some("application"), Some("inferometer"), Some(env!("CARGO_PKG_VERSION"))), named);
    let locked = locked();
    let mut names = BTreeSet::new();
    let mut references = BTreeSet::new();
    for component in bill["components"].as_array().unwrap() {
        let text = |member: &str| component[member].as_str().unwrap_or_default().to_owned();
        let (name, version) = (text("name"), text("version"));
        assert_eq!("library", text("type"), "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        assert!(references.insert(text("bom-ref")), "twice: {component}");
        let checksum = locked.get(&(name.clone(), version.clone()));
        match checksum.unwrap_or_else(|| panic!("not in Cargo.lock: {component}")) {
            Some(checksum) => {
                assert_eq!(
                    Some(checksum.as_str()),
                    component["hashes"][0]["content"].as_str(),
                    "{component}"
                );
                assert_eq!(format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")), text("purl"));
            }
            None => assert!(component.get("purl").is_none(), "in no registry: {component}"),
        }
        names.insert(name);
    }
    let [wanted, unwanted] = ["dependencies", "dev-dependencies"].map(direct);
    assert_eq!(Vec::<&String>::new(), wanted.difference(&names).collect::<Vec<_>>(), "missing");
    let only_for_tests = unwanted.difference(&wanted).filter(|name| names.contains(*name));
    assert_eq!(Vec::<&String>::new(), only_for_tests.collect::<Vec<_>>(), "only for tests");
    // It runs while compiling and is not in the binary.
    assert!(!names.contains("serde_derive"), "{names:?}");
}

/// The packages of Cargo.lock by name and version, with the checksum of those that come from the registry.
fn locked() -> BTreeMap<(String, String), Option<String>> {
    let text = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    let packages = text.split("[[package]]").skip(1).map(|package| {
        let value = |name: &str| {
            let lines = package.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            lines.map(|value| value.trim_matches('"').to_owned()).next()
        };
        ((value("name").unwrap(), value("version").unwrap()), value("checksum"))
    });
    packages.collect()
}

/// The packages of one table of Cargo.toml.
fn direct(table: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let (_, table) = text.split_once(&format!("\n[{table}]\n")).unwrap();
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned())).collect()
}
