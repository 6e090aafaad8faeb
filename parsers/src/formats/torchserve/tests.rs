use super::*;
use crate::{Kind, Scope, ServerFact};

/// Reads one record and describes what came of it: `<outcome>; <event>; …` or the error.
fn read(parse: crate::formats::Parse, record: &str, catalog: &Catalog) -> String {
    let mut told = Vec::new();
    let outcome = parse(record.as_bytes(), catalog, &mut |event| told.push(describe(&event)));
    match outcome {
        Ok(Outcome::Parsed) => told.join("; "),
        Ok(Outcome::Ignored) => "ignored".to_owned(),
        Err(error) => format!("{}: {error}", error.reason),
    }
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Sample(sample) => {
            let labels: Vec<String> =
                sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let scope = if sample.scope == Scope::Model { "model" } else { "server" };
            let ids = sample.request_ids.unwrap_or("-");
            let time = sample.timestamp.map_or("-".to_owned(), |time| time.to_string());
            format!(
                "{scope} {}.{} {:?} {{{}}} {ids} {time}",
                sample.name,
                sample.unit,
                sample.value,
                labels.join(",")
            )
        }
        Event::Type { name, kind } => format!("type {name} {}", kind.label()),
        Event::Access(access) => {
            format!("access {} {} {} {}", access.method, access.path, access.code, access.milliseconds)
        }
        Event::Server(ServerFact::Started(time)) => format!("started {}:{}", time.hour, time.minute),
        Event::Server(fact) => format!("{fact:?}"),
        Event::Measured(measurement) => format!("{measurement:?}"),
    }
}

fn check(record: &str, expected: &str) {
    assert_eq!(expected, read(parse_metric_file, record, &Catalog::torchserve_default()), "{record}");
}

fn check_console(record: &str, expected: &str) {
    assert_eq!(expected, read(parse_console, record, &Catalog::torchserve_default()), "{record}");
}

const PLAIN: &str = "Requests2XX.Count:1.0|#Level:Host|#hostname:ts-node-0,timestamp:1795196880";
const READ: &str = "server Requests2XX.Count 1.0 {Level=Host,Hostname=ts-node-0} - 1795196880";

#[test]
fn any_prefix_may_stand_before_a_metric() {
    for prefix in [
        "",
        "2026-11-20T17:48:00,476 - ",
        "2026-11-20 17:48:00,476 - ",
        "2026-11-20T17:56:43.724Z - ",
        "2026-11-20 17:56:24.023 [INFO ] epollEventLoopGroup-3-1 TS_METRICS - ",
        "\u{1b}[32m2026-11-20T17:56:33,755 [INFO ] pool-3-thread-1 TS_METRICS - ",
        "2026-11-20 17:56:24.023 INFO ",
        "17:56:24.023 | INFO | ",
        "Nov 20 17:56:26 node-1 torchserve[12]: ",
        "[INFO][main]",
        "level=INFO msg=",
        "20 Nov 2026 17:56:24,023 \u{1b}[1;36m",
    ] {
        check(&format!("{prefix}{PLAIN}"), READ);
        check(&format!("{prefix}{PLAIN}\u{1b}[m\r\n"), READ);
    }
}

#[test]
fn undeclared_names_are_found_behind_any_prefix() {
    let rest = ":2.0|#ModelName:m|#hostname:h,requestID:null,timestamp:1";
    let model = |name: &str| format!("model {name} 2.0 {{ModelName=m,Hostname=h}} - 1");
    for (text, name) in [
        ("2026-11-20 17:56:24.023 INFO Hits.Count", "Hits.Count"),
        ("2026-11-20 17:56:24.023 INFO UnitWords.tokens per second", "UnitWords.tokens per second"),
        ("2026-11-20T17:48:00,476 - Time To First Token.Milliseconds", "Time To First Token.Milliseconds"),
        ("INFO|Hits.Count", "Hits.Count"),
    ] {
        check(&format!("{text}{rest}"), &model(name));
    }
}

