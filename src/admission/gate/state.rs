//! The permits in use, the queue, and the estimate of service times.

use std::task::Waker;
use std::time::Duration;

use super::call_ticket::CallTicket;
use super::learning::Learning;
#[cfg(test)]
use super::turns::Order;
use super::turns::Turns;
use super::wait_queue::GateQueue;
use crate::algorithm::estimate::{Estimate, ServiceTime, Took};
use crate::algorithm::fair_share::KeyTimes;
use crate::algorithm::limit::Law;
use crate::algorithm::queue::{self, Refusal};
use crate::ground::error::{Numbers, Reason};
#[cfg(test)]
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::ground::sync::{Mutex, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::telemetry::Instruments;

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct Gate {
    /// See [`Word`].
    pub(super) word: AtomicU64,
    pub(super) limit: AtomicU32,
    /// Whether the limit is learned.
    pub(super) learns: AtomicBool,
    /// Whether it learns from a sample of its calls now, so that the others need not take the lock.
    pub(super) is_quiet: AtomicBool,
    pub(super) learning: Mutex<Learning>,
    pub(super) service: Estimate,
    /// Of the keys that share the queue fairly.
    pub(super) key_times: Mutex<KeyTimes>,
    /// How many calls had too little time while a permit was free.
    short_deadline_calls: AtomicU32,
    pub(super) queue: Mutex<GateQueue>,
    /// How many calls have returned their permits for a while.
    pub(super) away: AtomicU32,
    /// The instruments of the layer that grants the permits.
    instruments: Instruments,
}

/// The permits in use and the number of waiters, packed into one atomic.
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
    /// A gate of a layer without a name.
    #[cfg(test)]
    pub(crate) fn new(limit: u32, order: Order) -> Self {
        Self::observed(Law::Fixed, limit, order.into(), Instruments::nameless(LayerKind::Bulkhead))
    }

    pub(crate) fn observed(law: Law, max: u32, turns: Turns, instruments: Instruments) -> Self {
        let (learning, limit) = Learning::new(law, max);
        Self {
            word: AtomicU64::new(0),
            limit: AtomicU32::new(limit),
            learns: AtomicBool::new(learning.is_active()),
            is_quiet: AtomicBool::new(false),
            learning: Mutex::new(learning),
            service: Estimate::new(),
            key_times: Mutex::new(KeyTimes::default()),
            short_deadline_calls: AtomicU32::new(0),
            queue: Mutex::new(GateQueue::new(turns)),
            away: AtomicU32::new(0),
            instruments,
        }
    }

    /// Whether a call that may get a free permit should try. An idle gate admits every call, and a busy one admits a share of the
    /// calls with too little time: only their results can show that the estimate is wrong.
    pub(super) fn should_try(&self, now: Instant, deadline: Instant) -> bool {
        let left = deadline.since(now);
        self.service.may_fit(left) || self.service.read(now).least <= left || self.in_use() == 0 || self.is_sampled()
    }

    /// The same for the call at the head of the queue.
    fn should_serve_head(&self, queue: &GateQueue, now: Instant, service: ServiceTime) -> bool {
        let expired = queue.head().and_then(|head| head.deadline).is_some_and(|deadline| deadline <= now);
        let is_idle = || self.in_use() == 0 && !queue.is_contended(now, service);
        queue.head_fits(now, service) || !expired && (is_idle() || self.is_sampled())
    }

    /// `true` for one call in eight. Multiples of the golden ratio spread these evenly over all arrival patterns. With every eighth
    /// call instead, of two kinds of calls that alternate one would always try and the other never.
    fn is_sampled(&self) -> bool {
        const GOLDEN: u32 = 0x9E37_79B9;
        let count = self.short_deadline_calls.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        count.wrapping_mul(GOLDEN) < u32::MAX / 8
    }

    pub(super) fn refuse_short_deadline(&self, now: Instant, deadline: Instant) -> Refusal {
        let numbers = Numbers::NONE.with_time_left(deadline.since(now)).with_expected(self.service.read(now).least);
        self.numbered(Refusal { numbers, ..Refusal::new(Reason::NotInTime) })
    }

    /// The refusal of a call that has waited.
    pub(crate) fn refuse(&self, reason: Reason, deadline: Option<Instant>) -> Refusal {
        self.learn_refusal();
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

    /// Grants permits to the head of the queue for as long as there are enough. The caller wakes the returned wakers, unlocked.
    #[must_use]
    pub(super) fn serve(&self, queue: &mut GateQueue) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut clock = None;
        while let Some(head) = queue.head() {
            let limit = self.limit();
            let weight = head.weight.min(limit);
            // Only a call that could have a permit now is judged: one that is tried all the same has to get it.
            if u64::from(self.in_use()) + u64::from(weight) > u64::from(limit) {
                break;
            }
            if head.deadline.is_some() {
                let (now, service) = *clock.get_or_insert_with(|| {
                    let now = time::now();
                    (now, self.service.read(now))
                });
                if !self.should_serve_head(queue, now, service) {
                    self.word.fetch_sub(1, Ordering::AcqRel);
                    woken.extend(queue.refuse_head(Reason::NotInTime));
                    continue;
                }
            }
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

    /// Records the time of a call and its verdict in the estimate, and in the limit if it is learned. `had`: the time until its deadline
    /// when it was admitted.
    pub(crate) fn record(&self, now: Instant, verdict: Verdict, took: Took, had: Option<Duration>, ticket: CallTicket) {
        if let Some(key) = ticket.share_key {
            let has_succeeded = matches!(verdict, Verdict::Success | Verdict::CallerFault);
            self.record_key_time(key, now, took, has_succeeded);
        }
        if let Some(ticket) = ticket.limit {
            // A permit that is held long after the answer, as by a stream, does not show how many calls can be answered at once.
            let is_held = took.held > 2 * took.needed;
            self.learn(ticket, took.needed, had, if is_held { Verdict::Ignored } else { verdict });
        }
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

    /// Whether no permit is in use and no call waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) == 0
    }

    /// How many permits are in use.
    pub(crate) fn in_use(&self) -> u32 {
        Word::unpack(self.word.load(Ordering::Acquire)).in_use
    }

    /// How many calls wait.
    pub(crate) fn waiting(&self) -> u32 {
        Word::unpack(self.word.load(Ordering::Acquire)).waiting
    }

    /// Whether no call holds a permit, waits or is away, and the estimate is no longer fresh.
    pub(crate) fn is_as_new(&self, now: Instant) -> bool {
        self.in_use() == 0 && self.waiting() == 0 && self.away() == 0 && !self.service.is_fresh(now)
    }

    pub(crate) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// How long a permit is held on average; zero if unknown.
    pub(crate) fn service_time(&self, now: Instant) -> Duration {
        self.service.read(now).mean
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// Sets the order for new calls. Queued calls keep their positions.
    pub(crate) fn set_turns(&self, turns: Turns) {
        lock(&self.queue).set_turns(turns);
    }
}

/// Wakes all of them, even if one of the wakers panics: the others own grants that only they can release.
pub(crate) fn wake(woken: Vec<Waker>) {
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
