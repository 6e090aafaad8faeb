//! The tests' own strict reader of expositions, and their idea of `name[]`, held against bad input and
//! against what a real TorchServe answered.

use crate::support::compare::differences;
use crate::support::exposition::{Exposition, Leave};
use crate::support::{fixture, fixture_text, names};
use std::path::PathBuf;

const HISTOGRAM: &str = "# HELP H text\n# TYPE H histogram\n\
    H_bucket{a=\"b\",le=\"1.0\"} 1.0\nH_bucket{a=\"b\",le=\"+Inf\"} 2.0\nH_count{a=\"b\"} 2.0\nH_sum{a=\"b\"} 5.0\n";

#[test]
fn a_good_body_is_read_whole() {
    let text = "# HELP A with \\\\ and \\n\n# TYPE A gauge\nA{x=\"\\\"\\\\\\n}, \"} -Inf\nA{} 1\n# TYPE Empty counter\n";
    let body = Exposition::strict(text).unwrap();
    assert_eq!(Some("with \\ and \n"), body.families["A"].help.as_deref());
    assert_eq!(Some("counter"), body.families["Empty"].kind.as_deref());
    assert_eq!(Some(f64::NEG_INFINITY), body.value("A", &[("x", "\"\\\n}, ")]));
    assert_eq!(Some(1.0), body.value("A", &[]));
    assert_eq!(Some(2.0), Exposition::strict(HISTOGRAM).unwrap().value("H_count", &[("a", "b")]));
    assert_eq!(Exposition::default(), Exposition::strict("").unwrap());
}

#[test]
fn bad_bodies_are_refused() {
    let bad: &[(&str, &str)] = &[
        ("no line end", "A 1"),
        ("is no number", "A 1\r\n"),
        ("neither HELP", "A 1\n\nB 1\n"),
        ("neither HELP", "# a comment\n"),
        ("HELP without a text", "# HELP A\n"),
        ("second HELP", "# HELP A b\n# HELP A b\n"),
        ("second TYPE", "# TYPE A gauge\n# TYPE A gauge\n"),
        ("unknown type", "# TYPE A Gauge\n"),
        ("unknown escape", "# HELP A \\\"\n"),
        ("after the family's samples", "A 1\n# TYPE A gauge\n"),
        ("after the family's samples", "# TYPE A gauge\nA 1\n# HELP A late\n"),
        ("not together", "# TYPE A gauge\n# TYPE B gauge\nA 1\n"),
        ("not together", "# TYPE A gauge\nA{x=\"1\"} 1\nB 1\nA{x=\"2\"} 1\n"),
        ("not together", &format!("{HISTOGRAM}X 1\nH_count{{a=\"c\"}} 1\n")),
        ("same series twice", "A{x=\"1\",y=\"2\"} 1\nA{y=\"2\",x=\"1\"} 2\n"),
        ("illegal name", "2xx 1\n"),
        ("illegal name", "größe 1\n"),
        ("illegal name", "A{a-b=\"1\"} 1\n"),
        ("illegal name", "A{a:b=\"1\"} 1\n"),
        ("illegal name", "A{ a=\"1\"} 1\n"),
        ("label a twice", "A{a=\"1\",a=\"2\"} 1\n"),
        ("without =", "A{a} 1\n"),
        ("closing quote", "A{a=\"1} 1\n"),
        ("closing quote", "A{a=\"1\\\"} 1\n"),
        ("unknown escape", "A{a=\"\\t\"} 1\n"),
        ("neither comma nor brace", "A{a=\"1\"b=\"2\"} 1\n"),
        ("comma before the closing brace", "A{a=\"1\",} 1\n"),
        ("without a value", "A\n"),
        ("no space", "A{a=\"1\"}1\n"),
        ("is no number", "A nan\n"),
        ("is no number", "A Infinity\n"),
        ("is no number", "A  1\n"),
        ("is no number", "A 1 1795196660000\n"),
        ("is no number", "A \n"),
        ("below zero", "# TYPE A counter\nA -1\n"),
        ("below zero", "# TYPE A counter\nA NaN\n"),
        ("has the name of a sample", &format!("{HISTOGRAM}# TYPE H_count counter\n")),
        ("without le", &HISTOGRAM.replace(",le=\"1.0\"", "")),
        ("le on what is no bucket", &HISTOGRAM.replace("H_sum{", "H_sum{le=\"1.0\",")),
        ("is no number", &HISTOGRAM.replace("1.0\"} 1", "one\"} 1")),
        ("do not climb", &HISTOGRAM.replace("} 1.0", "} 3.0")),
        ("do not climb", &HISTOGRAM.replace("le=\"1.0\"", "le=\"+Inf\"").replace("+Inf\"} 2", "1.0\"} 2")),
        ("is not its _count", &HISTOGRAM.replace("} 2.0\nH_sum", "} 3.0\nH_sum")),
        ("is not its _count", &HISTOGRAM.replace("+Inf", "9.0")),
        ("without _count", &HISTOGRAM.replace("H_count{a=\"b\"} 2.0\n", "")),
        ("without _sum", &HISTOGRAM.replace("H_sum{a=\"b\"} 5.0\n", "")),
        ("without buckets", "# TYPE H histogram\nH_count 1\nH_sum 1\n"),
    ];
    for (complaint, text) in bad {
        let error = Exposition::strict(text).expect_err(text);
        assert!(error.contains(complaint), "expected {complaint:?} for {text:?}, observed {error:?}");
    }
}

