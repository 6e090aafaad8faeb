//! The page for people in a real browser, and the JSON that it is drawn from.

use crate::support::browser::Page;
use crate::support::http;
use crate::support::lines::{append, model, next_time, requests};
use crate::support::process::{Server, eventually, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the pictures go, if they are to be kept.
const PICTURES: &str = "INFEROMETER_SCREENSHOTS";

/// What one request writes.
fn request(name: &str, microseconds: u32) -> String {
    let line = |metric: &str| {
        let labels = format!("model_name:{name},model_version:default");
        format!("{} - {metric}|#{labels}|#hostname:h,timestamp:1795196880\n", next_time())
    };
    line("ts_inference_requests_total.Count:1.0")
        + &line(&format!("ts_inference_latency_microseconds.Microseconds:{microseconds}.0"))
        + &line("ts_queue_latency_microseconds.Microseconds:2500.0")
}

/// The same in `access_log.log`.
fn access(name: &str, code: u32) -> String {
    format!("{} - /127.0.0.1:5 \"POST /predictions/{name} HTTP/1.1\" {code} 12\n", next_time())
}

struct Scene {
    folder: tempfile::TempDir,
    server: Server,
}

impl Scene {
    fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene_lines = requests(3) + &request("resnet18", 30_000) + &request("bert", 700_000);
        append(&folder.path().join("ts_metrics.log"), scene_lines);
        append(&folder.path().join("access_log.log"), access("resnet18", 200));
        let server = Server::ready(folder.path(), arguments);
        Self { folder, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self) -> String {
        format!("http://{}/", self.server.address)
    }

    fn status(&self, query: &str) -> Value {
        let reply = http::get(self.server.address, &format!("/api/v1/status{query}"));
        assert_eq!((200, Some("application/json")), (reply.status, reply.header("content-type")));
        serde_json::from_str(&reply.body).unwrap()
    }

    /// The page, once it has drawn models.
    fn page(&self) -> Page {
        let mut page = Page::open(&self.url());
        wait(&mut page, "document.querySelectorAll('#model-table tbody tr').length >= 2");
        page
    }
}

/// Waits until an expression is true in the page.
#[track_caller]
fn wait(page: &mut Page, expression: &str) {
    eventually(expression, || (page.evaluate(expression) == json!(true)).then_some(()));
}

/// The texts of a table's cells, row by row.
fn cells(page: &mut Page, table: &str) -> Vec<Vec<String>> {
    let rows = page.evaluate(&format!(
        "[...document.querySelectorAll('{table} tbody tr')].map((row) => \
         [...row.children].map((cell) => (cell.querySelector('span') || cell).textContent))"
    ));
    serde_json::from_value(rows).unwrap()
}

/// Types into the search field and waits for what is found.
fn search(page: &mut Page, words: &str) -> Vec<Vec<String>> {
    let words = json!(words);
    page.evaluate(&format!(
        "{{ const field = document.getElementById('words'); field.scrollIntoView(); field.value = {words}; \
         field.dispatchEvent(new Event('input', {{bubbles: true}})); }}"
    ));
    wait(page, &format!("document.getElementById('series-table').dataset.words === {words}"));
    cells(page, "#series-table")
}

/// No error on the console, and nothing that left the page's own server.
#[track_caller]
fn assert_quiet(page: &Page, scene: &Scene) {
    assert_eq!(Vec::<String>::new(), page.complaints());
    let requested = page.requested();
    let origin = scene.url();
    let is_own = |url: &&String| url.starts_with(&origin) || url.starts_with("data:");
    assert_eq!(Vec::<&String>::new(), requested.iter().filter(|url| !is_own(url)).collect::<Vec<_>>());
    assert!(requested.iter().any(|url| url.contains("/api/v1/status")), "{requested:?}");
}

#[test]
fn values_on_the_page_are_those_of_a_scrape() {
    let scene = Scene::new(&[]);
    append(&scene.path("model_metrics.log"), model("Half.Count:0.5", "ModelName:m,Level:Model"));
    append(&scene.path("ts_metrics.log"), "what is this?\n");
    eventually("all lines are read", || {
        scene.server.value("Half", &[("ModelName", "m"), ("Level", "Model"), ("Hostname", "h")])
    });
    eventually("the bad line is read", || {
        let labels = [("source", "ts_metrics.log"), ("outcome", "rejected")];
        scene.server.value("inferometer_lines_total", &labels).filter(|count| *count > 0.0)
    });
    let mut page = scene.page();
    let body = scene.server.scrape();
    // Log families keep their values while nobody writes. A histogram is one row on the page.
    let log = http::get(scene.server.address, "/api/v1/status?series=&limit=500").body;
    let log: Value = serde_json::from_str(&log).unwrap();
    let mut compared = 0;
    for row in log["series"]["rows"].as_array().unwrap() {
        let (name, labels) = (row["name"].as_str().unwrap(), row["labels"].as_str().unwrap());
        let is_still = |name: &str| {
            !["process_", "inferometer_", "host_", "cgroup_"].iter().any(|own| name.starts_with(own))
        };
        if !is_still(name) {
            continue;
        }
        let shown: f64 = row["value"].as_str().unwrap().parse().unwrap();
        let sample = if row["type"] == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let pairs: Vec<(&str, &str)> = labels
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        assert_eq!(body.value(&sample, &pairs), Some(shown), "{name}{{{labels}}}");
        compared += 1;
    }
    assert!(compared >= 10, "{compared} series");
    // And the page shows what the JSON says.
    let rows = search(&mut page, "half modelname");
    assert_eq!(["Half", "ModelName=\"m\",Level=\"Model\",Hostname=\"h\"", "0.5", "untyped"], rows[0][..4]);
    let rows = search(&mut page, "ts_inference_latency_seconds bert");
    assert_eq!("1 · sum 0.7", rows[0][2]);
    let of = |labels: &[(&str, &str)]| body.value("ts_inference_latency_seconds_count", labels);
    assert_eq!(Some(1.0), of(&[("model_name", "bert"), ("model_version", "default")]));
    let models = cells(&mut page, "#model-table");
    let by_name =
        |name: &str| models.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{models:?}"));
    assert_eq!("1", by_name("resnet18")[9], "requests in all");
    let sources = cells(&mut page, "#source-table");
    let source = sources.iter().find(|row| row[0] == "ts_metrics.log").unwrap();
    assert_eq!(("torchserve", "followed", "0 B"), (&*source[1], &*source[2], &*source[3]));
    let lines = |outcome| {
        scene.server.value("inferometer_lines_total", &[("source", "ts_metrics.log"), ("outcome", outcome)])
    };
    let all: f64 =
        ["parsed", "ignored", "rejected", "torn"].iter().filter_map(|outcome| lines(outcome)).sum();
    assert_eq!(all.to_string(), source[6]);
    assert!(source[8].ends_with(" 1"), "rejects by reason: {}", source[8]);
    assert!(
        page.evaluate("document.getElementById('hint-list').textContent").as_str().unwrap().contains("Half")
    );
    assert!(
        page.evaluate("document.querySelector('.yaml code').textContent")
            .as_str()
            .unwrap()
            .contains("types: {Half: counter}")
    );
    assert_quiet(&page, &scene);
}

#[test]
fn copied_promql_fits_the_type() {
    let scene = Scene::new(&[]);
    let mut page = scene.page();
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})");
    for (words, expected) in [
        ("requests2xx", "rate(Requests2XX{Level=\"Host\",Hostname=\"h\"}[5m])"),
        (
            "ts_queue_latency_seconds bert",
            "histogram_quantile(0.95, sum by (le) (rate(ts_queue_latency_seconds_bucket{model_name=\"bert\",\
             model_version=\"default\"}[5m])))",
        ),
        ("inferometer_catching_up", "inferometer_catching_up"),
    ] {
        search(&mut page, words);
        page.evaluate("document.querySelector('#series-table tbody button').click()");
        wait(&mut page, "document.getElementById('said').textContent.startsWith('Copied')");
        assert_eq!(json!(expected), page.evaluate("window.copied"), "{words}");
    }
    assert_quiet(&page, &scene);
}

