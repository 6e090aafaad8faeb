//! Metric logs as a busy TorchServe writes them, made from a seed: the same seed gives the same bytes.
//!
//! A request is eight lines, as TorchServe 0.12 logs one: three counters and two times of its model, two times and
//! a counter of the host. Every 500 requests the system's gauges and a worker's start come in between.

use std::fmt::Write;

const HOST: &str = "ip-10-0-17-4";

/// 2026-11-20T17:00:00Z.
const START: u64 = 1_795_194_000;

/// The series that all models share: of the host, its two GPUs and four workers.
const SHARED: usize = 20;

/// What the lines so far add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Truth {
    pub(crate) lines: u64,
    /// The sum of all increments of `ts_inference_requests_total`.
    pub(crate) requests: u64,
    /// The sum of all increments of `ts_queue_latency_microseconds`, which are whole numbers here, so that their sum
    /// is exact in any order.
    pub(crate) queued: u64,
}

/// A server at work.
pub(crate) struct Traffic {
    random: fastrand::Rng,
    /// Name and version.
    models: Vec<(String, String)>,
    requests: usize,
    text: String,
    pub(crate) truth: Truth,
}

impl Traffic {
    /// A server whose log has about this many series; each of them comes up within the first lines.
    pub(crate) fn new(series: usize, seed: u64) -> Self {
        Self::of_models(0..series.saturating_sub(SHARED).div_ceil(5).max(1), seed)
    }

    /// A server with these models.
    pub(crate) fn of_models(models: std::ops::Range<usize>, seed: u64) -> Self {
        let name = |at: usize| match at % 3 {
            0 => (format!("bert-base-uncased-{at}"), "default".to_owned()),
            _ => (format!("resnet{at}"), format!("1.{}", at % 7)),
        };
        Self {
            random: fastrand::Rng::with_seed(seed),
            models: models.map(name).collect(),
            requests: 0,
            text: String::new(),
            truth: Truth::default(),
        }
    }

    /// How many requests there are until every series has a line.
    pub(crate) fn cover(&self) -> usize {
        self.models.len().max(10)
    }

    /// The lines of the next requests.
    pub(crate) fn requests(&mut self, count: usize) -> String {
        (0..count).for_each(|_| self.request());
        std::mem::take(&mut self.text)
    }

    /// The lines of the next requests until there are at least as many lines.
    pub(crate) fn lines(&mut self, count: u64) -> String {
        let end = self.truth.lines + count;
        while self.truth.lines < end {
            self.request();
        }
        std::mem::take(&mut self.text)
    }

    fn request(&mut self) {
        let turn = self.requests;
        self.requests += 1;
        let at = if turn < self.models.len() { turn } else { self.random.usize(..self.models.len()) };
        let (name, version) = self.models[at].clone();
        let of_model = format!("model_name:{name},model_version:{version}");
        let of_worker = format!("ModelName:{name},Level:Model");
        let share = self.random.f64();
        let slow = if share > 0.99 { self.random.f64() * 3000.0 } else { 0.0 };
        let predicted = ((2.0 + 180.0 * share * share + slow) * 100.0).round() / 100.0;
        let latency = if share > 0.999 { 1.23e7 } else { 0.0 } + predicted * 1000.0 + 0.321;
        let queued = self.random.u64(60..960);
        let id = self.random.u128(..);
        let id = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            id >> 80 & 0xffff,
            id >> 64 & 0xffff,
            id >> 48 & 0xffff,
            id & 0xffff_ffff_ffff
        );
        let code = if share < 0.985 { "2XX" } else { ["4XX", "5XX"][usize::from(share > 0.995)] };
        self.line("ts_inference_requests_total.Count", 1.0, &of_model, None);
        self.line("ts_inference_latency_microseconds.Microseconds", latency, &of_model, None);
        self.line("ts_queue_latency_microseconds.Microseconds", exact(queued), &of_model, None);
        self.line("HandlerTime.ms", predicted + 0.5, &of_worker, Some(&id));
        self.line("PredictionTime.ms", predicted, &of_worker, Some(&id));
        self.line("QueueTime.Milliseconds", (share * 4.0).floor(), "Level:Host", None);
        self.line("WorkerThreadTime.Milliseconds", (share * 3.0).floor(), "Level:Host", None);
        self.line(&format!("Requests{code}.Count"), 1.0, "Level:Host", None);
        self.truth.requests += 1;
        self.truth.queued += queued;
        if turn.is_multiple_of(500) || turn < 10 {
            self.system(turn);
        }
    }

    fn system(&mut self, turn: usize) {
        for (metric, most) in [
            ("CPUUtilization.Percent", 100.0),
            ("MemoryUsed.Megabytes", 16e3),
            ("MemoryAvailable.Megabytes", 64e3),
            ("MemoryUtilization.Percent", 100.0),
            ("DiskUsage.Gigabytes", 200.0),
            ("DiskUtilization.Percent", 100.0),
            ("DiskAvailable.Gigabytes", 200.0),
        ] {
            let value = self.random.f64() * most;
            self.line(metric, value, "Level:Host", None);
        }
        for device in 0..2 {
            let of_device = format!("Level:Host,DeviceId:{device}");
            let used = (self.random.f64() * 80e3).round();
            self.line("GPUMemoryUsed.Megabytes", used, &of_device, None);
            self.line("GPUUtilization.Percent", 50.5, &of_device, None);
        }
        let worker = format!("WorkerName:W-{}-resnet1_1.0,Level:Host", 9000 + turn % 4);
        self.line("WorkerLoadTime.Milliseconds", 4321.0, &worker, None);
    }

    fn line(&mut self, metric: &str, value: f64, dimensions: &str, request: Option<&str>) {
        let seconds = START + self.requests as u64 / 1000;
        let (minute, second, milli) = ((seconds - START) / 60, seconds % 60, self.requests % 1000);
        let (hour, minute) = (17 + minute / 60, minute % 60);
        let request = request.map(|id| format!(",requestID:{id}")).unwrap_or_default();
        writeln!(
            self.text,
            "2026-11-20T{hour:02}:{minute:02}:{second:02},{milli:03} - {metric}:{}|#{dimensions}|#hostname:{HOST}{request},timestamp:{seconds}",
            java(value)
        )
        .expect("a String takes everything");
        self.truth.lines += 1;
    }
}

