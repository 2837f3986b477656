//! The latency histogram: eight decades, from below a microsecond to above a second.

/// Buckets.
pub const BUCKETS: usize = 8;

/// Upper bounds in nanoseconds: a sample lies in the first bucket whose bound is above it, or else in the last.
pub const BOUNDS_NS: [u64; BUCKETS] =
    [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, u64::MAX];

/// What people call the buckets, ten characters each.
pub const LABELS: [&str; BUCKETS] =
    ["     0-1us", "    1-10us", "  10-100us", "100us-1ms ", "   1-10ms ", " 10-100ms ", "100ms-1s  ", "      >1s "];

/// One million millionths: the whole.
const WHOLE: u32 = 1_000_000;

/// The bucket of the smallest number of so many bits. Bounds lie more than a factor of two apart, so that a number is
/// in that bucket or in the next.
const BUCKET_OF_BITS: [u8; 65] = {
    let mut table = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let mut bucket = 0;
        while bucket < BUCKETS - 1 && BOUNDS_NS[bucket] <= 1 << (bits - 1) {
            bucket += 1;
        }
        table[bits] = bucket as u8;
        bits += 1;
    }
    table
};

/// The bucket of a sample.
#[inline]
#[must_use]
pub fn bucket_of(ns: u64) -> usize {
    let first = usize::from(BUCKET_OF_BITS[(u64::BITS - ns.leading_zeros()) as usize]);
    (first + usize::from(ns >= BOUNDS_NS[first])).min(BUCKETS - 1)
}

/// How many samples lie in which bucket. Counts stop at 2⁶⁴-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
}

impl Histogram {
    /// Counts a sample.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        let bucket = &mut self.buckets[bucket_of(ns)];
        *bucket = bucket.saturating_add(1);
    }

    /// Adds the samples of another one.
    pub fn add(&mut self, other: &Histogram) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own = own.saturating_add(*more);
        }
    }

    /// Samples by bucket.
    #[must_use]
    pub const fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }

    /// Samples in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// The smallest bound below which at least ⌈total · p⌉ samples lie, p in millionths (990000 is the 99th
    /// percentile; more than the whole counts as the whole). None without samples.
    #[must_use]
    pub fn percentile(&self, millionths: u32) -> Option<u64> {
        self.locate(millionths).map(|(bucket, ..)| BOUNDS_NS[bucket])
    }

    /// The same percentile, estimated within its bucket as if the samples lay evenly between the bucket's bounds, or
    /// between `min` and `max`, the extremes of the samples, where those are tighter.
    #[must_use]
    pub fn interpolated(&self, millionths: u32, min: u64, max: u64) -> Option<u64> {
        let (bucket, place, of) = self.locate(millionths)?;
        let low = if bucket == 0 { 0 } else { BOUNDS_NS[bucket - 1] }.max(min);
        let high = BOUNDS_NS[bucket].min(max).max(low);
        Some(low + (u128::from(high - low) * u128::from(place) / u128::from(of)) as u64)
    }

    /// The bucket of a percentile, its place in it counted from 1, and the samples of that bucket.
    fn locate(&self, millionths: u32) -> Option<(usize, u64, u64)> {
        let total: u128 = self.buckets.iter().map(|&n| u128::from(n)).sum();
        let share = u128::from(millionths.min(WHOLE));
        let mut rank = (total * share).div_ceil(u128::from(WHOLE)).max(1);
        for (bucket, &count) in self.buckets.iter().enumerate() {
            if rank <= u128::from(count) {
                return Some((bucket, rank as u64, count));
            }
            rank -= u128::from(count);
        }
        None
    }

    /// Forgets all samples.
    pub fn reset(&mut self) {
        *self = Histogram::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const P50: u32 = 500_000;
    const P90: u32 = 900_000;
    const P99: u32 = 990_000;

    fn of(samples: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        samples.into_iter().for_each(|ns| histogram.record(ns));
        histogram
    }

    #[test]
    fn a_sample_lies_below_its_bound() {
        // The definition, by a search through the bounds.
        let slow = |ns: u64| BOUNDS_NS.iter().position(|&bound| ns < bound).unwrap_or(BUCKETS - 1);
        let around = |ns: u64| [ns.wrapping_sub(1), ns, ns.wrapping_add(1)];
        let decades = BOUNDS_NS.into_iter().flat_map(around);
        let powers = (0..64).map(|bit| 1 << bit).flat_map(around);
        for ns in decades.chain(powers).chain([0, 500, 5_000, 5_000_000, 2_000_000_000]) {
            assert_eq!(bucket_of(ns), slow(ns), "{ns}");
        }
        assert_eq!([0, 999, 1000, 5_000_000, u64::MAX].map(bucket_of), [0, 0, 1, 4, 7]);
    }

    #[test]
    fn bounds_and_labels_go_together() {
        assert!(BOUNDS_NS.is_sorted());
        assert!(LABELS.iter().all(|label| label.len() == 10));
    }

    #[test]
    fn percentiles_are_bounds() {
        assert_eq!(of([]).percentile(P50), None);
        let all = of(std::iter::repeat_n(500, 100));
        assert_eq!([P50, P90, P99].map(|p| all.percentile(p)), [Some(1000); 3]);
        let half = of((0..100).map(|i| if i < 50 { 500 } else { 5000 }));
        assert_eq!([P50, P90].map(|p| half.percentile(p)), [Some(1000), Some(10_000)]);
        assert_eq!(of([5_000]).percentile(P50), Some(10_000), "an empty first bucket is no answer");
        assert_eq!(of([2_000_000_000]).percentile(P50), Some(u64::MAX));
    }

    #[test]
    fn the_rank_is_rounded_up() {
        // Of three samples, half is one and a half: the second one decides.
        let three = of([500, 5_000, 50_000]);
        assert_eq!(
            [0, 333_333, 333_334, P50, 666_667, 2_000_000].map(|p| three.percentile(p)).map(Option::unwrap),
            [1_000, 1_000, 10_000, 10_000, 100_000, 100_000]
        );
        // 7 % of 100 is 7, which floating point takes for a little more.
        let seven = of((0..100).map(|i| if i < 7 { 500 } else { 5_000 }));
        assert_eq!(seven.percentile(70_000), Some(1_000));
    }

    #[test]
    fn interpolation_lies_between_the_extremes() {
        let even = of((0..10).map(|i| 1_000 + i * 1_000));
        assert_eq!(even.interpolated(P50, 1_000, 10_000), Some(6_000), "rank 5 of the 9 between 1 us and 10 us");
        assert_eq!(of([5_000]).interpolated(P50, 5_000, 5_000), Some(5_000));
        assert_eq!(
            of([2_000_000_000, 4_000_000_000]).interpolated(P50, 2_000_000_000, 4_000_000_000),
            Some(3_000_000_000)
        );
        assert_eq!(of([u64::MAX]).interpolated(P99, u64::MAX, u64::MAX), Some(u64::MAX));
        assert_eq!(of([]).interpolated(P50, 0, 0), None);
    }

    #[test]
    fn counts_stop_at_the_largest() {
        let mut full = Histogram { buckets: [u64::MAX; BUCKETS] };
        full.record(0);
        assert_eq!((full.buckets()[0], full.total()), (u64::MAX, u64::MAX));
        assert_eq!(full.percentile(P50), Some(1_000_000));
        full.reset();
        assert_eq!(full, Histogram::default());
    }
}
