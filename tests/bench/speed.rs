//! How long the hot paths take, by the clock: `cargo bench`.

use crate::traffic::{self, Shape};
use crate::{drive, paths};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use flate2::Compression;
use flate2::write::GzEncoder;
use inferometer::snapshot::Slots;
use parsers::{Catalog, FORMATS, framing};
use std::fmt;
use std::io::Write;
use std::path::Path;

/// As many lines as an iteration takes along.
const LINES: u64 = 10_000;

/// A capture and the format that it is read by.
struct Capture {
    name: &'static str,
    format: usize,
    path: &'static str,
}

impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", FORMATS[self.format].name, self.name)
    }
}

const CAPTURES: &[Capture] = &[
    Capture { name: "model metrics", format: 0, path: "pairs-sequential/model_metrics.log" },
    Capture { name: "server metrics", format: 0, path: "pairs-sequential/ts_metrics.log" },
    Capture { name: "of 0.7.1", format: 0, path: "0.7.1-log/model_metrics.log" },
    Capture { name: "in JSON", format: 0, path: "layouts/0.12.0-pattern_json/model_metrics.log" },
    Capture {
        name: "console-like",
        format: 0,
        path: "layouts/0.12.0-pattern_like_console/model_metrics.log",
    },
    Capture { name: "", format: 2, path: "log/console.txt" },
];

/// The parser alone, on real lines.
#[divan::bench(args = CAPTURES)]
fn parse(bencher: Bencher<'_, '_>, capture: &Capture) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/torchserve").join(capture.path);
    let bytes = std::fs::read(&path).expect("a fixture");
    let (format, catalog) = (&FORMATS[capture.format], Catalog::torchserve_default());
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    bencher.counter(ItemsCount::new(lines.len())).counter(BytesCount::new(bytes.len())).bench_local(|| {
        for line in &lines {
            black_box((format.parse)(line, &catalog, &mut |event| drop(black_box(event)))).ok();
        }
    });
}

/// An access log's lines; no capture holds enough of them.
#[divan::bench]
fn parse_access_log(bencher: Bencher<'_, '_>) {
    let line = b"2026-11-20 17:44:49 - /127.0.0.1:59146 \"POST /predictions/resnet18 HTTP/1.1\" 200 5\n";
    let catalog = Catalog::default();
    bencher
        .counter(ItemsCount::new(1_usize))
        .counter(BytesCount::new(line.len()))
        .bench(|| (FORMATS[1].parse)(black_box(line), &catalog, &mut |event| drop(black_box(event))).is_ok());
}

/// Lines taken apart without being understood.
#[divan::bench]
fn identify(bencher: Bencher<'_, '_>) {
    let text = paths::known_lines(700, LINES);
    let lines: Vec<&[u8]> = text.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
    let take_apart = FORMATS[0].identify.expect("a metric file's lines can be taken apart");
    bencher
        .counter(ItemsCount::new(lines.len()))
        .counter(BytesCount::new(text.len()))
        .bench(|| lines.iter().filter(|line| (take_apart.identify)(line).is_some()).count());
}

/// Lines cut and folded into series that are there.
#[divan::bench(args = [(700, false), (700, true), (42_000, false), (42_000, true)])]
fn fold_known(bencher: Bencher<'_, '_>, (series, latency_histograms): (usize, bool)) {
    let (mut state, origin) = paths::state(latency_histograms);
    let mut traffic = traffic::Traffic::new(series, 1);
    let cover = traffic.requests(traffic.cover());
    paths::fold(&mut state, cover.as_bytes(), &origin);
    let text = traffic.lines(LINES * 10);
    bencher
        .counter(ItemsCount::new(LINES * 10))
        .counter(BytesCount::new(text.len()))
        .bench_local(|| paths::fold(&mut state, text.as_bytes(), &origin));
}

/// The same where no line follows the one that it followed the last time.
#[divan::bench(args = [700, 42_000])]
fn fold_known_in_no_order(bencher: Bencher<'_, '_>, series: usize) {
    let (mut state, origin) = paths::state(false);
    let text = paths::unordered_lines(series, LINES * 10);
    let lines = paths::fold(&mut state, text.as_bytes(), &origin);
    bencher
        .counter(ItemsCount::new(lines))
        .counter(BytesCount::new(text.len()))
        .bench_local(|| paths::fold(&mut state, text.as_bytes(), &origin));
}

/// Lines that each bring up a series.
#[divan::bench]
fn fold_new(bencher: Bencher<'_, '_>) {
    let text = traffic::series(Shape::Numbers, 10_000);
    bencher.counter(ItemsCount::new(10_000_usize)).with_inputs(|| paths::state(false)).bench_local_values(
        |(mut state, origin)| {
            paths::fold(&mut state, text.as_bytes(), &origin);
            state
        },
    );
}

/// Lines that have to be refused.
#[divan::bench]
fn fold_garbage(bencher: Bencher<'_, '_>) {
    let bytes = traffic::garbage(1000, 1);
    let (mut state, origin) = paths::state(false);
    let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
    bencher
        .counter(ItemsCount::new(lines))
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| paths::fold(&mut state, &bytes, &origin));
}

/// Lines cut off a buffer, which is the least that can be done with them.
#[divan::bench]
fn frame(bencher: Bencher<'_, '_>) {
    let text = paths::known_lines(700, LINES);
    bencher.counter(ItemsCount::new(LINES)).counter(BytesCount::new(text.len())).bench(|| {
        let mut rest = black_box(text.as_bytes());
        let mut lines = 0_u64;
        while let framing::Frame::Record(length) = (FORMATS[0].frame)(rest) {
            rest = &rest[length..];
            lines += 1;
        }
        lines
    });
}

const SHAPES: [Shape; 2] = [Shape::Numbers, Shape::Histograms];

/// The copy for scrapes.
#[divan::bench(args = SHAPES)]
fn view_10_000(bencher: Bencher<'_, '_>, shape: Shape) {
    let state = paths::state_of(shape, 10_000);
    bencher.counter(ItemsCount::new(10_000_usize)).bench_local(|| state.view(Some(1)));
}

/// That copy as text.
#[divan::bench(args = SHAPES)]
fn render_10_000(bencher: Bencher<'_, '_>, shape: Shape) {
    let view = paths::state_of(shape, 10_000).view(Some(1));
    let mut text = drive::body(&view.log);
    bencher
        .counter(ItemsCount::new(10_000_usize))
        .counter(BytesCount::new(text.len()))
        .bench_local(|| paths::render(&view.log, &mut text));
}

/// The level of a compressed scrape is chosen by this, and by how much is left.
#[divan::bench(args = [1, 3, 6])]
fn gzip_10_000(bencher: Bencher<'_, '_>, level: u32) {
    let text = drive::body(&paths::state_of(Shape::Numbers, 10_000).view(Some(1)).log);
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish())
    });
}

/// A snapshot on the disk of the temporary folder, synced.
#[divan::bench(args = [(Shape::Numbers, 700), (Shape::Numbers, 10_000), (Shape::Histograms, 10_000)])]
fn commit(bencher: Bencher<'_, '_>, (shape, series): (Shape, usize)) {
    let state = paths::state_of(shape, series);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut slots = Slots::open(folder.path()).expect("a folder of our own");
    bencher.counter(ItemsCount::new(series)).bench_local(|| paths::commit(&state, &mut slots));
}
