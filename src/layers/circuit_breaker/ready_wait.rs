//! The wait of a service that is unready while its breaker admits no call, for load balancers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::futures::OwnedNotified;

use super::state::Breaker;
use crate::admission::timer::Timer;
use crate::ground::sync::foreign;
use crate::ground::time::{self, Instant};

/// One service's wait. Dropping it leaves nothing behind.
#[derive(Default)]
pub(super) struct ReadyWait {
    changed: Option<Pin<Box<OwnedNotified>>>,
    timer: Timer,
}

impl ReadyWait {
    /// Ready as soon as a call may pass. It reserves nothing: the call may still be refused.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, breaker: &Breaker) -> Poll<()> {
        while breaker.refuses_until(time::now()).is_some() {
            let changed = self.changed.get_or_insert_with(|| Box::pin(breaker.state_changes().changed()));
            // Registered before the deciding check. Otherwise a step in between would be missed.
            changed.as_mut().enable();
            let Some(until) = breaker.refuses_until(time::now()) else { break };
            if foreign(|| changed.as_mut().poll(cx)).is_ready() {
                self.changed = None;
            } else if until == Instant::MAX || self.timer.poll_until(cx, until).is_pending() {
                return Poll::Pending;
            }
        }
        self.changed = None;
        self.timer.disarm();
        Poll::Ready(())
    }
}

impl fmt::Debug for ReadyWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyWait").field("waits", &self.changed.is_some()).finish_non_exhaustive()
    }
}
