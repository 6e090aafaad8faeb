//! Any bytes as a whole file of each format.

#![no_main]

use inferometer::state::State;
use libfuzzer_sys::fuzz_target;
use parsers::FORMATS;

fuzz_target!(|bytes: &[u8]| {
    for rules in &*inferometer_fuzz::RULES {
        for format in FORMATS {
            let mut state = State::new(rules.clone());
            inferometer_fuzz::fold(&mut state, bytes, format);
            inferometer_fuzz::check(&state);
        }
    }
});
