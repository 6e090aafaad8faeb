//! Every format over all its fixtures: what `inferometer replay` makes of them is what stands beside them, and no line
//! of one server is taken for another's.
//!
//! `UPDATE_GOLDENS=1 cargo test servers::` writes what is expected; look at the difference before you commit it, and
//! hold it against what the server itself says of the same run (`servers_truth_*.rs`).

use crate::support::process::{replay, stderr};
use parsers::{FORMATS, Format, RULES};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// TorchServe has tests of its own (`golden.rs`), and so have the user's own rules (`rules.rs`, `rules_examples.rs`).
fn formats() -> impl Iterator<Item = &'static Format> {
    let known = FORMATS.iter().filter(|format| format.name != RULES);
    known.filter(|format| !format.name.starts_with("torchserve"))
}

/// The files of a format's fixtures that end so, by name.
fn files(format: &Format, end: &str) -> Vec<PathBuf> {
    let folder = root().join("fixtures").join(format.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| name_of(file).ends_with(end));
    files.sort();
    files
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

fn lines(path: &Path) -> Vec<String> {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).lines().map(str::to_owned).collect()
}

#[test]
fn every_format_has_a_fixture_and_every_fixture_what_is_expected_of_it() {
    for format in formats() {
        let logs = files(format, ".log");
        assert!(!logs.is_empty(), "{} has no fixture", format.name);
        let goldens =
            files(format, ".prom").into_iter().filter(|path| !name_of(path).ends_with(".server.prom"));
        let expected: Vec<_> = logs.iter().map(|log| log.with_extension("prom")).collect();
        assert_eq!(expected, goldens.collect::<Vec<_>>(), "{}", format.name);
    }
}

#[test]
fn a_fixture_is_read_whole_and_gives_what_is_expected() {
    for log in formats().flat_map(|format| files(format, ".log")) {
        let output = replay([Path::new("--strict"), &log]);
        assert_eq!(Some(0), output.status.code(), "{}: {}", log.display(), stderr(&output));
        let observed = String::from_utf8(output.stdout).unwrap();
        let golden = log.with_extension("prom");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&golden, &observed).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let differs =
            expected.lines().zip(observed.lines()).find(|(expected, observed)| expected != observed);
        assert_eq!(None, differs, "{}: expected, observed", golden.display());
        assert_eq!(expected.lines().count(), observed.lines().count(), "{}", golden.display());
    }
}

#[test]
fn the_format_of_a_fixture_is_found() {
    for format in formats() {
        for log in files(format, ".log") {
            let output = replay([&log]);
            let expected = format!("{} ({}): ", name_of(&log), format.name);
            assert!(stderr(&output).contains(&expected), "no {expected:?} in {}", stderr(&output));
        }
    }
}

#[test]
fn no_line_is_recognised_by_two_formats() {
    for log in formats().flat_map(|format| files(format, ".log")) {
        for line in lines(&log) {
            let by: Vec<_> = FORMATS
                .iter()
                .filter(|format| (format.recognises)(&line))
                .map(|format| format.name)
                .collect();
            assert!(by.len() <= 1, "{by:?} recognise {line:?}");
        }
    }
}

/// A log that begins in the middle of one file, or changes its colours, is still the same server's.
#[test]
fn colours_change_nothing_that_is_measured() {
    let mut checked = 0;
    for format in formats() {
        for line in files(format, ".log").iter().flat_map(|log| lines(log)) {
            let plain = told(format, &line);
            if plain.is_empty() || line.contains('\x1b') || line.starts_with('{') {
                continue;
            }
            let middle = line.char_indices().nth(line.chars().count() / 2).map_or(0, |(at, _)| at);
            let (front, back) = line.split_at(middle);
            assert_eq!(
                plain,
                told(format, &format!("\x1b[2m{front}\x1b[0m\x1b[1;31m{back}\x1b[0m")),
                "{line}"
            );
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} lines");
}

/// Lines with bytes that were changed, cut out or written twice, as broken disks and hostile clients make them.
#[test]
fn damaged_lines_are_read_or_refused_with_a_place() {
    const BYTES: &[u8] = b"\0\x1b[{}()'\":;,=|/ .-0e\xff\xc2\xb5";
    let mut seed = 7_usize;
    let mut below = |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end.max(1)
    };
    let catalog = parsers::Catalog::default();
    let mut recognised = 0;
    for format in formats() {
        for line in files(format, ".log").iter().flat_map(|log| lines(log)).step_by(3) {
            for _ in 0..10 {
                let mut bytes = line.clone().into_bytes();
                for _ in 0..1 + below(4) {
                    let at = below(bytes.len());
                    let end = (at + below(12)).min(bytes.len());
                    let piece = match below(3) {
                        0 => Vec::new(),
                        1 => [&bytes[at..end], &bytes[at..end]].concat(),
                        _ => vec![BYTES[below(BYTES.len())]],
                    };
                    bytes.splice(at..end, piece);
                }
                if let Err(error) = (format.parse)(&bytes, &catalog, &mut |_| ()) {
                    assert!((1..=bytes.len() + 1).contains(&error.column), "{}: {error}", format.name);
                }
                if let Ok(text) = std::str::from_utf8(&bytes) {
                    recognised += FORMATS.iter().filter(|format| (format.recognises)(text)).count();
                }
            }
        }
    }
    assert!(recognised > 0, "nothing was left of any line");
}

