use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::BulkheadConfig;
use super::handle::BulkheadHandle;
use super::service::Bulkhead;
use super::weight::{Alike, WeighedBy};
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;
use crate::ground::telemetry::Instruments;
use crate::ground::verdict::AtResponse;
use crate::middleware::gates::Gates;

/// Bounds how many calls run at once. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the permits.
pub struct BulkheadLayer<C = AtResponse, K: Keying = OneKey, W = Alike> {
    config: BulkheadConfig,
    gates: Arc<Gates<K>>,
    classifier: C,
    weigh: W,
}

impl BulkheadLayer {
    /// A bulkhead for any service; a call is over when its response is there.
    ///
    /// # Errors
    /// If a limit or a duration is zero, or a duration more than ten years.
    pub fn new(config: BulkheadConfig) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| config.validate(validation))?;
        let gates = gates(&config, OneKey, Instruments::new(KIND));
        Ok(Self { config, gates, classifier: AtResponse, weigh: Alike })
    }
}

fn gates<K: Keying>(config: &BulkheadConfig, keying: K, instruments: Instruments) -> Arc<Gates<K>> {
    Arc::new(Gates::new(keying, config.max_keys, config.max_concurrent, config.terms(), instruments))
}

impl<C, K: Keying, W> BulkheadLayer<C, K, W> {
    /// Lets `classifier` say when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> BulkheadLayer<D, K, W> {
        BulkheadLayer { config: self.config, gates: self.gates, classifier, weigh: self.weigh }
    }

    /// Gives each value of `key` permits of its own: a host, a tenant, a shard. To be said before the layer is used.
    ///
    /// ```
    /// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layer = BulkheadLayer::new(BulkheadConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keyed_by<Request, Key, F>(self, key: F) -> BulkheadLayer<C, ByKey<F, Key>, W>
    where
        F: Fn(&Request) -> Key + Send + Sync + 'static,
        Key: Hash + Eq + Clone + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> BulkheadLayer<C, L, W> {
        let gates = gates(&self.config, keying, self.gates.instruments().clone());
        registry::replace(Arc::clone(&gates) as _);
        BulkheadLayer { config: self.config, gates, classifier: self.classifier, weigh: self.weigh }
    }

    /// Lets a call take as many permits as `weight` says, so that a few expensive requests do not starve the cheap ones.
    ///
    /// ```
    /// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// // one permit a megabyte
    /// let layer = BulkheadLayer::new(BulkheadConfig::default())?
    ///     .weighed_by(|upload: &Vec<u8>| 1 + (upload.len() >> 20) as u32);
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn weighed_by<Request, F>(self, weight: F) -> BulkheadLayer<C, K, WeighedBy<F>>
    where
        F: Fn(&Request) -> u32,
    {
        BulkheadLayer { config: self.config, gates: self.gates, classifier: self.classifier, weigh: WeighedBy(weight) }
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

    /// Shows how full the bulkhead is, and changes its limit.
    pub fn handle(&self) -> BulkheadHandle<K> {
        BulkheadHandle::new(Arc::clone(&self.gates))
    }
}

impl<S, C: Clone, K: Keying, W: Clone> Layer<S> for BulkheadLayer<C, K, W> {
    type Service = Bulkhead<S, C, K, W>;

    fn layer(&self, inner: S) -> Self::Service {
        Bulkhead::new(inner, Arc::clone(&self.gates), self.classifier.clone(), self.weigh.clone())
    }
}

impl<C: Clone, K: Keying, W: Clone> Clone for BulkheadLayer<C, K, W> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            gates: Arc::clone(&self.gates),
            classifier: self.classifier.clone(),
            weigh: self.weigh.clone(),
        }
    }
}

impl<C, K: Keying, W> fmt::Debug for BulkheadLayer<C, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadLayer").field("config", &self.config).finish_non_exhaustive()
    }
}
