//! Lines of the console and of `ts_log.log`: time, level, thread, logger, message.

use super::access;
use crate::grammar::{Civil, Fail, civil, skip_colours};
use crate::{Event, Kind, ServerFact};
use memchr::memchr;
use nom::Parser;
use nom::bytes::complete::{tag, take_until};
use nom::character::complete::{char, space0};
use nom::combinator::opt;
use nom::sequence::delimited;

/// The two loggers whose lines are metrics.
pub(super) const METRIC: [&str; 2] = ["TS_METRICS", "MODEL_METRICS"];
/// The logger of finished requests.
pub(super) const ACCESS: &str = "ACCESS_LOG";
const MODEL_SERVER: &str = "org.pytorch.serve.ModelServer";
const WORKER: &str = "org.pytorch.serve.wlm.WorkerLifeCycle";

/// A line that names its logger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged<'a> {
    pub(super) time: Option<Civil>,
    /// What stands in the first brackets; other servers' loggers write their names there.
    pub(super) level: &'a str,
    pub(super) logger: &'a str,
    pub(super) message: &'a str,
}

impl<'a> Logged<'a> {
    /// Whether the level is one of log4j's.
    pub(super) fn has_level(&self) -> bool {
        ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].contains(&self.level.trim())
    }

    pub(super) fn is_metric(&self) -> bool {
        METRIC.contains(&self.logger)
    }

    /// What a line of another logger than the metrics' tells, if anything.
    pub(super) fn event(&self) -> Option<Event<'a>> {
        match self.logger {
            ACCESS => access::message(self.message).map(Event::Access),
            WORKER => echoed_type(self.message),
            MODEL_SERVER if self.message.trim().is_empty() => {
                self.time.map(|time| Event::Server(ServerFact::Started(time)))
            }
            _ => None,
        }
    }
}

/// Reads `2026-11-20T17:44:49,475 [INFO ] epollEventLoopGroup-3-1 TS_METRICS - message`.
///
/// The logger is the word before the first ` - `, and everything before it is written by the server
/// itself: a model that prints `TS_METRICS - …` changes only the message of its own `MODEL_LOG` line.
pub(super) fn line(text: &str) -> Option<Logged<'_>> {
    // Most lines of a metric file have none, and reading a time is the dearest part of reading a line.
    memchr(b'[', text.as_bytes())?;
    let level = delimited(char::<&str, Fail<'_>>('['), take_until("]"), char(']'));
    let mut head = (civil, space0, |input| Ok((skip_colours(input), ())), level, space0);
    let (rest, (time, _, _, level, _)) = head.parse(text).ok()?;
    // A message may be empty, and an editor or `docker logs` may cut the blank after the dash.
    let (origin, message) = match rest.split_once(" - ") {
        Some(parts) => parts,
        None => (rest.strip_suffix(" -")?, ""),
    };
    let logger = skip_colours(origin.rsplit(' ').next().unwrap_or(origin));
    Some(Logged { time: Some(time), level, logger, message: skip_colours(message) })
}

/// Reads a line of the start-up banner (`ConfigManager.dumpConfigurations`).
pub(super) fn banner(text: &str) -> Option<ServerFact<'_>> {
    let (key, value) = text.split_once(": ")?;
    match key {
        "Torchserve version" => Some(ServerFact::Version(value)),
        "Metrics mode" => Some(ServerFact::MetricsMode(value)),
        "Metrics config path" => Some(ServerFact::MetricsConfig(value)),
        _ => None,
    }
}

/// Reads the type out of `result=[METRICS]<name>.<Unit>:<value>|#<dims>|#type:<TYPE>|#hostname:…`.
fn echoed_type(message: &str) -> Option<Event<'_>> {
    let start = (tag("result="), opt(tag("INFO > ")), tag::<_, _, Fail<'_>>("[METRICS]"));
    let mut echo = (start, take_until("|#"), tag("|#"), take_until("|#"), tag("|#type:"));
    let (rest, (_, head, ..)) = echo.parse(message).ok()?;
    let (word, _) = rest.split_once(['|', ','])?;
    let (name, _) = head.split_once('.')?;
    Kind::from_label(word).map(|kind| Event::Type { name, kind })
}
