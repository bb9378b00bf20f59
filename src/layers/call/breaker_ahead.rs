//! Lets a queue in front of a circuit breaker refuse what the breaker would refuse, before the call has a permit.
//!
//! While a dependency hangs, its calls may hold all permits of the bulkhead around the breaker. Then no call reaches the breaker to
//! be refused, and all others wait in vain. So a waiting call asks its breaker, and is woken when the breaker's state changes. The
//! layers do not know each other: the stack, which knows both, connects them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::futures::OwnedNotified;

use crate::admission::keyed::Keying;
use crate::ground::sync::foreign;
use crate::ground::time::{self, Instant};
use crate::telemetry::Unreported;

/// The breakers of an inner layer.
pub(crate) trait BreakersAhead<Key>: Send + Sync {
    /// The breaker of calls with this key.
    fn breaker(&self, key: Option<Key>) -> Box<dyn BreakerAhead>;
}

/// The breaker of an inner layer.
pub(crate) trait BreakerAhead: Send + Sync {
    /// The refusal of a call that has to end at `deadline`, if the breaker would refuse it.
    fn refusal(&self, deadline: Option<Instant>, now: Instant) -> Option<Unreported>;

    /// Ready at the breaker's next state change.
    fn changed(&self) -> OwnedNotified;
}

/// Watches the breaker of a waiting call.
pub(crate) struct Lookahead {
    breaker: Box<dyn BreakerAhead>,
    changed: Option<Pin<Box<OwnedNotified>>>,
}

impl Lookahead {
    pub(crate) fn new(breaker: Box<dyn BreakerAhead>) -> Self {
        Self { breaker, changed: None }
    }

    /// Ready with the refusal as soon as the breaker would refuse the call.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Unreported> {
        loop {
            let changed = self.changed.get_or_insert_with(|| Box::pin(self.breaker.changed()));
            // Registered before the check. Otherwise a state change in between would be missed.
            changed.as_mut().enable();
            if let Some(refusal) = self.breaker.refusal(deadline, time::now()) {
                return Poll::Ready(refusal);
            }
            if foreign(|| changed.as_mut().poll(cx)).is_pending() {
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

/// A queue's connection to the breakers of an inner layer; empty until it is connected.
pub(crate) struct Connection<K: Keying>(OnceLock<Arc<dyn BreakersAhead<K::Key>>>);

impl<K: Keying> Connection<K> {
    /// Connects the breakers. Later connections are ignored.
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
