//! The log4j file: what it changes of TorchServe's own, that the room it takes is bounded and in the volume, and that the
//! rotation it asks for loses nothing. `tests/torchserve.sh` has a real TorchServe load it.

use super::manifest::{Cluster, named, object, pod, source};
use crate::support::folders::Folders;
use crate::support::lines::{append, requests};
use crate::support::process::{Server, run, stderr, wait_for};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Prints an XML file as JSON, by a parser that knows all of XML.
const TO_JSON: &str = r#"
import json, sys, xml.etree.ElementTree as tree
def node(it): return {"tag": it.tag, "is": it.attrib, "has": [node(child) for child in it]}
print(json.dumps(node(tree.parse(sys.argv[1]).getroot())))
"#;

const MESSAGE: &str = "%d{ISO8601} - %m%n";
const WHOLE: &str = "%d{ISO8601} [%-5p] %t %c - %m%n";

/// TorchServe's own appenders for files (`frontend/server/src/main/resources/log4j2.xml`, the same in 0.5.1 to 0.12.0): name,
/// variable of the folder, layout.
const APPENDERS: &[(&str, &str, &str)] = &[
    ("access_log", "LOG_LOCATION", MESSAGE),
    ("model_log", "LOG_LOCATION", WHOLE),
    ("model_metrics", "METRICS_LOCATION", MESSAGE),
    ("ts_log", "LOG_LOCATION", WHOLE),
    ("ts_metrics", "METRICS_LOCATION", MESSAGE),
];

/// Its loggers: name, level, and the appenders that ours have.
const LOGGERS: &[(&str, &str, &[&str])] = &[
    ("ACCESS_LOG", "info", &["access_log"]),
    ("MODEL_LOG", "all", &["model_log", "STDOUT"]),
    ("MODEL_METRICS", "all", &["model_metrics"]),
    ("TS_METRICS", "all", &["ts_metrics"]),
    ("io.netty", "error", &[]),
    ("org.apache", "off", &[]),
    ("org.pytorch.serve", "debug", &["ts_log", "STDOUT"]),
];

/// The file, with its properties put in.
struct Log4j {
    root: Value,
    properties: Vec<(String, String)>,
}

impl Log4j {
    fn read() -> Self {
        let file = source().join("../torchserve/log4j2.xml");
        let output = Command::new("/usr/bin/python3").args(["-c", TO_JSON]).arg(file).output().unwrap();
        let root: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let mut log4j = Self { root, properties: Vec::new() };
        let text = fs::read_to_string(source().join("../torchserve/log4j2.xml")).unwrap();
        for property in log4j.below("Properties") {
            let name = property["is"]["name"].as_str().unwrap().to_owned();
            // The parser drops what stands inside of an element here; it is one word of the file.
            let (_, rest) = text.split_once(&format!("<Property name=\"{name}\">")).unwrap();
            log4j.properties.push((name, rest.split_once('<').unwrap().0.to_owned()));
        }
        log4j
    }

    fn below(&self, tag: &str) -> Vec<Value> {
        let parts = self.root["has"].as_array().unwrap();
        parts.iter().find(|part| part["tag"] == tag).unwrap()["has"].as_array().unwrap().clone()
    }

    /// An attribute of an element, or of its only child with this tag.
    fn attribute(&self, element: &Value, child: &str, name: &str) -> String {
        let element = match child {
            "" => element,
            tag => element["has"].as_array().unwrap().iter().find(|it| it["tag"] == tag).unwrap(),
        };
        let text =
            element["is"][name].as_str().unwrap_or_else(|| panic!("no {name} in {element}")).to_owned();
        self.properties.iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    }

    fn property(&self, name: &str) -> &str {
        &self.properties.iter().find(|(it, _)| it == name).unwrap().1
    }
}

#[test]
fn files_and_layouts_are_torchserves_own_and_archives_are_numbered() {
    let log4j = Log4j::read();
    let appenders = log4j.below("Appenders");
    assert_eq!(APPENDERS.len() + 1, appenders.len());
    let console = appenders.iter().find(|appender| appender["tag"] == "Console").unwrap();
    assert_eq!(json!({"name": "STDOUT", "target": "SYSTEM_OUT"}), console["is"]);
    assert_eq!(WHOLE, log4j.attribute(console, "PatternLayout", "pattern"));
    for (name, folder, layout) in APPENDERS {
        let appender = appenders.iter().find(|appender| appender["is"]["name"] == *name).unwrap();
        assert_eq!("RollingFile", appender["tag"]);
        let stem = format!("${{env:{folder}:-logs}}/{name}");
        assert_eq!(format!("{stem}.log"), log4j.attribute(appender, "", "fileName"));
        assert_eq!(format!("{stem}.%i.log.gz"), log4j.attribute(appender, "", "filePattern"));
        assert_eq!(*layout, log4j.attribute(appender, "PatternLayout", "pattern"));
        assert_eq!(log4j.property("size"), log4j.attribute(appender, "SizeBasedTriggeringPolicy", "size"));
        assert_eq!(log4j.property("keep"), log4j.attribute(appender, "DefaultRolloverStrategy", "max"));
        assert_eq!(3, appender["has"].as_array().unwrap().len(), "no policy by time: {appender}");
    }
}

