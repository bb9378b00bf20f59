//! Numbers that may be unknown, without the space of an `Option`: futures carry refusals.

use std::time::Duration;

use crate::ground::time;

/// A time in nanoseconds; the largest number is none. Half as large as an `Option<Duration>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Nanos(u64);

/// A count; the largest number is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedCount(u32);

impl Nanos {
    pub(super) const NONE: Self = Self(u64::MAX);

    pub(super) fn of(time: Duration) -> Self {
        Self(time::nanos(time).min(u64::MAX - 1))
    }

    pub(super) fn get(self) -> Option<Duration> {
        (self != Self::NONE).then_some(Duration::from_nanos(self.0))
    }
}

impl PackedCount {
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn of(count: u32) -> Self {
        Self(count.min(u32::MAX - 1))
    }

    pub(super) fn get(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }
}
