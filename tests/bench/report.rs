//! Where figures are kept, with the machine and the day they are of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of what one process costs.
pub(crate) fn folder() -> PathBuf {
    top().join("deploy/performance")
}

/// The folder of the sources.
pub(crate) fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Replaces what stands between a page's marks of this name, and says it.
pub(crate) fn replace(page: &Path, name: &str, part: &str) {
    println!("{part}");
    let text = fs::read_to_string(page).expect("the page is in git");
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).expect("the mark where the part begins");
    let (_, after) = rest.split_once(&end).expect("the mark where it ends");
    fs::write(page, format!("{before}{begin}\n{part}\n{end}{after}")).expect("the page is ours");
}

/// What was measured, where and when.
pub(crate) fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value(&processor, "model name");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: u64 = value(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, commit {}: {} cores of an {model}, {} GiB, Linux {}; load average at the end {}.\n",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        said("git", &["describe", "--always", "--dirty"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        kibibytes / (1024 * 1024),
        // The rest is whoever built it.
        kernel.trim().split('-').next().unwrap_or_default(),
        load.split(' ').next().unwrap_or_default(),
    )
}

/// What a command prints first.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(['\t', ' ', ':']).trim_end()
}
