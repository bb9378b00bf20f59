//! Rings for the head of a line when its rate changes: it may be asleep until an instant of the old one.

use std::task::Waker;

use crate::ground::sync::{Mutex, foreign, lock};

/// See the module. There is one head at a time.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Option<Waker>>);

impl Bell {
    /// Wakes this one from now on. Who sleeps has to look at the rate after this and before that.
    pub(super) fn attend(&self, waker: &Waker) {
        let waker = foreign(|| waker.clone());
        let before = lock(&self.0).replace(waker);
        foreign(|| drop(before));
    }

    pub(super) fn leave(&self) {
        let left = lock(&self.0).take();
        foreign(|| drop(left));
    }

    pub(super) fn ring(&self) {
        let head = lock(&self.0).take();
        if let Some(head) = head {
            foreign(|| head.wake());
        }
    }
}
