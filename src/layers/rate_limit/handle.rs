use std::sync::Arc;

use super::state::State;
use crate::admission::keyed::{Keying, OneKey};

/// Shows how many calls wait for the rate. Clones show the same limit.
#[derive(Debug)]
pub struct RateLimitHandle<K: Keying = OneKey> {
    state: Arc<State<K>>,
}

impl<K: Keying> RateLimitHandle<K> {
    pub(super) fn new(state: Arc<State<K>>) -> Self {
        Self { state }
    }

    /// How many calls wait for a permit, over all keys.
    pub fn waiting(&self) -> usize {
        self.state.waiting()
    }
}

impl<K: Keying> Clone for RateLimitHandle<K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}
