//! Any text as a `metrics.yaml`; where it is one, its families are listed and each gets a line.

#![no_main]

use inferometer::config::metrics_yaml;
use inferometer::state::State;
use libfuzzer_sys::fuzz_target;
use parsers::{FORMATS, Scope};

fuzz_target!(|text: &str| {
    let yaml = match metrics_yaml::parse("metrics.yaml", text) {
        Ok(yaml) => yaml,
        Err(error) => {
            assert!(error.starts_with("metrics.yaml:"), "{error}");
            return;
        }
    };
    let lines: String = yaml.catalog.iter().map(line).collect();
    for rules in inferometer_fuzz::rules(yaml.catalog) {
        let mut state = State::new(rules);
        state.declare();
        inferometer_fuzz::check(&state);
        inferometer_fuzz::fold(&mut state, lines.as_bytes(), &FORMATS[0]);
        inferometer_fuzz::check(&state);
    }
});

/// A line as the server would write it. The host, which is the last label, has a place of its own in it.
fn line(declaration: &parsers::Declaration) -> String {
    let named = declaration.labels.split_last().map_or(&[][..], |(_, named)| named);
    let labels: Vec<String> = named.iter().map(|label| format!("{label}:x")).collect();
    let ids = if declaration.scope == Scope::Model { ",requestID:null" } else { "" };
    format!(
        "2026-11-20T17:48:00,476 - {}.{}:1.0|#{}|#hostname:h{ids},timestamp:1\n",
        declaration.name,
        declaration.unit,
        labels.join(",")
    )
}
