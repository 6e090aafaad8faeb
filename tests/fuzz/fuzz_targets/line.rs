//! Any bytes as one record of each format.

#![no_main]

use inferometer::state::{Origin, Role, State};
use libfuzzer_sys::fuzz_target;
use parsers::framing::Frame;
use parsers::{Dialect, FORMATS, Pending, Unwrapped, detect};
use std::collections::BTreeMap;

fuzz_target!(|record: &[u8]| {
    if let Some(dialect) = detect(record) {
        assert_eq!(Some(dialect), Dialect::named(&dialect.to_string()));
    }
    for wrapper in ["docker", "cri", "systemd", "klog", "klog in cri"] {
        let dialect = Dialect::named(&format!("{} in {wrapper}", FORMATS[0].name)).expect("a wrapper");
        let mut pending = Pending::default();
        let mut check = |unwrapped: Unwrapped<'_>| {
            if let Unwrapped::Record(inside) = unwrapped {
                assert!(inside.len() <= record.len() + 1, "{wrapper}: more than was there");
            }
        };
        for line in record.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            dialect.unwrap(line, &mut pending, 100, &mut check);
            let _written = dialect.written(line, record);
            let kept = pending.parts.iter().flatten().map(Vec::len).max().unwrap_or(0);
            assert!(kept <= 101 && pending.block.len() <= 202, "{wrapper}: {kept}, {}", pending.block.len());
        }
        dialect.finish(&mut pending, &mut check);
    }
    for format in FORMATS {
        let _written = (format.written)(record);
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
