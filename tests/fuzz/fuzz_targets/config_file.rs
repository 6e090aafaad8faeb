//! Any text as a configuration file; where it is one, lines are folded under its rules and labels.

#![no_main]

use inferometer::config::{Command, Config, Stop};
use inferometer::state::{Origin, Role, State};
use libfuzzer_sys::fuzz_target;
use parsers::FORMATS;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Configurations are read from files only. One file per process, since targets run side by side.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("inferometer-fuzz-{}.yaml", std::process::id())));

fuzz_target!(|text: &[u8]| {
    std::fs::write(&*FILE, text).expect("a temporary file");
    let arguments = ["inferometer", "run", "--config.file"].map(OsString::from);
    match Config::read(arguments.into_iter().chain([FILE.clone().into_os_string()])) {
        Ok(config) => fold(&config),
        Err(Stop::Usage(text)) => assert!(!text.is_empty()),
        Err(Stop::Help(text)) => panic!("no file asks for help: {text}"),
    }
});

/// What of a log meets a configuration: types and buckets by name, labels beside those of the lines.
fn fold(config: &Config) {
    let Command::Run(flags) = &config.command else { return };
    let Ok(settings) = config.settings(&[], &flags.follow, &flags.fold, flags.web.show_lines) else { return };
    let rules = &config.rules;
    let named = rules.types.keys().chain(rules.buckets.keys());
    let mut lines: Vec<String> = named.map(|name| metric(name, "ms", ",requestID:a,b")).collect();
    lines.extend([
        metric("Hits", "Count", ""),
        metric("PredictionTime", "ms", ",requestID:a,b"),
        "2026-11-20T17:48:00,476 - /127.0.0.1:59146 \"POST /predictions/m HTTP/1.1\" 200 10\n".to_owned(),
        "2026-11-20T17:44:19,713 [INFO ] main org.pytorch.serve.ModelServer - \n".to_owned(),
        "Torchserve version: 0.12.0\n".to_owned(),
        "GET 200 rt=1.5s\n".to_owned(),
        "Engine stats: running requests: 9, KV cache: 25.0%, hit rate: nan\n".to_owned(),
        "ts=1 msg=\"request done\" model=\"a m\" status=OK latency=1m2.5s tokens=7\n".to_owned(),
        "{\"a\":{\"b\":\"x\"},\"c\":\"e\",\"list\":[{\"n\":1e3}]}\n".to_owned(),
    ]);
    // What the configuration itself takes for lines of its rules.
    for example in &config.examples {
        example.run(&rules.own).ok();
        lines.push(format!("{}\n", example.line()));
    }
    let mut state = State::new(rules.clone());
    state.declare();
    for (index, path) in settings.paths.iter().enumerate() {
        let (source, server) = (state.add_source(&format!("{index}.log")), state.add_server());
        let (labels, offset_minutes) = (&path.labels, path.offset_minutes);
        let origin = Origin { source, server, now: 0, wall: 0, labels, offset_minutes };
        for line in &lines {
            for format in FORMATS {
                // The state counts what it refuses.
                state.fold(line.as_bytes(), format, Role::All, &origin).ok();
            }
        }
    }
    inferometer_fuzz::check(&state);
}

fn metric(name: &str, unit: &str, ids: &str) -> String {
    format!(
        "2026-11-20T17:48:00,476 - {name}.{unit}:2.0|#ModelName:m,Level:Model|#hostname:h{ids},timestamp:1\n"
    )
}
