//! Atomics and locks, from `std`, or from `loom` when the lock-free parts are being model-checked.
//!
//! Every file with a concurrency claim takes them from here, so that the model runs over the same source.

/// What is made once; the model checker does not look into it.
pub(crate) use std::sync::OnceLock;
#[cfg(not(seawall_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(seawall_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};

/// Locks, and goes on with the data of a lock whose holder panicked: whatever a lock of ours guards is whole at each point
/// at which foreign code (a key's hash or clone, a waker's clone) runs under it. Calls, closures and wake-ups never do.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
