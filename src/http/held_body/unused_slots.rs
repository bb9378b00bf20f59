//! Slots that a thread keeps for its next bodies. So a held body allocates no slot, once its thread has held some.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;

use super::carried::AnyCarriedBody;
use super::slot::Slot;

/// How many unused slots a thread keeps (about 100 bytes each).
const POOLED: usize = 256;

thread_local! {
    /// A thread-local, as is that of unused sleeps: a shared pool would need a lock. A body may end on another thread
    /// than that which took its slot, and each pool is bounded.
    static UNUSED: RefCell<Vec<Arc<Slot>>> = const { RefCell::new(Vec::new()) };
}

/// A slot with this body, reused or fresh.
pub(super) fn take(carried: Pin<Box<dyn AnyCarriedBody>>) -> Arc<Slot> {
    let fresh = Slot::new(carried);
    // While the thread ends, the pool no longer exists.
    if let Some(mut unused) = UNUSED.try_with(|unused| unused.borrow_mut().pop()).ok().flatten() {
        // If the reaper or a waker still has the slot, it would reach a body that is not its own.
        if let Some(slot) = Arc::get_mut(&mut unused) {
            *slot = fresh;
            return unused;
        }
    }
    Arc::new(fresh)
}

/// Keeps a slot whose body is gone.
pub(super) fn give_back(slot: &Arc<Slot>) {
    let _ = UNUSED.try_with(|unused| {
        let mut unused = unused.borrow_mut();
        if unused.len() < POOLED {
            unused.push(Arc::clone(slot));
        }
    });
}
