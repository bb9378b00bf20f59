use std::future::ready;

use futures::poll;
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State, Window};
use seawall::error::Reason;
use tokio::time::{Instant, advance};
use tower::util::ServiceFn;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::*;

type Answer = std::future::Ready<Result<u32, BoxError>>;

/// A request of zero fails.
fn callee() -> ServiceFn<impl Fn(u32) -> Answer + Clone> {
    service_fn(|n: u32| ready(if n == 0 { Err("failed".into()) } else { Ok(n) }))
}

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_rate: 0.5, jitter: 0.0, consecutive_failures: None, ..Default::default() }
}

async fn calls(layer: &CircuitBreakerLayer, requests: impl IntoIterator<Item = u32>) -> State {
    for request in requests {
        let _ = layer.layer(callee()).oneshot(request).await;
    }
    layer.handle().state()
}

#[tokio::test(start_paused = true)]
async fn open_breaker_keeps_its_break() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    assert_eq!(calls(&layer, [0; 10]).await, State::Open);
    for window in [Window::Time(10 * SECOND), Window::Calls(50), Window::Time(SECOND)] {
        layer.reload(&CircuitBreakerConfig { window, failure_rate: 0.9, ..config() }).unwrap();
        assert_eq!(layer.handle().state(), State::Open);
        assert_eq!(reason(layer.layer(callee()).oneshot(1).await), Some(Reason::CircuitOpen));
    }
    advance(SECOND).await;
    assert_eq!(calls(&layer, [1; 15]).await, State::Closed);
}

#[tokio::test(start_paused = true)]
async fn window_is_judged_by_the_new_rates() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    assert_eq!(calls(&layer, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]).await, State::Closed);
    let stricter = CircuitBreakerConfig { failure_rate: 0.3, ..config() };
    layer.reload(&stricter).unwrap();
    assert_eq!(layer.config(), stricter);
    let counts = layer.handle().snapshot();
    assert_eq!((counts.calls, counts.failures), (10, 4));
    assert_eq!(calls(&layer, [1]).await, State::Open, "four of eleven");
}

#[tokio::test(start_paused = true)]
async fn changed_window_starts_empty() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    assert_eq!(calls(&layer, [0; 9]).await, State::Closed);
    let mut late = Box::pin(layer.layer(silent()).oneshot(0));
    assert!(poll!(&mut late).is_pending());
    layer.reload(&CircuitBreakerConfig { window: Window::Calls(20), ..config() }).unwrap();
    let counts = layer.handle().snapshot();
    assert_eq!((counts.calls, counts.failures, counts.state), (0, 0, State::Closed));
    drop(late);
    assert_eq!(calls(&layer, [1; 10].into_iter().chain([0; 9])).await, State::Closed);
    assert_eq!(layer.handle().snapshot().calls, 19);
    assert_eq!(calls(&layer, [0]).await, State::Open, "ten of the last twenty");
}

#[tokio::test(start_paused = true)]
async fn next_break_has_the_new_length() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    layer.reload(&CircuitBreakerConfig { break_duration: 5 * SECOND, ..config() }).unwrap();
    calls(&layer, [0; 10]).await;
    let error = layer.layer(callee()).oneshot(1).await.unwrap_err();
    assert_eq!(seawall::error::rejection(&error).unwrap().retry_after(), Some(5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn mode_follows_its_setting_unless_forced_by_hand() {
    let observing = CircuitBreakerConfig { observe_only: true, ..config() };
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    let handle = layer.handle();
    layer.reload(&observing).unwrap();
    assert_eq!(calls(&layer, [0; 10]).await, State::Open);
    assert!(layer.layer(callee()).oneshot(1).await.is_ok(), "it observes");
    layer.reload(&config()).unwrap();
    assert_eq!(reason(layer.layer(callee()).oneshot(1).await), Some(Reason::CircuitOpen));
    handle.observe();
    layer.reload(&CircuitBreakerConfig { minimum_calls: 20, ..config() }).unwrap();
    assert!(layer.layer(callee()).oneshot(1).await.is_ok(), "by hand, until the setting changes");
    for force in [true, false] {
        if force {
            handle.force_open()
        } else {
            handle.disable()
        }
        let state = handle.state();
        layer.reload(&observing).unwrap();
        layer.reload(&config()).unwrap();
        assert_eq!(handle.state(), state);
    }
    handle.enforce();
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn later_calls_have_the_new_max_hold() {
    let layer = CircuitBreakerLayer::new(config()).unwrap();
    let mut old = Box::pin(layer.layer(silent()).oneshot(0));
    assert!(poll!(&mut old).is_pending());
    layer.reload(&CircuitBreakerConfig { max_hold: SECOND, ..config() }).unwrap();
    let start = Instant::now();
    assert_eq!(reason(layer.layer(silent()).oneshot(0).await), Some(Reason::HoldExceeded));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(reason(old.await), Some(Reason::HoldExceeded));
    assert_eq!(start.elapsed(), MINUTE);
}

/// Generations are counted in eight bits, and a window may change more than 256 times during one call: after the
/// wrap-around such a call must not count as a call of the new window.
#[tokio::test(start_paused = true)]
async fn window_generation_wrap_around_keeps_stale_calls_out() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig { slow_after: Some(SECOND), ..config() }).unwrap();
    let windows = [10, 11].map(|seconds| Window::Time(seconds * SECOND));
    let change = |times: usize| {
        for window in windows.iter().cycle().skip(1).take(times) {
            layer.reload(&CircuitBreakerConfig { window: *window, ..layer.config() }).unwrap();
        }
    };
    let hang = || Box::pin(layer.layer(silent()).oneshot(0));
    let mut old: Vec<_> = (0..9).map(|_| hang()).collect();
    for call in &mut old {
        assert!(poll!(call).is_pending());
    }
    change(200);
    let mut call = hang();
    assert!(poll!(&mut call).is_pending());
    assert_eq!(layer.handle().snapshot().in_flight, 1, "stale calls are not in flight");
    drop(call);
    // The window's ring turns over, so that it no longer contains the old calls.
    for _ in 0..20 {
        advance(SECOND / 4).await;
        calls(&layer, [1]).await;
    }
    change(56);
    drop(old);
    let mut new: Vec<_> = (0..9).map(|_| hang()).collect();
    for call in &mut new {
        assert!(poll!(call).is_pending());
    }
    for _ in 0..20 {
        advance(SECOND / 4).await;
        calls(&layer, [1]).await;
    }
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.in_flight, snapshot.overdue), (9, 9));
}

/// A call is judged by the settings at its end, not by those at its beginning.
#[tokio::test(start_paused = true)]
async fn call_in_flight_is_slow_by_the_threshold_of_its_end() {
    let slow_after = |time| CircuitBreakerConfig { slow_after: Some(time), ..config() };
    for (before, after, slow) in [(MINUTE, SECOND, 1), (SECOND, MINUTE, 0)] {
        let layer = CircuitBreakerLayer::new(slow_after(before)).unwrap();
        let callee = service_fn(|_: u32| async {
            tokio::time::sleep(2 * SECOND).await;
            Ok::<_, BoxError>(1)
        });
        let mut call = Box::pin(layer.layer(callee).oneshot(1));
        assert!(poll!(&mut call).is_pending());
        layer.reload(&slow_after(after)).unwrap();
        call.await.unwrap();
        let snapshot = layer.handle().snapshot();
        assert_eq!((snapshot.calls, snapshot.slow), (1, slow));
    }
}