#[test]
fn torchserves_own_bodies_are_accepted_with_their_trailing_commas() {
    let body = fixture_text("pairs-lifecycle/7_scaled_up/metrics.prom");
    assert!(Exposition::strict(&body).is_err());
    assert_eq!(153, Exposition::torchserve(&body).unwrap().samples.len());
}

#[test]
fn every_difference_is_named_in_both_directions() {
    let one = Exposition::strict("# TYPE A gauge\nA{x=\"1\"} 0.3\nA{x=\"2\"} 0.0\n").unwrap();
    let other = Exposition::strict("# TYPE A untyped\nA{x=\"2\"} -0.0\nB 1.0\n").unwrap();
    assert_eq!(Vec::<String>::new(), differences(&one, &one));
    let expected = [
        "family A: expected Family { help: None, kind: Some(\"gauge\") }, \
         observed Family { help: None, kind: Some(\"untyped\") }",
        "family B: expected nothing, observed Family { help: None, kind: None }",
        "A{x=\"1\"}: expected 0.3, observed nothing",
        "A{x=\"2\"}: expected 0.0, observed -0.0",
        "B{}: expected nothing, observed 1.0",
    ];
    assert_eq!(expected.to_vec(), differences(&one, &other));
}

/// The capture was taken with the server idle; only `Requests2XX` counts the scrapes themselves.
#[test]
fn the_tests_idea_of_name_filters_is_torchserves() {
    let whole = fixture_text("prometheus/scrape_2_after.prom").replace(
        "Requests2XX{Level=\"Host\",Hostname=\"ts-node-0\",} 94.0",
        "Requests2XX{Level=\"Host\",Hostname=\"ts-node-0\",} 96.0",
    );
    let whole = Exposition::torchserve(&whole).unwrap();
    let captures = captured_filters();
    assert_eq!(6, captures.len());
    for (headers, body) in captures {
        let headers = std::fs::read_to_string(headers).unwrap();
        let target = headers.lines().next().unwrap().strip_prefix("GET ").unwrap();
        let leave = Leave { trailing_comma: true, partial_histograms: true };
        let captured = Exposition::read(&std::fs::read_to_string(body).unwrap(), leave).unwrap();
        let ours = names::filtered(&whole, &names::asked_for(target));
        assert_eq!(Vec::<String>::new(), differences(&captured, &ours), "{target}");
    }
}

/// The `.headers` and `.prom` of each captured scrape with `name[]`.
fn captured_filters() -> Vec<(PathBuf, PathBuf)> {
    let folder = std::fs::read_dir(fixture("prometheus")).unwrap();
    let mut headers: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    headers.retain(|path| path.extension().is_some_and(|end| end == "headers"));
    headers.sort();
    headers.retain(|path| std::fs::read_to_string(path).unwrap().starts_with("GET /metrics?"));
    headers.into_iter().map(|path| (path.clone(), path.with_extension("prom"))).collect()
}
