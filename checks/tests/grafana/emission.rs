//! Makes layers of every kind emit every metric, in virtual time, and returns what Prometheus then scrapes.
#![allow(clippy::disallowed_methods, reason = "tests sleep as users do")]

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule, Delay};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::config::Config;
use seawall::context::{self, Priority};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::InvalidConfig;
use seawall::fallback::{self, Failure, FallbackConfig, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::http::UploadBody;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::Registry;
use seawall::retry::{Backoff, BudgetConfig, CloneRequest, Jitter, RetryConfig, RetryLayer};
use seawall::stack::{self, ClientConfig, ServerConfig, Stacks};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use seawall::verdict::{self, Verdict};
use tokio::runtime::Builder;
use tokio::time::{advance, sleep};
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const VERDICTS: [Verdict; 12] = [
    Verdict::Success,
    Verdict::CallerFault,
    Verdict::Transient,
    Verdict::Overloaded { retry_after: None },
    Verdict::TimedOut,
    Verdict::Unsent,
    Verdict::Lost,
    Verdict::Failed,
    Verdict::Abandoned,
    Verdict::Ignored,
    Verdict::Unprocessed,
    Verdict::DoNotRetry,
];

/// Emits every metric once. Installs the recorder of the process.
pub(crate) fn scrape() -> String {
    let buckets = [0.01, 0.1, 1.0, 10.0];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &buckets);
    let recorder = builder.unwrap().install_recorder().unwrap();
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
        let registry = Registry::new();
        deadlines(&registry).await;
        bodies(&registry).await;
        retries(&registry).await;
        retries_refused(&registry).await;
        attempts(&registry).await;
        hedges(&registry).await;
        quorum(&registry).await;
        rate_limit(&registry).await;
        throttle(&registry).await;
        bulkhead(&registry).await;
        load_shed(&registry).await;
        circuit_breaker(&registry).await;
        balance(&registry).await;
        transitions(&registry).await;
        quarantine(&registry).await;
        fallbacks(&registry).await;
        faults(&registry).await;
        settings(&registry);
        uploads(&registry).await;
        without_a_name().await;
    });
    recorder.render()
}

/// Responds with the requested verdict.
async fn echo(verdict: Verdict) -> Result<Verdict, BoxError> {
    Ok(verdict)
}

/// Classifies a response by the verdict that it contains.
fn as_told(result: Result<&Verdict, &BoxError>) -> Verdict {
    result.map_or_else(verdict::of_error, |verdict| *verdict)
}

/// Responds after `ms` milliseconds.
async fn sleeper(ms: u32) -> Result<u32, BoxError> {
    sleep(ms * MS).await;
    Ok(ms)
}

async fn hang<Req>(_: Req) -> Result<(), BoxError> {
    pending().await
}

/// Starts a call, and polls it until it waits.
async fn begin<S, Req>(service: &S, request: Req) -> tokio::task::JoinHandle<Result<S::Response, BoxError>>
where
    S: Service<Req, Error = BoxError, Future: Send> + Clone + Send + 'static,
    S::Response: Send,
    Req: Send + 'static,
{
    let call = tokio::spawn(service.clone().oneshot(request));
    tokio::task::yield_now().await;
    call
}

async fn deadlines(registry: &Registry) {
    let layer = DeadlineLayer::new(SECOND).unwrap().named_in(registry, "front").unwrap();
    layer.layer(service_fn(hang::<()>)).oneshot(()).await.unwrap_err();

    // Spawned work outlives its call, and keeps the deadline of the call.
    let inner = layer.clone();
    let spawns = service_fn(move |()| {
        let inner = inner.clone();
        let late = context::carry(async move {
            sleep(2 * SECOND).await;
            inner.layer(service_fn(hang::<()>)).oneshot(()).await.unwrap_err()
        });
        async { Ok::<_, BoxError>(tokio::spawn(late)) }
    });
    layer.layer(spawns).oneshot(()).await.unwrap().await.unwrap();

    layer.reload(&DeadlineConfig { head_timeout: Some(SECOND / 2), ..SECOND.into() }).unwrap();
    layer.reload(&Duration::ZERO.into()).unwrap_err();
    layer.layer(service_fn(hang::<()>)).oneshot(()).await.unwrap_err();
    registry.publish();
}

