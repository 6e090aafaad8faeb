//! The binary: arguments in, exit code out (0 ended as asked, 1 runtime failure, 64 bad usage).

use inferometer::config::{Config, Stop};
use inferometer::exit::End;
use inferometer::run;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let end = match Config::read(std::env::args_os()) {
        Ok(config) => run::run(config),
        Err(Stop::Help(text)) => {
            // Whoever reads the help may close the pipe early.
            drop(std::io::stdout().write_all(text.as_bytes()));
            Ok(End::AsAsked)
        }
        Err(Stop::Usage(text)) => Ok(End::Usage(text)),
    };
    let (code, text) = match end {
        Ok(end) => end.into_code(),
        Err(error) => (ExitCode::FAILURE, Some(format!("inferometer: {error}"))),
    };
    if let Some(text) = text {
        drop(writeln!(std::io::stderr(), "{text}"));
    }
    code
}
