//! Captured lines, and how a pretended request varies them.

use fastrand::Rng;
use std::fmt::Write;

/// Lines of a real server; see fixtures/README.md.
const CAPTURE: &str = include_str!("../../fixtures/demo/traffic.txt");

/// The file that a line goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Log,
    ServerMetrics,
    ModelMetrics,
    Access,
}

impl Target {
    pub(super) const ALL: [Self; 4] = [Self::Log, Self::ServerMetrics, Self::ModelMetrics, Self::Access];

    /// Those that each request writes to, and that therefore grow.
    pub(super) const OF_REQUESTS: [Self; 3] = [Self::ServerMetrics, Self::ModelMetrics, Self::Access];

    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Log => "ts_log.log",
            Self::ServerMetrics => "ts_metrics.log",
            Self::ModelMetrics => "model_metrics.log",
            Self::Access => "access_log.log",
        }
    }

    fn from_letter(letter: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| match target {
            Self::Log => letter == "L",
            Self::ServerMetrics => letter == "T",
            Self::ModelMetrics => letter == "M",
            Self::Access => letter == "A",
        })
    }
}

/// What a server wrote for one event.
#[derive(Debug, Default)]
pub(super) struct Episode {
    model: &'static str,
    is_error: bool,
    lines: Vec<(Target, &'static str)>,
}

/// All captured episodes.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) start: Vec<Episode>,
    pub(super) system: Episode,
    requests: Vec<Episode>,
}

impl Traffic {
    pub(super) fn bundled() -> Self {
        let mut traffic = Self::default();
        for section in CAPTURE.split("== ").filter(|section| !section.is_empty()) {
            let (title, body) = section.split_once('\n').unwrap_or((section, ""));
            let mut words = title.split(' ');
            let (kind, model, code) = (words.next(), words.next().unwrap_or_default(), words.next());
            let lines = body.lines().filter_map(|line| {
                let (letter, text) = line.split_once(' ')?;
                Some((Target::from_letter(letter)?, text))
            });
            let episode =
                Episode { model, is_error: code.is_some_and(|code| code != "200"), lines: lines.collect() };
            match kind {
                Some("system") => traffic.system = episode,
                Some("request") => traffic.requests.push(episode),
                _ => traffic.start.push(episode),
            }
        }
        traffic
    }

    /// All requests that were captured.
    #[cfg(test)]
    pub(super) fn requests(&self) -> &[Episode] {
        &self.requests
    }

    /// The next request: mostly the busier model, errors in two percent and in a burst every few minutes.
    pub(super) fn pick(&self, random: &mut Rng, seconds: f64) -> Option<&Episode> {
        let model = if random.f64() < 0.7 { "resnet18" } else { "bert-qa" };
        let is_burst = seconds % 180.0 > 165.0;
        let is_error = random.f64() < if is_burst { 0.25 } else { 0.02 };
        let fits = |episode: &&Episode| {
            if is_error { episode.is_error } else { !episode.is_error && episode.model == model }
        };
        let fitting: Vec<&Episode> = self.requests.iter().filter(fits).collect();
        random.choice(fitting)
    }
}

/// How one event differs from the captured one.
#[derive(Debug)]
pub(super) struct Moment {
    /// Times are multiplied by this.
    slowness: f64,
    /// Other measurements of the system are multiplied by this.
    load: f64,
    request_ids: Vec<String>,
    now: jiff::Timestamp,
}

impl Moment {
    /// As it was captured, only now.
    pub(super) fn quiet() -> Self {
        Self { slowness: 1.0, load: 1.0, request_ids: Vec::new(), now: jiff::Timestamp::now() }
    }

    pub(super) fn of_system(random: &mut Rng) -> Self {
        Self { load: 0.4 + 0.6 * random.f64(), ..Self::quiet() }
    }

    /// A request: its latency follows a log-normal law around a level that drifts, one in fifty is slow.
    pub(super) fn of_request(random: &mut Rng, episode: &Episode, seconds: f64) -> Self {
        let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let level = if episode.model == "bert-qa" { 30.0 } else { 4.0 };
        let drift = 1.0 + 0.6 * (seconds * std::f64::consts::TAU / 300.0).sin();
        let spike = if random.u32(0..50) == 0 { 8.0 } else { 1.0 };
        let batch = if random.u32(0..4) == 0 { random.usize(2..=4) } else { 1 };
        let request_ids = (0..batch).map(|_| uuid(random)).collect();
        Self { slowness: level * drift * spike * (0.5 * normal).exp(), request_ids, ..Self::quiet() }
    }

    /// The episode's lines of one file at this moment.
    pub(super) fn render(&self, episode: &Episode, target: Target) -> String {
        let mut text = String::new();
        for (_, line) in episode.lines.iter().filter(|(of, _)| *of == target) {
            let times = if self.is_per_request(target, line) { self.request_ids.len() } else { 1 };
            for _ in 0..times {
                self.render_line(target, line, &mut text);
                text.push('\n');
            }
        }
        text
    }

