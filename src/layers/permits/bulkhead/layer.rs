use std::sync::Arc;

use tower::Layer;

use super::config::BulkheadConfig;
use super::service::Bulkhead;
use super::weight::{OnePermit, WeighedBy};
use super::{KIND, PermitsHandle};
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::call::breaker_ahead::BreakersAhead;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};
use crate::layers::permits::gates::Gates;

/// Limits how many calls run at once. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the permits.
pub struct BulkheadLayer<C = AtResponse, K: Keying = OneKey, W = OnePermit> {
    pub(crate) core: LayerCore<Gates<K>, BulkheadConfig>,
    classifier: C,
    weigh: W,
}

impl BulkheadLayer {
    /// A bulkhead for any service. A call is over when its response is ready.
    ///
    /// # Errors
    /// If a limit or a duration is zero, or a duration more than ten years.
    pub fn new(config: BulkheadConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, |parts| Gates::of(parts, OneKey))?;
        Ok(Self { core, classifier: AtResponse, weigh: OnePermit })
    }
}

impl<C, K: Keying, W> BulkheadLayer<C, K, W> {
    /// Sets the classifier, which decides when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> BulkheadLayer<D, K, W> {
        BulkheadLayer { core: self.core, classifier, weigh: self.weigh }
    }

    /// Sets how many permits a call takes, so that a few expensive requests do not starve the cheap ones.
    ///
    /// ```
    /// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
    ///
    /// // one permit a megabyte
    /// let layer = BulkheadLayer::new(BulkheadConfig::default())?
    ///     .weighed_by(|upload: &Vec<u8>| 1 + (upload.len() >> 20) as u32);
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    pub fn weighed_by<Request, F>(self, weight: F) -> BulkheadLayer<C, K, WeighedBy<F>>
    where
        F: Fn(&Request) -> u32,
    {
        BulkheadLayer { core: self.core, classifier: self.classifier, weigh: WeighedBy(weight) }
    }

    /// A handle that shows how full the bulkhead is, and changes its limit.
    pub fn handle(&self) -> PermitsHandle<K> {
        PermitsHandle::new(Arc::clone(self.core.state()))
    }

    /// Connects the breakers of an inner layer: a waiting call that its breaker would refuse is refused at once.
    pub(crate) fn connect(&self, breakers: Arc<dyn BreakersAhead<K::Key>>) {
        self.core.state().ahead().connect(breakers);
    }
}

keyed_methods! {
    /// Keeps permits for each value of `key`: an endpoint, a tenant, a shard. Call this before the layer is used.
    ///
    /// ```
    /// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// let layer = BulkheadLayer::new(BulkheadConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    BulkheadLayer<[C] K [W]> { classifier, weigh }
}

layer_methods!(BulkheadLayer<C, K: Keying, W>, BulkheadConfig);
clone_fields!([C: Clone, K: Keying, W: Clone] BulkheadLayer<C, K, W> { core, classifier, weigh });

impl<S, C: Clone, K: Keying, W: Clone> Layer<S> for BulkheadLayer<C, K, W> {
    type Service = Bulkhead<S, C, K, W>;

    fn layer(&self, inner: S) -> Self::Service {
        Bulkhead::new(inner, Arc::clone(self.core.state()), self.classifier.clone(), self.weigh.clone())
    }
}
