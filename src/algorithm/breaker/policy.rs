use std::time::Duration;

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
#[derive(Clone, Debug)]
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
