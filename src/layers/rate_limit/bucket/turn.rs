//! A call that waits for its turn.

use std::task::{Context, Poll};
use std::time::Duration;

use super::line::Place;
use super::{Asking, Bucket};
use crate::admission::timer::Timer;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::sync::{Arc, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::layers::rate_limit::state::Applied;
use crate::telemetry::Unreported;

/// A place in the line of a bucket, given up on drop.
///
/// Only the head asks for a permit, and sleeps until the instant that it is told: the rate tells all who ask at one time the same
/// instant. A call that is not at the head any more, because one of a higher priority came, waits as the others do.
#[derive(Debug)]
#[must_use]
pub(crate) struct Turn {
    bucket: Arc<Bucket>,
    /// `None` once the wait is over.
    place: Option<Place>,
    until: Instant,
    asking: Asking,
    timer: Timer,
}

impl Turn {
    pub(super) fn new(bucket: Arc<Bucket>, place: Place, until: Instant, asking: Asking) -> Self {
        Self { bucket, place: Some(place), until, asking, timer: Timer::new() }
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// How long the call may take once it has started, if it has no deadline.
    pub(crate) fn max_hold(&self) -> Duration {
        self.asking.terms.max_hold
    }

    /// Ready when the call has its permit, at this instant, or will not have one in time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, Unreported>> {
        let Some(place) = self.place else { return Poll::Pending };
        let mut waker = foreign(|| Some(cx.waker().clone()));
        // Before the rate is looked at: whoever changes it wakes the head afterwards.
        let attended = lock(&self.bucket.line).attend(place, &mut waker);
        // What it was before, or, without a place, this one.
        foreign(|| drop(waker));
        match attended {
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
                // Up before its time: the runtime has shut down, and nothing can be waited for any more.
            }
            return Poll::Ready(Err(self.refuse(Reason::RateLimited, now, Some(next.since(now)))));
        }
    }

    /// Ends the wait. A call that comes again finds those before it that wait now.
    fn refuse(&mut self, reason: Reason, now: Instant, wait: Option<Duration>) -> Unreported {
        self.leave();
        let waiting = self.bucket.waiting();
        let wait = wait.unwrap_or_else(|| self.bucket.predict(now, waiting));
        self.bucket.refusal(reason, &self.asking, now, wait, waiting)
    }

    fn leave(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (own, next) = self.bucket.leave(place);
        foreign(|| drop(own));
        if let Some(next) = next {
            foreign(|| next.wake());
        }
        // It lets go of a waker, which is foreign code: the head's place is the next one's by now.
        self.timer.disarm();
    }
}

impl Bucket {
    /// Starts a call (`None`), lets it wait, or refuses it. A call that may not wait is refused without the lock.
    pub(in crate::layers::rate_limit) fn admit(
        bucket: &Arc<Self>,
        now: Instant,
        applied: &Applied,
    ) -> Result<Option<Turn>, Unreported> {
        let terms = applied.terms;
        let context = scope::current();
        let asking = Asking { deadline: context.deadline, terms };
        let refuse = |wait, waiting| Err(bucket.refusal(Reason::RateLimited, &asking, now, wait, waiting));
        if bucket.waiting() == 0 {
            let Err(next) = bucket.take(&applied.rates, now) else { return Ok(None) };
            let wait = next.since(now);
            if terms.max_waiting == 0 || asking.until(now, wait).is_none() {
                return refuse(wait, 0);
            }
        }
        let mut line = lock(&bucket.line);
        let (waiting, wait) = (line.len(), bucket.predict(now, line.ahead(context.priority())));
        let Some(until) = asking.until(now, wait) else {
            drop(line);
            return refuse(wait, waiting);
        };
        let Ok((place, displaced)) = line.enter(context.priority(), terms.max_waiting) else {
            drop(line);
            return refuse(wait, waiting);
        };
        bucket.count(&line);
        drop(line);
        // The place is somebody's before foreign code runs, which may panic.
        let turn = Turn::new(Arc::clone(bucket), place, until, asking);
        if let Some(displaced) = displaced {
            foreign(|| displaced.wake());
        }
        Ok(Some(turn))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
    }
}
