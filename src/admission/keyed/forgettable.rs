//! What a keyed state must say of itself.

use crate::ground::time::Instant;

/// A state that may be forgotten, once there is nothing to remember.
pub(crate) trait Forgettable {
    /// Whether a new state would treat the calls that come from `now` on as this one does, or no better. Asked only while no
    /// call holds it, and under the table's lock.
    fn is_as_good_as_new(&self, now: Instant) -> bool;

    /// Takes over what `shared`, of which the key had a share until now, holds against its callers. Called before
    /// anything else knows this state, and under the table's lock.
    fn inherit(&self, shared: &Self, now: Instant);
}
