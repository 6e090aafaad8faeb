//! What a record is taken apart into (`parsers::Identity`) says no more than the parser would.

use crate::support_properties::hostile::{self, PEACE, RIVALRY};
use crate::support_properties::identity::check;
use parsers::{Catalog, FORMATS, framing};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, prop_oneof, proptest};
use std::path::{Path, PathBuf};

fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let inner = folders.iter().flat_map(|folder| logs(folder));
    files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")).chain(inner).collect()
}

#[test]
fn every_line_of_every_fixture_is_what_its_identity_says() {
    let catalog = Catalog::torchserve_default();
    let (mut identified, mut metrics) = (0, 0);
    for path in logs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")) {
        let bytes = std::fs::read(&path).unwrap();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            identified += FORMATS.iter().filter(|format| check(format, line, &catalog)).count();
            // The shipped layout of 0.8 and later.
            let text = String::from_utf8_lossy(framing::trim_end(line));
            metrics += usize::from(text.get(23..26) == Some(" - ") && text.contains("|#hostname:"));
        }
    }
    assert!(identified > 1000, "{identified} lines");
    assert!(identified * 100 >= metrics * 95, "{identified} of {metrics} metric lines are taken apart");
}

#[test]
fn a_value_that_is_no_text_is_refused_whatever_else_is_wrong() {
    let line =
        b"2026-11-20T17:52:38,841 - V.ms:\xfe1|#ModelName:a,Level|#hostname:h,requestID:1,timestamp:1\n";
    assert!(check(&FORMATS[0], line, &Catalog::torchserve_default()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_line_is_what_its_identity_says(lines in vec(prop_oneof![hostile::line(PEACE), hostile::line(RIVALRY)], 0..25)) {
        let catalog = Catalog::torchserve_default();
        for line in lines {
            for format in FORMATS {
                check(format, &line.0, &catalog);
            }
        }
    }
}
