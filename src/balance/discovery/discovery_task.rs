use tokio::task::AbortHandle;

/// A task that follows a stream of sets. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::balance) struct DiscoveryTask(AbortHandle);

impl DiscoveryTask {
    pub(super) fn new(task: AbortHandle) -> Self {
        Self(task)
    }
}

impl Drop for DiscoveryTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
