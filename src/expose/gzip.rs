//! Compressed answers, for clients that take them: Prometheus asks for them at every scrape.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// The level. Of a body of 3.4 MB it leaves a fourteenth in a few milliseconds; level 6 takes several times as long
/// for a quarter less (`cargo bench`, `gzip_10_000`).
const LEVEL: u32 = 1;

/// Bodies below this length are sent as they are: they fit into one packet.
const SHORTEST: usize = 1024;

/// The body compressed; none where that is not worth it.
pub(super) fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < SHORTEST {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::new(LEVEL));
    // Writing into memory cannot fail; if it did, the body would be sent as it is.
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}
