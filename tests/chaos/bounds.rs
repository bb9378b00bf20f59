//! What bounds a call: nothing without a fault, and the deadline or `max_hold` with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::http::LongLived;
use tokio::time::{Instant, advance, sleep};
use tokio_test::task::spawn;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::{MS, always, delay};

const HOLD: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(300);

fn held(config: ChaosConfig) -> ChaosLayer {
    ChaosLayer::new(ChaosConfig { max_hold: HOLD, ..config }).unwrap()
}

/// A service that answers after this time, and the number of its calls.
fn slow(
    took: Duration,
) -> (impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + use<>, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&calls);
    let service = service_fn(move |n: u32| {
        counts.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(took).await;
            Ok(n)
        }
    });
    (service, calls)
}

fn reason(error: &BoxError) -> Option<Reason> {
    rejection(error).map(|rejected| rejected.reason())
}

#[tokio::test(start_paused = true)]
async fn call_without_a_fault_has_no_bound() {
    let hang = || always(ChaosFault::Hang);
    let rules = vec![ChaosRule { share: 0.0, ..ChaosRule::new(ChaosFault::Hang) }];
    let at_the_cap = held(ChaosConfig { max_active: 1, ..hang() });
    let mut hanging = spawn(at_the_cap.layer(slow(LONG).0).oneshot(0));
    assert!(hanging.poll().is_pending());
    for (case, layer) in [
        ("off by default", held(ChaosConfig::default())),
        ("disabled", held(ChaosConfig { enabled: false, ..hang() })),
        ("over", held(ChaosConfig { until: Some(SystemTime::UNIX_EPOCH.into()), ..hang() })),
        ("on, and not hit", held(ChaosConfig { rules, ..hang() })),
        ("a fault of bodies", held(ChaosConfig { enabled: true, ..always(ChaosFault::NoTrailers) })),
        ("at the cap", at_the_cap),
    ] {
        let start = Instant::now();
        let answer = layer.layer(slow(LONG).0).oneshot(7).await;
        assert!(matches!(answer, Ok(7)), "{case}: {answer:?}");
        assert_eq!(start.elapsed(), LONG, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_with_a_fault_ends_after_max_hold() {
    for fault in [delay(500 * MS), ChaosFault::Hang, ChaosFault::Drop] {
        let layer = held(always(fault));
        let start = Instant::now();
        let error = layer.layer(slow(LONG).0).oneshot(7).await.unwrap_err();
        assert_eq!((reason(&error), start.elapsed()), (Some(Reason::HoldExceeded), HOLD), "{fault:?}");
        assert_eq!(layer.handle().active(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn latency_that_leaves_no_time_sends_nothing() {
    for delayed in [HOLD, HOLD + MS, LONG] {
        for has_deadline in [false, true] {
            let (inner, calls) = slow(Duration::ZERO);
            let chaos = held(always(delay(delayed)));
            let handle = chaos.handle();
            let service = chaos.layer(inner);
            let start = Instant::now();
            let (error, expected) = if has_deadline {
                let outer = DeadlineLayer::new(HOLD).unwrap().layer(service);
                (outer.oneshot(7).await.unwrap_err(), Reason::DeadlineExceeded)
            } else {
                (service.oneshot(7).await.unwrap_err(), Reason::HoldExceeded)
            };
            assert_eq!((reason(&error), start.elapsed()), (Some(expected), HOLD), "{delayed:?}");
            assert_eq!((calls.load(Ordering::SeqCst), handle.active()), (0, 0), "{delayed:?}");
        }
    }
}

/// The task of the call comes to run only after the deadline.
#[tokio::test(start_paused = true)]
async fn delayed_call_that_is_polled_late_sends_nothing() {
    let (inner, calls) = slow(Duration::ZERO);
    let mut call = spawn(held(always(delay(500 * MS))).layer(inner).oneshot(7));
    assert!(call.poll().is_pending());
    advance(2 * HOLD).await;
    let std::task::Poll::Ready(Err(error)) = call.poll() else { panic!("the time of the call is over") };
    assert_eq!((reason(&error), calls.load(Ordering::SeqCst)), (Some(Reason::HoldExceeded), 0));
}

/// A handler allows its response an hour, and the damage is over after `max_hold` all the same.
#[tokio::test(start_paused = true)]
async fn damaged_body_of_a_long_lived_response_ends_after_max_hold() {
    for has_bulkhead in [false, true] {
        let config = ChaosConfig { max_hold: HOLD, ..always(ChaosFault::Stall { after: 0 }) };
        let chaos = ChaosLayer::http(config).unwrap();
        let handle = chaos.handle();
        let inner = chaos.layer(service_fn(|_: Request<Empty<Bytes>>| async {
            let mut response = Response::new(Full::<Bytes>::from("news"));
            response.extensions_mut().insert(LongLived::new(Duration::from_secs(3600)));
            Ok::<_, BoxError>(response)
        }));
        let request = Request::new(Empty::new());
        let response = if has_bulkhead {
            let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
            let service = ServiceBuilder::new().layer(bulkhead).service(inner);
            service.oneshot(request).await.unwrap().map(BodyExt::boxed_unsync)
        } else {
            inner.oneshot(request).await.unwrap().map(BodyExt::boxed_unsync)
        };
        sleep(HOLD - 10 * MS).await;
        assert_eq!(handle.active(), 1);
        sleep(50 * MS).await;
        assert_eq!(handle.active(), 0, "behind a bulkhead: {has_bulkhead}");
        let error = response.into_body().collect().await.unwrap_err();
        assert_eq!(reason(&error), Some(Reason::HoldExceeded));
    }
}
