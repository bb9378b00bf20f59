use std::sync::Arc;

use tower::Layer;

use super::config::ClientConfig;
use super::per_authority::PerAuthority;
use super::reload::reload;
use crate::admission::registry::{Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::{Validate, Validation};
use crate::http::propagation::{HttpPropagator, Inject, InjectLayer};
use crate::http::{ByExtension, ByMethod, ByStatus};
use crate::layers::circuit_breaker::{CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer};
use crate::layers::deadline::{Deadline, DeadlineLayer};
use crate::layers::permits::bulkhead::{Bulkhead, BulkheadLayer, PermitsHandle};
use crate::layers::retry::{Budget, Retry, RetryLayer};
use crate::layers::throttle::{Throttle, ThrottleHandle, ThrottleLayer};

/// The layers around a client of one dependency. See the [module](super) for their order, and [`client`].
///
/// The type parameters depend on the protocol: `C` is the classifier, `R` makes the request of each attempt, `P` propagates
/// deadlines, and `L` reads what a request says about its own time.
#[derive(Clone, Debug)]
pub struct ClientLayer<C = ByStatus, R = ByMethod, P = HttpPropagator, L = ByExtension> {
    deadline: DeadlineLayer<C, L>,
    retry: RetryLayer<C, R, PerAuthority>,
    throttle: ThrottleLayer<C, PerAuthority>,
    bulkhead: BulkheadLayer<C, PerAuthority>,
    circuit_breaker: CircuitBreakerLayer<C, PerAuthority>,
    inject: InjectLayer<P>,
    config: Arc<Settings<ClientConfig>>,
}

/// The layers around an HTTP client.
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use seawall::stack::{self, ClientConfig};
/// # use bytes::Bytes;
/// # use http_body_util::Full;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layers = stack::client(&ClientConfig::default())?;
/// let (budget, breaker) = (layers.budget().clone(), layers.circuit_breaker());
/// let client = layers.service(Client::builder(TokioExecutor::new()).build_http());
/// # fn is_client<S: tower::Service<http::Request<Full<Bytes>>>>(_: &S) {}
/// # is_client(&client);
/// # drop((budget, breaker));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a setting is out of its range. The error lists all faults, each with the path of its field.
pub fn client(config: &ClientConfig) -> Result<ClientLayer, InvalidConfig> {
    ClientLayer::new(config, ByStatus::default(), ByMethod::default(), ByExtension::default(), InjectLayer::http)
}

impl<C: Clone, R, P, L> ClientLayer<C, R, P, L> {
    pub(super) fn new(
        config: &ClientConfig,
        classifier: C,
        replay: R,
        timing: L,
        inject: impl FnOnce(crate::http::propagation::PropagationConfig) -> Result<InjectLayer<P>, InvalidConfig>,
    ) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let ClientConfig {
            deadline,
            retry,
            throttle,
            bulkhead,
            circuit_breaker,
            propagation,
            per_authority,
            max_unready,
        } = config.clone();
        let keying = PerAuthority(per_authority);
        let bulkhead = BulkheadLayer::new(bulkhead)?.with_classifier(classifier.clone()).with_keying(keying);
        let circuit_breaker =
            CircuitBreakerLayer::new(circuit_breaker)?.with_classifier(classifier.clone()).with_keying(keying);
        // Calls wait for the client in the breaker. The layers around the breaker always see it ready.
        let circuit_breaker = circuit_breaker.with_max_unready(max_unready);
        let throttle = ThrottleLayer::new(throttle)?.with_classifier(classifier.clone()).with_keying(keying);
        bulkhead.connect(circuit_breaker.ahead());
        Ok(Self {
            deadline: DeadlineLayer::new(deadline)?.with_classifier(classifier.clone()).with_timing(timing),
            retry: RetryLayer::new(retry)?.with_classifier(classifier).with_replay(replay).with_keying(keying),
            throttle,
            bulkhead,
            circuit_breaker,
            inject: inject(propagation)?,
            config: Arc::new(Settings::new(config.clone())),
        })
    }
}

