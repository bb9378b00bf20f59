//! Services whose layer refuses every call.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::error::{Reason, rejection};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall_benches::calls::Calls;
use tokio::runtime::Runtime;
use tokio::task::coop::unconstrained;
use tower::{BoxError, Layer, Service};

/// Far longer than a row takes, even on a slow machine.
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(10);

/// How [`Inner`] answers a request.
const SUCCEEDS: u64 = 0;
const FAILS: u64 = 1;
const HANGS: u64 = 2;

/// An inner service that behaves as the request says.
#[derive(Clone, Copy)]
struct Inner;

struct Answer(u64);

impl Service<u64> for Inner {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        Answer(request)
    }
}

impl Future for Answer {
    type Output = Result<u64, BoxError>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {
            FAILS => Poll::Ready(Err("as asked".into())),
            HANGS => Poll::Pending,
            request => Poll::Ready(Ok(request)),
        }
    }
}

/// A service that refuses all calls until `held` is dropped.
struct Refusing<S: Service<u64>> {
    service: S,
    reason: Reason,
    _held: Vec<Pin<Box<S::Future>>>,
}

impl<S> Calls for Refusing<S>
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Send,
{
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(unconstrained(async move {
            for _ in 0..calls {
                let is_ready = poll_fn(|cx| self.service.poll_ready(cx)).await.is_ok();
                let mut call = pin!(self.service.call(black_box(SUCCEEDS)));
                let reason = self.reason;
                let is_refused = poll_fn(|cx| {
                    call.as_mut().poll(cx).map(|answer| {
                        answer.is_err_and(|error| rejection(&error).is_some_and(|refusal| refusal.reason() == reason))
                    })
                });
                assert!(is_refused.await && is_ready, "a call was not refused");
            }
        }))
    }
}

/// A call that was polled once and never ends.
fn hold<S>(runtime: &Runtime, service: &mut S) -> Pin<Box<S::Future>>
where
    S: Service<u64, Response = u64, Error = BoxError>,
{
    let mut call = Box::pin(ask(runtime, service, HANGS));
    let is_pending = runtime.block_on(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())));
    assert!(is_pending, "the call ended");
    call
}

fn ask<S: Service<u64, Response = u64, Error = BoxError>>(runtime: &Runtime, service: &mut S, asks: u64) -> S::Future {
    runtime.block_on(poll_fn(|cx| service.poll_ready(cx))).expect("a service that is ready");
    let _entered = runtime.enter();
    service.call(asks)
}

/// Opens a breaker at its first failure; the time of a call does not matter.
fn broken(runtime: &Runtime, break_duration: Duration) -> (CircuitBreakerLayer, impl Inside + use<>) {
    let config = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        break_duration,
        max_break: break_duration,
        slow_after: Some(LONG),
        max_hold: LONG,
        ..CircuitBreakerConfig::default()
    };
    let layer = CircuitBreakerLayer::new(config).expect("valid settings");
    let mut service = layer.layer(Inner);
    let failing = ask(runtime, &mut service, FAILS);
    assert!(runtime.block_on(failing).is_err(), "the call did not fail");
    (layer, service)
}

/// A service that takes the requests above.
trait Inside: Service<u64, Response = u64, Error = BoxError, Future: Send> + Send + 'static {}

impl<S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Send + 'static> Inside for S {}

/// An open breaker.
pub(crate) fn open(runtime: &Runtime) -> Box<dyn Calls> {
    let (layer, service) = broken(runtime, LONG);
    assert_eq!(layer.handle().state(), State::Open);
    Box::new(Refusing { service, reason: Reason::CircuitOpen, _held: Vec::new() })
}

/// A half-open breaker whose only probe is in flight.
pub(crate) fn half_open(runtime: &Runtime) -> Box<dyn Calls> {
    let (layer, mut service) = broken(runtime, SHORT);
    #[allow(clippy::disallowed_methods, reason = "a benchmark waits by the real clock")]
    runtime.block_on(async { tokio::time::sleep(2 * SHORT).await });
    let held = vec![hold(runtime, &mut service)];
    assert_eq!(layer.handle().state(), State::HalfOpen);
    Box::new(Refusing { service, reason: Reason::CircuitOpen, _held: held })
}

/// A bulkhead whose only permit is in use, and which has no queue.
pub(crate) fn bulkhead_full(runtime: &Runtime) -> Box<dyn Calls> {
    let config = BulkheadConfig { max_concurrent: 1, max_waiting: 0, max_hold: LONG, ..BulkheadConfig::default() };
    let mut service = BulkheadLayer::new(config).expect("valid settings").layer(Inner);
    let held = vec![hold(runtime, &mut service)];
    Box::new(Refusing { service, reason: Reason::QueueFull, _held: held })
}

/// A shedder whose only permit is in use, and whose queue is full.
pub(crate) fn load_shed_full(runtime: &Runtime) -> Box<dyn Calls> {
    let config = LoadShedConfig {
        max_in_flight: 1,
        queue_ratio: 0.0,
        max_wait: LONG,
        max_hold: LONG,
        ..LoadShedConfig::default()
    };
    let mut service = LoadShedLayer::new(config).expect("valid settings").layer(Inner);
    let held = vec![hold(runtime, &mut service), hold(runtime, &mut service)];
    Box::new(Refusing { service, reason: Reason::QueueFull, _held: held })
}

/// An exhausted rate limit.
pub(crate) fn rate_limit_empty(runtime: &Runtime) -> Box<dyn Calls> {
    let config = RateLimitConfig { permits: 1, per: LONG, ..RateLimitConfig::default() };
    let mut service = RateLimitLayer::new(config).expect("valid settings").layer(Inner);
    let only = ask(runtime, &mut service, SUCCEEDS);
    assert!(runtime.block_on(only).is_ok(), "the only call was refused");
    Box::new(Refusing { service, reason: Reason::RateLimited, _held: Vec::new() })
}
