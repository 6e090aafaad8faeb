//! Arguments, environment and file → one valid configuration, or a message and exit 64.
//!
//! Three stages: what was typed (`flags`), what the file says (`file`), what is meant ([`Config`]).
//! After this module a configuration cannot be wrong.

mod buckets;
mod collectors;
pub mod file;
mod flags;
pub mod metrics_yaml;
pub(crate) mod past;
mod process;
mod rules;
pub mod web;

pub use collectors::CollectorFlags;
pub use flags::{
    BackfillFlags, CheckFlags, Command, CommandLine, DemoFlags, FoldFlags, FollowFlags, LogFormat, LogLevel,
    ProbeFlags, ReplayFlags, RunFlags, TeeFlags, WebFlags,
};
pub use rules::Example;

use crate::collect::Compat;
use crate::collect::textfile::{self, TextFile};
use crate::collect::worker::Rule;
use crate::follow::{Settings, WatchedPath};
use crate::state::{Rules, is_label_name};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use file::{ConfigFile, SourceEntry};
use metrics_yaml::MetricsYaml;
use parsers::Catalog;
use rules::Compiled;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use web::{Seen, WebConfig};

/// Why there is no configuration.
#[derive(Debug)]
pub enum Stop {
    /// `--help` or `--version`: text for standard output, exit 0.
    Help(String),
    /// Bad usage or configuration: text for standard error, exit 64.
    Usage(String),
}

/// Everything that a command needs to know.
#[derive(Debug)]
pub struct Config {
    /// The command with its flags, the file's values included.
    pub command: Command,
    /// How lines become metrics.
    pub rules: Arc<Rules>,
    /// Names that the `metrics.yaml` declares twice.
    pub duplicates: Vec<String>,
    /// How the workers of other servers than TorchServe are found.
    pub processes: Arc<[Rule]>,
    /// Lines that the user's own rules are tested with.
    pub examples: Vec<Example>,
    /// The web configuration, if there is one, and its files as they were.
    pub web: Option<(WebConfig, Seen)>,
    sources: Vec<SourceEntry>,
    config_file: Option<PathBuf>,
    /// The arguments that it was made of.
    arguments: Vec<OsString>,
}