impl<C, R, P, L> ClientLayer<C, R, P, L> {
    /// Sets the classifier of every layer: the protocol's own with other verdicts for some results, or a different one.
    ///
    /// ```
    /// use http::StatusCode;
    /// use seawall::http::{ByMethod, ByStatus};
    /// use seawall::stack::{self, ClientConfig};
    /// use seawall::verdict::Verdict;
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layers = stack::client(&ClientConfig::default())?
    ///     // there it means "being indexed, come back"
    ///     .with_classifier(ByStatus::new().with_status(StatusCode::NOT_FOUND, Verdict::Transient))
    ///     .with_replay(ByMethod::default().with_max_body(1024 * 1024));
    /// # drop(layers);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_classifier<D: Clone>(self, classifier: D) -> ClientLayer<D, R, P, L> {
        ClientLayer {
            deadline: self.deadline.with_classifier(classifier.clone()),
            retry: self.retry.with_classifier(classifier.clone()),
            throttle: self.throttle.with_classifier(classifier.clone()),
            bulkhead: self.bulkhead.with_classifier(classifier.clone()),
            circuit_breaker: self.circuit_breaker.with_classifier(classifier),
            inject: self.inject,
            config: self.config,
        }
    }

    /// Sets the replay policy, which says which requests may be sent again and makes them again: the protocol's own with a larger
    /// limit for bodies, or a different one.
    #[must_use]
    pub fn with_replay<Q>(self, replay: Q) -> ClientLayer<C, Q, P, L> {
        let Self { deadline, retry, throttle, bulkhead, circuit_breaker, inject, config } = self;
        let retry = retry.with_replay(replay);
        ClientLayer { deadline, retry, throttle, bulkhead, circuit_breaker, inject, config }
    }

    /// Applies `config` to all layers, for all clones of this value, all services made by it and all keys. An invalid config changes
    /// nothing. The page of each layer says which state survives and what calls in flight keep:
    /// [deadline](crate::deadline#reload), [retry](crate::retry#reload), [throttle](crate::throttle#reload), [bulkhead](crate::bulkhead#reload),
    /// [circuit breaker](crate::circuit_breaker#reload).
    ///
    /// `propagation.headers` and `per_authority` are fixed for the lifetime of the layers: a different value is a fault.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::stack::{self, ClientConfig};
    ///
    /// let layers = stack::client(&ClientConfig::default())?;
    /// let mut config = layers.config();
    /// config.deadline.timeout = Duration::from_secs(1);
    /// config.bulkhead.max_concurrent = 16;
    /// layers.reload(&config)?;
    /// assert_eq!(layers.bulkhead().limit(), 16);
    ///
    /// config.retry.max_attempts = 0;
    /// config.per_authority = true;
    /// let error = layers.reload(&config).unwrap_err();
    /// let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    /// assert_eq!(paths, ["retry.max_attempts", "per_authority"]);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// If a setting is out of its range, or a fixed setting has a different value. The error lists all faults, each with the path of
    /// its field. Nothing has changed then.
    pub fn reload(&self, config: &ClientConfig) -> Result<(), InvalidConfig> {
        let valid = Validation::of(|validation| {
            config.check(validation);
            self.check_fixed(config, validation);
        });
        reload(&self.config, &self.observed(), config, valid, || {
            self.inject.set_allowance(config.propagation.allowance);
            self.circuit_breaker.core.set_max_unready(config.max_unready);
            [
                self.deadline.core.apply(&config.deadline),
                self.retry.core.apply(&config.retry),
                self.throttle.core.apply(&config.throttle),
                self.bulkhead.core.apply(&config.bulkhead),
                self.circuit_breaker.core.apply(&config.circuit_breaker),
            ]
        })
    }

    /// Reports each setting that differs and cannot change while the layers are in use.
    pub(super) fn check_fixed(&self, config: &ClientConfig, validation: &mut Validation) {
        config.check_fixed(&self.config.get(), validation);
    }

    /// Returns the config in force. It does not include what was set by hand through a handle.
    pub fn config(&self) -> ClientConfig {
        self.config.get()
    }

    /// Gives all layers one name. It identifies the dependency in refusals, logs and metrics, and in the
    /// [`registry`](crate::registry) of the process.
    ///
    /// ```
    /// use seawall::circuit_breaker::State;
    /// use seawall::registry::{Condition, Registry};
    /// use seawall::stack::{self, ClientConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::new();
    /// let layers = stack::client(&ClientConfig::default())?.named_in(&registry, "payments")?;
    ///
    /// registry.isolate("payments")?; // until it is told to decide again
    /// assert_eq!(layers.circuit_breaker().state(), State::ForcedOpen);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the name is empty or longer than 128 bytes, if the layers already have a name, or if another layer of one of these kinds
    /// has this name: a layer of another client, or of a server, which has a deadline layer too.
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
            self.bulkhead.core.observed(),
            self.circuit_breaker.core.observed(),
        ]
    }

    /// Puts the layers around `client`.
    pub fn service<S>(&self, client: S) -> <Self as Layer<S>>::Service
    where
        Self: Layer<S>,
    {
        self.layer(client)
    }

    /// The retry budget. With [`per_authority`](ClientConfig::per_authority), it is the budget of requests without a host.
    pub fn budget(&self) -> &Budget {
        self.retry.budget()
    }

    /// Returns a handle that shows the throttle.
    pub fn throttle(&self) -> ThrottleHandle<PerAuthority> {
        self.throttle.handle()
    }

    /// Returns a handle that shows the bulkhead and can change its limit.
    pub fn bulkhead(&self) -> PermitsHandle<PerAuthority> {
        self.bulkhead.handle()
    }

    /// Returns a handle that shows the circuit breaker and can set its state by hand.
    pub fn circuit_breaker(&self) -> CircuitBreakerHandle<PerAuthority> {
        self.circuit_breaker.handle()
    }
}

