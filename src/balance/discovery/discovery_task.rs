use tokio::task::AbortHandle;

/// A task that follows a stream of sets. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::balance) struct DiscoveryTask {
    /// A stream has a larger epoch than the streams that it replaces.
    pub(in crate::balance) epoch: u64,
    task: AbortHandle,
}

impl DiscoveryTask {
    pub(super) fn new(epoch: u64, task: AbortHandle) -> Self {
        Self { epoch, task }
    }
}

impl Drop for DiscoveryTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}
