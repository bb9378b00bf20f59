//! One rate, and the line of calls that wait for it.
//!
//! The rate tells all who ask at one time the same instant. So only the head of the line asks: its place is the one permit of a
//! gate, in which the others stand.

mod bell;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::task::Waker;
use std::time::Duration;

use self::bell::Bell;
use super::state::Terms;
use crate::admission::gate::{Claim, Gate, Order, Permit, Waiter};
use crate::algorithm::gcra::{Gcra, Rate};
use crate::algorithm::queue::{Refusal, Until, Wait};
use crate::ground::context;
use crate::ground::error::Reason;
use crate::ground::sync::Arc;
use crate::ground::telemetry::Instruments;
use crate::ground::time::Instant;

#[derive(Debug)]
pub(super) struct Bucket {
    gcra: Gcra,
    line: Arc<Gate>,
    bell: Bell,
    instruments: Instruments,
}

/// The place at the head of the line, which hears of a new rate. Given up on drop.
#[derive(Debug)]
pub(super) struct Head {
    bucket: Arc<Bucket>,
    _place: Permit,
}

/// A call that may not start yet.
#[derive(Debug)]
pub(super) enum Turn {
    Head { place: Permit, until: Until },
    Waiting(Waiter),
}

impl Bucket {
    pub(super) fn new(rate: Rate, instruments: Instruments) -> Self {
        let line = Arc::new(Gate::new(1, Order::Fifo));
        Self { gcra: Gcra::new(rate), line, bell: Bell::default(), instruments }
    }

    /// Whether all permits are there, and no call waits for one.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.line.is_idle() && self.gcra.is_full(now)
    }

    /// A new one begins with as many permits as `other` has.
    pub(super) fn inherit(&self, other: &Self, now: Instant) {
        self.gcra.inherit(&other.gcra, now);
    }

    /// Another rate from now on. The caller rings afterwards, where foreign code may run.
    pub(super) fn set_rate(&self, rate: Rate, now: Instant) {
        self.gcra.set_rate(rate, now);
    }

    #[inline]
    pub(super) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Takes a permit, or says when there will be one. Only for the head of the line, or when there is no line.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        self.gcra.take(now)?;
        self.instruments.pass();
        Ok(())
    }

    /// Starts a call (`None`), lets it wait, or refuses it.
    pub(super) fn admit(&self, now: Instant, terms: &Terms) -> Result<Option<Turn>, Refusal> {
        let context = context::current();
        let (deadline, priority) = (context.deadline, context.priority());
        let decide = |predicted| {
            let (max_wait, service) = (terms.max_wait, Default::default());
            Wait { now, deadline, max_wait, predicted, service }.decide().map_err(|_| limited(predicted))
        };
        if self.line.is_idle() {
            let Err(earliest) = self.take(now) else { return Ok(None) };
            let until = decide(earliest.since(now))?;
            if terms.max_waiting == 0 {
                return Err(limited(earliest.since(now)));
            }
            if let Some(place) = Gate::try_acquire(&self.line, 1) {
                return Ok(Some(Turn::Head { place, until }));
            }
        }
        let mut predicted = Duration::ZERO;
        let claim = Claim { weight: 1, priority, deadline };
        let room = terms.max_waiting.saturating_sub(1);
        let waiter = Gate::stand_in_line(&self.line, claim, room, |ahead| {
            let others = ahead.waiting + self.line.in_use();
            let interval = Duration::from_nanos(self.gcra.rate().interval);
            predicted = self.gcra.next(now).since(now).saturating_add(interval.saturating_mul(others));
            decide(predicted)
        });
        waiter.map(Turn::Waiting).map(Some).map_err(|_| limited(predicted))
    }

    /// How many calls wait, the head of the line included.
    pub(super) fn waiting(&self) -> usize {
        self.line.waiting() as usize + self.line.in_use() as usize
    }
}

impl Head {
    pub(super) fn new(bucket: &Arc<Bucket>, place: Permit) -> Self {
        Self { bucket: Arc::clone(bucket), _place: place }
    }

    /// Wakes this one when the rate changes, and says which rate holds. Whoever was told something of another has to ask
    /// again.
    pub(super) fn attend(&self, waker: &Waker) -> u32 {
        // In this order: what changes after the look rings.
        self.bucket.bell.attend(waker);
        self.bucket.gcra.generation()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        // Before the place is free: the bell is the next one's then.
        self.bucket.bell.leave();
    }
}

fn limited(retry_after: Duration) -> Refusal {
    Refusal { reason: Reason::RateLimited, retry_after: Some(retry_after) }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// The rate changes while the head lies down: it has seen the new rate, or it is woken.
    #[test]
    fn loom_no_head_sleeps_through_a_change_of_rate() {
        loom::model(|| {
            let bucket =
                Arc::new(Bucket::new(Rate { interval: 1_000_000, burst: 1 }, Instruments::new(super::super::KIND)));
            let place = Gate::try_acquire(&bucket.line, 1).expect("nobody is there");
            let theirs = Arc::clone(&bucket);
            let thread = loom::thread::spawn(move || {
                theirs.set_rate(Rate { interval: 1, burst: 1 }, Instant::from_nanos(1 << 63));
                theirs.ring();
            });
            let head = Head::new(&bucket, place);
            let woken = std::sync::Arc::new(Woken::default());
            let rate = head.attend(&Waker::from(std::sync::Arc::clone(&woken)));
            thread.join().expect("no panic");
            assert!(rate == 1 || woken.0.load(std::sync::atomic::Ordering::SeqCst));
        });
    }
}
