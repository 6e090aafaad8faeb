//! Model-server log lines in, typed samples out.
//!
//! This crate is pure: bytes come in as one [`Record`](framing), samples go out through a callback.
//! It opens no file, reads no clock, starts no thread and keeps no state between records, so the same
//! bytes always give the same samples, wherever and whenever they are read.
//!
//! The way of a record:
//!
//! 1. [`Format::frame`] cuts the next record off a buffer: a line, or a block of lines where a server
//!    writes one event over several. Where a container runtime or a logger has wrapped the lines,
//!    [`Dialect::frame`] cuts them and [`Dialect::unwrap`] makes records of them.
//! 2. [`Format::parse`] turns it into [`Event`]s: [`Sample`]s, a metric's type, a finished HTTP request,
//!    a fact about the server. What cannot be read is a [`ParseError`] with the expected thing, the
//!    column and a [`Reason`] to count it under.
//! 3. The caller folds the events.
//!
//! What a line leaves open (which label names, where a name ends and its unit begins) comes from a
//! [`Catalog`]: the families that the server declares in its `metrics.yaml`.
//!
//! Lines that no format knows go to the user's own [`rules`].
//!
//! A new model server is one file in `formats/` and one line in [`FORMATS`].

mod ansi;
mod catalog;
mod duration;
mod error;
mod event;
mod formats;
pub mod framing;
mod grammar;
mod http;
mod identity;
mod json;
mod measurement;
mod pairs;
mod report;
mod route;
pub mod rules;
mod sample;
mod time;
pub mod uniform;
mod unit;
mod wrapper;
pub mod written;

pub use catalog::{Catalog, Declaration, Duplicate};
pub use error::{ParseError, Reason};
pub use event::{Access, Event, Outcome, ServerFact};
pub use formats::{FORMATS, Format, Metrics, Parse, RULES, Tell, format_named};
pub use grammar::{Civil, whole_number as number};
pub use identity::{Identify, Identity, TakeApart, TakeApartAs};
pub use measurement::{Measurement, Metric, Uniform};
pub use sample::{Kind, Sample, Scope};
pub use unit::{Quantity, Unit};
pub use wrapper::{Dialect, Pending, Unwrapped, Wrapper, detect, detect_wrapper};
pub use written::Written;
