//! How formats hand out what a line measures.

use crate::{Civil, Event, Measurement, Metric};

/// Who takes what a record says.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// What all measurements of a line have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    pub(crate) labels: &'a [(&'a str, &'a str)],
    pub(crate) request_id: Option<&'a str>,
    pub(crate) time: Option<Civil>,
}

impl About<'_> {
    /// Hands out one value.
    pub(crate) fn tell(&self, sink: Sink<'_>, metric: &Metric<'_>, value: f64) {
        let Self { labels, request_id, time } = *self;
        sink(Event::Measured(Measurement { metric, value, labels, request_id, time }));
    }
}