impl Config {
    /// Reads arguments, environment and files.
    ///
    /// # Errors
    ///
    /// [`Stop`]: help was asked for, or something is wrong; then the text says what and where.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let matches =
            CommandLine::command().try_get_matches_from(&arguments).map_err(|error| stop(&error))?;
        let Some((name, given)) = matches.subcommand() else {
            return Err(Stop::Usage("no command".to_owned()));
        };
        let config_file = given.try_get_one::<PathBuf>("config_file").ok().flatten().cloned();
        let file: ConfigFile = match &config_file {
            Some(path) => file::read_yaml(path).map_err(Stop::Usage)?,
            None => ConfigFile::default(),
        };
        let extra = flags_of_file(&file, config_file.as_deref(), name, given)?;
        // The file's values come first, right after the command, so that they cannot end up behind a `--`.
        let split = arguments.len().min(2);
        let (front, back) = arguments.split_at(split);
        let whole: Vec<OsString> = front.iter().chain(&extra).chain(back).cloned().collect();
        let matches = CommandLine::command().try_get_matches_from(whole).map_err(|error| stop(&error))?;
        let line = CommandLine::from_arg_matches(&matches).map_err(|error| stop(&error))?;
        Self::new(line.command, file, config_file, arguments)
    }

    /// What makes the same configuration again, from files as they will be then.
    pub fn arguments(&self) -> Vec<OsString> {
        self.arguments.clone()
    }

    fn new(
        mut command: Command,
        file: ConfigFile,
        config_file: Option<PathBuf>,
        arguments: Vec<OsString>,
    ) -> Result<Self, Stop> {
        let fold = fold_flags(&command);
        let metrics_config = fold.and_then(|fold| fold.metrics_config.clone());
        let MetricsYaml { catalog, duplicates } = match &metrics_config {
            Some(path) => metrics_yaml::read(path).map_err(Stop::Usage)?,
            None => MetricsYaml { catalog: Catalog::torchserve_default(), duplicates: Vec::new() },
        };
        let has_metrics_config = metrics_config.is_some();
        let Compiled { set, examples } =
            rules::compile(&file.rules).map_err(|(at, what)| misplaced(config_file.as_deref(), at, &what))?;
        let (types, buckets, own) = (file.types, file.buckets, Arc::new(set));
        let mut rules = Rules { catalog, has_metrics_config, types, buckets, own, ..Rules::default() };
        if let Some(fold) = fold {
            rules.series_limit = fold.limit_series as usize;
            rules.family_limit = fold.limit_series_per_family as usize;
            rules.latency_histograms = fold.has_latency_histograms();
            rules.naming = fold.naming;
            rules.old_names = fold.compat.contains(&Compat::Vllm);
            rules.drop_labels = fold.drop_labels.iter().cloned().collect();
            rules.gauge_ttl = fold.gauge_ttl.as_secs();
            rules.series_ttl = fold.series_ttl.as_secs();
        }
        rules.created = web_flags(&command).is_some_and(|web| web.openmetrics_created);
        let processes = file.processes.iter().map(|entry| {
            entry.rule().map_err(|(at, error)| misplaced(config_file.as_deref(), at, &error.to_string()))
        });
        let processes = processes.collect::<Result<_, _>>()?;
        let (rules, sources) = (Arc::new(rules), file.sources);
        let (collect, fold) = match &mut command {
            Command::Run(flags) => (Some(&mut flags.collect), Some(&flags.fold)),
            Command::Demo(flags) => (Some(&mut flags.collect), Some(&flags.fold)),
            Command::Check(flags) => (Some(&mut flags.collect), Some(&flags.fold)),
            Command::Replay(_) | Command::Backfill(_) | Command::Probe(_) | Command::Tee(_) => (None, None),
        };
        if let (Some(collect), Some(fold)) = (collect, fold) {
            collect.settings.compat.clone_from(&fold.compat);
        }
        let web = match web_flags(&command).and_then(|web| web.web_config.as_deref()) {
            Some(path) => {
                let (seen, config) = web::read(path);
                Some((config.map_err(Stop::Usage)?, seen))
            }
            None => None,
        };
        let config =
            Self { command, rules, duplicates, processes, examples, web, sources, config_file, arguments };
        config.watched_paths(&[])?;
        Ok(config)
    }

    /// The configuration file, where there is one.
    pub fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }

    /// What is followed, and how.
    ///
    /// # Errors
    ///
    /// When an entry of `sources:` is wrong.
    pub fn settings(
        &self,
        paths: &[PathBuf],
        follow: &FollowFlags,
        fold: &FoldFlags,
        keep_lines: bool,
    ) -> Result<Settings, Stop> {
        Ok(Settings {
            paths: self.watched_paths(paths)?.into_iter().filter_map(Place::log).collect(),
            allowed_roots: follow.allow_root.clone(),
            allow_repeats: follow.allow_repeats,
            start: follow.from,
            poll_interval: follow.poll_interval,
            commit_interval: follow.commit_interval,
            line_max: fold.limit_line_bytes as usize,
            state_dir: follow.state_dir.clone(),
            keep_lines,
        })
    }

    /// The text files among the PATHs.
    ///
    /// # Errors
    ///
    /// When an entry of `sources:` is wrong.
    pub fn textfiles(
        &self,
        paths: &[PathBuf],
        follow: &FollowFlags,
        fold: &FoldFlags,
    ) -> Result<Option<textfile::Settings>, Stop> {
        let files: Vec<TextFile> =
            self.watched_paths(paths)?.into_iter().filter_map(Place::text_file).collect();
        let settings = textfile::Settings {
            files,
            max_age: follow.textfile_max_age,
            series: fold.limit_series as usize,
            series_per_family: fold.limit_series_per_family as usize,
        };
        Ok(Some(settings).filter(|settings| !settings.files.is_empty()))
    }

    /// PATHs of the command line, else those of `sources:`, else TorchServe's own folders, else `logs`.
    fn watched_paths(&self, paths: &[PathBuf]) -> Result<Vec<Place>, Stop> {
        let fixed = fold_flags(&self.command).and_then(FoldFlags::fixed_format);
        let entries: Result<Vec<Place>, Stop> =
            self.sources.iter().map(|entry| self.watched(entry)).collect();
        let plain = |path: PathBuf| {
            let is_textfile = fixed.is_none() && is_textfile(&path);
            let labels = BTreeMap::new();
            let watched = WatchedPath { path, format: fixed, labels, offset_minutes: 0, is_listed: false };
            Place { watched, is_textfile }
        };
        let mut entries = entries?;
        if !paths.is_empty() {
            // A PATH of the command line keeps what the file says about it.
            let known = |path: &PathBuf| entries.iter().find(|entry| entry.watched.path == *path).cloned();
            return Ok(paths.iter().map(|path| known(path).unwrap_or_else(|| plain(path.clone()))).collect());
        }
        if entries.is_empty() {
            let folders = ["METRICS_LOCATION", "LOG_LOCATION"].into_iter().filter_map(std::env::var_os);
            let mut folders: Vec<PathBuf> = folders.map(PathBuf::from).collect();
            folders.dedup();
            if folders.is_empty() {
                folders.push(PathBuf::from("logs"));
            }
            entries = folders.into_iter().map(plain).collect();
        }
        Ok(entries)
    }

    fn watched(&self, entry: &SourceEntry) -> Result<Place, Stop> {
        let wrong = |at, what: String| misplaced(self.config_file.as_deref(), at, &what);
        let format = match &entry.format {
            Some(name) if name.value == "auto" || name.value == textfile::NAME => None,
            Some(name) => Some(
                parsers::format_named(&name.value)
                    .ok_or_else(|| wrong(name.referenced, format!("unknown format {:?}", name.value)))?,
            ),
            None => fold_flags(&self.command).and_then(FoldFlags::fixed_format),
        };
        let is_textfile = match &entry.format {
            Some(name) => name.value == textfile::NAME,
            None => format.is_none() && is_textfile(&entry.path),
        };
        let labels = &entry.labels.0;
        if let Some((label, _)) = labels.iter().find(|(label, _)| !is_label_name(&label.value)) {
            return Err(wrong(label.referenced, format!("{:?} is no legal label name", label.value)));
        }
        let labels = labels.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
        let offset_minutes = match &entry.timezone {
            Some(zone) => offset_minutes(&zone.value).map_err(|what| wrong(zone.referenced, what))?,
            None => 0,
        };
        let path = entry.path.clone();
        let watched = WatchedPath { path, format, labels, offset_minutes, is_listed: true };
        Ok(Place { watched, is_textfile })
    }
}

