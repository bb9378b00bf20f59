//! The outcome of a call, and sums of outcomes.

/// The outcome of a call.
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

/// The counts of a window. A call can be both a failure and slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

impl Counts {
    #[inline]
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.calls += 1;
        self.failures += u64::from(outcome.failure);
        self.slow += u64::from(outcome.slow);
    }

    pub(super) fn subtract(&mut self, outcome: Outcome) {
        self.calls -= 1;
        self.failures -= u64::from(outcome.failure);
        self.slow -= u64::from(outcome.slow);
    }
}