#[test]
fn a_request_id_may_hold_anything() {
    check(
        "t - Dim.ms:1.0|#Tag:a|#hostname:h,requestID:req,with,commas|#and more,timestamp:9,timestamp:1795197158",
        "model Dim.ms 1.0 {Tag=a,Hostname=h} req,with,commas|#and more,timestamp:9 1795197158",
    );
    check(
        "t - NoDims.Count:1.0|#|#hostname:else where,requestID:null,timestamp:1",
        "model NoDims.Count 1.0 {Hostname=else where} - 1",
    );
}

#[test]
fn hosts_and_dimensions_are_taken_as_they_stand() {
    check(
        "t - HandlerTime.ms:5.5|#ModelName:a b,Level:x:y|#hostname:a|b [::1]:80,requestID:null,timestamp:1",
        "model HandlerTime.ms 5.5 {ModelName=a b,Level=x:y,Hostname=a|b [::1]:80} - 1",
    );
}

#[test]
fn the_old_dialect_is_read() {
    check(
        "2026-11-20 18:00:33,628 - W-9000-resnet18_1.0.ms:6542|#Level:Host|#hostname:h,timestamp:null",
        "server WorkerLoadTime.Milliseconds 6542.0 {WorkerName=W-9000-resnet18_1.0,Level=Host,Hostname=h} - -",
    );
    check(
        "2026-11-20T18:00:03,063 - top-1.acc.Count:50176|#ModelName:m|#hostname:h,timestamp:1",
        "server top-1.acc.Count 50176.0 {ModelName=m,Hostname=h} - 1",
    );
}