/// A response with a head whose body never arrives.
async fn stalling(_: Request<()>) -> Result<Response<impl Body<Data = Bytes, Error = BoxError> + Unpin>, BoxError> {
    Ok(Response::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>())))
}

async fn bodies(registry: &Registry) {
    let config = DeadlineConfig { idle_timeout: Some(SECOND), ..DeadlineConfig::from(10 * SECOND) };
    let deadline = DeadlineLayer::http(config).unwrap().named_in(registry, "bodies").unwrap();
    let config = BulkheadConfig { max_hold: SECOND, ..BulkheadConfig::default() };
    let bulkhead = BulkheadLayer::http(config).unwrap().named_in(registry, "bodies").unwrap();
    let config = CircuitBreakerConfig { max_hold: SECOND, ..CircuitBreakerConfig::default() };
    let breaker = CircuitBreakerLayer::http(config).unwrap().named_in(registry, "bodies").unwrap();

    let read = deadline.layer(service_fn(stalling)).oneshot(Request::new(())).await.unwrap();
    assert!(read.into_body().collect().await.is_err(), "idle_timeout");
    let parked = deadline.layer(service_fn(stalling)).oneshot(Request::new(())).await.unwrap();
    sleep(11 * SECOND).await;
    drop(parked);
    let parked = bulkhead.layer(service_fn(stalling)).oneshot(Request::new(())).await.unwrap();
    sleep(2 * SECOND).await;
    drop(parked);
    let parked = breaker.layer(service_fn(stalling)).oneshot(Request::new(())).await.unwrap();
    sleep(2 * SECOND).await;
    drop(parked);
    registry.publish();
}

async fn retries(registry: &Registry) {
    let config = RetryConfig { max_attempts: 2, ..RetryConfig::default() };
    let layer = RetryLayer::new(config.clone()).unwrap().with_replay(CloneRequest::idempotent());
    let layer = layer.with_classifier(verdict::from_fn(as_told)).named_in(registry, "retries").unwrap();
    for verdict in VERDICTS {
        layer.layer(service_fn(echo)).oneshot(verdict).await.unwrap();
    }
    layer.reload(&RetryConfig { max_attempts: 3, ..config.clone() }).unwrap();
    layer.reload(&RetryConfig { max_attempts: 0, ..config }).unwrap_err();
    registry.publish();
}

/// Every reason not to retry. The first call in `retries` has used up its attempts.
async fn retries_refused(registry: &Registry) {
    let retry = |name: &str, config: RetryConfig| {
        let layer = RetryLayer::new(config).unwrap().with_classifier(verdict::from_fn(as_told));
        layer.named_in(registry, name).unwrap()
    };
    let one_token = BudgetConfig { ratio: 0.0, reserve_burst: 1, ..BudgetConfig::default() };
    let poor = retry("poor", RetryConfig { budget: one_token, ..RetryConfig::default() });
    poor.layer(service_fn(echo)).oneshot(Verdict::Transient).await.unwrap();

    let slow = Backoff { jitter: Jitter::None, ..Backoff::constant(10 * SECOND) };
    let hurried = retry("hurried", RetryConfig { backoff: slow, ..RetryConfig::default() });
    let service = DeadlineLayer::new(SECOND).unwrap().layer(hurried.layer(service_fn(echo)));
    service.oneshot(Verdict::Transient).await.unwrap();

    let patient = retry("patient", RetryConfig::default());
    let come_back_later = Verdict::Overloaded { retry_after: Some(MINUTE) };
    patient.layer(service_fn(echo)).oneshot(come_back_later).await.unwrap();
    // The request may have been executed, and is not marked as idempotent.
    patient.layer(service_fn(echo)).oneshot(Verdict::Lost).await.unwrap();

    let budget = BudgetConfig { ratio: 1.0, ..BudgetConfig::default() };
    let hopeless = retry("hopeless", RetryConfig { budget, ..RetryConfig::default() });
    for _ in 0..200 {
        hopeless.layer(service_fn(echo)).oneshot(Verdict::Transient).await.unwrap();
    }
    registry.publish();
}

