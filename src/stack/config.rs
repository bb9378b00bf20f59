#[cfg(feature = "config")]
pub mod presets;
#[cfg(feature = "config")]
mod schema;
#[cfg(feature = "config")]
mod whole;

use std::time::Duration;

use crate::balance::BalanceConfig;
use crate::ground::validation::{Validate, Validation};
use crate::hedge::{HedgeConfig, HedgeDelay};
use crate::http::propagation::{FIXED, PropagationConfig};
use crate::http::upload::{DEFAULT_IDLE_SHARE, check_idle_share};
use crate::layers::circuit_breaker::CircuitBreakerConfig;
use crate::layers::core::readiness_limit::DEFAULT_MAX_UNREADY;
use crate::layers::deadline::DeadlineConfig;
use crate::layers::permits::bulkhead::BulkheadConfig;
use crate::layers::permits::load_shed::LoadShedConfig;
use crate::layers::retry::{BudgetConfig, RetryConfig};
use crate::layers::throttle::ThrottleConfig;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

#[cfg(feature = "config")]
pub use schema::SCHEMA;
#[cfg(feature = "config")]
pub use whole::Config;

/// The settings of the calls to one dependency.
///
/// ```
/// use std::time::Duration;
/// use seawall::bulkhead::BulkheadConfig;
/// use seawall::stack::{self, ClientConfig};
///
/// let payments = ClientConfig {
///     deadline: Duration::from_secs(2).into(),
///     bulkhead: BulkheadConfig { max_concurrent: 16, ..Default::default() },
///     ..Default::default()
/// };
/// assert!(stack::client(&payments).is_ok());
///
/// let mut wrong = payments;
/// wrong.retry.budget.ratio = 1.7;
/// wrong.bulkhead.max_concurrent = 0;
/// let error = stack::client(&wrong).unwrap_err();
/// let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
/// assert_eq!(paths, ["retry.budget.ratio", "bulkhead.max_concurrent"]);
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct ClientConfig {
    /// How long a call may take in total. Default: 10 s, body included.
    pub deadline: DeadlineConfig,
    /// When a failed call is retried. `max_attempts: 1` disables retries. Default: three attempts, within a budget.
    pub retry: RetryConfig,
    /// When to refuse a share of the calls, because the dependency refuses most of them for overload. Default: never. In code, enable it
    /// by `ThrottleConfig::default()`; in a file, by `enabled = true`. It is for a dependency whose refusals are about all calls: one that
    /// refuses a single tenant for its quota would have the calls of the others [refused, too](crate::throttle#when-not).
    #[cfg_attr(feature = "config", serde(deserialize_with = "ClientThrottle::deserialize"))]
    pub throttle: ThrottleConfig,
    /// How many calls are in flight to the dependency at once. Default: 64; further calls wait for up to 10 s.
    pub bulkhead: BulkheadConfig,
    /// When to stop sending calls. Default: when nine tenths of the last calls failed, or most were slow.
    pub circuit_breaker: CircuitBreakerConfig,
    /// How deadline and attempt number are sent to the dependency. gRPC fixes the names of the headers. Default:
    /// `x-request-timeout-ms` and Envoy's names.
    pub propagation: PropagationConfig,
    /// Whether each host and port has its own budget, bulkhead and breaker. Enable it for a client of many hosts, so that one dead
    /// host does not block the calls to all of them. One dependency behind one name gains nothing from it. A tonic client sends no
    /// host in its requests unless it was made `with_origin`, and has one state. Default: no.
    pub per_authority: bool,
    /// How many calls may wait for the client while it is not ready, such as a tonic `Channel` whose queue is full. A call beyond
    /// that fails with [`Reason::NotReady`](crate::error::Reason::NotReady). Waiting calls hold permits of the bulkhead, so a value
    /// above the number of its permits has no effect. With 0 no call waits. Default: 1024.
    pub max_unready: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            deadline: DeadlineConfig::default(),
            retry: RetryConfig::default(),
            throttle: client_throttle(),
            bulkhead: BulkheadConfig::default(),
            circuit_breaker: CircuitBreakerConfig::default(),
            propagation: PropagationConfig::default(),
            per_authority: false,
            max_unready: DEFAULT_MAX_UNREADY,
        }
    }
}

