//! Any bytes as families, which readers of both formats have to find again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| inferometer_fuzz::check_families(bytes));
