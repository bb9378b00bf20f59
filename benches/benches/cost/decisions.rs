//! What `governor` adds to the decision of a rate limit: one token is taken from a bucket, by hand and by `governor`. Both replace
//! one atomic word, and get the clock's reading from the call, as a layer has to: a limiter of `governor` reads its own clock, so
//! one is made for each call. `src/algorithm/gcra.rs` says why the rate limit is without it.

use std::cell::Cell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use seawall_benches::calls::{Answer, Echo};
use tower::{BoxError, Service};

/// In nanoseconds. A call comes in each interval, so none is refused.
const INTERVAL: u64 = 1000;
const BURST: u32 = 10;

/// Takes a token at this instant, or returns when there will be one.
pub(crate) type Decision = fn(&AtomicU64, u64, Rate) -> Result<(), u64>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    interval: u64,
    burst: u32,
}

/// A service behind a bucket.
pub(crate) struct Limited {
    decide: Decision,
    full_at: AtomicU64,
    now: u64,
}

impl Limited {
    pub(crate) fn new(decide: Decision) -> Self {
        Self { decide, full_at: AtomicU64::new(0), now: 0 }
    }
}

impl Service<u64> for Limited {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        let rate = black_box(Rate { interval: INTERVAL, burst: BURST });
        self.now += INTERVAL;
        assert!((self.decide)(&self.full_at, self.now, rate).is_ok(), "a call was refused");
        Echo { yields: false }.call(request)
    }
}

pub(crate) fn by_hand(word: &AtomicU64, now: u64, rate: Rate) -> Result<(), u64> {
    loop {
        let full_at = word.load(Ordering::Acquire);
        let earliest = full_at.saturating_sub(rate.interval.saturating_mul(u64::from(rate.burst.saturating_sub(1))));
        if now < earliest {
            return Err(earliest);
        }
        let next = full_at.max(now).saturating_add(rate.interval);
        if word.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Ok(());
        }
    }
}

pub(crate) fn by_governor(word: &AtomicU64, now: u64, rate: Rate) -> Result<(), u64> {
    let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(Duration::from_nanos(rate.interval)).unwrap_or(Quota::per_second(burst));
    loop {
        let store = Attempt { word, replaced: Cell::new(false) };
        let limiter =
            RateLimiter::<_, _, _, NoOpMiddleware<Tick>>::new(quota.allow_burst(burst), store, Reading(Tick(now)));
        match limiter.check() {
            Ok(()) if limiter.into_state_store().replaced.get() => return Ok(()),
            Ok(()) => {}
            Err(not_until) => return Err(not_until.earliest_possible().0),
        }
    }
}

/// One attempt to replace the word. A rate may have changed before the next attempt, and a limiter has one quota for all of them.
struct Attempt<'a> {
    word: &'a AtomicU64,
    replaced: Cell<bool>,
}

impl StateStore for Attempt<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let full_at = self.word.load(Ordering::Acquire);
        let (decision, next) = decide(Some(full_at.into()))?;
        let replaced = self.word.compare_exchange_weak(full_at, next.into(), Ordering::AcqRel, Ordering::Acquire);
        self.replaced.set(replaced.is_ok());
        Ok(decision)
    }
}

/// An instant from the origin of the word, whenever its limiter was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(u64);

impl Reference for Tick {
    fn duration_since(&self, _start: Self) -> Nanos {
        self.0.into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}

impl Add<Nanos> for Tick {
    type Output = Self;

    fn add(self, since_origin: Nanos) -> Self {
        Self(since_origin.into())
    }
}

struct Reading(Tick);

impl Clock for Reading {
    type Instant = Tick;

    fn now(&self) -> Tick {
        self.0
    }
}
