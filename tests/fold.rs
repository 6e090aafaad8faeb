//! Streams in which the order of the lines, or what the configuration says beside them, decides what they
//! add up to.

use crate::support::compare::differences;
use crate::support::exposition::Exposition;
use crate::support::lines::{HOST, console, frontend, model};
use crate::support_properties::drive::{add, body, fold};
use inferometer::state::{Naming, Rules, State};
use parsers::{FORMATS, Format, Kind, Parse};
use std::collections::BTreeMap;
use std::sync::Arc;

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
const NO_ROOM: &[(&str, &str)] = &[("source", "a.log"), ("reason", "no_room")];
const NAME_CLASH: &[(&str, &str)] = &[("source", "a.log"), ("reason", "name_clash")];
const BAD_VALUE: &[(&str, &str)] = &[("source", "a.log"), ("reason", "bad_value")];

#[test]
fn a_source_label_le_never_meets_the_buckets_of_a_type_told_late() {
    let labels = BTreeMap::from([("le".to_owned(), "a".to_owned())]);
    let mut state = State::new(Rules::default().into());
    let origin = add(&mut state, "a.log", &labels);
    let told = frontend("aSeconds.Count:0.0", "Level:Host") + &echo("aSeconds", "HISTOGRAM");
    fold(&mut state, told.as_bytes(), &FORMATS[0], &origin);
    assert_eq!(Some(1.0), shown(&state).value("aSeconds_count", HOST));
}

#[test]
fn a_value_that_is_no_number_is_refused_whatever_the_type_and_leaves_nothing() {
    let mut state = State::new(Rules::default().into());
    let origin = add(&mut state, "a.log", &NO_LABELS);
    let lines = [
        frontend("Late.Count:NaN", "Level:Host"),
        echo("Early", "GAUGE"),
        frontend("Early.Count:NaN", "Level:Host"),
        frontend("WorkerLoadTime.Milliseconds:NaN", "WorkerName:W-9000-m_1.0,Level:Host"),
    ];
    fold(&mut state, lines.concat().as_bytes(), &FORMATS[0], &origin);
    assert_eq!(Some(3.0), shown(&state).value("inferometer_rejected_lines_total", BAD_VALUE));
    assert!(state.view(None).log.is_empty(), "{:?}", shown(&state).families.keys());
}

#[test]
fn a_line_of_a_known_series_is_not_parsed_again() {
    let mut state = State::new(Rules::default().into());
    let origin = add(&mut state, "a.log", &NO_LABELS);
    let line = |value| model(&format!("PredictionTime.ms:{value}"), "ModelName:m,Level:Model");
    fold(&mut state, line("1.5").as_bytes(), &FORMATS[0], &origin);
    let parse: Parse = |_, _, _| panic!("it is known");
    fold(&mut state, line("2.5").as_bytes(), &Format { parse, ..FORMATS[0] }, &origin);
    let shown = shown(&state);
    let labels = [("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")];
    assert_eq!(Some(2.5), shown.value("PredictionTime", &labels));
    assert_eq!(Some(2.0), shown.value("ts_prediction_time_seconds_count", &[("model_name", "m")]));
    let lines = [("source", "a.log"), ("outcome", "parsed")];
    assert_eq!(Some(2.0), shown.value("inferometer_lines_total", &lines));
}

#[test]
fn families_without_series_take_no_room_from_others() {
    let mut state = State::new(Rules { series_limit: 1, ..Rules::default() }.into());
    state.declare();
    let origin = add(&mut state, "a.log", &NO_LABELS);
    let lines = ["HitsA", "HitsB"].map(|name| frontend(&format!("{name}.Count:2.0"), "Level:Host"));
    fold(&mut state, lines.concat().as_bytes(), &FORMATS[0], &origin);
    assert_eq!(Some(2.0), shown(&state).value("HitsA", HOST));
    assert_eq!(Some(1.0), shown(&state).value("inferometer_series", &[]));
    assert_eq!(Some(1.0), shown(&state).value("inferometer_rejected_lines_total", NO_ROOM));
}

#[test]
fn a_derived_histogram_without_room_shows_its_overflow() {
    for naming in [Naming::Torchserve, Naming::Prometheus] {
        let mut state = State::new(Rules { naming, series_limit: 1, ..Rules::default() }.into());
        let origin = add(&mut state, "a.log", &NO_LABELS);
        fold(&mut state, model("Wait.ms:500.0", "Level:Model").as_bytes(), &FORMATS[0], &origin);
        assert_eq!(Some(0.5), shown(&state).value("ts_wait_seconds_sum", &[("overflow", "true")]));
    }
}