/// What is wrong at a place of the configuration file.
fn misplaced(file: Option<&Path>, at: serde_saphyr::Location, what: &str) -> Stop {
    let file = file.unwrap_or(Path::new("configuration")).display();
    Stop::Usage(format!("{file}:{}:{}: {what}", at.line(), at.column()))
}

/// A PATH, and whether it is followed as a log or read as a text file.
#[derive(Clone, Debug)]
struct Place {
    watched: WatchedPath,
    is_textfile: bool,
}

impl Place {
    fn log(self) -> Option<WatchedPath> {
        (!self.is_textfile).then_some(self.watched)
    }

    fn text_file(self) -> Option<TextFile> {
        let WatchedPath { path, labels, .. } = self.watched;
        self.is_textfile.then_some(TextFile { path, labels })
    }
}

/// Whether a file's name says that it holds Prometheus' text format.
fn is_textfile(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "prom")
}

/// The flags of the command that say how lines become metrics.
pub fn fold_flags(command: &Command) -> Option<&FoldFlags> {
    match command {
        Command::Run(flags) => Some(&flags.fold),
        Command::Demo(flags) => Some(&flags.fold),
        Command::Replay(flags) => Some(&flags.fold),
        Command::Backfill(flags) => Some(&flags.fold),
        Command::Check(flags) => Some(&flags.fold),
        Command::Tee(_) | Command::Probe(_) => None,
    }
}

/// The flags of the command that say where and to whom metrics are served.
pub const fn web_flags(command: &Command) -> Option<&WebFlags> {
    match command {
        Command::Run(flags) => Some(&flags.web),
        Command::Demo(flags) => Some(&flags.web),
        Command::Check(flags) => Some(&flags.web),
        Command::Replay(_) | Command::Backfill(_) | Command::Probe(_) | Command::Tee(_) => None,
    }
}

/// Minutes east of UTC of a zone, today.
fn offset_minutes(zone: &str) -> Result<i16, String> {
    let seconds = flags::time_zone(zone)?.to_offset(jiff::Timestamp::now()).seconds();
    i16::try_from(seconds / 60).map_err(|_| format!("timezone {zone:?} is out of range"))
}

