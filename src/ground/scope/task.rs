//! The identity of a task.

use std::task::{RawWakerVTable, Waker};

/// A task, as far as it can be told by its waker: by both of the pointers that the waker is made of. They are compared and never
/// followed; a `will_wake` would be foreign code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    data: *const (),
    vtable: *const RawWakerVTable,
}

/// Nothing is allocated below this address. Data that is null, dangling or the number of a task says nothing: a nested executor
/// of the same kind has the same.
const LOWEST_POINTER: usize = 4096;

impl Task {
    #[inline]
    pub(super) fn of(waker: &Waker) -> Option<Self> {
        let data = waker.data();
        (data.addr() >= LOWEST_POINTER).then(|| Self { data, vtable: waker.vtable() })
    }
}
