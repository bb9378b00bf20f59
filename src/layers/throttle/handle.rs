use std::sync::Arc;

use super::state::ThrottleState;
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::time;
use crate::layers::core::clone_fields;

/// Shows how many calls the dependency accepts, and how many are refused locally. Clones show the same throttle.
#[derive(Debug)]
pub struct ThrottleHandle<K: Keying = OneKey> {
    state: Arc<ThrottleState<K>>,
}

clone_fields!([K: Keying] ThrottleHandle<K> { state });

impl<K: Keying> ThrottleHandle<K> {
    pub(super) fn new(state: Arc<ThrottleState<K>>) -> Self {
        Self { state }
    }

    /// The calls of the window, those that were refused locally included, over all keys.
    pub fn requests(&self) -> u64 {
        self.state.counts(time::now()).requests
    }

    /// The calls of the window that were sent and not refused by the dependency, over all keys.
    pub fn accepted(&self) -> u64 {
        self.state.counts(time::now()).accepts
    }

    /// The share of the calls that is refused locally, within `0..=1`; with keys, the highest of all.
    pub fn share(&self) -> f64 {
        self.state.counts(time::now()).share
    }
}
