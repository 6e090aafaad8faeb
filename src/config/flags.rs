//! Commands and flags as they are typed. Spelling follows the Prometheus exporter toolkit.

use super::collectors::CollectorFlags;
use crate::collect::Compat;
use crate::follow::Start;
use crate::state::Naming;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use parsers::{FORMATS, Format};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "inferometer", version, about, long_about = None, args_override_self = true)]
#[command(
    after_help = "Every flag has an environment variable (INFEROMETER_ and its name, dots and dashes as _) and \
    a key in the YAML file given by --config.file. Command line beats environment beats file."
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tail log files and serve their metrics
    Run(RunFlags),
    /// Show it all on a machine with nothing installed: varied real TorchServe traffic, followed live
    Demo(DemoFlags),
    /// Fold whole files once and print their metrics; a report goes to standard error
    Replay(ReplayFlags),
    /// Write what logs of the past would have shown, with its times, for promtool tsdb create-blocks-from openmetrics
    Backfill(BackfillFlags),
    /// Check the configuration and say what is in force
    Check(CheckFlags),
    /// Copy a server's output to a bounded, rotated file that can be followed
    Tee(TeeFlags),
    /// Health check for images without a shell: exit 0 or 1
    Probe(ProbeFlags),
}

/// `inferometer run`.
#[derive(Args, Debug)]
pub struct RunFlags {
    /// Log files, folders, globs, - for standard input, or FILE.prom, Prometheus text of another program [default: $METRICS_LOCATION and $LOG_LOCATION, else logs]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub follow: FollowFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub web: WebFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub collect: CollectorFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub fold: FoldFlags,
}

/// `inferometer demo`.
#[derive(Args, Debug)]
pub struct DemoFlags {
    /// Requests per second that the pretended server answers, on average
    #[arg(long, env = "INFEROMETER_RATE", value_name = "N", default_value_t = 20.0, value_parser = positive)]
    pub rate: f64,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub web: WebFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub collect: CollectorFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub fold: FoldFlags,
}

/// `inferometer replay`.
#[derive(Args, Debug)]
pub struct ReplayFlags {
    /// Log files, plain or .gz, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Exit 1 if a line was rejected
    #[arg(long, env = "INFEROMETER_STRICT", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true")]
    pub strict: bool,
    /// Fold a console beside the metric files that it repeats
    #[arg(long = "source.allow-repeats", env = "INFEROMETER_SOURCE_ALLOW_REPEATS", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub allow_repeats: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub fold: FoldFlags,
}

/// `inferometer backfill`.
#[derive(Args, Debug)]
#[command(
    after_help = "The files are read in the order of their lines' times, whatever their names. Then:\n  \
    promtool tsdb create-blocks-from openmetrics OUT DIR\nand move the folders in DIR into Prometheus' own."
)]
pub struct BackfillFlags {
    /// Log files, plain or .gz, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// File to write, OpenMetrics with timestamps; a folder for a file of each day; - for standard output
    #[arg(short, long, env = "INFEROMETER_OUTPUT", value_name = "OUT")]
    pub output: PathBuf,
    /// Time from one point to the next: the scrape interval of the live run, best
    #[arg(long, env = "INFEROMETER_STEP", value_name = "TIME", default_value = "15s", value_parser = whole_seconds)]
    pub step: Duration,
    /// Zone of times that do not tell theirs: UTC, +02:00 or Europe/Berlin; a file's entry of sources: wins
    #[arg(long, env = "INFEROMETER_TIMEZONE", value_name = "ZONE", default_value = "UTC", value_parser = time_zone,
          allow_hyphen_values = true)]
    pub timezone: TimeZone,
    /// Fold a console beside the metric files that it repeats, and files that begin alike
    #[arg(long = "source.allow-repeats", env = "INFEROMETER_SOURCE_ALLOW_REPEATS", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub allow_repeats: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub fold: FoldFlags,
}

/// `inferometer check`.
#[derive(Args, Debug)]
pub struct CheckFlags {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub follow: FollowFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub web: WebFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub collect: CollectorFlags,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags; each one is documented")]
    pub fold: FoldFlags,
}

/// `inferometer tee`.
#[derive(Args, Debug)]
#[command(
    after_help = "Without COMMAND, standard input goes to standard output and to FILE. With it, COMMAND is started, both \
    its outputs go to ours and to FILE, signals go to it, and its exit code is ours."
)]
pub struct TeeFlags {
    /// The file; its predecessors are FILE.1, FILE.2, …
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Rotate FILE before it grows beyond this many bytes
    #[arg(long = "max-bytes", env = "INFEROMETER_MAX_BYTES", value_name = "N", default_value_t = 16_777_216,
          value_parser = clap::value_parser!(u64).range(4096..))]
    pub max_bytes: u64,
    /// Rotated files to keep
    #[arg(long, env = "INFEROMETER_KEEP", value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub keep: u8,
    /// The server and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<OsString>,
}

