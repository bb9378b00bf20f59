use std::sync::Arc;
use std::time::Duration;

use super::config::BalancedClientConfig;
use super::reload::reload;
use crate::admission::registry::{Observed, Registry};
use crate::balance::{Balance, BalanceHandle, BalanceLayer, Endpoint};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::{Validate, Validation};
use crate::hedge::{Hedge, HedgeLayer};
use crate::http::propagation::{HttpPropagator, Inject, InjectLayer, PropagationConfig};
use crate::http::{ByExtension, ByMethod, ByStatus, HedgeReplay};
use crate::layers::deadline::{Deadline, DeadlineLayer};
use crate::layers::retry::{Budget, Retry, RetryLayer};
use crate::layers::throttle::{Throttle, ThrottleHandle, ThrottleLayer};

/// The layers around the clients of a dependency with several endpoints. See [`balanced_client`].
///
/// The type parameters are those of [`ClientLayer`](super::ClientLayer).
#[derive(Clone, Debug)]
pub struct BalancedClientLayer<C = ByStatus, R = ByMethod, P = HttpPropagator, L = ByExtension> {
    deadline: DeadlineLayer<C, L>,
    retry: RetryLayer<C, R>,
    throttle: ThrottleLayer<C>,
    hedge: HedgeLayer<C, HedgeReplay<R>>,
    balance: BalanceLayer<C>,
    inject: InjectLayer<P>,
    config: Arc<Settings<BalancedClientConfig>>,
}

/// The layers around the HTTP clients of a dependency with several endpoints: a deadline, retries that go to another endpoint, a [`Balance`]
/// in which each endpoint has a bulkhead and a circuit breaker of its own, [hedges](#hedges), and the headers for deadline and attempt. Off
/// by default: a throttle.
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use seawall::balance::{AtEndpoint, Endpoint, EndpointMode};
/// use seawall::stack::{self, BalancedClientConfig};
/// # use bytes::Bytes;
/// # use http_body_util::Full;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let endpoints = ["10.0.0.1:8080", "10.0.0.2:8080"].map(Endpoint::new);
/// let layers = stack::balanced_client(&BalancedClientConfig::default())?.with_endpoints(endpoints)?;
/// let handle = layers.balance();
///
/// // one client with its pool of connections; a request goes to the address of the endpoint
/// let http = Client::builder(TokioExecutor::new()).build_http();
/// let client = layers.service(move |endpoint| AtEndpoint::new(endpoint, http.clone()));
/// # fn is_client<S: tower::Service<http::Request<Full<Bytes>>>>(_: &S) {}
/// # is_client(&client);
///
/// assert!(handle.set_mode("10.0.0.2:8080", EndpointMode::Draining)); // before it is stopped
/// # Ok(())
/// # }
/// ```
///
/// # Endpoints that hang
/// The first attempt at an endpoint that hangs uses up the whole deadline, until the endpoint's breaker has seen the hang. If the dependency
/// answers well within its deadline, put a [`DeadlineLayer`](crate::deadline::DeadlineLayer) around each endpoint's client, in the closure that
/// makes it: then the retry goes to another endpoint in time.
/// [`attempt_timeout`](crate::retry::RetryConfig::attempt_timeout) also bounds the wait for a permit of an endpoint, and the body while the caller
/// keeps it. With it, calls are refused while all endpoints are full, although they have time to wait.
///
/// # Hedges
/// A call that takes longer than 95 % of the others is sent to another endpoint, too, and the first good answer is taken. So one endpoint
/// that stalls for a moment is not what callers wait for. See [`hedge`](crate::hedge). In this stack:
///
/// - **Which calls:** those that may be executed twice at once, as a hedge runs beside the first attempt: `GET`, `HEAD`, `OPTIONS` and `TRACE`,
///   and requests that say [`Idempotent(true)`](crate::http::Idempotent). So over gRPC no call is hedged unless its request says so. A `PUT`, a
///   `DELETE` and a `POST` with an `Idempotency-Key` are retried after a failure, and not hedged. Nor is a
///   [long-lived](crate::http::LongLived) call, as a long poll is not slow.
/// - **Which endpoints:** a hedge is made only if an endpoint that the call has not used has a free permit, and no call waits for one. It goes
///   to no standby and to no endpoint that is ejected or probed. With one endpoint there are no hedges.
/// - **Which failures:** none. The retry repeats an attempt that fails, after its backoff. So a call makes at most `retry.max_attempts`, each of
///   which may have `hedge.max_attempts` in flight.
/// - **Budget:** retries and hedges pay from one budget, `retry.budget`, whose last token is left to a retry. A different `hedge.budget` is a
///   fault.
/// - **Load:** useless hedges take at most 5 % of the time that first attempts take ([`time_ratio`](crate::hedge::HedgeConfig::time_ratio)). Where
///   some calls take long by their nature, only as few of these are hedged.
///
/// # Errors
/// If a setting is out of its range. The error lists all faults, each with the path of its field.
pub fn balanced_client(config: &BalancedClientConfig) -> Result<BalancedClientLayer, InvalidConfig> {
    BalancedClientLayer::new(
        config,
        ByStatus::default(),
        ByMethod::default(),
        ByExtension::default(),
        InjectLayer::http,
    )
}

