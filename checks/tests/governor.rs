//! Why the rate limit does not stand on `governor`. `src/algorithm/gcra.rs` states the reasons, and these tests show them: both
//! decide alike while the rate stays, but a limiter that is made anew over the same store does not carry its tokens over.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use proptest::prelude::*;
use seawall::error::rejection;
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use tower::{BoxError, Layer, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A token returns in each interval, up to the burst.
#[derive(Clone, Copy, Debug)]
struct Rate(Duration, u32);

impl Rate {
    fn config(self) -> RateLimitConfig {
        RateLimitConfig { permits: 1, per: self.0, burst: Some(self.1), ..Default::default() }
    }

    fn quota(self) -> Quota {
        Quota::with_period(self.0).unwrap().allow_burst(NonZeroU32::new(self.1).unwrap())
    }
}

/// A store that outlives its quotas. It is used by one thread.
#[derive(Clone, Default)]
struct Store(Arc<AtomicU64>);

impl StateStore for Store {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (decision, arrival) = decide(Some(self.0.load(Ordering::Relaxed).into()))?;
        self.0.store(arrival.into(), Ordering::Relaxed);
        Ok(decision)
    }
}

/// Both limiters, at one rate and one time.
struct Both {
    seawall: RateLimitLayer,
    governor: RateLimiter<NotKeyed, Store, FakeRelativeClock, NoOpMiddleware<Nanos>>,
    store: Store,
    clock: FakeRelativeClock,
}

impl Both {
    fn new(rate: Rate) -> Self {
        let (store, clock) = (Store::default(), FakeRelativeClock::default());
        let seawall = RateLimitLayer::new(rate.config()).unwrap();
        Self { seawall, governor: RateLimiter::new(rate.quota(), store.clone(), clock.clone()), store, clock }
    }

    fn reload(&mut self, rate: Rate) {
        self.seawall.reload(&rate.config()).unwrap();
        self.governor = RateLimiter::new(rate.quota(), self.store.clone(), self.clock.clone());
    }

    async fn advance(&self, by: Duration) {
        tokio::time::advance(by).await;
        self.clock.advance(by);
    }

    /// Takes a token, or returns how long there will be none.
    async fn seawall(&self) -> Result<(), Duration> {
        let service = self.seawall.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        let answer = service.oneshot(()).await;
        answer.map_err(|error| rejection(&error).unwrap().retry_after().unwrap())
    }

    fn governor(&self) -> Result<(), Duration> {
        self.governor.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Takes all tokens of both. Returns how many each had, and how long there will be none.
    async fn exhaust(&self) -> [(u32, Duration); 2] {
        let mut seawall = (0, self.seawall().await);
        while seawall.1.is_ok() {
            seawall = (seawall.0 + 1, self.seawall().await);
        }
        let mut governor = (0, self.governor());
        while governor.1.is_ok() {
            governor = (governor.0 + 1, self.governor());
        }
        [seawall, governor].map(|(tokens, refusal)| (tokens, refusal.unwrap_err()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The decisions, and `retry_after` to the nanosecond.
    #[test]
    fn both_decide_alike_while_the_rate_stays(
        interval in prop_oneof![1_u64..5_000, 1_u64..3_600_000_000_000],
        burst in 1_u32..8,
        waits in prop::collection::vec(prop::option::of(0.0..3.0), 1..100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let both = Both::new(Rate(Duration::from_nanos(interval), burst));
            for wait in waits {
                match wait {
                    Some(intervals) => both.advance(Duration::from_nanos((interval as f64 * intervals) as u64)).await,
                    None => prop_assert_eq!(both.seawall().await, both.governor()),
                }
            }
            Ok(())
        })?;
    }
}

/// All tokens are taken when the rate changes. The arrival time that governor keeps is in nanoseconds of the old rate: how many
/// tokens are missing depends on the quota that reads it.
#[tokio::test(start_paused = true)]
async fn new_quota_misreads_the_arrival_time_of_the_old_one() {
    let table = [
        // One a minute becomes a hundred a second: refused for a minute.
        ("faster", Rate(MINUTE, 1), Rate(10 * MS, 1), [(0, 10 * MS), (0, MINUTE)]),
        // The missing token returns at the rate that no longer holds.
        ("slower", Rate(10 * MS, 1), Rate(MINUTE, 1), [(0, MINUTE), (0, 10 * MS)]),
        // Tokens that nobody has waited for.
        ("larger_burst", Rate(10 * MS, 1), Rate(10 * MS, 100), [(0, 10 * MS), (99, 10 * MS)]),
        // Refused for tokens that the burst no longer has.
        ("smaller_burst", Rate(MS, 1000), Rate(MS, 1), [(0, MS), (0, SECOND)]),
    ];
    for (name, old, new, expected) in table {
        let mut both = Both::new(old);
        assert_eq!(both.exhaust().await, [(old.1, old.0); 2], "{name}: equal before");
        both.reload(new);
        let found = both.exhaust().await;
        for (library, (tokens, wait)) in ["seawall", "governor"].into_iter().zip(found) {
            println!("figure rate_limit.{library}.{name}.tokens {tokens}");
            println!("figure rate_limit.{library}.{name}.wait_ms {}", wait.as_millis());
        }
        assert_eq!(found, expected, "{name}: seawall, governor");
    }
}

/// governor counts from the reading at which a limiter is made, which is private. So even an equal quota over the same store adds
/// the age of the limiter to the wait, unless the clock's type ignores the start that governor hands it.
#[tokio::test(start_paused = true)]
async fn limiter_made_anew_adds_its_age_to_the_wait() {
    let rate = Rate(SECOND, 1);
    let mut both = Both::new(rate);
    both.advance(100 * SECOND).await;
    assert_eq!(both.exhaust().await, [(1, SECOND); 2]);
    both.reload(rate);
    let found = both.exhaust().await;
    println!("figure rate_limit.governor.same_quota.wait_ms {}", found[1].1.as_millis());
    assert_eq!(found, [(0, SECOND), (0, 101 * SECOND)]);
}