/// The file's flag values as arguments, where neither the command line nor the environment says otherwise.
fn flags_of_file(
    file: &ConfigFile,
    path: Option<&Path>,
    command_name: &str,
    given: &clap::ArgMatches,
) -> Result<Vec<OsString>, Stop> {
    let whole = CommandLine::command();
    let shown = path.unwrap_or(Path::new("")).display();
    let mut arguments = Vec::new();
    for flag in &file.flags {
        let wrong = |what: &str| Stop::Usage(format!("{shown}:{}:{}: {what}", flag.at.line, flag.at.column));
        let find = |command: &clap::Command| {
            command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(&flag.name))
                .map(|arg| arg.get_id().clone())
        };
        let is_known = whole.get_subcommands().any(|command| find(command).is_some());
        if !is_known || flag.name == "config.file" {
            return Err(wrong(&format!("unknown key {:?}", flag.name)));
        }
        // A file may serve several commands: a key of another one is fine.
        let Some(id) = whole.find_subcommand(command_name).and_then(find) else { continue };
        let values: Vec<OsString> =
            flag.values.iter().map(|value| format!("--{}={value}", flag.name).into()).collect();
        let alone =
            [OsString::from("inferometer"), command_name.into()].into_iter().chain(values.iter().cloned());
        let mut probe = CommandLine::command().ignore_errors(false);
        probe = probe.mut_subcommand(command_name, |command| command.mut_args(|arg| arg.required(false)));
        if let Err(error) = probe.try_get_matches_from(alone) {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Err(wrong(first.strip_prefix("error: ").unwrap_or(first)));
        }
        let source = given.value_source(id.as_str());
        let off = given.try_get_one::<bool>(&format!("no_{id}")).ok().flatten().copied().unwrap_or(false);
        if !off && !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            arguments.extend(values);
        }
    }
    Ok(arguments)
}

fn stop(error: &clap::Error) -> Stop {
    if error.use_stderr() {
        Stop::Usage(error.to_string().trim_end().to_owned())
    } else {
        Stop::Help(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], file: Option<&str>) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        let mut all: Vec<OsString> = vec!["inferometer".into()];
        all.extend(arguments.iter().map(OsString::from));
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
            all.extend(["--config.file".into(), path.clone().into_os_string()]);
        }
        Config::read(all).map_err(|stop| match stop {
            Stop::Help(text) | Stop::Usage(text) => text.replace(&path.display().to_string(), "c.yaml"),
        })
    }

    #[test]
    fn the_command_line_beats_the_file() {
        let file = "limit:\n  series: 5\n  series-per-family: 4\nlatency-histograms: false\n";
        let config = read(&["run", "--limit.series", "7", "--", "a"], Some(file).filter(|_| false)).unwrap();
        assert_eq!(7, config.rules.series_limit);
        let config = read(&["run", "--limit.series", "7"], Some(file)).unwrap();
        assert_eq!(
            (7, 4, false),
            (config.rules.series_limit, config.rules.family_limit, config.rules.latency_histograms)
        );
    }

    #[test]
    fn what_no_flag_can_hold_is_read() {
        let file = "types: {Hits: counter}\nbuckets:\n  A: [1, 2.5]\n  B: {exponential: {start: 1, factor: 2, count: 3}}\n\
                    sources:\n  - {path: x, timezone: '+02:00', labels: {server: a}}\n";
        let config = read(&["run"], Some(file)).unwrap();
        assert_eq!(Some(&parsers::Kind::Counter), config.rules.types.get("Hits"));
        assert_eq!(Some(&[1.0, 2.0, 4.0][..]), config.rules.buckets.get("B").map(|bounds| &**bounds));
        let watched = config.watched_paths(&[]).unwrap();
        assert_eq!(
            (120, Some(&"a".to_owned())),
            (watched[0].watched.offset_minutes, watched[0].watched.labels.get("server"))
        );
    }

    #[test]
    fn wrong_keys_and_values_name_their_place() {
        for (file, expected) in [
            ("limit:\n  serie: 5\n", "c.yaml:2:3: unknown key \"limit.serie\""),
            ("web:\n  max-requests: none\n", "c.yaml:2:3: invalid value 'none' for '--web.max-requests <N>'"),
            ("types:\n  A: counters\n", "c.yaml:2:6: type \"counters\" is not counter, gauge or histogram"),
            ("buckets: {A: [2, 1]}\n", "c.yaml:1:14: bucket bounds must ascend"),
            ("sources: [{path: x, colour: red}]\n", "c.yaml:1:21: "),
            ("sources: [{path: x, timezone: Mars}]\n", "c.yaml:1:31: unknown timezone \"Mars\""),
            ("a: [\n", "c.yaml:"),
        ] {
            let error = read(&["run"], Some(file)).expect_err(file);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn usage_errors_name_the_flag() {
        let error = read(&["run", "--limit.serie", "5"], None).unwrap_err();
        assert!(error.contains("--limit.serie"), "{error}");
        assert!(read(&["run", "--format", "nginx"], None).is_err());
    }
}
