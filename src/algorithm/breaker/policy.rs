use std::time::Duration;

use crate::ground::live::{Settings, pack_pair, unpack_pair};
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

impl SlowAfter {
    /// What nothing is ever slow before.
    pub(crate) fn floor(self) -> Duration {
        match self {
            Self::Fixed(after) => after,
            Self::Relative { floor, .. } => floor,
        }
    }
}

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

/// No rate and no number of calls is zero, and no factor: zero stands for "none", and for a fixed threshold.
impl Settings<10> for Policy {
    fn pack(&self) -> [u64; 10] {
        let (factor, after) = match self.slow_after {
            SlowAfter::Fixed(after) => (0.0, after),
            SlowAfter::Relative { factor, floor } => (factor, floor),
        };
        [
            self.failure_rate.to_bits(),
            self.slow_rate.unwrap_or(0.0).to_bits(),
            pack_pair(self.bad_in_a_row.unwrap_or(0), self.minimum_calls),
            pack_pair(self.short_breaks, self.rounds),
            factor.to_bits(),
            time::nanos(after),
            time::nanos(self.break_for),
            self.break_growth.to_bits(),
            time::nanos(self.max_break),
            self.jitter.to_bits(),
        ]
    }

    #[inline]
    fn unpack(words: [u64; 10]) -> Self {
        let [failure_rate, slow_rate, calls, breaks, factor, after, break_for, break_growth, max_break, jitter] = words;
        let ((in_a_row, minimum_calls), (short_breaks, rounds)) = (unpack_pair(calls), unpack_pair(breaks));
        let after = Duration::from_nanos(after);
        Self {
            failure_rate: f64::from_bits(failure_rate),
            slow_rate: (slow_rate != 0).then(|| f64::from_bits(slow_rate)),
            bad_in_a_row: (in_a_row != 0).then_some(in_a_row),
            minimum_calls,
            slow_after: if factor == 0 {
                SlowAfter::Fixed(after)
            } else {
                SlowAfter::Relative { factor: f64::from_bits(factor), floor: after }
            },
            break_for: Duration::from_nanos(break_for),
            short_breaks,
            break_growth: f64::from_bits(break_growth),
            max_break: Duration::from_nanos(max_break),
            jitter: f64::from_bits(jitter),
            rounds,
        }
    }
}

impl Policy {
    /// The slow threshold, given the median success, if that is known.
    #[inline]
    pub(super) fn slow_after(&self, median: Option<Duration>) -> Option<Duration> {
        match self.slow_after {
            SlowAfter::Fixed(after) => Some(after),
            SlowAfter::Relative { factor, floor } => {
                // In nanoseconds, where `as` saturates: factors are the user's, and `Duration` would panic.
                median.map(|median| Duration::from_nanos((median.as_nanos() as f64 * factor) as u64).max(floor))
            }
        }
    }

    /// From when on a *probe* is slow, when breaks are of length `pause`.
    ///
    /// A relative threshold is of the time before the outage, and a callee may come back slower than it was. So a probe may take
    /// as long as a break at least: breaks grow, so every callee that answers within the longest one comes back.
    pub(super) fn probe_slow_after(&self, median: Option<Duration>, pause: Duration) -> Duration {
        match self.slow_after {
            SlowAfter::Fixed(after) => after,
            SlowAfter::Relative { .. } => self.slow_after(median).map_or(pause, |after| after.max(pause)),
        }
    }

    /// From when on a probe in flight hangs: not before a break is over, or half-open would be stricter than closed, where
    /// what is slow may still be answered.
    pub(super) fn probe_hangs_after(&self, median: Option<Duration>, pause: Duration) -> Duration {
        self.probe_slow_after(median, pause).max(pause)
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

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_policy_comes_back_as_it_was_packed(
            rates in (1e-9..=1.0, prop::option::of(1e-9..=1.0), 0.0..=1.0),
            calls in (prop::option::of(1u32..), 1u32.., 1u32.., 1u32..=10),
            factors in (prop::option::of(1.0..1e12), 1.0..1e12),
            times: [u64; 3],
        ) {
            let [after, break_for, max_break] = times.map(Duration::from_nanos);
            let policy = Policy {
                failure_rate: rates.0,
                slow_rate: rates.1,
                bad_in_a_row: calls.0,
                minimum_calls: calls.1,
                slow_after: match factors.0 {
                    Some(factor) => SlowAfter::Relative { factor, floor: after },
                    None => SlowAfter::Fixed(after),
                },
                break_for,
                short_breaks: calls.2,
                break_growth: factors.1,
                max_break,
                jitter: rates.2,
                rounds: calls.3,
            };
            prop_assert_eq!(Policy::unpack(policy.pack()), policy);
        }
    }
}