async fn attempts(registry: &Registry) {
    let config = RetryConfig { max_attempts: 1, attempt_timeout: Some(SECOND), ..RetryConfig::default() };
    let layer = RetryLayer::new(config).unwrap().named_in(registry, "attempts").unwrap();
    layer.layer(service_fn(hang::<()>)).oneshot(()).await.unwrap_err();
    let never_ready = ConcurrencyLimit::new(service_fn(hang::<()>), 0);
    layer.layer(never_ready).oneshot(()).await.unwrap_err();
    registry.publish();
}

/// Hedges by every cause, one that a layer further in refuses, and one beyond the share of time. Every other reason not to hedge is one not to retry.
async fn hedges(registry: &Registry) {
    let delay = HedgeDelay::Fixed(10 * MS);
    let config =
        HedgeConfig { delay, budget: BudgetConfig { ratio: 1.0, ..BudgetConfig::default() }, ..HedgeConfig::default() };
    let layer = HedgeLayer::new(config).unwrap().with_replay(CloneRequest::idempotent()).named_in(registry, "hedges");
    let layer = layer.unwrap();
    let told = layer.clone().with_classifier(verdict::from_fn(as_told));
    for verdict in VERDICTS {
        told.layer(service_fn(echo)).oneshot(verdict).await.unwrap();
    }
    let slow = service_fn(|()| async { if context::attempt() == 1 { hang(()).await } else { Ok(()) } });
    layer.layer(slow).oneshot(()).await.unwrap();
    let slow = service_fn(|()| async {
        sleep(50 * MS).await;
        Ok::<_, BoxError>(())
    });
    let only_one =
        BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("only")]).unwrap();
    layer.layer(only_one.service(move |_| slow)).oneshot(()).await.unwrap();
    let report = service_fn(|()| async {
        sleep(30 * SECOND).await;
        Ok::<_, BoxError>(())
    });
    for _ in 0..2 {
        layer.layer(report).oneshot(()).await.unwrap();
    }
    registry.publish();
}

async fn quorum(registry: &Registry) {
    let layer = QuorumLayer::new(QuorumConfig::default()).unwrap().named_in(registry, "quorum").unwrap();
    let replica = |answer: u32| service_fn(move |()| async move { Ok::<_, BoxError>(answer) });
    layer.over([1, 1, 2].map(replica)).unwrap().oneshot(()).await.unwrap();
    layer.over([1, 2, 3].map(replica)).unwrap().oneshot(()).await.unwrap_err();
    registry.publish();
}

async fn throttle(registry: &Registry) {
    let layer = ThrottleLayer::new(ThrottleConfig::default()).unwrap();
    let layer = layer.with_classifier(verdict::from_fn(as_told)).named_in(registry, "overload").unwrap();
    let service = layer.layer(service_fn(echo));
    while service.clone().oneshot(Verdict::Overloaded { retry_after: None }).await.is_ok() {}
    registry.publish();
}

async fn quarantine(registry: &Registry) {
    let layer = QuarantineLayer::new(QuarantineConfig::default(), |_: &Verdict| "reports").unwrap();
    let layer = layer.with_classifier(verdict::from_fn(as_told)).named_in(registry, "reports").unwrap();
    let balance = BalanceLayer::new(BalanceConfig::default()).unwrap().with_classifier(verdict::from_fn(as_told));
    let endpoints = (0..4).map(|number| Endpoint::new(number.to_string()));
    let service = layer.layer(balance.with_endpoints(endpoints).unwrap().service(|_| service_fn(echo)));
    while service.clone().oneshot(Verdict::Lost).await.is_ok() {}
    registry.publish();
}