#[test]
fn names_and_lines_of_a_log_are_text_and_never_run() {
    let script = "<script>window.ran=1</script>";
    let image = "\"><img src=x onerror=window.ran=2>";
    let folder = tempfile::tempdir().unwrap();
    let file = "<img src=x onerror=window.ran=3>_metrics.log";
    append(&folder.path().join(file), request(script, 5_000) + &request(image, 5_000));
    append(&folder.path().join(file), format!("{}\n", "</pre><script>window.ran=4</script>"));
    append(
        &folder.path().join(file),
        model("<b>Bold</b>.Count:1.0", &format!("ModelName:{image},Level:Model")),
    );
    append(
        &folder.path().join(file),
        model("Hits.<i>unit</i>:1.0", &format!("ModelName:{script},Level:Model")),
    );
    let server = Server::ready(&folder.path().join(file), &["--web.show-lines", "--format", "torchserve"]);
    let scene = Scene { folder, server };
    let mut page = scene.page();
    let names: BTreeSet<String> =
        cells(&mut page, "#model-table").into_iter().map(|mut row| row.remove(0)).collect();
    assert!(names.contains(script) && names.contains(image), "{names:?}");
    let rows = search(&mut page, "hits modelname");
    assert!(rows[0][1].contains(script), "{rows:?}");
    search(&mut page, "img");
    page.evaluate("{ const select = document.getElementById('model'); select.selectedIndex = 1; select.dispatchEvent(new Event('change')); }");
    wait(&mut page, "document.querySelector('#lines pre') !== null");
    assert!(
        page.evaluate("document.querySelector('#lines pre').textContent")
            .as_str()
            .unwrap()
            .contains("</pre><script>")
    );
    assert_eq!(
        json!([1, 0, 0]),
        page.evaluate("['script', 'img', 'b'].map((tag) => document.getElementsByTagName(tag).length)")
    );
    assert_eq!(json!("undefined"), page.evaluate("typeof window.ran"));
    // Should a mistake ever make markup of a name, the policy still lets nothing run.
    let tried = "{ let refused = 0; try { document.body.innerHTML = '<img src=x onerror=window.ran=5>'; } catch { refused = 1; } refused }";
    assert_eq!(json!(1), page.evaluate(tried));
    let body = http::get(scene.server.address, "/api/v1/status?series=").body;
    assert!(!body.contains('<') && !body.contains('>'), "{body}");
}

