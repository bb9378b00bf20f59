//! What all services and handles of one layer value share: a breaker for each key.

use super::config::CircuitBreakerConfig;
use super::state::Breaker;
use crate::admission::keyed::{KeyBy, Keyed, Keying};
use crate::algorithm::breaker::Mode;
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::Instant;

#[derive(Debug)]
pub(super) struct Shared<K: Keying> {
    config: CircuitBreakerConfig,
    /// What breakers for new keys begin with.
    mode: Mutex<Mode>,
    breakers: Keyed<K, Breaker>,
}

impl<K: Keying> Shared<K> {
    pub(super) fn new(config: CircuitBreakerConfig, keying: K) -> Self {
        let mode = if config.observe_only { Mode::Observing } else { Mode::Enforcing };
        let common = Breaker::new(config.policy(), config.new_window(), mode);
        Self { breakers: Keyed::new(keying, config.max_keys, common), mode: Mutex::new(mode), config }
    }

    pub(super) fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    pub(super) fn breaker<Req>(&self, request: &Req) -> Arc<Breaker>
    where
        K: KeyBy<Req>,
    {
        self.breakers.get(request, || Breaker::new(self.config.policy(), self.config.new_window(), *lock(&self.mode)))
    }

    pub(super) fn common(&self) -> &Arc<Breaker> {
        self.breakers.common()
    }

    pub(super) fn all(&self) -> Vec<Arc<Breaker>> {
        self.breakers.all()
    }

    pub(super) fn set_mode(&self, mode: Mode, now: Instant) {
        // In this order, so that a key which is new at this very moment is in the list or begins with the new mode.
        *lock(&self.mode) = mode;
        for breaker in self.breakers.all() {
            breaker.set_mode(mode, now);
        }
    }
}