async fn faults(registry: &Registry) {
    let all = [
        ChaosFault::Latency(Delay::Fixed(MS)),
        ChaosFault::Refuse { retry_after: None },
        ChaosFault::Status { status: 503, retry_after: None },
        ChaosFault::Code { code: 14, pushback: None },
        ChaosFault::Hang,
        ChaosFault::Drop,
        ChaosFault::Stall { after: 0 },
        ChaosFault::Drip { bytes: 1, every: MS },
        ChaosFault::Truncate { after: 0 },
        ChaosFault::Reset { after: 0 },
        ChaosFault::NoTrailers,
    ];
    let layer = ChaosLayer::http(ChaosConfig::default()).unwrap().named_in(registry, "drill").unwrap();
    for fault in all {
        let rules = vec![ChaosRule::new(fault)];
        layer.reload(&ChaosConfig { enabled: true, rules, max_active: 1, ..ChaosConfig::default() }).unwrap();
        let service = layer.layer(service_fn(stalling));
        let call = begin(&service, Request::new(())).await;
        drop(begin(&service, Request::new(())).await);
        registry.publish();
        call.abort();
    }
    layer.reload(&ChaosConfig { max_active: 0, ..ChaosConfig::default() }).unwrap_err();
    registry.publish();
}

async fn fallbacks(registry: &Registry) {
    let value = FallbackLayer::new(FallbackConfig::default(), fallback::value(Verdict::Success)).unwrap();
    let value = value.with_classifier(verdict::from_fn(as_told)).named_in(registry, "prices").unwrap();
    for verdict in VERDICTS {
        let _ = value.layer(service_fn(echo)).oneshot(verdict).await;
    }
    let limit = RateLimitConfig { permits: 1, per: MINUTE, ..RateLimitConfig::default() };
    let limited = value.layer(RateLimitLayer::new(limit).unwrap().layer(service_fn(echo)));
    for _ in 0..2 {
        limited.clone().oneshot(Verdict::Success).await.unwrap();
    }
    let fails = |verdict: Verdict| async move { Err::<Verdict, BoxError>(verdict.as_str().into()) };
    let declines = fallback::from_fn(|_: &Failure<Verdict>| None);
    let declines = FallbackLayer::new(FallbackConfig::default(), declines).unwrap();
    let declines = declines.named_in(registry, "declining").unwrap();
    declines.layer(service_fn(fails)).oneshot(Verdict::Failed).await.unwrap_err();
    // The second service fails, hangs until the bound, or must not get the call.
    let second = |ends: bool| {
        service_fn(move |verdict: Verdict| async move {
            if ends { Err::<Verdict, BoxError>(verdict.as_str().into()) } else { pending().await }
        })
    };
    for ends in [true, false] {
        let layer = FallbackLayer::new(FallbackConfig::default(), fallback::service(second(ends))).unwrap();
        let name = if ends { "failing second" } else { "hanging second" };
        let layer = layer.with_classifier(verdict::from_fn(as_told)).named_in(registry, name).unwrap();
        for verdict in [Verdict::Transient, Verdict::Lost] {
            layer.layer(service_fn(echo)).oneshot(verdict).await.unwrap();
        }
    }
    value.reload(&FallbackConfig { max_hold: Duration::ZERO, ..FallbackConfig::default() }).unwrap_err();
    registry.publish();
}

