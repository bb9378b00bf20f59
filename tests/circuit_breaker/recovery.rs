//! After an outage, and in partial failure, a breaker does no more harm than none.

use super::*;

/// Which share of 100 calls a second is served. `share` is the share of calls that fail at a given time.
async fn share_served(layer: &CircuitBreakerLayer, seed: u64, seconds: u32, share: impl Fn(Duration) -> f64) -> f64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let service = layer.layer(service_fn(callee));
    let (start, mut served, calls) = (Instant::now(), 0, 100 * seconds);
    for _ in 0..calls {
        let fails = random.f64() < share(start.elapsed());
        served += u32::from(call(&service, if fails { FAILS } else { OK }).await.is_ok());
        sleep(10 * MS).await;
    }
    f64::from(served) / f64::from(calls)
}

#[tokio::test(start_paused = true)]
async fn partial_failure_is_no_worse_than_without_a_breaker() {
    for percent in [10, 30, 50] {
        for seed in 0..5 {
            let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
            let fails = f64::from(percent) / 100.0;
            let served = share_served(&layer, seed, 60, |_| fails).await;
            let bare = 1.0 - fails;
            assert!(served > bare - 0.03, "{percent} %, seed {seed}: {served} served");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn near_total_failure_opens_it() {
    for (percent, after_good_days) in [(97, false), (97, true), (100, true)] {
        let layer = layer(CircuitBreakerConfig::default());
        let good = if after_good_days { 20 * SECOND } else { Duration::ZERO };
        let fails = f64::from(percent) / 100.0;
        let start = Instant::now();
        let _ = share_served(&layer, 7, 21, |at| if at < good { 0.0 } else { fails }).await;
        assert_ne!(layer.handle().state(), State::Closed, "{percent} % after {good:?}, at {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn disabled_breaker_passes_all_and_counts_nothing() {
    let off = CircuitBreakerConfig { enabled: false, minimum_calls: 3, ..Default::default() };
    let layer = layer(off);
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    for _ in 0..100 {
        assert_eq!(call(&service, FAILS).await, Err(None));
    }
    assert_eq!((handle.state(), handle.snapshot().calls), (State::Disabled, 0));
    layer.reload(&CircuitBreakerConfig { enabled: true, ..layer.config() }).unwrap();
    assert_eq!(handle.state(), State::Closed);
    for _ in 0..3 {
        assert_eq!(call(&service, FAILS).await, Err(None));
    }
    assert_eq!(handle.state(), State::Open);
    layer.reload(&CircuitBreakerConfig { enabled: false, ..layer.config() }).unwrap();
    assert_eq!(call(&service, OK).await, Ok(0));
    // A state that was forced by hand stays.
    handle.force_open();
    layer.reload(&CircuitBreakerConfig { enabled: true, ..layer.config() }).unwrap();
    assert_eq!(handle.state(), State::ForcedOpen);
}

/// As the operations guide states: no call is refused, so there is nothing to do.
#[tokio::test(start_paused = true)]
async fn idle_open_breaker_probes_with_next_call() {
    let layer = layer(CircuitBreakerConfig { consecutive_failures: Some(1), ..Default::default() });
    let (handle, service) = (layer.handle(), layer.layer(service_fn(callee)));
    assert_eq!(call(&service, FAILS).await, Err(None));
    sleep(3600 * SECOND).await;
    assert_eq!(handle.state(), State::Open);
    assert_eq!(call(&service, OK).await, Ok(0));
    sleep(3600 * SECOND).await;
    assert_eq!(handle.state(), State::HalfOpen, "half-open after its first probe");
    assert_eq!(call(&service, OK).await, Ok(0));
}
