//! What holds for every log, whatever is in it.

use inferometer::state::{Naming, Role, Rules, State};
use parsers::framing::Frame;
use parsers::{Catalog, Declaration, FORMATS, Format, Kind, Scope};
use proptest::collection::vec;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestCaseError};
use std::collections::BTreeMap;

use crate::support::compare::{differences, only};
use crate::support::exposition::Exposition;
use crate::support::exposition::openmetrics::OpenMetrics;
use crate::support::process::{replay_input, replay_pieces, stderr};
use crate::support_properties::drive::{add, body, fold};
use crate::support_properties::exposed::openmetrics_body;
use crate::support_properties::family::{PREFIX, Stream, draft, shapes};
use crate::support_properties::hostile::{self, Bytes, PEACE, RIVALRY};
use crate::support_properties::metric::{Layout, Metric};
use crate::support_properties::text;
use std::process::Output;
use std::sync::Arc;

/// What fails is printed in its smallest form; a file of seeds would be one more thing to keep.
/// `PROPTEST_CASES` asks for more.
/// The same cases in every run, so that a failure is one that everybody sees; PROPTEST_RNG_SEED tries others.
fn cases(cases: u32) -> ProptestConfig {
    let from_outside = ProptestConfig::default().rng_seed;
    let rng_seed = if from_outside == RngSeed::Random { RngSeed::Fixed(20_261_121) } else { from_outside };
    ProptestConfig { failure_persistence: None, rng_seed, ..ProptestConfig::with_cases(cases) }
}

fn concat(lines: &[Bytes]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.0.iter().copied()).collect()
}

/// Folds a file of `torchserve` into a fresh source of a server of its own.
fn fold_torchserve(state: &mut State, bytes: &[u8]) {
    let none = BTreeMap::new();
    let origin = add(state, "ts_metrics.log", &none);
    fold(state, bytes, &FORMATS[0], &origin);
}

/// Everything that `/metrics` shows of the fold.
fn whole_body(state: &State, now: Option<u64>) -> String {
    let view = state.view(now);
    body(view.log.iter().chain(&view.own))
}

/// The same as OpenMetrics.
fn openmetrics(state: &State, now: Option<u64>) -> Result<OpenMetrics, TestCaseError> {
    let view = state.view(now);
    let text = openmetrics_body(view.log.iter().chain(&view.own));
    OpenMetrics::read(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))
}

/// The families made of log lines.
fn log(state: &State) -> Result<Exposition, TestCaseError> {
    strict(&body(&state.view(None).log))
}

