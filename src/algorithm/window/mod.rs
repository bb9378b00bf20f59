//! What a callee's last calls were like: how many, how many failed, how many were slow.
//!
//! Two windows, both of fixed size, lock-free and O(1) a call. [`TimeWindow`] covers the last stretch of time, whatever the
//! traffic; [`CountWindow`] covers the last so many calls, and really slides: what falls out is subtracted.
//!
//! Both are told the *era* of each outcome. When a new era begins, all that was counted is forgotten, and whatever comes late
//! from the era before is dropped.

mod count;
mod time;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

pub(crate) use self::count::{CountWindow, MAX_CALLS};
pub(crate) use self::time::TimeWindow;

use crate::ground::time::Instant;

/// What one call was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) failure: bool,
    pub(crate) slow: bool,
}

impl Outcome {
    pub(crate) const fn is_bad(self) -> bool {
        self.failure || self.slow
    }
}

/// What the calls of a window were like. A call can be both a failure and slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

/// One of the two.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a breaker, never moved; a box would cost every call a hop")]
pub(crate) enum Window {
    Time(TimeWindow),
    Count(CountWindow),
}

impl Window {
    /// Counts one call; says whether there is anything bad in the window, that is, whether a look at the counts can tell
    /// anything new. A window without a single bad outcome never sums anything up.
    #[inline]
    pub(crate) fn add(&self, era: u8, now: Instant, outcome: Outcome) -> bool {
        match self {
            Self::Time(window) => window.add(era, now, outcome),
            Self::Count(window) => window.add(era, outcome),
        }
    }

    pub(crate) fn counts(&self, era: u8, now: Instant) -> Counts {
        match self {
            Self::Time(window) => window.counts(era, now),
            Self::Count(window) => window.counts(era),
        }
    }

    /// Forgets everything and begins a new era. Only one caller at a time, and nobody adds to the new era before it is done;
    /// those of the era before may still be at it.
    pub(crate) fn begin(&self, era: u8) {
        match self {
            Self::Time(window) => window.begin(),
            Self::Count(window) => window.begin(era),
        }
    }
}
