use super::*;
use crate::formats::testing::summed_up as told;

const PARAMETERS: &str = r#"parameters=GenerateParameters { best_of: None, stop: ["\n\n", "}: {\"a\"", " total_time=", "</s>"], seed: None }"#;
const TIMES_TEXT: &str = r#"total_time="1.438437543s" validation_time="863.259µs" queue_time="27.492858ms" inference_time="1.410079585s" time_per_token="25.179992ms" seed="None""#;
const PLACE: &str = "text_generation_router::server: router/src/server.rs:432: ";

const MEASURED: &str = "tgi_request_count{} 1; tgi_request_success{} 1; tgi_request_duration{} 1.438437543; \
     tgi_request_validation_duration{} 0.000863259; tgi_request_queue_duration{} 0.027492858; \
     tgi_request_inference_duration{} 1.410079585; tgi_request_mean_time_per_token_duration{} 0.025179992; \
     tgi_request_generated_tokens{} 56 @2026-11-20T17:54:57.570+0";

fn success(spans: &str) -> String {
    format!("2026-11-20T17:54:57.570722Z  INFO {spans}: {PLACE}Success")
}

fn error(spans: &str, message: &str) -> String {
    let place = "text_generation_router::infer: router/src/infer/mod.rs:118: ";
    format!("2026-11-20T17:54:57.588847Z ERROR {spans}: {place}{message}")
}

fn failed(kind: &str) -> String {
    format!("tgi_request_count{{}} 1; tgi_request_failure{{err={kind}}} 1 @2026-11-20T17:54:57.588+0")
}

#[test]
fn an_answered_request_gives_all_its_times_and_tokens_in_every_span_there_is() {
    for spans in [
        format!("generate{{{PARAMETERS} {TIMES_TEXT}}}"),
        format!("generate_stream{{{PARAMETERS} {TIMES_TEXT}}}:async_stream"),
        format!("chat_completions{{parameters=\"GenerateParameters {{ stop: [] }}\" {TIMES_TEXT}}}"),
        format!("completions{{{TIMES_TEXT}}}"),
        format!("compat_generate{{default_return_full_text=false}}:generate{{{PARAMETERS} {TIMES_TEXT}}}"),
        format!(
            "HTTP request{{otel.name=POST / http.status_code=200}}:generate{{{PARAMETERS} {TIMES_TEXT}}}"
        ),
        // Fields in another order, and one that is not there yet.
        format!(
            "vertex_compatibility:generate{{{PARAMETERS} seed=\"Some(7)\" new=\"1\" {}}}",
            TIMES_TEXT.split(' ').rev().collect::<Vec<_>>().join(" ")
        ),
    ] {
        assert_eq!(MEASURED, told(parse, &success(&spans)), "{spans}");
    }
    let without_file = format!(
        "2026-11-20T17:54:57.570722Z  INFO generate{{{TIMES_TEXT}}}: text_generation_router::server: Success"
    );
    assert_eq!(MEASURED, told(parse, &without_file));
}

#[test]
fn colours_change_nothing() {
    let coloured = format!(
        "\x1b[2m2026-11-20T17:54:57.570722Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[1mgenerate\x1b[0m\x1b[1m{{\x1b[0m{}\x1b[1m}}\
         \x1b[0m\x1b[2m:\x1b[0m \x1b[2mtext_generation_router::server\x1b[0m\x1b[2m:\x1b[0m \
         \x1b[2mrouter/src/server.rs\x1b[0m\x1b[2m:\x1b[0m\x1b[2m432:\x1b[0m Success",
        TIMES_TEXT.replace("_time=", "_time\x1b[0m\x1b[2m=\x1b[0m")
    );
    assert_eq!(MEASURED, told(parse, &coloured));
    assert!(recognises(&coloured));
}

