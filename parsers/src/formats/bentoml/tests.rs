use super::*;
use crate::formats::testing::summed_up as told;

const PREFIX: &str = "2026-11-20T17:42:44+0000 [INFO] [entry_service:sentiment:1] ";
const TRACE: &str = " (trace=ca02,span=0fe7,sampled=0,service.name=sentiment)";

/// A line of the entry service, and what its histogram gets; `other` results are given whole.
fn check(message: &str, expected: &str) {
    let line = format!("{PREFIX}{message}");
    assert_eq!(expected, told(parse, &line), "{line}");
}

fn counted(endpoint: &str, code: &str, seconds: &str, request: &str) -> String {
    let labels =
        format!("endpoint={endpoint},http_response_code={code},runner_name=sentiment,service_name=sentiment");
    format!(
        "bentoml_service_request_total{{{labels}}} 1; \
         bentoml_service_request_duration_seconds{{{labels}}} {seconds} @2026-11-20T17:42:44.000+0{request}"
    )
}

#[test]
fn a_finished_request_is_counted_and_timed() {
    check(
        &format!(
            "127.0.0.1:57398 (scheme=http,method=POST,path=/analyze,type=application/json,length=180) \
             (status=200,type=application/json,length=56) 84.366ms{TRACE}"
        ),
        &counted("/analyze", "200", "0.084366", " #ca02"),
    );
}

#[test]
fn every_optional_part_may_be_missing() {
    let plain = counted("/split", "200", "0.007595", "");
    for message in [
        "_ (scheme=http,method=POST,path=/split) (status=200) 7.595ms",
        "_ (scheme=http,method=POST,path=/split,type=) (status=200,type=) 7.595ms",
        "_ (scheme=http,method=POST,path=/split,length=) (status=200,length=) 7.595ms",
        "[::1]:80 (scheme=https,method=POST,path=/split,type=,length=) (status=200,length=1) 7.595ms",
        // No trace: the id is 0, however it is formatted.
        "_ (scheme=http,method=POST,path=/split) (status=200) 7.595ms (trace=0000,span=00,sampled=0)",
        "_ (scheme=http,method=POST,path=/split) (status=200) 7.595ms (trace=,span=)",
    ] {
        check(message, &plain);
    }
    // Up to 1.3 the tail has no service, and its ids may be decimal.
    check(
        "_ (scheme=http,method=POST,path=/split) (status=200) 7.595ms (trace=18,span=7,sampled=1)",
        &counted("/split", "200", "0.007595", " #18"),
    );
}

#[test]
fn whatever_a_client_sends_stays_in_its_place() {
    for (message, endpoint, code) in [
        // Types with commas and brackets, of the request and of the answer.
        (
            "1.2.3.4:5 (scheme=http,method=POST,path=/a,type=multipart/form-data; boundary=a,type=b) (c,length=3) \
             (status=200,type=text/plain; x=(1, 2),length=9) 1.000ms",
            "/a",
            "200",
        ),
        // A path that imitates the end of a line.
        (
            "1.2.3.4:5 (scheme=http,method=GET,path=/a) (status=200) 1.000ms (trace=1,type=,length=) \
             (status=500,type=,length=9) 1.000ms",
            "/a) (status=200) 1.000ms (trace=1",
            "500",
        ),
        (
            "1.2.3.4:5 (scheme=http,method=GET,path=/secret/7,type=,length=) (status=404) 1.000ms",
            "other",
            "404",
        ),
        ("1.2.3.4:5 (scheme=http,method=OPTIONS,path=/secret/7) (status=200) 1.000ms", "other", "200"),
        ("1.2.3.4:5 (scheme=http,method=GET,path=/a,length=7) (status=503) 1.000ms", "/a", "503"),
    ] {
        check(message, &counted(endpoint, code, "0.001", ""));
    }
}

