use super::*;

const METRIC: &str =
    "2026-11-20T17:48:00,476 - Requests2XX.Count:1.0|#Level:Host|#hostname:h,timestamp:1795196880";

fn torchserve() -> Dialect {
    Dialect::bare(&FORMATS[0])
}

/// What the lines give, each record as text.
fn unwrapped(dialect: Dialect, lines: &[&str], line_max: usize) -> Vec<String> {
    let (mut pending, mut found) = (Pending::default(), Vec::new());
    let mut note = |unwrapped: Unwrapped<'_>| {
        found.push(match unwrapped {
            Unwrapped::Record(record) => String::from_utf8_lossy(record).into_owned(),
            Unwrapped::TooLong(_) => "too long".to_owned(),
            Unwrapped::Torn => "torn".to_owned(),
        });
    };
    lines.iter().for_each(|line| dialect.unwrap(line.as_bytes(), &mut pending, line_max, &mut note));
    dialect.finish(&mut pending, &mut note);
    assert_eq!(Pending::default(), pending);
    found
}

fn named(name: &str) -> Dialect {
    Dialect::named(name).unwrap()
}

#[test]
fn wrapper_and_format_are_found_together() {
    for (line, expected) in [
        (METRIC.to_owned(), "torchserve"),
        (format!("2026-11-20T18:00:00.123456789Z stdout F {METRIC}"), "torchserve in cri"),
        (format!("2026-11-20T18:00:00+01:00 stderr F:x:y {METRIC}"), "torchserve in cri"),
        (
            format!(
                r#"{{"log":"{METRIC}\n","stream":"stderr","attrs":{{"a":"}},\"time"}},"time":"2026-11-20T18:00:00Z"}}"#
            ),
            "torchserve in docker",
        ),
        (format!("Nov  2 18:00:00 gpu-1 server[123]: {METRIC}"), "torchserve in systemd"),
        (format!("Nov 20 18:00:00.123456 gpu-1 server: {METRIC}"), "torchserve in systemd"),
        (format!("I1120 18:00:00.123456    1234 server.cc:12] {METRIC}"), "torchserve in klog"),
        (format!("W20261120 18:00:00.123456 1234 server.cc:12] {METRIC}"), "torchserve in klog"),
        (
            format!("2026-11-20T18:00:00Z stdout F I1120 18:00:00.123456 1 a/b.cc:12] {METRIC}"),
            "torchserve in klog in cri",
        ),
    ] {
        let noise = "-- Logs begin --\n2026-11-20T18:00:00Z stdout F noise\n";
        let found = detect(format!("{noise}{line}\n").as_bytes()).unwrap();
        assert_eq!(expected, found.to_string(), "{line}");
        assert_eq!(found, named(expected));
        let wrapper = detect_wrapper(format!("-- Logs begin --\n{line}\n").as_bytes());
        assert_eq!(found.wrapper, wrapper.unwrap_or(Wrapper::BARE));
        assert_eq!(None, detect(line.as_bytes()), "a line that is not whole tells nothing");
    }
    assert_eq!(None, Dialect::named("torchserve in a box"));
}

#[test]
fn what_only_looks_like_a_wrapper_is_a_line() {
    for line in [
        "2026-11-20T18:00:00Z stdout X text",
        "2026-11-20 18:00:00 stdout F text",
        "2026-11-20T18:00:00Z stdin F text",
        r#"{"log":"text\n","stream":"stdin","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"log":"text\n","stream":"stdout","time":"2026","more":1}"#,
        r#"{"log":"te\xt\n","stream":"stdout","time":"2026"}"#,
        r#"{"log":"text"#,
        "Nov 40 18:00:00 host unit: text",
        "Nov 20 18:00 host unit: text",
        "Nov 20 18:00:00 host no unit",
        "I1120 18:00:00.1 x server.cc:12] text",
        "I1120 18:00:00.1 1 server.cc] text",
        "INFO 11-20 18:00:00 [loggers.py:12] text",
        "",
    ] {
        assert_eq!(None, detect_wrapper(format!("{line}\n").as_bytes()), "{line}");
        for name in
            ["torchserve in cri", "torchserve in docker", "torchserve in systemd", "torchserve in klog"]
        {
            let line = format!("{line}\n");
            assert_eq!(vec![line.clone()], unwrapped(named(name), &[&line], 100), "{name}");
        }
    }
}

