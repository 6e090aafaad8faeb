//! Compressed answers, for clients that take them: Prometheus asks for them at every scrape.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use warp::http::HeaderMap;

/// The level. Of a body of 3.4 MB it leaves a fourteenth in a few milliseconds; level 6 takes several times as long
/// for a quarter less (`cargo bench`, `gzip_10_000`).
const LEVEL: u32 = 1;

/// Bodies below this length are sent as they are: they fit into one packet.
const SHORTEST: usize = 1024;

/// Whether the client takes gzip (RFC 9110 §12.5.3).
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all("accept-encoding").iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(',')).map(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f64>);
        (name, weight.unwrap_or(0.0))
    });
    codings.any(|(name, weight)| name.eq_ignore_ascii_case("gzip") && weight > 0.0)
}

/// The body compressed; none where that is not worth it.
pub(super) fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < SHORTEST {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::new(LEVEL));
    // Writing into memory cannot fail; if it did, the body would be sent as it is.
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &str) -> bool {
        is_accepted(&HeaderMap::from_iter([("accept-encoding".parse().unwrap(), value.parse().unwrap())]))
    }

    #[test]
    fn gzip_is_sent_to_those_who_ask_for_it() {
        for value in ["gzip", "GZIP", "deflate, gzip;q=0.5", "br;q=1.0, gzip ; q=0.1", "identity,gzip"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "identity", "gzip;q=0", "gzip; q=0.0", "gzip;q=x", "xgzip", "deflate;q=1"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
