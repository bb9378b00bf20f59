//! A call that waits for a permit.

use std::task::{Context, Poll};
use std::time::Duration;

use super::queue::RateQueuePosition;
use super::{Bucket, WaitLimits};
use crate::admission::timer::Timer;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::sync::{Arc, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::layers::rate_limit::applied::AppliedRates;
use crate::telemetry::Unreported;

/// A position in the queue of a bucket, released on drop.
///
/// Only the head tries to take a permit, and it sleeps until the instant that the rate returns: the rate returns the same instant to
/// all that ask at one time. A call that is displaced from the head by one of a higher priority waits as the others do.
#[derive(Debug)]
#[must_use]
pub(crate) struct RateWaiter {
    bucket: Arc<Bucket>,
    /// `None` once the wait is over.
    position: Option<RateQueuePosition>,
    until: Instant,
    limits: WaitLimits,
    timer: Timer,
}

impl RateWaiter {
    pub(super) fn new(bucket: Arc<Bucket>, position: RateQueuePosition, until: Instant, limits: WaitLimits) -> Self {
        Self { bucket, position: Some(position), until, limits, timer: Timer::new() }
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// How long the call may take once it has started, if it has no deadline.
    pub(crate) fn max_hold(&self) -> Duration {
        self.limits.settings.max_hold
    }

    /// Ready with the instant of the permit, or with a refusal if there will be none in time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, Unreported>> {
        let Some(position) = self.position else { return Poll::Pending };
        let mut waker = foreign(|| Some(cx.waker().clone()));
        // Registered before the rate is read: a rate change wakes the head afterwards. In the other order the wake-up could be lost.
        let registered = lock(&self.bucket.queue).register(position, &mut waker);
        // The previous waker or, if the position is gone, this one.
        foreign(|| drop(waker));
        match registered {
            Some(true) => self.poll_head(cx),
            Some(false) => {
                if self.timer.poll_until(cx, self.until).is_pending() {
                    scope::mark_local_wait();
                    return Poll::Pending;
                }
                Poll::Ready(Err(self.refuse(Reason::RateLimited, time::now(), None)))
            }
            None => Poll::Ready(Err(self.refuse(Reason::Displaced, time::now(), None))),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, Unreported>> {
        let mut now = time::now();
        loop {
            let Err(next) = self.bucket.take(&self.bucket.rates(), now) else {
                self.leave();
                return Poll::Ready(Ok(now));
            };
            if now < self.until && next <= self.until {
                if self.timer.poll_until(cx, next).is_pending() {
                    scope::mark_local_wait();
                    return Poll::Pending;
                }
                now = time::now();
                if now >= next {
                    continue;
                }
                // It fired too early: the runtime has shut down, and no timer works any more.
            }
            return Poll::Ready(Err(self.refuse(Reason::RateLimited, now, Some(next.since(now)))));
        }
    }

    /// Ends the wait. The predicted wait is that of a new call, behind all calls that wait now.
    fn refuse(&mut self, reason: Reason, now: Instant, wait: Option<Duration>) -> Unreported {
        self.leave();
        let waiting = self.bucket.waiting();
        let wait = wait.unwrap_or_else(|| self.bucket.predict(now, waiting));
        self.bucket.refusal(reason, &self.limits, now, wait, waiting)
    }

    fn leave(&mut self) {
        let Some(position) = self.position.take() else { return };
        let (own, next) = self.bucket.leave(position);
        foreign(|| drop(own));
        if let Some(next) = next {
            foreign(|| next.wake());
        }
        // Disarming drops a waker, which is foreign code. By now the next call is the head.
        self.timer.disarm();
    }
}

impl Bucket {
    /// Starts a call (`None`), queues it, or refuses it. A call that may not wait is refused without the lock.
    pub(in crate::layers::rate_limit) fn admit(
        bucket: &Arc<Self>,
        now: Instant,
        applied: &AppliedRates,
    ) -> Result<Option<RateWaiter>, Unreported> {
        let settings = applied.settings;
        let context = scope::current();
        let limits = WaitLimits { deadline: context.deadline, settings };
        let refuse = |wait, waiting| Err(bucket.refusal(Reason::RateLimited, &limits, now, wait, waiting));
        if bucket.waiting() == 0 {
            let Err(next) = bucket.take(&applied.rates, now) else { return Ok(None) };
            let wait = next.since(now);
            if settings.max_waiting == 0 || limits.until(now, wait).is_none() {
                return refuse(wait, 0);
            }
        }
        let mut queue = lock(&bucket.queue);
        let (waiting, wait) = (queue.len(), bucket.predict(now, queue.ahead(context.priority())));
        let Some(until) = limits.until(now, wait) else {
            drop(queue);
            return refuse(wait, waiting);
        };
        let Ok((position, displaced)) = queue.enter(context.priority(), settings.max_waiting) else {
            drop(queue);
            return refuse(wait, waiting);
        };
        bucket.count(&queue);
        drop(queue);
        // The position has an owner before foreign code runs: if that panics, the position is released.
        let waiter = RateWaiter::new(Arc::clone(bucket), position, until, limits);
        if let Some(displaced) = displaced {
            foreign(|| displaced.wake());
        }
        Ok(Some(waiter))
    }
}

impl Drop for RateWaiter {
    fn drop(&mut self) {
        self.leave();
    }
}
