use std::task::{Context, Poll};

use super::line::{Outcome, Place};
use super::permit::Permit;
use super::state::{Gate, wake};
use crate::admission::timer::Timer;
use crate::algorithm::queue::Until;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Arc, foreign, lock};

/// A place in a gate's line, given up on drop.
#[derive(Debug)]
#[must_use]
pub(crate) struct Waiter {
    gate: Arc<Gate>,
    /// None once the outcome is known.
    place: Option<Place>,
    until: Until,
    timer: Timer,
}

impl Waiter {
    pub(super) fn new(gate: Arc<Gate>, place: Place, until: Until) -> Self {
        Self { gate, place: Some(place), until, timer: Timer::new() }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The permit, or why there will be none. The wait is bounded by time, and counts as no time of the callee's.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Reason>> {
        let Some(place) = self.place else { return Poll::Pending };
        let waker = foreign(|| cx.waker().clone());
        let mut line = lock(&self.gate.line);
        if let Some(outcome) = line.take_outcome(place) {
            drop(line);
            return Poll::Ready(self.end(outcome));
        }
        let before = line.register(place, waker);
        drop(line);
        foreign(|| drop(before));
        if self.timer.poll_until(cx, self.until.at).is_pending() {
            scope::mark_local_wait();
            return Poll::Pending;
        }
        let outcome = self.leave(place).unwrap_or(Outcome::Refused(self.until.reason));
        Poll::Ready(self.end(outcome))
    }

    fn end(&mut self, outcome: Outcome) -> Result<Permit, Reason> {
        self.place = None;
        let result = match outcome {
            Outcome::Granted { weight } => Ok(Permit { gate: Arc::clone(&self.gate), weight }),
            Outcome::Refused(reason) => Err(reason),
        };
        // It lets go of a waker, which is foreign code: the permit is somebody's by now.
        self.timer.disarm();
        result
    }

    /// Gives the place up. What had been decided before that is returned.
    fn leave(&mut self, place: Place) -> Option<Outcome> {
        self.place = None;
        let mut line = lock(&self.gate.line);
        let Some(left) = line.leave(place) else {
            return line.take_outcome(place);
        };
        self.gate.word.fetch_sub(1, Ordering::AcqRel);
        // It may have been the head, and too heavy for what is free: the next need not be.
        let woken = self.gate.serve(&mut line);
        drop(line);
        wake(woken);
        foreign(|| drop(left));
        None
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            if let Some(Outcome::Granted { weight }) = self.leave(place) {
                drop(Permit { gate: Arc::clone(&self.gate), weight });
            }
        }
    }
}
