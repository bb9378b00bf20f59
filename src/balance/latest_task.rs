//! A background task of a layer value, which a newer one supersedes. It ends with the layer value.

use tokio::task::AbortHandle;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, lock};

/// See the module.
#[derive(Debug)]
pub(super) struct LatestTask {
    /// The number of tasks so far.
    epoch: AtomicU64,
    running: Mutex<Option<RunningTask>>,
}

#[derive(Debug)]
struct RunningTask {
    /// A task has a larger epoch than those that it supersedes.
    epoch: u64,
    task: AbortHandle,
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LatestTask {
    pub(super) fn new() -> Self {
        Self { epoch: AtomicU64::new(0), running: Mutex::new(None) }
    }

    /// The epoch of a new task. From now on the others are superseded.
    pub(super) fn begin(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether no other task supersedes that of this epoch. The abort reaches a task only after its poll.
    pub(super) fn is_current(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
    }

    /// Keeps the task of this epoch, and ends the former one. A superseded task ends at once.
    pub(super) fn keep(&self, epoch: u64, task: AbortHandle) {
        let task = RunningTask { epoch, task };
        let superseded = {
            let mut running = lock(&self.running);
            if running.as_ref().is_some_and(|running| running.epoch > epoch) {
                Some(task)
            } else {
                running.replace(task)
            }
        };
        // It ends now, without the lock.
        drop(superseded);
    }
}
