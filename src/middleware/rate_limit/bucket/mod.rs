//! One rate, and the line of calls that wait for it.
//!
//! The rate is governor's GCRA, on our clock. It can neither reserve nor take back, and tells all who ask at one time the same
//! instant. So only the head of the line asks: its place is the one permit of a gate, in which the others stand.

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::config::RateLimitConfig;
use crate::admission::gate::{Claim, Gate, Order, Permit, Waiter};
use crate::algorithm::queue::{Refusal, Until, Wait};
use crate::ground::context;
use crate::ground::error::Reason;
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// The library's clock, as governor wants it. Who asks hands the time over.
#[derive(Clone, Debug)]
struct HouseClock;

impl Clock for HouseClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        time::call_start().as_nanos().into()
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, HouseClock, NoOpMiddleware<Nanos>>,
    line: Arc<Gate>,
    interval: Duration,
    /// When the head of the line may start, as it was told.
    next: AtomicU64,
}

/// A call that may not start yet.
#[derive(Debug)]
pub(super) enum Turn {
    Head { place: Permit, earliest: Instant, until: Until },
    Waiting(Waiter),
}

impl Bucket {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(quota, HouseClock),
            line: Arc::new(Gate::new(1, Order::Fifo)),
            interval: quota.replenish_interval(),
            next: AtomicU64::new(0),
        }
    }

    /// Takes a permit, or says when there will be one. Only for the head of the line, or when there is no line.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        match time::hand_over(now, || self.limiter.check()) {
            Ok(()) => Ok(()),
            Err(not_until) => {
                let earliest = not_until.earliest_possible().as_u64();
                self.next.fetch_max(earliest, Ordering::AcqRel);
                Err(Instant::from_nanos(earliest))
            }
        }
    }

    /// Starts a call (`None`), lets it wait, or refuses it.
    pub(super) fn admit(&self, now: Instant, config: &RateLimitConfig) -> Result<Option<Turn>, Refusal> {
        let mut earliest = Instant::from_nanos(self.next.load(Ordering::Acquire));
        let context = context::current();
        let (deadline, priority) = (context.deadline, context.priority());
        let decide = |predicted| {
            let (max_wait, service) = (config.max_wait, Default::default());
            Wait { now, deadline, max_wait, predicted, service }.decide().map_err(|_| limited(predicted))
        };
        if self.line.is_idle() {
            earliest = match self.take(now) {
                Ok(()) => return Ok(None),
                Err(earliest) => earliest,
            };
            let until = decide(earliest.since(now))?;
            if config.max_waiting == 0 {
                return Err(limited(earliest.since(now)));
            }
            if let Some(place) = Gate::try_acquire(&self.line, 1) {
                return Ok(Some(Turn::Head { place, earliest, until }));
            }
        }
        let mut predicted = Duration::ZERO;
        let claim = Claim { weight: 1, priority, deadline };
        let room = config.max_waiting.saturating_sub(1);
        let waiter = Gate::stand_in_line(&self.line, claim, room, |ahead| {
            let others = ahead.waiting + self.line.in_use();
            predicted = earliest.since(now).saturating_add(self.interval.saturating_mul(others));
            decide(predicted)
        });
        waiter.map(Turn::Waiting).map(Some).map_err(|_| limited(predicted))
    }

    /// How many calls wait, the head of the line included.
    pub(super) fn waiting(&self) -> usize {
        self.line.waiting() as usize + self.line.in_use() as usize
    }
}

fn limited(retry_after: Duration) -> Refusal {
    Refusal { reason: Reason::RateLimited, retry_after: Some(retry_after) }
}
