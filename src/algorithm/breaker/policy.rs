use std::time::Duration;

use crate::ground::time;

/// From when on a call is slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SlowAfter {
    Fixed(Duration),
    /// So many times the median success, but never less than `floor`.
    Relative {
        factor: f64,
        floor: Duration,
    },
}

/// The thresholds of a half-open phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// For how long a probe may hold its place.
    pub(super) place: Duration,
    /// From when on an answer is slow.
    pub(super) slow: Duration,
    /// From when on a probe without a head has failed.
    pub(super) hangs: Duration,
}

/// How many times the floor a dependency that has never answered is given at most. The cohorts of [`ages`](crate::algorithm::ages)
/// cover two thresholds; beyond ten floors, those that began before the first answers would outlive the ring of those after.
const LONGEST_COLD_FACTOR: f64 = 10.0;

/// The numbers of a breaker. Validated by whoever makes it; odd ones misbehave but do not panic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Policy {
    /// In `0..=1`, not zero; a share of failures this high trips.
    pub(crate) failure_rate: f64,
    /// The same for slow calls; `None`: slowness never trips.
    pub(crate) slow_rate: Option<f64>,
    /// So many calls in a row without a good answer trip, whatever the rate.
    pub(crate) bad_in_a_row: Option<u32>,
    /// No rate is looked at before there were so many calls.
    pub(crate) minimum_calls: u32,
    pub(crate) slow_after: SlowAfter,
    pub(crate) break_for: Duration,
    /// How many breaks in a row are of that length, before they grow.
    pub(crate) short_breaks: u32,
    pub(crate) break_growth: f64,
    pub(crate) max_break: Duration,
    /// By what share a break may be cut short, at random.
    pub(crate) jitter: f64,
    /// How many rounds of probes must be good: 1, 2, 4, … probes.
    pub(crate) rounds: u32,
}

/// The part of a policy that every call of a closed breaker looks at, in the form in which it is quickest to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Zero: never.
    bad_in_a_row: u32,
    pub(super) minimum_calls: u32,
    /// Zero: the threshold is fixed.
    factor: f64,
    /// The fixed threshold, or the floor of a relative one; in nanoseconds.
    after: u64,
}

impl Pace {
    /// What nothing is ever slow before.
    pub(crate) fn floor(&self) -> Duration {
        Duration::from_nanos(self.after)
    }

    /// The slow threshold, given the median success, if that is known.
    #[inline]
    pub(super) fn slow_after(&self, median: Option<Duration>) -> Option<Duration> {
        if self.factor == 0.0 {
            return Some(Duration::from_nanos(self.after));
        }
        // In nanoseconds, where `as` saturates: factors are the user's, and `Duration` would panic.
        median.map(|median| Duration::from_nanos(((time::nanos(median) as f64 * self.factor) as u64).max(self.after)))
    }

    /// The same; of a dependency that has never answered, the floor.
    #[inline]
    pub(crate) fn slow_or_floor(&self, median: Option<Duration>) -> Duration {
        self.slow_after(median).unwrap_or_else(|| self.floor())
    }

    /// From when on a call in flight is overdue. A dependency that has never answered may be one whose answers take long, so it is
    /// given several times the floor.
    #[inline]
    pub(super) fn overdue_after(&self, median: Option<Duration>) -> Duration {
        self.slow_after(median)
            .unwrap_or_else(|| Duration::from_nanos((self.after as f64 * self.factor.min(LONGEST_COLD_FACTOR)) as u64))
    }

    /// So many calls without an answer are enough to tell that there is none.
    #[inline]
    pub(super) fn is_row_of_silence(&self, in_a_row: u64) -> bool {
        in_a_row >= u64::from(self.minimum_calls) || self.is_row_too_long(in_a_row)
    }

    #[inline]
    pub(super) fn is_row_too_long(&self, in_a_row: u64) -> bool {
        self.bad_in_a_row != 0 && in_a_row >= u64::from(self.bad_in_a_row)
    }
}

impl Policy {
    pub(crate) fn pace(&self) -> Pace {
        let (factor, after) = match self.slow_after {
            SlowAfter::Fixed(after) => (0.0, after),
            SlowAfter::Relative { factor, floor } => (factor, floor),
        };
        Pace {
            bad_in_a_row: self.bad_in_a_row.unwrap_or(0),
            minimum_calls: self.minimum_calls,
            factor,
            after: time::nanos(after),
        }
    }

    /// The thresholds of probes, when breaks are of length `pause`.
    ///
    /// A relative threshold is of the time before the outage, and a dependency may come back slower than it was. So the answer of a
    /// probe may take as long as a break at least: breaks grow, so every dependency that answers within the longest one comes back.
    /// Nor does a probe hang before that, or half-open would be stricter than closed, where what is slow may still be answered.
    pub(super) fn thresholds(&self, median: Option<Duration>, pause: Duration) -> Thresholds {
        let place = self.pace().slow_or_floor(median);
        let slow = match self.slow_after {
            SlowAfter::Fixed(after) => after,
            SlowAfter::Relative { .. } => place.max(pause),
        };
        Thresholds { place, slow, hangs: slow.max(pause) }
    }

    /// The length of the `n`th break in a row, the first being 1, before jitter.
    pub(super) fn pause(&self, n: u32) -> Duration {
        let grown = n.saturating_sub(self.short_breaks.max(1));
        let factor = self.break_growth.powf(f64::from(grown));
        let longest = self.max_break.max(self.break_for);
        Duration::try_from_secs_f64(self.break_for.as_secs_f64() * factor).map_or(longest, |pause| pause.min(longest))
    }

    /// A break cut short by up to `jitter`, so that a fleet does not come back in step.
    pub(super) fn jittered(&self, pause: Duration, chance: f64) -> Duration {
        let share = (1.0 - self.jitter * chance).clamp(0.0, 1.0);
        Duration::from_nanos((pause.as_nanos() as f64 * share) as u64)
    }

    pub(super) fn too_many_failures(&self, failures: f64, calls: f64) -> bool {
        calls > 0.0 && failures / calls >= self.failure_rate
    }

    pub(super) fn too_many_slow(&self, slow: f64, calls: f64) -> bool {
        calls > 0.0 && self.slow_rate.is_some_and(|rate| slow / calls >= rate)
    }
}
