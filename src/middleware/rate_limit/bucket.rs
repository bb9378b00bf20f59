//! One rate, and the line of calls that wait for it.
//!
//! The rate is governor's GCRA, on our clock. It can neither reserve nor take back, and tells all who ask at one time the same
//! instant. So only the head of the line asks: its place is the one permit of a gate, in which the others stand.

use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::config::RateLimitConfig;
use crate::admission::gate::{Claim, Gate, Order, Permit, Waiter};
use crate::algorithm::queue::{Refusal, Until, Wait};
use crate::ground::context;
use crate::ground::error::Reason;
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// The library's clock, as governor wants it. Who asks hands the time over.
#[derive(Clone, Debug)]
struct HouseClock;

impl Clock for HouseClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        time::call_start().as_nanos().into()
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, HouseClock, NoOpMiddleware<Nanos>>,
    line: Arc<Gate>,
    interval: Duration,
    /// When the head of the line may start, as it was told.
    next: AtomicU64,
}

/// A call that may not start yet.
#[derive(Debug)]
pub(super) enum Turn {
    Head { place: Permit, earliest: Instant, until: Until },
    Waiting(Waiter),
}

impl Bucket {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::direct_with_clock(quota, HouseClock),
            line: Arc::new(Gate::new(1, Order::Fifo)),
            interval: quota.replenish_interval(),
            next: AtomicU64::new(0),
        }
    }

    /// Takes a permit, or says when there will be one. Only for the head of the line, or when there is no line.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        match time::hand_over(now, || self.limiter.check()) {
            Ok(()) => Ok(()),
            Err(not_until) => {
                let earliest = not_until.earliest_possible().as_u64();
                self.next.fetch_max(earliest, Ordering::AcqRel);
                Err(Instant::from_nanos(earliest))
            }
        }
    }

    /// Starts a call (`None`), lets it wait, or refuses it.
    pub(super) fn admit(&self, now: Instant, config: &RateLimitConfig) -> Result<Option<Turn>, Refusal> {
        let mut earliest = Instant::from_nanos(self.next.load(Ordering::Acquire));
        let context::Context { deadline, priority, .. } = context::current();
        let decide = |predicted| {
            let (max_wait, service) = (config.max_wait, Default::default());
            Wait { now, deadline, max_wait, predicted, service }.decide().map_err(|_| limited(predicted))
        };
        if self.line.is_idle() {
            earliest = match self.take(now) {
                Ok(()) => return Ok(None),
                Err(earliest) => earliest,
            };
            let until = decide(earliest.since(now))?;
            if config.max_waiting == 0 {
                return Err(limited(earliest.since(now)));
            }
            if let Some(place) = Gate::try_acquire(&self.line, 1) {
                return Ok(Some(Turn::Head { place, earliest, until }));
            }
        }
        let mut predicted = Duration::ZERO;
        let claim = Claim { weight: 1, priority, deadline };
        let room = config.max_waiting.saturating_sub(1);
        let waiter = Gate::stand_in_line(&self.line, claim, room, |ahead| {
            let others = ahead.waiting + self.line.in_use();
            predicted = earliest.since(now).saturating_add(self.interval.saturating_mul(others));
            decide(predicted)
        });
        waiter.map(Turn::Waiting).map(Some).map_err(|_| limited(predicted))
    }

    /// How many calls wait, the head of the line included.
    pub(super) fn waiting(&self) -> usize {
        self.line.waiting() as usize + self.line.in_use() as usize
    }
}

