//! Whether calls are short of time.
//!
//! A service that is used nearly to its capacity has calls that queue inside it, and serves all of them in time. To measure its knee, or
//! to hold calls back before it, would do them no good, and a limit that is a little too low would do harm. So a limit is
//! questioned only while calls are short of time: they get no answer in time, or have to be refused because they could not get one, or
//! take more than half of the time that they have ([`SHARE`]). A maximum is questioned when [most](GRAVE) calls are. A service
//! without a queue whose times are exponential fails a quarter of its calls by then. A limit that has been lowered is measured while one
//! call in [`ONE_IN`] is short: of the calls that it admits, few are.
//!
//! When that is long over, the limit is the maximum again. What was learned may no longer be true: a service that has to wait longer for
//! its own dependencies needs more calls in flight, and would take minutes to show it at a low limit.

use std::time::Duration;

/// Of the time that a call has when it is admitted: a half. With ten slots and 25 times as much time as a call takes on average, hardly a
/// call takes so long at 0.9 of the capacity, and one in ten at 0.98 (M/M/10).
const SHARE: u32 = 2;

/// So many calls are no accident.
const ONE_IN: f64 = 16.0;

/// A call that could have taken this many times as long without being short had ample time.
const AMPLE: u32 = 2;

/// So many of the admitted calls are most of them: a tail of slow calls decides nothing.
const MOST: f64 = 0.75;

/// Most calls.
const GRAVE: f64 = 0.5;

/// An overload is over after so many times the limit of calls that all had time enough.
const ROUNDS: f64 = 64.0;

/// The calls over which the share is averaged.
const MEMORY: f64 = 64.0;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shortage {
    /// Of the last calls; `None` while nothing is known.
    share: Option<f64>,
    /// Calls in a row that had time enough.
    in_time: u32,
    /// Of the last calls that were admitted, the share that had ample time.
    ample: f64,
}

impl Shortage {
    pub(super) fn record(&mut self, is_short: bool) {
        self.in_time = if is_short { 0 } else { self.in_time.saturating_add(1) };
        let share = self.share.unwrap_or(0.0);
        self.share = Some(share + (f64::from(u8::from(is_short)) - share) / MEMORY);
    }

    /// An admitted call has ended, and had ample time or not.
    pub(super) fn record_ample(&mut self, is_ample: bool) {
        self.ample += (f64::from(u8::from(is_ample)) - self.ample) / MEMORY;
    }

    /// Whether most calls that are admitted have ample time.
    pub(super) fn is_ample(self) -> bool {
        self.ample >= MOST
    }

    /// Whether calls have had time enough for so long that a limit for them no longer matters.
    pub(super) fn is_over(self, limit: usize) -> bool {
        f64::from(self.in_time) >= ROUNDS * limit as f64
    }

    /// Whether calls are known to have time enough.
    pub(super) fn have_time(self) -> bool {
        self.share.is_some_and(|share| share * MEMORY * 4.0 < 1.0)
    }

    /// Whether most calls are short of time, as far as anything is known.
    pub(super) fn is_grave(self) -> bool {
        self.share.is_none_or(|share| share >= GRAVE)
    }

    /// Whether too many calls are short of time, as far as anything is known.
    pub(super) fn is_likely(self) -> bool {
        self.share.is_none_or(|share| share * ONE_IN >= 1.0)
    }
}

/// Whether a call was short of time that took so long, and `had` so much when it was admitted.
pub(crate) fn is_short(took: Duration, had: Duration) -> bool {
    took.saturating_mul(SHARE) > had
}

/// Whether a call had ample time that took so long, and `had` so much when it was admitted.
pub(crate) fn is_ample(took: Duration, had: Duration) -> bool {
    took.saturating_mul(SHARE * AMPLE) <= had
}
