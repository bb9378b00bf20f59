//! The counts of calls that have exhausted their retries.

/// The calls of one handler that have exhausted their retries, and how many of them, from the first on, it has recovered from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exhausted {
    pub(super) calls: u32,
    pub(super) recovered: u32,
}

#[cfg(feature = "http")]
impl Exhausted {
    /// Whether a call failed for good and no later one succeeded.
    pub(crate) fn is_exhausted(self) -> bool {
        self.calls > self.recovered
    }
}
