//! The table of formats: one row for each shape of log, and how a file's format is found.

mod access;
mod bentoml;
mod deepsparse;
mod kserve;
mod llamacpp;
mod lmdeploy;
mod ollama;
mod ray_serve;
mod rules;
mod sglang;
#[cfg(test)]
pub(crate) mod testing;
mod tgi;
mod torchserve;
mod vllm;

use crate::framing::{self, Frame};
use crate::written::{self, Written};
use crate::{Catalog, Event, Identify, Metric, Outcome, ParseError};

/// Reads one record and hands out what it says.
pub type Parse = fn(&[u8], &Catalog, &mut dyn FnMut(Event<'_>)) -> Result<Outcome, ParseError>;

/// The families of a format, in the order in which people read of them.
pub type Metrics = fn() -> Vec<&'static Metric<'static>>;

/// Tells when a record was written.
pub type Tell = fn(&[u8]) -> Option<Written>;

/// One shape of log.
#[derive(Debug)]
pub struct Format {
    /// The word for `--format`, reports and the page.
    pub name: &'static str,
    /// What it is, for people.
    pub summary: &'static str,
    /// Whether the server declares families that are listed before their first line.
    pub declares: bool,
    /// The formats whose lines it holds once more: a console beside the files that it repeats.
    pub repeats: &'static [&'static str],
    /// Whether lines of it stand in other servers' logs as well: they tell a format only where no other line does, and
    /// for the time being.
    pub is_generic: bool,
    /// Whether a line can only come from this format.
    pub recognises: fn(&str) -> bool,
    /// Cuts the next record off the front of a buffer.
    pub frame: fn(&[u8]) -> Frame,
    /// Takes records apart by their shape alone, where that can be done.
    pub identify: Option<Identify>,
    /// When a record was written, if it tells.
    pub written: Tell,
    /// Reads a record.
    pub parse: Parse,
    /// The families that its records feed, but for those whose names stand in the log.
    pub metrics: Metrics,
}

/// All formats, the most specific first: the first one that recognises a line wins. Lines of the last one stand in
/// many servers' logs, so it is asked only when no other one recognises any line.
pub static FORMATS: &[Format] = &[
    Format {
        name: "torchserve",
        summary: "TorchServe's ts_metrics.log and model_metrics.log (0.1 to 0.12, any layout)",
        declares: true,
        repeats: &[],
        is_generic: false,
        recognises: torchserve::recognises_metric_file,
        frame: torchserve::frame,
        identify: Some(torchserve::IDENTIFY),
        written: written::metric,
        parse: torchserve::parse_metric_file,
        metrics: Vec::new,
    },
    Format {
        name: "bentoml",
        summary: "BentoML's server log: HTTP and gRPC requests (1.0 to 1.4)",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: bentoml::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: bentoml::parse,
        metrics: bentoml::metrics,
    },
    Format {
        name: "tgi",
        summary: "Text Generation Inference's router: text, with colours or without, and JSON (0.3 to 3.3)",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: tgi::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: tgi::parse,
        metrics: tgi::metrics,
    },
    Format {
        name: "deepsparse",
        summary: "DeepSparse's Python loggers (1.3 to 1.8)",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: deepsparse::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: deepsparse::parse,
        metrics: Vec::new,
    },
    Format {
        name: "kserve",
        summary: "KServe's Python model server: its trace lines (0.9 to 0.21)",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: kserve::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: kserve::parse,
        metrics: kserve::metrics,
    },
    Format {
        name: "torchserve-access",
        summary: "TorchServe's access_log.log",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: torchserve::recognises_access_log,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: torchserve::parse_access_log,
        metrics: Vec::new,
    },
    Format {
        name: "torchserve-console",
        summary: "TorchServe's ts_log.log or standard output: metric lines among all other loggers'",
        declares: true,
        repeats: &["torchserve", "torchserve-access"],
        is_generic: false,
        recognises: torchserve::recognises_console,
        frame: framing::line,
        identify: None,
        written: written::metric,
        parse: torchserve::parse_console,
        metrics: Vec::new,
    },
    Format {
        name: "vllm",
        summary: "vLLM's log: periodic lines of all versions, text, colours or JSON, and its access lines",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: vllm::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: vllm::parse,
        metrics: vllm::metrics,
    },
    Format {
        name: "ray-serve",
        summary: "Ray Serve's proxy and replica logs, text or JSON",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: ray_serve::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: ray_serve::parse,
        metrics: ray_serve::metrics,
    },
    Format {
        name: "sglang",
        summary: "SGLang's log: batch lines, request times, requests as JSON, access lines",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: sglang::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: sglang::parse,
        metrics: sglang::metrics,
    },
    Format {
        name: "ollama",
        summary: "Ollama's log",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: ollama::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: ollama::parse,
        metrics: ollama::metrics,
    },
    Format {
        name: "llamacpp",
        summary: "llama.cpp's server log, text or JSON (2023 to 2026)",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: llamacpp::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: llamacpp::parse,
        metrics: llamacpp::metrics,
    },
    Format {
        name: "lmdeploy",
        summary: "LMDeploy's periodic line",
        declares: false,
        repeats: &[],
        is_generic: false,
        recognises: lmdeploy::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: lmdeploy::parse,
        metrics: lmdeploy::metrics,
    },
    Format {
        name: "access",
        summary: "access lines of uvicorn, gunicorn and others: MLServer, home-grown servers",
        declares: false,
        repeats: &[],
        is_generic: true,
        recognises: access::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: access::parse,
        metrics: access::metrics,
    },
    Format {
        name: RULES,
        summary: "any lines, for the rules of the configuration",
        declares: false,
        repeats: &[],
        is_generic: true,
        recognises: rules::recognises,
        frame: framing::line,
        identify: None,
        written: written::front,
        parse: rules::parse,
        metrics: Vec::new,
    },
];

impl Format {
    /// Whether one of two formats holds the lines of the other once more: to read both would count them twice.
    pub fn doubles(&self, other: &Self) -> bool {
        self.repeats.contains(&other.name) || other.repeats.contains(&self.name)
    }
}

/// The format of a log that only the configuration's rules read.
pub const RULES: &str = "rules";

/// The format with this name.
pub fn format_named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The guide's example is compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("formats/README.md")]
struct Guide;
