//! What a record is taken apart into, held against the parser. The fuzz targets use it too.

use parsers::{Catalog, Event, Format, Identify, Identity, ParseError, Scope};

/// What the parser makes of a record.
struct Meant {
    scope: Scope,
    /// Name, unit and labels as one text: only whether they are the same matters.
    series: String,
    host: Option<String>,
    value: f64,
    request_ids: Option<String>,
    timestamp: Option<u64>,
}

/// Holds a record against the simplest one of the same identity; tells whether it has any.
pub(crate) fn check(format: &Format, record: &[u8], catalog: &Catalog) -> bool {
    let Some(Identify { identify, identify_as, seconds }) = format.identify else { return false };
    let Some(identity) = identify(record) else {
        assert_eq!(None, identify_as(record, [b"A.ms:", b"|#|#hostname:h"], 1), "{}", record.escape_ascii());
        return false;
    };
    let text = record.escape_ascii().to_string();
    let plain = plain(&identity);
    let other = identify(&plain).unwrap_or_else(|| panic!("no identity: {}", plain.escape_ascii()));
    assert_eq!(Some(identity), identify_as(record, identity.key, identity.host.len()), "{text}");
    for other in others(&identity).iter().filter_map(|other| identify(other)) {
        let as_other = identify_as(record, other.key, other.host.len());
        assert_eq!((other.key == identity.key).then_some(identity), as_other, "{text}");
    }
    assert_eq!((identity.key, identity.host), (other.key, other.host), "{text}");
    assert_eq!((identity.has_requests, None), (other.has_requests, other.request_ids), "{text}");
    match (meant(format, record, catalog), meant(format, &plain, catalog)) {
        (Ok(ours), Ok(theirs)) => {
            let value = parsers::number(identity.value).map(f64::to_bits);
            assert_eq!(value, Some(ours.value.to_bits()), "{text}");
            assert_eq!(identity.request_ids, ours.request_ids.as_deref().map(str::as_bytes), "{text}");
            assert_eq!(seconds(record), ours.timestamp, "{text}");
            assert_eq!(Some(identity.host), ours.host.as_deref().map(str::as_bytes), "{text}");
            assert_eq!(identity.has_requests, ours.scope == Scope::Model, "{text}");
            assert_eq!((theirs.scope, theirs.series), (ours.scope, ours.series), "{text}");
        }
        (Err(_), Ok(_)) => assert_eq!(None, parsers::number(identity.value), "{text}"),
        // A value that is none may be refused before anything else is.
        (Err(ours), Err(theirs)) if parsers::number(identity.value).is_some() => {
            assert_eq!(theirs.reason, ours.reason, "{text}");
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => panic!("{error}: {text}"),
    }
    true
}

/// Records whose keys are nearly this one.
fn others(identity: &Identity<'_>) -> [Vec<u8>; 7] {
    let [front, back] = identity.key;
    let with = |front: &[u8], back: &[u8]| plain(&Identity { key: [front, back], ..*identity });
    let value = identity.value;
    [
        with(front.get(1..).unwrap_or_default(), back),
        with(&[front, b"1:"].concat(), back),
        with(&[front, value, b":"].concat(), back),
        with(front, back.get(..back.len() - 1).unwrap_or_default()),
        with(front, &[back, b"h"].concat()),
        with(front, &[b"|#|#hostname:", identity.host].concat()),
        with(front, &[b"|#a", back].concat()),
    ]
}

/// The simplest record of an identity.
fn plain(identity: &Identity<'_>) -> Vec<u8> {
    let requests: &[u8] = if identity.has_requests { b",requestID:null" } else { b"" };
    let [front, back] = identity.key;
    [b"2026-11-20T17:48:00,476 - ", front, b"1", back, requests, b",timestamp:1"].concat()
}

fn meant(format: &Format, record: &[u8], catalog: &Catalog) -> Result<Meant, ParseError> {
    let mut samples = Vec::new();
    (format.parse)(record, catalog, &mut |event| {
        let Event::Sample(sample) = event else { panic!("a metric has an identity, {event:?} has none") };
        samples.push(Meant {
            scope: sample.scope,
            series: format!("{:?}", (sample.name, sample.unit, &sample.labels)),
            host: sample.labels.last().map(|(_, host)| (*host).to_owned()),
            value: sample.value,
            request_ids: sample.request_ids.map(str::to_owned),
            timestamp: sample.timestamp,
        });
    })?;
    assert_eq!(1, samples.len());
    Ok(samples.remove(0))
}
