use std::time::Duration;

use crate::ground::time;

/// The duration from which a call is slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SlowAfter {
    Fixed(Duration),
    /// `factor` times the median success, at least `floor`.
    Relative {
        factor: f64,
        floor: Duration,
    },
}

/// The thresholds of a half-open phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// How long a probe may hold its slot.
    pub(super) slot_timeout: Duration,
    /// An answer that takes this long is slow.
    pub(super) slow: Duration,
    /// A sent probe without a head has failed after this time.
    pub(super) hang_timeout: Duration,
}

/// The most floors that a dependency without any answer yet is given. The cohorts of [`ages`](super::ages) cover two
/// thresholds; beyond ten floors, the cohorts from before the first answers would outlive the ring of those after.
const LONGEST_COLD_FACTOR: f64 = 10.0;

/// The settings of a breaker. The caller validates them; invalid ones misbehave but do not panic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BreakerPolicy {
    /// In `(0, 1]`; a failure rate this high trips the breaker.
    pub(crate) failure_rate: f64,
    /// The same for slow calls; `None`: slow calls never trip.
    pub(crate) slow_rate: Option<f64>,
    /// This many consecutive calls without a good answer trip, whatever the rate.
    pub(crate) bad_in_a_row: Option<u32>,
    /// Rates are not judged with fewer calls.
    pub(crate) minimum_calls: u32,
    pub(crate) slow_after: SlowAfter,
    pub(crate) break_for: Duration,
    /// This many consecutive breaks have the length `break_for`; later ones grow.
    pub(crate) short_breaks: u32,
    pub(crate) break_growth: f64,
    pub(crate) max_break: Duration,
    /// The largest share of a break that is cut off at random.
    pub(crate) jitter: f64,
    /// The rounds of probes that must be good: 1, 2, 4, … probes.
    pub(crate) rounds: u32,
}

impl BreakerPolicy {
    /// No call that took less is slow.
    #[inline]
    pub(crate) fn floor(&self) -> Duration {
        match self.slow_after {
            SlowAfter::Fixed(after) => after,
            SlowAfter::Relative { floor, .. } => floor,
        }
    }

    /// The slow threshold, given the median success; `None` if it needs the median and that is unknown.
    #[inline]
    pub(super) fn slow_after(&self, median: Option<Duration>) -> Option<Duration> {
        match self.slow_after {
            SlowAfter::Fixed(after) => Some(after),
            SlowAfter::Relative { factor, floor } => median.map(|median| times(median, factor).max(floor)),
        }
    }

    /// The same; the floor while the median is unknown.
    #[inline]
    pub(super) fn slow_or_floor(&self, median: Option<Duration>) -> Duration {
        self.slow_after(median).unwrap_or_else(|| self.floor())
    }

    /// The age from which a call in flight is overdue. A dependency that has never answered may be slow by nature, so it is given
    /// several floors.
    #[inline]
    pub(super) fn overdue_after(&self, median: Option<Duration>) -> Duration {
        match self.slow_after {
            SlowAfter::Relative { factor, floor } if median.is_none() => times(floor, factor.min(LONGEST_COLD_FACTOR)),
            _ => self.slow_or_floor(median),
        }
    }

    /// Whether this many consecutive calls without an answer prove that the dependency does not answer.
    pub(super) fn is_unanswered_streak(&self, in_a_row: u64) -> bool {
        in_a_row >= u64::from(self.minimum_calls) || self.is_failure_streak(in_a_row)
    }

    pub(super) fn is_failure_streak(&self, in_a_row: u64) -> bool {
        self.bad_in_a_row.is_some_and(|streak| in_a_row >= u64::from(streak))
    }

    /// The thresholds of probes, when breaks have the length `pause`.
    ///
    /// A relative threshold stems from before the outage, and the dependency may come back slower. So an answer to a probe may take
    /// at least as long as the break. Breaks grow, so every dependency that answers within the longest break recovers. A probe does
    /// not count as hanging before that, either: half-open would be stricter than closed, where a slow call may still be answered.
    pub(super) fn thresholds(&self, median: Option<Duration>, pause: Duration) -> Thresholds {
        let slot_timeout = self.slow_or_floor(median);
        let slow = match self.slow_after {
            SlowAfter::Fixed(after) => after,
            SlowAfter::Relative { .. } => slot_timeout.max(pause),
        };
        Thresholds { slot_timeout, slow, hang_timeout: slow.max(pause) }
    }

    /// The length of the `n`th consecutive break, the first being 1, before jitter.
    pub(super) fn pause(&self, n: u32) -> Duration {
        let grown = n.saturating_sub(self.short_breaks.max(1));
        let factor = self.break_growth.powf(f64::from(grown));
        let longest = self.max_break.max(self.break_for);
        Duration::try_from_secs_f64(self.break_for.as_secs_f64() * factor).map_or(longest, |pause| pause.min(longest))
    }

    /// A break shortened by up to `jitter`, so that the clients of a fleet do not return at the same time.
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

/// In nanoseconds, where `as` saturates: factors are user input, and `Duration` would panic.
#[inline]
fn times(duration: Duration, factor: f64) -> Duration {
    Duration::from_nanos((time::nanos(duration) as f64 * factor) as u64)
}
