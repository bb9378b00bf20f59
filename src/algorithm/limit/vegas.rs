//! Vegas: the limit follows an estimate of the queue in the service, as in TCP Vegas and in Netflix's `concurrency-limits`
//! (`VegasLimit`).
//!
//! ```text
//! queue = ceil(limit * (1 - least / took))        unit = max(1, floor(log10(limit)))
//! queue <= unit       limit + 6 unit              no queue: grow fast
//! queue <  3 unit     limit + unit
//! queue >  6 unit     limit - unit
//! otherwise, or with less than half of the limit in use: as it is
//! ```
//!
//! `least` is the lowest time seen. After each 15 to 30 times `limit` calls it is replaced by the time of the call at hand, because
//! the service may have become slower for good. A call without an answer lowers the limit by `unit`.
//!
//! The lowest of many noisy times is far below the usual one, so noise looks like a queue: with a deviation of half the mean, the
//! limit starves. After a lasting slowdown the replaced `least` includes the queue, and the limit climbs.
//!
//! Defaults of the original: start 20, at most 1000, probe after 30 times the limit, times a random number from 0.5 to 1. Here the
//! factor is a sequence without randomness that covers the same range evenly. Source: `VegasLimit.java` and its test in
//! github.com/Netflix/concurrency-limits; Brakmo and Peterson, *TCP Vegas* (1995).

use std::time::Duration;

use super::ticket::{Outcome, Ticket};
use crate::ground::time::nanos;

/// A new `least` is taken after so many times the limit, at most.
const PROBE: f64 = 30.0;

/// The fractional parts of the multiples of this number cover the unit interval evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Vegas {
    limit: f64,
    max: f64,
    /// Nanoseconds; zero if unknown.
    least: f64,
    calls: u32,
    /// In `0..1`.
    jitter: f64,
}

impl Vegas {
    pub(crate) fn new(start: usize, max: usize) -> Self {
        let max = max.max(1);
        Self { limit: start.clamp(1, max) as f64, max: max as f64, least: 0.0, calls: 0, jitter: 0.5 }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }

    pub(crate) fn end(&mut self, ticket: Ticket, took: Duration, outcome: Outcome) -> bool {
        let dropped = matches!(outcome, Outcome::Late | Outcome::NoRoom);
        if !dropped && outcome != Outcome::Good {
            return false;
        }
        let took = nanos(took).max(1) as f64;
        self.calls = self.calls.saturating_add(1);
        if f64::from(self.calls) >= (0.5 + self.jitter / 2.0) * PROBE * self.limit {
            self.jitter = (self.jitter + GOLDEN).fract();
            self.calls = 0;
            self.least = took;
            return false;
        }
        if self.least == 0.0 || took < self.least {
            self.least = took;
            return false;
        }
        let before = self.limit();
        if let Some(next) = self.next(ticket, took, dropped) {
            self.limit = next.clamp(1.0, self.max);
        }
        self.limit() != before
    }

    fn next(&self, ticket: Ticket, took: f64, dropped: bool) -> Option<f64> {
        let unit = self.limit.log10().floor().max(1.0);
        if dropped {
            return Some(self.limit - unit);
        }
        if f64::from(ticket.in_flight) * 2.0 < self.limit {
            return None;
        }
        let queue = (self.limit * (1.0 - self.least / took)).ceil();
        if queue <= unit {
            Some(self.limit + 6.0 * unit)
        } else if queue < 3.0 * unit {
            Some(self.limit + unit)
        } else if queue > 6.0 * unit {
            Some(self.limit - unit)
        } else {
            None
        }
    }
}