/// `inferometer probe`.
#[derive(Args, Debug)]
pub struct ProbeFlags {
    /// What to ask
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9082/-/healthy")]
    pub url: String,
}

/// Which files are followed, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Following")]
pub struct FollowFlags {
    /// Another folder into which links may lead; repeatable
    #[arg(
        long = "source.allow-root",
        env = "INFEROMETER_SOURCE_ALLOW_ROOT",
        value_name = "DIR",
        value_delimiter = ','
    )]
    pub allow_root: Vec<PathBuf>,
    /// Follow a console beside the metric files that it repeats
    #[arg(long = "source.allow-repeats", env = "INFEROMETER_SOURCE_ALLOW_REPEATS", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub allow_repeats: bool,
    /// Hide what a text file (*.prom) says when it has not changed for so long
    #[arg(long = "source.textfile-max-age", env = "INFEROMETER_SOURCE_TEXTFILE_MAX_AGE", value_name = "TIME",
          default_value = "5m", value_parser = duration)]
    pub textfile_max_age: Duration,
    /// Where a file that is there at the start is read from
    #[arg(long, env = "INFEROMETER_FROM", value_enum, default_value_t = Start::Start)]
    pub from: Start,
    /// Longest time between two looks; file events only shorten it
    #[arg(long = "poll-interval", env = "INFEROMETER_POLL_INTERVAL", value_name = "TIME", default_value = "250ms",
          value_parser = duration)]
    pub poll_interval: Duration,
    /// Folder for positions and counts, so that counters go on exactly after a crash; in memory only if not set
    #[arg(long = "state.dir", env = "INFEROMETER_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Longest time between two commits while lines keep coming
    #[arg(long = "state.commit-interval", env = "INFEROMETER_STATE_COMMIT_INTERVAL", value_name = "TIME",
          default_value = "1s", value_parser = duration)]
    pub commit_interval: Duration,
}

/// Where metrics are served.
#[derive(Args, Debug)]
#[command(next_help_heading = "Serving")]
pub struct WebFlags {
    /// Address to listen on; repeatable
    #[arg(
        long = "web.listen-address",
        env = "INFEROMETER_WEB_LISTEN_ADDRESS",
        value_name = "[HOST]:PORT",
        default_value = ":9082",
        value_delimiter = ',',
        value_parser = listen_address
    )]
    pub listen: Vec<String>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", env = "INFEROMETER_WEB_TELEMETRY_PATH", value_name = "PATH",
          default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// TLS, basic authentication and headers, in the exporter toolkit's format
    #[arg(long = "web.config.file", env = "INFEROMETER_WEB_CONFIG_FILE", value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// Most scrapes at once; more get 503
    #[arg(long = "web.max-requests", env = "INFEROMETER_WEB_MAX_REQUESTS", value_name = "N", default_value_t = 40,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests: u32,
    /// Have the configuration read again by a POST to /-/reload, as by SIGHUP
    #[arg(long = "web.enable-lifecycle", env = "INFEROMETER_WEB_ENABLE_LIFECYCLE", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub enable_lifecycle: bool,
    /// Show the newest lines of each log on the page and in /api/v1/status; they may hold what users have sent
    #[arg(long = "web.show-lines", env = "INFEROMETER_WEB_SHOW_LINES", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub show_lines: bool,
    /// How long to go on serving after SIGTERM, so that a last scrape sees the last lines
    #[arg(long = "web.shutdown-linger", env = "INFEROMETER_WEB_SHUTDOWN_LINGER", value_name = "TIME",
          default_value = "0s", value_parser = duration)]
    pub shutdown_linger: Duration,
    /// Also say in OpenMetrics when each counter and histogram began (_created), as a series of its own
    #[arg(long = "web.openmetrics-created", env = "INFEROMETER_WEB_OPENMETRICS_CREATED", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub openmetrics_created: bool,
}

