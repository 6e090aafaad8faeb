//! One process: what its files in procfs say.

use crate::collect::kernel::{number, text};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A worker's arguments that matter come first; what follows could be a megabyte.
const COMMAND_LINE_MAX: u64 = 8192;

/// What TorchServe starts for a worker.
const WORKER_SCRIPT: &[u8] = b"model_service_worker.py";

/// Of `/proc/PID/stat`: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    /// CPU time in ticks, in and outside the kernel.
    pub(super) cpu: u64,
    pub(super) threads: u64,
    /// Ticks after the machine's start.
    pub(super) start: u64,
    /// Pages in RAM.
    pub(super) pages: u64,
    /// It has ended, and nobody has asked how yet.
    pub(super) is_dead: bool,
}

impl Stat {
    pub(super) fn read(process: &Path) -> Option<Self> {
        Self::parse(&text(&process.join("stat")).ok()?)
    }

    /// `PID (name) STATE PPID …`; the name may hold blanks and brackets.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The manual counts from 1, and two words are gone.
        let field = |at: usize| words.get(at.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            cpu: field(14)? + field(15)?,
            threads: field(20)?,
            start: field(22)?,
            pages: field(24)?,
            is_dead: matches!(words.first(), Some(&"Z" | &"X")),
        })
    }

    pub(super) fn cpu_seconds(&self) -> f64 {
        Self::seconds(self.cpu)
    }

    pub(super) fn resident_bytes(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "pages are not that large")]
        let page = rustix::param::page_size() as f64;
        number(self.pages) * page
    }

    /// Ticks as seconds.
    pub(super) fn seconds(ticks: u64) -> f64 {
        number(ticks) / number(rustix::param::clock_ticks_per_second())
    }
}

/// The arguments of a process, each with a zero byte behind it.
pub(super) fn command_line(process: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(process.join("cmdline"))?.take(COMMAND_LINE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The number of the worker that a process of TorchServe is.
///
/// `python3 … ts/model_service_worker.py --sock-type unix --sock-name /tmp/.ts.sock.9000 …`, or `--port 9000` with
/// sockets of TCP.
pub(super) fn number_of(command_line: &[u8]) -> Option<u32> {
    let mut arguments = command_line.split(|byte| *byte == 0);
    arguments.find(|argument| argument.rsplit(|byte| *byte == b'/').next() == Some(WORKER_SCRIPT))?;
    while let Some(argument) = arguments.next() {
        let argument = std::str::from_utf8(argument).ok()?;
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.as_bytes())),
            None => (argument, None),
        };
        if flag == "--sock-name" || flag == "--port" {
            let value = std::str::from_utf8(value.or_else(|| arguments.next())?).ok()?;
            return value.rsplit('.').next()?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_its_socket_or_port() {
        let worker = "venv/bin/python3\0ts-home/ts/model_service_worker.py\0--sock-type\0unix\0--sock-name\0";
        for (line, expected) in [
            (format!("{worker}run/.ts.sock.9000\0--metrics-config\0x.yaml\0"), Some(9000)),
            ("python\0/ts/model_service_worker.py\0--sock-type\0tcp\0--port=9001\0".to_owned(), Some(9001)),
            (
                "torchrun\0--nnodes=1\0model_service_worker.py\0--sock-name=/tmp/.ts.sock.29500\0".to_owned(),
                Some(29500),
            ),
            ("sh\0-c\0python /ts/model_service_worker.py --port 9000\0".to_owned(), None),
            ("vim\0model_service_worker.py\0".to_owned(), None),
            (worker.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(expected, number_of(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn a_process_may_have_any_name() {
        let text =
            "42 (a) R (b) S 7 42 42 0 -1 4194560 100 0 1 0 12 3 0 0 20 0 5 0 9001 1000 25 184467 1 1 0";
        let expected = Stat { parent: 7, cpu: 15, threads: 5, start: 9001, pages: 25, is_dead: false };
        assert_eq!(Some(expected), Stat::parse(text));
        assert_eq!(None, Stat::parse("42 (a) S 7"));
    }
}