impl Validate for ClientConfig {
    fn check(&self, validation: &mut Validation) {
        validation.nested("deadline", |validation| self.deadline.check(validation));
        validation.nested("retry", |validation| self.retry.check(validation));
        validation.nested("throttle", |validation| self.throttle.check(validation));
        validation.nested("bulkhead", |validation| self.bulkhead.check(validation));
        validation.nested("circuit_breaker", |validation| {
            self.circuit_breaker.check(validation);
            // The outer layers would wait for the breaker within the call: its refusals would become waits. With keys it has no effect.
            validation.check(!self.circuit_breaker.unready_while_open, "unready_while_open", UNREADY_IN_A_STACK);
        });
        validation.nested("propagation", |validation| self.propagation.check(validation));
    }
}

/// Off, as a refusal need not be about all calls of a client.
fn client_throttle() -> ThrottleConfig {
    ThrottleConfig { enabled: false, ..ThrottleConfig::default() }
}

/// A [`ThrottleConfig`] from a file. Missing fields take the defaults of a client.
#[cfg(feature = "config")]
#[derive(serde::Deserialize)]
#[serde(remote = "ThrottleConfig", default = "client_throttle", deny_unknown_fields)]
struct ClientThrottle {
    enabled: bool,
    #[serde(with = "HumanTime")]
    window: Duration,
    multiplier: f64,
    max_share: f64,
    #[serde(with = "HumanTime")]
    probe_interval: Duration,
    #[serde(with = "HumanTime")]
    max_hold: Duration,
    max_keys: usize,
}

const UNREADY_IN_A_STACK: &str = "must be false in a client stack, whose other layers would wait for the open breaker instead of \
     being refused; for a load balancer, put a `CircuitBreakerLayer` with it alone around each endpoint, and the other layers around \
     the balancer";

impl ClientConfig {
    /// Reports each setting that differs and cannot change while the layers are in use.
    pub(super) fn check_fixed(&self, now: &Self, validation: &mut Validation) {
        check_headers(&self.propagation, &now.propagation, validation);
        validation.check(self.per_authority == now.per_authority, "per_authority", FIXED);
    }
}

fn check_headers(propagation: &PropagationConfig, now: &PropagationConfig, validation: &mut Validation) {
    validation.nested("propagation", |validation| {
        validation.nested("headers", |validation| propagation.headers.check_unchanged(&now.headers, validation));
    });
}

/// The settings of the calls to a dependency with several endpoints. See [`balanced_client`](super::balanced_client).
///
/// ```
/// use seawall::balance::BalanceConfig;
/// use seawall::stack::{self, BalancedClientConfig};
///
/// let search = BalancedClientConfig {
///     balance: BalanceConfig { max_concurrent: 10, ..Default::default() }, // calls at once at each endpoint
///     ..Default::default()
/// };
/// assert!(stack::balanced_client(&search).is_ok());
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct BalancedClientConfig {
    /// How long a call may take in total. Default: 10 s, body included.
    pub deadline: DeadlineConfig,
    /// When a failed call is retried, at another endpoint if there is one. Default: three attempts, within a budget.
    pub retry: RetryConfig,
    /// When to refuse a share of the calls, because most of the dependency's endpoints refuse them for overload. Default: never; see
    /// [`ClientConfig::throttle`].
    #[cfg_attr(feature = "config", serde(deserialize_with = "ClientThrottle::deserialize"))]
    pub throttle: ThrottleConfig,
    /// When a slow attempt is sent to another endpoint, too. Default: once it takes longer than 95 % of the calls, if it
    /// [may be](super::balanced_client#hedges). Hedges pay from the budget of the retries, so `budget` must have its default or that of
    /// `retry`. The retry follows failures, so `delay` must not be `OnFailure`, and `max_retry_after` has no effect, nor has `max_keys`.
    pub hedge: HedgeConfig,
    /// How calls are spread over the endpoints, and the bulkhead and circuit breaker of each endpoint. Default: 64 calls at once at
    /// each endpoint.
    pub balance: BalanceConfig,
    /// How deadline and attempt number are sent to the dependency. gRPC fixes the names of the headers. Default:
    /// `x-request-timeout-ms` and Envoy's names.
    pub propagation: PropagationConfig,
    /// How many calls may wait for the client of an endpoint while it is not ready. A call beyond that fails with
    /// [`Reason::NotReady`](crate::error::Reason::NotReady). Default: 1024.
    pub max_unready: u32,
}

impl Default for BalancedClientConfig {
    fn default() -> Self {
        Self {
            deadline: DeadlineConfig::default(),
            retry: RetryConfig::default(),
            throttle: client_throttle(),
            hedge: HedgeConfig::default(),
            balance: BalanceConfig::default(),
            propagation: PropagationConfig::default(),
            max_unready: DEFAULT_MAX_UNREADY,
        }
    }
}

