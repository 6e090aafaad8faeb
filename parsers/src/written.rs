//! When a record was written, as far as it tells: what places the lines of the past in time.
//!
//! The fold does not ask for it: what it reads is of now. It is looked for where servers and loggers write it, in a
//! record's first words, and never behind a quote, since users' text may hold any time. A line that a runtime has
//! wrapped has the runtime's time, which tells its zone ([`Dialect::written`](crate::Dialect::written)).

use crate::framing::trim_end;
use crate::{Civil, ansi, json, time};
use memchr::memmem;

/// The time of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Milliseconds since 1970.
    Unix(i64),
    /// A date of some clock; its year is 0 where the record leaves it out.
    Date(Civil),
}

/// How much of a record is looked at.
const FRONT: usize = 256;

/// How many words may stand before the time.
const WORDS: usize = 8;

/// Members of a JSON line that hold its time.
const MEMBERS: [&str; 6] = ["timestamp_ns", "asctime", "timestamp", "time", "ts", "Timestamp"];

/// The time among a record's first words, or of its JSON object.
pub fn front(record: &[u8]) -> Option<Written> {
    if record.first() == Some(&b'{') {
        return of_object(record);
    }
    let record = trim_end(record);
    let front = record.get(..FRONT).unwrap_or(record);
    let front = front.get(..memchr::memchr(b'"', front).unwrap_or(front.len())).unwrap_or(front);
    let text = front.utf8_chunks().next().map(|chunk| ansi::strip(chunk.valid()))?;
    let starts =
        text.char_indices().filter(|(_, c)| matches!(c, ' ' | '[' | '(' | '=')).map(|(at, _)| at + 1);
    let mut words = std::iter::once(0).chain(starts).take(WORDS).filter_map(|at| text.get(at..));
    words.find_map(date).map(Written::Date)
}

/// The seconds at the end of a metric line of TorchServe, else the time at its front.
pub fn metric(record: &[u8]) -> Option<Written> {
    const TIMESTAMP: &[u8] = b",timestamp:";
    const DIGITS: usize = 12;
    let line = trim_end(record);
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = line.split_at_checked(line.len() - digits)?;
    if before.ends_with(TIMESTAMP) && (1..=DIGITS).contains(&digits.len()) {
        let number = |sum: i64, digit: &u8| sum * 10 + i64::from(digit - b'0');
        return Some(Written::Unix(digits.iter().fold(0, number) * 1000));
    }
    // A block of lines (0.7.1) says it in one of them.
    let start = line.strip_prefix(b"HostName=").and_then(|block| {
        const START: &[u8] = b"\nStartTime=";
        block.get(memmem::find(block, START)? + START.len()..)
    });
    match start {
        Some(start) => std::str::from_utf8(start.split(|byte| *byte == b'\n').next()?).ok().and_then(unix),
        None => front(record),
    }
}

fn of_object(record: &[u8]) -> Option<Written> {
    let text = std::str::from_utf8(trim_end(record)).ok()?;
    let (_, object) = json::object(text).ok()?;
    let mut members = MEMBERS.iter().filter_map(|key| object.text(key));
    members.find_map(|text| date(text).map(Written::Date).or_else(|| unix(text)))
}

/// A date at the start of a text, in any shape that servers use.
fn date(text: &str) -> Option<Civil> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase()) {
        return None;
    }
    let read = [time::any, time::common_log, time::month_name, time::glog]
        .into_iter()
        .find_map(|read| read(text).ok());
    let (rest, time) = read?;
    // Not the front of a longer word.
    (!rest.starts_with(|c: char| c.is_alphanumeric())).then_some(time)
}

/// Seconds since 1970, or thousandths, millionths or billionths of them, as their size tells.
fn unix(text: &str) -> Option<Written> {
    let value: f64 = text.trim().parse().ok()?;
    let scale = [1e3, 1.0, 1e-3, 1e-6].into_iter().find(|scale| (9e11..1e13).contains(&(value * scale)))?;
    #[expect(clippy::cast_possible_truncation, reason = "below 1e13")]
    Some(Written::Unix((value * scale) as i64))
}

/// The time of a line of the container runtime interface: its first word.
pub(crate) fn cri(line: &[u8]) -> Option<Written> {
    let front = line.get(..40).unwrap_or(line);
    date(std::str::from_utf8(front.split(|byte| *byte == b' ').next()?).ok()?).map(Written::Date)
}

