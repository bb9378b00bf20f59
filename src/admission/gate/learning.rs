//! A limit that the gate learns from the calls that hold its permits.

use std::time::Duration;

use super::state::Gate;
use super::wake;
use crate::algorithm::limit::{Law, Limit, Outcome, Ticket};
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::lock;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;

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
    fn configure(&mut self, law: Law, max: u32) -> u32 {
        if (law, max) != (self.law, self.max) {
            let is_learned = law != Law::Fixed && max != u32::MAX;
            self.limit = is_learned.then(|| match self.limit.take() {
                Some(limit) => law.adapt(limit, max as usize),
                None => law.limit(Law::START, max as usize),
            });
            (self.law, self.max) = (law, max);
        }
        self.limit.as_ref().map_or(max, |limit| u32::try_from(limit.limit()).unwrap_or(u32::MAX))
    }
}

impl Gate {
    /// A permit was granted.
    #[inline]
    pub(super) fn begin(&self) -> Option<Ticket> {
        if !self.learns.load(Ordering::Relaxed) {
            return None;
        }
        let in_flight = self.in_use() as usize;
        lock(&self.learning).limit.as_mut().map(|limit| limit.begin(in_flight, time::now()))
    }

    /// A call has returned its permit.
    pub(super) fn learn(&self, now: Instant, ticket: Ticket, took: Duration, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Success | Verdict::CallerFault => Outcome::Good,
            Verdict::TimedOut | Verdict::Abandoned => Outcome::Late,
            Verdict::Transient => Outcome::NoRoom,
            _ => Outcome::Failed,
        };
        {
            let mut learning = lock(&self.learning);
            let Some(limit) = &mut learning.limit else { return };
            if !limit.end(ticket, took, outcome, now) {
                return;
            }
            // Under the lock, so that of two limits the later one stays.
            self.limit.swap(u32::try_from(limit.limit()).unwrap_or(u32::MAX), Ordering::AcqRel);
        }
        self.serve_queue();
    }

    /// Changes how the limit is found, and its maximum, to at least one. A maximum of `u32::MAX` is no limit.
    pub(crate) fn configure(&self, law: Law, max: u32) {
        {
            let mut learning = lock(&self.learning);
            // A swap and not a store: the thread that overwrites a limit must also see what its setter did before.
            self.limit.swap(learning.configure(law, max.max(1)), Ordering::AcqRel);
            self.learns.store(learning.is_active(), Ordering::Relaxed);
        }
        self.serve_queue();
    }

    fn serve_queue(&self) {
        let mut queue = lock(&self.queue);
        let woken = self.serve(&mut queue);
        drop(queue);
        wake(woken);
    }
}
