//! The outcome of a call, and sums of outcomes.

/// The outcome of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallOutcome {
    pub(crate) failure: bool,
    pub(crate) slow: bool,
}

impl CallOutcome {
    pub(crate) const fn is_bad(self) -> bool {
        self.failure || self.slow
    }
}

/// The counts of a window. A call can be both a failure and slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutcomeCounts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

impl OutcomeCounts {
    #[inline]
    pub(super) fn add(&mut self, outcome: CallOutcome) {
        self.calls += 1;
        self.failures += u64::from(outcome.failure);
        self.slow += u64::from(outcome.slow);
    }

    pub(super) fn subtract(&mut self, outcome: CallOutcome) {
        self.calls -= 1;
        self.failures -= u64::from(outcome.failure);
        self.slow -= u64::from(outcome.slow);
    }
}
