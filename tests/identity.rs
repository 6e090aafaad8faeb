//! What a record is taken apart into (`parsers::Identity`) says no more than the parser would.

use crate::support_properties::hostile::{self, PEACE, RIVALRY};
use parsers::{Catalog, Event, FORMATS, Format, Identity, ParseError, Sample, framing};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, prop_oneof, proptest};
use std::path::{Path, PathBuf};

/// Holds a record against another one of the same identity.
fn check(format: &Format, record: &[u8], catalog: &Catalog) -> bool {
    let Some(identity) = (format.identify)(record) else { return false };
    let text = record.escape_ascii().to_string();
    let plain = plain(&identity);
    let other = (format.identify)(&plain).unwrap_or_else(|| panic!("no identity: {}", plain.escape_ascii()));
    assert_eq!((identity.key, identity.host), (other.key, other.host), "{text}");
    assert_eq!((identity.has_requests, None), (other.has_requests, other.request_ids), "{text}");
    match (sample(format, record, catalog), sample(format, &plain, catalog)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(
                parsers::number(identity.value).map(f64::to_bits),
                Some(ours.value.to_bits()),
                "{text}"
            );
            assert_eq!(identity.request_ids, ours.request_ids, "{text}");
            assert_eq!(
                Some(&identity.host),
                ours.labels.last().map(|(_, host)| host.as_bytes()).as_ref(),
                "{text}"
            );
            assert_eq!(identity.has_requests, ours.scope == parsers::Scope::Model, "{text}");
            let sample =
                |sample: Sample<'_>| format!("{:?}", (sample.scope, sample.name, sample.unit, sample.labels));
            assert_eq!(sample(theirs), sample(ours), "{text}");
        }
        (Err(_), Ok(_)) => assert_eq!(None, parsers::number(identity.value), "{text}"),
        (Err(ours), Err(theirs)) => assert_eq!(theirs.reason, ours.reason, "{text}"),
        (Ok(_), Err(error)) => panic!("{error}: {text}"),
    }
    true
}

/// The simplest record of an identity.
fn plain(identity: &Identity<'_>) -> Vec<u8> {
    let requests: &[u8] = if identity.has_requests { b",requestID:null" } else { b"" };
    let [front, back] = identity.key;
    [b"2026-11-20T17:48:00,476 - ", front, b"1", back, requests, b",timestamp:1"].concat()
}

/// The one sample of a record, its text kept by leaking: a test ends soon.
fn sample<'a>(format: &Format, record: &'a [u8], catalog: &Catalog) -> Result<Sample<'a>, ParseError> {
    let mut samples = Vec::new();
    (format.parse)(record, catalog, &mut |event| match event {
        Event::Sample(sample) => samples.push(owned(&sample)),
        other => panic!("a metric has an identity, {other:?} has none"),
    })?;
    assert_eq!(1, samples.len());
    Ok(samples.remove(0))
}

fn owned(sample: &Sample<'_>) -> Sample<'static> {
    let own = |text: &str| -> &'static str { text.to_owned().leak() };
    Sample {
        name: own(sample.name),
        unit: own(sample.unit),
        labels: sample.labels.iter().map(|(name, value)| (own(name), own(value))).collect(),
        request_ids: sample.request_ids.map(own),
        ..*sample
    }
}

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
