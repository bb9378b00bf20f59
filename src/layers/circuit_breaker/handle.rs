use std::sync::Arc;

use super::breakers::Breakers;
use super::snapshot::Snapshot;
use crate::admission::keyed::{Keying, OneKey};
use crate::algorithm::breaker::{Mode, State};
use crate::ground::time;

/// Looks at the breaker of a layer value, and moves it by hand. Cheap to clone.
///
/// ```
/// use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default())?;
/// let handle = layer.handle();
/// assert_eq!(handle.state(), State::Closed);
///
/// handle.force_open(); // until told otherwise: maintenance over there
/// assert_eq!(handle.state(), State::ForcedOpen);
/// handle.enforce();
/// assert_eq!(handle.state(), State::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CircuitBreakerHandle<K: Keying = OneKey> {
    breakers: Arc<Breakers<K>>,
}

impl<K: Keying> CircuitBreakerHandle<K> {
    pub(super) fn new(breakers: Arc<Breakers<K>>) -> Self {
        Self { breakers }
    }

    /// The state of the breaker; with keys, of the one that calls without a key share.
    pub fn state(&self) -> State {
        self.snapshot().state
    }

    /// The state and the counts of the breaker; with keys, of the one that calls without a key share.
    pub fn snapshot(&self) -> Snapshot {
        self.breakers.common().snapshot(time::now())
    }

    /// The snapshots of all keys there are now, after that of the calls without a key and those that keys share for want of room.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let now = time::now();
        let mut snapshots = Vec::new();
        self.breakers.for_each(|breaker| snapshots.push(breaker.snapshot(now)));
        snapshots
    }

    /// Refuses all calls, of all keys, until told otherwise.
    pub fn force_open(&self) {
        self.breakers.set_mode(Mode::ForcedOpen, time::now());
    }

    /// Lets all calls pass, of all keys, and counts nothing, until told otherwise.
    pub fn disable(&self) {
        self.breakers.set_mode(Mode::Disabled, time::now());
    }

    /// Refuses nothing, but counts and moves as ever, until told otherwise.
    pub fn observe(&self) {
        self.breakers.set_mode(Mode::Observing, time::now());
    }

    /// Lets the breaker decide (again). After [`force_open`](Self::force_open) or [`disable`](Self::disable) it begins closed,
    /// and after [`observe`](Self::observe) as it is.
    pub fn enforce(&self) {
        self.breakers.set_mode(Mode::Enforcing, time::now());
    }

    /// Forgets all counts, and closes every breaker that opened by itself.
    pub fn reset(&self) {
        self.breakers.reset(time::now());
    }
}

impl<K: Keying> Clone for CircuitBreakerHandle<K> {
    fn clone(&self) -> Self {
        Self { breakers: Arc::clone(&self.breakers) }
    }
}
