use std::task::{Context, Poll};

use super::permit::Permit;
use super::state::{Gate, wake};
use super::wait_queue::{GateQueuePosition, Outcome};
use crate::admission::timer::Timer;
use crate::algorithm::queue::Until;
use crate::ground::error::Reason;
use crate::ground::scope::{self, ShareKey};
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Arc, foreign, lock};

/// A position in a gate's queue, released on drop.
#[derive(Debug)]
#[must_use]
pub(crate) struct Waiter {
    gate: Arc<Gate>,
    /// `None` once the outcome is known.
    position: Option<GateQueuePosition>,
    until: Until,
    timer: Timer,
    share_key: Option<ShareKey>,
}

impl Waiter {
    pub(super) fn new(gate: Arc<Gate>, position: GateQueuePosition, until: Until, share_key: Option<ShareKey>) -> Self {
        Self { gate, position: Some(position), until, timer: Timer::new(), share_key }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Ready with the permit, or with the reason of a refusal. The wait is bounded, and does not count as the dependency's time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Reason>> {
        let Some(position) = self.position else { return Poll::Pending };
        let waker = foreign(|| cx.waker().clone());
        let mut queue = lock(&self.gate.queue);
        if let Some(outcome) = queue.take_outcome(position) {
            drop(queue);
            let ended = self.end(position, outcome);
            // Foreign code. By now the permit has an owner, even if that panics.
            foreign(|| drop(waker));
            return Poll::Ready(ended);
        }
        let before = queue.register(position, waker);
        drop(queue);
        foreign(|| drop(before));
        if self.timer.poll_until(cx, self.until.at).is_pending() {
            scope::mark_local_wait();
            return Poll::Pending;
        }
        let outcome = self.leave(position).unwrap_or(Outcome::Refused(self.until.reason));
        Poll::Ready(self.end(position, outcome))
    }

    fn end(&mut self, position: GateQueuePosition, outcome: Outcome<u32>) -> Result<Permit, Reason> {
        self.position = None;
        let result = match outcome {
            Outcome::Granted(weight) if position.is_returning() => Ok(Permit::returned(Arc::clone(&self.gate), weight)),
            Outcome::Granted(weight) => Ok(Permit::new(Arc::clone(&self.gate), weight, self.share_key)),
            Outcome::Refused(reason) => Err(reason),
        };
        // Disarming drops a waker, which is foreign code. By now the permit has an owner, even if that panics.
        self.timer.disarm();
        result
    }

    /// Leaves the queue. Returns an outcome that was decided before.
    fn leave(&mut self, position: GateQueuePosition) -> Option<Outcome<u32>> {
        self.position = None;
        let mut queue = lock(&self.gate.queue);
        let Some(left) = queue.leave(position) else {
            return queue.take_outcome(position);
        };
        self.gate.word.fetch_sub(1, Ordering::AcqRel);
        // It may have been the head, and too heavy for the free permits. The next call may fit.
        let woken = self.gate.serve(&mut queue);
        drop(queue);
        wake(woken);
        foreign(|| drop(left));
        None
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(position) = self.position {
            if let Some(Outcome::Granted(weight)) = self.leave(position) {
                drop(Permit::returned(Arc::clone(&self.gate), weight));
            }
        }
    }
}
