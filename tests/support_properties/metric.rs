//! A metric line in the layouts that TorchServe's logs come in.

use serde_json::json;

/// What one line tells.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) value: String,
    /// Label names and values in the order of the line, without the host.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) host: String,
    /// A line of a model's handler has them, one of the frontend does not.
    pub(crate) request_ids: Option<String>,
}

/// How a line looks around the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The shipped one of the metric files.
    File,
    /// The shipped one of the console.
    Console,
    /// `%highlight` around the file's.
    Coloured,
    /// `%enc{%m}{JSON}` inside a JSON object.
    Json,
    /// The object of 0.7.1's JSON layout, on one line. It is the only one that can hold any text at all.
    Object,
    /// The same as 0.7.1 printed it, over several lines.
    Block,
}

impl Layout {
    pub(crate) const ALL: &[Self] =
        &[Self::File, Self::Console, Self::Coloured, Self::Json, Self::Object, Self::Block];
}

impl Metric {
    /// The line with its end.
    pub(crate) fn line(&self, layout: Layout) -> String {
        let time = "2026-11-20T17:48:00,476";
        let message = self.message();
        let logger = if self.request_ids.is_some() { "MODEL_METRICS" } else { "TS_METRICS" };
        let line = match layout {
            Layout::File => format!("{time} - {message}"),
            Layout::Console => format!("{time} [INFO ] W-9000-m_1.0-stdout {logger} - {message}"),
            Layout::Coloured => format!("\u{1b}[32m{time} - {message}\u{1b}[m"),
            Layout::Json => json!({ "time": time, "logger": logger, "message": message }).to_string(),
            Layout::Object => self.object().to_string(),
            Layout::Block => format!("{:#}", self.object()),
        };
        line + "\n"
    }

    /// The layout itself, or the one that can hold this metric whatever it says.
    pub(crate) fn fitting(&self, layout: Layout) -> Layout {
        // Between the `|#`s nothing is escaped, so a value can hold neither of its two separators.
        let is_plain = self.labels.iter().all(|(_, value)| !value.contains(',') && !value.contains("|#"))
            && !self.host.contains(',');
        let is_one_line = !self.message().contains('\n');
        match layout {
            Layout::Object | Layout::Block => layout,
            Layout::Json if is_plain => layout,
            _ if is_plain && is_one_line => layout,
            _ => Layout::Object,
        }
    }

    /// The metric as every layout but 0.7.1's JSON has it.
    pub(crate) fn message(&self) -> String {
        let Self { name, unit, value, host, .. } = self;
        let labels: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let ids = self.request_ids.as_ref().map_or(String::new(), |ids| format!(",requestID:{ids}"));
        format!("{name}.{unit}:{value}|#{}|#hostname:{host}{ids},timestamp:1795196880", labels.join(","))
    }

    fn object(&self) -> serde_json::Value {
        let labels = self.labels.iter().map(|(name, value)| json!({ "Name": name, "Value": value }));
        let mut object = json!({
            "MetricName": self.name,
            "Value": self.value,
            "Unit": self.unit,
            "Dimensions": labels.collect::<Vec<_>>(),
            "Timestamp": "1795196880",
            "HostName": self.host,
        });
        if let Some(ids) = &self.request_ids {
            object["RequestId"] = json!(ids);
        }
        object
    }
}
