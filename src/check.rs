//! `inferometer check`: what is in force, and what is odd about it.

use crate::config::{CheckFlags, Config, Stop};
use crate::exit::End;
use crate::metric::Type;
use crate::state::State;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Labels that a scrape puts on every series itself; a series' own one of that name becomes `exported_…`.
const TARGET_LABELS: [&str; 7] = ["job", "instance", "pod", "namespace", "container", "service", "endpoint"];

/// Prints what is in force.
///
/// # Errors
///
/// When standard output is closed.
pub fn run(config: &Config, flags: &CheckFlags) -> io::Result<End> {
    let settings = match config.settings(&[], &flags.follow, &flags.fold) {
        Ok(settings) => settings,
        Err(Stop::Usage(text) | Stop::Help(text)) => return Ok(End::Usage(text)),
    };
    let mut out = io::stdout().lock();
    let mut state = State::new(config.rules.clone());
    state.declare();
    let view = state.view(None);
    let origin = flags
        .fold
        .metrics_config
        .as_ref()
        .map_or_else(|| "the default of TorchServe 0.12".to_owned(), |path| path.display().to_string());
    writeln!(out, "metrics.yaml: {origin}, {} families", config.rules.catalog.iter().count())?;
    for path in &settings.paths {
        let format = path.format.map_or("auto", |format| format.name);
        writeln!(out, "source: {} (format {format})", path.path.display())?;
    }
    for family in &view.log {
        writeln!(out, "  {} {} # {}", family.kind.label(), family.name, family.help)?;
    }
    for (name, kind) in &config.rules.types {
        writeln!(out, "type: {name} {}", kind.label())?;
    }
    for (name, bounds) in &config.rules.buckets {
        writeln!(out, "buckets: {name} {bounds:?}")?;
    }
    for rule in &*config.processes {
        writeln!(out, "process: {rule}")?;
    }
    for warning in
        warnings(config, &view.log.iter().map(|family| (family.name.as_str(), family.kind)).collect())
    {
        writeln!(out, "warning: {warning}")?;
    }
    if let Some(clash) = clash(config) {
        return Ok(End::Usage(clash));
    }
    writeln!(out, "ok")?;
    Ok(End::AsAsked)
}

fn warnings(config: &Config, shown: &BTreeMap<&str, Type>) -> Vec<String> {
    let mut warnings: Vec<String> = config
        .duplicates
        .iter()
        .map(|name| format!("{name} is declared twice; the first one counts"))
        .collect();
    for declaration in config.rules.catalog.iter() {
        for label in declaration.labels.iter().filter(|label| TARGET_LABELS.contains(&label.as_str())) {
            warnings.push(format!(
                "{}: a scrape sets the label {label} itself; this one becomes exported_{label}",
                declaration.name
            ));
        }
        let is_shown = shown.contains_key(declaration.name.as_str());
        if !is_shown && config.rules.naming == crate::state::Naming::Torchserve {
            warnings.push(format!(
                "{} is not exposed: its name or a label is illegal in Prometheus, given twice, or taken; \
                 TorchServe does not start with it in prometheus mode",
                declaration.name
            ));
        }
    }
    for name in config.rules.types.keys() {
        if config.rules.catalog.iter().any(|declaration| declaration.name == *name) {
            warnings.push(format!("types: {name} has no effect: metrics.yaml declares it"));
        }
    }
    warnings
}

/// Two families that one naming gives one name.
fn clash(config: &Config) -> Option<String> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for declaration in config.rules.catalog.iter() {
        let name = config.rules.exposed_name(declaration);
        if let Some(other) = owners.insert(name.clone(), &declaration.name) {
            let first = &declaration.name;
            return Some(format!(
                "{other} and {first} would both be exposed as {name}: rename one, or use --naming torchserve"
            ));
        }
    }
    None
}
