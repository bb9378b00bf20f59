//! `get_ref`, `get_mut` and `into_inner` of every layer's service: no inner service is called that was not readied.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::ChaosLayer;
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::fallback::{self, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::QuarantineLayer;
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use tower::{Layer, Service};

use crate::inner::{Answer, Difficult, Readiness};

/// For each layer: its service around a callee, in a block that checks something of it.
macro_rules! for_each_layer {
    ($test:ident, |$service:ident, $callee:ident| $check:block) => {
        for_each_layer!(@ $test, $service, $callee, $check,
            deadline: DeadlineLayer::new(Duration::from_secs(2)),
            retry: RetryLayer::new(RetryConfig::default()),
            hedge: HedgeLayer::new(HedgeConfig::default()),
            circuit_breaker: CircuitBreakerLayer::new(CircuitBreakerConfig::default()),
            bulkhead: BulkheadLayer::new(BulkheadConfig::default()),
            rate_limit: RateLimitLayer::new(RateLimitConfig::default()),
            throttle: ThrottleLayer::new(ThrottleConfig::default()),
            load_shed: LoadShedLayer::new(LoadShedConfig::default()),
            chaos: ChaosLayer::new(Default::default()),
            quarantine: QuarantineLayer::new(Default::default(), |request: &u32| *request),
            fallback: FallbackLayer::new(Default::default(), fallback::value(0)),
        );
    };
    (@ $test:ident, $service:ident, $callee:ident, $check:block, $($layer:ident: $new:expr,)+) => {
        mod $test {
            use super::*;

            $(
                #[tokio::test(start_paused = true)]
                async fn $layer() {
                    let $callee = Difficult::new(Readiness::Slots, Answer::AtOnce);
                    let mut $service = $new.unwrap().layer($callee.clone());
                    $check
                }
            )+
        }
    };
}

for_each_layer!(replaced_inner_service_is_readied_before_a_call, |service, callee| {
    poll_ready(&mut service);
    assert_eq!((callee.census().readied(), callee.slots().available_permits()), (1, 0));
    *service.get_mut() = callee.clone();
    assert_eq!(callee.slots().available_permits(), 1, "the readied one is gone");
    assert_eq!(poll(service.call(7)), Poll::Ready(Some(7)));
    assert_eq!((callee.census().calls(), callee.census().called_unready()), (1, 0));
});

for_each_layer!(readied_inner_service_keeps_what_it_reserved, |service, callee| {
    poll_ready(&mut service);
    assert_eq!((callee.census().readied(), callee.slots().available_permits()), (1, 0));
    // With the only slot taken by the readied value, any other value would wait.
    let _ = service.get_mut();
    assert_eq!(poll(service.call(7)), Poll::Ready(Some(7)));
    assert_eq!(callee.census().called_unready(), 0);
    poll_ready(&mut service);
    let _ = service.get_ref();
    let _ = service.into_inner();
    assert_eq!(callee.slots().available_permits(), 1, "what comes out is all that was reserved");
});

/// A call that is refused gives up what the inner service may have reserved, in foreign hands as well.
#[tokio::test(start_paused = true)]
async fn refusal_after_get_mut_releases_the_readied_service() {
    let callee = Difficult::new(Readiness::Slots, Answer::AtOnce);
    let config = RateLimitConfig { permits: 1, ..RateLimitConfig::default() };
    let mut service = RateLimitLayer::new(config).unwrap().layer(callee.clone());
    assert_eq!(poll(service.call(7)), Poll::Ready(Some(7)));
    poll_ready(&mut service);
    let _ = service.get_mut();
    assert_eq!(poll(service.call(7)), Poll::Ready(None));
    assert_eq!((callee.census().readied(), callee.slots().available_permits()), (0, 1));
}

fn poll_ready<S: Service<u32>>(service: &mut S) {
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
}

/// What a call answers at its first poll, or nothing if it fails.
fn poll<E>(call: impl Future<Output = Result<u32, E>>) -> Poll<Option<u32>> {
    pin!(call).poll(&mut Context::from_waker(Waker::noop())).map(Result::ok)
}
