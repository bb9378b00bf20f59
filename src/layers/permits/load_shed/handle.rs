use std::num::NonZeroU32;
use std::sync::Arc;

use crate::admission::keyed::{Keying, OneKey};
use crate::layers::permits::gates::Gates;

/// Shows how busy a service is, and changes its limit at run time. Clones show the same service.
#[derive(Debug)]
pub struct LoadShedHandle<K: Keying = OneKey> {
    gates: Arc<Gates<K>>,
}

impl<K: Keying> LoadShedHandle<K> {
    pub(super) fn new(gates: Arc<Gates<K>>) -> Self {
        Self { gates }
    }

    /// How many calls are being served, over all keys.
    pub fn in_flight(&self) -> usize {
        self.gates.in_use()
    }

    /// How many calls wait to be served, over all keys.
    pub fn waiting(&self) -> usize {
        self.gates.waiting()
    }

    /// How many calls of each key are served at once.
    pub fn limit(&self) -> u32 {
        self.gates.limit()
    }

    /// Changes how many calls of each key are served at once. A lower limit ends no call, and is reached as calls end.
    pub fn set_limit(&self, limit: NonZeroU32) {
        self.gates.set_limit(limit.get());
    }
}

impl<K: Keying> Clone for LoadShedHandle<K> {
    fn clone(&self) -> Self {
        Self { gates: Arc::clone(&self.gates) }
    }
}
