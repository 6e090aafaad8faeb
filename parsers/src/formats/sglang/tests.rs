use super::*;
use crate::formats::testing::{cut, ignores, refuses, told, told_about};

const DECODE: &str = "[2026-11-20 20:00:09.123 DP1 TP0] Decode batch [40], #running-req: 113, #token: 281270, token usage: 0.29, accept len: 2.09, accept rate: 0.93, cuda graph: True, gen throughput (token/s): 7839.43, #queue-req: 12, est. read BW (GB/s per GPU): 2652.31";
const FINISHED: &str = r#"[2026-11-20 22:00:01] {"timestamp": "2026-11-20T22:00:01.922800", "event": "request.finished", "rid": "d939", "obj": {"rid": "d939", "text": "\"event\": {"}, "out": {"meta_info": {"finish_reason": {"type": "length", "length": 199}, "prompt_tokens": 676, "completion_tokens": 199, "cached_tokens": 338, "queue_time": 0.194, "first_token_latency": 2.12, "e2e_latency": 3.75}}}"#;

#[test]
fn a_decode_line_tells_what_the_server_shows() {
    let expected = [
        r#"sglang:num_running_reqs{dp_rank="1",tp_rank="0"} 113"#,
        r#"sglang:num_used_tokens{dp_rank="1",tp_rank="0"} 281270"#,
        r#"sglang:token_usage{dp_rank="1",tp_rank="0"} 0.29"#,
        r#"sglang:spec_accept_length{dp_rank="1",tp_rank="0"} 2.09"#,
        r#"sglang:spec_accept_rate{dp_rank="1",tp_rank="0"} 0.93"#,
        r#"sglang:gen_throughput{dp_rank="1",tp_rank="0"} 7839.43"#,
        r#"sglang:num_queue_reqs{dp_rank="1",tp_rank="0"} 12"#,
    ];
    assert_eq!(expected, *told(parse, DECODE));
    assert!(recognises(DECODE));
    assert!(
        told_about(parse, DECODE).iter().all(|(time, _)| time.is_some_and(|time| time.millisecond == 123))
    );
}

