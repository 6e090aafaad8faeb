//! Our own log: standard error, logfmt or JSON, and never a reason to fail.

use crate::config::{FoldFlags, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// Starts logging as the flags say. A second call changes nothing.
pub(crate) fn start(flags: &FoldFlags) {
    let level = match flags.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let base = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match flags.log_format {
        LogFormat::Json => base.json().flatten_event(true).boxed(),
        LogFormat::Logfmt => {
            tracing_logfmt::builder().with_target(false).layer().with_writer(std::io::stderr).boxed()
        }
    };
    // It fails only where a subscriber is set already.
    drop(tracing_subscriber::registry().with(layer.with_filter(level)).try_init());
}
