use super::*;
use crate::{Kind, Reason, Unit};

fn family(name: &str, labels: &[&str]) -> Family {
    Family {
        name: name.to_owned(),
        help: String::new(),
        kind: Kind::Counter,
        bounds: Vec::new(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    }
}

/// A rule that counts lines by the text of its fields, or sums `value` where there is such a field.
fn rule(name: &str, matcher: Matcher, labels: &[&str], value: Option<&str>) -> Rule {
    let value = value.map_or(Value::Constant(1.0), |field| {
        Value::Text(matcher.text(field).expect("such a field"), Scale::default())
    });
    let texts = labels.iter().map(|label| ((*label).to_owned(), matcher.text(label).expect("such a field")));
    let feed = Feed { family: family(name, labels), value, labels: texts.collect(), request_id: None };
    Rule {
        name: name.to_owned(),
        matcher,
        source: None,
        format: None,
        sees_taken: false,
        stop: false,
        feeds: vec![feed],
    }
}

fn regex(name: &str, pattern: &str, labels: &[&str], value: Option<&str>) -> Rule {
    rule(name, Matcher::regex(pattern).unwrap(), labels, value)
}

fn open() -> Place<'static> {
    Place { source: "a.log", format: "rules", is_taken: false }
}

fn applied(set: &RuleSet, line: &str, place: Place<'_>) -> Vec<String> {
    let mut samples = Vec::new();
    let any = set.apply(line, place, &mut |event| samples.extend(Expected::of(&event))).unwrap();
    assert_eq!(any, !samples.is_empty());
    samples.iter().map(ToString::to_string).collect()
}

#[test]
fn every_rule_that_matches_takes_the_line() {
    let set = RuleSet::new(vec![
        regex("status", r"status=(?P<code>\d+)", &["code"], None),
        regex("time", r"time=(?P<t>[0-9.]+)", &[], Some("t")),
        regex("any", "", &[], None),
    ])
    .unwrap();
    assert_eq!(
        ["status{code=\"200\"} 1", "time 0.25", "any 1"],
        *applied(&set, "status=200 time=0.25", open())
    );
    assert_eq!(["any 1"], *applied(&set, "", open()));
}

#[test]
fn stop_keeps_later_rules_from_the_line() {
    let stop = Rule { stop: true, ..regex("first", "^a", &[], None) };
    let set = RuleSet::new(vec![stop, regex("second", "b", &[], None)]).unwrap();
    assert_eq!(["first 1"], *applied(&set, "ab", open()));
    assert_eq!(["second 1"], *applied(&set, "b", open()));
}

#[test]
fn limits_are_of_the_source_the_format_and_taken_lines() {
    let glob = Rule { source: Glob::new("acc*s?.log"), ..regex("glob", "x", &[], None) };
    let format = Rule { format: Some("vllm".to_owned()), ..regex("format", "x", &[], None) };
    let all = Rule { sees_taken: true, ..regex("all", "x", &[], None) };
    let set = RuleSet::new(vec![glob, format, all]).unwrap();
    let place = |source, format, is_taken| Place { source, format, is_taken };
    assert_eq!(["glob 1", "all 1"], *applied(&set, "x", place("access1.log", "rules", false)));
    assert_eq!(["format 1", "all 1"], *applied(&set, "x", place("my-access1.log", "vllm", false)));
    assert_eq!(["all 1"], *applied(&set, "x", place("access1.log", "vllm", true)));
}

#[test]
fn members_are_found_by_their_paths() {
    let conditions =
        vec![Condition { key: "event".to_owned(), one_of: vec!["done".to_owned(), "end".to_owned()] }];
    let labels = &["a.b", "http.status", "ok", "list.1.x"];
    let set = RuleSet::new(vec![rule("json", Matcher::json(conditions), labels, Some("ms"))]).unwrap();
    let line =
        r#" {"event":"done","a":{"b":"t\"x"},"http.status":200,"ok":true,"list":[1,{"x":"y"}],"ms":1.5e2} "#;
    let labels = r#"a.b="t\"x",http.status="200",list.1.x="y",ok="true""#;
    assert_eq!([format!("json{{{labels}}} 150")], *applied(&set, line, open()));
    for other in [
        r#"{"event":"start","ms":1}"#,
        r#"{"ms":1}"#,
        r#"{"event":"done""#,
        "event done",
        r#"{"event":"done"}"#,
    ] {
        assert_eq!(Vec::<String>::new(), applied(&set, other, open()), "{other}");
    }
}

#[test]
fn pairs_are_found_by_their_keys() {
    let pairs = Pairs { separator: "=".to_owned(), between: None, after: Some("stats".to_owned()) };
    let set =
        RuleSet::new(vec![rule("pairs", Matcher::pairs(pairs, Vec::new()), &["model"], Some("n"))]).unwrap();
    assert_eq!(["pairs{model=\"m 1\"} 7"], *applied(&set, "n=1 stats n=7 model=\"m 1\"", open()));
    assert_eq!(["pairs{model=\"\"} 7"], *applied(&set, "stats: n=7", open()));
    assert_eq!(Vec::<String>::new(), applied(&set, "n=7 model=m", open()));
}