#[test]
fn lines_of_the_logs_are_shown_only_if_asked_for() {
    let secret = "what users have sent";
    for (arguments, is_shown) in [(&["--web.show-lines"][..], true), (&[][..], false)] {
        let scene = Scene::new(arguments);
        append(&scene.path("ts_metrics.log"), format!("{secret}\n"));
        eventually("the line is read", || {
            let labels = [("source", "ts_metrics.log"), ("outcome", "rejected")];
            scene.server.value("inferometer_lines_total", &labels).filter(|count| *count == 1.0)
        });
        let status = eventually("the status is newer", || {
            let status = scene.status("?series=");
            (status.to_string().contains(secret) == is_shown).then_some(status)
        });
        assert_eq!(is_shown, status["program"]["shows_lines"] == json!(true));
    }
}

#[test]
fn charts_move_while_lines_are_appended_and_stop_when_nobody_looks() {
    let scene = Scene::new(&[]);
    let mut page = scene.page();
    let drawn = "document.querySelector('#model-charts .plot')?.getAttribute('d') || ''";
    let mut shapes = BTreeSet::new();
    eventually("three shapes of the chart", || {
        append(&scene.path("ts_metrics.log"), request("resnet18", 30_000));
        shapes.insert(page.evaluate(drawn).to_string());
        (shapes.len() >= 3).then_some(())
    });
    let rate = "document.querySelector('#model-table tbody td:nth-child(3) span').textContent";
    eventually("a rate", || {
        append(&scene.path("ts_metrics.log"), request("resnet18", 30_000));
        page.evaluate(rate).as_str().and_then(|rate| rate.parse::<f64>().ok()).filter(|rate| *rate > 0.0)
    });
    let p95 = page.evaluate("document.querySelector('#model-table tbody td:nth-child(6) span').textContent");
    assert!(p95.as_str().unwrap().ends_with(" ms"), "{p95}");
    // Only what is new is sent.
    let whole = scene.status("");
    let cursor = whole["history"]["cursor"].as_str().unwrap();
    let newer = scene.status(&format!("?since={cursor}"));
    assert_eq!(
        (json!(true), json!(false)),
        (whole["history"]["is_whole"].clone(), newer["history"]["is_whole"].clone())
    );
    let points = |status: &Value| {
        status["groups"]["models"]["rows"][0]["charts"]["p95_seconds"].as_array().unwrap().len()
    };
    assert!(points(&whole) >= 2 && points(&newer) <= 1, "{} and {}", points(&whole), points(&newer));
    // The keyboard moves along a chart, and the words follow.
    page.evaluate("document.querySelector('#model-charts svg').focus()");
    page.press("ArrowLeft");
    wait(&mut page, "document.querySelector('#model-charts .cross') !== null");
    wait(
        &mut page,
        "/now [^–]+, least/.test(document.querySelector('#model-charts svg').getAttribute('aria-label'))",
    );
    // Who does not look asks for nothing.
    page.evaluate("{ Object.defineProperty(document, 'hidden', {value: true, configurable: true}); \
        document.dispatchEvent(new Event('visibilitychange')); window.asked = 0; \
        const fetch = window.fetch; window.fetch = (...all) => { window.asked += 1; return fetch(...all); }; }");
    page.evaluate("new Promise((done) => setTimeout(done, 5000))");
    assert_eq!(json!(0), page.evaluate("window.asked"));
    page.evaluate("{ delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }");
    wait(&mut page, "window.asked > 0");
    assert_quiet(&page, &scene);
}