    /// Each request of a batch has frontend lines of its own; the worker's lines are the batch's.
    fn is_per_request(&self, target: Target, line: &str) -> bool {
        self.request_ids.len() > 1
            && (target == Target::Access || line.contains(" - ts_") || line.contains(" - Requests"))
    }

    fn render_line(&self, target: Target, line: &str, text: &mut String) {
        let Some(rest) = after_time(line) else {
            text.push_str(line);
            return;
        };
        append(text, format_args!("{}", self.now.strftime("%Y-%m-%dT%H:%M:%S,%3f")));
        match target {
            Target::Log => text.push_str(rest),
            Target::Access => self.render_access(rest, text),
            Target::ServerMetrics | Target::ModelMetrics => self.render_metric(rest, text),
        }
    }

    /// `… "POST /predictions/m HTTP/1.1" 200 10`: the last number is the time in milliseconds.
    fn render_access(&self, rest: &str, text: &mut String) {
        match rest.rsplit_once(' ').and_then(|(head, time)| Some((head, time.parse::<f64>().ok()?))) {
            Some((head, time)) => append(text, format_args!("{head} {:.0}", time * self.slowness)),
            None => text.push_str(rest),
        }
    }

    /// ` - <name>.<unit>:<value>|#<dims>|#hostname:<host>[,requestID:<id>],timestamp:<seconds>`
    fn render_metric(&self, rest: &str, text: &mut String) {
        let parts = rest.split_once("|#").and_then(|(head, tail)| Some((head.rsplit_once(':')?, tail)));
        let Some(((name, value), tail)) = parts else {
            text.push_str(rest);
            return;
        };
        let value = value
            .parse::<f64>()
            .map_or_else(|_| value.to_owned(), |value| java_double(self.vary(name, value)));
        let (labels, _) = tail.rsplit_once(",timestamp:").unwrap_or((tail, ""));
        append(text, format_args!("{name}:{value}|#"));
        match labels.split_once(",requestID:") {
            Some((labels, "null")) => append(text, format_args!("{labels},requestID:null")),
            Some((labels, _)) => {
                append(text, format_args!("{labels},requestID:{}", self.request_ids.join(",")))
            }
            None => text.push_str(labels),
        }
        append(text, format_args!(",timestamp:{}", self.now.as_second()));
    }

    fn vary(&self, name: &str, value: f64) -> f64 {
        let is_load_time = name.contains("WorkerLoadTime");
        let digits = match name.rsplit('.').next() {
            Some("Microseconds") => 1e3,
            Some("ms") => 1e2,
            Some("s") => 1e6,
            // The frontend measures these in whole milliseconds.
            Some("Milliseconds") => 1.0,
            Some("Percent") => return (value * self.load * 10.0).round() / 10.0,
            _ => return value,
        };
        if is_load_time { value } else { (value * self.slowness * digits).round() / digits }
    }
}

/// The line without its time, if it begins with one.
fn after_time(line: &str) -> Option<&str> {
    const LENGTH: usize = "2026-11-20T17:44:25,163".len();
    line.get(..LENGTH).filter(|time| time.starts_with("20") && time.contains('T'))?;
    line.get(LENGTH..)
}

/// A version 4 UUID, as TorchServe gives one to each request.
fn uuid(random: &mut Rng) -> String {
    let bits = (random.u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// `Double.toString` for the values of a demo: `75.0`, from ten million on `1.2345678E7`.
fn java_double(value: f64) -> String {
    if value < 1e7 {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    if text.contains('.') { text } else { text.replace('E', ".0E") }
}

fn append(text: &mut String, what: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(what);
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use parsers::{Catalog, FORMATS, Outcome};

    #[test]
    fn every_varied_line_is_one_that_the_parser_takes() {
        let traffic = Traffic::bundled();
        let mut random = Rng::with_seed(7);
        for round in 0..500 {
            let episode = traffic.pick(&mut random, f64::from(round)).unwrap();
            let moment = Moment::of_request(&mut random, episode, f64::from(round));
            for target in [Target::ServerMetrics, Target::ModelMetrics, Target::Access] {
                for line in moment.render(episode, target).lines() {
                    let read =
                        (FORMATS[0].parse)(line.as_bytes(), &Catalog::torchserve_default(), &mut |_| {});
                    assert_eq!(Ok(Outcome::Parsed), read, "{line}");
                }
            }
        }
    }

    #[test]
    fn large_times_are_written_as_java_writes_them() {
        assert_eq!(
            ["75.0", "1.0E7", "1.23456789E8", "0.001"],
            [75.0, 1e7, 123_456_789.0, 0.001].map(java_double).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        let id = uuid(&mut Rng::with_seed(1));
        assert_eq!((36, Some('4')), (id.len(), id.chars().nth(14)));
    }
}