#[test]
fn a_line_that_was_cut_anywhere_is_never_read_as_another_number_of_families() {
    for format in formats() {
        for log in files(format, ".log") {
            let all = lines(&log);
            for line in all.iter().step_by((all.len() / 20).max(1)) {
                let whole = told(format, line).len();
                for (end, _) in line.char_indices() {
                    let cut = told(format, &line[..end]).len();
                    assert!(cut <= whole, "{}: {cut} of {whole} in {:?}", format.name, &line[..end]);
                }
            }
        }
    }
}

/// What a line measures, in words.
fn told(format: &Format, line: &str) -> Vec<String> {
    let mut told = Vec::new();
    let catalog = parsers::Catalog::default();
    let outcome = (format.parse)(line.as_bytes(), &catalog, &mut |event| told.push(format!("{event:?}")));
    assert_eq!(outcome == Ok(parsers::Outcome::Parsed), !told.is_empty(), "{}: {line:?}", format.name);
    told
}

/// Our own goldens only say that nothing has changed.
#[test]
fn every_format_is_held_against_another_source() {
    for format in formats() {
        let sources = [".server.prom", ".expected.json", ".expected.ndjson", ".responses.json"];
        let count = sources.iter().map(|end| files(format, end).len()).sum::<usize>();
        assert!(count > 0, "nobody but us says what the logs of {} hold", format.name);
    }
}

#[test]
fn every_format_has_a_seed_and_is_fuzzed() {
    let fuzz = root().join("tests/fuzz");
    let seeds: Vec<Vec<u8>> = std::fs::read_dir(fuzz.join("seeds/line"))
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let catalog = parsers::Catalog::default();
    for format in formats() {
        let is_read = |seed: &Vec<u8>| {
            (format.parse)(seed, &catalog, &mut |_| ()) == Ok(parsers::Outcome::Parsed)
                && (format.recognises)(&String::from_utf8_lossy(parsers::framing::trim_end(seed)))
        };
        assert!(seeds.iter().any(is_read), "no file in tests/fuzz/seeds/line is a line of {}", format.name);
    }
    for target in ["line.rs", "stream.rs"] {
        let text = std::fs::read_to_string(fuzz.join("fuzz_targets").join(target)).unwrap();
        assert!(text.contains("for format in FORMATS {"), "{target} leaves formats out");
    }
}

/// What `bentoml.monitor` writes is data of the user's own service, for rules; no server's log.
#[test]
fn data_logs_of_bentoml_are_not_taken_for_any_servers_log() {
    let folder = tempfile::tempdir().unwrap();
    let data = root().join("fixtures/rules/bentoml-monitor.log");
    let schema = "{\"meta_data\": {\"bento_name\": \"sentiment\", \"bento_version\": \"not available\"}, \
                  \"columns\": [{\"name\": \"infer_ms\", \"role\": \"prediction\", \"type\": \"numerical\"}]}\n";
    let copies = ["data.1.log", "schema.1.log"].map(|name| folder.path().join(name));
    std::fs::copy(data, &copies[0]).unwrap();
    std::fs::write(&copies[1], schema).unwrap();
    let output = replay(&copies);
    assert_eq!("", String::from_utf8_lossy(&output.stdout));
    for copy in &copies {
        let said = format!("{} (not recognised): ", name_of(copy));
        assert!(stderr(&output).contains(&said), "no {said:?} in {}", stderr(&output));
    }
    let catalog = parsers::Catalog::default();
    for line in copies.iter().flat_map(|copy| lines(copy)) {
        for format in FORMATS {
            assert!(!(format.recognises)(&line), "{}: {line}", format.name);
            let told =
                (format.parse)(line.as_bytes(), &catalog, &mut |event| panic!("{}: {event:?}", format.name));
            assert_ne!(Ok(parsers::Outcome::Parsed), told, "{}: {line}", format.name);
        }
    }
}

#[test]
fn every_format_has_its_row_in_the_manual() {
    let manual = std::fs::read_to_string(root().join("deploy/servers.md")).unwrap();
    for format in formats() {
        let row = format!("| `{}` |", format.name);
        assert!(manual.contains(&row), "{} has no row in deploy/servers.md", format.name);
    }
}
