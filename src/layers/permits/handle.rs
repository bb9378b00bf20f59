use std::num::NonZeroU32;
use std::sync::Arc;

use crate::admission::keyed::{Keying, OneKey};
use crate::layers::core::clone_fields;
use crate::layers::permits::gates::Gates;

/// Shows how many calls hold a permit and how many wait, and changes the limit at run time. Clones show the same layer value.
#[derive(Debug)]
pub struct PermitsHandle<K: Keying = OneKey> {
    gates: Arc<Gates<K>>,
}

clone_fields!([K: Keying] PermitsHandle<K> { gates });

impl<K: Keying> PermitsHandle<K> {
    pub(super) fn new(gates: Arc<Gates<K>>) -> Self {
        Self { gates }
    }

    /// How many permits are in use, over all keys.
    pub fn in_flight(&self) -> usize {
        self.gates.in_use()
    }

    /// How many calls wait for a permit, over all keys.
    pub fn waiting(&self) -> usize {
        self.gates.waiting()
    }

    /// How many permits there are for each key; of a [limit that learns](crate::load_shed::Limit), the highest in force.
    pub fn limit(&self) -> u32 {
        self.gates.limit()
    }

    /// Changes how many permits there are for each key. Additional permits are granted at once. A lower limit revokes no permit; it
    /// is reached as calls end. Of a limit that learns this is the maximum: a higher one raises it only if it was at its maximum.
    pub fn set_limit(&self, limit: NonZeroU32) {
        self.gates.set_limit(limit.get());
    }
}
