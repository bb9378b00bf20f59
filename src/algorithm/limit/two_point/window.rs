//! The measurement: how long calls take at one level of the limit.
//!
//! A window is a *cohort*: a number of successive admissions. It is over when nearly all of them have ended. A window of successive
//! completions would prefer quick calls, the more so the shorter it is: with calls of 10 ms and of 40 ms, the shorter window of the
//! lower level would contain hardly any slow call, and the level would look better than it is.
//!
//! The mean is taken of `ln(1 + took / (2 * scale))`. Where all calls become longer by a factor, it rises by the logarithm of the
//! factor times a slope, the mean of `x / (1 + x)`. Near the scale this is almost the mean of the times, the least noisy measure for
//! exponential times; far above it is the mean of their logarithms, so that one call in a hundred that takes a hundred times as long
//! does not decide alone.

use crate::algorithm::limit::ticket::Outcome;

/// A window is over when all but one in so many of its calls have ended: the rest may hang.
const STRAGGLERS: u32 = 16;

/// The calls of one cohort.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The number of admissions in the epoch before it.
    first: u32,
    size: u32,
    scale: f64,
    ended: u32,
    /// Calls that were admitted after the cohort, and have ended.
    later: u32,
    full: u32,
    slow: u32,
    timed: u32,
    /// The first value. The sums are of differences from it, so that no precision is lost.
    origin: f64,
    sum: f64,
    squares: f64,
    slopes: f64,
}

/// The result of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// The mean of the logarithmic times.
    pub(super) mean: f64,
    /// How it rises with the logarithm of the times.
    pub(super) slope: f64,
    /// The number of times in it.
    pub(super) count: f64,
    /// The variance of a single time, as a logarithm.
    pub(super) noise: f64,
}

impl Window {
    /// The size must not be zero.
    pub(super) fn new(first: u32, size: u32, scale: f64) -> Self {
        Self {
            first,
            size,
            scale: scale.max(1.0),
            ended: 0,
            later: 0,
            full: 0,
            slow: 0,
            timed: 0,
            origin: 0.0,
            sum: 0.0,
            squares: 0.0,
            slopes: 0.0,
        }
    }

    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// A call of this epoch has ended.
    #[inline]
    pub(super) fn record(&mut self, index: u32, took: f64, outcome: Outcome, full: bool, slow: bool) {
        let Some(member) = index.checked_sub(self.first) else {
            return;
        };
        if member >= self.size {
            self.later = self.later.saturating_add(1);
            return;
        }
        self.ended += 1;
        self.full += u32::from(full);
        self.slow += u32::from(slow);
        // A call without an answer took that long at least. Without it, a level at which the slow calls are cut would look quick.
        if matches!(outcome, Outcome::Good | Outcome::Late) {
            let x = took / (2.0 * self.scale);
            let value = x.ln_1p();
            if self.timed == 0 {
                self.origin = value;
            }
            let value = value - self.origin;
            self.timed += 1;
            self.sum += value;
            self.squares += value * value;
            self.slopes += x / (1.0 + x);
        }
    }

    /// Whether enough calls have ended. Calls that hang must not keep the window open, so it also ends with twice as many later calls.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.ended >= self.size - self.size / STRAGGLERS || self.later / 2 >= self.size || self.is_slow()
    }

    /// Whether most calls of the window were too slow.
    pub(super) fn is_slow(&self) -> bool {
        self.slow > self.size / 2
    }

    /// Whether the limit was in use all the time.
    pub(super) fn is_full(&self) -> bool {
        f64::from(self.full) >= 0.98 * f64::from(self.ended)
    }

    /// The times, if at least half of the calls have one.
    pub(super) fn summary(&self) -> Option<Summary> {
        if self.timed < 2 || self.timed < self.size / 2 {
            return None;
        }
        let count = f64::from(self.timed);
        let mean = self.sum / count;
        let slope = (self.slopes / count).max(1e-9);
        let variance = (self.squares / count - mean * mean).max(0.0) * count / (count - 1.0);
        Some(Summary { mean: self.origin + mean, slope, count, noise: variance / (slope * slope) })
    }
}
