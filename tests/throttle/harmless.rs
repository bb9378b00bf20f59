//! Where the throttle must change nothing, or not for long.

use super::*;

/// Calls at an even rate for a time. `verdict` answers each call by its number. Returns how many were refused locally.
async fn traffic(
    layer: &ThrottleLayer<AsTold>,
    every: Duration,
    time: Duration,
    verdict: impl Fn(u32) -> Verdict,
) -> u32 {
    let mut refused = 0;
    for call in 0..(time.as_nanos() / every.as_nanos()) as u32 {
        refused += calls(layer, verdict(call), 1).await;
        sleep(every).await;
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn few_refusals_refuse_nothing_locally() {
    for (every, one_in) in [(MS, 100), (10 * MS, 3), (100 * MS, 3), (SECOND, 2), (3 * SECOND, 2)] {
        let layer = layer(ThrottleConfig::default());
        let verdict = |call: u32| if call.is_multiple_of(one_in) { OVERLOADED } else { Verdict::Success };
        assert_eq!(traffic(&layer, every, 60 * SECOND, verdict).await, 0, "one in {one_in}, each {every:?}");
    }
}

/// A single call that is refused after a pause.
#[tokio::test(start_paused = true)]
async fn first_refusal_refuses_nothing_locally() {
    let layer = layer(ThrottleConfig::default());
    assert_eq!(calls(&layer, OVERLOADED, 1).await + calls(&layer, Verdict::Success, 100).await, 0);
}

#[tokio::test(start_paused = true)]
async fn no_call_is_refused_a_window_after_the_overload() {
    for every in [MS, 10 * MS, 100 * MS, 400 * MS, SECOND, 3 * SECOND] {
        let layer = layer(ThrottleConfig::default());
        traffic(&layer, every, 30 * SECOND, |_| OVERLOADED).await;
        traffic(&layer, every, 10 * SECOND, |_| Verdict::Success).await;
        assert_eq!(traffic(&layer, every, 60 * SECOND, |_| Verdict::Success).await, 0, "each {every:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_are_sent_again_within_two_seconds() {
    let layer = layer(ThrottleConfig::default());
    traffic(&layer, MS, 12 * SECOND, |_| OVERLOADED).await;
    traffic(&layer, MS, 2 * SECOND, |_| Verdict::Success).await;
    assert_eq!(traffic(&layer, MS, 10 * SECOND, |_| Verdict::Success).await, 0);
}

#[tokio::test(start_paused = true)]
async fn overload_is_forgotten_without_calls() {
    let layer = layer(ThrottleConfig::default());
    calls(&layer, OVERLOADED, 1000).await;
    assert_eq!(layer.handle().share(), 0.9);
    advance(10 * SECOND).await;
    assert_eq!((layer.handle().share(), layer.handle().requests()), (0.0, 0));
    assert_eq!(calls(&layer, Verdict::Success, 1000).await, 0);
}

/// So many calls are sent in any case, however few the calls are.
#[tokio::test(start_paused = true)]
async fn one_call_each_second_is_sent() {
    let layer = layer(ThrottleConfig { max_share: 0.999_999, ..Default::default() });
    calls(&layer, OVERLOADED, 1_000).await;
    let refused = traffic(&layer, 100 * MS, 60 * SECOND, |_| OVERLOADED).await;
    assert!((500..=545).contains(&refused), "{refused} of 600");
}

#[tokio::test(start_paused = true)]
async fn disabled_throttle_counts_and_refuses_nothing() {
    let layer = layer(ThrottleConfig { enabled: false, ..Default::default() });
    assert_eq!(calls(&layer, OVERLOADED, 1000).await, 0);
    assert_eq!(layer.handle().requests(), 0);
}
