//! Notifies waiters and an owner of a breaker's state changes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::ground::sync::foreign;

/// Notifies waiters and an owner of a breaker's state changes.
#[derive(Default)]
pub(super) struct StateChanges {
    waiters: Arc<Notify>,
    owner: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl StateChanges {
    /// Wakes all waiters after a step that changed what calls may do, so that they check it again. Not under the breaker's lock: it wakes
    /// tasks.
    #[inline]
    pub(super) fn notify(&self) {
        foreign(|| self.waiters.notify_waiters());
        if let Some(owner) = self.owner.get() {
            foreign(owner);
        }
    }

    /// Ready at the next such step.
    pub(super) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.waiters).notified_owned()
    }

    /// Calls `owner` after each such step: a layer that has breakers as parts. It can be set once.
    pub(super) fn tell(&self, owner: Box<dyn Fn() + Send + Sync>) {
        let _ = self.owner.set(owner);
    }
}

impl fmt::Debug for StateChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateChanges").finish_non_exhaustive()
    }
}
