//! The layers under the laws, and the full stacks of a client and of a server.

use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::balance::{Balance, BalanceConfig, BalanceHandle, BalanceLayer, Endpoint};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, PermitsHandle};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosHandle, ChaosLayer, ChaosRule, Delay};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use seawall::fallback::{self, Failure, FallbackConfig, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitHandle, RateLimitLayer};
use seawall::registry::Registry;
use seawall::retry::{Backoff, Jitter, RetryConfig, RetryLayer};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use seawall::verdict::{self, FromFn, Verdict};
use tokio::time::advance;
use tower::{BoxError, Layer, Service, ServiceBuilder};

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness, assert_no_lock_is_held};
use crate::subject::{Gauges, POISON, Subject, Value};

const HOLD: Duration = Duration::from_secs(60);
const BREAK: Duration = Duration::from_secs(1);

pub(crate) fn deadline() -> Subject {
    Subject {
        as_configured_by_default: || Value::new(default_deadline(), Vec::new),
        as_tight_as_can_be: || Value::new(tight_deadline(), Vec::new),
        prepare: None,
        longest: Some(Duration::from_secs(2)),
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

pub(crate) fn retry() -> Subject {
    // A retry holds only a part of its budget; separate tests cover budgets.
    Subject {
        as_configured_by_default: || Value::new(default_retry(), Vec::new),
        as_tight_as_can_be: || Value::new(tight_retry(), Vec::new),
        prepare: None,
        longest: Some(HOLD),
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

pub(crate) fn hedge() -> Subject {
    // A hedge holds only a part of its budget; separate tests cover budgets.
    Subject {
        as_configured_by_default: || Value::new(default_hedge(), Vec::new),
        as_tight_as_can_be: || Value::new(tight_hedge(Duration::from_millis(10)), Vec::new),
        prepare: None,
        longest: Some(HOLD),
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

/// The same with all attempts at once.
pub(crate) fn hedge_at_once() -> Subject {
    Subject { as_tight_as_can_be: || Value::new(tight_hedge(Duration::ZERO), Vec::new), at_once: 2, ..hedge() }
}

/// Of three attempts at once, two have to agree.
pub(crate) fn quorum() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = QuorumLayer::new(QuorumConfig::default()).unwrap();
            Value::new(layer.named_in(&Registry::new(), NAME).unwrap(), Vec::new)
        },
        as_tight_as_can_be: || {
            let layer = QuorumLayer::new(QuorumConfig::default()).unwrap();
            Value::new(layer.with_classifier(poisoned()), Vec::new)
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: false,
        returns_permits: true,
        at_once: 3,
        sends: 3,
        readies_ahead: false,
        classifies: true,
    }
}

pub(crate) fn circuit_breaker() -> Subject {
    Subject {
        as_configured_by_default: || Value::new(default_circuit_breaker(), Vec::new),
        as_tight_as_can_be: || Value::new(tight_circuit_breaker(), Vec::new),
        prepare: None,
        longest: Some(HOLD),
        refuses: true,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

/// The same with a single probe slot.
pub(crate) fn half_open() -> Subject {
    async fn half_opened(value: &Value) {
        let mut service = value.around(Difficult::new(Readiness::AtOnce, Answer::Fails));
        assert!(Driven::new(service.call(0)).finish().await.is_err());
        assert!(value.occupy().1.is_some(), "the breaker is open");
        advance(BREAK).await;
    }
    Subject { prepare: Some(|value| Box::pin(half_opened(value))), ..circuit_breaker() }
}

pub(crate) fn bulkhead() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = default_bulkhead();
            let handle = layer.handle();
            Value::new(layer, move || of_permits(&handle))
        },
        as_tight_as_can_be: || {
            let layer = tight_bulkhead();
            let handle = layer.handle();
            Value::new(layer, move || of_permits(&handle))
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: true,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

pub(crate) fn rate_limit() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = default_rate_limit();
            let handle = layer.handle();
            Value::new(layer, move || of_rate_limit(&handle))
        },
        as_tight_as_can_be: || {
            let layer = tight_rate_limit();
            let handle = layer.handle();
            Value::new(layer, move || of_rate_limit(&handle))
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: true,
        // A permit of a rate limit that was used is not returned.
        returns_permits: false,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: false,
    }
}

/// Other tests cover its refusals, which are a matter of chance.
pub(crate) fn throttle() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = ThrottleLayer::new(ThrottleConfig::default()).unwrap();
            Value::new(layer.named_in(&Registry::new(), NAME).unwrap(), Vec::new)
        },
        as_tight_as_can_be: || {
            let config = ThrottleConfig { max_share: 0.01, max_keys: 1, ..ThrottleConfig::default() };
            let layer = ThrottleLayer::new(config).unwrap().keyed_by(|request: &u32| *request);
            Value::new(layer.with_classifier(poisoned()), Vec::new)
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

pub(crate) fn load_shed() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = default_load_shed();
            let handle = layer.handle();
            Value::new(layer, move || of_permits(&handle))
        },
        as_tight_as_can_be: || {
            let layer = tight_load_shed();
            let handle = layer.handle();
            Value::new(layer, move || of_permits(&handle))
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: true,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

/// By default a closure that declines, and as tight as can be a second service that waits and fails, too.
pub(crate) fn fallback() -> Subject {
    Subject {
        as_configured_by_default: || {
            let declines = fallback::from_fn(|_: &Failure<u32>| None::<u32>);
            let layer = FallbackLayer::new(FallbackConfig::default(), declines).unwrap();
            Value::new(layer.named_in(&Registry::new(), NAME).unwrap(), Vec::new)
        },
        as_tight_as_can_be: || {
            let other = Difficult::new(Readiness::Slots, Answer::FailsAfter(Duration::from_millis(10)));
            let layer = FallbackLayer::new(FallbackConfig::default(), fallback::service(other)).unwrap();
            Value::new(layer.with_classifier(poisoned()), Vec::new)
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

pub(crate) fn quarantine() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = QuarantineLayer::new(QuarantineConfig::default(), |request: &u32| *request).unwrap();
            Value::new(layer.named_in(&Registry::new(), NAME).unwrap(), Vec::new)
        },
        as_tight_as_can_be: || Value::new(tight_quarantine(poisoned()), Vec::new),
        prepare: None,
        longest: Some(HOLD),
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

/// The same with a suspect, of which one call at a time is sent.
pub(crate) fn quarantine_suspect() -> Subject {
    async fn suspected(value: &Value) {
        let mut service = value.around(Difficult::new(Readiness::AtOnce, Answer::Fails));
        assert!(Driven::new(service.call(0)).finish().await.is_err());
    }
    Subject {
        as_tight_as_can_be: || {
            let layer = tight_quarantine(poisoned_losses());
            let handle = layer.handle();
            Value::new(layer, move || vec![("waiting", handle.waiting())])
        },
        prepare: Some(|value| Box::pin(suspected(value))),
        refuses: true,
        ..quarantine()
    }
}

fn tight_quarantine(classifier: Poisoned) -> QuarantineLayer<fn(&u32), Poisoned> {
    let config = QuarantineConfig { max_waiting: 1, max_turn: HOLD, ..QuarantineConfig::default() };
    QuarantineLayer::new(config, (|_| ()) as fn(&u32)).unwrap().with_classifier(classifier)
}

/// As [`poisoned`], and every error of the callee is a loss.
fn poisoned_losses() -> Poisoned {
    verdict::from_fn(|result| {
        assert_no_lock_is_held();
        match result {
            Ok(&POISON) => panic!("the classifier panics"),
            Ok(_) => Verdict::Success,
            Err(error) if rejection(error).is_none() => Verdict::Lost,
            Err(error) => verdict::of_error(error),
        }
    })
}

pub(crate) fn balance() -> Subject {
    Subject {
        as_configured_by_default: || {
            let layer = default_balance();
            let handle = layer.handle();
            Value::new(OneEndpoint(layer), move || of_balance(&handle))
        },
        as_tight_as_can_be: || {
            let layer = tight_balance();
            let handle = layer.handle();
            Value::new(OneEndpoint(layer), move || of_balance(&handle))
        },
        prepare: None,
        longest: Some(HOLD),
        refuses: true,
        returns_permits: true,
        readies_ahead: false,
        at_once: 1,
        sends: 1,
        classifies: true,
    }
}

/// By default without faults, and as tight as can be with a delay for the calls of others, of which one may be in progress.
pub(crate) fn chaos() -> Subject {
    fn of_chaos(handle: &ChaosHandle) -> Gauges {
        vec![("active", handle.active() as usize)]
    }
    Subject {
        as_configured_by_default: || {
            let layer = ChaosLayer::new(ChaosConfig::default()).unwrap();
            let layer = layer.named_in(&Registry::new(), NAME).unwrap();
            let handle = layer.handle();
            Value::new(layer, move || of_chaos(&handle))
        },
        as_tight_as_can_be: || {
            let rules = vec![ChaosRule::new(ChaosFault::Latency(Delay::Fixed(Duration::from_secs(1))))];
            let config = ChaosConfig { enabled: true, rules, max_active: 1, lasts: None, ..ChaosConfig::default() };
            let layer = ChaosLayer::new(config).unwrap().only(|request: &u32| *request == 0);
            let handle = layer.handle();
            Value::new(layer, move || of_chaos(&handle))
        },
        prepare: None,
        longest: None,
        refuses: false,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: false,
    }
}

/// The same with a fault in every call, which bounds it.
pub(crate) fn chaos_delayed() -> Subject {
    fn delayed() -> Value {
        let rules = vec![ChaosRule::new(ChaosFault::Latency(Delay::Fixed(Duration::ZERO)))];
        let config = ChaosConfig { enabled: true, rules, max_active: u32::MAX, lasts: None, ..ChaosConfig::default() };
        let layer = ChaosLayer::new(config).unwrap();
        let handle = layer.handle();
        Value::new(layer, move || vec![("active", handle.active() as usize)])
    }
    Subject { as_configured_by_default: delayed, as_tight_as_can_be: delayed, longest: Some(HOLD), ..chaos() }
}

/// The balancer with a single probe slot.
pub(crate) fn balance_half_open() -> Subject {
    Subject {
        as_tight_as_can_be: || {
            let layer = tight_balance();
            let handle = layer.handle();
            // A call beyond the probe is refused and does not wait.
            Value::new(OneEndpoint(layer), move || vec![("in flight", handle.in_flight())])
        },
        prepare: half_open().prepare,
        ..balance()
    }
}

pub(crate) fn client_stack() -> Subject {
    Subject {
        as_configured_by_default: || {
            let bulkhead = default_bulkhead();
            let handle = bulkhead.handle();
            let stack = ServiceBuilder::new()
                .layer(default_deadline())
                .layer(default_retry())
                .layer(bulkhead)
                .layer(default_circuit_breaker());
            Value::new(stack.into_inner(), move || of_permits(&handle))
        },
        as_tight_as_can_be: || {
            let bulkhead = tight_bulkhead();
            let handle = bulkhead.handle();
            let stack = ServiceBuilder::new()
                .layer(tight_deadline())
                .layer(tight_retry())
                .layer(bulkhead)
                .layer(tight_circuit_breaker());
            Value::new(stack.into_inner(), move || of_permits(&handle))
        },
        prepare: None,
        longest: Some(Duration::from_secs(2)),
        refuses: true,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

pub(crate) fn server_stack() -> Subject {
    Subject {
        as_configured_by_default: || {
            let load_shed = default_load_shed();
            let handle = load_shed.handle();
            let stack = ServiceBuilder::new().layer(load_shed).layer(default_deadline());
            Value::new(stack.into_inner(), move || of_permits(&handle))
        },
        as_tight_as_can_be: || {
            let load_shed = tight_load_shed();
            let handle = load_shed.handle();
            let stack = ServiceBuilder::new().layer(load_shed).layer(tight_deadline());
            Value::new(stack.into_inner(), move || of_permits(&handle))
        },
        prepare: None,
        longest: Some(Duration::from_secs(2)),
        refuses: true,
        returns_permits: true,
        at_once: 1,
        sends: 1,
        readies_ahead: true,
        classifies: true,
    }
}

fn of_permits(handle: &PermitsHandle) -> Gauges {
    vec![("in flight", handle.in_flight()), ("waiting", handle.waiting())]
}

fn of_balance(handle: &BalanceHandle) -> Gauges {
    vec![("in flight", handle.in_flight()), ("waiting", handle.waiting())]
}

fn of_rate_limit(handle: &RateLimitHandle) -> Gauges {
    vec![("waiting", handle.waiting())]
}

/// The default values are named and publish metrics; the tight values have no name.
const NAME: &str = "callee";

fn default_deadline() -> DeadlineLayer {
    DeadlineLayer::new(Duration::from_secs(2)).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

fn default_retry() -> RetryLayer {
    RetryLayer::new(RetryConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

fn default_hedge() -> HedgeLayer {
    HedgeLayer::new(HedgeConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

fn default_circuit_breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

fn default_bulkhead() -> BulkheadLayer {
    BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

fn default_rate_limit() -> RateLimitLayer {
    RateLimitLayer::new(RateLimitConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

fn default_load_shed() -> LoadShedLayer {
    LoadShedLayer::new(LoadShedConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap()
}

/// A balancer as a layer: the service is its only endpoint.
#[derive(Clone)]
pub(crate) struct OneEndpoint<C>(pub(crate) BalanceLayer<C>);

impl<C> OneEndpoint<C> {
    pub(crate) fn with_max_unready(self, max: u32) -> Self {
        Self(self.0.with_max_unready(max))
    }
}

impl<C: Clone> Layer<Difficult> for OneEndpoint<C> {
    type Service = Balance<Shareable, C>;

    fn layer(&self, callee: Difficult) -> Self::Service {
        let callee = Shareable(Mutex::new(callee));
        self.0.service(move |_| callee.clone())
    }
}

/// The services of endpoints are shared by threads.
pub(crate) struct Shareable(Mutex<Difficult>);

impl Clone for Shareable {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap().clone()))
    }
}

impl Service<u32> for Shareable {
    type Response = u32;
    type Error = <Difficult as Service<u32>>::Error;
    type Future = <Difficult as Service<u32>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.get_mut().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.0.get_mut().unwrap().call(request)
    }
}

fn default_balance() -> BalanceLayer {
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().named_in(&Registry::new(), NAME).unwrap();
    layer.with_endpoints([Endpoint::new("callee")]).unwrap()
}

type Poisoned = FromFn<fn(Result<&u32, &BoxError>) -> Verdict>;

/// The classifier of tight layers. It panics at the answer [`POISON`].
fn poisoned() -> Poisoned {
    verdict::from_fn(|result| {
        assert_no_lock_is_held();
        match result {
            Ok(&POISON) => panic!("the classifier panics"),
            Ok(_) => Verdict::Success,
            Err(error) => verdict::of_error(error),
        }
    })
}

fn tight_deadline() -> DeadlineLayer<Poisoned> {
    DeadlineLayer::new(Duration::from_millis(50)).unwrap().with_classifier(poisoned())
}

fn tight_retry() -> RetryLayer<Poisoned> {
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(Duration::from_millis(10)) };
    let config = RetryConfig { max_attempts: 2, backoff, ..RetryConfig::default() };
    RetryLayer::new(config).unwrap().with_classifier(poisoned())
}

fn tight_hedge(delay: Duration) -> HedgeLayer<Poisoned> {
    let config = HedgeConfig { delay: HedgeDelay::Fixed(delay), ..HedgeConfig::default() };
    HedgeLayer::new(config).unwrap().with_classifier(poisoned())
}

/// One failure opens it, and it needs so many rounds of probes to close that it stays half-open.
fn tight_circuit_breaker() -> CircuitBreakerLayer<Poisoned> {
    let config = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        break_duration: BREAK,
        half_open_rounds: 10,
        ..CircuitBreakerConfig::default()
    };
    CircuitBreakerLayer::new(config).unwrap().with_classifier(poisoned())
}

fn tight_balance() -> BalanceLayer<Poisoned> {
    let config = BalanceConfig {
        circuit_breaker: tight_circuit_breaker().config(),
        max_concurrent: 1,
        max_waiting: 1,
        ..BalanceConfig::default()
    };
    let layer = BalanceLayer::new(config).unwrap().with_classifier(poisoned());
    layer.with_endpoints([Endpoint::new("callee")]).unwrap()
}

fn tight_bulkhead() -> BulkheadLayer<Poisoned> {
    let config = BulkheadConfig { max_concurrent: 1, max_waiting: 1, ..BulkheadConfig::default() };
    BulkheadLayer::new(config).unwrap().with_classifier(poisoned())
}

fn tight_rate_limit() -> RateLimitLayer {
    let config = RateLimitConfig {
        permits: 1,
        per: Duration::from_millis(100),
        max_wait: Duration::from_secs(10),
        max_waiting: 1,
        ..RateLimitConfig::default()
    };
    RateLimitLayer::new(config).unwrap()
}

fn tight_load_shed() -> LoadShedLayer<Poisoned> {
    let config = LoadShedConfig { max_in_flight: 1, queue_ratio: 1.0, ..LoadShedConfig::default() };
    LoadShedLayer::new(config).unwrap().with_classifier(poisoned())
}
