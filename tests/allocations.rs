//! A call that succeeds allocates nothing in a layer that is not saturated: a free bulkhead, a closed breaker, a first
//! attempt that succeeds.

use std::future::{Future, Ready, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosConfig, ChaosLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::fair_share::FairShareLayer;
use seawall::fallback::{self, FallbackConfig, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::Registry;
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use tower::{BoxError, Layer, Service, ServiceBuilder, service_fn};

type Callee = tower::util::ServiceFn<fn(u32) -> Ready<Result<u32, BoxError>>>;

fn callee() -> Callee {
    service_fn(|request| ready(Ok(request)))
}

/// The first call to an endpoint allocates what is kept for it. So many calls reach each of three endpoints, which are drawn at random.
const WARM_UP_CALLS: u32 = 200;

/// Counts the allocations of a thousand calls, after some warm-up calls.
fn allocations<S>(mut service: S) -> u64
where
    S: Service<u32, Response = u32, Error = BoxError>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let mut make_a_call = || {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(service.poll_ready(cx).is_ready());
        let mut call = pin!(service.call(7));
        let answer = match call.as_mut().poll(cx) {
            Poll::Pending => call.as_mut().poll(cx),
            answer => answer,
        };
        assert!(matches!(answer, Poll::Ready(Ok(7))));
    };
    for _ in 0..WARM_UP_CALLS {
        make_a_call();
    }
    allocation_counter::measure(|| (0..1000).for_each(|_| make_a_call())).count_total
}

#[test]
fn counting_allocator_counts() {
    let boxes = service_fn(|request: u32| {
        let boxed = Box::new(request);
        poll_fn(move |_| Poll::Ready(Ok::<u32, BoxError>(*boxed)))
    });
    assert_eq!(allocations(boxes), 1000);
}

#[test]
fn deadline_allocates_nothing() {
    assert_eq!(allocations(deadline().layer(callee())), 0);
}

#[test]
fn successful_first_attempt_allocates_nothing() {
    assert_eq!(allocations(retry().layer(callee())), 0);
}

#[test]
fn call_without_a_hedge_allocates_nothing() {
    assert_eq!(allocations(hedge().layer(callee())), 0);
}

#[test]
fn closed_circuit_breaker_allocates_nothing() {
    assert_eq!(allocations(circuit_breaker().layer(callee())), 0);
}

#[test]
fn free_bulkhead_allocates_nothing() {
    assert_eq!(allocations(bulkhead().layer(callee())), 0);
}

#[test]
fn keys_of_a_fair_share_allocate_nothing() {
    let layers = tower::ServiceBuilder::new().layer(FairShareLayer::by(|request: &u32| *request)).layer(bulkhead());
    assert_eq!(allocations(layers.service(callee())), 0);
}

#[test]
fn unexhausted_rate_limit_allocates_nothing() {
    let config = RateLimitConfig { permits: 1_000_000, ..RateLimitConfig::default() };
    assert_eq!(allocations(RateLimitLayer::new(config).unwrap().layer(callee())), 0);
}

#[test]
fn throttle_without_refusals_allocates_nothing() {
    assert_eq!(allocations(ThrottleLayer::new(ThrottleConfig::default()).unwrap().layer(callee())), 0);
}

#[test]
fn disabled_chaos_allocates_nothing() {
    assert_eq!(allocations(ChaosLayer::new(ChaosConfig::default()).unwrap().layer(callee())), 0);
}

#[test]
fn unneeded_fallback_allocates_nothing() {
    let layer = FallbackLayer::new(FallbackConfig::default(), fallback::value(0)).unwrap();
    assert_eq!(allocations(layer.layer(callee())), 0);
}

#[test]
fn quarantine_without_suspects_allocates_nothing() {
    let layer = QuarantineLayer::new(QuarantineConfig::default(), |request: &u32| *request).unwrap();
    assert_eq!(allocations(layer.layer(callee())), 0);
}

#[test]
fn unsaturated_load_shed_allocates_nothing() {
    assert_eq!(allocations(load_shed().layer(callee())), 0);
}

#[test]
fn full_stacks_allocate_nothing() {
    let client = ServiceBuilder::new().layer(deadline()).layer(retry()).layer(bulkhead()).layer(circuit_breaker());
    assert_eq!(allocations(client.service(callee())), 0);
    let server = ServiceBuilder::new().layer(load_shed()).layer(deadline());
    assert_eq!(allocations(server.service(callee())), 0);
}

#[test]
fn balancer_allocates_nothing() {
    let endpoints = (0..2).map(|n| Endpoint::new(n.to_string()));
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints(endpoints).unwrap();
    assert_eq!(allocations(layer.service(|_| callee())), 0);
    assert_eq!(allocations(retry().layer(layer.service(|_| callee()))), 0);
    // One that lets all calls pass.
    let circuit_breaker = CircuitBreakerConfig { enabled: false, ..CircuitBreakerConfig::default() };
    layer.reload(&BalanceConfig { circuit_breaker, ..BalanceConfig::default() }).unwrap();
    assert_eq!(allocations(layer.service(|_| callee())), 0);
}

/// The first call of an endpoint allocates the timer that checks for hanging calls. A choice never does, however many endpoints there are.
#[test]
fn choice_among_many_endpoints_allocates_nothing() {
    seawall::seed(1);
    for number in [2, 10, 1000] {
        let endpoints = (0..number).map(|n| Endpoint::new(n.to_string()));
        let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints(endpoints).unwrap();
        let called = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&called);
        let service = layer.service(move |_| {
            let (called, is_first) = (Arc::clone(&counted), Arc::new(AtomicBool::new(true)));
            service_fn(move |request: u32| {
                called.fetch_add(usize::from(is_first.swap(false, Ordering::Relaxed)), Ordering::Relaxed);
                ready(Ok::<_, BoxError>(request))
            })
        });
        let without_first_calls = (0..1000).find_map(|_| {
            let before = called.load(Ordering::Relaxed);
            let allocated = allocations(service.clone());
            (called.load(Ordering::Relaxed) == before).then_some(allocated)
        });
        assert_eq!(without_first_calls, Some(0), "{number} endpoints");
        assert!(10 * called.load(Ordering::Relaxed) > 9 * number, "most of {number} endpoints have had calls");
    }
}

