//! How much the times of single calls differ, and how many are needed.

use super::levels::ERROR;

/// The smallest window: the variance of fewer calls is unknown.
pub(super) const MIN_WINDOW: f64 = 24.0;

/// The largest window because of noise.
const MAX_WINDOW: f64 = 2000.0;

/// The calls of an upper window with a variance of one. With half as many at the lower level the standard error of a cycle is
/// [`ERROR`].
const CALLS: f64 = 2.5 / (ERROR * ERROR);

/// The variance of a single time, as a logarithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise(f64);

impl Noise {
    /// That of exponential times, until it is known.
    pub(super) fn new() -> Self {
        Self(1.0)
    }

    pub(super) fn variance(self) -> f64 {
        self.0
    }

    /// A queue in the service hides the noise of its times. So what was known about it is forgotten more slowly than it is learned.
    pub(super) fn learn(&mut self, variance: f64) {
        let variance = variance.min(MAX_WINDOW / CALLS);
        self.0 += (variance - self.0) * if variance > self.0 { 0.5 } else { 0.25 };
    }

    pub(super) fn upper_window(self) -> f64 {
        (CALLS * self.0).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    pub(super) fn lower_window(self) -> f64 {
        (0.5 * CALLS * self.0).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// However noisy the times are, holds must end.
    pub(super) fn hold_window(self) -> f64 {
        (CALLS * self.0).clamp(MIN_WINDOW, CALLS)
    }
}
