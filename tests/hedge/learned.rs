//! A delay that is learned from recent successes.

use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};

use super::*;

/// A service that takes as long as its request says, whatever the attempt.
fn sleeper(log: &Log) -> BoxCloneSyncService<Duration, u32, BoxError> {
    let log = log.clone();
    BoxCloneSyncService::new(service_fn(move |time: Duration| {
        log.started.lock().unwrap().push((Instant::now(), context::attempt()));
        async move {
            sleep(time).await;
            Ok(1)
        }
    }))
}

async fn calls(layer: &HedgeLayer, times: impl IntoIterator<Item = Duration>) -> usize {
    let log = Log::default();
    let service = layer.layer(sleeper(&log));
    for time in times {
        service.clone().oneshot(time).await.unwrap();
    }
    log.attempts().into_iter().filter(|attempt| *attempt > 1).count()
}

/// FS: quantile 0.95, twenty samples.
#[tokio::test(start_paused = true)]
async fn slow_call_is_hedged_after_enough_samples() {
    let layer = layer(learned(LearnedDelay { min_samples: 20, ..LearnedDelay::default() }));
    assert_eq!(calls(&layer, [millis(5); 20]).await, 0);
    assert_eq!(calls(&layer, [millis(5); 5]).await, 0);
    assert_eq!(calls(&layer, [millis(200)]).await, 1);
    let few = self::layer(learned(LearnedDelay { min_samples: 20, ..LearnedDelay::default() }));
    assert_eq!(calls(&few, [millis(5); 19].into_iter().chain([SECOND])).await, 0);
    assert!(few.delay().is_some(), "the slow one was the twentieth");
}

/// FI: answers at once have a delay of 1 ms, or of the configured floor.
#[tokio::test(start_paused = true)]
async fn delay_has_a_floor() {
    for min in [1, 10] {
        let layer = layer(learned(LearnedDelay { min: millis(min), ..LearnedDelay::default() }));
        assert_eq!(layer.delay(), None);
        assert_eq!(calls(&layer, [Duration::ZERO; 100]).await, 0);
        assert_eq!(layer.delay(), Some(millis(min)));
    }
}

/// FI: a quantile above the ceiling switches hedges off.
#[tokio::test(start_paused = true)]
async fn slow_dependency_is_not_hedged() {
    for max in [millis(2000), Duration::from_secs(60)] {
        let slow = max + SECOND + max / 8;
        let layer =
            layer(HedgeConfig { max_hold: 600 * SECOND, ..learned(LearnedDelay { max, ..Default::default() }) });
        assert_eq!(calls(&layer, [slow; 110]).await, 0);
        assert_eq!(layer.delay(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn delay_forgets_and_follows_a_reload() {
    let config = learned(LearnedDelay::default());
    let layer = layer(config.clone());
    assert_eq!(
        calls(&layer, [millis(20); 100].into_iter().chain([millis(100); 100])).await,
        6,
        "until the slower ones are more than one in twenty"
    );
    let p95 = layer.delay().unwrap();
    assert!((100..107).contains(&p95.as_millis()), "{p95:?}");
    let quantile = LearnedDelay { quantile: 0.4, ..LearnedDelay::default() };
    layer.reload(&learned(quantile)).unwrap();
    let p40 = layer.delay().unwrap();
    assert!((20..22).contains(&p40.as_millis()), "{p40:?}");
    layer.reload(&HedgeConfig { delay: HedgeDelay::Fixed(millis(7)), ..config }).unwrap();
    assert_eq!(layer.delay(), Some(millis(7)));
    layer.reload(&learned(quantile)).unwrap();
    advance(600 * SECOND).await;
    assert_eq!(layer.delay(), None, "old successes count no more");
}

/// *The Tail at Scale*: a hedge after the 95th percentile sends one call in twenty twice. The times of losers count, or hedges would
/// lower the percentile that makes them.
#[tokio::test(start_paused = true)]
async fn hedges_after_the_95th_percentile_are_one_in_twenty() {
    let layer = layer(learned(LearnedDelay::default()));
    let rng = Arc::new(Mutex::new(fastrand::Rng::with_seed(7)));
    let log = Log::default();
    let started = log.clone();
    let service = layer.layer(service_fn(move |()| {
        started.started.lock().unwrap().push((Instant::now(), context::attempt()));
        let mut rng = rng.lock().unwrap();
        let time = if rng.u32(..100) < 5 { millis(100) } else { Duration::from_micros(rng.u64(5_000..15_000)) };
        async move {
            sleep(time).await;
            Ok::<_, BoxError>(())
        }
    }));
    let calls = 5000;
    for _ in 0..calls {
        service.clone().oneshot(()).await.unwrap();
    }
    let hedges = log.attempts().len() - calls;
    assert!((calls / 25..=calls / 20 + 10).contains(&hedges), "{hedges} hedges for {calls} calls");
}

/// A long poll is not slow: it is not hedged, and does not teach the delay. A failure of it is followed.
#[tokio::test(start_paused = true)]
async fn long_lived_call_is_not_hedged() {
    use seawall::deadline::DeadlineLayer;

    let is_long = |time: &Duration| (*time >= SECOND).then_some(60 * SECOND);
    let deadline = DeadlineLayer::new(10 * SECOND).unwrap().lasting_by(is_long);
    let layer = layer(learned(LearnedDelay { min_samples: 20, ..LearnedDelay::default() }));
    let log = Log::default();
    let service = deadline.layer(layer.layer(sleeper(&log)));
    for _ in 0..20 {
        service.clone().oneshot(30 * SECOND).await.unwrap();
    }
    assert_eq!((log.attempts(), layer.delay()), (vec![1; 20], None), "nothing is learned");
    for _ in 0..40 {
        service.clone().oneshot(millis(5)).await.unwrap();
    }
    let delay = layer.delay().expect("there are enough samples");
    for (time, attempts) in [(30 * SECOND, 1), (millis(200), 2)] {
        let before = log.attempts().len();
        service.clone().oneshot(time).await.unwrap();
        assert_eq!(log.attempts().len() - before, attempts, "{time:?}");
    }
    assert!(layer.delay().is_some_and(|later| later >= delay));

    let failed = Log::default();
    let failing = callee(&failed, |attempt| async move { if attempt == 1 { Err("down".into()) } else { Ok(attempt) } });
    let deadline = DeadlineLayer::new(10 * SECOND).unwrap().lasting_by(|(): &()| Some(60 * SECOND));
    assert_eq!(deadline.layer(layer.layer(failing)).oneshot(()).await.unwrap(), 2);
}