#[test]
fn a_server_that_is_gone_is_said_and_one_that_is_back_is_shown() {
    let mut scene = Scene::new(&[]);
    let mut page = scene.page();
    wait(&mut page, "document.getElementById('state').textContent === 'following'");
    assert_quiet(&page, &scene);
    scene.server.terminate();
    wait(&mut page, "document.getElementById('state').textContent === 'connection lost'");
    wait(&mut page, "!document.getElementById('lost').hidden");
    let mut command = run();
    command.arg(scene.folder.path()).args(["--web.listen-address", &scene.server.address.to_string()]);
    scene.server = Server::launch(command).until_ready();
    wait(&mut page, "document.getElementById('state').textContent === 'following'");
    wait(&mut page, "document.getElementById('lost').hidden");
}

#[test]
fn a_status_that_has_not_changed_is_not_sent_again() {
    let scene = Scene::new(&[
        "--no-collector.host",
        "--no-collector.cgroup",
        "--no-collector.worker",
        "--no-collector.gpu",
    ]);
    let address = scene.server.address;
    eventually("304 for what is known", || {
        let reply = http::get(address, "/api/v1/status");
        let tag = reply.header("etag").unwrap().to_owned();
        let again =
            http::request_with(address, "GET", "/api/v1/status", &format!("If-None-Match: {tag}\r\n"))
                .unwrap();
        (again.status == 304 && again.body.is_empty()).then_some(())
    });
    let packed = http::request_with(address, "GET", "/api/v1/status", "Accept-Encoding: gzip\r\n").unwrap();
    assert_eq!((200, Some("gzip")), (packed.status, packed.header("content-encoding")));
    assert_eq!(405, http::request(address, "POST", "/api/v1/status").unwrap().status);
}

