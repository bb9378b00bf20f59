//! The identity of a task.

use std::task::{RawWakerVTable, Waker};

/// A task, identified by both pointers of its waker. They are compared and never dereferenced; `will_wake` would be foreign code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    data: *const (),
    vtable: *const RawWakerVTable,
}

/// Nothing is allocated below this address. Data that is null, dangling or a task's number identifies nothing: a nested executor of
/// the same kind has the same.
const LOWEST_POINTER: usize = 4096;

impl TaskId {
    #[inline]
    pub(super) fn of(waker: &Waker) -> Option<Self> {
        let data = waker.data();
        (data.addr() >= LOWEST_POINTER).then(|| Self { data, vtable: waker.vtable() })
    }
}
