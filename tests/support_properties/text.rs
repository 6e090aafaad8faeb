//! Text that a log may hold, with a taste for what parsers and encoders stumble over.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;

/// Pieces with a meaning somewhere on a line's way from the log to the exposition.
const TRICKY: &[&str] = &[
    "\"",
    "\\",
    "\\n",
    "\\\"",
    "\n",
    "\r",
    "\0",
    "\t",
    " ",
    "  ",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "é",
    "🚀",
    "=",
    "{",
    "}",
    "\",b=\"",
    ",b:",
    ":",
    ",",
    "|",
    "#",
    "|#",
    "|#hostname:",
    "|#type:COUNTER|",
    ",requestID:",
    ",timestamp:7",
    " - ",
    "[METRICS]",
    "TS_METRICS - ",
    "MutableLogEvent@",
    "overflow",
    "true",
    "NaN",
];

/// Any text at all.
pub(crate) fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-zA-Z0-9_.-]{1,6}",
        4 => select(TRICKY).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// Any text, most often one of a few, so that lines meet in one series.
pub(crate) fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&["a", "b", "Model", "true"][..]).prop_map(str::to_owned),
        2 => hostile(),
    ]
}

/// What a worker can report: no NaN, since the server's reader does not let it pass.
pub(crate) fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0..1000u16).prop_map(|cents| f64::from(cents) / 100.0),
        2 => proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        1 => select(&[-1.0, -0.0, 1e7, 1e-4, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY][..]),
    ]
}

/// The number as Java or Python may have printed it.
pub(crate) fn print(number: f64, style: u8) -> String {
    match style % 3 {
        _ if number.is_nan() => "NaN".to_owned(),
        _ if number.is_infinite() => format!("{}Infinity", if number < 0.0 { "-" } else { "" }),
        0 => format!("{number:?}"),
        1 => format!("{number}"),
        _ => format!("{number:E}"),
    }
}
