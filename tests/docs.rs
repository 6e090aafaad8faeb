//! What the documents say of the program is so: links lead somewhere, and metrics, flags, commands, messages and measured
//! figures that they name exist.

use crate::support::process::inferometer;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A document and its text.
struct Document {
    file: String,
    text: String,
}

impl Document {
    fn read(file: &str) -> Self {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file: file.to_owned(), text }
    }

    /// Its lines outside of code blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_fence && !is_code
        })
    }

    /// Its lines inside of code blocks of a language.
    fn code(&self, language: &str) -> Vec<&str> {
        let fence = format!("```{language}\n");
        let blocks = self.text.split(&*fence).skip(1);
        blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect()
    }

    /// Text in backquotes, also what a line break has parted.
    fn spans(&self) -> Vec<String> {
        let mut spans = Vec::new();
        let prose = self.prose().collect::<Vec<_>>().join("\n");
        for paragraph in prose.split("\n\n") {
            spans.extend(paragraph.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        }
        spans
    }

    /// The targets of its links and pictures.
    fn links(&self) -> impl Iterator<Item = &str> {
        let plain = self.prose().flat_map(|line| line.split('`').step_by(2));
        plain.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split(')').next())
    }

    /// The names by which its headings are linked to.
    fn anchors(&self) -> BTreeSet<String> {
        self.prose()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }
}

/// As GitHub and its kin make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// All documents of the checkout, but for those of fixtures and of the tests.
fn documents() -> Vec<Document> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"])
        .current_dir(root())
        .output()
        .expect("git starts");
    assert!(output.status.success());
    let names = String::from_utf8(output.stdout).unwrap();
    // A file that is listed may just have been deleted.
    let files = names.split_terminator('\0').filter(|file| root().join(file).exists());
    files.map(Document::read).collect()
}

/// The documents that are about the program.
fn manuals() -> Vec<Document> {
    let is_manual = |it: &Document| it.file.starts_with("deploy/") || !it.file.contains('/');
    documents().into_iter().filter(is_manual).collect()
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    assert!(documents.len() > 10, "{}", documents.len());
    let mut wrong = Vec::new();
    let mut checked = 0;
    for document in &documents {
        let folder = Path::new(&document.file).parent().unwrap();
        for link in document.links().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            checked += 1;
            let (path, heading) =
                link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
            let target = if path.is_empty() { PathBuf::from(&document.file) } else { folder.join(path) };
            let place = root().join(&target);
            let has_heading = |heading: &str| {
                let text = fs::read_to_string(&place).unwrap_or_default();
                Document { file: String::new(), text }.anchors().contains(heading)
            };
            if !place.exists() || heading.is_some_and(|heading| !has_heading(heading)) {
                wrong.push(format!("{}: {link}", document.file));
            }
        }
    }
    assert!(checked > 50, "{checked}");
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn headings_become_anchors_as_others_make_them() {
    for (heading, expected) in [
        ("What is exposed", "what-is-exposed"),
        ("TLS and passwords", "tls-and-passwords"),
        ("`/api/v1/status`", "apiv1status"),
        ("A node's `/var/log/pods`", "a-nodes-varlogpods"),
        ("GPU & host, ts_log", "gpu--host-ts_log"),
    ] {
        assert_eq!(expected, anchor(heading));
    }
}

/// The families of `deploy/metrics.md`, which a test writes from the code.
fn families() -> BTreeSet<String> {
    let page = Document::read("deploy/metrics.md");
    let mut names = BTreeSet::new();
    for line in page.text.lines() {
        let cells = line.strip_prefix("| `").into_iter().flat_map(|rest| rest.split('`').step_by(2).take(2));
        names.extend(cells.filter(|cell| !cell.contains([' ', '|'])).map(str::to_owned));
        if line.starts_with('`') {
            names.extend(line.split(" · ").map(|name| name.trim_matches('`').to_owned()));
        }
    }
    names
}

/// Whether a family is named so, a sample of it, or several by a pattern.
fn is_known(name: &str, families: &BTreeSet<String>) -> bool {
    if let Some(stem) = name.strip_suffix('*') {
        return families.iter().any(|family| family.starts_with(stem));
    }
    let stems = ["_bucket", "_count", "_sum", "_created"].iter().filter_map(|end| name.strip_suffix(end));
    stems.chain([name]).any(|stem| families.contains(stem))
}

