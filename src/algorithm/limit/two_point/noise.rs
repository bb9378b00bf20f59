//! How much the times of single calls differ, and how many are needed.

use super::levels::ERROR;
use super::window::Summary;

/// The smallest window: the variance of fewer calls is unknown.
pub(super) const MIN_WINDOW: f64 = 24.0;

/// The largest window because of noise.
const MAX_WINDOW: f64 = 2000.0;

/// The calls of an upper window with a variance of one. With half as many at the lower level the standard error of a cycle is
/// [`ERROR`].
const CALLS: f64 = 2.5 / (ERROR * ERROR);

/// More would not fit into the largest window.
const MOST: f64 = MAX_WINDOW / CALLS;

/// Four quarters say little about a variance, so that of several windows is averaged.
const JOINT_SHARE: f64 = 0.25;

/// The variance of a single time, as a logarithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    single: f64,
    /// See [`Summary::joint_noise`].
    joint: f64,
}

impl Noise {
    /// That of exponential times, until it is known.
    pub(super) fn new() -> Self {
        Self { single: 1.0, joint: 1.0 }
    }

    /// That of independent times whose mean has the same error.
    pub(super) fn variance(self) -> f64 {
        self.single.max(self.joint)
    }

    /// A queue in the service hides the noise of its times. So what was known about it is forgotten more slowly than it is learned.
    pub(super) fn learn(&mut self, window: Summary) {
        let single = window.noise.min(MOST);
        let joint = window.joint_noise.min(MOST.max(window.count / CALLS));
        self.single += (single - self.single) * if single > self.single { 0.5 } else { 0.25 };
        self.joint += (joint - self.joint) * JOINT_SHARE;
    }

    pub(super) fn upper_window(self) -> f64 {
        (CALLS * self.variance()).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    pub(super) fn lower_window(self) -> f64 {
        (0.5 * CALLS * self.variance()).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// However noisy the times are, holds must end.
    pub(super) fn hold_window(self) -> f64 {
        (CALLS * self.variance()).clamp(MIN_WINDOW, CALLS)
    }
}
