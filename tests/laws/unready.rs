//! How many calls may wait for an inner service that is not ready is a setting of every layer.

use std::time::Duration;

use seawall::balance::{BalanceLayer, Endpoint};
use seawall::bulkhead::BulkheadLayer;
use seawall::chaos::ChaosLayer;
use seawall::circuit_breaker::CircuitBreakerLayer;
use seawall::deadline::DeadlineLayer;
use seawall::error::{InvalidConfig, Reason, rejection};
use seawall::fallback::{self, Computed, Failure, FallbackLayer};
use seawall::hedge::HedgeLayer;
use seawall::load_shed::LoadShedLayer;
use seawall::quarantine::QuarantineLayer;
use seawall::rate_limit::RateLimitLayer;
use seawall::retry::{Budget, RetryConfig, RetryLayer};
use seawall::throttle::ThrottleLayer;
use seawall::verdict::AtResponse;
use tokio_test::assert_pending;
use tokio_test::task::{Spawn, spawn};
use tower::util::Oneshot;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::inner::{Answer, Difficult, Readiness};
use crate::layers::OneEndpoint;

fn call<S>(layer: &impl Layer<Difficult, Service = S>) -> Spawn<Oneshot<S, u32>>
where
    S: Service<u32, Error = BoxError>,
{
    spawn(layer.layer(Difficult::new(Readiness::Never, Answer::AtOnce)).oneshot(7))
}

/// Two calls wait, and the next one is refused.
macro_rules! two_may_wait {
    ($layer:expr) => {{
        let layer = $layer;
        let (mut first, mut second) = (call(&layer), call(&layer));
        assert_pending!(first.poll());
        assert_pending!(second.poll());
        let error = call(&layer).await.unwrap_err();
        let rejected = rejection(&error).expect("a refusal");
        assert_eq!(rejected.reason(), Reason::NotReady);
        assert_eq!((rejected.numbers().waiting(), rejected.numbers().limit()), (Some(2), Some(2)));
        drop(first);
        assert_pending!(call(&layer).poll(), "a call that is dropped makes room");
        layer
    }};
}

/// For each layer: as it is made, and with another state, which has the limit as well, now and later.
macro_rules! layers {
    ($($name:ident: $layer:expr, $other:expr;)+) => { $(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let layer = two_may_wait!($layer.unwrap().with_max_unready(2));
            let first = layer.clone();
            let layer = two_may_wait!($other(layer));
            let _ = first.with_max_unready(0);
            let error = call(&layer).await.unwrap_err();
            assert_eq!(rejection(&error).expect("a refusal").reason(), Reason::NotReady);
        }
    )+ };
}

layers! {
    deadline: DeadlineLayer::new(Duration::from_secs(2)), |layer: DeadlineLayer| layer.clone();
    retry: once(), |layer: RetryLayer| layer.keyed_by(|_: &u32| ());
    retry_with_budget: once(), |layer: RetryLayer| layer.with_budget(Budget::new(Default::default()).unwrap());
    hedge: HedgeLayer::new(Default::default()), |layer: HedgeLayer| layer.keyed_by(|_: &u32| ());
    hedge_with_budget: HedgeLayer::new(Default::default()), |layer: HedgeLayer| layer.with_budget(Budget::new(Default::default()).unwrap());
    circuit_breaker: CircuitBreakerLayer::new(Default::default()), |layer: CircuitBreakerLayer| layer.keyed_by(|_: &u32| ());
    bulkhead: BulkheadLayer::new(Default::default()), |layer: BulkheadLayer| layer.keyed_by(|_: &u32| ());
    rate_limit: RateLimitLayer::new(Default::default()), |layer: RateLimitLayer| layer.keyed_by(|_: &u32| ());
    throttle: ThrottleLayer::new(Default::default()), |layer: ThrottleLayer| layer.keyed_by(|_: &u32| ());
    chaos: ChaosLayer::new(Default::default()), |layer: ChaosLayer| layer.clone();
    quarantine: of_requests(), |layer: QuarantineLayer<OfRequests>| layer.clone();
    fallback: declining(), |layer: FallbackLayer<Declines>| layer.clone();
    balance: one_endpoint(), |layer: OneEndpoint<AtResponse>| layer.clone();
    load_shed: LoadShedLayer::new(Default::default()), |layer: LoadShedLayer| layer.keyed_by(|_: &u32| ());
}

type OfRequests = fn(&u32) -> u32;

fn of_requests() -> Result<QuarantineLayer<OfRequests>, InvalidConfig> {
    QuarantineLayer::new(Default::default(), |request| *request)
}

type Declines = Computed<fn(&Failure<u32>) -> Option<u32>, u32>;

fn declining() -> Result<FallbackLayer<Declines>, InvalidConfig> {
    FallbackLayer::new(Default::default(), fallback::from_fn(|_| None))
}

fn one_endpoint() -> Result<OneEndpoint<AtResponse>, InvalidConfig> {
    Ok(OneEndpoint(BalanceLayer::new(Default::default())?.with_endpoints([Endpoint::new("callee")])?))
}

fn once() -> Result<RetryLayer, InvalidConfig> {
    RetryLayer::new(RetryConfig { max_attempts: 1, ..Default::default() })
}
