use std::sync::Arc;

use super::breakers::Breakers;
use super::snapshot::BreakerSnapshot;
use crate::admission::keyed::{Keying, OneKey};
use crate::algorithm::breaker::{Mode, State};
use crate::ground::time;
use crate::layers::core::clone_fields;

/// Reads the state of a layer value's breaker, and changes it by hand. Cheap to clone.
///
/// ```
/// use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default())?;
/// let handle = layer.handle();
/// assert_eq!(handle.state(), State::Closed);
///
/// handle.force_open(); // during maintenance of the dependency
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

clone_fields!([K: Keying] CircuitBreakerHandle<K> { breakers });

impl<K: Keying> CircuitBreakerHandle<K> {
    pub(super) fn new(breakers: Arc<Breakers<K>>) -> Self {
        Self { breakers }
    }

    /// The state of the breaker. With keys: of the breaker for calls without a key.
    pub fn state(&self) -> State {
        self.snapshot().state
    }

    /// The state and the counts of the breaker. With keys: of the breaker for calls without a key.
    pub fn snapshot(&self) -> BreakerSnapshot {
        self.breakers.common().snapshot(time::now())
    }

    /// The snapshots of all keys. Those of calls without a key, and of keys that share a breaker because `max_keys` is reached, come
    /// first.
    pub fn snapshots(&self) -> Vec<BreakerSnapshot> {
        let now = time::now();
        let mut snapshots = Vec::new();
        self.breakers.for_each(|breaker| snapshots.push(breaker.snapshot(now)));
        snapshots
    }

    /// Refuses all calls, of all keys, until the mode is changed again.
    pub fn force_open(&self) {
        self.breakers.set_mode(Mode::ForcedOpen, time::now());
    }

    /// Lets all calls pass, of all keys, and counts nothing, until the mode is changed again.
    pub fn disable(&self) {
        self.breakers.set_mode(Mode::Disabled, time::now());
    }

    /// Refuses nothing, but counts and changes its state as usual, until the mode is changed again.
    pub fn observe(&self) {
        self.breakers.set_mode(Mode::Observing, time::now());
    }

    /// Lets the breaker refuse calls again. After [`force_open`](Self::force_open) or [`disable`](Self::disable) it starts closed;
    /// after [`observe`](Self::observe) it keeps its state.
    pub fn enforce(&self) {
        self.breakers.set_mode(Mode::Enforcing, time::now());
    }

    /// Clears all counts, and closes every breaker that opened by itself.
    pub fn reset(&self) {
        self.breakers.reset(time::now());
    }
}
