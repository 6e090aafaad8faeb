//! Bucket bounds of a histogram: a list, or a rule that makes one.

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Most buckets of a histogram; each one is a series in Prometheus.
const BOUNDS_MAX: usize = 200;

/// Most buckets between `min` and `max`, as BentoML has it.
const BETWEEN_MAX: usize = 100;

/// Upper bounds, ascending, without `+Inf`.
#[derive(Debug)]
pub(crate) struct Bounds(pub(crate) Vec<f64>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Rule {
    Linear { start: f64, width: f64, count: u16 },
    Exponential(Exponential),
}

/// By a start and a count, as Prometheus' libraries have it, or between two ends, as BentoML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exponential {
    factor: f64,
    start: Option<f64>,
    count: Option<u16>,
    min: Option<f64>,
    max: Option<f64>,
}

impl Exponential {
    fn bounds(&self) -> Result<Vec<f64>, &'static str> {
        let grows = |start: f64| std::iter::successors(Some(start), |bound| Some(bound * self.factor));
        match (self.start, self.count, self.min, self.max) {
            (Some(start), Some(count), None, None) => {
                Ok((0..count).map(|step| start * self.factor.powi(i32::from(step))).collect())
            }
            (None, None, Some(min), Some(max)) if self.factor > 1.0 && min > 0.0 => {
                let below = grows(min).take_while(|bound| *bound < max).take(BETWEEN_MAX);
                Ok(below.chain([max]).collect())
            }
            (None, None, Some(_), Some(_)) => Err("min has to be above 0 and the factor above 1"),
            _ => Err("exponential buckets have start, factor and count, or min, max and factor"),
        }
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrRule)
    }
}

struct ListOrRule;

impl<'de> Visitor<'de> for ListOrRule {
    type Value = Bounds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of bounds, or linear: {start, width, count}, or exponential: {start, factor, count}",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Bounds, A::Error> {
        let mut bounds = Vec::<f64>::deserialize(SeqAccessDeserializer::new(items))?;
        // `+Inf` may be written; it is there in any case.
        if bounds.last() == Some(&f64::INFINITY) {
            bounds.pop();
        }
        checked(bounds)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Bounds, A::Error> {
        match Rule::deserialize(MapAccessDeserializer::new(map))? {
            Rule::Linear { start, width, count } => {
                checked((0..count).map(|step| start + width * f64::from(step)).collect())
            }
            Rule::Exponential(rule) => checked(rule.bounds().map_err(A::Error::custom)?),
        }
    }
}

fn checked<E: serde::de::Error>(bounds: Vec<f64>) -> Result<Bounds, E> {
    let ascending = bounds.iter().zip(bounds.iter().skip(1)).all(|(low, high)| low < high);
    let is_fine = !bounds.is_empty() && bounds.len() <= BOUNDS_MAX && ascending;
    if is_fine && bounds.iter().all(|bound| bound.is_finite()) {
        return Ok(Bounds(bounds));
    }
    Err(E::custom(format!("bucket bounds must ascend, 1 to {BOUNDS_MAX} of them, all finite")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse_yaml;

    fn read(text: &str) -> Result<Vec<f64>, String> {
        parse_yaml::<Bounds>("b.yaml", text).map(|bounds| bounds.0)
    }

    #[test]
    fn bounds_are_listed_or_made_by_a_rule() {
        for (text, expected) in [
            ("[1, 2.5, .inf]", vec![1.0, 2.5]),
            ("{linear: {start: 1, width: 2, count: 3}}", vec![1.0, 3.0, 5.0]),
            ("{exponential: {start: 1, factor: 2, count: 4}}", vec![1.0, 2.0, 4.0, 8.0]),
            ("{exponential: {min: 0.5, max: 3, factor: 2}}", vec![0.5, 1.0, 2.0, 3.0]),
            ("{exponential: {min: 0.5, max: 2, factor: 2}}", vec![0.5, 1.0, 2.0]),
        ] {
            assert_eq!(Ok(expected), read(text), "{text}");
        }
        let between = read("{exponential: {min: 0.000001, max: 1e9, factor: 1.01}}").unwrap();
        assert_eq!((101, Some(&1e9)), (between.len(), between.last()));
    }

    #[test]
    fn what_makes_no_buckets_says_why() {
        for (text, words) in [
            ("[]", "must ascend"),
            ("[2, 1]", "must ascend"),
            ("{exponential: {start: 1, factor: 2}}", "start, factor and count, or min, max and factor"),
            ("{exponential: {min: 1, max: 9, factor: 1}}", "above 1"),
            ("{exponential: {min: 0, max: 9, factor: 2}}", "above 0"),
            ("{exponential: {start: 1, factor: 2, count: 3, min: 1}}", "or min, max and factor"),
            ("{linear: {start: 1, width: 0, count: 3}}", "must ascend"),
            ("{linear: {start: 1, width: 1, count: 60000}}", "1 to 200"),
            ("{quadratic: {start: 1}}", "quadratic"),
            ("5", "list of bounds"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
