use super::*;
use crate::formats::testing::{cut, ignores, refuses, told, told_about};
use proptest::prelude::*;

const PREFIX: &str = "(APIServer pid=4242) INFO 11-20 20:40:20 [loggers.py:335] ";
const LIST: &str = "Avg prompt throughput: 6392.1 tokens/s, Avg generation throughput: 102.7 tokens/s, Running: 200 reqs, Waiting: 5 reqs, Deferred: 2 reqs, GPU KV cache usage: 76.2%, Prefix cache hit rate: 0.9%";

fn line(message: &str) -> String {
    format!("{PREFIX}{message}")
}

fn of_engine(engine: &str) -> Vec<String> {
    [
        ("prompt_tokens_per_second", "6392.1"),
        ("generation_tokens_per_second", "102.7"),
        ("num_requests_running", "200"),
        ("num_requests_waiting", "5"),
        ("kv_cache_usage_perc", "0.762"),
        ("prefix_cache_hit_ratio", "0.009"),
    ]
    .map(|(name, value)| format!("vllm:{name}{engine} {value}"))
    .to_vec()
}

#[test]
fn the_periodic_line_is_read_in_every_prefix() {
    let message = format!("Engine 000: {LIST}");
    let mut expected = of_engine("{engine=\"0\"}");
    expected.push("vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"deferred\"} 2".into());
    for line in [
        line(&message),
        format!("INFO 11-20 20:40:20 [loggers.py:335] {message}"),
        format!("INFO 11-20 20:40:20 [v1/metrics/loggers.py:118] {message}"),
        format!("DEBUG 11-20 20:40:20 loggers.py:118] {message}"),
        format!(
            "\x1b[0;36m(APIServer pid=4242)\x1b[0;0m \x1b[32mINFO\x1b[0m \x1b[90m11-20 20:40:20\x1b[0m \x1b[90m[loggers.py:335]\x1b[0m {message}"
        ),
        format!(
            "{{\"asctime\": \"2026-11-20 20:40:20,007\", \"levelname\": \"INFO\", \"name\": \"vllm.v1.metrics.loggers\", \"message\": \"{message}\"}}"
        ),
    ] {
        assert_eq!(expected, told(parse, &line), "{line}");
        assert!(recognises(&line), "{line}");
        let (time, id) = told_about(parse, &line)[0].clone();
        let time = time.unwrap();
        assert_eq!((11, 20, 20, 40, None), (time.month, time.day, time.hour, time.minute, id));
        assert!(matches!(time.year, 0 | 2026));
    }
}

#[test]
fn all_engines_together_have_no_label() {
    let told = told(parse, &line(&format!("2 Engines Aggregated: {LIST}")));
    assert_eq!(of_engine(""), told[..6]);
    assert_eq!("vllm:num_requests_waiting_by_reason{reason=\"deferred\"} 2", told[6]);
}

#[test]
fn what_is_left_out_at_zero_does_not_stand_still() {
    let without = LIST.replace("Deferred: 2 reqs, ", "");
    let told_of = |message: String| told(parse, &line(&message));
    let deferred = |value: &str| {
        format!("vllm:num_requests_waiting_by_reason{{engine=\"12\",reason=\"deferred\"}} {value}")
    };
    assert!(told_of(format!("Engine 012: {LIST}")).contains(&deferred("2")));
    assert!(told_of(format!("Engine 012: {without}")).contains(&deferred("0")));
    assert_eq!(of_engine(""), told_of(without), "versions without engines deferred nothing");
}

#[test]
fn the_older_engine_has_the_names_of_its_time() {
    let line = "INFO 07-16 15:58:12 metrics.py:340] Avg prompt throughput: 237.0 tokens/s, Avg generation throughput: 342.9 tokens/s, Running: 105 reqs, Swapped: 1 reqs, Pending: 4 reqs, GPU KV cache usage: 22.3%, CPU KV cache usage: 3.2%.";
    let expected = [
        "vllm:prompt_tokens_per_second 237",
        "vllm:generation_tokens_per_second 342.9",
        "vllm:num_requests_running 105",
        "vllm:num_requests_swapped 1",
        "vllm:num_requests_waiting 4",
        "vllm:gpu_cache_usage_perc 0.223",
        "vllm:cpu_cache_usage_perc 0.032",
    ];
    assert_eq!(expected, *told(parse, line));
    assert_eq!(expected, *told(parse, &line.replace("metrics.py:340]", "[metrics.py:455]")));
    let hits = "INFO 02-14 10:00:00 metrics.py:471] Prefix cache hit rate: GPU: 12.34%, CPU: 0.00%";
    let expected = ["vllm:gpu_prefix_cache_hit_rate 0.1234", "vllm:cpu_prefix_cache_hit_rate 0"];
    assert_eq!(expected, *told(parse, hits));
    let drafts = "INFO 02-14 10:00:00 metrics.py:490] Speculative metrics: Draft acceptance rate: 0.723, System efficiency: 0.513, Number of speculative tokens: 4, Number of accepted tokens: 1230, Number of draft tokens: 2000, Number of emitted tokens: 1500.";
    let expected = ["vllm:spec_decode_draft_acceptance_rate 0.723", "vllm:spec_decode_efficiency 0.513"];
    assert_eq!(expected, *told(parse, drafts));
}

