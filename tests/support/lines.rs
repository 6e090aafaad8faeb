//! Lines as TorchServe writes them, and files that grow.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// The labels of what [`requests`] and [`frontend`] with `Level:Host` write.
pub(crate) const HOST: &[(&str, &str)] = &[("Level", "Host"), ("Hostname", "h")];

/// Lines that add 1 to `Requests2XX` each.
pub(crate) fn requests(count: usize) -> String {
    (0..count).map(|_| frontend("Requests2XX.Count:1.0", "Level:Host")).collect()
}

/// A line of `ts_metrics.log`: `<name>.<unit>:<value>` with these dimensions.
pub(crate) fn frontend(metric: &str, dimensions: &str) -> String {
    format!("{} - {metric}|#{dimensions}|#hostname:h,timestamp:1795196880\n", next_time())
}

/// A line of `model_metrics.log`.
pub(crate) fn model(metric: &str, dimensions: &str) -> String {
    format!("{} - {metric}|#{dimensions}|#hostname:h,requestID:null,timestamp:1795196880\n", next_time())
}

/// A line of the console.
pub(crate) fn console(logger: &str, message: &str) -> String {
    format!("{} [INFO ] W-9000-m_1.0-stdout {logger} - {message}\n", next_time())
}

/// A time of its own for every line, as in a real log: files are recognised by their content.
pub(crate) fn next_time() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("2026-11-20T17:{:02}:{:02},{:03}", next / 60_000 % 60, next / 1000 % 60, next % 1000)
}

/// Writes to the end of a file, which need not exist; nor need its folder.
pub(crate) fn append(file: &Path, bytes: impl AsRef<[u8]>) {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).expect("a folder for the file");
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("a file to append to");
    file.write_all(bytes.as_ref()).expect("the file takes it");
}