/// How lines become metrics.
#[derive(Args, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct FoldFlags {
    /// Configuration, YAML
    #[arg(long = "config.file", env = "INFEROMETER_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// The server's metrics.yaml [default: that of TorchServe 0.12]
    #[arg(
        long = "torchserve.metrics-config",
        env = "INFEROMETER_TORCHSERVE_METRICS_CONFIG",
        value_name = "FILE"
    )]
    pub metrics_config: Option<PathBuf>,
    /// Format of the logs: auto, or one of those that replay reports
    #[arg(long, env = "INFEROMETER_FORMAT", default_value = "auto", value_parser = format_name())]
    pub format: String,
    /// Most series in all
    #[arg(
        long = "limit.series",
        env = "INFEROMETER_LIMIT_SERIES",
        value_name = "N",
        default_value_t = 10_000
    )]
    pub limit_series: u32,
    /// Most series of one family
    #[arg(
        long = "limit.series-per-family",
        env = "INFEROMETER_LIMIT_SERIES_PER_FAMILY",
        value_name = "N",
        default_value_t = 1_000
    )]
    pub limit_series_per_family: u32,
    /// Longest line in bytes; longer ones are passed over
    #[arg(long = "limit.line-bytes", env = "INFEROMETER_LIMIT_LINE_BYTES", value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(256..=16_777_216))]
    pub limit_line_bytes: u32,
    /// Make histograms in seconds of every latency; --no-latency-histograms turns them off
    #[arg(long = "latency-histograms", env = "INFEROMETER_LATENCY_HISTOGRAMS", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    pub latency_histograms: bool,
    #[arg(long = "no-latency-histograms", hide = true)]
    #[expect(missing_docs, reason = "the other half of --latency-histograms")]
    pub no_latency_histograms: bool,
    /// Names of the log families: the server's own, Prometheus' conventions, or one schema for all servers
    #[arg(long, env = "INFEROMETER_NAMING", value_enum, default_value_t = Naming::Torchserve)]
    pub naming: Naming,
    /// Names to show beside our own: other exporters', or a server's of the past; repeatable
    #[arg(long, env = "INFEROMETER_COMPAT", value_enum, value_delimiter = ',')]
    pub compat: Vec<Compat>,
    /// Labels to leave out, summing counters and histograms; repeatable
    #[arg(long = "drop-labels", env = "INFEROMETER_DROP_LABELS", value_name = "NAME", value_delimiter = ',')]
    pub drop_labels: Vec<String>,
    /// Hide a server's gauges after this much silence
    #[arg(long = "gauge-ttl", env = "INFEROMETER_GAUGE_TTL", value_name = "TIME", default_value = "5m",
          value_parser = whole_seconds)]
    pub gauge_ttl: Duration,
    /// Drop a series after this much time without a line
    #[arg(long = "series-ttl", env = "INFEROMETER_SERIES_TTL", value_name = "TIME", default_value = "7d",
          value_parser = whole_seconds)]
    pub series_ttl: Duration,
    /// Least severe messages to log
    #[arg(long = "log.level", env = "INFEROMETER_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// Form of our own log, on standard error
    #[arg(long = "log.format", env = "INFEROMETER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Logfmt)]
    pub log_format: LogFormat,
}

/// Severity of our own log's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Data is lost, or act now.
    Error,
    /// Recovered; look later.
    Warn,
    /// Life cycle.
    Info,
    /// Per file.
    Debug,
}

/// Form of our own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl FoldFlags {
    /// The format that is set for all files.
    pub fn fixed_format(&self) -> Option<&'static Format> {
        parsers::format_named(&self.format)
    }

    /// Whether latency histograms are on.
    pub const fn has_latency_histograms(&self) -> bool {
        self.latency_histograms && !self.no_latency_histograms
    }
}

fn format_name() -> clap::builder::PossibleValuesParser {
    std::iter::once("auto").chain(FORMATS.iter().map(|format| format.name)).into()
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (250ms, 1s, 5m, 7d)"))
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.as_secs() > 0 && time.subsec_nanos() == 0 {
        Ok(time)
    } else {
        Err("whole seconds, at least 1s".into())
    }
}

/// `+02:00`, `UTC` or a zone of the system's time zone database.
pub(super) fn time_zone(zone: &str) -> Result<TimeZone, String> {
    TimeZone::get(zone)
        .or_else(|_| {
            format!("1970-01-01T00:00{zone}[{zone}]")
                .parse::<jiff::Zoned>()
                .map(|time| time.time_zone().clone())
        })
        .map_err(|_| format!("unknown timezone {zone:?} (UTC, +02:00, Europe/Berlin)"))
}

fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().map_err(|error| error.to_string())?;
    if value.is_finite() && value > 0.0 && value <= 10_000.0 {
        Ok(value)
    } else {
        Err("above 0, up to 10000".into())
    }
}

fn listen_address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) { Ok(text.to_owned()) } else { Err("not [HOST]:PORT".into()) }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let taken = ["/", "/api/v1/status"].contains(&text) || text.starts_with("/-/");
    let legal =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte));
    if legal && !taken {
        Ok(text.to_owned())
    } else {
        Err("a path such as /metrics, not taken by others".into())
    }
}
