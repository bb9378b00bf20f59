//! A limit that is fixed, or learned from the calls that hold permits.

use std::time::Duration;

use crate::algorithm::limit::{Law, Limit, Outcome, Ticket, is_ample, is_short};

/// See the module.
#[derive(Debug)]
pub(super) struct Learning {
    law: Law,
    max: u32,
    /// `None` for a limit that is fixed, or while there is none.
    limit: Option<Limit>,
}

impl Learning {
    /// Also returns the limit to begin with.
    pub(super) fn new(law: Law, max: u32) -> (Self, u32) {
        let mut learning = Self { law: Law::Fixed, max: 0, limit: None };
        let limit = learning.configure(law, max.max(1));
        (learning, limit)
    }

    /// Whether there is anything to learn.
    pub(super) fn is_active(&self) -> bool {
        self.limit.is_some()
    }

    /// Sets the law and the highest limit, and returns the limit that is now in force. What was learned is kept, as far as it fits.
    pub(super) fn configure(&mut self, law: Law, max: u32) -> u32 {
        if (law, max) != (self.law, self.max) {
            let is_learned = law != Law::Fixed && max != u32::MAX;
            self.limit = is_learned.then(|| match self.limit.take() {
                // A limit of ours at its maximum has learned nothing.
                Some(limit) if limit.limit() < self.max as usize || law == self.law && !law.starts_at_max() => {
                    law.adapt(limit, max as usize)
                }
                _ => law.new_limit(max as usize),
            });
            (self.law, self.max) = (law, max);
        }
        self.limit.as_ref().map_or(max, |limit| saturate(limit.limit()))
    }

    /// Whether a sample of the calls is enough.
    pub(super) fn is_quiet(&self) -> bool {
        self.limit.as_ref().is_some_and(Limit::is_quiet)
    }

    /// A permit was granted.
    pub(super) fn begin(&mut self, in_flight: usize) -> Option<Ticket> {
        self.limit.as_mut().map(|limit| limit.begin(in_flight))
    }

    /// A call was refused for want of a permit in time.
    pub(super) fn refused(&mut self) {
        if let Some(limit) = &mut self.limit {
            limit.note_time(true);
        }
    }

    /// A call has returned its permit, and `had` so much time when it got it, if that is known. Returns the limit if it has changed.
    pub(super) fn end(
        &mut self,
        ticket: Ticket,
        took: Duration,
        outcome: Outcome,
        had: Option<Duration>,
    ) -> Option<u32> {
        let limit = self.limit.as_mut()?;
        if let Some(had) = had {
            limit.note_time(is_short(took, had));
            limit.note_ample(is_ample(took, had));
        }
        limit.end(ticket, took, outcome).then(|| saturate(limit.limit()))
    }
}

fn saturate(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}
