//! Flags of the collectors: a pair for each line of their table.

use super::flags::duration;
use crate::collect::{COLLECTORS, Settings};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use std::path::PathBuf;
use std::time::Duration;

const HEADING: &str = "Collectors";

/// What is measured beside the logs.
#[derive(Debug)]
pub struct CollectorFlags {
    /// Which collectors, how often, and where from.
    pub settings: Settings,
}

impl FromArgMatches for CollectorFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_on = |name: &str| {
            let no = matches.get_flag(&format!("no_collector_{name}"));
            !no && matches.get_one::<bool>(&format!("collector_{name}")).copied().unwrap_or(true)
        };
        let path = |id: &str| matches.get_one::<PathBuf>(id).cloned().unwrap_or_default();
        let settings = Settings {
            enabled: COLLECTORS.iter().map(|entry| entry.name).filter(|name| is_on(name)).collect(),
            interval: matches.get_one("collector_interval").copied().unwrap_or(Duration::from_secs(5)),
            // The flag stands with those of the fold, which has names to add as well: the configuration fills it in.
            compat: Vec::new(),
            procfs: path("path_procfs"),
            sysfs: path("path_sysfs"),
        };
        Ok(Self { settings })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for CollectorFlags {
    fn augment_args(command: Command) -> Command {
        let command = COLLECTORS.iter().fold(command, |command, entry| {
            let name = entry.name;
            let on = Arg::new(format!("collector_{name}"))
                .long(format!("collector.{name}"))
                .env(format!("INFEROMETER_COLLECTOR_{}", name.to_uppercase()))
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_value("true")
                .default_missing_value("true")
                .value_parser(clap::value_parser!(bool))
                .help_heading(HEADING)
                .help(format!("Measure {}; --no-collector.{name} turns it off", entry.summary));
            let off = Arg::new(format!("no_collector_{name}"))
                .long(format!("no-collector.{name}"))
                .action(ArgAction::SetTrue)
                .hide(true);
            command.arg(on).arg(off)
        });
        let path = |id: &'static str, name: &'static str, value: &'static str| {
            Arg::new(id)
                .long(name)
                .env(format!("INFEROMETER_{}", id.to_uppercase()))
                .value_name("DIR")
                .default_value(value)
                .value_parser(clap::value_parser!(PathBuf))
                .help_heading(HEADING)
        };
        command
            .arg(
                Arg::new("collector_interval")
                    .long("collector.interval")
                    .env("INFEROMETER_COLLECTOR_INTERVAL")
                    .value_name("TIME")
                    .default_value("5s")
                    .value_parser(interval)
                    .help_heading(HEADING)
                    .help("Time between two measurements"),
            )
            .arg(path("path_procfs", "path.procfs", "/proc").help("Where procfs is mounted"))
            .arg(path("path_sysfs", "path.sysfs", "/sys").help("Where sysfs is mounted"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Below a tenth of a second the collectors would be what is measured.
fn interval(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time >= Duration::from_millis(100) { Ok(time) } else { Err("at least 100ms".into()) }
}
