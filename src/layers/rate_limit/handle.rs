use std::sync::Arc;

use super::state::RateLimitState;
use crate::admission::keyed::{Keying, OneKey};
use crate::layers::core::clone_fields;

/// Shows how many calls wait for the rate. Clones show the same limit.
#[derive(Debug)]
pub struct RateLimitHandle<K: Keying = OneKey> {
    state: Arc<RateLimitState<K>>,
}

clone_fields!([K: Keying] RateLimitHandle<K> { state });

impl<K: Keying> RateLimitHandle<K> {
    pub(super) fn new(state: Arc<RateLimitState<K>>) -> Self {
        Self { state }
    }

    /// How many calls wait for a permit, over all keys.
    pub fn waiting(&self) -> usize {
        self.state.waiting()
    }
}