/// The answer is not ready at the first poll, as in a call over a network.
#[test]
fn pending_calls_allocate_nothing() {
    let waiting = || {
        service_fn(|request: u32| async move {
            let mut asked = false;
            poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
            Ok::<u32, BoxError>(request)
        })
    };
    assert_eq!(allocations(deadline().layer(waiting())), 0);
    assert_eq!(allocations(retry().layer(waiting())), 0);
    assert_eq!(allocations(hedge().layer(waiting())), 0);
    assert_eq!(allocations(bulkhead().layer(waiting())), 0);
    assert_eq!(allocations(circuit_breaker().layer(waiting())), 0);
    assert_eq!(allocations(load_shed().layer(waiting())), 0);
    let client = ServiceBuilder::new().layer(deadline()).layer(retry()).layer(bulkhead()).layer(circuit_breaker());
    assert_eq!(allocations(client.service(waiting())), 0);
}

/// A named layer allocates nothing on the path of a call either, once each kind of outcome has occurred.
#[test]
fn named_full_stacks_allocate_nothing() {
    let registry = Registry::new();
    let limit = RateLimitConfig { permits: 1_000_000, ..RateLimitConfig::default() };
    let client = ServiceBuilder::new()
        .layer(deadline().named_in(&registry, "payments").unwrap())
        .layer(retry().named_in(&registry, "payments").unwrap())
        .layer(RateLimitLayer::new(limit).unwrap().named_in(&registry, "payments").unwrap())
        .layer(bulkhead().named_in(&registry, "payments").unwrap())
        .layer(circuit_breaker().named_in(&registry, "payments").unwrap());
    assert_eq!(allocations(client.service(callee())), 0);
    let server = ServiceBuilder::new()
        .layer(load_shed().named_in(&registry, "inbound").unwrap())
        .layer(deadline().named_in(&registry, "inbound").unwrap());
    assert_eq!(allocations(server.service(callee())), 0);
}

#[cfg(feature = "http")]
#[test]
fn request_without_deadline_passes_unchanged() {
    use http::{Request, Response};
    use seawall::http::propagation::{ExtractLayer, InjectLayer, PropagationConfig};

    let callee = service_fn(|request: Request<u32>| ready(Ok::<_, BoxError>(Response::new(request.into_body()))));
    let layers = ServiceBuilder::new()
        .map_request(Request::new)
        .map_response(Response::into_body)
        .layer(ExtractLayer::http(PropagationConfig::default()).unwrap())
        .layer(InjectLayer::http(PropagationConfig::default()).unwrap());
    assert_eq!(allocations(layers.service(callee)), 0);
}

/// Counts the allocations of a thousand calls whose response bodies are read to their ends.
#[cfg(feature = "http")]
fn allocations_of_bodies<L, B>(layers: L) -> u64
where
    L: Layer<HttpCallee>,
    L::Service: Service<http::Request<()>, Response = http::Response<B>, Error = BoxError>,
    B: http_body::Body,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let mut service = layers.layer(service_fn(|_| ready(Ok(http::Response::new(ANSWER.into())))));
    let mut make_a_call = || {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(service.poll_ready(cx).is_ready());
        let Poll::Ready(Ok(response)) = pin!(service.call(http::Request::new(()))).poll(cx) else {
            panic!("the call is pending")
        };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(cx) {
            assert!(frame.is_ok());
        }
    };
    for _ in 0..WARM_UP_CALLS {
        make_a_call();
    }
    allocation_counter::measure(|| (0..1000).for_each(|_| make_a_call())).count_total
}

