//! The last minute of a subject: what rates and quantiles are computed from.

use crate::metric::Histogram;
use std::collections::VecDeque;
use std::time::Instant;

/// How many measurements are kept: a minute of steps, with both ends.
pub(super) const MOMENTS: usize = 13;

/// How a charted number follows from the measurements of a window. Numbers are places in the inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    /// The newest value.
    Gauge(usize),
    /// Increase of a counter per second.
    Rate(usize),
    /// Increase of one counter by the increase of another.
    Share(usize, usize),
    /// Observations of the histogram per second.
    Observed,
    /// Mean of the histogram's observations.
    Mean,
    /// Quantile of the histogram's observations.
    Quantile(f64),
}

/// What was measured at one moment. Not a number stands for what nobody measured.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at: Instant,
    /// Counters and gauges; which is which stands in the group's charts.
    pub(crate) inputs: Vec<f64>,
    /// The histogram, if the subject has one.
    pub(crate) histogram: Option<Histogram>,
}

/// The measurements of the last minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Moment>);

impl Window {
    /// Takes a measurement. One that was taken already is not new; one with a counter that stepped back begins a
    /// new window.
    pub(super) fn push(&mut self, moment: Moment, charts: impl Iterator<Item = How>) {
        if let Some(last) = self.0.back() {
            if last.at == moment.at {
                return;
            }
            if stepped_back(last, &moment, charts) {
                self.0.clear();
            }
        }
        if self.0.len() == MOMENTS {
            self.0.pop_front();
        }
        self.0.push_back(moment);
    }

    /// The number that a chart shows now; none while it cannot be said.
    pub(super) fn value(&self, how: How, bounds: &[f64]) -> Option<f64> {
        let newest = self.0.back()?;
        let input = |moment: &Moment, at: usize| moment.inputs.get(at).copied().filter(|it| it.is_finite());
        let increase = |at: usize| {
            let oldest = self.0.iter().find(|moment| input(moment, at).is_some())?;
            Some((input(newest, at)? - input(oldest, at)?, oldest.at))
        };
        let value = match how {
            How::Gauge(at) => input(newest, at)?,
            How::Rate(at) => {
                let (increase, since) = increase(at)?;
                per_second(increase, since, newest.at)?
            }
            How::Share(part, whole) => {
                let (whole, _) = increase(whole)?;
                (whole > 0.0).then_some(increase(part)?.0 / whole)?
            }
            How::Observed => {
                let (counts, _, since) = self.observed()?;
                per_second(total(&counts), since, newest.at)?
            }
            How::Mean => {
                let (counts, sum, _) = self.observed()?;
                let count = total(&counts);
                (count > 0.0).then_some(sum / count)?
            }
            How::Quantile(share) => quantile(share, bounds, &self.observed()?.0)?,
        };
        value.is_finite().then_some(value)
    }

    /// Observations per bucket in the window, their sum, and since when.
    fn observed(&self) -> Option<(Vec<u64>, f64, Instant)> {
        let newest = self.0.back()?.histogram.as_ref()?;
        let moment = self.0.iter().find(|moment| moment.histogram.is_some())?;
        let oldest = moment.histogram.as_ref()?;
        let pairs = newest.counts().iter().zip(oldest.counts());
        let counts = pairs.map(|(new, old)| new.saturating_sub(*old)).collect();
        Some((counts, newest.sum() - oldest.sum(), moment.at))
    }
}

fn stepped_back(last: &Moment, new: &Moment, mut charts: impl Iterator<Item = How>) -> bool {
    let input = |moment: &Moment, at: usize| moment.inputs.get(at).copied().unwrap_or(f64::NAN);
    let fell = |at: usize| input(new, at) < input(last, at);
    let histogram_fell = match (&last.histogram, &new.histogram) {
        (Some(last), Some(new)) => {
            new.counts().len() != last.counts().len()
                || new.counts().iter().zip(last.counts()).any(|(new, last)| new < last)
        }
        _ => false,
    };
    histogram_fell
        || charts.any(|how| match how {
            How::Rate(at) => fell(at),
            How::Share(part, whole) => fell(part) || fell(whole),
            How::Gauge(_) | How::Observed | How::Mean | How::Quantile(_) => false,
        })
}

fn per_second(increase: f64, since: Instant, until: Instant) -> Option<f64> {
    let seconds = until.saturating_duration_since(since).as_secs_f64();
    (seconds > 0.0).then_some(increase / seconds)
}

