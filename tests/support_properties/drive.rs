//! The library's own way from bytes to a body, as the follower, `replay` and a scrape take it together. The
//! fuzz targets take it too.

use inferometer::expose::text::encode;
use inferometer::metric::FamilyView;
use inferometer::state::{Origin, Role, State};
use parsers::Format;
use parsers::framing::{self, Frame};
use std::collections::BTreeMap;

/// Adds a source and its server.
pub(crate) fn add<'a>(state: &mut State, name: &str, labels: &'a BTreeMap<String, String>) -> Origin<'a> {
    let (source, server) = (state.add_source(name), state.add_server());
    Origin { source, server, now: 0, wall: 0, labels, offset_minutes: 0 }
}

/// Folds a whole file; tells how many records that were.
pub(crate) fn fold(state: &mut State, bytes: &[u8], format: &Format, origin: &Origin<'_>) -> u64 {
    let mut rest = bytes;
    let mut records = 0;
    loop {
        // A block that never becomes whole falls apart into lines.
        let frame = match (format.frame)(rest) {
            Frame::Incomplete => framing::line(rest),
            whole @ Frame::Record(_) => whole,
        };
        // What is left is a last line without its end: it is torn and not read.
        let Frame::Record(length) = frame else { return records };
        assert!(0 < length && length <= rest.len(), "a record of {length} bytes in {}", rest.len());
        let (record, after) = rest.split_at(length);
        // The state counts what it refuses, and the counts are looked at.
        state.fold(record, format, Role::All, origin).ok();
        records += 1;
        rest = after;
    }
}

/// Families as a scrape shows them.
pub(crate) fn body<'a>(families: impl IntoIterator<Item = &'a FamilyView>) -> String {
    let mut text = String::new();
    encode(families, None, &mut text);
    text
}