async fn rate_limit(registry: &Registry) {
    let config = RateLimitConfig { permits: 1, per: MINUTE, max_wait: MINUTE, ..RateLimitConfig::default() };
    let layer = RateLimitLayer::new(config.clone()).unwrap().named_in(registry, "partner").unwrap();
    let service = layer.layer(service_fn(sleeper));
    service.clone().oneshot(0).await.unwrap();
    let waits = begin(&service, 0).await;
    service.clone().oneshot(0).await.unwrap_err();
    registry.publish();
    waits.abort();
    // A waiting call is evicted for a call of higher priority.
    let narrow = RateLimitLayer::new(RateLimitConfig { max_waiting: 1, ..config.clone() }).unwrap();
    let service = narrow.named_in(registry, "narrow").unwrap().layer(service_fn(sleeper));
    service.clone().oneshot(0).await.unwrap();
    let displaced = begin(&service, 0).await;
    let critical = tokio::spawn(context::with_priority(Priority::Critical, service.clone().oneshot(0)));
    displaced.await.unwrap().unwrap_err();
    registry.publish();
    critical.abort();
    layer.reload(&RateLimitConfig { permits: 2, ..config.clone() }).unwrap();
    layer.reload(&RateLimitConfig { permits: 0, ..config }).unwrap_err();
    registry.publish();
}

async fn bulkhead(registry: &Registry) {
    let judged = BulkheadLayer::new(BulkheadConfig::default()).unwrap().with_classifier(verdict::from_fn(as_told));
    let judged = judged.named_in(registry, "judged").unwrap();
    for verdict in VERDICTS {
        judged.layer(service_fn(echo)).oneshot(verdict).await.unwrap();
    }

    let config = BulkheadConfig {
        max_concurrent: 1,
        max_waiting: 1,
        max_wait: SECOND,
        max_hold: MINUTE,
        ..BulkheadConfig::default()
    };
    let layer = BulkheadLayer::new(config.clone()).unwrap().named_in(registry, "slow").unwrap();
    let service = layer.layer(service_fn(sleeper));
    service.clone().oneshot(100).await.unwrap();
    let holds = begin(&service, 120_000).await;
    // The call cannot get a permit within this deadline.
    DeadlineLayer::new(50 * MS).unwrap().layer(service.clone()).oneshot(0).await.unwrap_err();
    let waits = begin(&service, 0).await;
    service.clone().oneshot(0).await.unwrap_err();
    registry.publish();
    waits.await.unwrap().unwrap_err();
    holds.await.unwrap().unwrap_err();
    layer.reload(&BulkheadConfig { max_concurrent: 2, ..config.clone() }).unwrap();
    layer.reload(&BulkheadConfig { max_concurrent: 0, ..config }).unwrap_err();
    registry.publish();
}

async fn load_shed(registry: &Registry) {
    let judged = LoadShedLayer::new(LoadShedConfig::default()).unwrap().with_classifier(verdict::from_fn(as_told));
    let judged = judged.named_in(registry, "judged").unwrap();
    for verdict in VERDICTS {
        judged.layer(service_fn(echo)).oneshot(verdict).await.unwrap();
    }

    let config = LoadShedConfig { max_in_flight: 1, queue_ratio: 1.0, max_wait: SECOND, ..LoadShedConfig::default() };
    let layer = LoadShedLayer::new(config.clone()).unwrap().named_in(registry, "inbound").unwrap();
    let service = layer.layer(service_fn(sleeper));
    service.clone().oneshot(100).await.unwrap();
    let holds = begin(&service, 10_000).await;
    let waits = begin(&service, 0).await;
    service.clone().oneshot(0).await.unwrap_err();
    registry.publish();
    waits.await.unwrap().unwrap_err();
    holds.await.unwrap().unwrap();
    layer.reload(&LoadShedConfig { max_in_flight: 2, ..config.clone() }).unwrap();
    layer.reload(&LoadShedConfig { max_in_flight: 0, ..config }).unwrap_err();
    registry.publish();

    // Handlers that compute, here by advancing the clock, twice as much as one worker can.
    let layer = LoadShedLayer::new(LoadShedConfig { max_lag: Some(50 * MS), ..LoadShedConfig::default() }).unwrap();
    let layer = layer.named_in(registry, "busy").unwrap();
    let service = layer.layer(service_fn(|()| async {
        tokio::time::advance(20 * MS).await;
        Ok::<_, BoxError>(())
    }));
    let start = tokio::time::Instant::now();
    for call in 0..300 {
        tokio::time::sleep_until(start + 10 * MS * call).await;
        drop(tokio::spawn(service.clone().oneshot(())));
    }
    registry.publish();
}

