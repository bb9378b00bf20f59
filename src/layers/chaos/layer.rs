use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::ChaosConfig;
use super::handle::ChaosHandle;
use super::inject::{AnyProtocol, Only};
use super::service::Chaos;
use super::state::ChaosState;
use crate::ground::error::InvalidConfig;
use crate::layers::core::{LayerCore, layer_methods};

/// Injects faults into calls. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the cap and the end.
#[derive(Clone)]
pub struct ChaosLayer<I = AnyProtocol> {
    core: LayerCore<ChaosState, ChaosConfig>,
    inject: I,
}

impl ChaosLayer {
    /// Faults for any service. Faults of bodies are never injected, and rules that match by method, path or header match nothing.
    ///
    /// # Errors
    /// If a share is not within `0..=1`, a duration is more than ten years, or a setting of a fault is out of its range; all faults are
    /// listed, with the path of the field.
    pub fn new(config: ChaosConfig) -> Result<Self, InvalidConfig> {
        Ok(Self { core: LayerCore::new(KIND, config, ChaosState::new)?, inject: AnyProtocol })
    }
}

impl<I> ChaosLayer<I> {
    /// Injects faults only into calls for whose request `selects` returns `true`, in addition to what the rules match.
    ///
    /// ```
    /// use seawall::chaos::{ChaosConfig, ChaosLayer};
    ///
    /// struct Request {
    ///     is_a_test: bool,
    /// }
    ///
    /// let layer = ChaosLayer::new(ChaosConfig::default())?.only(|request: &Request| request.is_a_test);
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    pub fn only<Req, F>(self, selects: F) -> ChaosLayer<Only<I, F>>
    where
        F: Fn(&Req) -> bool + Clone,
    {
        ChaosLayer { core: self.core, inject: Only::new(self.inject, selects) }
    }

    /// Sets the protocol.
    pub(crate) fn with_protocol<J>(self, inject: J) -> ChaosLayer<J> {
        ChaosLayer { core: self.core, inject }
    }

    /// Shows the faults in progress.
    pub fn handle(&self) -> ChaosHandle {
        ChaosHandle::new(Arc::clone(self.core.state()))
    }
}

layer_methods!(ChaosLayer<I>, ChaosConfig);

impl<S, I: Clone> Layer<S> for ChaosLayer<I> {
    type Service = Chaos<S, I>;

    fn layer(&self, inner: S) -> Self::Service {
        Chaos::new(inner, Arc::clone(self.core.state()), self.inject.clone())
    }
}
