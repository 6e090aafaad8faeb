//! Units as servers write them, and the base unit that each one stands for.

/// What a unit measures, in Prometheus' base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Seconds.
    Time,
    /// Bytes.
    Size,
    /// A share of one.
    Ratio,
    /// Events or things.
    Count,
}

impl Quantity {
    /// The suffix of a metric name in this base unit; none for plain counts.
    pub const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Time => Some("seconds"),
            Self::Size => Some("bytes"),
            Self::Ratio => Some("ratio"),
            Self::Count => None,
        }
    }
}

/// A unit word that is understood: what it measures, and its size in base units as a fraction.
///
/// Kept as a fraction because `v / 1000` is the correctly rounded double where `v * 0.001` is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// What it measures.
    pub quantity: Quantity,
    multiply: f64,
    divide: f64,
}

impl Unit {
    /// Reads a unit word in any case. The words are those of TorchServe (`ts/metrics/unit.py` and its
    /// `metrics.yaml`) and their common abbreviations; TorchServe's kilobyte is 1 024 bytes.
    pub fn parse(word: &str) -> Option<Self> {
        let lower = word.trim().to_ascii_lowercase();
        let (quantity, multiply, divide) = match lower.as_str() {
            "ns" | "nanosecond" | "nanoseconds" => (Quantity::Time, 1.0, 1e9),
            "us" | "µs" | "microsecond" | "microseconds" => (Quantity::Time, 1.0, 1e6),
            "ms" | "millisecond" | "milliseconds" => (Quantity::Time, 1.0, 1e3),
            "s" | "sec" | "second" | "seconds" => (Quantity::Time, 1.0, 1.0),
            "min" | "minute" | "minutes" => (Quantity::Time, 60.0, 1.0),
            "h" | "hour" | "hours" => (Quantity::Time, 3600.0, 1.0),
            "b" | "byte" | "bytes" => (Quantity::Size, 1.0, 1.0),
            "kb" | "kib" | "kilobyte" | "kilobytes" => (Quantity::Size, 1024.0, 1.0),
            "mb" | "mib" | "megabyte" | "megabytes" => (Quantity::Size, 1_048_576.0, 1.0),
            "gb" | "gib" | "gigabyte" | "gigabytes" => (Quantity::Size, 1_073_741_824.0, 1.0),
            "percent" | "%" => (Quantity::Ratio, 1.0, 100.0),
            "count" | "unit" | "" => (Quantity::Count, 1.0, 1.0),
            _ => return None,
        };
        Some(Self { quantity, multiply, divide })
    }

    /// The unit that values are in which need no conversion.
    pub const fn base(quantity: Quantity) -> Self {
        Self { quantity, multiply: 1.0, divide: 1.0 }
    }

    /// A value of this unit in another one of the same quantity.
    pub fn convert(self, value: f64, to: Self) -> f64 {
        let (multiply, divide) = (self.multiply * to.divide, self.divide * to.multiply);
        // One rounding where one number does: microseconds to milliseconds are a thousandth.
        if divide % multiply == 0.0 { value / (divide / multiply) } else { value * multiply / divide }
    }

    /// A value of this unit in the base unit.
    pub fn to_base(self, value: f64) -> f64 {
        value * self.multiply / self.divide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_both_dialects_mean_the_same() {
        for (long, short) in [("Milliseconds", "ms"), ("Percent", "percent"), ("Megabytes", "MB")] {
            assert_eq!(Unit::parse(long), Unit::parse(short), "{long} and {short}");
        }
        assert_eq!(None, Unit::parse("tokens per second"));
    }

    #[test]
    fn milliseconds_become_the_nearest_double_of_seconds() {
        let ms = Unit::parse("ms").map(|unit| unit.to_base(3.0));
        assert_eq!(Some(0.003), ms);
    }
}
