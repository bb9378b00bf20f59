//! Permits, and the line of those who wait for them.
//!
//! A call takes as many permits as it weighs. While there are enough, taking and giving back are one compare-and-swap of
//! one word, which holds both the permits in use and the number of waiters; no lock. When there are not, the call
//! stands in a line under a short lock: by priority, and within one priority first come, first served (or the other way
//! round, see [`Order`]). The head of the line gets what comes free; nobody passes it, however light, so that a heavy
//! call is served too. Every change of the word while someone waits happens under the lock; thus no permit that comes
//! free is missed by the line.
//!
//! - A waiter is woken when its turn has come, or when it is refused, and never before.
//! - A waiter that is dropped is gone at once. If it had just been given a permit, that goes to the next.
//! - A waiter whose turn comes too late to be served in time is refused instead (see [`queue`](crate::algorithm::queue)).
//! - A call that gave its permit back for a while (it waited for its client, see [`Gate::readmit`]) stands before all newcomers, and is
//!   refused only if its deadline has passed: what is left of it need not take as long as a whole call. How many may be away
//!   is bounded ([`Gate::MAX_AWAY`]).
//! - The gate times its *permits*, from the grant to the release: that is what a queue waits for. Only calls that went well
//!   count in full; one that was cut or given up held its permit "at least that long".
//! - The limit may change at any time: a lower one takes no permit away, and is reached as permits come back. What weighs
//!   more than the limit runs alone.
//! - A call of no weight passes, and is not counted.

mod away;
mod permit;
mod permit_request;
mod state;
mod wait_queue;
mod waiter;

#[cfg(all(test, seawall_loom))]
mod loom_tests;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

pub(crate) use self::away::AwayGuard;
pub(crate) use self::permit::Permit;
pub(crate) use self::permit_request::PermitRequest;
pub(crate) use self::state::Gate;
use self::state::{Word, wake};
pub(crate) use self::wait_queue::Ahead;
pub use self::wait_queue::Order;
pub(crate) use self::waiter::Waiter;
use crate::algorithm::estimate::ServiceTime;
use crate::algorithm::queue::{Refusal, Until, Wait};
use crate::ground::error::Reason;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Arc, lock};
use crate::ground::time::Instant;
use crate::telemetry::{Instruments, Unreported};

/// What the gate has for a call.
#[derive(Debug)]
pub(crate) enum Admitted {
    Now(Permit),
    Later(Waiter),
}

impl Refusal {
    /// The same as a refusal by the layer that the instruments are of.
    pub(crate) fn by(self, instruments: &Instruments) -> Unreported {
        let Self { reason, retry_after, numbers } = self;
        instruments.refuse(reason).with_retry_after(retry_after).with_numbers(numbers)
    }
}

impl Gate {
    /// A permit, a place in the line, or a refusal. No more than `max_waiting` stand in the line; who ranks before its
    /// last takes that one's place.
    pub(crate) fn admit(
        gate: Arc<Self>,
        now: Instant,
        wanted: PermitRequest,
        max_waiting: u32,
        max_wait: Duration,
    ) -> Result<Admitted, Refusal> {
        if let Some(deadline) = wanted.deadline {
            if deadline <= now {
                return Err(Refusal::new(Reason::DeadlineExpired));
            }
            if !gate.has_a_chance(now, deadline) {
                return Err(gate.hopeless(now, deadline));
            }
        }
        if let Some(weight) = gate.try_take(wanted.weight) {
            return Ok(Admitted::Now(Permit { gate, weight }));
        }
        let service = ServiceTime::default();
        let mut wait = Wait { now, deadline: wanted.deadline, max_wait, predicted: Duration::ZERO, service };
        let waiter = Self::enqueue(&gate, wanted, max_waiting, |ahead| {
            let service = gate.service.read(now);
            let predicted = gate.predict(ahead.weight, wanted.weight, service);
            wait = Wait { predicted, service, ..wait };
            wait.decide()
        });
        let waiter = waiter.map_err(|refusal| gate.numbered(wait.explain(refusal)))?;
        Ok(Admitted::Later(waiter))
    }

    /// A permit for a call that has had one before and gave it back for a while: at once, or before all newcomers.
    pub(crate) fn readmit(gate: &Arc<Self>, wanted: PermitRequest) -> Result<Admitted, Refusal> {
        if let Some(permit) = Self::try_acquire(gate, wanted.weight) {
            return Ok(Admitted::Now(permit));
        }
        let until = Until { at: wanted.deadline.unwrap_or(Instant::MAX), reason: Reason::NotInTime };
        Self::enqueue(gate, PermitRequest { returning: true, ..wanted }, u32::MAX, |_| Ok(until)).map(Admitted::Later)
    }

    /// Permits in any case, over the limit if need be; the queue goes on when they are back.
    pub(crate) fn acquire_anyway(gate: &Arc<Self>, weight: u32) -> Permit {
        gate.word.fetch_add(u64::from(weight) * Word::ONE_IN_USE, Ordering::AcqRel);
        Permit { gate: Arc::clone(gate), weight }
    }

    /// Permits, if there are enough and nobody waits for them.
    pub(crate) fn try_acquire(gate: &Arc<Self>, weight: u32) -> Option<Permit> {
        gate.try_take(weight).map(|weight| Permit { gate: Arc::clone(gate), weight })
    }

    /// A place in the line, if there is room and `decide`, who sees what is ahead, is for it. `decide` runs under the lock.
    pub(crate) fn enqueue(
        gate: &Arc<Self>,
        wanted: PermitRequest,
        max_waiting: u32,
        decide: impl FnOnce(Ahead) -> Result<Until, Refusal>,
    ) -> Result<Waiter, Refusal> {
        let mut queue = lock(&gate.queue);
        let until = decide(queue.ahead(&wanted))?;
        let (position, last) = queue.enter(wanted, wanted.weight.min(gate.limit()), max_waiting)?;
        if last.is_none() {
            gate.word.fetch_add(1, Ordering::AcqRel);
        }
        let mut woken = gate.serve(&mut queue);
        drop(queue);
        woken.extend(last.flatten());
        // The place is somebody's before foreign code runs, which may panic.
        let waiter = Waiter::new(Arc::clone(gate), position, until);
        wake(woken);
        Ok(waiter)
    }
}
