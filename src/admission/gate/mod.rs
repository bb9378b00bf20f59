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

mod absence;
mod line;
mod permit;
mod waiter;

#[cfg(all(test, seawall_loom))]
mod loom_tests;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::task::Waker;
use std::time::Duration;

pub(crate) use self::absence::Absence;
pub(crate) use self::line::Ahead;
use self::line::Line;
pub use self::line::Order;
pub(crate) use self::permit::Permit;
pub(crate) use self::waiter::Waiter;
use crate::algorithm::estimate::{Estimate, ServiceTime, Took};
use crate::algorithm::queue::{self, Refusal, Until, Wait};
use crate::ground::context::Priority;
use crate::ground::error::{Numbers, Reason};
#[cfg(test)]
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::sync::{Arc, Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::telemetry::{Instruments, Unreported};

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// Whether it has had its permit before, and stands before all newcomers.
    pub(crate) returning: bool,
}

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

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    /// See [`Word`].
    word: AtomicU64,
    limit: AtomicU32,
    service: Estimate,
    /// How many calls were found to have too little time while a permit was free.
    hopeless_calls: AtomicU32,
    line: Mutex<Line>,
    /// How many calls have given their permits back for a while.
    away: AtomicU32,
    /// Of the layer that hands out the permits.
    instruments: Instruments,
}

/// The permits in use and the number of waiters, as one atomic has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    in_use: u32,
    waiting: u32,
}

impl Word {
    const ONE_IN_USE: u64 = 1 << 32;

    const fn unpack(word: u64) -> Self {
        Self { in_use: (word >> 32) as u32, waiting: word as u32 }
    }
}

impl Gate {
    /// Of a layer that is not shown by its gates.
    #[cfg(test)]
    pub(crate) fn new(limit: u32, order: Order) -> Self {
        Self::observed(limit, order, Instruments::nameless(LayerKind::Bulkhead))
    }

    pub(crate) fn observed(limit: u32, order: Order, instruments: Instruments) -> Self {
        Self {
            word: AtomicU64::new(0),
            limit: AtomicU32::new(limit.max(1)),
            service: Estimate::new(),
            hopeless_calls: AtomicU32::new(0),
            line: Mutex::new(Line::new(order)),
            away: AtomicU32::new(0),
            instruments,
        }
    }

    /// A permit, a place in the line, or a refusal. No more than `max_waiting` stand in the line; who ranks before its
    /// last takes that one's place.
    pub(crate) fn admit(
        gate: Arc<Self>,
        now: Instant,
        claim: Claim,
        max_waiting: u32,
        max_wait: Duration,
    ) -> Result<Admitted, Refusal> {
        if let Some(deadline) = claim.deadline {
            if deadline <= now {
                return Err(Refusal::new(Reason::DeadlineExpired));
            }
            if !gate.has_a_chance(now, deadline) {
                return Err(gate.hopeless(now, deadline));
            }
        }
        if let Some(weight) = gate.try_take(claim.weight) {
            return Ok(Admitted::Now(Permit { gate, weight }));
        }
        let service = ServiceTime::default();
        let mut wait = Wait { now, deadline: claim.deadline, max_wait, predicted: Duration::ZERO, service };
        let waiter = Self::stand_in_line(&gate, claim, max_waiting, |ahead| {
            let service = gate.service.read(now);
            let predicted = gate.predict(ahead.weight, claim.weight, service);
            wait = Wait { predicted, service, ..wait };
            wait.decide()
        });
        let waiter = waiter.map_err(|refusal| gate.numbered(wait.explain(refusal)))?;
        Ok(Admitted::Later(waiter))
    }

    /// A permit for a call that has had one before and gave it back for a while: at once, or before all newcomers.
    pub(crate) fn readmit(gate: &Arc<Self>, claim: Claim) -> Result<Admitted, Refusal> {
        if let Some(permit) = Self::try_acquire(gate, claim.weight) {
            return Ok(Admitted::Now(permit));
        }
        let until = Until { at: claim.deadline.unwrap_or(Instant::MAX), reason: Reason::NotInTime };
        Self::stand_in_line(gate, Claim { returning: true, ..claim }, u32::MAX, |_| Ok(until)).map(Admitted::Later)
    }

