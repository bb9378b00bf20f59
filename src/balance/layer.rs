use std::sync::Arc;

use super::KIND;
use super::balancer::Balancer;
use super::config::BalanceConfig;
use super::connections::Connections;
use super::endpoint::Endpoint;
use super::handle::BalanceHandle;
use super::service::Balance;
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, clone_fields, layer_methods};

/// Spreads calls over the endpoints of a dependency. See the [module](super).
///
/// All services made by one layer value and its clones share its endpoints and their state.
pub struct BalanceLayer<C = AtResponse> {
    pub(crate) core: LayerCore<Balancer, BalanceConfig>,
    classifier: C,
}

impl BalanceLayer {
    /// A balancer for any service. An `Err` is a failure, and the call is over when its response is ready. It has no endpoints until
    /// they are set.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn new(config: BalanceConfig) -> Result<Self, InvalidConfig> {
        Ok(Self { core: LayerCore::new(KIND, config, Balancer::new)?, classifier: AtResponse })
    }
}

impl<C> BalanceLayer<C> {
    /// Sets the classifier, which decides what a result means and when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> BalanceLayer<D> {
        BalanceLayer { core: self.core, classifier }
    }

    /// Sets the endpoints, as [`BalanceHandle::set_endpoints`] does.
    ///
    /// # Errors
    /// If the set is empty or larger than `max_endpoints`, if two endpoints have the same key, or a weight is not in
    /// `1e-6..=1e6`; all faults are listed, with the position of the endpoint.
    pub fn with_endpoints(self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, InvalidConfig> {
        self.core.state().set_endpoints(endpoints.into_iter().collect(), None)?;
        Ok(self)
    }

    /// A handle that changes the endpoints at run time.
    pub fn handle(&self) -> BalanceHandle {
        BalanceHandle::new(Arc::clone(self.core.state()))
    }

    /// The service. `connect` makes the client of an endpoint: once when the endpoint joins the set, and again if its address changes, or
    /// if the client's `poll_ready` fails, as that of a closed connection does. A client is replaced for that at most once in a second.
    ///
    /// `connect` must not block: after the first set it runs in the call that needs the client. Other calls of the endpoint wait for it,
    /// within their bounds.
    pub fn service<S, F>(&self, connect: F) -> Balance<S, C>
    where
        F: Fn(&Endpoint) -> S + Send + Sync + 'static,
        S: Clone,
        C: Clone,
    {
        let balancer = Arc::clone(self.core.state());
        let connections = Connections::new(&balancer.set.load(), connect);
        Balance::new(balancer, connections, self.classifier.clone())
    }
}

layer_methods!(BalanceLayer<C>, BalanceConfig);
clone_fields!([C: Clone] BalanceLayer<C> { core, classifier });
