//! What a keyed state must implement.

use crate::ground::time::Instant;

/// A state that may be forgotten once it holds nothing worth keeping.
pub(crate) trait Forgettable {
    /// Whether a new state would treat calls from `now` on as this one does, or worse. Called only while no call holds it, and under
    /// the table's lock.
    fn is_as_good_as_new(&self, now: Instant) -> bool;

    /// Takes over what `shared`, which the key used until now, holds against its callers. Called before anything else knows this
    /// state, and under the table's lock.
    fn inherit(&self, shared: &Self, now: Instant);
}
