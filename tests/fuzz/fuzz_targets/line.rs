//! Any bytes as one record of each format.

#![no_main]

use inferometer::state::{Origin, Role, State};
use libfuzzer_sys::fuzz_target;
use parsers::framing::Frame;
use parsers::{FORMATS, detect};
use std::collections::BTreeMap;

fuzz_target!(|record: &[u8]| {
    detect(record);
    for format in FORMATS {
        if let Frame::Record(length) = (format.frame)(record) {
            assert!(0 < length && length <= record.len(), "{}: {length} bytes", format.name);
        }
        if let Ok(text) = std::str::from_utf8(record) {
            (format.recognises)(text);
        }
        if let Err(error) = (format.parse)(record, &inferometer_fuzz::RULES[0].catalog, &mut |_| ()) {
            assert!((1..=record.len() + 1).contains(&error.column), "{}: {error}", format.name);
        }
        inferometer_fuzz::check_identity(format, record, &inferometer_fuzz::RULES[0].catalog);
        for rules in &*inferometer_fuzz::RULES {
            let mut state = State::new(rules.clone());
            let (source, server) = (state.add_source("a.log"), state.add_server());
            let none = BTreeMap::new();
            let origin = Origin { source, server, now: 0, wall: 0, labels: &none, offset_minutes: 0 };
            // The second time it meets what the first one has made.
            let first = state.fold(record, format, Role::All, &origin);
            let second = state.fold(record, format, Role::All, &origin);
            assert_eq!(first, second, "{}", format.name);
            // What is refused changes no value, only counts.
            if first.is_ok() {
                inferometer_fuzz::check(&state);
            }
        }
    }
});
