//! One rate, and the queue of calls that wait for it.

mod queue;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod waiter;

use std::task::Waker;
use std::time::Duration;

use self::queue::{RateQueue, RateQueuePosition};
pub(super) use self::waiter::RateWaiter;
use super::applied::{AppliedRates, RateLimitSettings};
use crate::algorithm::gcra::{Gcra, Rates};
use crate::ground::error::{Numbers, Reason};
use crate::ground::settings::Settings;
use crate::ground::sync::atomic::{AtomicU32, Ordering};
use crate::ground::sync::{Arc, Mutex, foreign, lock};
use crate::ground::time::Instant;
use crate::telemetry::{Instruments, Unreported};

#[derive(Debug)]
pub(super) struct Bucket {
    gcra: Gcra,
    /// The settings, shared by all buckets of the layer value.
    applied: Arc<Settings<AppliedRates>>,
    queue: Mutex<RateQueue>,
    /// The length of the queue, so that a call that need not wait takes no lock.
    waiting: AtomicU32,
    instruments: Instruments,
}

/// The bounds of one call's wait.
#[derive(Clone, Copy, Debug)]
struct WaitLimits {
    deadline: Option<Instant>,
    settings: RateLimitSettings,
}

impl Bucket {
    pub(super) fn new(applied: Arc<Settings<AppliedRates>>, instruments: Instruments) -> Self {
        let gcra = Gcra::new(&applied.get().rates);
        Self { gcra, applied, queue: Mutex::default(), waiting: AtomicU32::new(0), instruments }
    }

    /// Whether all permits are available and no call waits for one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.waiting() == 0 && self.gcra.is_full(|| self.rates(), now)
    }

    /// Starts with as many permits as `other` has.
    pub(super) fn inherit(&self, other: &Self, now: Instant) {
        self.gcra.inherit(&other.gcra, || self.rates(), now);
    }

    fn rates(&self) -> Rates {
        self.applied.read(|applied| applied.rates)
    }

    /// Switches to these rates; see [`Gcra::take_over`]. The caller calls [`wake_head`](Self::wake_head) afterwards, where foreign
    /// code may run.
    pub(super) fn take_over(&self, rates: &Rates, now: Instant) {
        self.gcra.take_over(rates, now);
    }

    /// Wakes the head of the queue after a rate change. Otherwise it would sleep until an instant of the old rate.
    pub(super) fn wake_head(&self) {
        let head = lock(&self.queue).wake_head();
        if let Some(head) = head {
            foreign(|| head.wake());
        }
    }

    #[inline]
    pub(super) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Takes a permit, or returns when there will be one. Only for the head of the queue, or if the queue is empty.
    fn take(&self, rates: &Rates, now: Instant) -> Result<(), Instant> {
        self.gcra.take(rates, || self.rates(), now)?;
        self.instruments.pass();
        Ok(())
    }

    /// The expected wait of a call with `ahead` calls before it.
    fn predict(&self, now: Instant, ahead: u32) -> Duration {
        let interval = Duration::from_nanos(self.rates().now.interval);
        self.gcra.next(|| self.rates(), now).since(now).saturating_add(interval.saturating_mul(ahead))
    }

    fn refusal(&self, reason: Reason, limits: &WaitLimits, now: Instant, wait: Duration, waiting: u32) -> Unreported {
        let RateLimitSettings { permits, per, .. } = limits.settings;
        let numbers = Numbers::NONE.with_expected(wait).with_waiting(waiting).with_limit(permits).with_per(per);
        let numbers = match limits.deadline {
            Some(deadline) => numbers.with_time_left(deadline.since(now)),
            None => numbers,
        };
        self.instruments.refuse(reason).with_retry_after(Some(wait)).with_numbers(numbers)
    }

    /// How many calls wait, the head of the queue included.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Updates the count of waiting calls. Call this under the lock.
    fn count(&self, queue: &RateQueue) {
        self.waiting.store(queue.len(), Ordering::Release);
    }

    /// See [`RateQueue::leave`].
    fn leave(&self, position: RateQueuePosition) -> (Option<Waker>, Option<Waker>) {
        let mut queue = lock(&self.queue);
        let left = queue.leave(position);
        self.count(&queue);
        left
    }
}

impl WaitLimits {
    /// Until when a call with an expected `wait` may wait; `None` if it would start too late.
    fn until(&self, now: Instant, wait: Duration) -> Option<Instant> {
        let longest = self.deadline.map_or(self.settings.max_wait, |at| at.since(now).min(self.settings.max_wait));
        (!longest.is_zero() && wait <= longest).then(|| now + longest)
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use std::sync::atomic::AtomicBool;

    use super::super::config::RateLimitConfig;
    use super::*;
    use crate::algorithm::gcra::Rate;
    use crate::ground::context::Priority;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    const NOW: Instant = Instant::from_nanos(1 << 63);

    fn bucket() -> Arc<Bucket> {
        let config = RateLimitConfig { permits: 1, per: Duration::from_millis(1), ..RateLimitConfig::default() };
        let applied = Arc::new(Settings::new(AppliedRates::first(&config)));
        let bucket = Bucket::new(applied, Instruments::new(super::super::KIND));
        assert!(bucket.take(&bucket.rates(), NOW).is_ok());
        Arc::new(bucket)
    }

    /// The rate changes while the head goes to sleep: it has seen the new rate, or it is woken.
    #[test]
    fn loom_rate_change_wakes_the_head() {
        loom::model(|| {
            let bucket = bucket();
            let (position, _) = lock(&bucket.queue).enter(Priority::Normal, 1).expect("room");
            let theirs = Arc::clone(&bucket);
            let thread = loom::thread::spawn(move || {
                let next = |present: &AppliedRates| {
                    theirs.take_over(&present.rates, NOW);
                    AppliedRates { rates: present.rates.then(Rate { interval: 1, burst: 1 }), ..*present }
                };
                theirs.applied.update(next, |_| theirs.take_over(&theirs.rates(), NOW));
                theirs.wake_head();
            });
            let woken = std::sync::Arc::new(Woken::default());
            let mut waker = Some(Waker::from(std::sync::Arc::clone(&woken)));
            assert_eq!(lock(&bucket.queue).register(position, &mut waker), Some(true));
            let sees_the_new_rate = bucket.predict(NOW, 0) < Duration::from_micros(1);
            thread.join().expect("no panic");
            assert!(sees_the_new_rate || woken.0.load(std::sync::atomic::Ordering::SeqCst));
        });
    }

    /// The head leaves while the next call goes to sleep: that call sees that it is the head, or it is woken.
    #[test]
    fn loom_next_call_learns_that_it_is_the_head() {
        loom::model(|| {
            let bucket = bucket();
            let (head, _) = lock(&bucket.queue).enter(Priority::Normal, 2).expect("room");
            let (next, _) = lock(&bucket.queue).enter(Priority::Normal, 2).expect("room");
            let theirs = Arc::clone(&bucket);
            let thread = loom::thread::spawn(move || {
                if let (_, Some(next)) = theirs.leave(head) {
                    next.wake();
                }
            });
            let woken = std::sync::Arc::new(Woken::default());
            let mut waker = Some(Waker::from(std::sync::Arc::clone(&woken)));
            let registered = lock(&bucket.queue).register(next, &mut waker);
            thread.join().expect("no panic");
            let is_head = registered.expect("it stands there");
            assert!(is_head || woken.0.load(std::sync::atomic::Ordering::SeqCst));
        });
    }
}
