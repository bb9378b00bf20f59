//! The permits in use, the line, and what both say about the calls to come.

use std::task::Waker;
use std::time::Duration;

use super::wait_queue::{GateQueue, Order};
use crate::algorithm::estimate::{Estimate, ServiceTime, Took};
use crate::algorithm::queue::{self, Refusal};
use crate::ground::error::{Numbers, Reason};
#[cfg(test)]
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::telemetry::Instruments;

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct Gate {
    /// See [`Word`].
    pub(super) word: AtomicU64,
    limit: AtomicU32,
    pub(super) service: Estimate,
    /// How many calls were found to have too little time while a permit was free.
    hopeless_calls: AtomicU32,
    pub(super) queue: Mutex<GateQueue>,
    /// How many calls have given their permits back for a while.
    pub(super) away: AtomicU32,
    /// Of the layer that hands out the permits.
    instruments: Instruments,
}

/// The permits in use and the number of waiters, as one atomic has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) in_use: u32,
    pub(super) waiting: u32,
}

impl Word {
    pub(super) const ONE_IN_USE: u64 = 1 << 32;

    pub(super) const fn unpack(word: u64) -> Self {
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
            queue: Mutex::new(GateQueue::new(order)),
            away: AtomicU32::new(0),
            instruments,
        }
    }

    /// Whether a call that may find a free permit should try. An idle gate lets every call try, and a busy one lets a share of
    /// the hopeless try: their answers are the only way to learn that the estimate is wrong.
    pub(super) fn has_a_chance(&self, now: Instant, deadline: Instant) -> bool {
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

    pub(super) fn hopeless(&self, now: Instant, deadline: Instant) -> Refusal {
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

    pub(super) fn numbered(&self, refusal: Refusal) -> Refusal {
        let numbers = refusal.numbers.with_waiting(self.waiting()).with_limit(self.limit());
        Refusal { numbers, ..refusal }
    }

    pub(super) fn predict(&self, ahead: u64, weight: u32, service: ServiceTime) -> Duration {
        let limit = self.limit();
        queue::predict(ahead, weight.min(limit), limit, service.mean)
    }

    pub(super) fn try_take(&self, weight: u32) -> Option<u32> {
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

    pub(super) fn release(&self, weight: u32) {
        let freed = u64::from(weight) * Word::ONE_IN_USE;
        let mut word = self.word.load(Ordering::Acquire);
        while Word::unpack(word).waiting == 0 {
            match self.word.compare_exchange_weak(word, word - freed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(actual) => word = actual,
            }
        }
        let mut queue = lock(&self.queue);
        self.word.fetch_sub(freed, Ordering::AcqRel);
        let woken = self.serve(&mut queue);
        drop(queue);
        wake(woken);
    }

    /// Gives the head of the line its permits for as long as there are enough. The caller wakes who is returned, unlocked.
    #[must_use]
    pub(super) fn serve(&self, queue: &mut GateQueue) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut clock = None;
        while let Some(head) = queue.head() {
            if head.deadline.is_some() {
                let (now, service) = *clock.get_or_insert_with(|| {
                    let now = time::now();
                    (now, self.service.read(now))
                });
                if !head.is_worth_it(now, service, queue.len() > 1) {
                    self.word.fetch_sub(1, Ordering::AcqRel);
                    woken.extend(queue.refuse_head(Reason::NotInTime));
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
            woken.extend(queue.grant_head(weight));
        }
        woken
    }

    /// What the time of a call, and its end, say about the calls to come.
    pub(crate) fn record(&self, now: Instant, verdict: Verdict, took: Took) {
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
        lock(&self.queue).set_order(order);
    }

    /// Changes the limit, to at least one.
    pub(crate) fn set_limit(&self, limit: u32) {
        // A swap, so that who overwrites a limit also sees what its setter did before.
        self.limit.swap(limit.max(1), Ordering::AcqRel);
        let mut queue = lock(&self.queue);
        let woken = self.serve(&mut queue);
        drop(queue);
        wake(woken);
    }
}

/// Wakes all of them, even if to wake one of them panics: what the others have been given is theirs to give back.
pub(super) fn wake(woken: Vec<Waker>) {
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