/// The time of a line of Docker's: its last member. A quote in the text before has a backslash.
pub(crate) fn docker(line: &[u8]) -> Option<Written> {
    const TIME: &[u8] = br#""time":""#;
    let time = line.get(memmem::rfind(line, TIME)? + TIME.len()..)?;
    date(std::str::from_utf8(time.split(|byte| *byte == b'"').next()?).ok()?).map(Written::Date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, FORMATS};

    fn shown(written: Option<Written>) -> String {
        match written {
            None => "-".to_owned(),
            Some(Written::Unix(milliseconds)) => milliseconds.to_string(),
            Some(Written::Date(date)) => format!(
                "{}-{}-{} {:02}:{:02}:{:02}.{:03} {:?}",
                date.year,
                date.month,
                date.day,
                date.hour,
                date.minute,
                date.second,
                date.millisecond,
                date.offset_minutes
            ),
        }
    }

    #[test]
    fn every_servers_time_is_found() {
        for (line, expected) in [
            ("2026-11-20T17:42:44+0000 [INFO] [x] y", "2026-11-20 17:42:44.000 Some(0)"),
            ("(APIServer pid=4242) INFO 11-20 20:40:10 [loggers.py:335] x", "0-11-20 20:40:10.000 None"),
            (
                "\x1b[0;36m(APIServer pid=4242)\x1b[0;0m \x1b[32mINFO\x1b[0m \x1b[90m11-20 23:40:20\x1b[0m",
                "0-11-20 23:40:20.000 None",
            ),
            ("[2026-11-20 21:00:01 TP0] Decode batch", "2026-11-20 21:00:01.000 None"),
            ("time=2026-11-20T12:00:00.000Z level=INFO msg=\"x\"", "2026-11-20 12:00:00.000 Some(0)"),
            ("[GIN] 2026/11/20 - 12:00:02 | 200 |", "2026-11-20 12:00:02.000 None"),
            ("20/11/2026 17:50:06:297546 Identifier: x", "2026-11-20 17:50:06.297 None"),
            ("10.0.0.1 - - [20/Nov/2026:18:00:00 +0530] \"GET /", "2026-11-20 18:00:00.000 Some(330)"),
            ("Nov 20 18:00:00 host unit[1]: x", "0-11-20 18:00:00.000 None"),
            ("Nov  3 18:00:00 host unit[1]: x", "0-11-3 18:00:00.000 None"),
            (
                "{\"asctime\": \"2026-11-20 22:40:10,007\", \"message\": \"x\"}",
                "2026-11-20 22:40:10.007 None",
            ),
            ("{\"tid\":\"1\",\"timestamp\":1795196880,\"msg\":\"x\"}", "1795196880000"),
            ("{\"timestamp_ns\": 1795196880123456789}", "1795196880123"),
            ("{\"type\":\"log\",\"time\":2457,\"msg\":\"elapsed\"}", "-"),
            ("INFO:     127.0.0.1:1 - \"POST /2026-11-20T17:42:44 HTTP/1.1\" 200", "-"),
            ("0.00.002.890 I srv  llama_server: initializing ...", "-"),
            ("Traceback (most recent call last):", "-"),
            ("2026-11-20", "-"),
            ("", "-"),
            ("{", "-"),
            ("9999-12-31T23:59:59Z x", "9999-12-31 23:59:59.000 Some(0)"),
        ] {
            assert_eq!(expected, shown(front(line.as_bytes())), "{line}");
        }
        assert_eq!("-", shown(front(b"\xff\xfe 2026-11-20 22:40:10")));
    }

    #[test]
    fn a_metric_lines_own_seconds_win() {
        for (line, expected) in [
            ("2026-11-20T23:18:00,476 - A.ms:1|#M:m|#hostname:h,timestamp:1795196880\n", "1795196880000"),
            ("A.ms:1|#M:m|#hostname:h,requestID:x,timestamp:1795196880\r\n", "1795196880000"),
            (
                "2026-11-20T17:48:00,476 - A.ms:1|#M:m|#hostname:h,timestamp:null",
                "2026-11-20 17:48:00.476 None",
            ),
            ("2026-11-20T17:48:00,476 [INFO ] main x", "2026-11-20 17:48:00.476 None"),
            ("HostName=h\nRequestId=r\nStartTime=1795196880\nProgram=x\nMetrics=y\nEOE\n", "1795196880000"),
            ("{\n  \"MetricName\" : \"A\",\n  \"Timestamp\" : \"1795196880\"\n}\n", "1795196880000"),
            (",timestamp:99999999999999999999999", "-"),
            ("1795196880", "-"),
        ] {
            assert_eq!(expected, shown(metric(line.as_bytes())), "{line}");
        }
    }

    #[test]
    fn a_runtimes_time_is_that_of_its_line() {
        let inner = "INFO 01-02 03:04:05 x";
        for (name, line) in [
            ("cri", format!("2026-11-20T17:48:00.123456789+05:30 stdout F {inner}\n")),
            (
                "docker",
                format!(
                    r#"{{"log":"\"time\":\"{inner}\n","stream":"stdout","time":"2026-11-20T12:18:00.123Z"}}"#
                ),
            ),
        ] {
            let dialect = Dialect::named(&format!("vllm in {name}")).unwrap();
            let (Some(Written::Date(date)), true) =
                (dialect.written(line.as_bytes(), inner.as_bytes()), line.contains(inner))
            else {
                panic!("{name}");
            };
            let utc = i16::from(date.hour) * 60 + i16::from(date.minute) - date.offset_minutes.unwrap();
            assert_eq!((2026, 12 * 60 + 18, 123), (date.year, utc, date.millisecond), "{name}");
        }
        let systemd = Dialect::named("vllm in systemd").unwrap();
        let line = b"Nov 20 18:00:00 host vllm[1]: INFO:     Started";
        assert_eq!("0-11-20 18:00:00.000 None", shown(systemd.written(line, b"INFO:     Started")));
        let inside =
            systemd.written(b"Nov 20 18:00:00 host vllm[1]: INFO 11-20 20:40:10 x", inner.as_bytes());
        assert_eq!(
            "0-1-2 03:04:05.000 None",
            shown(inside),
            "the record's own time is finer than the journal's"
        );
        let klog = Dialect::named("vllm in klog").unwrap();
        let line = b"I1120 18:00:00.123456 1 server.cc:1] x";
        assert_eq!("0-11-20 18:00:00.123 None", shown(klog.written(line, b"x")));
        let line = b"I20261120 18:00:00.123456 1 server.cc:1] x";
        assert_eq!("2026-11-20 18:00:00.123 None", shown(klog.written(line, b"x")));
    }

    #[test]
    fn no_bytes_are_too_odd() {
        let mut random = 7_u64;
        for _ in 0..2_000 {
            let line: Vec<u8> = (0..40)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"0129:-/ TZ+{}\"[=,tNov\xff"[(random >> 33) as usize % 22]
                })
                .collect();
            for format in FORMATS {
                let _written = (format.written)(&line);
            }
        }
    }
}