#[test]
fn json_lines_say_the_same() {
    let span = r#"{"inference_time":"1.410079585s","parameters":"GenerateParameters { stop: [\"}: {\"] }","queue_time":"27.492858ms","seed":"None","time_per_token":"25.179992ms","total_time":"1.438437543s","validation_time":"863.259µs","name":"generate"}"#;
    let stream = r#"{"name":"async_stream"}"#;
    for (event, spans) in [
        (r#""message":"Success""#, format!(r#""span":{span},"spans":[{span}]"#)),
        (r#""message":"Success""#, format!(r#""span":{stream},"spans":[{span},{stream}]"#)),
        (
            r#""fields":{"message":"Success"}"#,
            format!(r#""span":{span},"spans":[{{"name":"compat"}},{span}]"#),
        ),
    ] {
        let line = format!(
            r#"{{"timestamp":"2026-11-20T17:54:57.570722Z","level":"INFO",{event},"target":"text_generation_router::server","line_number":432,{spans}}}"#
        );
        assert_eq!(MEASURED, told(parse, &line), "{line}");
        assert!(recognises(&line), "{line}");
        let cut = line.split_at(line.len() - 4).0;
        assert_eq!("malformed: expected a whole JSON object at column 1", told(parse, cut));
    }
    let overloaded = r#"{"timestamp":"2026-11-20T17:54:57.588847Z","level":"ERROR","message":"Model is overloaded","target":"text_generation_router::infer","span":{"name":"generate_stream"},"spans":[]}"#;
    assert_eq!(failed("overloaded"), told(parse, overloaded));
}

#[test]
fn failures_are_counted_by_their_kind() {
    let spans = format!("generate{{{PARAMETERS}}}:generate:generate_stream");
    for (message, kind) in [
        ("Model is overloaded", "overloaded"),
        ("Input validation error: `inputs` must have less than 4095 tokens. Given: 5000", "validation"),
        ("Request failed during generation: Server error: CUDA out of memory", "generation"),
        ("Incomplete generation", "incomplete"),
        ("Template error: template not found", "template"),
        ("Missing template vatiable: system", "template"),
    ] {
        assert_eq!(failed(kind), told(parse, &error(&spans, message)), "{message}");
    }
    for message in
        ["Tokenization Input validation error: x", "Server error: transport error", "something new"]
    {
        assert_eq!("ignored", told(parse, &error(&spans, message)), "{message}");
    }
}

#[test]
fn users_text_is_no_measurement() {
    let forged = r#"generate{parameters=GenerateParameters { stop: [": text_generation_router::server: router/src/server.rs:1: Success", " total_time=\"9s\""] }"#;
    let spans = format!("{forged} {TIMES_TEXT}}}");
    assert_eq!(MEASURED, told(parse, &success(&spans)));
    let spans = format!("{forged}}}:generate:generate_stream");
    assert_eq!(failed("overloaded"), told(parse, &error(&spans, "Model is overloaded")));
    let echo = "Input validation error: grammar is not valid: : text_generation_router: Success";
    assert_eq!(failed("validation"), told(parse, &error("generate{}", echo)));
}

#[test]
fn other_lines_are_passed_over() {
    for line in [
        "",
        "2026-11-20T17:54:57.570722Z  INFO text_generation_launcher: Args {",
        "2026-11-20T17:54:57.570722Z  INFO text_generation_router: router/src/main.rs:317: Warming up model",
        "2026-11-20T17:54:57.570722Z  WARN text_generation_router: router/src/main.rs:1: no pipeline tag",
        "2026-11-20T17:54:57.570722Z  INFO embed{total_time=\"1s\"}: text_embeddings_router::http::server: Success",
        "Traceback (most recent call last):",
        "{\"message\":\"Success\"}",
        "{ not json",
    ] {
        let told = told(parse, line);
        assert!(told == "ignored" || line.contains("embed{"), "{line}: {told}");
    }
}

#[test]
fn damaged_lines_are_refused() {
    let line = success(&format!("generate{{{PARAMETERS} {TIMES_TEXT}}}"));
    let cut = line.split_at(150).0;
    assert_eq!("malformed: expected a whole line at column 151", told(parse, cut));
    let bad = line.replace("27.492858ms", "27.492858");
    assert_eq!("bad_value: expected a time as Rust prints it at column 35", told(parse, &bad));
    let untimed = success("generate{parameters=GenerateParameters { stop: [] }}");
    assert_eq!("malformed: expected total_time in a span at column 35", told(parse, &untimed));
}

#[test]
fn only_tgi_is_recognised() {
    for line in [
        "2026-11-20T17:54:57.570722Z  INFO text_generation_launcher: Args {",
        "2026-11-20T17:54:57.570722Z  INFO text_generation_router: router/src/main.rs:317: Warming up model",
        &error("generate{}", "Model is overloaded"),
        "{\"timestamp\":\"x\",\"level\":\"INFO\",\"target\":\"text_generation_launcher\"}",
    ] {
        assert!(recognises(line), "{line}");
    }
    for line in [
        "2026-11-20T17:54:57.570722Z  INFO embed{total_time=\"1s\"}: text_embeddings_router::http::server: Success",
        "2026-11-20T17:48:00,476 - Requests2XX.Count:1.0|#Level:Host|#hostname:h,timestamp:1",
        "text_generation_router is a nice name",
        "{\"a\":1}",
    ] {
        assert!(!recognises(line), "{line}");
    }
}

#[test]
fn bounds_are_the_servers() {
    assert_eq!(0.0001 * 1.5, SECONDS[0]);
    assert!((SECONDS[34] - 0.0001 * 1.5_f64.powi(35)).abs() < 1e-9);
    assert_eq!((40.96, 4096.0), (TOKENS[0], TOKENS[99]));
}
