//! `inferometer check`: what is in force, and what is odd about it.

use crate::config::{CheckFlags, Config, Example, Stop};
use crate::exit::End;
use crate::expose::auth::Users;
use crate::metric::Type;
use crate::state::State;
use parsers::rules::Rule;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// Labels that a scrape puts on every series itself; a series' own one of that name becomes `exported_…`.
const TARGET_LABELS: [&str; 7] = ["job", "instance", "pod", "namespace", "container", "service", "endpoint"];

/// How the families that are measured beside the logs begin; a log's family of the same name wins.
const MEASURED: [&str; 4] = ["host_", "cgroup_", "gpu_", "model_worker_"];

/// Prints what is in force.
///
/// # Errors
///
/// When standard output is closed.
pub fn run(config: &Config, flags: &CheckFlags) -> io::Result<End> {
    let settings = match config.settings(&[], &flags.follow, &flags.fold, flags.web.show_lines) {
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
    let textfiles = match config.textfiles(&[], &flags.follow, &flags.fold) {
        Ok(textfiles) => textfiles,
        Err(Stop::Usage(text) | Stop::Help(text)) => return Ok(End::Usage(text)),
    };
    for file in textfiles.iter().flat_map(|textfiles| &textfiles.files) {
        writeln!(out, "source: {} (text file)", file.path.display())?;
    }
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
    for rule in config.rules.own.rules() {
        describe(rule, &mut out)?;
    }
    if let Some((web, _)) = &config.web {
        let tls = match &web.access.tls {
            Some(tls) if tls.asks_for_certificate() => "TLS with client certificates",
            Some(_) => "TLS",
            None => "no TLS",
        };
        let users = web.access.users.as_ref().map_or(0, Users::len);
        writeln!(out, "web: {tls}, {users} users, {} headers", web.access.headers.len())?;
        for remark in &web.remarks {
            writeln!(out, "warning: {remark}")?;
        }
    }
    if let Some(folder) = &settings.state_dir {
        for line in crate::follow::describe(folder, config.rules.clone()) {
            writeln!(out, "{}", line.escape_debug())?;
        }
    }
    for warning in
        warnings(config, &view.log.iter().map(|family| (family.name.as_str(), family.kind)).collect())
    {
        writeln!(out, "warning: {warning}")?;
    }
    if let Some(clash) = clash(config) {
        return Ok(End::Usage(clash));
    }
    let failed = failed_examples(config);
    if !failed.is_empty() {
        return Ok(End::Usage(failed.join("\n")));
    }
    if !config.examples.is_empty() {
        writeln!(out, "examples: {} as expected", config.examples.len())?;
    }
    writeln!(out, "ok")?;
    Ok(End::AsAsked)
}

/// A rule and the families that it feeds.
fn describe(rule: &Rule, out: &mut impl Write) -> io::Result<()> {
    let limits = [
        rule.source.as_ref().map(|source| format!("source {}", source.as_str())),
        rule.format.as_ref().map(|format| format!("format {format}")),
        rule.sees_taken.then(|| "all lines".to_owned()),
        rule.stop.then(|| "stops".to_owned()),
    ];
    let limits: String = limits.into_iter().flatten().map(|limit| format!(", {limit}")).collect();
    writeln!(out, "rule: {} ({}{limits})", rule.name.escape_debug(), rule.matcher.kind())?;
    for feed in &rule.feeds {
        let family = &feed.family;
        let help = family.help.escape_debug();
        let labels = family.labels.join(",");
        writeln!(out, "  {} {}{{{labels}}} # {help}", family.kind.label(), family.name)?;
    }
    Ok(())
}

/// The examples of the user's rules that do not give what they say.
fn failed_examples(config: &Config) -> Vec<String> {
    let file = config.config_file().unwrap_or(Path::new("configuration")).display();
    let run = |example: &Example| {
        let what = example.run(&config.rules.own).err()?;
        let (line, column) = example.place();
        Some(format!("{file}:{line}:{column}: {what}"))
    };
    config.examples.iter().filter_map(run).collect()
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
    for family in config.rules.own.feeds().map(|feed| &feed.family) {
        if config.rules.catalog.iter().any(|declaration| declaration.name == family.name) {
            warnings.push(format!(
                "rules: {} is a metric of metrics.yaml, too: the first one to come up has it",
                family.name
            ));
        }
        if MEASURED.iter().any(|prefix| family.name.starts_with(prefix)) {
            warnings.push(format!(
                "rules: {} takes the place of a family of that name that is measured",
                family.name
            ));
        }
        for label in family.labels.iter().filter(|label| TARGET_LABELS.contains(&label.as_str())) {
            warnings.push(format!(
                "rules: {}: a scrape sets the label {label} itself; this one becomes exported_{label}",
                family.name
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
