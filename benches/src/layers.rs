//! The layers that are measured, with limits that no call reaches, and tower's counterparts.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::balance::{Balance, BalanceConfig, BalanceLayer, Endpoint};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosConfig, ChaosLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::fallback::{self, FallbackConfig, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::stack::{
    self, BalancedClientConfig, BalancedClientLayer, ClientConfig, ClientLayer, ServerConfig, ServerLayer,
};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer as TowerRetryLayer};
use tower::{BoxError, Service, ServiceBuilder};

/// No call takes this long.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// No row has this many calls in flight.
pub const CONCURRENCY: u32 = 1000;
/// No row starts calls at this rate.
pub const PER_SECOND: u32 = 1_000_000_000;
/// The period of [`PER_SECOND`].
pub const SECOND: Duration = Duration::from_secs(1);

/// A deadline of [`TIMEOUT`].
pub fn deadline() -> DeadlineLayer {
    DeadlineLayer::new(TIMEOUT).expect("a valid timeout")
}

/// Retries with the default settings.
pub fn retry() -> RetryLayer {
    RetryLayer::new(RetryConfig::default()).expect("valid defaults")
}

/// A breaker with the default settings.
pub fn circuit_breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::default()).expect("valid defaults")
}

/// A bulkhead of [`CONCURRENCY`] permits.
pub fn bulkhead() -> BulkheadLayer {
    let config = BulkheadConfig { max_concurrent: CONCURRENCY, ..BulkheadConfig::default() };
    BulkheadLayer::new(config).expect("a valid limit")
}

/// What is around the client of one endpoint without a balancer: a bulkhead and a breaker.
pub fn one_endpoint<S>(inner: S) -> impl Service<u64, Response = u64, Error = BoxError> + Clone + Send + 'static
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
{
    ServiceBuilder::new().layer(bulkhead()).layer(circuit_breaker()).service(inner)
}

/// As many of these as there are endpoints, one of which takes a call at random: what a call at one of many endpoints costs without a
/// choice. The state of many does not fit into the caches.
pub fn one_of<S>(
    endpoints: usize,
    client: S,
) -> impl Service<u64, Response = u64, Error = BoxError> + Clone + Send + 'static
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
{
    OneOf { services: (0..endpoints).map(|_| one_endpoint(client.clone())).collect(), drawn: 1, next: 0 }
}

#[derive(Clone)]
struct OneOf<S> {
    services: Vec<S>,
    drawn: u64,
    next: usize,
}

impl<S: Service<u64>> Service<u64> for OneOf<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Knuth's generator of MMIX.
        self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.next = (self.drawn >> 33) as usize % self.services.len();
        self.services[self.next].poll_ready(cx)
    }

    fn call(&mut self, request: u64) -> S::Future {
        self.services[self.next].call(request)
    }
}

/// A balancer over this many endpoints, with [`CONCURRENCY`] permits for each.
pub fn balance<S: Clone + Send + Sync + 'static>(endpoints: usize, client: S) -> Balance<S> {
    let config = BalanceConfig { max_concurrent: CONCURRENCY, ..BalanceConfig::default() };
    let endpoints = (0..endpoints).map(|n| Endpoint::new(n.to_string()));
    let layer = BalanceLayer::new(config).and_then(|layer| layer.with_endpoints(endpoints));
    layer.expect("a valid set").service(move |_: &Endpoint| client.clone())
}

/// A rate of [`PER_SECOND`].
pub fn rate_limit() -> RateLimitLayer {
    let config = RateLimitConfig { permits: PER_SECOND, per: SECOND, ..RateLimitConfig::default() };
    RateLimitLayer::new(config).expect("a valid limit")
}

/// A shedder of [`CONCURRENCY`] permits.
pub fn load_shed() -> LoadShedLayer {
    let config = LoadShedConfig { max_in_flight: CONCURRENCY, ..LoadShedConfig::default() };
    LoadShedLayer::new(config).expect("a valid limit")
}