#[test]
fn processes_have_the_families_of_their_version() {
    let http = "127.0.0.1:1 (scheme=http,method=POST,path=/classify,type=,length=) (status=200) 2.000ms";
    let runner = "_ (scheme=http,method=POST,path=/predict) (status=200) 2.000ms";
    let grpc = "ipv4:127.0.0.1:41452 (scheme=http,path=/bentoml.grpc.v1.BentoService/Call,type=application/grpc,\
                size=21) (http_status=500,grpc_status=13,type=application/grpc,size=0) 2.000ms";
    for (component, message, expected) in [
        (
            "service:tokenizer:2",
            http,
            "bentoml_service_request_total{endpoint=/classify,http_response_code=200,runner_name=tokenizer} 1",
        ),
        (
            "api_server:iris:2",
            http,
            "bentoml_api_server_request_total{endpoint=/classify,http_response_code=200,service_name=iris} 1",
        ),
        (
            "runner:iris_clf:1",
            runner,
            "bentoml_runner_request_total{endpoint=/predict,http_response_code=200,runner_name=iris_clf} 1",
        ),
        (
            "grpc_api_server:iris-grpc:2",
            grpc,
            "bentoml_api_server_request_total{http_response_code=500,service_name=iris-grpc} 1",
        ),
        ("", runner, "bentoml_service_request_total{endpoint=/predict,http_response_code=200} 1"),
    ] {
        let line = format!("2026-11-20T17:42:44-0330 [INFO] [{component}] {message}");
        let told = told(parse, &line);
        assert!(told.starts_with(expected), "{line}: {told}");
        assert!(told.ends_with("0.002 @2026-11-20T17:42:44.000-210"), "{told}");
        assert!(recognises(&line), "{line}");
    }
}

#[test]
fn lines_without_a_request_are_passed_over() {
    for message in [
        "inference done endpoint=analyze chars=168 infer_ms=66.133 (trace=ca02,span=0f,sampled=0)",
        "Exception on /analyze [POST] (trace=6b10,span=a6c0,sampled=0,service.name=sentiment)",
        "127.0.0.1:1 (scheme=ws,path=/ws) - Client connected (trace=6b10,span=a6,sampled=0)",
        "127.0.0.1:1 (scheme=ws,path=/ws) - Connection established",
        "a sentence about (scheme=http,method=GET,path=/a) (status=200) 1.000ms",
        "ipv4:127.0.0.1:1 (scheme=http,path=/grpc.health.v1.Health/Check,type=application/grpc,size=0) \
         (http_status=200,grpc_status=0,type=application/grpc,size=2) 0.100ms",
        "",
    ] {
        check(message, "ignored");
    }
    for line in
        ["", "Traceback (most recent call last):", "  File \"/srv/app.py\", line 719, in f", "[INFO] x"]
    {
        assert_eq!("ignored", told(parse, line));
    }
}

#[test]
fn a_damaged_request_says_what_is_missing() {
    let whole = "1.2.3.4:5 (scheme=http,method=GET,path=/a,type=,length=) (status=200,length=9) 1.000ms";
    for (message, expected) in [
        (whole.split_at(50).0, "malformed: expected the request's status at column 79"),
        (whole.split_at(76).0, "malformed: expected \")\" and the time after the status at column 119"),
        (whole.split_at(whole.len() - 1).0, "malformed: expected a time in milliseconds at column 140"),
        (&whole.replace("1.000ms", "fastms"), "bad_value: expected a time in milliseconds at column 140"),
        (&whole.replace("1.000ms", "-1.000ms"), "bad_value: expected a time in milliseconds at column 140"),
        (&whole.replace("1.000ms", "NaNms"), "bad_value: expected a time in milliseconds at column 140"),
        (&whole.replace("=200", "=2x0"), "malformed: expected an HTTP status at column 119"),
        (&whole.replace(",path=", ",p="), "malformed: expected the request's path at column 79"),
    ] {
        check(message, expected);
    }
}

#[test]
fn only_bentoml_is_recognised() {
    for line in [
        "2026-11-20T17:42:44+0000 [INFO] [entry_service:sentiment:2] Service sentiment initialized",
        "2026-11-20T18:10:26+0000 [INFO] [grpc_api_server:iris_grpc:1] All runners ready.",
        "2026-11-20T17:42:42+0000 [INFO] [cli] Starting production HTTP BentoServer from \"service:Sentiment\"",
        "\x1b[2m2026-11-20T17:42:44+0000\x1b[0m [ERROR] [entry_service:sentiment:1] Exception on /analyze",
    ] {
        assert!(recognises(line), "{line}");
    }
    for line in [
        "2026-11-20T17:48:00,476 [INFO ] epollEventLoopGroup-3-1 ACCESS_LOG - /127.0.0.1:1 \"GET /ping HTTP/1.1\" 200 1",
        "2026-11-20T17:42:44+0000 [INFO] [worker] ready",
        "Traceback (most recent call last):",
        "",
    ] {
        assert!(!recognises(line), "{line}");
    }
}
