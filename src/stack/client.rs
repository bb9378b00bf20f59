use tower::Layer;

use super::config::ClientConfig;
use super::per_authority::PerAuthority;
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;
use crate::http::propagation::{HttpPropagator, Inject, InjectLayer};
use crate::http::{ByExtension, ByMethod, ByStatus};
use crate::middleware::bulkhead::{Bulkhead, BulkheadHandle, BulkheadLayer};
use crate::middleware::circuit_breaker::{CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer};
use crate::middleware::deadline::{Deadline, DeadlineLayer};
use crate::middleware::retry::{Budget, Retry, RetryLayer};

/// The layers around a client of one dependency. See the [module](super) for their order, and [`client`].
///
/// `C` is the classifier, `R` what makes each attempt's request, `P` how deadlines travel: those of the protocol.
#[derive(Clone, Debug)]
pub struct ClientLayer<C = ByStatus, R = ByMethod, P = HttpPropagator> {
    deadline: DeadlineLayer<C, ByExtension>,
    retry: RetryLayer<C, R, PerAuthority>,
    bulkhead: BulkheadLayer<C, PerAuthority>,
    circuit_breaker: CircuitBreakerLayer<C, PerAuthority>,
    inject: InjectLayer<P>,
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
/// If a setting is out of its range; all faults are listed, with the path of the field.
pub fn client(config: &ClientConfig) -> Result<ClientLayer, InvalidConfig> {
    ClientLayer::new(config, ByStatus::default(), ByMethod::default(), InjectLayer::http)
}

impl<C: Clone, R, P> ClientLayer<C, R, P> {
    pub(super) fn new(
        config: &ClientConfig,
        classifier: C,
        replay: R,
        inject: impl FnOnce(crate::http::propagation::PropagationConfig) -> Result<InjectLayer<P>, InvalidConfig>,
    ) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| config.validate(validation))?;
        let ClientConfig { deadline, retry, bulkhead, circuit_breaker, propagation, per_authority } = config.clone();
        let keying = PerAuthority(per_authority);
        Ok(Self {
            deadline: DeadlineLayer::new(deadline)?
                .with_classifier(classifier.clone())
                .with_lasting(ByExtension::default()),
            retry: RetryLayer::new(retry)?.with_classifier(classifier.clone()).with_replay(replay).with_keying(keying),
            bulkhead: BulkheadLayer::new(bulkhead)?.with_classifier(classifier.clone()).with_keying(keying),
            circuit_breaker: CircuitBreakerLayer::new(circuit_breaker)?.with_classifier(classifier).with_keying(keying),
            inject: inject(propagation)?,
        })
    }
}

impl<C, R, P> ClientLayer<C, R, P> {
    /// Puts the layers around `client`.
    pub fn service<S>(&self, client: S) -> <Self as Layer<S>>::Service
    where
        Self: Layer<S>,
    {
        self.layer(client)
    }

    /// The budget that retries are paid from.
    pub fn budget(&self) -> &Budget {
        self.retry.budget()
    }

    /// To look at the bulkhead, and to change its limit.
    pub fn bulkhead(&self) -> BulkheadHandle<PerAuthority> {
        self.bulkhead.handle()
    }

    /// To look at the circuit breaker, and to move it by hand.
    pub fn circuit_breaker(&self) -> CircuitBreakerHandle<PerAuthority> {
        self.circuit_breaker.handle()
    }
}

impl<S, C: Clone, R: Clone, P: Clone> Layer<S> for ClientLayer<C, R, P> {
    type Service = Client<S, C, R, P>;

    fn layer(&self, client: S) -> Self::Service {
        let client = self.inject.layer(client);
        let client = self.circuit_breaker.layer(client);
        let client = self.bulkhead.layer(client);
        let client = self.retry.layer(client);
        self.deadline.layer(client)
    }
}

/// A client with all its layers, to be named where types have to be.
pub type Client<S, C = ByStatus, R = ByMethod, P = HttpPropagator> = Deadline<
    Retry<Bulkhead<CircuitBreaker<Inject<S, P>, C, PerAuthority>, C, PerAuthority>, C, R, PerAuthority>,
    C,
    ByExtension,
>;