#[test]
fn any_device_has_a_cache() {
    for device in ["GPU", "CPU", "TPU", "XPU", "HPU"] {
        let message = format!("Engine 000: {LIST}").replace("GPU KV", &format!("{device} KV"));
        assert!(
            told(parse, &line(&message)).contains(&"vllm:kv_cache_usage_perc{engine=\"0\"} 0.762".to_owned())
        );
    }
}

#[test]
fn drafted_tokens_are_increments_and_rates_have_positions() {
    let message = "SpecDecoding metrics: Mean acceptance length: 2.48, Accepted throughput: 14.46 tokens/s, Drafted throughput: 29.32 tokens/s, Accepted: 145 tokens, Drafted: 294 tokens, Per-position acceptance rate: 0.765, 0.490, 0.224, Avg Draft acceptance rate: 49.3%";
    let told = told(parse, &line(message));
    for expected in [
        "vllm:spec_decode_num_accepted_tokens_total 145",
        "vllm:spec_decode_num_draft_tokens_total 294",
        "vllm:spec_decode_position_acceptance_ratio{position=\"2\"} 0.224",
        "vllm:spec_decode_draft_acceptance_rate 0.493",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
    assert_eq!(9, told.len());
    let nothing = message.replace("49.3%", "nan%").replace("2.48", "nan");
    assert_eq!(7, crate::formats::testing::told(parse, &line(&nothing)).len());
}

#[test]
fn a_step_is_an_observation() {
    let message = "Engine 000: Iteration(5): 4 context requests, 926 context tokens, 37 generation requests, 38 generation tokens, iteration elapsed time: 35.65 ms, GPU KV cache usage: 73.6%";
    let expected = [
        "vllm:iteration_tokens_total{engine=\"0\"} 964",
        "vllm:iteration_duration_seconds{engine=\"0\"} 0.03565",
        "vllm:kv_cache_usage_perc{engine=\"0\"} 0.736",
    ];
    assert_eq!(expected, *told(parse, &line(message)));
}

#[test]
fn access_lines_have_the_labels_of_the_servers_own_instrument() {
    for (line, expected) in [
        (
            r#"INFO:     10.0.0.63:30553 - "POST /v1/completions HTTP/1.1" 400 Bad Request"#,
            r#"handler="/v1/completions",method="POST",status="4xx""#,
        ),
        (
            r#"(APIServer pid=1) INFO:     10.0.0.63:30553 - "GET /nope%20x?q=%22a%22 HTTP/1.1" 404 Not Found"#,
            r#"handler="none",method="GET",status="4xx""#,
        ),
        (
            r#"{"asctime": "2026-11-20 18:10:46,958", "name": "uvicorn.access", "message": "127.0.0.1:40662 - \"POST /v1/chat/completions HTTP/1.1\" 200"}"#,
            r#"handler="/v1/chat/completions",method="POST",status="2xx""#,
        ),
    ] {
        assert_eq!([format!("http_requests_total{{{expected}}} 1")], *told(parse, line));
    }
}

#[test]
fn prompts_that_look_like_measurements_are_passed_over() {
    for line in [
        "INFO 07-16 15:58:05 logger.py:36] Received request cmpl-0: prompt: 'Avg prompt throughput: 12.0 tokens/s, Running: 9 reqs', params: x",
        "INFO 07-16 15:58:05 logger.py:36] Received request cmpl-0: prompt: 'x\\nINFO 07-16 15:58:12 metrics.py:340] Avg prompt throughput: 1.0 tokens/s'",
        "INFO 07-16 15:58:05 async_llm_engine.py:141] Finished request cmpl-0.",
        "Avg prompt throughput: 12.0 tokens/s, Running: 9 reqs",
        "INFO:     Started server process [12877]",
        "{\"name\": \"app\", \"message\": \"Engine 000: Avg prompt throughput: 1.0 tokens/s\"}",
        "",
        "(",
    ] {
        assert!(ignores(parse, line), "{line}");
    }
}

#[test]
fn a_damaged_number_refuses_the_whole_line() {
    let whole = line(&format!("Engine 000: {LIST}"));
    for last in ["6392.", "6392.1 tok", "Running: 200 r", "76.2", "Deferred: 2 re"] {
        let end = whole.find(last).unwrap() + last.len();
        assert!(refuses(parse, cut(&whole, end)), "{}", cut(&whole, end));
    }
    assert!(refuses(parse, &whole.replace("200 reqs", "many reqs")));
    assert!(refuses(parse, &line("Engine 000: Iteration(5): 4 context requests, 926 context tok")));
    assert!(refuses(parse, "{\"name\": \"vllm.x\", \"message\": \"Engine 000: Avg"));
}

proptest! {
    #[test]
    fn items_come_and_go_in_any_order(mut order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(), keep in 0..=5_usize, unknown in 0..6_usize) {
        let items = ["Running: 1 reqs", "Waiting: 2 reqs", "GPU KV cache usage: 3.0%", "Prefix cache hit rate: nan%", "MM cache hit rate: 4.0%"];
        order.truncate(keep);
        let mut list: Vec<&str> = order.iter().map(|at| items[*at]).collect();
        list.insert(unknown.min(list.len()), "KV fetch: 3 waiting to start, 4 in progress");
        let message = format!("Avg prompt throughput: 5.0 tokens/s, {}", list.join(", "));
        let expected = 1 + order.iter().filter(|at| **at != 3).count();
        prop_assert_eq!(expected, told(parse, &line(&message)).len());
    }
}