/// The names in `a_{b,c}_d{label}`: `a_b_d` and `a_c_d`.
fn spelled_out(span: &str) -> Vec<String> {
    let Some((front, rest)) = span.split_once('{') else { return vec![span.to_owned()] };
    let Some((inside, back)) = rest.split_once('}') else { return vec![front.to_owned()] };
    let is_choice = inside.contains(',') && front.ends_with('_') && !inside.contains(['=', '…']);
    if !is_choice {
        return vec![front.to_owned()];
    }
    inside.split(',').flat_map(|word| spelled_out(&format!("{front}{word}{back}"))).collect()
}

#[test]
fn metrics_that_are_named_exist() {
    // Of TorchServe's clients and users, or made up for an example.
    const OTHERS: &[&str] =
        &["ts_log", "ts_metrics", "host_name", "ts_handler_preprocess", "model_name", "model_version"];
    let families = families();
    assert!(families.len() > 300, "{}", families.len());
    let ours = ["inferometer_", "host_", "cgroup_", "gpu_", "model_worker_", "ts_"];
    let mut wrong = Vec::new();
    let mut checked = 0;
    for document in manuals() {
        // The dashboards' and rules' own names have tests of their own.
        for name in document.spans().iter().flat_map(|span| spelled_out(span)) {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_*".contains(&byte));
            let is_ours = is_name && ours.iter().any(|prefix| name.starts_with(prefix));
            // `ts_*`, `gpu_*`: all of them.
            if !is_ours || OTHERS.contains(&&*name) || name.ends_with('_') {
                continue;
            }
            checked += 1;
            if !is_known(&name, &families) {
                wrong.push(format!("{}: {name}", document.file));
            }
        }
    }
    assert!(checked > 100, "{checked}");
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn names_are_spelled_out() {
    assert_eq!(vec!["a_b_d", "a_c_d"], spelled_out("a_{b,c}_d"));
    assert_eq!(vec!["a_total"], spelled_out("a_total{b,c}"));
    assert_eq!(vec!["a"], spelled_out("a{b=\"c\"}"));
}

/// The commands, by the program's own help.
fn commands() -> Vec<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let list = list.split("\n\n").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn help(arguments: &[&str]) -> String {
    let output = inferometer().args(arguments).arg("--help").output().unwrap();
    assert_eq!(Some(0), output.status.code(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All flags of all commands, with the negations that `--help` tells in words.
fn flags() -> BTreeSet<String> {
    let texts = commands().into_iter().filter(|command| command != "help").map(|command| help(&[&command]));
    let texts: Vec<String> = texts.chain([help(&[])]).collect();
    let words = texts.iter().flat_map(|text| text.split([' ', '\n', ',', ';', '[', '=', '<', '(', ')']));
    words.filter(|word| word.starts_with("--")).map(|word| word.trim_end_matches('.').to_owned()).collect()
}

/// The flag at the front of a text.
fn flag_of(text: &str) -> Option<&str> {
    text.strip_prefix("--")?;
    text.split([' ', '=', ',', '[', '…', ':', '\'', '"']).next().filter(|flag| flag.len() > 3)
}

#[test]
fn flags_that_are_named_exist() {
    // Docker's, kubectl's, Prometheus' and so on.
    const OTHERS: &[&str] = &[
        "--build-arg",
        "--cap-drop",
        "--config",
        "--enable-feature",
        "--features",
        "--foreground",
        "--gpus",
        "--group-add",
        "--gpu-memory-utilization",
        "--health-cmd",
        "--log-config",
        "--no-healthcheck",
        "--sbom",
        "--storage.tsdb.allow-overlapping-blocks",
        "--storage.tsdb.retention.time",
        "--long",
        "--log-opt",
        "--max-total-tokens",
        "--name",
        "--pid",
        "--privileged",
        "--read-only",
        "--release",
        "--revision",
        "--rm",
        "--target",
        "--test",
        "--tmpfs",
        "--user",
        "--volume",
    ];
    let flags = flags();
    assert!(flags.contains("--state.dir") && flags.contains("--collector.interval"), "{flags:?}");
    let mut wrong = Vec::new();
    let mut checked = 0;
    for document in manuals() {
        let spans = document.spans();
        let in_spans = spans.iter().filter_map(|span| flag_of(span)).filter(|flag| !OTHERS.contains(flag));
        // In a block, those on a line that begins with our name, or follows one.
        let shell = document.code("sh");
        let ours =
            shell.iter().filter(|line| line.split('|').any(|part| part.trim().starts_with("inferometer ")));
        let in_blocks = ours.flat_map(|line| {
            let own = line.split('|').find(|part| part.trim().starts_with("inferometer ")).unwrap();
            let own = own.split(" -- ").next().unwrap().split('#').next().unwrap();
            own.split_whitespace().filter_map(flag_of)
        });
        for flag in in_spans.chain(in_blocks) {
            checked += 1;
            if !flags.contains(flag) {
                wrong.push(format!("{}: {flag}", document.file));
            }
        }
    }
    assert!(checked > 60, "{checked}");
    assert_eq!(Vec::<String>::new(), wrong);
}

#[test]
fn commands_that_are_named_exist() {
    let commands = commands();
    let mut checked = 0;
    for document in manuals() {
        let spans = document.spans();
        let shell = document.code("sh");
        let lines = shell.iter().copied().chain(spans.iter().map(String::as_str));
        for part in lines.flat_map(|line| line.split('|')) {
            let Some(rest) = part.trim().strip_prefix("inferometer ") else { continue };
            let command = rest.split_whitespace().next().unwrap_or_default();
            if command.starts_with("--") {
                continue;
            }
            checked += 1;
            assert!(commands.iter().any(|known| known == command), "{}: {rest}", document.file);
        }
    }
    assert!(checked > 20, "{checked}");
}

/// All texts of the sources, with those that go on in the next line joined.
fn source_texts() -> String {
    let mut text = String::new();
    let mut folders = vec![root().join("src"), root().join("parsers/src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| ["rs", "js"].iter().any(|kind| end == *kind)) {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut joined = String::new();
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(front) => joined.push_str(front.trim_start()),
            None => {
                joined.push_str(line.trim_start());
                joined.push('\n');
            }
        }
    }
    joined
}

#[test]
fn messages_that_are_quoted_exist() {
    let sources = source_texts();
    let mut wrong = Vec::new();
    let mut checked = 0;
    let spans = Document::read("deploy/troubleshooting.md").spans();
    for message in spans.iter().filter_map(|span| span.strip_prefix('"')) {
        checked += 1;
        let words = message.trim_end_matches('"').trim_end_matches('…');
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if !sources.contains(&words) {
            wrong.push(words);
        }
    }
    assert!(checked > 25, "{checked}");
    assert_eq!(Vec::<String>::new(), wrong);
}

/// What `cargo bench -- compare` has measured: the cells of a program's rows, one after the other.
fn measured(program: &str) -> Vec<String> {
    let text = Document::read("deploy/performance/README.md").text;
    let (_, part) = text.split_once("<!-- compare: begin -->").unwrap();
    let begin = format!("| {program} | ");
    let rows = part.lines().filter_map(|line| line.strip_prefix(&*begin));
    let cells: Vec<String> = rows.flat_map(|row| row.split('|').map(|cell| cell.trim().to_owned())).collect();
    assert!(cells.len() > 3, "no {program} in deploy/performance/README.md");
    cells
}

/// `0.80 ms/s` is 0.08 % of a core.
fn share(cell: &str) -> String {
    let milliseconds: f64 = cell.strip_suffix(" ms/s").unwrap().parse().unwrap();
    format!("{:.2} %", milliseconds / 10.0)
}

/// Two cells of one unit: `1.9 and 66.2 ms`.
fn both(first: &str, second: &str) -> String {
    format!("{} and {second}", first.strip_suffix(" ms").unwrap())
}

/// What a line, a second and a scrape cost. Of each program's cells the first table's are 0 to 4 (lines, CPU per line,
/// lines per CPU second, ratio, memory), and the second's 6 to 12 (10 000 lines/s, idle, memory, scrape with new values,
/// with nothing new, and the time until a line is visible).
fn table_of_the_front_page() -> String {
    let [ours, derived, many, python, mtail] = [
        "inferometer, with state",
        "inferometer, with state, latency histograms",
        "inferometer, with state, 42 000 series",
        "Python",
        "mtail",
    ]
    .map(measured);
    let wc = &measured("`wc -l`")[1];
    let row = |said: &str, cell: &dyn Fn(&[String]) -> String| {
        format!("| {said} | {} | {} | {} |\n", cell(&ours), cell(&python), cell(&mtail))
    };
    [
        "| | inferometer | a Python script | mtail |\n|---|--:|--:|--:|\n".to_owned(),
        row(&format!("a line of a backlog (`wc -l`: {wc})"), &|cells| cells[1].clone()),
        format!("| the same with latency histograms | {} | | |\n", derived[1]),
        row("10 000 lines per second, of a core", &|cells| cells[6].clone()),
        row("nothing to do, of a core", &|cells| share(&cells[7])),
        row("a line is visible after, half of them and 99 in 100; here it is synced to the disk before", &|cells| {
            both(&cells[11], &cells[12])
        }),
        row("a scrape of 10 000 series, with new values and without", &|cells| both(&cells[9], &cells[10])),
        row("memory", &|cells| cells[8].clone()),
        format!(
            "\nWhat takes more: label sets in no order at all (42 000 series: {} a line), and latency histograms in the body of a\n\
             scrape (10 000 series with theirs: {}, with new values and without).\n",
            many[1],
            both(&derived[9], &derived[10])
        ),
    ]
    .concat()
}

/// Ours, to stand below what was measured of others elsewhere.
fn table_of_the_comparison() -> String {
    let [ours, derived, stateless] =
        ["inferometer, with state", "inferometer, with state, latency histograms", "inferometer, no state"]
            .map(measured);
    let row =
        |said: &str, cells: [&str; 3]| format!("| {said} | {} | {} | {} |\n", cells[0], cells[1], cells[2]);
    // Without a state folder there is no catch-up of its own.
    let [both_ours, both_derived, both_stateless] = [(&ours, 11), (&derived, 11), (&stateless, 5)]
        .map(|(cells, at): (&Vec<String>, usize)| both(&cells[at], &cells[at + 1]));
    let [idle_ours, idle_derived, idle_stateless] =
        [&ours[7], &derived[7], &stateless[1]].map(|cell| share(cell));
    [
        "| | with state | and latency histograms | no state |\n|---|--:|--:|--:|\n".to_owned(),
        row("CPU per line, × `wc -l`", [&ours[3], &derived[3], ""]),
        row("CPU per line", [&ours[1], &derived[1], ""]),
        row("10 000 lines/s, of a core", [&ours[6], &derived[6], &stateless[0]]),
        row("idle, of a core", [&idle_ours, &idle_derived, &idle_stateless]),
        row("written to visible, p50 and p99", [&both_ours, &both_derived, &both_stateless]),
        row("scrape of 10 000 series with new values", [&ours[9], &derived[9], &stateless[3]]),
        row("peak memory at the catch-up", [&ours[4], &derived[4], ""]),
    ]
    .concat()
}

/// `UPDATE_GOLDENS=1 cargo test --test tests docs::` writes them, whenever somebody has measured again.
#[test]
fn figures_are_those_that_were_measured() {
    for (file, table) in
        [("README.md", table_of_the_front_page()), ("deploy/comparison.md", table_of_the_comparison())]
    {
        let text = Document::read(file).text;
        let [begin, end] = ["<!-- figures: begin -->\n", "<!-- figures: end -->"];
        let (before, rest) = text.split_once(begin).unwrap();
        let (observed, after) = rest.split_once(end).unwrap();
        let expected = format!("\n{table}\n");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(root().join(file), format!("{before}{begin}{expected}{end}{after}")).unwrap();
        } else {
            assert_eq!(
                expected, observed,
                "{file}: UPDATE_GOLDENS=1 cargo test --test tests docs:: writes it"
            );
        }
    }
}

#[test]
fn memory_is_as_it_was_measured() {
    let [readme, guarantees, measured] =
        ["README.md", "deploy/guarantees.md", "deploy/performance/README.md"]
            .map(|file| Document::read(file).text);
    for (said, row) in [
        ("14 MiB with 10 000 counters", "| 10 000 | 11.3 | 12 | 13.9 |"),
        ("10 000 histograms", "| 10 000 | 13.1 | 27.5 | 56.4 |"),
        ("56 MiB with", "| 10 000 | 13.1 | 27.5 | 56.4 |"),
        ("8 MiB with a thousand series", "| 1 000 | 8.1 | 8.24 | 8.51 |"),
    ] {
        assert!(readme.contains(said), "README.md does not say {said:?}");
        assert!(guarantees.contains(said), "deploy/guarantees.md does not say {said:?}");
        assert!(measured.contains(row), "deploy/performance/README.md does not say {row:?}: {said:?} is old");
    }
}

#[test]
fn the_front_page_can_be_read_in_one_go() {
    let lines = Document::read("README.md").text.lines().count();
    assert!(lines <= 350, "{lines}");
}

/// Every file and folder of deploy/ is in its index.
#[test]
fn the_index_of_deploy_is_whole() {
    let index = Document::read("deploy/README.md");
    let links: BTreeSet<&str> = index.links().map(|link| link.trim_end_matches('/')).collect();
    let is_listed =
        |name: &str| links.iter().any(|link| *link == name || link.starts_with(&format!("{name}/")));
    let names = fs::read_dir(root().join("deploy")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap()).filter(|name| name != "README.md");
    let missing: Vec<String> = names.filter(|name| !is_listed(name)).collect();
    assert_eq!(Vec::<String>::new(), missing);
}