fn limited(retry_after: Duration) -> Refusal {
    Refusal { reason: Reason::RateLimited, retry_after: Some(retry_after) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::timer::Timer;

    const MS: Duration = Duration::from_millis(1);

    fn config(permits: u32, per: Duration, burst: u32) -> RateLimitConfig {
        RateLimitConfig { permits, per, burst: Some(burst), max_wait: 100_000 * MS, ..Default::default() }
    }

    /// Lets calls come, `(at, how many)`, and returns when each one starts, in milliseconds; all in virtual time.
    async fn starts(config: RateLimitConfig, calls: &[(u32, u32)]) -> Vec<u128> {
        let bucket = std::sync::Arc::new(Bucket::new(config.quota()));
        let start = time::now();
        let mut tasks = Vec::new();
        for &(at, calls) in calls {
            sleep_until(start + at * MS).await;
            for _ in 0..calls {
                let (bucket, config) = (std::sync::Arc::clone(&bucket), config.clone());
                let turn = bucket.admit(time::now(), &config).expect("room and time enough");
                tasks.push(tokio::spawn(async move {
                    if let Some(turn) = turn {
                        wait(&bucket, turn).await;
                    }
                    time::now().since(start).as_millis()
                }));
            }
        }
        let mut started = Vec::new();
        for task in tasks {
            started.push(task.await.expect("no panic"));
        }
        started
    }

    async fn sleep_until(instant: Instant) {
        let mut timer = Timer::new();
        std::future::poll_fn(|cx| timer.poll_until(cx, instant)).await;
    }

    async fn wait(bucket: &Bucket, turn: Turn) {
        let _place = match turn {
            Turn::Head { place, .. } => place,
            Turn::Waiting(mut waiter) => {
                std::future::poll_fn(|cx| waiter.poll(cx)).await.expect("nobody is refused here")
            }
        };
        while let Err(earliest) = bucket.take(time::now()) {
            sleep_until(earliest).await;
        }
    }

    /// failsafe-go, smooth 1 per 500 ms. There a call may ask for three permits at once, and its wait is that of the last.
    #[tokio::test(start_paused = true)]
    async fn an_even_rate_spaces_calls_and_makes_up_for_no_pause() {
        let calls = [(0, 7), (800, 3), (2300, 1), (3500, 3), (9100, 3), (11_000, 1)];
        let started = starts(config(1, 500 * MS, 1), &calls).await;
        let (waits, expected) = (
            [started[6], started[9] - 800, started[10] - 2300, started[13] - 3500],
            // failsafe-go's own: 3 000, 3 700, 2 700, 3 000; its cells start at multiples of the interval, as ours do
            // while there is a queue.
            [3000, 3700, 2700, 3000],
        );
        assert_eq!(waits, expected);
        // After the pause at 7 000 GCRA counts from the call, not from a grid: 9 100, 9 600, 10 100 instead of 10 000.
        assert_eq!(started[14..17], [9100, 9600, 10_100]);
        assert_eq!(started[17], 11_000);
    }

    /// failsafe-go, bursty 2 per second: it refills both at the turn of a second, and GCRA one each half a second.
    #[tokio::test(start_paused = true)]
    async fn a_burst_starts_at_once_and_the_rest_at_the_rate() {
        let started = starts(config(2, 1000 * MS, 2), &[(0, 7)]).await;
        assert_eq!(started, [0, 0, 500, 1000, 1500, 2000, 2500]);
    }

    /// Polly: 60 a minute allow a burst of 60, and the next is told to come back.
    #[tokio::test(start_paused = true)]
    async fn a_burst_as_large_as_the_rate_is_allowed_and_the_refusal_says_when() {
        let config = RateLimitConfig { permits: 60, per: Duration::from_secs(60), ..Default::default() };
        let bucket = Bucket::new(config.quota());
        for _ in 0..60 {
            assert!(matches!(bucket.admit(time::now(), &config), Ok(None)));
        }
        let refusal = bucket.admit(time::now(), &config).unwrap_err();
        assert_eq!(refusal, limited(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(bucket.admit(time::now(), &config).is_err());
        tokio::time::advance(MS).await;
        assert!(matches!(bucket.admit(time::now(), &config), Ok(None)));
    }

    /// Sentinel: pacing 10 a second with a queue of 500 ms lets six of ten pass.
    #[tokio::test(start_paused = true)]
    async fn a_place_too_far_back_in_the_queue_is_refused_at_once() {
        let config = RateLimitConfig { max_wait: 500 * MS, ..config(10, 1000 * MS, 1) };
        let bucket = Bucket::new(config.quota());
        let turns: Vec<_> = (0..10).map(|_| bucket.admit(time::now(), &config)).collect();
        assert_eq!(turns.iter().filter(|turn| turn.is_ok()).count(), 6);
        assert_eq!(turns[6].as_ref().unwrap_err(), &limited(600 * MS));
        assert_eq!(bucket.waiting(), 5);
        drop(turns);
        assert_eq!(bucket.waiting(), 0);
    }
}
