//! The binary: arguments in, exit code out (0 ended as asked, 1 runtime failure, 64 bad usage).

use inferometer::config::{Config, Stop};
use inferometer::run;
use std::io::Write;
use std::process::ExitCode;

/// Bad usage or configuration (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(Stop::Help(text)) => {
            // Whoever reads the help may close the pipe early.
            drop(std::io::stdout().write_all(text.as_bytes()));
            return ExitCode::SUCCESS;
        }
        Err(Stop::Usage(text)) => {
            drop(writeln!(std::io::stderr(), "{text}"));
            return ExitCode::from(USAGE);
        }
    };
    match run::run(&config) {
        Ok(run::End::AsAsked) => ExitCode::SUCCESS,
        Ok(run::End::Failed) => ExitCode::FAILURE,
        Ok(run::End::Usage(text)) => {
            drop(writeln!(std::io::stderr(), "{text}"));
            ExitCode::from(USAGE)
        }
        Err(error) => {
            drop(writeln!(std::io::stderr(), "inferometer: {error}"));
            ExitCode::FAILURE
        }
    }
}