/// What the series of [`series`] accumulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Half of them counters, half of them gauges.
    Numbers,
    /// Histograms with TorchServe's own 14 bounds.
    Histograms,
}

/// The types of the metrics of [`series`], as the configuration file names them.
pub(crate) const TYPES: [(&str, &str); 3] =
    [("Tokens", "counter"), ("Load", "gauge"), ("Length", "histogram")];

/// One line for each of so many series, each of a model of its own.
pub(crate) fn series(shape: Shape, count: usize) -> String {
    let mut text = String::new();
    for at in 0..count {
        let metric = match shape {
            Shape::Numbers => ["Tokens", "Load"][at % 2],
            Shape::Histograms => "Length",
        };
        let (second, value) = (at / 1000 % 60, at % 400);
        writeln!(
            text,
            "2026-11-20T17:00:{second:02},{:03} - {metric}.count:{value}.5|#ModelName:model-{at:06},Level:Model|#hostname:{HOST},requestID:null,timestamp:{START}",
            at % 1000
        )
        .expect("a String takes everything");
    }
    text
}

/// What stands in a log that was damaged or that another program writes to: all of it has to be refused.
pub(crate) fn garbage(lines: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = Vec::new();
    let time = "2026-11-20T17:48:00,476 - ";
    for _ in 0..lines {
        let line = match random.u8(..8) {
            0 => "java.lang.NullPointerException: Cannot invoke \"Metric.getValue()\" because \"metric\" is null".into(),
            1 => format!("\tat org.pytorch.serve.wlm.WorkerThread.run(WorkerThread.java:{})", random.u8(..)),
            2 => format!("{time}PredictionTime.ms:notanumber|#ModelName:x,Level:Model|#hostname:h,requestID:null,timestamp:1"),
            3 => format!("{time}PredictionTime.ms:12.5|#ModelName:x,Lev"),
            4 => format!("{time}ts_inference_requests_total.Count:|#model_name:x,model_version:y|#hostname:h,timestamp:1"),
            5 => format!("{time}{}", "x".repeat(random.usize(200..4000))),
            6 => format!("{:032x}", random.u128(..)),
            _ => String::new(),
        };
        match line.is_empty() {
            // Latin-1, so no UTF-8.
            true => bytes.extend_from_slice(b"2026-11-20T17:48:00,476 - geladen: 3 M\xe4nner"),
            false => bytes.extend_from_slice(line.as_bytes()),
        }
        bytes.push(b'\n');
    }
    bytes
}

/// As Java's `Double.toString` prints it.
fn java(value: f64) -> String {
    if value >= 1e7 { format!("{value:E}") } else { format!("{value:?}") }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) const fn exact(count: u64) -> f64 {
    count as f64
}