/// Hedges with the default settings, which no call of these rows needs.
pub fn hedge() -> HedgeLayer {
    HedgeLayer::new(HedgeConfig::default()).expect("valid defaults")
}

/// Two of three answers have to agree.
pub fn quorum() -> QuorumLayer {
    let config = QuorumConfig { endpoints: 3, agree: 2, ..QuorumConfig::default() };
    QuorumLayer::new(config).expect("valid settings")
}

/// A layer for injected faults that is switched off.
pub fn chaos() -> ChaosLayer {
    ChaosLayer::new(ChaosConfig::default()).expect("the default is valid")
}

/// A fallback that is not needed.
pub fn fallback() -> FallbackLayer<fallback::Value<u64>> {
    FallbackLayer::new(FallbackConfig::default(), fallback::value(0)).expect("the default is valid")
}

/// A throttle of a dependency that refuses nothing.
pub fn throttle() -> ThrottleLayer {
    ThrottleLayer::new(ThrottleConfig::default()).expect("the default is valid")
}

/// A quarantine without suspects.
pub fn quarantine() -> QuarantineLayer<fn(&u64) -> u64> {
    QuarantineLayer::new(QuarantineConfig::default(), (|request| *request) as fn(&u64) -> u64)
        .expect("the default is valid")
}

/// The recommended layers around a client, without those for HTTP.
pub fn client<S>(inner: S) -> impl Service<u64, Response = u64, Error = BoxError> + Clone + Send + 'static
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
{
    ServiceBuilder::new().layer(deadline()).layer(retry()).layer(bulkhead()).layer(circuit_breaker()).service(inner)
}

/// The five layers of [`tower_stack`], with the deadline outermost, so that it is the only timer.
pub fn stack<S>(inner: S) -> impl Service<u64, Response = u64, Error = BoxError> + Clone + Send + 'static
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
{
    let outer = ServiceBuilder::new().layer(deadline()).layer(load_shed()).layer(rate_limit());
    outer.layer(bulkhead()).layer(retry()).service(inner)
}

/// Five layers of tower's.
pub fn tower_stack<S>(inner: S) -> impl Service<u64, Response = u64, Error = BoxError> + Send + 'static
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
{
    let outer = ServiceBuilder::new().load_shed().rate_limit(PER_SECOND.into(), SECOND);
    outer.concurrency_limit(CONCURRENCY as usize).timeout(TIMEOUT).layer(tower_retry()).service(inner)
}

/// The stack around an HTTP client.
pub fn http_client() -> ClientLayer {
    let config = ClientConfig { deadline: TIMEOUT.into(), ..ClientConfig::default() };
    stack::client(&config).expect("valid defaults")
}

/// The stack around the HTTP clients of ten endpoints, with or without hedges.
pub fn http_balanced(hedged: bool) -> BalancedClientLayer {
    let mut config = BalancedClientConfig { deadline: TIMEOUT.into(), ..BalancedClientConfig::default() };
    config.hedge.enabled = hedged;
    let layers = stack::balanced_client(&config).expect("valid defaults");
    layers.with_endpoints((0..10).map(|n| Endpoint::new(n.to_string()))).expect("a valid set")
}

/// The stack in front of an HTTP service.
pub fn http_server() -> ServerLayer {
    stack::server(&ServerConfig::default()).expect("valid defaults")
}

/// Tower's retries with tower's budget.
pub fn tower_retry() -> TowerRetryLayer<Budgeted> {
    TowerRetryLayer::new(Budgeted(Arc::new(TpsBudget::default())))
}

/// The usual policy around tower's budget: every success deposits, every failure withdraws.
#[derive(Clone, Debug)]
pub struct Budgeted(Arc<TpsBudget>);

impl Policy<u64, u64, BoxError> for Budgeted {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _request: &mut u64, result: &mut Result<u64, BoxError>) -> Option<Self::Future> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}
