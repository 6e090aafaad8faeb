//! The gate on instruction counts (`cargo bench -- instructions`) lets nobody pass who is over a limit.

#[path = "bench/limits.rs"]
mod gate;

use gate::{Figure, HEADING, complaints, limit, rows, table};

fn figure(path: &str, instructions: u64) -> Figure {
    Figure { path: path.to_owned(), instructions }
}

#[test]
fn who_takes_more_than_the_limit_is_named_with_both_numbers() {
    let limits = "# a comment\n\n  100  line, known\n50 series\n";
    assert_eq!(Vec::<String>::new(), complaints(limits, &[figure("line, known", 100), figure("series", 1)]));
    let complaints = complaints(limits, &[figure("line, known", 101), figure("series", 50)]);
    assert_eq!(1, complaints.len(), "{complaints:?}");
    assert!(complaints[0].starts_with("line, known: 101 instructions, the limit is 100"), "{complaints:?}");
}

#[test]
fn paths_and_limits_have_to_be_the_same_ones() {
    assert_eq!(1, complaints("", &[figure("new", 1)]).len());
    assert_eq!(1, complaints("1 gone", &[]).len());
    assert_eq!(1, complaints("many gone", &[figure("gone", 1)]).len(), "no number");
}

#[test]
fn a_fresh_table_leaves_a_little_room() {
    let figures = [figure("line, known", 1000), figure("series", 3)];
    let fresh = table(&figures);
    assert_eq!(Vec::<String>::new(), complaints(&fresh, &figures));
    assert_eq!((Some(1050), Some(4)), (limit(&fresh, "line, known"), limit(&fresh, "series")));
}

#[test]
fn the_table_in_force_is_one_that_an_update_writes() {
    let table = include_str!("bench/limits.txt");
    assert!(table.starts_with(HEADING), "the heading of limits.txt is written by limits.rs");
    assert!(rows(table).count() > 0);
}
