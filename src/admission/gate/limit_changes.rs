//! How the limit of a gate changes: by hand, by its config, or by what its calls show.

use std::time::Duration;

use super::state::Gate;
use super::wake;
use crate::algorithm::limit::{Law, Outcome, Ticket, is_short};
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::lock;
use crate::ground::verdict::Verdict;

impl Gate {
    /// Permits were granted to a call of this weight.
    #[inline]
    pub(super) fn begin(&self, weight: u32) -> Option<Ticket> {
        // A call without a weight takes no permit, and says nothing about their number.
        if weight == 0 || !self.learns.load(Ordering::Relaxed) {
            return None;
        }
        // The limit is in use if another call like this one would have to wait, also if a few permits are free.
        let in_use = self.in_use();
        let in_flight = in_use.saturating_add(weight - 1) as usize;
        let ticket = if self.is_quiet.load(Ordering::Relaxed) {
            Some(Ticket::quiet(in_flight))
        } else {
            lock(&self.learning).begin(in_flight)
        };
        ticket.map(|ticket| ticket.among(in_use.saturating_sub(weight) as usize + 1))
    }

    /// A call has returned its permit.
    pub(super) fn learn(&self, ticket: Ticket, took: Duration, had: Option<Duration>, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Success | Verdict::CallerFault => Outcome::Good,
            Verdict::TimedOut | Verdict::Abandoned => Outcome::Late,
            Verdict::Transient => Outcome::NoRoom,
            _ => Outcome::Failed,
        };
        // A call that its caller cancelled early, as a hedge that is no longer needed, was not short of time.
        let is_short = had.map(|had| is_short(took, had));
        let is_well = outcome != Outcome::NoRoom && is_short == Some(false);
        if is_well && ticket.is_quiet() && self.is_quiet.load(Ordering::Relaxed) && !is_sampled(took) {
            return;
        }
        {
            let mut learning = lock(&self.learning);
            let limit = learning.end(ticket, took, outcome, had);
            self.is_quiet.store(learning.is_quiet(), Ordering::Relaxed);
            let Some(limit) = limit else { return };
            // Under the lock, so that of two limits the later one stays.
            self.limit.swap(limit, Ordering::AcqRel);
        }
        self.serve_queue();
    }

    /// A call was refused for want of a permit in time.
    #[inline]
    pub(super) fn learn_refusal(&self) {
        if self.learns.load(Ordering::Relaxed) {
            let mut learning = lock(&self.learning);
            learning.refused();
            self.is_quiet.store(learning.is_quiet(), Ordering::Relaxed);
        }
    }

    /// Changes how the limit is found, and its maximum, to at least one. A maximum of `u32::MAX` is no limit.
    pub(crate) fn configure(&self, law: Law, max: u32) {
        {
            let mut learning = lock(&self.learning);
            // A swap and not a store: the thread that overwrites a limit must also see what its setter did before.
            self.limit.swap(learning.configure(law, max.max(1)), Ordering::AcqRel);
            self.learns.store(learning.is_active(), Ordering::Relaxed);
            self.is_quiet.store(learning.is_quiet(), Ordering::Relaxed);
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

/// One call in sixteen, or more where the clock is coarse. The last bits of a time are as good as chance, and no thread has to share
/// them with another.
fn is_sampled(took: Duration) -> bool {
    took.subsec_nanos() % 16 == 0
}