#[test]
fn all_controls_have_names_and_the_page_has_landmarks() {
    let scene = Scene::new(&["--web.show-lines"]);
    let mut page = scene.page();
    search(&mut page, "latency");
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let nodes: Vec<(String, String)> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["ignored"] != json!(true))
        .map(|node| {
            let text = |key: &str| node[key]["value"].as_str().unwrap_or_default().trim().to_owned();
            (text("role"), text("name"))
        })
        .collect();
    let nameless: Vec<&(String, String)> = nodes
        .iter()
        .filter(|(role, name)| {
            let needs_a_name =
                ["button", "link", "combobox", "searchbox", "img", "image", "table", "region", "navigation"];
            name.is_empty() && needs_a_name.contains(&role.as_str())
        })
        .collect();
    assert_eq!(Vec::<&(String, String)>::new(), nameless);
    for role in [
        "banner",
        "main",
        "contentinfo",
        "navigation",
        "search",
        "searchbox",
        "combobox",
        "table",
        "columnheader",
        "rowheader",
    ] {
        assert!(nodes.iter().any(|(known, _)| known == role), "no {role} in {nodes:?}");
    }
    let charts: Vec<&String> =
        nodes.iter().filter(|(role, _)| role == "img" || role == "image").map(|(_, name)| name).collect();
    assert!(charts.iter().any(|name| name.starts_with("Requests per second, last ")), "{charts:?}");
    let headings =
        page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((heading) => +heading.tagName[1])");
    let headings: Vec<u32> = serde_json::from_value(headings).unwrap();
    assert!(headings.windows(2).all(|pair| pair[1] <= pair[0] + 1), "no level is skipped: {headings:?}");
    assert_quiet(&page, &scene);
}

/// Texts with too little contrast (WCAG 2.1, 1.4.3), as they are drawn.
const PALE: &str = r#"(() => {
  const light = (color) => {
    const [r, g, b] = color.map((part) => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parts = (text) => text.match(/[\d.]+/g).map(Number);
  const back = (node) => {
    for (; node; node = node.parentElement) {
      const color = parts(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest(":disabled, script, svg")) continue;
    const style = getComputedStyle(node);
    if (style.fontSize === "0px") continue;
    const [a, b] = [light(parts(style.color).slice(0, 3)), light(back(node))].sort((a, b) => b - a);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.push(`${((a + 0.05) / (b + 0.05)).toFixed(2)}: ${walker.currentNode.textContent}`);
  }
  return [...new Set(pale)];
})()"#;

#[test]
fn it_fits_phones_and_wide_screens_in_light_and_dark() {
    let scene = Scene::new(&["--web.show-lines"]);
    append(&scene.path("model_metrics.log"), model("Half.Count:0.5", "ModelName:m,Level:Model"));
    append(&scene.path("ts_metrics.log"), "what is this?\n");
    let pictures = std::env::var_os(PICTURES).map(PathBuf::from);
    let mut page = match std::env::var("INFEROMETER_PAGE") {
        // Another server's page, to have a look at it.
        Ok(url) => Page::open(&url),
        Err(_) => scene.page(),
    };
    wait(&mut page, "document.querySelectorAll('#model-table tbody tr').length >= 2");
    search(&mut page, "");
    for (width, height) in [(390, 844), (1280, 900), (1920, 1080)] {
        for scheme in ["light", "dark"] {
            page.size(width, height);
            page.scheme(scheme);
            page.evaluate("scrollTo(0, 0)");
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
            let overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth");
            assert!(
                overflow.as_i64().is_some_and(|overflow| overflow <= 0),
                "{width} px, {scheme}: {overflow}"
            );
            assert_eq!(json!([]), page.evaluate(PALE), "{width} px, {scheme}");
            let picture = page.screenshot(true);
            assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
            keep(pictures.as_deref(), &format!("{width}-{scheme}.png"), &picture);
            if width != 390 {
                keep(pictures.as_deref(), &format!("{width}-{scheme}-window.png"), &page.screenshot(false));
            }
        }
    }
    assert_eq!(Vec::<String>::new(), page.complaints());
}

fn keep(folder: Option<&Path>, name: &str, picture: &[u8]) {
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(name), picture).unwrap();
    }
}
