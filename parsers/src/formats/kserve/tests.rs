use super::*;
use crate::formats::testing::summed_up as told;

const PREFIX: &str = "2026-11-20 18:07:15.247 3600 kserve.trace ";
const TIME: &str = " @2026-11-20T18:07:15.247";

fn check(message: &str, expected: &str) {
    assert_eq!(expected, told(parse, &format!("{PREFIX}{message}")), "{message}");
}

#[test]
fn stages_that_ran_are_observed_in_seconds() {
    check(
        "requestId: req-000002, preprocess_ms: 1.5, explain_ms: 0, predict_ms: 24.5, postprocess_ms: 0.0",
        &format!(
            "request_preprocess_seconds{{}} 0.0015; request_predict_seconds{{}} 0.0245; \
             request_postprocess_seconds{{}} 0{TIME} #req-000002"
        ),
    );
    check(
        "requestId: N.A., preprocess_ms: 1e-05, explain_ms: 2.5, predict_ms: 0, postprocess_ms: 5.96e-05",
        &format!(
            "request_preprocess_seconds{{}} 0.00000001; request_explain_seconds{{}} 0.0025; \
             request_postprocess_seconds{{}} 0.0000000596{TIME}"
        ),
    );
}

#[test]
fn the_request_id_is_a_clients_text() {
    check(
        "requestId: x, preprocess_ms: 9, predict_ms: 9, preprocess_ms: 1.5, explain_ms: 0, predict_ms: 0, postprocess_ms: 0",
        &format!("request_preprocess_seconds{{}} 0.0015{TIME} #x, preprocess_ms: 9, predict_ms: 9"),
    );
}

#[test]
fn lines_from_before_the_trace_logger_are_read() {
    let stages = "requestId: N.A., preprocess_ms: 1.5, explain_ms: 0, predict_ms: 0, postprocess_ms: 0";
    for prefix in ["1 root INFO [__call__():128] ", "1 kserve INFO [model.py:__call__():128] "] {
        let line = format!("2023-03-01 10:00:00.123 {prefix}{stages}");
        assert_eq!("request_preprocess_seconds{} 0.0015 @2023-03-01T10:00:00.123", told(parse, &line));
        assert!(recognises(&line), "{line}");
    }
}

#[test]
fn every_request_is_counted_and_timed_by_both_clocks() {
    let labels = "model_name=toy,route=/v1/models/{model_name}:predict,http_method=POST,http_status=500";
    check(
        "kserve.io.v1.models.toy:predict: 0.033 ['http_status:500', 'http_method:POST', 'time:wall']",
        &format!(
            "kserve_requests_total{{{labels}}} 1; kserve_request_duration_seconds{{{labels}}} 0.033{TIME}"
        ),
    );
    check(
        "kserve.io.v1.models.toy:predict: 1e-05 ['time:cpu', 'http_method:POST', 'http_status:500']",
        &format!("kserve_request_cpu_seconds{{{labels}}} 0.00001{TIME}"),
    );
}

#[test]
fn only_routes_and_models_that_answer_become_labels() {
    for (path, code, labels) in [
        ("", "200", "route=/"),
        ("v2.health.ready", "200", "route=/v2/health/ready"),
        ("v2.models.a.b.infer", "200", "model_name=a.b,route=/v2/models/{model_name}/infer"),
        (
            "v2.models.a.versions.2.infer",
            "200",
            "model_name=a,model_version=2,route=/v2/models/{model_name}/infer",
        ),
        ("v1.models.a:explain", "500", "model_name=a,route=/v1/models/{model_name}:explain"),
        ("kserve.protocol.rest.v1_endpoints.predict", "200", "route=/v1/models/{model_name}:predict"),
        ("openai.v1.chat.completions", "200", "route=/openai/v1/chat/completions"),
        ("v1.models.attack-7:predict", "404", "route=other"),
        (".etc.passwd", "404", "route=other"),
        ("static.7", "200", "route=other"),
        ("v1.models.a: 7 ['http_status:200']:predict", "200", "route=other"),
    ] {
        let line = format!("kserve.io.{path}: 1 ['http_status:{code}', 'http_method:GET', 'time:cpu']");
        check(
            &line,
            &format!("kserve_request_cpu_seconds{{{labels},http_method=GET,http_status={code}}} 1{TIME}"),
        );
    }
    check(
        "kserve.io.: 1 ['http_status:200', 'http_method:BREW', 'time:cpu']",
        &format!("kserve_request_cpu_seconds{{route=/,http_method=other,http_status=200}} 1{TIME}"),
    );
}

#[test]
fn other_loggers_are_passed_over() {
    for line in [
        "",
        "2026-11-20 18:07:42.239 5086 kserve INFO [model_server.py:register_model():472] Registering model: toy",
        "2026-11-20 18:07:42.341 5086 uvicorn.error INFO:     Started server process [5086]",
        "2026-11-20 18:07:42.854 uvicorn.access INFO:     127.0.0.1:34384 5086 - \"GET / HTTP/1.1\" 200 OK",
        "2026-11-20 18:07:42.854 5086 kserve.trace something new",
        "Traceback (most recent call last):",
        "requestId: x, preprocess_ms: 1.5, explain_ms: 0, predict_ms: 0, postprocess_ms: 0",
    ] {
        assert_eq!("ignored", told(parse, line), "{line}");
    }
}

#[test]
fn damaged_lines_are_refused() {
    for (message, expected) in [
        (
            "requestId: a, preprocess_ms: 1.5, explain_ms",
            "malformed: expected the times of four stages at column 54",
        ),
        (
            "requestId: a, preprocess_ms: x, explain_ms: 0, predict_ms: 0, postprocess_ms: 0",
            "bad_value: expected a time in milliseconds at column 72",
        ),
        (
            "kserve.io.v1.models.toy:predict: 0.033 ['http_status:2",
            "malformed: expected a list of tags at the end at column 53",
        ),
        (
            "kserve.io.v1.models.toy:predict ['http_status:200', 'time:wall']",
            "malformed: expected a time after the path at column 53",
        ),
        (
            "kserve.io.: x ['http_status:200', 'time:wall']",
            "bad_value: expected a time in seconds at column 55",
        ),
        ("kserve.io.: 1 ['time:wall']", "malformed: expected an HTTP status at column 59"),
        ("kserve.io.: 1 ['http_status:200']", "malformed: expected 'time:wall' or 'time:cpu' at column 59"),
    ] {
        check(message, expected);
    }
}

#[test]
fn only_kserve_is_recognised() {
    for line in [
        "2026-11-20 18:07:42.239 5086 kserve INFO [model_server.py:register_model():472] Registering model: toy",
        "2026-11-20 18:07:15.199 3600 kserve.trace kserve.io.: 0.1 ['http_status:200', 'time:wall']",
    ] {
        assert!(recognises(line), "{line}");
    }
    for line in [
        "2026-11-20 18:07:42.854 uvicorn.access INFO:     127.0.0.1:34384 5086 - \"GET / HTTP/1.1\" 200 OK",
        "2026-11-20 18:07:42.854 5086 root INFO [x] y",
        "requestId: x, preprocess_ms: 1",
    ] {
        assert!(!recognises(line), "{line}");
    }
}