impl<C: Clone, R: Clone, P, L> BalancedClientLayer<C, R, P, L> {
    pub(super) fn new(
        config: &BalancedClientConfig,
        classifier: C,
        replay: R,
        timing: L,
        inject: impl FnOnce(PropagationConfig) -> Result<InjectLayer<P>, InvalidConfig>,
    ) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let BalancedClientConfig { deadline, retry, throttle, hedge, balance, propagation, max_unready } =
            config.clone();
        let retry = RetryLayer::new(retry)?.with_classifier(classifier.clone()).with_replay(replay.clone());
        let hedge = HedgeLayer::new(hedge)?.inside_retries(retry.budget().clone());
        Ok(Self {
            deadline: DeadlineLayer::new(deadline)?.with_classifier(classifier.clone()).with_timing(timing),
            retry,
            throttle: ThrottleLayer::new(throttle)?.with_classifier(classifier.clone()),
            hedge: hedge.with_classifier(classifier.clone()).with_replay(HedgeReplay::new(replay)),
            balance: BalanceLayer::new(balance)?.with_classifier(classifier).with_max_unready(max_unready),
            inject: inject(propagation)?,
            config: Arc::new(Settings::new(config.clone())),
        })
    }
}

impl<C, R, P, L> BalancedClientLayer<C, R, P, L> {
    /// Sets the endpoints. [`balance`](Self::balance) changes them later, or follows a stream of sets.
    ///
    /// # Errors
    /// As [`BalanceLayer::with_endpoints`].
    pub fn with_endpoints(self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, InvalidConfig> {
        self.balance().set_endpoints(endpoints)?;
        Ok(self)
    }

    /// Sets the classifier of every layer, as [`ClientLayer::with_classifier`](super::ClientLayer::with_classifier) does.
    #[must_use]
    pub fn with_classifier<D: Clone>(self, classifier: D) -> BalancedClientLayer<D, R, P, L> {
        BalancedClientLayer {
            deadline: self.deadline.with_classifier(classifier.clone()),
            retry: self.retry.with_classifier(classifier.clone()),
            throttle: self.throttle.with_classifier(classifier.clone()),
            hedge: self.hedge.with_classifier(classifier.clone()),
            balance: self.balance.with_classifier(classifier),
            inject: self.inject,
            config: self.config,
        }
    }

    /// Sets the replay policy of retries and hedges, as [`ClientLayer::with_replay`](super::ClientLayer::with_replay) does. Its attempts must
    /// be requests with a [`ReplayBody`](crate::http::ReplayBody), as those of [`ByMethod`] are and of a policy that wraps it: see
    /// [`HedgeReplay`].
    #[must_use]
    pub fn with_replay<Q: Clone>(self, replay: Q) -> BalancedClientLayer<C, Q, P, L> {
        let Self { deadline, retry, throttle, hedge, balance, inject, config } = self;
        let hedge = hedge.with_replay(HedgeReplay::new(replay.clone()));
        BalancedClientLayer { deadline, retry: retry.with_replay(replay), throttle, hedge, balance, inject, config }
    }

    /// Applies `config` to all layers, for all clones of this value and all services made by it. An invalid config changes nothing. The
    /// page of each layer says which state survives and what calls in flight keep: [deadline](crate::deadline#reload),
    /// [retry](crate::retry#reload), [throttle](crate::throttle#reload), [hedge](crate::hedge#reload), [balance](crate::balance#reload).
    ///
    /// `propagation.headers` is fixed for the lifetime of the layers: a different value is a fault. The endpoints are no setting: they
    /// change through [`balance`](Self::balance).
    ///
    /// ```
    /// use seawall::balance::Endpoint;
    /// use seawall::stack::{self, BalancedClientConfig};
    ///
    /// let layers = stack::balanced_client(&BalancedClientConfig::default())?.with_endpoints([Endpoint::new("10.0.0.1:80")])?;
    /// let mut config = layers.config();
    /// config.balance.max_concurrent = 10; // for each endpoint
    /// layers.reload(&config)?;
    ///
    /// config.balance.max_concurrent = 0;
    /// assert_eq!(layers.reload(&config).unwrap_err().faults()[0].path(), "balance.max_concurrent");
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// If a setting is out of its range, or a fixed setting has a different value. The error lists all faults, each with the path of its
    /// field. Nothing has changed then.
    pub fn reload(&self, config: &BalancedClientConfig) -> Result<(), InvalidConfig> {
        let valid = Validation::of(|validation| {
            config.check(validation);
            self.check_fixed(config, validation);
        });
        reload(&self.config, &self.observed(), config, valid, || {
            self.inject.set_allowance(config.propagation.allowance);
            self.balance.core.set_max_unready(config.max_unready);
            [
                self.deadline.core.apply(&config.deadline),
                self.retry.core.apply(&config.retry),
                self.throttle.core.apply(&config.throttle),
                self.hedge.core.apply(&config.hedge),
                self.balance.core.apply(&config.balance),
            ]
        })
    }

    /// Reports each setting that differs and cannot change while the layers are in use.
    pub(super) fn check_fixed(&self, config: &BalancedClientConfig, validation: &mut Validation) {
        config.check_fixed(&self.config.get(), validation);
    }

    /// The config in force. It does not include what was set by hand through a handle.
    pub fn config(&self) -> BalancedClientConfig {
        self.config.get()
    }

    /// Gives all layers one name, as [`ClientLayer::named`](super::ClientLayer::named) does.
    ///
    /// # Errors
    /// As there.
    pub fn named(self, name: &str) -> Result<Self, InvalidConfig> {
        self.named_in(Registry::global(), name)
    }

    /// As [`named`](Self::named), in another registry.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn named_in(self, registry: &Registry, name: &str) -> Result<Self, InvalidConfig> {
        registry.register(name, &self.observed())?;
        Ok(self)
    }