fn strict(text: &str) -> Result<Exposition, TestCaseError> {
    Exposition::strict(text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn whatever_a_log_holds_the_exposition_is_one_that_prometheus_accepts(
        rules in hostile::rules(),
        files in vec((vec(hostile::line(RIVALRY), 0..25), hostile::source_labels(), any_format()), 1..3),
        now in any::<u64>(),
    ) {
        let series_limit = rules.0.series_limit as f64;
        let mut state = State::new(rules.0);
        state.declare();
        let mut records = 0;
        for (index, (lines, labels, format)) in files.iter().enumerate() {
            let origin = add(&mut state, &format!("{index}.log"), labels);
            records += fold(&mut state, &concat(lines), format, &origin);
        }
        strict(&whole_body(&state, Some(now)))?;
        openmetrics(&state, Some(now))?;
        let shown = strict(&whole_body(&state, None))?;
        let counts = shown.samples.iter().filter(|((name, _), _)| name == "inferometer_lines_total");
        let counted: f64 = counts.map(|(_, bits)| f64::from_bits(*bits)).sum();
        prop_assert_eq!(records as f64, counted, "each record has one outcome");
        prop_assert!(shown.value("inferometer_series", &[]).is_some_and(|series| series <= series_limit));
    }

    #[test]
    fn well_formed_lines_read_back_to_their_label_sets_and_sums_among_whatever_else(
        shapes in shapes(),
        lines in vec((draft(), vec(hostile::line(RIVALRY), 0..2)), 0..25),
        format in any_format().prop_filter("metrics stand there", |format| format.declares),
    ) {
        let (drafts, noise): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        let stream = Stream::new(&shapes, &drafts, !format.repeats.is_empty());
        let mut state = State::new(Arc::new(Rules { catalog: stream.catalog.clone(), ..Rules::default() }));
        state.declare();
        let none = BTreeMap::new();
        let origin = add(&mut state, "a.log", &none);
        for (line, noise) in stream.lines.iter().zip(noise) {
            fold(&mut state, line, format, &origin);
            fold(&mut state, &concat(&noise), format, &origin);
        }
        let shown = only(&strict(&whole_body(&state, None))?, |name| name.starts_with(PREFIX));
        prop_assert_eq!(Vec::<String>::new(), differences(&stream.expected, &shown));
    }

    #[test]
    fn different_label_values_never_become_one_series((first, second) in different_values()) {
        let metric = |values: &[String]| Metric {
            name: "Hits".to_owned(),
            unit: "Count".to_owned(),
            value: "1.0".to_owned(),
            labels: (0..).map(|index| format!("l{index}")).zip(values.iter().cloned()).collect(),
            host: "h".to_owned(),
            request_ids: None,
        };
        let mut state = State::new(Arc::default());
        let lines = [&first, &second].map(|values| metric(values).line(Layout::Object));
        fold_torchserve(&mut state, lines.concat().as_bytes());
        let shown = log(&state)?;
        prop_assert_eq!(2, shown.samples.len());
        for values in [&first, &second] {
            let metric = metric(values);
            let mut labels: Vec<_> =
                metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            labels.push(("Hostname", "h"));
            prop_assert_eq!(Some(1.0), shown.value("Hits", &labels));
        }
    }

    #[test]
    fn a_record_ends_at_one_place_however_much_of_the_file_is_there(
        lines in vec(hostile::line(RIVALRY), 0..8),
        prefixes in vec(any::<Index>(), 20),
    ) {
        let bytes = concat(&lines);
        for format in FORMATS {
            let mut rest = &bytes[..];
            while let Frame::Record(length) = (format.frame)(rest) {
                prop_assert!(0 < length && length <= rest.len());
                prop_assert_eq!(Some(&b'\n'), rest[..length].last());
                for prefix in &prefixes {
                    let seen = &rest[..prefix.index(rest.len() + 1)];
                    let frame = (format.frame)(seen);
                    prop_assert!(
                        matches!(frame, Frame::Record(found) if found == length) || frame == Frame::Incomplete,
                        "{:?} in {:?}", frame, seen.escape_ascii().to_string()
                    );
                }
                rest = &rest[length..];
            }
        }
    }

    #[test]
    fn a_type_told_late_shows_what_an_early_one_would_have_shown(told in late_types()) {
        let (early, late) = told.fold(Naming::Torchserve)?;
        prop_assert_eq!(Vec::<String>::new(), differences(&early, &late));
    }

    #[test]
    fn a_type_told_late_shows_what_an_early_one_would_have_shown_under_conventional_names(told in late_types()) {
        let (early, late) = told.fold(Naming::Prometheus)?;
        prop_assert_eq!(Vec::<String>::new(), differences(&early, &late));
    }

    #[test]
    fn a_state_that_was_saved_and_read_back_goes_on_as_if_it_had_not_been(
        rules in hostile::rules(),
        labels in hostile::source_labels(),
        (lines, more) in select(&[PEACE, RIVALRY][..])
            .prop_flat_map(|pool| (vec(hostile::line(pool), 0..20), vec(hostile::line(pool), 0..10))),
        format in any_format(),
    ) {
        let mut whole = State::new(rules.0.clone());
        whole.declare();
        let origin = add(&mut whole, "a.log", &labels);
        fold(&mut whole, &concat(&lines), format, &origin);
        let saved = postcard::to_stdvec(&whole.save()).unwrap();
        let mut restored = State::restore(rules.0, postcard::from_bytes(&saved).unwrap());
        let shown = |state: &State| strict(&whole_body(state, None));
        prop_assert_eq!(Vec::<String>::new(), differences(&shown(&whole)?, &shown(&restored)?));
        prop_assert_eq!(openmetrics(&whole, None)?, openmetrics(&restored, None)?);
        fold(&mut whole, &concat(&more), format, &origin);
        fold(&mut restored, &concat(&more), format, &origin);
        prop_assert_eq!(Vec::<String>::new(), differences(&shown(&whole)?, &shown(&restored)?));
        prop_assert_eq!(openmetrics(&whole, None)?, openmetrics(&restored, None)?);
    }

    #[test]
    fn what_is_remembered_of_a_line_changes_nothing(
        rules in hostile::rules(),
        labels in hostile::source_labels(),
        lines in select(&[PEACE, RIVALRY][..]).prop_flat_map(|pool| vec(hostile::line(pool), 1..12)),
        order in vec((any::<Index>(), 0..2u64), 0..40),
    ) {
        // The same format, but nothing is ever recognised.
        let forgetful = Format { identify: None, ..FORMATS[0] };
        let mut states = [(); 2].map(|()| State::new(rules.0.clone()));
        let mut origins = states.each_mut().map(|state| add(state, "a.log", &labels));
        for (at, seconds) in order {
            let line = &at.get(&lines).0;
            origins.iter_mut().for_each(|origin| origin.now += seconds * 1000);
            let [ours, theirs] = &mut states;
            let (ours, theirs) = (
                ours.fold(line, &FORMATS[0], Role::All, &origins[0]),
                theirs.fold(line, &forgetful, Role::All, &origins[1]),
            );
            prop_assert_eq!(theirs, ours, "{}", line.escape_ascii());
            states.iter_mut().for_each(|state| state.expire(origins[0].now));
        }
        let [ours, theirs] = states.each_ref().map(|state| openmetrics(state, Some(origins[0].now)));
        prop_assert_eq!(theirs?, ours?);
        let [ours, theirs] = states.each_ref().map(|state| whole_body(state, Some(origins[0].now)));
        prop_assert_eq!(theirs, ours);
    }

    #[test]
    fn limits_bound_the_series_of_a_family_and_lose_no_increment(
        limit in 0..6usize,
        kind in select(&[Kind::Counter, Kind::Gauge, Kind::Histogram][..]),
        // The overflow's own label, on a label set that is otherwise empty.
        label in select(&["Tag", "overflow"][..]),
        drop_labels in prop_oneof![Just(Vec::new()), vec(select(&["Hostname", "Tag"][..]), 1)],
        lines in vec((text::value(), 0..100u8), 0..40),
    ) {
        let name = "Hits".to_owned();
        let labels = vec![label.to_owned(), "Hostname".to_owned()];
        let mut catalog = Catalog::default();
        let declaration =
            Declaration { scope: Scope::Server, kind, name: name.clone(), unit: "Count".to_owned(), labels };
        catalog.declare(declaration).unwrap();
        let drop_labels = drop_labels.into_iter().map(str::to_owned).collect();
        let rules = Rules { catalog, family_limit: limit, drop_labels, ..Rules::default() };
        let mut state = State::new(Arc::new(rules));
        for (tag, value) in &lines {
            let (unit, value) = ("Count".to_owned(), format!("{value}.0"));
            let labels = vec![(label.to_owned(), tag.clone())];
            let metric = Metric { name: name.clone(), unit, value, labels, host: "h".to_owned(), request_ids: None };
            let line = metric.line(Layout::Object);
            fold_torchserve(&mut state, line.as_bytes());
        }
        let shown = log(&state)?;
        let values = |name: &str| -> Vec<f64> {
            let samples = shown.samples.iter().filter(|((sample, _), _)| sample == name);
            samples.map(|(_, bits)| f64::from_bits(*bits)).collect()
        };
        let increments: f64 = lines.iter().map(|(_, value)| f64::from(*value)).sum();
        let overflow = [("overflow", "true")];
        match kind {
            Kind::Counter => {
                let expected = limit + usize::from(shown.value("Hits", &overflow).is_some());
                prop_assert!(values("Hits").len() <= expected);
                prop_assert_eq!(increments, values("Hits").iter().sum::<f64>());
            }
            // The last of unrelated values would mean nothing: a gauge's overflow is dropped.
            Kind::Gauge => prop_assert!(values("Hits").len() <= limit),
            Kind::Histogram | Kind::Summary => {
                let expected = limit + usize::from(shown.value("Hits_count", &overflow).is_some());
                prop_assert!(values("Hits_count").len() <= expected);
                prop_assert_eq!(increments, values("Hits_sum").iter().sum::<f64>());
                prop_assert_eq!(lines.len() as f64, values("Hits_count").iter().sum::<f64>());
            }
        }
    }
}

proptest! {
    // Each case is a process.
    #![proptest_config(cases(20))]

    #[test]
    fn replay_prints_what_the_library_folds_however_its_input_arrives(
        lines in vec(hostile::line(RIVALRY), 0..40),
        format in any_format(),
        piece in 20..400usize,
    ) {
        let bytes = concat(&lines);
        let mut state = State::new(Arc::default());
        if format.declares {
            state.declare();
        }
        let none = BTreeMap::new();
        let origin = add(&mut state, "-", &none);
        fold(&mut state, &bytes, format, &origin);
        let output = replay_pieces(&["--format", format.name], bytes.chunks(piece));
        prop_assert_eq!(body(&state.view(None).log), printed(&output));
    }

    #[test]
    fn replay_finds_one_format_however_its_input_arrives(
        lines in vec(hostile::line(RIVALRY), 0..10),
        piece in 1..200usize,
    ) {
        let bytes = concat(&lines);
        let (whole, pieces) = (replay_input(&[], &bytes), replay_pieces(&[], bytes.chunks(piece)));
        prop_assert_eq!(printed(&whole), printed(&pieces));
        // The last line of the report is about time.
        let report = |output| stderr(output).rsplit_once(" in ").map(|(report, _)| report.to_owned());
        prop_assert_eq!(report(&whole), report(&pieces));
    }
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
    String::from_utf8(output.stdout.clone()).expect("the exposition is UTF-8")
}

fn any_format() -> impl Strategy<Value = &'static Format> {
    (0..FORMATS.len()).prop_map(|index| &FORMATS[index])
}

