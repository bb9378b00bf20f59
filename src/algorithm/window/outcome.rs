//! What one call was like, and sums of that.

/// What one call was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) failure: bool,
    pub(crate) slow: bool,
}

impl Outcome {
    pub(crate) const fn is_bad(self) -> bool {
        self.failure || self.slow
    }
}

/// What the calls of a window were like. A call can be both a failure and slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}
