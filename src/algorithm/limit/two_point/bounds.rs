//! The settings of a limit.

use std::time::Duration;

use crate::ground::time::nanos;

/// No limit is above this.
const MAX_LIMIT: usize = 1 << 30;

/// The settings of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The first limit.
    pub(crate) start: usize,
    /// The highest limit.
    pub(crate) max: usize,
    /// A call that takes longer is too slow; see [`guard`].
    pub(crate) objective: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { start: 16, max: MAX_LIMIT, objective: None }
    }
}

impl Bounds {
    pub(super) fn max(&self) -> usize {
        self.max.clamp(1, MAX_LIMIT)
    }

    /// In nanoseconds.
    pub(super) fn objective(&self) -> f64 {
        self.objective.map_or(f64::INFINITY, |objective| nanos(objective) as f64)
    }
}