#[test]
fn every_line_has_one_file_and_metrics_are_nowhere_else() {
    let log4j = Log4j::read();
    let loggers = log4j.below("Loggers");
    let references = |logger: &Value| -> Vec<String> {
        let all = logger["has"].as_array().unwrap().iter();
        all.map(|it| it["is"]["ref"].as_str().unwrap().to_owned()).collect()
    };
    let root = loggers.iter().find(|logger| logger["tag"] == "Root").unwrap();
    assert_eq!(
        ("info", vec!["STDOUT".to_owned(), "ts_log".to_owned()]),
        (root["is"]["level"].as_str().unwrap(), references(root))
    );
    assert_eq!(LOGGERS.len() + 1, loggers.len());
    for (name, level, appenders) in LOGGERS {
        let logger = loggers.iter().find(|logger| logger["is"]["name"] == *name).unwrap();
        assert_eq!(*level, logger["is"]["level"], "{name}");
        assert_eq!(*appenders, references(logger), "{name}");
        // One with appenders of its own says all of them.
        let additivity = if appenders.is_empty() { Value::Null } else { json!("false") };
        assert_eq!(additivity, logger["is"]["additivity"], "{name}");
    }
}

#[test]
fn all_files_together_fit_into_the_volume() {
    let log4j = Log4j::read();
    let megabytes: u64 = log4j.property("size").strip_suffix(" MB").unwrap().parse().unwrap();
    let keep: u64 = log4j.property("keep").parse().unwrap();
    // The live file, one that is being compressed, and archives that could not be made any smaller.
    let most = APPENDERS.len() as u64 * (keep + 2) * megabytes;
    let objects = Cluster::new().objects("base");
    let volume = named(&pod(object(&objects, "Deployment"))["spec"]["volumes"], "inferometer-logs").clone();
    assert_eq!("1Gi", volume["emptyDir"]["sizeLimit"]);
    assert!(most < 1024, "{most} MB");
    let text = fs::read_to_string(source().join("../torchserve/log4j2.xml")).unwrap();
    assert!(text.contains(&format!("here {most} MB")), "the file says {most} MB");
}

/// A live file and its archives, rolled as log4j's DefaultRolloverStrategy does (`fileIndex="max"`, its default): archives are
/// numbered upwards, and when all numbers are taken the oldest goes and the others move down.
struct Rolling {
    folders: Folders,
    keep: usize,
    archives: usize,
}

impl Rolling {
    fn name(&self, number: usize, end: &str) -> PathBuf {
        self.folders.logs().join(format!("ts_metrics.{number}.log{end}"))
    }

    /// Moves the live file away and compresses it, which log4j does a moment later.
    fn roll(&mut self) {
        if self.archives == self.keep {
            fs::remove_file(self.name(1, ".gz")).unwrap();
            for number in 2..=self.keep {
                fs::rename(self.name(number, ".gz"), self.name(number - 1, ".gz")).unwrap();
            }
        } else {
            self.archives += 1;
        }
        let plain = self.name(self.archives, "");
        fs::rename(self.folders.live(), &plain).unwrap();
        append(&self.folders.live(), requests(2));
        let mut encoder =
            GzEncoder::new(File::create(self.name(self.archives, ".gz")).unwrap(), Compression::default());
        encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(plain).unwrap();
    }

    fn start(&self) -> Server {
        let mut command = run();
        command.arg(self.folders.logs()).arg("--state.dir").arg(self.folders.state());
        Server::launch(command)
    }
}

#[test]
fn the_rotation_it_asks_for_loses_nothing_also_while_nobody_reads() {
    let keep = Log4j::read().property("keep").parse().unwrap();
    let mut log = Rolling { folders: Folders::new(), keep, archives: 0 };
    append(&log.folders.live(), requests(1));
    let mut server = log.start();
    let mut expected = 1;
    wait_for(&server, 1.0);
    for round in 0..12 {
        append(&log.folders.live(), requests(3));
        log.roll();
        expected += 5;
        wait_for(&server, f64::from(expected));
        if round % 4 == 3 {
            server.kill();
            // As many as there are archives, so that what was read last is still there.
            for _ in 0..keep {
                append(&log.folders.live(), requests(1));
                log.roll();
                expected += 3;
            }
            server = log.start().until_ready();
            wait_for(&server, f64::from(expected));
        }
    }
    assert_eq!(Some(0.0), server.value("inferometer_gaps_total", &[("source", "ts_metrics.log")]));
}
