use super::*;
use crate::formats::testing::{cut, ignores, refuses, told};

const PROMPT: &str =
    "prompt eval time =      83.06 ms /    45 tokens (    1.85 ms per token,   541.74 tokens per second)";
const EVAL: &str =
    "       eval time =      17.66 ms /    11 tokens (    1.77 ms per token,   566.22 tokens per second)";

#[test]
fn every_versions_lines_tell_the_same() {
    let prompt = ["llamacpp:prompt_seconds_total 0.08306", "llamacpp:prompt_tokens_total 45"];
    let eval = ["llamacpp:tokens_predicted_seconds_total 0.01766", "llamacpp:tokens_predicted_total 11"];
    for (before, after) in [
        ("0.04.371.636 I slot print_timing: id  2 | task 0 | ", ""),
        ("\x1b[34m0.04.371.636\x1b[0m \x1b[32mI \x1b[0mslot print_timing: id  2 | task 0 | ", ""),
        ("I slot print_timing: id  2 | task 0 | ", ""),
        ("slot print_timing: id  2 | task 0 | ", ""),
        (
            r#"{"type":"log","time":3463312,"level":"info","msg":"slot print_timing: id  2 | task 0 | "#,
            r#"\n"}"#,
        ),
        ("", ""),
        (
            r#"{"tid":"1401","timestamp":1709,"level":"INFO","function":"print_timings","line":327,"msg":""#,
            r#"","id_slot":0}"#,
        ),
        ("INFO [           print_timings] ", r#" | tid="1401" timestamp=1709 id_slot=0"#),
        ("llama_perf_context_print: ", ""),
    ] {
        let (first, second) = (format!("{before}{PROMPT}{after}"), format!("{before}{EVAL}{after}"));
        assert_eq!(prompt, *told(parse, &first), "{first}");
        assert_eq!(eval, *told(parse, &second), "{second}");
        assert!(recognises(&first) && recognises(&second), "{first}");
    }
    let old = "INFO [           print_timings] generation eval time =      17.66 ms /    11 runs   (    1.77 ms per token,   566.22 tokens per second) | tid=\"1\"";
    assert_eq!(eval, *told(parse, old));
}

#[test]
fn a_total_is_a_request() {
    let expected = ["llamacpp:request_seconds 0.10073", "llamacpp:requests_total 1"];
    for line in [
        "0.04.371.680 I slot print_timing: id  2 | task 0 |       total time =     100.73 ms /    56 tokens",
        "      total time =     100.73 ms /    56 tokens",
        "INFO [           print_timings]           total time =     100.73 ms | tid=\"1\"",
    ] {
        assert_eq!(expected, *told(parse, line), "{line}");
    }
}

#[test]
fn nothing_to_divide_by_is_no_error() {
    let line = "eval time =       0.00 ms /     0 tokens (     nan ms per token,      inf tokens per second)";
    assert_eq!(
        ["llamacpp:tokens_predicted_seconds_total 0", "llamacpp:tokens_predicted_total 0"],
        *told(parse, line)
    );
}

#[test]
fn drafts_errors_and_requests_are_counted() {
    let expected = [
        "llamacpp:spec_decode_num_accepted_tokens_total 19",
        "llamacpp:spec_decode_num_draft_tokens_total 33",
    ];
    for line in [
        "0.04.371.680 I slot print_timing: id  2 | task 0 | draft acceptance = 0.57576 (   19 accepted /    33 generated), mean len = 2.58",
        "draft acceptance rate = 0.57576 (   19 accepted /    33 generated)",
    ] {
        assert_eq!(expected, *told(parse, line));
    }
    let error = "0.04.788.042 E srv    send_error: task id = 289, error: request (7202 tokens) exceeds the available context size";
    assert_eq!(["llamacpp:request_errors_total 1"], *told(parse, error));
    for line in [
        "srv  log_server_r: request: POST /completion 127.0.0.1 200",
        "srv  log_server_r: done request: POST /completion 127.0.0.1 200",
        r#"{"function":"log_server_request","level":"INFO","method":"POST","msg":"request","path":"/completion","status":200,"tid":"1"}"#,
    ] {
        let expected = r#"llamacpp:http_requests_total{method="POST",route="/completion",code="200"} 1"#;
        assert_eq!([expected], *told(parse, line));
    }
}

#[test]
fn damaged_lines_are_refused_and_others_passed_over() {
    let whole = format!("0.04.371.636 I slot print_timing: id  2 | task 0 | {PROMPT}");
    for end in 69..whole.len() {
        assert!(refuses(parse, cut(&whole, end)), "{}", cut(&whole, end));
    }
    assert!(refuses(parse, "total time =     100.73 ms /    5"));
    assert!(refuses(parse, "srv  log_server_r: request: POST /completion 127"));
    assert!(refuses(parse, r#"{"type":"log","time":3463312,"level":"info","msg":"slot pri"#));
    for line in [
        "",
        "slot print_timing: id  1 | task 0 | ",
        "0.04.371.688 I slot print_timing: id  2 | task 0 |    graphs reused =         10",
        "0.06.435.994 I slot print_timing: id  3 | task 0 | n_gen =    378, tg = 125.56 t/s, tg_3s = 125.90 t/s",
        "0.04.371.726 I slot      release: id  2 | task 0 | stop processing: n_tokens = 55, truncated = 0",
        r#"{"type":"fit_memory_breakdown","data":{"unit":"MiB","rows":[{"kind":"host"}]}}"#,
        "load time =     345.78 ms",
        "prompt: what is the eval time = 3 ms?",
    ] {
        assert!(ignores(parse, line), "{line}");
    }
}