#[test]
fn a_prefill_line_counts_its_tokens() {
    let line = "[2026-11-20 19:00:13] Prefill batch, #new-seq: 10, #new-token: 1500, #cached-token: 500, token usage: 0.11, #running-req: 142, #queue-req: 88, #pending-token: 18568, cuda graph: True, input throughput (token/s): 19465.05";
    let told = told(parse, line);
    for expected in [
        r#"sglang:realtime_tokens_total{mode="prefill_compute"} 1500"#,
        r#"sglang:realtime_tokens_total{mode="prefill_cache"} 500"#,
        "sglang:cache_hit_rate 0.25",
        "sglang:prompt_tokens_per_second 19465.05",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
    assert_eq!(7, told.len());
}

#[test]
fn lines_of_2024_are_read() {
    for (line, values) in [
        (
            "[2026-11-20 21:00:01 TP0] Decode batch, #running-req: 154, #token: 656115, token usage: 0.67, gen throughput (token/s): 5450.79, #queue-req: 1, ",
            5,
        ),
        (
            "[2024-09-20 21:00:01 TP0] Decode batch. #running-req: 154, #token: 656115, token usage: 0.67, gen throughput (token/s): 5450.79, #queue-req: 1",
            5,
        ),
        (
            "[2024-09-20 21:00:01 TP0] Prefill batch. #new-seq: 1, #new-token: 6, #cached-token: 2, cache hit rate: 1.32%, token usage: 0.00, #running-req: 0, #queue-req: 0",
            6,
        ),
    ] {
        let told = told(parse, line);
        assert_eq!(values, told.len(), "{told:?}");
        assert!(recognises(line));
    }
}

#[test]
fn hybrid_pools_and_split_servers_have_items_of_their_own() {
    let line = "[2026-11-20 20:00:09 TP0 EP3] Decode batch, #running-req: 1, #full token: 5, full token usage: 0.50, #swa token: 2, swa token usage: 0.25, mamba num: 1, mamba usage: 0.10, #prealloc-req: 3, #transfer-req: 4, #retracted-req: 0, cuda graph: False, gen throughput (token/s): 1.50, #queue-req: 0";
    let told = told(parse, line);
    assert_eq!(9, told.len(), "{told:?}");
    assert!(told.contains(&r#"sglang:swa_token_usage{tp_rank="0",moe_ep_rank="3"} 0.25"#.to_owned()));
}

#[test]
fn a_finished_request_is_told_with_its_id() {
    let expected = [
        "sglang:num_requests_total 1",
        "sglang:prompt_tokens_total 676",
        "sglang:generation_tokens_total 199",
        "sglang:cached_tokens_total 338",
        "sglang:e2e_request_latency_seconds 3.75",
        "sglang:time_to_first_token_seconds 2.12",
        "sglang:queue_time_seconds 0.194",
    ];
    assert_eq!(expected, *told(parse, FINISHED));
    let alone = FINISHED.split_once("] ").unwrap().1;
    assert_eq!(expected, *told(parse, alone));
    assert!(recognises(FINISHED) && recognises(alone));
    let about = told_about(parse, FINISHED);
    assert!(about.iter().all(|(time, id)| id.as_deref() == Some("d939") && time.unwrap().millisecond == 922));
    let less = FINISHED.replace("\"queue_time\": 0.194, \"first_token_latency\": 2.12, ", "");
    assert_eq!(5, told(parse, &less).len());
    assert_eq!(
        ["sglang:num_aborted_requests_total 1"],
        *told(parse, &FINISHED.replace("\"length\", ", "\"abort\", "))
    );
    assert!(ignores(parse, &FINISHED.replace("request.finished", "request.received")));
}

#[test]
fn a_time_line_is_told_in_every_mode() {
    let line = "[2026-11-20 22:00:01] ReqTimeStats(rid=42a0, input_len=879, cached_input_len=0, output_len=27, attempts=1, type=unified): queue_duration=155.40ms, forward_duration=982.46ms, entry_time=2026-11-20 22:00:01.569";
    let expected = [
        "sglang:request_time_queue_seconds 0.1554",
        "sglang:request_time_forward_seconds 0.98246",
        "sglang:request_time_input_tokens 879",
        "sglang:request_time_output_tokens 27",
    ];
    assert_eq!(expected, *told(parse, line));
    assert_eq!(Some("42a0"), told_about(parse, line)[0].1.as_deref());
    let split = "[2025-11-20 22:00:01] Req Time Stats(rid=42a0, input len=879, output len=27, type=prefill): bootstrap_queue_duration(3.00ms) = alloc_wait(1.00ms) + bootstrap(1.00ms) + other(1.00ms); queue_duration=155.40ms, forward_duration=982.46ms, start=1.000";
    assert_eq!(expected, *told(parse, split));
}

#[test]
fn access_lines_count_with_bounded_labels() {
    let line =
        r#"[2026-11-20 21:00:25] INFO:     127.0.0.1:56233 - "POST /generate HTTP/1.1" 400 Bad Request"#;
    let expected = r#"sglang:http_responses_total{endpoint="/generate",status_code="400",method="POST"} 1"#;
    assert_eq!([expected], *told(parse, line));
    assert!(!recognises(line), "other servers' loggers write the same");
}

#[test]
fn damaged_lines_are_refused_and_others_passed_over() {
    for line in [
        "[2026-11-20 20:00:09] Decode batch, #running-req: 113, token usa",
        "[2026-11-20 20:00:09] Decode batch, #running-req: 113, token usage: 0.",
        "[2026-11-20 20:00:09] Decode batch, #running-req: x",
        "[2026-11-20 20:00:09] Prefill batch, #new-token: x, #running-req: 3",
        "[2026-11-20 22:00:01] ReqTimeStats(rid=42a0, input_len=879, output_len=27, type=unified): queue_duration=155.40ms, forward_duration=982.",
        cut(FINISHED, FINISHED.len() - 9),
    ] {
        assert!(refuses(parse, line), "{line}");
    }
    for line in [
        "",
        "[2026-11-20 20:00:09] Load weight begin. avail mem=78.58 GB",
        "[2026-11-20 20:00:09 TP0] Capture cuda graph end. Time elapsed: 4.51 s",
        "prompt: Decode batch, #running-req: 1",
        "[2026-11-20 20:00:09] Receive: obj=GenerateReqInput(text='Decode batch, #running-req: 1')",
    ] {
        assert!(ignores(parse, line), "{line}");
    }
}
