//! Wakes what waits for a breaker to move.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What waits for a breaker to move.
#[derive(Debug, Default)]
pub(super) struct StateChanges(Arc<Notify>);

impl StateChanges {
    /// The breaker has made a step: what waits looks again. Not under its lock, since it wakes tasks.
    #[inline]
    pub(super) fn notify(&self) {
        self.0.notify_waiters();
    }

    /// Ready with the breaker's next step.
    pub(super) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.0).notified_owned()
    }
}