impl Validate for BalancedClientConfig {
    fn check(&self, validation: &mut Validation) {
        validation.nested("deadline", |validation| self.deadline.check(validation));
        validation.nested("retry", |validation| self.retry.check(validation));
        validation.nested("throttle", |validation| self.throttle.check(validation));
        validation.nested("hedge", |validation| {
            self.hedge.check(validation);
            let budgets = [&self.retry.budget, &BudgetConfig::default()];
            validation.check(budgets.contains(&&self.hedge.budget), "budget", ONE_BUDGET);
            validation.check(self.hedge.delay != HedgeDelay::OnFailure, "delay", FAILURES_ARE_RETRIED);
        });
        validation.nested("balance", |validation| self.balance.check(validation));
        validation.nested("propagation", |validation| self.propagation.check(validation));
    }
}

const ONE_BUDGET: &str = "has no effect in a stack, where hedges pay from `retry.budget`: set that, or leave this out";

const FAILURES_ARE_RETRIED: &str =
    "must not be `on_failure` in a stack, whose retry layer follows failures: leave `hedge.enabled` at `false` instead";

impl BalancedClientConfig {
    /// Reports each setting that differs and cannot change while the layers are in use.
    pub(super) fn check_fixed(&self, now: &Self, validation: &mut Validation) {
        check_headers(&self.propagation, &now.propagation, validation);
    }
}

/// The settings of the requests to one service.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct ServerConfig {
    /// How deadline and attempt number are read from a request. gRPC fixes the names of the headers. Default:
    /// `x-request-timeout-ms` and Envoy's names.
    pub propagation: PropagationConfig,
    /// How long the work on a request may take, and how long a reader may take to read the response. Default: 10 s, and one
    /// minute for the body. In code, another timeout is `DeadlineConfig { timeout, ..ServerConfig::default().deadline }`: with
    /// `..Default::default()` the body has no timeout of its own, and ends at the deadline. A field that a file leaves out keeps the
    /// default of a server.
    #[cfg_attr(feature = "config", serde(deserialize_with = "ServerDeadline::deserialize"))]
    pub deadline: DeadlineConfig,
    /// For which share of a request's time its client may send nothing of the body while the handler waits for it, within `(0, 1]`.
    /// With 1, only the deadline ends the wait. Default: 0.5, which is 5 s of 10 s. A request that waits for its client holds no
    /// permit.
    #[cfg_attr(all(test, feature = "config"), schemars(extend("exclusiveMinimum" = 0, "maximum" = 1)))]
    pub request_idle_share: f64,
    /// How many requests are in flight at once, and how many wait in the queue. Default: 256, and 4.5 times as many.
    pub load_shed: LoadShedConfig,
    /// How many requests may wait for the service while it is not ready. A request beyond that is refused with
    /// [`Reason::NotReady`](crate::error::Reason::NotReady). Waiting requests count as in flight, so a value above the limit of
    /// `load_shed` has no effect. With 0 no request waits. Default: 1024.
    pub max_unready: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            propagation: PropagationConfig::default(),
            deadline: server_deadline(),
            request_idle_share: DEFAULT_IDLE_SHARE,
            load_shed: LoadShedConfig::default(),
            max_unready: DEFAULT_MAX_UNREADY,
        }
    }
}

fn server_deadline() -> DeadlineConfig {
    DeadlineConfig { body_timeout: Some(Duration::from_secs(60)), ..DeadlineConfig::default() }
}

/// A [`DeadlineConfig`] from a file. Missing fields take the defaults of a server.
#[cfg(feature = "config")]
#[derive(serde::Deserialize)]
#[serde(remote = "DeadlineConfig", default = "server_deadline", deny_unknown_fields)]
struct ServerDeadline {
    #[serde(with = "HumanTime")]
    timeout: Duration,
    #[serde(with = "Off::<Duration>")]
    head_timeout: Option<Duration>,
    #[serde(with = "Off::<Duration>")]
    idle_timeout: Option<Duration>,
    #[serde(with = "Off::<Duration>")]
    body_timeout: Option<Duration>,
}

impl Validate for ServerConfig {
    fn check(&self, validation: &mut Validation) {
        validation.nested("propagation", |validation| self.propagation.check(validation));
        validation.nested("deadline", |validation| self.deadline.check(validation));
        check_idle_share("request_idle_share", self.request_idle_share, validation);
        validation.nested("load_shed", |validation| self.load_shed.check(validation));
    }
}

impl ServerConfig {
    /// Reports each setting that differs and cannot change while the layers are in use.
    pub(super) fn check_fixed(&self, now: &Self, validation: &mut Validation) {
        check_headers(&self.propagation, &now.propagation, validation);
    }
}
