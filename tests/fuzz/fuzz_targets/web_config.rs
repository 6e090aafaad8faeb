//! Any text as a web configuration: it is one, or what is wrong is said with its place and in one line.

#![no_main]

use inferometer::config::web::{Seen, parse};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    let mut seen = Seen::default();
    if let Err(error) = parse(Path::new("/nowhere/web.yml"), text, &mut seen) {
        let rest = error.strip_prefix("/nowhere/web.yml:").expect("the file");
        let mut numbers = rest.splitn(3, ':').map(str::parse::<u64>);
        assert!(matches!((numbers.next(), numbers.next()), (Some(Ok(_)), Some(Ok(_)))), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
});