impl<S, C: Clone, R: Clone, P: Clone, L: Clone> Layer<S> for ClientLayer<C, R, P, L> {
    type Service = Client<S, C, R, P, L>;

    fn layer(&self, client: S) -> Self::Service {
        let client = self.inject.layer(client);
        let client = self.circuit_breaker.layer(client);
        let client = self.bulkhead.layer(client);
        let client = self.throttle.layer(client);
        let client = self.retry.layer(client);
        self.deadline.layer(client)
    }
}

/// The type of a client with all its layers, for places that need a type, such as the field of a struct:
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use hyper_util::client::legacy::{self, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use seawall::http::ReplayBody;
/// use seawall::stack::{self, ClientConfig};
/// use tower::{BoxError, ServiceExt};
///
/// struct Payments {
///     client: stack::Client<legacy::Client<HttpConnector, ReplayBody<Full<Bytes>>>>,
/// }
///
/// impl Payments {
///     fn new() -> Result<Self, BoxError> {
///         let layers = stack::client(&ClientConfig::default())?;
///         Ok(Self { client: layers.service(legacy::Client::builder(TokioExecutor::new()).build_http()) })
///     }
///
///     /// A clone of a client costs little, shares all its state, and lets calls go on side by side.
///     async fn of_today(&self) -> Result<Bytes, BoxError> {
///         let request = Request::get("http://payments.test/today").body(Full::default())?;
///         let response = self.client.clone().oneshot(request).await?;
///         Ok(response.into_body().collect().await?.to_bytes())
///     }
/// }
/// # let _ = |payments: std::sync::Arc<Payments>| tokio::spawn(async move { payments.of_today().await });
/// # assert!(Payments::new().is_ok());
/// ```
///
/// # Calls in tasks
/// If the error of the inner client is already a [`BoxError`](tower::BoxError), as with a `BoxCloneService`, rustc cannot see that
/// `tokio::spawn(async move { client.oneshot(request).await })` is `Send` ("implementation of `From` is not general enough"). It is a
/// [limitation of rustc](https://github.com/rust-lang/rust/issues/64552) that tower's own layers meet, too. Three ways compile:
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use bytes::Bytes;
/// use futures::FutureExt;
/// use seawall::http::ReplayBody;
/// use seawall::stack::{self, ClientConfig};
/// use tower::util::BoxCloneService;
/// use tower::{BoxError, ServiceExt};
///
/// type Inner = BoxCloneService<Request<ReplayBody<Full<Bytes>>>, Response<Full<Bytes>>, BoxError>;
///
/// fn calls(inner: Inner, request: fn() -> Request<Full<Bytes>>) -> Result<(), BoxError> {
///     let client: stack::Client<Inner> = stack::client(&ClientConfig::default())?.service(inner);
///
///     // 1. the future itself, without a block around it
///     tokio::spawn(client.clone().oneshot(request()));
///
///     // 2. the future in a box, made outside of the block
///     let call = client.clone().oneshot(request()).boxed();
///     tokio::spawn(async move { call.await.map(|response| response.status()) });
///
///     // 3. the stack in a box: its type is short, and does not name what is inside
///     let client = BoxCloneService::new(client);
///     tokio::spawn(async move { client.oneshot(request()).await });
///     Ok(())
/// }
/// # let _ = calls;
/// ```
pub type Client<S, C = ByStatus, R = ByMethod, P = HttpPropagator, L = ByExtension> = Deadline<
    Retry<
        Throttle<Bulkhead<CircuitBreaker<Inject<S, P>, C, PerAuthority>, C, PerAuthority>, C, PerAuthority>,
        C,
        R,
        PerAuthority,
    >,
    C,
    L,
>;