#[test]
fn bounds_that_become_one_in_base_units_are_one_bucket() {
    for (unit, bounds, value, expected) in [
        ("GB", &[1.0, 1e300, 1e306][..], "1e305", &[("1073741824.0", 0.0), ("+Inf", 1.0)][..]),
        ("ns", &[5e-324, 1e-323], "1e-323", &[("0.0", 1.0), ("+Inf", 1.0)]),
    ] {
        let buckets = BTreeMap::from([("Foo".to_owned(), bounds.into())]);
        let types = BTreeMap::from([("Foo".to_owned(), Kind::Histogram)]);
        let rules = Rules { buckets, types, naming: Naming::Prometheus, ..Rules::default() };
        let mut state = State::new(rules.into());
        let origin = add(&mut state, "a.log", &NO_LABELS);
        let line = frontend(&format!("Foo.{unit}:{value}"), "Level:Host");
        fold(&mut state, line.as_bytes(), &FORMATS[0], &origin);
        let shown = shown(&state);
        let name = if unit == "GB" { "ts_foo_bytes_bucket" } else { "ts_foo_seconds_bucket" };
        let buckets = shown.samples.iter().filter(|((sample, _), _)| sample == name);
        let buckets = buckets.map(|((_, labels), bits)| (labels["le"].as_str(), f64::from_bits(*bits)));
        assert_eq!(BTreeMap::from_iter(expected.iter().copied()), buckets.collect(), "{unit}");
    }
}

#[test]
fn of_two_metrics_with_one_conventional_name_the_first_one_wins() {
    let ours = model("Foo.ms:500.0", "Level:Model");
    let theirs = frontend("Foo_seconds.seconds:3.0", "Level:Host");
    let twin = model("Foo_ms.ms:3.0", "Level:Model");
    let from_model = |shown: &Exposition| shown.value("ts_foo_seconds_sum", &[]);
    let from_host =
        |shown: &Exposition| shown.value("ts_foo_seconds", &[("level", "Host"), ("hostname", "h")]);
    for (first, second, expected) in [
        (&ours, &theirs, (Some(0.5), None)),
        (&ours, &twin, (Some(0.5), None)),
        (&theirs, &ours, (None, Some(3.0))),
    ] {
        let mut state = State::new(Rules { naming: Naming::Prometheus, ..Rules::default() }.into());
        let origin = add(&mut state, "a.log", &NO_LABELS);
        fold(&mut state, [first.as_str(), second, second].concat().as_bytes(), &FORMATS[0], &origin);
        let shown = shown(&state);
        assert_eq!(expected, (from_model(&shown), from_host(&shown)), "{first}{second}");
        assert_eq!(Some(2.0), shown.value("inferometer_rejected_lines_total", NAME_CLASH), "{first}{second}");
    }
}

#[test]
fn a_restart_between_any_two_lines_changes_nothing_that_is_shown() {
    let ping = "2026-11-20 17:44:49 - /127.0.0.1:59146 \"GET /ping HTTP/1.1\" 200 5\n".to_owned();
    let counted = |name: &str| frontend(&format!("{name}.Count:1.0"), "Level:Host");
    let timed = |name: &str| model(&format!("{name}.ms:5.0"), "ModelName:m,Level:Model");
    for lines in [
        // A metric takes the name of the access log's histogram, or its own histogram has that name already.
        [ping.clone(), timed("ts_http_request_duration_seconds"), ping.clone()],
        [timed("http_request_duration"), ping.clone(), ping],
        // A type that is told late is refused where the same type told at once would not be, and the other way.
        [counted("Hist_count"), counted("Hist"), echo("Hist", "HISTOGRAM")],
        [counted("Hist"), echo("Hist", "HISTOGRAM"), counted("Hist_count")],
        [timed("Foo"), counted("ts_foo_seconds"), timed("Foo")],
        [echo("Foo", "COUNTER"), timed("foo"), timed("Foo")],
    ] {
        for (naming, cut) in [Naming::Torchserve, Naming::Prometheus]
            .into_iter()
            .flat_map(|naming| [(naming, 1), (naming, 2), (naming, 3)])
        {
            let rules = Arc::new(Rules { naming, ..Rules::default() });
            let mut whole = State::new(rules.clone());
            let origin = add(&mut whole, "a.log", &NO_LABELS);
            let mut restored = whole.clone();
            for state in [&mut whole, &mut restored] {
                fold(state, lines[..cut].concat().as_bytes(), &FORMATS[0], &origin);
            }
            let saved = postcard::to_stdvec(&restored.save()).unwrap();
            restored = State::restore(rules, postcard::from_bytes(&saved).unwrap());
            for state in [&mut whole, &mut restored] {
                let rest = [&lines[cut..], &lines].concat();
                fold(state, rest.concat().as_bytes(), &FORMATS[0], &origin);
            }
            let lost = differences(&shown(&whole), &shown(&restored));
            assert_eq!(Vec::<String>::new(), lost, "cut after {cut}, {naming:?}: {lines:#?}");
        }
    }
}

/// All that a scrape shows of a fold, read as strictly as Prometheus reads it.
fn shown(state: &State) -> Exposition {
    let view = state.view(None);
    Exposition::strict(&body(view.log.iter().chain(&view.own))).unwrap()
}

/// The worker's own line, which tells a type.
fn echo(name: &str, kind: &str) -> String {
    let metric = format!("{name}.Count:1|#Level:Host|#type:{kind}|#hostname:h,1795196665,id");
    console("org.pytorch.serve.wlm.WorkerLifeCycle", &format!("result=[METRICS]{metric}, pattern=[METRICS]"))
}