#[cfg(feature = "http")]
const ANSWER: &str = "an answer";

#[cfg(feature = "http")]
type HttpCallee = tower::util::ServiceFn<
    fn(http::Request<()>) -> Ready<Result<http::Response<http_body_util::Full<bytes::Bytes>>, BoxError>>,
>;

/// The slot, and the body in it.
#[cfg(feature = "http")]
#[test]
fn held_body_allocates_twice() {
    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    assert_eq!(allocations_of_bodies(bulkhead), 2000);
    assert_eq!(allocations_of_bodies(DeadlineLayer::http(Duration::from_secs(1)).unwrap()), 2000);
}

/// An outer layer allocates its call, unless it only bounds the body.
#[cfg(feature = "http")]
#[test]
fn joining_layer_allocates_once() {
    let breaker = || CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let two = ServiceBuilder::new().layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap()).layer(breaker());
    assert_eq!(allocations_of_bodies(two), 3000);
    let bounded = ServiceBuilder::new().layer(DeadlineLayer::http(Duration::from_secs(1)).unwrap()).layer(breaker());
    assert_eq!(allocations_of_bodies(bounded), 2000);
}

/// A body allocates what is kept for it: a slot for the response body, and the request body, so that a retry can
/// replay it.
#[cfg(feature = "http")]
mod over_http {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::Body;
    use http_body_util::Full;
    use seawall::http::ReplayBody;
    use seawall::http::propagation::{InjectLayer, PropagationConfig};
    use seawall::stack::{self, BalancedClientConfig, ClientConfig};

    use super::*;

    type Answer = std::future::Ready<Result<Response<Full<Bytes>>, BoxError>>;

    fn answer(_: Request<ReplayBody<Full<Bytes>>>) -> Answer {
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"an answer")))))
    }

    /// The allocations of a thousand calls with bodies.
    fn of_a_thousand_calls<S, B>(mut service: S) -> u64
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>>,
        B: Body,
    {
        let mut make_a_call = || {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(service.poll_ready(cx).is_ready());
            let request = Request::new(Full::new(Bytes::from_static(b"a question")));
            let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(cx) else { panic!("the call is pending") };
            let mut body = pin!(response.into_body());
            while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(cx) {
                assert!(frame.is_ok());
            }
            assert!(body.is_end_stream());
        };
        for _ in 0..WARM_UP_CALLS {
            make_a_call();
        }
        allocation_counter::measure(|| (0..1000).for_each(|_| make_a_call())).count_total
    }

    #[test]
    fn http_call_with_bodies_allocates_at_most_nine_times() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let layers = stack::client(&ClientConfig::default()).unwrap();
        let allocations = of_a_thousand_calls(layers.layer(service_fn(answer)));
        assert!(allocations <= 9_000, "{allocations} allocations for 1,000 calls");
    }

    /// The hedge reads the retry's record of the request. What it allocates for a call that
    /// is not slow is its wrapper of the response body.
    #[test]
    fn hedge_of_a_balanced_client_allocates_twice_while_no_call_is_slow() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let endpoints = || ["0", "1", "2"].map(Endpoint::new);
        // The same layers without a hedge.
        let inject = InjectLayer::http(PropagationConfig::default()).unwrap();
        let balance = BalanceLayer::http(BalanceConfig::default()).unwrap().with_endpoints(endpoints()).unwrap();
        let unhedged = ServiceBuilder::new()
            .layer(DeadlineLayer::http(Duration::from_secs(10)).unwrap())
            .layer(RetryLayer::http(RetryConfig::default()).unwrap())
            .service(balance.service(move |_| inject.layer(service_fn(answer))));
        let config = BalancedClientConfig { hedge: HedgeConfig::default(), ..BalancedClientConfig::default() };
        let layers = stack::balanced_client(&config).unwrap();
        let layers = layers.with_endpoints(endpoints()).unwrap();
        let hedged = layers.service(|_| service_fn(answer));
        let (unhedged, hedged) = (of_a_thousand_calls(unhedged), of_a_thousand_calls(hedged));
        assert!(hedged <= unhedged + 2_000, "{hedged} instead of {unhedged} allocations for 1,000 calls");
    }
}

fn deadline() -> DeadlineLayer {
    DeadlineLayer::new(Duration::from_secs(1)).unwrap()
}

fn retry() -> RetryLayer {
    RetryLayer::new(RetryConfig::default()).unwrap()
}

fn hedge() -> HedgeLayer {
    HedgeLayer::new(HedgeConfig::default()).unwrap()
}

fn circuit_breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap()
}

fn bulkhead() -> BulkheadLayer {
    BulkheadLayer::new(BulkheadConfig::default()).unwrap()
}

fn load_shed() -> LoadShedLayer {
    LoadShedLayer::new(LoadShedConfig::default()).unwrap()
}
