//! Exemplars: the request that fell into a bucket last.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

/// One observation of a histogram, and the request that caused it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Index of the bucket that it fell into.
    pub bucket: u16,
    /// What was observed.
    pub value: f64,
    /// When, in seconds since 1970.
    pub at: u32,
    /// The request's id.
    pub request_id: &'a str,
}

/// The newest exemplar of each bucket of one series. A copy shares them until the original takes another one.
///
/// They lie one after the other in one allocation, since there can be one for each bucket of each series: an id of 36
/// characters takes 52 bytes. Each is a head, then the id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemplars {
    packed: Arc<[u8]>,
}

/// Bytes before an id.
const HEAD: usize = 16;

/// All of an exemplar but its id: one number of 16 bytes, little-endian.
#[derive(Clone, Copy)]
struct Head {
    value: f64,
    at: u32,
    bucket: u16,
    /// Of the id, in bytes.
    length: u16,
}

impl Head {
    fn packed(self) -> [u8; HEAD] {
        let Self { value, at, bucket, length } = self;
        let (value, at) = (u128::from(value.to_bits()), u128::from(at));
        (value | at << 64 | u128::from(bucket) << 96 | u128::from(length) << 112).to_le_bytes()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the number is taken apart")]
    const fn unpacked(bytes: [u8; HEAD]) -> Self {
        let packed = u128::from_le_bytes(bytes);
        let value = f64::from_bits(packed as u64);
        Self {
            value,
            at: (packed >> 64) as u32,
            bucket: (packed >> 96) as u16,
            length: (packed >> 112) as u16,
        }
    }
}

/// Where an exemplar lies.
struct Slot {
    start: usize,
    end: usize,
    bucket: u16,
}

impl Exemplar<'_> {
    /// The name of the label that holds the request's id.
    pub const LABEL: &'static str = "request_id";
}

impl Exemplars {
    /// Takes an exemplar in place of its bucket's last one. Of one second the first one stays: Prometheus takes only
    /// what is newer. An id of 65 536 bytes or more has no room.
    pub fn put(&mut self, new: &Exemplar<'_>) {
        self.offer(new.bucket, new.at, new.value, new.request_id.as_bytes());
    }

    /// The same of an id in bytes; one that is not UTF-8 is not shown.
    pub(crate) fn offer(&mut self, bucket: u16, at: u32, value: f64, id: &[u8]) {
        let Ok(length) = u16::try_from(id.len()) else { return };
        let head = Head { value, at, bucket, length }.packed();
        let old = self.slots().find(|slot| slot.bucket == bucket);
        let Some(Slot { start, end, .. }) = old else {
            return self.replace(self.packed.len()..self.packed.len(), &head, id);
        };
        if self.head(start).is_none_or(|old| old.at >= at) {
            return;
        }
        if end - start != HEAD + id.len() {
            return self.replace(start..end, &head, id);
        }
        if let Some(place) = Arc::make_mut(&mut self.packed).get_mut(start..end)
            && let Some((place_of_head, place_of_id)) = place.split_first_chunk_mut::<HEAD>()
        {
            *place_of_head = head;
            place_of_id.copy_from_slice(id);
        }
    }

    /// Puts an exemplar where another one lay, or none: the first one of its bucket, or one of another length.
    #[cold]
    fn replace(&mut self, old: Range<usize>, head: &[u8; HEAD], id: &[u8]) {
        let before = self.packed.get(..old.start).unwrap_or_default();
        let after = self.packed.get(old.end..).unwrap_or_default();
        let parts = [before, head, id, after];
        // Zeros first, so that there is only one allocation.
        let mut packed: Arc<[u8]> = repeat_n(0, parts.iter().map(|part| part.len()).sum()).collect();
        let mut rest = Arc::get_mut(&mut packed).unwrap_or_default();
        for part in parts {
            let Some((place, next)) = rest.split_at_mut_checked(part.len()) else { return };
            place.copy_from_slice(part);
            rest = next;
        }
        self.packed = packed;
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Exemplar<'_>> {
        self.slots().filter_map(|slot| {
            let Head { value, at, bucket, .. } = self.head(slot.start)?;
            let request_id = str::from_utf8(self.packed.get(slot.start + HEAD..slot.end)?).ok()?;
            Some(Exemplar { bucket, value, at, request_id })
        })
    }

    /// The same with other values: in another unit.
    #[must_use]
    pub fn with_values(&self, convert: impl Fn(f64) -> f64) -> Self {
        let mut other = Self::default();
        self.iter().for_each(|old| other.put(&Exemplar { value: convert(old.value), ..old }));
        other
    }

    /// How many bytes they take.
    pub fn size(&self) -> usize {
        self.packed.len()
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let [.., b0, b1, l0, l1] = *self.packed.get(start..)?.first_chunk::<HEAD>()?;
            let end = start + HEAD + usize::from(u16::from_le_bytes([l0, l1]));
            let slot = Slot { start, end, bucket: u16::from_le_bytes([b0, b1]) };
            start = end;
            Some(slot)
        })
    }

    fn head(&self, start: usize) -> Option<Head> {
        Some(Head::unpacked(*self.packed.get(start..)?.first_chunk()?))
    }
}

/// As bytes: one by one they would take as many steps.
impl Serialize for Exemplars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.packed)
    }
}

impl<'de> Deserialize<'de> for Exemplars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Packed;
        impl Visitor<'_> for Packed {
            type Value = Exemplars;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Exemplars, E> {
                Ok(Exemplars { packed: bytes.into() })
            }
        }
        deserializer.deserialize_bytes(Packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(bucket: u16, request_id: &str) -> Exemplar<'_> {
        Exemplar { bucket, value: f64::from(bucket) + 0.5, at: 7, request_id }
    }

    #[test]
    fn each_bucket_keeps_its_newest() {
        let mut kept = Exemplars::default();
        let one = |bucket, at, id| Exemplar { at, ..exemplar(bucket, id) };
        for (bucket, at, id) in [
            (3, 1, "a"),
            (0, 1, "bcd"),
            (3, 2, "e"),
            (0, 5, "f"),
            (0, 5, "g"),
            (0, 4, "h"),
            (3, 3, ""),
            (9, 0, "ü"),
        ] {
            kept.put(&one(bucket, at, id));
        }
        let mut all: Vec<_> = kept.iter().collect();
        all.sort_by_key(|exemplar| exemplar.bucket);
        assert_eq!([one(0, 5, "f"), one(3, 3, ""), one(9, 0, "ü")], *all);
        assert_eq!(3 * HEAD + 1 + 2, kept.size());
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut kept = Exemplars::default();
        kept.put(&exemplar(1, "a"));
        let copy = kept.clone();
        kept.put(&Exemplar { at: 8, ..exemplar(1, "b") });
        assert_eq!(
            ("a", "b"),
            (copy.iter().next().unwrap().request_id, kept.iter().next().unwrap().request_id)
        );
        let half = kept.with_values(|value| value / 2.0);
        assert_eq!([0.75], *half.iter().map(|exemplar| exemplar.value).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_are_none_hold_nothing() {
        for packed in [&[1; 15][..], &[255; 16], &[255; 40]] {
            assert_eq!(0, Exemplars { packed: packed.into() }.iter().count());
        }
        let mut kept = Exemplars::default();
        kept.put(&exemplar(1, "abc"));
        let bytes = postcard::to_stdvec(&kept).unwrap();
        assert_eq!(kept, postcard::from_bytes(&bytes).unwrap());
    }
}