#[expect(clippy::cast_precision_loss, reason = "observations of a minute")]
fn total(counts: &[u64]) -> f64 {
    counts.iter().sum::<u64>() as f64
}

/// The quantile by linear interpolation inside its bucket, as PromQL's `histogram_quantile` has it: the first bucket
/// begins at 0 unless its bound is negative, and what lies in the last one is its lower bound. None without
/// observations.
pub(crate) fn quantile(share: f64, bounds: &[f64], counts: &[u64]) -> Option<f64> {
    let rank = share * total(counts);
    let mut below = 0.0;
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = total(&[*count]);
        if below + count < rank {
            below += count;
            continue;
        }
        let lower = at.checked_sub(1).and_then(|at| bounds.get(at)).copied();
        return Some(match (bounds.get(at), lower) {
            (None, _) => *bounds.last()?,
            (Some(bound), None) if *bound <= 0.0 => *bound,
            (Some(bound), lower) => {
                let lower = lower.unwrap_or(0.0);
                lower + (bound - lower) * ((rank - below) / count)
            }
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn quantiles_are_those_of_promql() {
        let bounds = [1.0, 2.0, 4.0];
        // As `histogram_quantile` computes them by hand from the cumulative counts 10, 30, 40 and 50.
        for (share, expected) in [(0.1, 0.5), (0.2, 1.0), (0.5, 1.75), (0.7, 3.0), (0.9, 4.0), (1.0, 4.0)] {
            assert_eq!(Some(expected), quantile(share, &bounds, &[10, 20, 10, 10]), "{share}");
        }
        assert_eq!(None, quantile(0.5, &bounds, &[0, 0, 0, 0]));
        assert_eq!(Some(-1.0), quantile(0.5, &[-1.0, 1.0], &[2, 1, 0]), "below a negative bound");
        assert_eq!(None, quantile(0.5, &[], &[3]), "no bucket, no quantile");
        assert_eq!(Some(1.5), quantile(0.5, &bounds, &[0, 8, 0, 0]), "an empty bucket is passed over");
    }

    fn moment(start: Instant, second: u64, inputs: &[f64], counts: &[u64]) -> Moment {
        let histogram =
            (!counts.is_empty()).then(|| Histogram::from_counts(counts.iter().copied(), second as f64));
        Moment { at: start + Duration::from_secs(second), inputs: inputs.to_vec(), histogram }
    }

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let (start, mut window) = (Instant::now(), Window::default());
        let charts = [How::Rate(0), How::Gauge(1), How::Share(2, 0)];
        for second in (0..=120).step_by(5) {
            let counter = if second <= 60 { 0.0 } else { (second - 60) as f64 * 2.0 };
            window.push(moment(start, second, &[counter, 7.0, counter / 4.0], &[]), charts.into_iter());
        }
        assert_eq!(MOMENTS, window.0.len());
        assert_eq!(
            [Some(2.0), Some(7.0), Some(0.25)],
            charts.map(|how| window.value(how, &[])),
            "what was a minute ago does not count"
        );
    }

    #[test]
    fn a_counter_that_steps_back_begins_anew_and_a_repeated_reading_is_none() {
        let (start, mut window) = (Instant::now(), Window::default());
        let charts = || [How::Rate(0)].into_iter();
        window.push(moment(start, 0, &[10.0], &[]), charts());
        window.push(moment(start, 5, &[20.0], &[]), charts());
        window.push(moment(start, 5, &[20.0], &[]), charts());
        assert_eq!((2, Some(2.0)), (window.0.len(), window.value(How::Rate(0), &[])));
        window.push(moment(start, 10, &[3.0], &[]), charts());
        assert_eq!((1, None), (window.0.len(), window.value(How::Rate(0), &[])));
    }

    #[test]
    fn an_input_or_histogram_that_comes_later_counts_from_its_first_value() {
        let (start, mut window) = (Instant::now(), Window::default());
        let charts = || [How::Rate(0), How::Observed].into_iter();
        window.push(moment(start, 0, &[f64::NAN], &[]), charts());
        window.push(moment(start, 5, &[100.0], &[1, 1]), charts());
        assert_eq!(None, window.value(How::Rate(0), &[]));
        window.push(moment(start, 10, &[105.0], &[1, 11]), charts());
        let values = [How::Rate(0), How::Observed, How::Mean].map(|how| window.value(how, &[1.0]));
        assert_eq!([Some(1.0), Some(2.0), Some(0.5)], values);
    }
}
