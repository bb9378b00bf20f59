use std::sync::Arc;

use tower::Layer;

use super::config::LoadShedConfig;
use super::service::LoadShed;
use super::{KIND, PermitsHandle};
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::ground::verdict::AtResponse;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};
use crate::layers::permits::gates::Gates;

/// Refuses calls that cannot be served in time. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the limit.
pub struct LoadShedLayer<C = AtResponse, K: Keying = OneKey> {
    pub(crate) core: LayerCore<Gates<K>, LoadShedConfig>,
    classifier: C,
}

impl LoadShedLayer {
    /// A load shedder for any service.
    ///
    /// # Errors
    /// If a limit or a duration is zero, a duration is more than ten years, or the ratio is not within 0..=1000.
    pub fn new(config: LoadShedConfig) -> Result<Self, InvalidConfig> {
        let core = LayerCore::new(KIND, config, |parts| Gates::of(parts, OneKey))?;
        Ok(Self { core, classifier: AtResponse })
    }
}

impl<C, K: Keying> LoadShedLayer<C, K> {
    /// Sets the classifier, which decides what a result means: only successful calls count as service times.
    pub fn with_classifier<D>(self, classifier: D) -> LoadShedLayer<D, K> {
        LoadShedLayer { core: self.core, classifier }
    }

    /// A handle that shows how busy the service is, and changes its limit.
    pub fn handle(&self) -> PermitsHandle<K> {
        PermitsHandle::new(Arc::clone(self.core.state()))
    }
}

keyed_methods! {
    /// Keeps a limit for each value of `key`: a route, a tenant, a shard. Call this before the layer is used.
    ///
    /// ```
    /// use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// let layer = LoadShedLayer::new(LoadShedConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    LoadShedLayer<[C] K []> { classifier }
}

layer_methods!(LoadShedLayer<C, K: Keying>, LoadShedConfig);
clone_fields!([C: Clone, K: Keying] LoadShedLayer<C, K> { core, classifier });

impl<S, C: Clone, K: Keying> Layer<S> for LoadShedLayer<C, K> {
    type Service = LoadShed<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        LoadShed::new(inner, Arc::clone(self.core.state()), self.classifier.clone())
    }
}