#[test]
fn parts_are_joined_with_the_next_of_their_own_output() {
    let cri = [
        "2026-11-20T18:00:00Z stdout P one ",
        "2026-11-20T18:00:00Z stderr P two ",
        "2026-11-20T18:00:00Z stdout P three ",
        "2026-11-20T18:00:00Z stderr F four",
        "2026-11-20T18:00:00Z stdout F five",
        "2026-11-20T18:00:00Z stdout F",
        "2026-11-20T18:00:00Z stderr P six",
    ];
    let docker = [
        r#"{"log":"one ","stream":"stdout","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"log":"two ","stream":"stderr","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"log":"three ","stream":"stdout","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"log":"four\n","stream":"stderr","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"log":"five\n","stream":"stdout","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"log":"\n","stream":"stdout","time":"2026-11-20T18:00:00Z"}"#,
        r#"{"stream":"stderr","time":"2026-11-20T18:00:00Z"}"#,
    ];
    for (name, lines) in [("torchserve in cri", cri), ("torchserve in docker", docker)] {
        let lines = lines.map(|line| format!("{line}\n"));
        let found = unwrapped(named(name), &lines.each_ref().map(String::as_str), 100);
        assert_eq!(vec!["two four\n", "one three five\n", "\n", "torn"], found, "{name}");
    }
}

#[test]
fn a_line_of_parts_is_bounded() {
    let part = format!("2026-11-20T18:00:00Z stdout P {}\n", "x".repeat(40));
    let end = "2026-11-20T18:00:00Z stdout F 12345678901234567890\n";
    let fits = unwrapped(named("torchserve in cri"), &[&part, &part, end], 100);
    assert_eq!(101, fits[0].len(), "100 bytes and the newline");
    let found = unwrapped(named("torchserve in cri"), &[&part, &part, &part, &part, end, end], 100);
    assert_eq!(vec!["too long", "12345678901234567890\n"], found);
    let mut pending = Pending::default();
    for _ in 0..1000 {
        named("torchserve in cri").unwrap(part.as_bytes(), &mut pending, 100, |_| panic!("no record"));
    }
    assert_eq!(Some(101), pending.parts[0].as_ref().map(Vec::len));
}

#[test]
fn escapes_are_undone() {
    let line = r#"{"log":"a\"\\\/\b\f\r\t\u00e9\ud83d\ude80\u003c\ud800x\u001b[0m\n","stream":"stdout","time":"2026-11-20T18:00:00Z"}"#;
    let found = unwrapped(named("torchserve in docker"), &[&format!("{line}\n")], 100);
    assert_eq!(vec!["a\"\\/\u{8}\u{c}\r\té🚀<\u{fffd}x\u{1b}[0m\n"], found);
}

#[test]
fn a_block_is_put_together_and_falls_apart_where_it_is_none() {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| format!("2026-11-20T18:00:00Z stdout F {line}\n")).collect()
    };
    let block = "{\n  \"MetricName\" : \"A\",\n  \"Value\" : 1\n}\n";
    let whole = lines(&format!("{block}next\n"));
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    assert_eq!(vec![block, "next\n"], unwrapped(named("torchserve in cri"), &whole, 1000));
    let short = unwrapped(named("torchserve in cri"), &whole, block.len() - 3);
    assert_eq!(5, short.len(), "beyond the longest line: {short:?}");
    let half = unwrapped(named("torchserve in cri"), &whole[..2], 1000);
    assert_eq!(vec!["{\n", "  \"MetricName\" : \"A\",\n"], half);
}

#[test]
fn a_bare_record_is_handed_on_as_it_is() {
    assert_eq!(vec!["a\nb\n"], unwrapped(torchserve(), &["a\nb\n"], 1));
    assert_eq!(Frame::Record(2), torchserve().frame(b"a\nb\n"));
    assert_eq!((10, RAW_MAX), (torchserve().raw_max(10), named("torchserve in cri").raw_max(10)));
}

#[test]
fn the_middle_of_a_line_tells_nothing() {
    let part = "2026-11-20T18:00:00Z stdout P x\n";
    let end = format!("2026-11-20T18:00:00Z stdout F {METRIC}\n");
    assert_eq!(None, detect(format!("{part}{end}").as_bytes()));
    assert!(detect(format!("{part}{end}{end}").as_bytes()).is_some());
}
