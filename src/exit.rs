//! How a command ends, and what the exit code says.

use std::process::ExitCode;

/// Bad usage or configuration (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// How a command ended.
#[derive(Debug)]
pub enum End {
    /// As asked: 0.
    AsAsked,
    /// It failed, and what failed has been said: 1.
    Failed,
    /// As the server ended that it started: with this code.
    Code(u8),
    /// Usage or configuration is wrong in a way that only the command could see: 64, with this text.
    Usage(String),
}

impl End {
    /// The exit code, and the text for standard error.
    pub fn into_code(self) -> (ExitCode, Option<String>) {
        match self {
            Self::AsAsked => (ExitCode::SUCCESS, None),
            Self::Failed => (ExitCode::FAILURE, None),
            Self::Code(code) => (ExitCode::from(code), None),
            Self::Usage(text) => (ExitCode::from(USAGE), Some(text)),
        }
    }
}
