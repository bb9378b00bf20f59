//! A waker that can be forgotten: it stays with a pooled sleep, and passes wake-ups on to whoever uses the sleep now.
//!
//! Tokio's sleep keeps the last waker it was polled with, and so the memory of that task, until it fires; and it then wakes
//! a task that has long been busy with something else. Polling it with a no-op waker would help, but a sleep must not be
//! polled in a drop: it panics once its runtime has shut down.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::ground::sync::{Mutex, foreign, lock};

#[derive(Debug)]
pub(super) struct Relay(Mutex<State>);

#[derive(Debug)]
struct State {
    task: Option<Waker>,
    /// The sleep has our waker and has not used it yet.
    registered: bool,
}

impl Relay {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { task: None, registered: false })))
    }

    /// Wake-ups go to `task` from now on. Says whether the sleep still holds our waker; if not, the caller has to poll it
    /// with that waker now.
    #[must_use]
    pub(super) fn forward_to(&self, task: &Waker) -> bool {
        let task = foreign(|| task.clone());
        let mut state = lock(&self.0);
        let before = state.task.replace(task);
        let registered = std::mem::replace(&mut state.registered, true);
        drop(state);
        foreign(|| drop(before));
        registered
    }

    pub(super) fn forget_task(&self) {
        let task = lock(&self.0).task.take();
        foreign(|| drop(task));
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let mut state = lock(&self.0);
            state.registered = false;
            state.task.take()
        };
        if let Some(task) = task {
            foreign(|| task.wake());
        }
    }
}
