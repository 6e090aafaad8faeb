use super::*;
use crate::formats::testing::summed_up as told;

const INFO_OF_TOY: &str = " | Additional Info: {'pipeline_name': 'toy'}";

fn check(entry: &str, expected: &str) {
    assert_eq!(expected, told(parse, &format!("20/11/2026 17:50:06:475835 Identifier: {entry}")), "{entry}");
}

#[test]
fn the_name_is_the_identifier_and_the_type_follows_from_it() {
    let time = "@2026-11-20T17:50:06.475";
    for (identifier, category, name) in [
        (
            "toy/prediction_latency/pre_process_seconds",
            "system",
            "deepsparse_toy__prediction_latency__pre_process_seconds",
        ),
        ("Toy-1/pipeline_inputs.xs__identity", "data", "deepsparse_toy__1__pipeline_inputs__xs__identity"),
        (
            "toy/request_details/successful_request_count",
            "system",
            "deepsparse_toy__request_details__successful_request_count_total",
        ),
        (
            "toy/resource_utilization/cpu_utilization_percent",
            "system",
            "deepsparse_toy__resource_utilization__cpu_utilization_percent",
        ),
        ("toy//é", "data", "deepsparse_toy______"),
    ] {
        check(
            &format!("{identifier} | Category: {category} | Logged Data: 1.5{INFO_OF_TOY}"),
            &format!("{name}{{pipeline_name=toy}} 1.5 {time}"),
        );
        // Up to 1.5 nothing follows the data.
        check(
            &format!("{identifier} | Category: {category} | Logged Data: 1.5"),
            &format!("{name}{{}} 1.5 {time}"),
        );
    }
}

#[test]
fn types_are_those_of_the_servers_own_logger() {
    for (identifier, category, expected) in [
        ("p/prediction_latency/total_inference_seconds", "system", Some(Kind::Histogram)),
        ("p/request_details/input_batch_size", "system", Some(Kind::Histogram)),
        ("p/request_details/successful_request_count", "system", Some(Kind::Counter)),
        ("p/request_details/response_message", "system", None),
        ("p/resource_utilization/memory_utilization_percent", "system", Some(Kind::Gauge)),
        ("p/inference_details/num_cores_total", "system", None),
        ("p/prediction_latency/x", "data", Some(Kind::Summary)),
    ] {
        let entry = Entry { identifier, category, data: "1", pipeline: None, is_tag: false };
        assert_eq!(expected, kind(identifier, &entry), "{identifier}");
    }
}

#[test]
fn a_dictionary_is_one_metric_for_each_number() {
    check(
        &format!(
            "toy/x__f | Category: data | Logged Data: {{'a': 1, 'b': {{'c': 2}}, 'd': 'e'}}{INFO_OF_TOY}"
        ),
        "deepsparse_toy__x__f__a{pipeline_name=toy} 1; deepsparse_toy__x__f__b__c{pipeline_name=toy} 2 \
         @2026-11-20T17:50:06.475",
    );
}

#[test]
fn only_numbers_are_measured() {
    for data in ["None", "a text", "'3'", "[1, 2]", "[[0.1 0.2]", "", "nan", "{'a': None}", "Identifier: x"] {
        check(&format!("toy/x | Category: data | Logged Data: {data}{INFO_OF_TOY}"), "ignored");
    }
    for line in ["", " [0.3 0.4]]", "DeepSparse, Copyright 2021", "20/11/2026 17:50:06:475835 x"] {
        assert_eq!("ignored", told(parse, line), "{line}");
    }
}

#[test]
fn damaged_lines_are_refused() {
    for (entry, expected) in [
        ("toy/prediction_l", "malformed: expected \" | Category: \" after the identifier at column 40"),
        ("toy/x | Category: sys", "malformed: expected \" | Logged Data: \" after the category at column 58"),
        (
            "toy/x | Category: data | Logged Data: 0.1 | Additional In",
            "bad_value: expected a number as Python prints it at column 78",
        ),
        (
            "toy/x | Category: data | Logged Data: 1.2.3",
            "bad_value: expected a number as Python prints it at column 78",
        ),
    ] {
        check(entry, expected);
    }
}

#[test]
fn an_unreadable_time_leaves_the_value() {
    let line = "20/13/2026 17:50:06:475835 Identifier: a/x | Category: data | Logged Data: 1";
    assert_eq!("deepsparse_a__x{} 1", told(parse, line));
}

#[test]
fn the_newer_logger_is_read_behind_any_prefix() {
    let expected = "deepsparse_latency_seconds{pipeline_name=latency_seconds} 0.25";
    for line in [
        "INFO:root:[system.latency_seconds.identity]: 0.25",
        "2026-11-20 17:50:06,475 root INFO [system.latency_seconds.identity]: 0.25",
        "[system.latency_seconds.None][⏱️2026-11-20]: 0.25",
    ] {
        assert_eq!(expected, told(parse, line), "{line}");
    }
    let told = |line| told(parse, line);
    assert_eq!(
        "deepsparse_op__x{pipeline_name=op.(x} 3",
        told("INFO:root:[metric.op.(x.max]: 3"),
        "a run of characters is one gap"
    );
    for line in
        ["INFO:root:[system.cores.identity]: 4", "INFO:root:[metric.op.max]: [1, 2]", "see[system.a.b]: 1"]
    {
        assert_eq!("ignored", told(line), "{line}");
    }
}

#[test]
fn only_deepsparse_is_recognised() {
    for line in [
        "20/11/2026 17:50:06:475835 Identifier: toy/x | Category: system | Logged Data: None",
        "INFO:deepsparse.loggers.registry.loggers.prometheus_logger:Prometheus client: started. Using port: 16101.",
        "INFO:root:[system.latency_seconds.identity]: 0.009779767000054562",
        "DeepSparse, Copyright 2021-present / Neuralmagic, Inc. version: 1.8.0 COMMUNITY",
    ] {
        assert!(recognises(line), "{line}");
    }
    for line in ["INFO:root:started", "20/11/2026 17:50:06:475835 started", "[system.a.b]: 1", ""] {
        assert!(!recognises(line), "{line}");
    }
}
