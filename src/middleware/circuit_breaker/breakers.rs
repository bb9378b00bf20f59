//! The breakers of one layer value: one for each key, shared by all its services and handles.

use super::config::CircuitBreakerConfig;
use super::state::Breaker;
use crate::admission::keyed::{KeyBy, Keyed, Keying};
use crate::algorithm::breaker::Mode;
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::Instant;
use crate::middleware::inner::Unready;

#[derive(Debug)]
pub(super) struct Breakers<K: Keying> {
    config: CircuitBreakerConfig,
    /// What breakers for new keys begin with.
    mode: Mutex<Mode>,
    keyed: Keyed<K, Breaker>,
    unready: Unready,
}

impl<K: Keying> Breakers<K> {
    pub(super) fn new(config: CircuitBreakerConfig, keying: K) -> Self {
        let mode = if config.observe_only { Mode::Observing } else { Mode::Enforcing };
        let common = Breaker::new(config.policy(), config.new_window(), mode);
        Self {
            keyed: Keyed::new(keying, config.max_keys, common),
            mode: Mutex::new(mode),
            unready: Unready::default(),
            config,
        }
    }

    pub(super) fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    pub(super) fn breaker<Req>(&self, request: &Req) -> Arc<Breaker>
    where
        K: KeyBy<Req>,
    {
        self.keyed.get(request, || Breaker::new(self.config.policy(), self.config.new_window(), *lock(&self.mode)))
    }

    pub(super) fn unready(&self) -> &Unready {
        &self.unready
    }

    pub(super) fn common(&self) -> &Arc<Breaker> {
        self.keyed.common()
    }

    pub(super) fn all(&self) -> Vec<Arc<Breaker>> {
        self.keyed.all()
    }

    pub(super) fn set_mode(&self, mode: Mode, now: Instant) {
        // In this order, so that a key which is new at this very moment is in the list or begins with the new mode.
        *lock(&self.mode) = mode;
        for breaker in self.keyed.all() {
            breaker.set_mode(mode, now);
        }
    }
}