#[test]
fn one_json_object_a_line_is_read() {
    let metric = r#"Dim.ms:9.0|#Tag:say \"hi\"|#hostname:h,requestID:null,timestamp:1"#;
    check(
        &format!(r#"{{"time":"t","logger":"MODEL_METRICS","message":"{metric}"}}"#),
        "model Dim.ms 9.0 {Tag=say \"hi\",Hostname=h} - 1",
    );
    check(&format!(r#"{{"m":"{metric}"}}"#), "model Dim.ms 9.0 {Tag=say \"hi\",Hostname=h} - 1");
    check(&format!(r#"{{"logger":"MODEL_LOG","message":"{metric}"}}"#), "ignored");
    check(r#"{"a":1}"#, "not_a_metric: expected a metric in one of the object's strings at column 1");
}

#[test]
fn blocks_of_0_7_1_are_one_record() {
    let json = "{\n  \"MetricName\": \"Hits\",\n  \"Value\": \"2\",\n  \"Unit\": \"Count\",\n  \"Dimensions\": [\n    {\n      \
                \"Name\": \"Level\",\n      \"Value\": \"Host\"\n    }\n  ],\n  \"Timestamp\": \"7\",\n  \"HostName\": \"h\"\n}\n";
    assert_eq!(Frame::Record(json.len()), frame(format!("{json}next\n").as_bytes()));
    check(json, "server Hits.Count 2.0 {Level=Host,Hostname=h} - 7");
    let qlog = "HostName=h\nStartTime=7\nProgram=MXNetModelServer\nMetrics=GPU=0.5 Percent Level|Host  device_id|0 \nEOE\n";
    assert_eq!(Frame::Record(qlog.len()), frame(qlog.as_bytes()));
    check(qlog, "server GPU.Percent 0.5 {Level=Host,device_id=0,Hostname=h} - 7");
    check(
        "{\n \"MetricName\": \"x\"\n}\n",
        "malformed: expected Value, Unit, HostName and Dimensions in the object at column 1",
    );
}

#[test]
fn errors_say_what_was_expected_and_where() {
    check("x", "not_a_metric: expected \"|#\" after a metric's value at column 1");
    check("a - b|#c", "not_a_metric: expected <name>.<unit>:<value> at column 1");
    check("t - Hits:1|#a", "not_a_metric: expected <name>.<unit> before the value at column 5");
    check("t - Hits.Count:1.0|#Lev", "malformed: expected \"|#hostname:\" after the dimensions at column 21");
    check("t - Hits.Count:1.0|#Lev|#hostname:h", "malformed: expected <dimension>:<value> at column 21");
    check(
        "t - Hits.Count:1.0|#A:b|#type:COUNTER",
        "malformed: expected \"|#hostname:\" after the dimensions at column 24",
    );
    check(
        "t - Hits.Count:1.0|#A:b|#hostname:h,time",
        "malformed: expected \",timestamp:\" after the host at column 36",
    );
    check(
        "t - Hits.Count:1.0|#A:b|#hostname:h,x,timestamp:1",
        "malformed: expected \",requestID:\" or \",timestamp:\" after the host at column 36",
    );
    check(
        "t - Hits.Count:1.0|#A:b|#hostname:h,timestamp:soon",
        "malformed: expected seconds after \",timestamp:\" at column 47",
    );
    check(
        "t - Hits.Count:1,5|#A:b|#hostname:h,timestamp:1",
        "bad_value: expected a number as Java prints it at column 16",
    );
    check(
        "org.apache.logging.log4j.core.impl.MutableLogEvent@22890606",
        "no_data: expected a metric, not a MutableLogEvent's address at column 1",
    );
    let bytes = parse_metric_file(b"ab\xff", &Catalog::default(), &mut |_| {});
    assert_eq!(Err(ParseError::new(Reason::InvalidUtf8, "UTF-8 text", 2)), bytes);
}

#[test]
fn finished_requests_are_read_from_both_ends() {
    check(
        "2026-11-20T17:44:55,933 - /127.0.0.1:59146 \"POST /predictions/m?x=1 HTTP/1.1\" 200 10",
        "access POST /predictions/m 200 10",
    );
    check(
        "t - /[::1]:1 \"GET /x",
        "malformed: expected /<client> \"<method> <target> HTTP/<version>\" <code> <milliseconds> at column 5",
    );
    check_console(
        "2026-11-20T17:44:55,933 [INFO ] W-9001-m_1.0 ACCESS_LOG - /1.2.3.4:5 \"GET /a\" 200 1\" HTTP/1.1\" 404 0",
        "access GET /a\" 200 1\" 404 0",
    );
}

#[test]
fn a_dash_in_a_metric_begins_no_request() {
    for text in [
        "Good0.Count:1.0|#a: - /|#hostname:h,timestamp:1",
        "Good0.Count:1.0|#a: - /1.2.3.4:5 \"GET / HTTP/1.1\" 200 1|#hostname:h,timestamp:1",
        "INFO - TS_METRICS - Good0.Count:1.0|#a: - /|#hostname:h,timestamp:1",
    ] {
        let value = text.split(['|', '#']).nth(2).unwrap_or_default().replace("a:", "a=");
        check(
            &format!("2026-11-20T17:48:00,476 - {text}"),
            &format!("server Good0.Count 1.0 {{{value},Hostname=h}} - 1"),
        );
    }
    check(
        "t - Good0.Count:1.0|#|#hostname:h - /x,requestID:a - /b,timestamp:1",
        "model Good0.Count 1.0 {Hostname=h - /x} a - /b 1",
    );
}

#[test]
fn a_metric_in_a_request_is_a_part_of_the_request() {
    let request = "/1.2.3.4:5 \"GET /p?x - /|#x Bad0.Count:1.0|#a:b|#hostname:h,timestamp:1 HTTP/1.1\" 200 1";
    for prefix in [
        "",
        "2026-11-20T17:44:55,933 - ",
        "INFO ACCESS_LOG - ",
        "2026-11-20 17:44:55.933 - INFO - ACCESS_LOG - ",
    ] {
        check(&format!("{prefix}{request}"), "access GET /p 200 1");
    }
    let client = "localhost/1.2.3.4:5 \"GET /x - /1.2.3.4:5 \"POST /forged HTTP/1.1\" 200 9 HTTP/1.1\" 404 0";
    let read = read(parse_access_log, &format!("t - {client}"), &Catalog::default());
    assert!(read.starts_with("malformed: "), "{read}");
}

#[test]
fn the_console_counts_metric_loggers_only() {
    let logged = |logger: &str, message: &str| {
        format!("2026-11-20T17:44:25,166 [INFO ] W-9000-m_1.0-stdout {logger} - {message}")
    };
    check_console(&logged("TS_METRICS", PLAIN), READ);
    check_console(&logged("MODEL_LOG", PLAIN), "ignored");
    check_console(&logged("MODEL_LOG", &format!("TS_METRICS - {PLAIN}")), "ignored");
    check_console(&logged("MODEL_LOG", &logged("TS_METRICS", PLAIN)), "ignored");
    check_console(PLAIN, "ignored");
    check_console("\tat org.pytorch.serve.wlm.WorkerThread.run(WorkerThread.java:233)", "ignored");
    check_console(
        &logged("TS_METRICS", "cut.Count:1"),
        "not_a_metric: expected \"|#\" after a metric's value at column 66",
    );
}

#[test]
fn echoes_tell_types_and_nothing_else() {
    let echo = |message: &str| {
        format!(
            "2026-11-20T17:44:25,186 [INFO ] W-9002-m_2.1-stdout org.pytorch.serve.wlm.WorkerLifeCycle - result={message}, pattern=[METRICS]"
        )
    };
    check_console(
        &echo("[METRICS]Score.score:0.0|#ModelName:m|#type:HISTOGRAM|#hostname:h,1795196665,66d2"),
        "type Score histogram",
    );
    check_console(&echo("[METRICS]Rate.a/b.c:0.0|#|#type:COUNTER,x"), "type Rate counter");
    check_console(&echo("[METRICS]Score.score:0.0|#ModelName:m|#hostname:h,1795196665,66d2"), "ignored");
    check_console(&echo("[METRICS]Score.score:0.0|#ModelName:m|#type:SUMMARY|#hostname:h,1"), "ignored");
}

#[test]
fn the_banner_tells_about_the_server() {
    check_console("2026-11-20T17:44:48,864 [INFO ] main org.pytorch.serve.ModelServer - ", "started 17:44");
    check_console("2026-11-20T17:44:48,864 [INFO ] main org.pytorch.serve.ModelServer -", "started 17:44");
    check_console("Torchserve version: 0.12.0", "Version(\"0.12.0\")");
    check_console("Metrics mode: PROMETHEUS", "MetricsMode(\"PROMETHEUS\")");
    check_console("Metrics config path: run/metrics.yaml", "MetricsConfig(\"run/metrics.yaml\")");
}

#[test]
fn formats_are_told_apart_by_their_lines() {
    let name = |head: &str| crate::detect(head.as_bytes()).map(|dialect| dialect.format.name);
    assert_eq!(Some("torchserve"), name(&format!("garbage\n\n2026-11-20T17:48:00,476 - {PLAIN}\n")));
    assert_eq!(Some("torchserve"), name("a.MutableLogEvent@1\n"));
    assert_eq!(
        Some("torchserve"),
        name(&format!("2026-11-20 17:56:24.023 [INFO ] x TS_METRICS - {PLAIN}\n"))
    );
    assert_eq!(Some("torchserve-console"), name("Warning\n2026-11-20T17:44:48,538 [DEBUG] main org.x - y\n"));
    assert_eq!(None, name("hello\nworld\n"));
    assert_eq!(None, name(PLAIN), "a line without its newline tells nothing yet");
    assert_eq!(Kind::from_label("Counter"), Some(Kind::Counter));
}
