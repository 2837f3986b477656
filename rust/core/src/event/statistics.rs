//! Counts and durations of one tracepoint.

use super::histogram::Histogram;

/// What happened at a tracepoint. Every event counts; those with a duration are samples, a duration of 0 among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    count: u64,
    samples: u64,
    total_ns: u128,
    min_ns: u64,
    max_ns: u64,
    last_timestamp_ns: u64,
    histogram: Histogram,
}

impl Statistics {
    /// Counts an event without a duration.
    #[inline]
    pub fn record_hit(&mut self, time_ns: u64) {
        self.count = self.count.saturating_add(1);
        self.last_timestamp_ns = time_ns;
    }

    /// Counts an event with a duration.
    #[inline]
    pub fn record_duration(&mut self, time_ns: u64, duration_ns: u64) {
        self.record_hit(time_ns);
        self.sample(std::iter::once(duration_ns));
    }

    /// Counts `count` events, the last one at `last_time_ns`, with these durations. No events leave all as it is.
    pub fn record_batch(&mut self, count: u64, last_time_ns: u64, durations_ns: impl IntoIterator<Item = u64>) {
        if count > 0 {
            self.count = self.count.saturating_add(count);
            self.last_timestamp_ns = last_time_ns;
            self.sample(durations_ns.into_iter());
        }
    }

    #[inline]
    fn sample(&mut self, durations_ns: impl Iterator<Item = u64>) {
        let mut min = if self.samples == 0 { u64::MAX } else { self.min_ns };
        let (mut max, mut total, mut samples) = (self.max_ns, self.total_ns, self.samples);
        for ns in durations_ns {
            min = min.min(ns);
            max = max.max(ns);
            total = total.saturating_add(u128::from(ns));
            samples = samples.saturating_add(1);
            self.histogram.record(ns);
        }
        (self.min_ns, self.max_ns, self.total_ns, self.samples) = (min, max, total, samples);
    }

    /// Adds what was counted elsewhere, where the last event was later than the last one here.
    pub fn add(&mut self, later: &Statistics) {
        let min = match (self.min_ns(), later.min_ns()) {
            (Some(own), Some(other)) => own.min(other),
            (own, other) => own.or(other).unwrap_or_default(),
        };
        if let Some(last) = later.last_timestamp_ns() {
            self.last_timestamp_ns = last;
        }
        self.min_ns = min;
        self.max_ns = self.max_ns.max(later.max_ns);
        self.count = self.count.saturating_add(later.count);
        self.samples = self.samples.saturating_add(later.samples);
        self.total_ns = self.total_ns.saturating_add(later.total_ns);
        self.histogram.add(&later.histogram);
    }

    /// Events, with and without a duration. Stops at 2⁶⁴-1.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Events with a duration. Stops at 2⁶⁴-1.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Sum of the durations, in nanoseconds.
    #[must_use]
    pub const fn total_ns(&self) -> u128 {
        self.total_ns
    }

    /// Shortest duration; None without samples.
    #[must_use]
    pub fn min_ns(&self) -> Option<u64> {
        (self.samples > 0).then_some(self.min_ns)
    }

    /// Longest duration; None without samples.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.samples > 0).then_some(self.max_ns)
    }

    /// Mean of the durations, rounded down; None without samples. Events without a duration do not count.
    #[must_use]
    pub fn avg_ns(&self) -> Option<u64> {
        self.total_ns.checked_div(u128::from(self.samples)).map(|ns| ns as u64)
    }

    /// Time of the last event; None before the first.
    #[must_use]
    pub fn last_timestamp_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.last_timestamp_ns)
    }

    /// Durations by decade.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// A percentile of the durations as a bucket's bound, see [`Histogram::percentile`].
    #[must_use]
    pub fn percentile(&self, millionths: u32) -> Option<u64> {
        self.histogram.percentile(millionths)
    }

    /// A percentile of the durations estimated within its bucket, see [`Histogram::interpolated`].
    #[must_use]
    pub fn interpolated(&self, millionths: u32) -> Option<u64> {
        self.histogram.interpolated(millionths, self.min_ns()?, self.max_ns()?)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Statistics::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn of(durations: &[u64]) -> Statistics {
        let mut statistics = Statistics::default();
        durations.iter().for_each(|&ns| statistics.record_duration(0, ns));
        statistics
    }

    #[test]
    fn nothing_is_known_before_the_first_event() {
        let fresh = Statistics::default();
        assert_eq!((fresh.count(), fresh.samples(), fresh.total_ns()), (0, 0, 0));
        assert_eq!([fresh.min_ns(), fresh.max_ns(), fresh.avg_ns(), fresh.last_timestamp_ns()], [None; 4]);
        assert_eq!([fresh.percentile(500_000), fresh.interpolated(500_000)], [None; 2]);
    }

    #[test]
    fn hits_count_without_diluting_the_average() {
        let mut statistics = of(&[100, 200, 300]);
        (1..=10).for_each(|time| statistics.record_hit(time));
        assert_eq!((statistics.count(), statistics.samples(), statistics.total_ns()), (13, 3, 600));
        assert_eq!([statistics.min_ns(), statistics.max_ns(), statistics.avg_ns()], [100, 300, 200].map(Some));
        assert_eq!(statistics.last_timestamp_ns(), Some(10));
    }

    #[test]
    fn zero_is_a_duration() {
        let statistics = of(&[0]);
        assert_eq!((statistics.samples(), statistics.min_ns(), statistics.max_ns()), (1, Some(0), Some(0)));
        assert_eq!(of(&[500, 100, 900]).min_ns(), Some(100));
        assert_eq!(of(&[500, 0, 900]).min_ns(), Some(0));
    }

    #[test]
    fn a_batch_is_its_events_one_by_one() {
        let durations = [0, 7, 1_500, 10_000_000_000, u64::MAX];
        let mut single = Statistics::default();
        single.record_hit(1);
        for (i, &ns) in durations.iter().enumerate() {
            single.record_duration(2 + i as u64, ns);
        }
        let mut batch = Statistics::default();
        batch.record_batch(1, 1, []);
        batch.record_batch(2, 3, durations[..2].iter().copied());
        batch.record_batch(0, 99, []);
        batch.record_batch(3, 6, durations[2..].iter().copied());
        assert_eq!(batch, single);
    }

    #[test]
    fn two_halves_are_added_to_the_whole() {
        let durations = [500, 0, 7, 1_500, 10_000_000_000, u64::MAX];
        for middle in 0..=durations.len() {
            let (mut first, mut second) = (Statistics::default(), Statistics::default());
            let mut whole = Statistics::default();
            for (n, &ns) in durations.iter().enumerate() {
                let half = if n < middle { &mut first } else { &mut second };
                half.record_duration(n as u64, ns);
                whole.record_duration(n as u64, ns);
            }
            first.add(&second);
            assert_eq!(first, whole, "{middle}");
        }
    }

    #[test]
    fn sums_beyond_64_bits_and_full_counters() {
        let statistics = of(&[u64::MAX, u64::MAX]);
        assert_eq!((statistics.total_ns(), statistics.avg_ns()), (2 * u128::from(u64::MAX), Some(u64::MAX)));
        let mut full = Statistics::default();
        full.record_batch(u64::MAX, 0, []);
        full.record_duration(5, 1);
        assert_eq!((full.count(), full.samples(), full.last_timestamp_ns()), (u64::MAX, 1, Some(5)));
    }

    #[test]
    fn reset_forgets() {
        let mut statistics = of(&[1, 2, 3]);
        statistics.reset();
        assert_eq!(statistics, Statistics::default());
    }
}
