use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::LoadShedConfig;
use super::handle::LoadShedHandle;
use super::service::LoadShed;
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;
use crate::ground::telemetry::Instruments;
use crate::ground::verdict::AtResponse;
use crate::middleware::gates::Gates;

/// Refuses what cannot be served in time. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the limit.
pub struct LoadShedLayer<C = AtResponse, K: Keying = OneKey> {
    config: LoadShedConfig,
    gates: Arc<Gates<K>>,
    classifier: C,
}

impl LoadShedLayer {
    /// For any service.
    ///
    /// # Errors
    /// If a limit or a duration is zero, a duration more than ten years, or the ratio no number from 0 to 1000.
    pub fn new(config: LoadShedConfig) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| config.validate(validation))?;
        let gates = gates(&config, OneKey, Instruments::new(KIND));
        Ok(Self { config, gates, classifier: AtResponse })
    }
}

fn gates<K: Keying>(config: &LoadShedConfig, keying: K, instruments: Instruments) -> Arc<Gates<K>> {
    Arc::new(Gates::new(keying, config.max_keys, config.max_in_flight, config.terms(), instruments))
}

impl<C, K: Keying> LoadShedLayer<C, K> {
    /// Lets `classifier` say what a result means: only calls that went well tell how long the service takes.
    pub fn with_classifier<D>(self, classifier: D) -> LoadShedLayer<D, K> {
        LoadShedLayer { config: self.config, gates: self.gates, classifier }
    }

    /// Gives each value of `key` a limit of its own: a route, a tenant, a shard. To be said before the layer is used.
    ///
    /// ```
    /// use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layer = LoadShedLayer::new(LoadShedConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keyed_by<Request, Key, F>(self, key: F) -> LoadShedLayer<C, ByKey<F, Key>>
    where
        F: Fn(&Request) -> Key + Send + Sync + 'static,
        Key: Hash + Eq + Clone + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> LoadShedLayer<C, L> {
        let gates = gates(&self.config, keying, self.gates.instruments().clone());
        registry::replace(Arc::clone(&gates) as _);
        LoadShedLayer { config: self.config, gates, classifier: self.classifier }
    }

    /// Gives it a name, by which it is known in refusals, logs and metrics, and in the [`registry`](crate::registry) of the
    /// process.
    ///
    /// # Errors
    /// If the name is empty, or taken by another layer of this kind, or the layer has one already.
    pub fn named(self, name: &str) -> Result<Self, InvalidConfig> {
        self.named_in(Registry::global(), name)
    }

    /// As [`named`](Self::named), in another registry.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn named_in(self, registry: &Registry, name: &str) -> Result<Self, InvalidConfig> {
        registry.register(name, &[self.observed()])?;
        Ok(self)
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.gates) as _
    }

    /// Shows how busy the service is, and changes its limit.
    pub fn handle(&self) -> LoadShedHandle<K> {
        LoadShedHandle::new(Arc::clone(&self.gates))
    }
}

impl<S, C: Clone, K: Keying> Layer<S> for LoadShedLayer<C, K> {
    type Service = LoadShed<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        LoadShed::new(inner, Arc::clone(&self.gates), self.classifier.clone())
    }
}

impl<C: Clone, K: Keying> Clone for LoadShedLayer<C, K> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), gates: Arc::clone(&self.gates), classifier: self.classifier.clone() }
    }
}

impl<C, K: Keying> fmt::Debug for LoadShedLayer<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShedLayer").field("config", &self.config).finish_non_exhaustive()
    }
}
