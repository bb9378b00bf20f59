//! A waker that can be detached from its task: it stays with a pooled sleep, and forwards wake-ups to the current user of the sleep.
//!
//! Tokio's sleep keeps the last waker it was polled with, and so the memory of that task, until it fires; and then it wakes a task
//! that no longer waits for it. Polling it with a no-op waker would help, but a sleep must not be polled in a drop: it panics once
//! its runtime has shut down.

use std::sync::Arc;
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

use crate::ground::sync::atomic::{AtomicBool, Ordering};
use crate::ground::sync::foreign;

#[derive(Debug)]
pub(super) struct Relay {
    task: AtomicWaker,
    /// The sleep holds our waker and has not used it yet.
    registered: AtomicBool,
}

impl Relay {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { task: AtomicWaker::new(), registered: AtomicBool::new(false) })
    }

    /// Forwards wake-ups to `task` from now on. Returns whether the sleep still holds our waker; if not, the caller has to poll it
    /// with that waker now.
    #[must_use]
    pub(super) fn forward_to(&self, task: &Waker) -> bool {
        // In this order: a sleep that fires in between either wakes the task, or is seen to hold our waker no more.
        foreign(|| self.task.register(task));
        self.registered.swap(true, Ordering::AcqRel)
    }

    pub(super) fn forget_task(&self) {
        foreign(|| drop(self.task.take()));
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.registered.store(false, Ordering::Release);
        foreign(|| self.task.wake());
    }
}
