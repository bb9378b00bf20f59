//! A queue in front of a circuit breaker: what the breaker would refuse need not wait for a permit first.
//!
//! The calls that a dependency holds while it hangs may have all permits of the bulkhead around the breaker. Then no call comes
//! through to be refused, and all others wait for nothing. So a call that waits asks the breaker that it would come to, and is woken
//! when that one moves. The layers do not know each other: the stack, which knows both, connects them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::futures::OwnedNotified;

use crate::admission::keyed::Keying;
use crate::ground::time::{self, Instant};
use crate::telemetry::Unreported;

/// The breakers of a layer further in.
pub(crate) trait BreakersAhead<Key>: Send + Sync {
    /// The breaker of calls with this key.
    fn breaker(&self, key: Option<Key>) -> Box<dyn BreakerAhead>;
}

/// A breaker further in.
pub(crate) trait BreakerAhead: Send + Sync {
    /// Whether it would refuse a call that has to be over at `deadline`, and how.
    fn refusal(&self, deadline: Option<Instant>, now: Instant) -> Option<Unreported>;

    /// Ready when it moves the next time.
    fn changed(&self) -> OwnedNotified;
}

/// A waiting call's look at its breaker.
pub(crate) struct Lookahead {
    breaker: Box<dyn BreakerAhead>,
    changed: Option<Pin<Box<OwnedNotified>>>,
}

impl Lookahead {
    pub(crate) fn new(breaker: Box<dyn BreakerAhead>) -> Self {
        Self { breaker, changed: None }
    }

    /// Ready with the refusal, as soon as the breaker would refuse the call.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Unreported> {
        loop {
            let changed = self.changed.get_or_insert_with(|| Box::pin(self.breaker.changed()));
            // Before the look, so that no move after it is missed.
            changed.as_mut().enable();
            if let Some(refusal) = self.breaker.refusal(deadline, time::now()) {
                return Poll::Ready(refusal);
            }
            if changed.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.changed = None;
        }
    }
}

impl fmt::Debug for Lookahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookahead").finish_non_exhaustive()
    }
}

/// How a queue finds the breaker ahead; none until it is connected.
pub(crate) struct Connection<K: Keying>(OnceLock<Arc<dyn BreakersAhead<K::Key>>>);

impl<K: Keying> Connection<K> {
    /// The first connection holds.
    pub(crate) fn connect(&self, breakers: Arc<dyn BreakersAhead<K::Key>>) {
        let _ = self.0.set(breakers);
    }

    pub(crate) fn look_ahead(&self, key: impl FnOnce() -> Option<K::Key>) -> Option<Lookahead> {
        self.0.get().map(|breakers| Lookahead::new(breakers.breaker(key())))
    }
}

impl<K: Keying> Default for Connection<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Keying> fmt::Debug for Connection<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("connected", &self.0.get().is_some()).finish()
    }
}
