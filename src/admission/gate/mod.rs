//! Permits, and the queue of calls that wait for them.
//!
//! A call takes as many permits as it weighs. While there are enough, acquire and release are one compare-and-swap of one word,
//! which holds both the permits in use and the number of waiters; no lock, but a short one if the limit is learned. When there are not,
//! the call joins a queue under a short lock: by priority, and within one priority first come, first served (or the reverse, see
//! [`Order`]). A small share of the permits goes to [lower priorities](out_of_turn) all the same. Freed permits go to the head of the
//! queue; no lighter call of its turn overtakes it, so that a heavy call is served too. While calls wait, every change of the word happens
//! under the lock. Otherwise the queue could miss a permit that becomes free.
//!
//! - A waiter is woken when it gets its permit or is refused, and never before.
//! - A waiter that is dropped leaves the queue at once. If it had just been granted a permit, the permit goes to the next call.
//! - A waiter that reaches the head too late to be served in time is refused instead (see [`queue`](crate::algorithm::queue)).
//! - A call that returned its permit for a while (it waited for its client, see [`Gate::readmit`]) waits ahead of all new calls, and
//!   is refused only if its deadline has passed: its remaining work need not take as long as a whole call. The number of such calls is
//!   bounded ([`Gate::MAX_AWAY`]).
//! - The gate times its *permits*, from the grant to the release: this is the time that waiting calls wait for. Only successful calls
//!   count as full samples. A call that was cut or abandoned held its permit "at least that long".
//! - The limit is fixed or [learned](crate::algorithm::limit) from the calls that hold permits.
//! - The limit may change at any time: a lower limit revokes no permit, and is reached as permits are released. A call that weighs
//!   more than the limit runs alone.
//! - Calls of one priority with different [keys](crate::fair_share) get permits in turn, by the permit time of each key.
//! - A call of weight zero passes, and is not counted.

mod away;
mod call_ticket;
mod key_times;
mod learning;
mod limit_changes;
mod out_of_turn;
mod permit;
mod permit_request;
mod state;
mod turns;
mod wait_queue;
mod waiter;

#[cfg(all(test, seawall_loom))]
mod loom_tests;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

pub(crate) use self::away::AwayGuard;
pub(crate) use self::call_ticket::CallTicket;
pub(crate) use self::permit::Permit;
pub(crate) use self::permit_request::PermitRequest;
pub(crate) use self::state::Gate;
use self::state::Word;
pub(crate) use self::state::wake;
pub use self::turns::Order;
pub(crate) use self::turns::{DEFAULT_LOW_PRIORITY_SHARE, Turns};
pub(crate) use self::wait_queue::{Ahead, GateQueue, GateQueuePosition, Outcome};
pub(crate) use self::waiter::Waiter;
use crate::algorithm::queue::{Refusal, Standing, Until, Wait};
use crate::ground::error::Reason;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Arc, lock};
use crate::ground::time::{self, Instant};
use crate::telemetry::{Instruments, Unreported};

/// The answer of a gate to an admitted call.
#[derive(Debug)]
pub(crate) enum Admitted {
    Now(Permit),
    Later(Waiter),
}

impl Refusal {
    /// This refusal, as one of the layer that owns the instruments.
    pub(crate) fn by(self, instruments: &Instruments) -> Unreported {
        let Self { reason, retry_after, numbers } = self;
        instruments.refuse(reason).with_retry_after(retry_after).with_numbers(numbers)
    }
}

impl Gate {
    /// A permit, a position in the queue, or a refusal. At most `max_waiting` calls are queued. A call that ranks before the last of
    /// a full queue displaces it.
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
            if !gate.should_try(now, deadline) {
                return Err(gate.refuse_short_deadline(now, deadline));
            }
        }
        if let Some(weight) = gate.try_take(wanted.weight) {
            return Ok(Admitted::Now(Permit::new(gate, weight, wanted.share_key)));
        }
        let all = gate.service.read(now);
        let wanted = gate.with_key_time(wanted, all.mean);
        let service = wanted.key_time.map_or(all, |time| all.of_quick_kind(time.median));
        let mut wait = Wait { now, deadline: wanted.deadline, max_wait, predicted: Duration::ZERO, service };
        let waiter = Self::enqueue(&gate, wanted, all.mean, max_waiting, |ahead, standing| {
            wait.predicted = ahead.wait(wanted.weight, gate.limit(), all.mean);
            wait.decide(standing)
        });
        let waiter = waiter.map_err(|refusal| {
            gate.learn_refusal();
            gate.numbered(wait.explain(refusal))
        })?;
        Ok(Admitted::Later(waiter))
    }

    /// A permit for a call that held one before and returned it for a while: at once, or ahead of all new calls.
    pub(crate) fn readmit(gate: &Arc<Self>, wanted: PermitRequest) -> Result<Admitted, Refusal> {
        if let Some(permit) = Self::try_acquire(gate, wanted.weight) {
            return Ok(Admitted::Now(permit));
        }
        let until = Until { at: wanted.deadline.unwrap_or(Instant::MAX), reason: Reason::NotInTime };
        let wanted = PermitRequest { returning: true, ..wanted };
        let mean = gate.service.read(time::latest_or_now()).mean;
        Self::enqueue(gate, wanted, mean, u32::MAX, |_, _| Ok(until)).map(Admitted::Later)
    }

    /// Takes permits in any case, over the limit if necessary. The queue is served again when they are released.
    pub(crate) fn acquire_over_limit(gate: &Arc<Self>, weight: u32) -> Permit {
        gate.word.fetch_add(u64::from(weight) * Word::ONE_IN_USE, Ordering::AcqRel);
        Permit::returned(Arc::clone(gate), weight)
    }

    /// Takes permits, if there are enough and no call waits for them.
    pub(crate) fn try_acquire(gate: &Arc<Self>, weight: u32) -> Option<Permit> {
        gate.try_take(weight).map(|weight| Permit::returned(Arc::clone(gate), weight))
    }

    /// Queues a call, if there is room and `decide`, which sees what is ahead, agrees. `decide` runs under the lock. `mean` is the time of
    /// all calls.
    pub(crate) fn enqueue(
        gate: &Arc<Self>,
        wanted: PermitRequest,
        mean: Duration,
        max_waiting: u32,
        decide: impl FnOnce(Ahead, &mut Standing) -> Result<Until, Refusal>,
    ) -> Result<Waiter, Refusal> {
        let limit = gate.limit();
        let takes = wanted.weight.min(limit);
        let cost = wanted.cost(takes, limit, mean);
        let mut queue = lock(&gate.queue);
        let ahead = queue.ahead(&wanted);
        let until = decide(ahead, &mut queue.standing)?;
        let (position, last) = queue.enter(wanted, takes, cost, max_waiting)?;
        if last.is_none() {
            gate.word.fetch_add(1, Ordering::AcqRel);
        }
        let mut woken = gate.serve(&mut queue);
        drop(queue);
        woken.extend(last.flatten());
        // The position has an owner before foreign code runs: if that panics, the position is released.
        let waiter = Waiter::new(Arc::clone(gate), position, until, wanted.share_key);
        wake(woken);
        Ok(waiter)
    }
}