    fn observed(&self) -> [Arc<dyn Observed>; 5] {
        [
            self.deadline.core.observed(),
            self.retry.core.observed(),
            self.throttle.core.observed(),
            self.hedge.core.observed(),
            self.balance.core.observed(),
        ]
    }

    /// Makes the client. `connect` makes the client of one endpoint, as for [`BalanceLayer::service`]: of the address for
    /// [HTTP](crate::balance::AtEndpoint), and a `Channel` for gRPC.
    pub fn service<S, F>(&self, connect: F) -> BalancedClient<S, C, R, P, L>
    where
        F: Fn(&Endpoint) -> S + Send + Sync + 'static,
        S: Clone,
        C: Clone,
        R: Clone,
        P: Clone + Send + Sync + 'static,
        L: Clone,
    {
        use tower::Layer;

        let inject = self.inject.clone();
        let client = self.balance.service(move |endpoint| inject.layer(connect(endpoint)));
        self.deadline.layer(self.retry.layer(self.throttle.layer(self.hedge.layer(client))))
    }

    /// How long an attempt may take now before it is hedged; `None` if slow attempts are not hedged now.
    pub fn hedge_delay(&self) -> Option<Duration> {
        self.hedge.delay()
    }

    /// The budget of retries and hedges.
    pub fn budget(&self) -> &Budget {
        self.retry.budget()
    }

    /// Returns a handle that shows the throttle.
    pub fn throttle(&self) -> ThrottleHandle {
        self.throttle.handle()
    }

    /// Returns a handle that shows the endpoints, and can change, drain and isolate them.
    pub fn balance(&self) -> BalanceHandle {
        self.balance.handle()
    }
}

/// The type of a client over several endpoints with all its layers, for places that need a type, as for
/// [`Client`](super::Client).
pub type BalancedClient<S, C = ByStatus, R = ByMethod, P = HttpPropagator, L = ByExtension> =
    Deadline<Retry<Throttle<Hedge<Balance<Inject<S, P>, C>, C, HedgeReplay<R>>, C>, C, R>, C, L>;