/// Two vectors of values that differ, often only in where one value ends and the next begins.
fn different_values() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    const PIECES: &[&str] = &["a", "b", "\"", "\\", "n", "\n", ",", "=", "l1=\"", "\",l1=\"", "|#", ":"];
    let values = (1..4usize).prop_flat_map(|count| {
        let any = vec(prop_oneof![text::hostile(), Just(String::new())], count);
        (any.clone(), any)
    });
    let cut = (vec(select(PIECES), 0..6), vec(any::<Index>(), 2), vec(any::<Index>(), 2));
    let shifted = cut.prop_map(|(pieces, first, second)| (split(&pieces, &first), split(&pieces, &second)));
    prop_oneof![values, shifted].prop_filter("they differ", |(first, second)| first != second)
}

/// The pieces as one value more than there are cuts.
fn split(pieces: &[&str], cuts: &[Index]) -> Vec<String> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(pieces.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([pieces.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| pieces[start..end].concat()).collect()
}

/// Lines of families that nothing declares, and what the worker says of their types.
#[derive(Clone, Debug)]
struct LateTypes {
    kinds: Vec<&'static str>,
    lines: Vec<(usize, Metric)>,
    family_limit: usize,
}

fn late_types() -> impl Strategy<Value = LateTypes> {
    let kinds = vec(select(&["COUNTER", "GAUGE", "HISTOGRAM"][..]), 3);
    let units = vec(select(&["Count", "ms", "GB", "tokens per second"][..]), 3);
    let number = prop_oneof![9 => text::number(), 1 => Just(f64::NAN)];
    let line = (0..3usize, number, any::<u8>(), text::value());
    (kinds, units, vec(line, 0..20), prop_oneof![Just(1_000), 1..4usize]).prop_map(
        |(kinds, units, lines, family_limit)| {
            let metric = |(family, number, style, tag): (usize, f64, u8, String)| {
                let metric = Metric {
                    name: ["Early", "Late", "LastOfAll"][family].to_owned(),
                    unit: units[family].to_owned(),
                    value: text::print(number, style),
                    labels: vec![("Tag".to_owned(), tag), ("Level".to_owned(), "Model".to_owned())],
                    host: "h".to_owned(),
                    request_ids: Some("null".to_owned()),
                };
                (family, metric)
            };
            LateTypes { kinds, lines: lines.into_iter().map(metric).collect(), family_limit }
        },
    )
}

impl LateTypes {
    /// The log families with the types told before all lines, and after them.
    fn fold(&self, naming: Naming) -> Result<(Exposition, Exposition), TestCaseError> {
        let lines: String = self.lines.iter().map(|(_, metric)| metric.line(Layout::Object)).collect();
        let echoes = self.lines.iter().map(|(family, metric)| hostile::echo_of(metric, self.kinds[*family]));
        // An echo ends at its line's end, so what its labels say must not have one.
        let echoes: String = echoes.map(|echo| echo.replace('\n', " ") + "\n").collect();
        let show = |bytes: String| {
            let rules = Rules { naming, family_limit: self.family_limit, ..Rules::default() };
            let mut state = State::new(Arc::new(rules));
            fold_torchserve(&mut state, bytes.as_bytes());
            log(&state)
        };
        Ok((show(format!("{echoes}{lines}"))?, show(format!("{lines}{echoes}"))?))
    }
}
