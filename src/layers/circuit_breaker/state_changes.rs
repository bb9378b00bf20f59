//! Notifies waiters of a breaker's state changes.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::ground::sync::foreign;

/// Notifies waiters of a breaker's state changes.
#[derive(Debug, Default)]
pub(super) struct StateChanges(Arc<Notify>);

impl StateChanges {
    /// Wakes all waiters after a step that changed what calls may do, so that they check it again. Not under the breaker's lock: it wakes
    /// tasks.
    #[inline]
    pub(super) fn notify(&self) {
        foreign(|| self.0.notify_waiters());
    }

    /// Ready at the next such step.
    pub(super) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.0).notified_owned()
    }
}
