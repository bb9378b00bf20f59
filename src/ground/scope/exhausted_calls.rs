//! How many calls have exhausted their retries: what `exhausted` counts in the scope.

/// How many calls of one handler have exhausted their retries, and how many of these, from the first on, it has recovered from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exhausted {
    pub(super) calls: u32,
    pub(super) recovered: u32,
}

#[cfg(feature = "http")]
impl Exhausted {
    /// Whether a call failed for good and no later one succeeded.
    pub(crate) fn stands(self) -> bool {
        self.calls > self.recovered
    }
}