#[test]
fn a_value_that_is_absent_is_no_value_and_one_that_is_no_number_is_an_error() {
    let set = RuleSet::new(vec![regex("t", "t=(?P<t>[^ ]*)|u", &[], Some("t"))]).unwrap();
    for line in ["t=-", "t=", "t=null", "u"] {
        assert_eq!(Vec::<String>::new(), applied(&set, line, open()), "{line}");
    }
    let error = set.apply("xx t=fast", open(), &mut |_| panic!("no value")).unwrap_err();
    assert_eq!((Reason::BadValue, 6), (error.reason, error.column));
}

#[test]
fn texts_are_mapped_and_have_defaults() {
    let matcher = Matcher::regex("s=(?P<s>[A-Z]*)").unwrap();
    let map = || Some(ValueMap([("OK".to_owned(), "200".to_owned())].into()));
    let text = || matcher.text("s").unwrap();
    let labels = vec![
        ("bounded".to_owned(), text().mapped(map(), Some("other".to_owned()))),
        ("mapped".to_owned(), text().mapped(map(), None)),
        ("fixed".to_owned(), Text::constant("x".to_owned())),
    ];
    let names = ["bounded", "mapped", "fixed"];
    let scale = Scale { unit: Some((Unit::parse("ms").unwrap(), Unit::parse("s").unwrap())), factor: 2.0 };
    let value = Value::Text(text().mapped(map(), Some("5".to_owned())), scale);
    let feed = Feed { family: family("m", &names), value, labels, request_id: None };
    let rule = Rule { feeds: vec![feed], ..regex("m", "s=(?P<s>[A-Z]*)", &[], None) };
    let set = RuleSet::new(vec![rule]).unwrap();
    assert_eq!([r#"m{bounded="200",fixed="x",mapped="200"} 0.4"#], *applied(&set, "s=OK", open()));
    assert_eq!([r#"m{bounded="other",fixed="x",mapped="KO"} 0.01"#], *applied(&set, "s=KO", open()));
}

#[test]
fn bad_expressions_say_what_and_where() {
    for (pattern, at, what) in [
        ("a(b", Some(1), "unclosed group"),
        ("[z-a]", Some(1), "invalid character class range"),
        (r"\p{Greek}", None, ""),
        ("(a)(?=b)", Some(3), "look-around"),
        (r"(a)\1", Some(3), "backreferences are not supported"),
    ] {
        let error = Matcher::regex(pattern).unwrap_err();
        assert!(error.what.contains(what), "{pattern}: {error}");
        assert!(at.is_none() || at == error.at, "{pattern}: {error}");
    }
    let huge = Matcher::regex("((a{100}){100}){100}").unwrap_err();
    assert!(huge.what.contains("more than 1048576 bytes"), "{huge}");
    let nested = Matcher::regex(&"(".repeat(100_000)).unwrap_err();
    assert!(!nested.what.is_empty());
    let rules =
        (0..40).map(|at| regex(&at.to_string(), &format!("(x{at}{{150}}){{100}}"), &[], None)).collect();
    assert!(RuleSet::new(rules).unwrap_err().contains("all regular expressions together"));
    let rules = (0..=RULES_MAX).map(|_| regex("a", "a", &[], None)).collect();
    assert!(RuleSet::new(rules).unwrap_err().contains("500 are the most"));
}

#[test]
fn expressions_that_go_back_and_forth_elsewhere_take_one_pass_here() {
    let patterns = [
        "(a+)+$",
        "(a|aa)+$",
        "(a*)*b",
        "([a-z]+)*[A-Z]",
        "(.*)(.*)(.*)(.*)(.*)x$",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
    ];
    let rules: Vec<Rule> =
        patterns.iter().map(|pattern| regex("m", &format!("(?P<all>{pattern})"), &["all"], None)).collect();
    let set = RuleSet::new(rules).unwrap();
    let line = format!("{}!", "a".repeat(60_000));
    assert_eq!(0, applied(&set, &line, open()).len());
    let line = "a".repeat(60_000);
    assert_eq!(2, applied(&set, &line, open()).len());
}

#[test]
fn a_group_that_cuts_a_character_has_it_whole() {
    let set = RuleSet::new(vec![regex("m", "x(?P<c>.)", &["c"], None)]).unwrap();
    assert_eq!(["m{c=\"\u{e9}\"} 1"], *applied(&set, "ax\u{e9}b", open()));
    let unicode = RuleSet::new(vec![regex("m", "\u{e9}(?P<c>\\w)", &["c"], None)]).unwrap();
    assert_eq!(["m{c=\"\u{fc}\"} 1"], *applied(&unicode, "\u{e9}\u{fc}", open()));
}
