//! A window over the last calls, which slides call by call: the evicted outcome is subtracted.

use super::outcome::{CallOutcome, OutcomeCounts};

/// The most calls a window can cover.
pub(crate) const MAX_CALLS: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct CountWindow {
    /// The last outcomes. Its capacity is the size of the window from the beginning.
    outcomes: Vec<CallOutcome>,
    size: usize,
    /// The index of the oldest outcome, once the window is full.
    oldest: usize,
    counts: OutcomeCounts,
}

impl CountWindow {
    /// Covers the last `calls` calls: at least one, at most [`MAX_CALLS`].
    pub(crate) fn new(calls: usize) -> Self {
        let size = size(calls);
        Self { outcomes: Vec::with_capacity(size), size, oldest: 0, counts: OutcomeCounts::default() }
    }

    pub(super) fn covers(&self, calls: usize) -> bool {
        self.size == size(calls)
    }

    pub(super) fn add(&mut self, outcome: CallOutcome) -> bool {
        self.counts.add(outcome);
        if self.outcomes.len() < self.size {
            self.outcomes.push(outcome);
        } else if let Some(oldest) = self.outcomes.get_mut(self.oldest) {
            self.counts.subtract(std::mem::replace(oldest, outcome));
            self.oldest = (self.oldest + 1) % self.size;
        }
        self.counts.failures > 0 || self.counts.slow > 0
    }

    pub(super) fn counts(&self) -> OutcomeCounts {
        self.counts
    }

    pub(super) fn clear(&mut self) {
        self.outcomes.clear();
        (self.oldest, self.counts) = (0, OutcomeCounts::default());
    }
}

fn size(calls: usize) -> usize {
    calls.clamp(1, MAX_CALLS)
}
