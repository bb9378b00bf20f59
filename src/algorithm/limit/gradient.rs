//! Gradient2: the limit follows the ratio of the long-term mean time to the present time, as in Netflix's `concurrency-limits`
//! (`Gradient2Limit`).
//!
//! ```text
//! gradient = clamp(long / short, 0.5, 1)
//! limit    = 0.8 limit + 0.2 (gradient * limit + 4)
//! ```
//!
//! `short` is the sample, and `long` an exponential mean over 600 samples, the plain mean of the first ten. If `long` is more than
//! twice as long as the sample, it is lowered to nine tenths, so that it recovers sooner after a time of overload. A call that sees
//! less than half of the limit in use changes nothing. The limit is real-valued; its integer part counts.
//!
//! The gradient compares the present with the past, so a lasting change becomes the new normal: under a lasting slowdown the limit
//! climbs to where it was. Calls without an answer are no signal at all: a service whose calls all time out gets the highest limit.
//!
//! Defaults of the original: start 20, at least 20, at most 200, queue 4, smoothing 0.2, long window 600. Source:
//! `Gradient2Limit.java` and `ExpAvgMeasurement.java` in github.com/Netflix/concurrency-limits.

use std::time::Duration;

use super::ticket::{Outcome, Ticket};
use crate::ground::time::nanos;

const QUEUE: f64 = 4.0;
const SMOOTHING: f64 = 0.2;
const LONG_WINDOW: u32 = 600;
const WARM_UP: u32 = 10;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Gradient {
    limit: f64,
    min: f64,
    max: f64,
    long: WarmUpMean,
}

impl Gradient {
    pub(crate) fn new(start: usize, min: usize, max: usize) -> Self {
        let max = max.max(1);
        let min = min.clamp(1, max);
        let long = WarmUpMean::new(LONG_WINDOW, WARM_UP);
        Self { limit: start.clamp(min, max) as f64, min: min as f64, max: max as f64, long }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// The limit with its fraction.
    #[cfg(test)]
    pub(super) fn exact(&self) -> f64 {
        self.limit
    }

    pub(crate) fn end(&mut self, ticket: Ticket, took: Duration, outcome: Outcome) -> bool {
        if !matches!(outcome, Outcome::Good | Outcome::Late) {
            return false;
        }
        let before = self.limit();
        let short = nanos(took).max(1) as f64;
        let long = self.long.add(short);
        if long / short > 2.0 {
            self.long.scale(0.9);
        }
        if f64::from(ticket.in_flight) < self.limit / 2.0 {
            return false;
        }
        let gradient = (long / short).clamp(0.5, 1.0);
        let next = (1.0 - SMOOTHING) * self.limit + SMOOTHING * (gradient * self.limit + QUEUE);
        self.limit = next.clamp(self.min, self.max);
        self.limit() != before
    }
}

/// An exponential mean with the factor `2 / (window + 1)`; of its first samples it is the plain mean.
#[derive(Clone, Debug)]
pub(super) struct WarmUpMean {
    mean: f64,
    count: u32,
    warm_up: u32,
    factor: f64,
}

impl WarmUpMean {
    pub(super) fn new(window: u32, warm_up: u32) -> Self {
        Self { mean: 0.0, count: 0, warm_up, factor: 2.0 / (f64::from(window) + 1.0) }
    }

    pub(super) fn add(&mut self, sample: f64) -> f64 {
        let factor = if self.count < self.warm_up {
            self.count += 1;
            1.0 / f64::from(self.count)
        } else {
            self.factor
        };
        self.mean += (sample - self.mean) * factor;
        self.mean
    }

    fn scale(&mut self, by: f64) {
        self.mean *= by;
    }
}
