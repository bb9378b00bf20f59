//! AIMD: additive increase, multiplicative decrease, as in TCP and in Netflix's `concurrency-limits` (`AIMDLimit`).
//!
//! A call without an answer, or one that takes longer than a timeout, lowers the limit to nine tenths, by one at least. Any other
//! call raises it by one, if at least half of the limit is in use. The law needs a timeout that separates good from bad times.
//!
//! Defaults of the original: start 10 or 20 by version, ratio 0.9 (from 0.5 to below 1), timeout 5 s, at most 200. Source:
//! `AIMDLimit.java` in github.com/Netflix/concurrency-limits, and its test.

use std::time::Duration;

use super::ticket::{Outcome, Ticket};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Aimd {
    limit: usize,
    max: usize,
    ratio: f64,
    timeout: Duration,
}

impl Aimd {
    pub(crate) fn new(start: usize, max: usize, timeout: Duration) -> Self {
        let max = max.max(1);
        Self { limit: start.clamp(1, max), max, ratio: 0.9, timeout }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn end(&mut self, ticket: Ticket, took: Duration, outcome: Outcome) -> bool {
        let before = self.limit;
        let dropped = matches!(outcome, Outcome::Late | Outcome::NoRoom) || took > self.timeout;
        if dropped {
            let lowered = (before as f64 * self.ratio) as usize;
            self.limit = lowered.min(before - 1).max(1);
        } else if outcome == Outcome::Good && ticket.in_flight as usize * 2 >= before {
            self.limit = (before + 1).min(self.max);
        }
        self.limit != before
    }
}
