//! The image, the Compose files and the service unit of `deploy/`, on a real Docker engine. The engine and all of its
//! networks live in a network of their own, so that nothing here meets a port or an address of this machine.
//!
//! No registry is reachable from a test: the base is made from Debian's packages, Prometheus' image holds Debian's
//! Prometheus, and TorchServe's image only a user who writes to the folder of logs, as TorchServe's user does.

mod bill;
mod compose;
mod engine;
mod lint;
mod service;
mod site;

use crate::support::process::eventually;
use engine::Engine;
use serde_json::Value;
use std::collections::BTreeMap;

/// What takes every right away, as a careful cluster does.
const CONFINED: &[&str] = &[
    "--network",
    "none",
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--memory",
    "64m",
    "--health-interval",
    "1s",
];

#[test]
fn image_says_what_it_is_and_who_runs_it() {
    let engine = Engine::shared();
    let image = engine.inspect(&engine.image);
    let text = |path: &str| image.pointer(path).map(Value::to_string).unwrap_or_default();
    assert_eq!("\"65532:65532\"", text("/Config/User"));
    assert_eq!("[\"inferometer\"]", text("/Config/Entrypoint"));
    assert_eq!("[\"run\",\"/logs\"]", text("/Config/Cmd"));
    assert_eq!("{\"9082/tcp\":{}}", text("/Config/ExposedPorts"));
    assert_eq!("{\"/state\":{}}", text("/Config/Volumes"));
    assert_eq!("[\"CMD\",\"inferometer\",\"probe\"]", text("/Config/Healthcheck/Test"));
    let labels: BTreeMap<String, String> =
        serde_json::from_value(image.pointer("/Config/Labels").unwrap().clone()).unwrap();
    let expected = [
        ("title", "inferometer"),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", engine::REVISION),
        ("source", engine::SOURCE),
        ("url", engine::SOURCE),
        ("documentation", engine::SOURCE),
        ("base.name", "debian:bookworm-slim"),
    ];
    let expected: BTreeMap<String, String> = expected
        .into_iter()
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()))
        .collect();
    assert_eq!(expected, labels);
    let version = engine.docker(&["run", "--rm", "--network", "none", &engine.image, "--version"]);
    assert_eq!(format!("inferometer {}\n", env!("CARGO_PKG_VERSION")), version);
    let state = engine.in_image(&["stat", "--format", "%u:%g %a", "/state"]);
    assert_eq!("65532:0 770\n", state, "group 0 is whatever user OpenShift chooses");
}

#[test]
fn image_turns_healthy_keeps_state_and_ends_in_time_as_any_user() {
    let engine = Engine::shared();
    // As the image has it, with another group, and as OpenShift runs it.
    for user in ["65532:65532", "65532", "1000650000:0"] {
        let container = engine.run(CONFINED, &["--user", user], &[]);
        container.becomes("healthy");
        let process = container.process();
        assert_eq!(user.split(':').next(), process.status("Uid").split('\t').next(), "{user}");
        assert_eq!("0000000000000000", process.status("CapEff"), "{user}");
        assert_eq!("0000000000000000", process.status("CapBnd"), "{user}");
        assert_eq!("1", process.status("NoNewPrivs"), "{user}");
        // Nobody has mounted anything, and the root cannot be written to.
        eventually("the state is saved", || {
            container.exec(&["ls", "/state"]).contains("slot-").then_some(())
        });
        // Killed after ten seconds, it would end with 137.
        assert_eq!(0, container.stop(), "{user}: {}", container.log());
    }
}

#[test]
fn image_turns_unhealthy_where_nothing_answers() {
    let engine = Engine::shared();
    let container = engine.run(CONFINED, &[], &["run", "/logs", "--web.listen-address", "127.0.0.1:9083"]);
    container.becomes("unhealthy");
}

#[test]
fn image_holds_the_bill_of_what_the_binary_is_made_of() {
    let engine = Engine::shared();
    let text = engine.in_image(&["cat", "/usr/share/doc/inferometer/inferometer.cdx.json"]);
    bill::check(&text);
    let licence = engine.in_image(&["cat", "/usr/share/doc/inferometer/LICENSE"]);
    assert!(licence.contains("Apache License"), "{licence}");
}