    /// Whether a call that may find a free permit should try. An idle gate lets every call try, and a busy one lets a share of
    /// the hopeless try: their answers are the only way to learn that the estimate is wrong.
    fn has_a_chance(&self, now: Instant, deadline: Instant) -> bool {
        let left = deadline.since(now);
        self.service.may_fit(left) || self.service.read(now).least <= left || self.in_use() == 0 || self.tries_anyway()
    }

    /// True for one call in eight. The multiples of the golden ratio spread the ones evenly over all patterns of arrival: with every eighth
    /// call, two kinds of calls that take turns would be one kind that always tries and one that never does.
    fn tries_anyway(&self) -> bool {
        const GOLDEN: u32 = 0x9E37_79B9;
        let count = self.hopeless_calls.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        count.wrapping_mul(GOLDEN) < u32::MAX / 8
    }

    fn hopeless(&self, now: Instant, deadline: Instant) -> Refusal {
        let numbers = Numbers::NONE.with_time_left(deadline.since(now)).with_expected(self.service.read(now).least);
        self.numbered(Refusal { numbers, ..Refusal::new(Reason::NotInTime) })
    }

    /// The refusal of a call that has waited.
    pub(crate) fn refuse(&self, reason: Reason, deadline: Option<Instant>) -> Refusal {
        let now = time::now();
        let service = self.service.read(now);
        let predicted = self.predict(self.waiting().into(), 1, service);
        let mut numbers = Numbers::NONE.with_expected(predicted.saturating_add(service.mean));
        if let Some(deadline) = deadline {
            numbers = numbers.with_time_left(deadline.since(now));
        }
        self.numbered(Refusal { reason, retry_after: Some(predicted), numbers })
    }

    fn numbered(&self, refusal: Refusal) -> Refusal {
        let numbers = refusal.numbers.with_waiting(self.waiting()).with_limit(self.limit());
        Refusal { numbers, ..refusal }
    }

