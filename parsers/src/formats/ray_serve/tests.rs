use super::*;
use crate::formats::testing::{cut, ignores, refuses, told, told_about};

const ID: &str = "8f71df55-9617-486a-b370-9d209c00ecd0";

fn proxy(message: &str) -> String {
    format!("INFO 2026-11-20 17:48:57,841 proxy 10.0.0.12 {ID} -- {message}")
}

#[test]
fn a_proxys_line_is_a_request() {
    let line = proxy("POST /api/translate/{n} 422 80.2ms");
    let expected = [
        r#"ray_serve_num_http_requests_total{method="POST",route="/api/translate/{n}",status_code="422"} 1"#,
        r#"ray_serve_http_request_latency_ms{method="POST",route="/api/translate/{n}",status_code="422"} 80.2"#,
        r#"ray_serve_num_http_error_requests_total{method="POST",route="/api/translate/{n}",error_code="422"} 1"#,
    ];
    assert_eq!(expected, *told(parse, &line));
    assert!(recognises(&line));
    let about = told_about(parse, &line);
    assert!(
        about
            .iter()
            .all(|(time, id)| time.is_some_and(|time| time.millisecond == 841) && id.as_deref() == Some(ID))
    );
}

#[test]
fn a_path_that_nothing_matched_is_no_label() {
    for line in [
        "INFO 2026-11-20 17:48:59,491 proxy 10.0.0.12  -- GET  404 8.7ms",
        "INFO 2026-11-20 17:48:59,491 proxy 10.0.0.12 -- GET /attack/1 404 8.7ms",
    ] {
        let expected = r#"ray_serve_num_http_requests_total{method="GET",route="",status_code="404"} 1"#;
        assert_eq!(expected, told(parse, line)[0], "{line}");
    }
    assert!(told(parse, &proxy("GET /api 404 44.6ms"))[0].contains(r#"route="/api""#));
    assert!(
        told(parse, &proxy("127.0.0.1:5 GET /api 200 44.6ms"))[0].contains(r#"method="GET",route="/api""#)
    );
}

#[test]
fn a_replicas_line_is_a_query() {
    for (message, family) in [
        ("CALL __call__ OK 76.5ms", "request"),
        ("CALL __call__ ERROR 76.5ms", "error"),
        ("GET /api/slow CANCELLED 76.5ms", "error"),
        ("POST /api 500 76.5ms", "error"),
        ("POST /api 404 76.5ms", "request"),
    ] {
        let line = format!("INFO 2026-11-20 17:48:57,733 default_Translator lcbhf98l {ID} -- {message}");
        let told = told(parse, &line);
        assert_eq!(2, told.len());
        assert!(told[0].starts_with("ray_serve_deployment_processing_latency_ms{application=\"default\",deployment=\"Translator\",replica=\"lcbhf98l\""), "{told:?}");
        assert!(told[0].ends_with(" 76.5"), "{told:?}");
        assert!(told[1].starts_with(&format!("ray_serve_deployment_{family}_counter_total")), "{told:?}");
        assert_eq!(message.starts_with("CALL"), !told[0].contains("route="), "{told:?}");
    }
}

#[test]
fn application_and_deployment_are_told_apart() {
    for (line, application, deployment) in [
        ("default_a_b lcb x -- CALL f OK 1.0ms", "default", "a_b"),
        ("my_app_Translator lcb x -- CALL f OK 1.0ms", "my_app", "Translator"),
        ("app_fn lcb x -- CALL f OK 1.0ms", "app", "fn"),
        ("Translator lcb x -- CALL f OK 1.0ms", "", "Translator"),
        ("my_app_fn my_app#fn#lcb x /r my_app replica.py:749 - __CALL__ OK 1.0ms", "my_app", "fn"),
    ] {
        let told = told(parse, &format!("INFO 2026-11-20 17:48:57,733 {line}"));
        let expected = format!("{{application={application:?},deployment={deployment:?},replica=\"lcb\"");
        assert!(told[0].contains(&expected), "{told:?}");
    }
    let line = "(ServeReplica:my_app:my_fn pid=6737, ip=10.0.222.50) INFO 2026-01-06 08:27:33,539 my_app_my_fn lcb x -- CALL f OK 2.1ms";
    assert!(told(parse, line)[0].contains(r#"application="my_app",deployment="my_fn""#));
}

#[test]
fn lines_of_2023_and_2024_are_read() {
    let proxy = "INFO 2023-09-05 11:20:31,423 http_proxy 10.0.1.5 1c62 /hello app1 http_proxy.py:1282 - GET 200 6.8ms";
    let expected = r#"ray_serve_num_http_requests_total{application="app1",method="GET",route="/hello",status_code="200"} 1"#;
    assert_eq!(expected, told(parse, proxy)[0]);
    let replica = "INFO 2023-09-05 11:20:31,423 app1_Model app1#Model#IeoKQE 1c62 /hello app1 replica.py:749 - __CALL__ OK 5.9ms";
    let expected = r#"ray_serve_deployment_processing_latency_ms{application="app1",deployment="Model",replica="IeoKQE",route="/hello"} 5.9"#;
    assert_eq!(expected, told(parse, replica)[0]);
    let between =
        "INFO 2024-05-01 16:44:44,111 default_Model rfssktej 1c62 replica.py:373 - CALL __call__ OK 5.9ms";
    assert!(told(parse, between)[0].contains(r#"replica="rfssktej"} 5.9"#));
    assert!([proxy, replica, between].into_iter().all(recognises));
}

#[test]
fn json_tells_the_same_and_an_exact_time() {
    let line = format!(
        r#"{{"asctime": "2026-11-20 17:50:48,736", "levelname": "INFO", "message": "CALL __call__ OK 47.7ms", "filename": "replica.py", "actor_name": "SERVE_REPLICA::my_app#my_fn#j6a1y999", "deployment": "my_app_my_fn", "replica": "j6a1y999", "component_name": "replica", "application": "my_app", "route": "/api/{{n}}", "request_id": "{ID}", "timestamp_ns": 1795197048736428172}}"#
    );
    let expected = r#"ray_serve_deployment_processing_latency_ms{application="my_app",deployment="my_fn",replica="j6a1y999",route="/api/{n}"} 47.7"#;
    assert_eq!(expected, told(parse, &line)[0]);
    assert!(recognises(&line));
    let (time, id) = told_about(parse, &line)[0].clone();
    let time = time.unwrap();
    assert_eq!(
        (2026, 11, 20, 17, 50, 48, 736),
        (time.year, time.month, time.day, time.hour, time.minute, time.second, time.millisecond)
    );
    assert_eq!((Some(0), Some(ID)), (time.offset_minutes, id.as_deref()));
    assert!(ignores(parse, &line.replace("replica.py", "app.py")), "an application's own text");
    assert!(refuses(parse, cut(&line, 300)));
}

#[test]
fn damaged_lines_are_refused_and_others_passed_over() {
    let whole = proxy("POST /api/translate/{n} 422 80.2ms");
    for end in whole.len() - 12..whole.len() {
        assert!(refuses(parse, cut(&whole, end)), "{}", cut(&whole, end));
    }
    for line in [
        "",
        "Traceback (most recent call last):",
        "ray.exceptions.RayTaskError(RuntimeError): \x1b[36mray::ServeReplica:default\x1b[39m (pid=1)",
        "INFO 2026-11-20 17:48:35,427 controller 12139 -- Controller starting (version='2.60.0').",
        "INFO 2026-11-20 17:48:35,427 proxy 10.0.0.12 -- Got updated endpoints: {}.",
        "INFO 2026-11-20 17:48:35,427 default_A b x -- GET ready",
        "INFO 2026-11-20 17:48:35,427 default_A b x -- cache miss n=7 extra_ms=3.25",
        "{\"message\": \"GET /x 200 1.0ms\"}",
    ] {
        assert!(ignores(parse, line), "{line}");
    }
}