async fn circuit_breaker(registry: &Registry) {
    let config = CircuitBreakerConfig { minimum_calls: 1000, ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::new(config.clone()).unwrap().with_classifier(verdict::from_fn(as_told));
    let layer = layer.named_in(registry, "judged").unwrap();
    for verdict in VERDICTS {
        layer.layer(service_fn(echo)).oneshot(verdict).await.unwrap();
    }
    layer.reload(&CircuitBreakerConfig { failure_rate: 0.4, ..config.clone() }).unwrap();
    layer.reload(&CircuitBreakerConfig { failure_rate: 0.0, ..config }).unwrap_err();
    registry.publish();
}

async fn balance(registry: &Registry) {
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_classifier(verdict::from_fn(as_told));
    let layer = layer.named_in(registry, "endpoints").unwrap();
    let service = layer.service(|_| service_fn(echo));
    service.clone().oneshot(Verdict::Success).await.unwrap_err();
    layer.handle().set_endpoints([Endpoint::new("a")]).unwrap();
    service.clone().oneshot(Verdict::Success).await.unwrap();
    registry.publish();
}

async fn transitions(registry: &Registry) {
    let config = CircuitBreakerConfig { minimum_calls: 3, jitter: 0.0, ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::new(config).unwrap().with_classifier(verdict::from_fn(as_told));
    let layer = layer.named_in(registry, "moving").unwrap();
    let (handle, service) = (layer.handle(), layer.layer(service_fn(echo)));
    for _ in 0..3 {
        service.clone().oneshot(Verdict::Transient).await.unwrap();
    }
    service.clone().oneshot(Verdict::Success).await.unwrap_err();
    registry.publish();
    advance(SECOND).await;
    let probes = async |verdict, until| {
        for _ in 0..100 {
            if handle.state() == until {
                return;
            }
            let _ = service.clone().oneshot(verdict).await;
        }
        panic!("{:?} and not {until:?}", handle.state());
    };
    service.clone().oneshot(Verdict::Transient).await.unwrap();
    probes(Verdict::Transient, State::Open).await;
    advance(MINUTE).await;
    service.clone().oneshot(Verdict::Success).await.unwrap();
    probes(Verdict::Success, State::Closed).await;
    handle.force_open();
    handle.enforce();
    handle.disable();
    handle.enforce();
    registry.publish();
}

/// A client that announces a body and sends nothing.
async fn uploads(registry: &Registry) {
    let server = stack::server(&ServerConfig::default()).unwrap().named_in(registry, "uploads").unwrap();
    let server = server.layer(service_fn(|request: Request<UploadBody<_>>| async move {
        request.into_body().collect().await.map(|_| Response::new(http_body_util::Empty::<Bytes>::new()))
    }));
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>());
    let answer = server.oneshot(Request::post("/").body(silent).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 408);
    registry.publish();
}

fn settings(registry: &Registry) {
    let stacks = Stacks::new_in(registry, "settings.toml", one_client()).unwrap();
    let client = stacks.client("dependency").unwrap();
    stacks.reload(Ok(one_client())).unwrap();
    stacks.reload(Err(InvalidConfig::unreadable("no such file"))).unwrap_err();
    registry.publish();
    drop(client);
}

fn one_client() -> Config {
    Config { client: [("dependency".to_owned(), ClientConfig::default())].into(), ..Config::default() }
}

async fn without_a_name() {
    DeadlineLayer::new(SECOND).unwrap().layer(service_fn(hang::<()>)).oneshot(()).await.unwrap_err();
    BulkheadLayer::new(BulkheadConfig::default()).unwrap().layer(service_fn(sleeper)).oneshot(0).await.unwrap();
    let failing = service_fn(|()| async { Err::<Response<http_body_util::Empty<Bytes>>, BoxError>("secret".into()) });
    assert_eq!(RespondLayer::new().layer(failing).oneshot(()).await.unwrap().status(), 500);
    Registry::global().publish();
}