    fn predict(&self, ahead: u64, weight: u32, service: ServiceTime) -> Duration {
        let limit = self.limit();
        queue::predict(ahead, weight.min(limit), limit, service.mean)
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

    fn try_take(&self, weight: u32) -> Option<u32> {
        if weight == 0 {
            return Some(0);
        }
        let limit = self.limit();
        let weight = weight.min(limit);
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let Word { in_use, waiting } = Word::unpack(word);
            if waiting > 0 || u64::from(in_use) + u64::from(weight) > u64::from(limit) {
                return None;
            }
            let next = word + u64::from(weight) * Word::ONE_IN_USE;
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(weight),
                Err(actual) => word = actual,
            }
        }
    }

    /// A place in the line, if there is room and `decide`, who sees what is ahead, is for it. `decide` runs under the lock.
    pub(crate) fn stand_in_line(
        gate: &Arc<Self>,
        claim: Claim,
        max_waiting: u32,
        decide: impl FnOnce(Ahead) -> Result<Until, Refusal>,
    ) -> Result<Waiter, Refusal> {
        let mut line = lock(&gate.line);
        let until = decide(line.ahead(&claim))?;
        let (place, last) = line.enter(claim, claim.weight.min(gate.limit()), max_waiting)?;
        if last.is_none() {
            gate.word.fetch_add(1, Ordering::AcqRel);
        }
        let mut woken = gate.serve(&mut line);
        drop(line);
        woken.extend(last.flatten());
        // The place is somebody's before foreign code runs, which may panic.
        let waiter = Waiter::new(Arc::clone(gate), place, until);
        wake(woken);
        Ok(waiter)
    }

    fn release(&self, weight: u32) {
        let freed = u64::from(weight) * Word::ONE_IN_USE;
        let mut word = self.word.load(Ordering::Acquire);
        while Word::unpack(word).waiting == 0 {
            match self.word.compare_exchange_weak(word, word - freed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(actual) => word = actual,
            }
        }
        let mut line = lock(&self.line);
        self.word.fetch_sub(freed, Ordering::AcqRel);
        let woken = self.serve(&mut line);
        drop(line);
        wake(woken);
    }

    /// Gives the head of the line its permits for as long as there are enough. The caller wakes who is returned, unlocked.
    #[must_use]
    fn serve(&self, line: &mut Line) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut clock = None;
        while let Some(head) = line.head() {
            if head.deadline.is_some() {
                let (now, service) = *clock.get_or_insert_with(|| {
                    let now = time::now();
                    (now, self.service.read(now))
                });
                if !head.is_worth_it(now, service, line.len() > 1) {
                    self.word.fetch_sub(1, Ordering::AcqRel);
                    woken.extend(line.refuse_head(Reason::NotInTime));
                    continue;
                }
            }
            let limit = self.limit();
            let weight = head.weight.min(limit);
            let mut word = self.word.load(Ordering::Acquire);
            let granted = loop {
                if u64::from(Word::unpack(word).in_use) + u64::from(weight) > u64::from(limit) {
                    break false;
                }
                let next = word + u64::from(weight) * Word::ONE_IN_USE - 1;
                match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break true,
                    Err(actual) => word = actual,
                }
            };
            if !granted {
                break;
            }
            woken.extend(line.grant_head(weight));
        }
        woken
    }

    /// What the time of a call, and its end, say about the calls to come.
    pub(crate) fn learn(&self, now: Instant, verdict: Verdict, took: Took) {
        match verdict {
            Verdict::Success | Verdict::CallerFault => self.service.sample(now, took),
            Verdict::TimedOut | Verdict::Abandoned => self.service.at_least(now, took),
            Verdict::Transient
            | Verdict::Overloaded { .. }
            | Verdict::Unsent
            | Verdict::Lost
            | Verdict::Failed
            | Verdict::Unprocessed
            | Verdict::DoNotRetry
            | Verdict::Ignored => {}
        }
    }

    /// Whether no permit is in use and nobody waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) == 0
    }

    /// How many permits are in use.
    pub(crate) fn in_use(&self) -> u32 {
        Word::unpack(self.word.load(Ordering::Acquire)).in_use
    }

    /// How many stand in the line.
    pub(crate) fn waiting(&self) -> u32 {
        Word::unpack(self.word.load(Ordering::Acquire)).waiting
    }

    /// Whether no call is here or will come back, and what the last ones have taught is fading.
    pub(crate) fn is_as_new(&self, now: Instant) -> bool {
        self.in_use() == 0 && self.waiting() == 0 && self.away() == 0 && !self.service.is_fresh(now)
    }

    pub(crate) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// How long a permit is held, as far as is known.
    pub(crate) fn service_time(&self, now: Instant) -> Duration {
        self.service.read(now).mean
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// Lets those who come from now on stand in another order. Who stands in the line keeps his place.
    pub(crate) fn set_order(&self, order: Order) {
        lock(&self.line).set_order(order);
    }

    /// Changes the limit, to at least one.
    pub(crate) fn set_limit(&self, limit: u32) {
        // A swap, so that who overwrites a limit also sees what its setter did before.
        self.limit.swap(limit.max(1), Ordering::AcqRel);
        let mut line = lock(&self.line);
        let woken = self.serve(&mut line);
        drop(line);
        wake(woken);
    }
}

/// Wakes all of them, even if to wake one of them panics: what the others have been given is theirs to give back.
fn wake(woken: Vec<Waker>) {
    struct Rest(std::vec::IntoIter<Waker>);
    impl Drop for Rest {
        fn drop(&mut self) {
            self.0.by_ref().for_each(Waker::wake);
        }
    }
    let mut rest = Rest(woken.into_iter());
    for waker in rest.0.by_ref() {
        foreign(|| waker.wake());
    }
}
