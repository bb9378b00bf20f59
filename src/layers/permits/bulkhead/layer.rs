use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::BulkheadConfig;
use super::handle::BulkheadHandle;
use super::service::Bulkhead;
use super::weight::{OnePermit, WeighedBy};
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::Validate;
use crate::ground::verdict::AtResponse;
use crate::layers::call::breaker_ahead::BreakersAhead;
use crate::layers::core::observed;
use crate::layers::core::readiness_limit::max_unready;
use crate::layers::permits::gates::Gates;
use crate::telemetry::Instruments;

/// Limits how many calls run at once. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the permits.
pub struct BulkheadLayer<C = AtResponse, K: Keying = OneKey, W = OnePermit> {
    config: Arc<Settings<BulkheadConfig>>,
    gates: Arc<Gates<K>>,
    classifier: C,
    weigh: W,
}

impl BulkheadLayer {
    /// A bulkhead for any service. A call is over when its response is ready.
    ///
    /// # Errors
    /// If a limit or a duration is zero, or a duration more than ten years.
    pub fn new(config: BulkheadConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let gates = gates(&config, OneKey, Instruments::new(KIND));
        Ok(Self { config: Arc::new(Settings::new(config)), gates, classifier: AtResponse, weigh: OnePermit })
    }
}

fn gates<K: Keying>(config: &BulkheadConfig, keying: K, instruments: Instruments) -> Arc<Gates<K>> {
    Arc::new(Gates::new(
        keying,
        config.max_keys,
        config.max_concurrent,
        config.order,
        config.gate_settings(),
        instruments,
    ))
}

impl<C, K: Keying, W> BulkheadLayer<C, K, W> {
    /// Sets the classifier, which decides when a call is over.
    pub fn with_classifier<D>(self, classifier: D) -> BulkheadLayer<D, K, W> {
        BulkheadLayer { config: self.config, gates: self.gates, classifier, weigh: self.weigh }
    }

    /// Keeps permits for each value of `key`: an endpoint, a tenant, a shard. Call this before the layer is used.
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
        Key: Hash + Eq + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> BulkheadLayer<C, L, W> {
        let config = self.config.get();
        let gates = gates(&config, keying, self.gates.instruments().clone());
        gates.readiness_limit().inherit(self.gates.readiness_limit());
        registry::replace(Arc::clone(&gates) as _);
        BulkheadLayer { config: Arc::new(Settings::new(config)), gates, classifier: self.classifier, weigh: self.weigh }
    }

    /// Sets how many permits a call takes, so that a few expensive requests do not starve the cheap ones.
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

    /// Names the layer. The name appears in refusals, logs and metrics, and in the [`registry`](crate::registry) of the process.
    ///
    /// # Errors
    /// If the name is empty, longer than 128 bytes, or taken by another layer of this kind; or if the layer already has a name.
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

    /// Connects the breakers of an inner layer: a waiting call that its breaker would refuse is refused at once.
    pub(crate) fn connect(&self, breakers: Arc<dyn BreakersAhead<K::Key>>) {
        self.gates.ahead().connect(breakers);
    }

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.gates) as _
    }

    /// Applies `config` to all clones of this value, all services made by them and all keys.
    ///
    /// - **At once:** `max_concurrent`, `enabled` and `max_keys`. Additional permits go to waiting calls. A lower limit revokes no
    ///   permit; it is reached as calls end. With `enabled: false` all waiting calls pass. A lower `max_keys` forgets keys whose state
    ///   is as good as new, and other keys once theirs is.
    /// - **For new calls:** `max_waiting`, `max_wait`, `max_hold` and `order`. A waiting call keeps its position and the bound of its
    ///   wait; a running call keeps its bound.
    /// - **What survives:** everything else: permits in use, the queue, and the estimate of how long permits are held. A limit that
    ///   was [set by hand](BulkheadHandle::set_limit) stays in force until `max_concurrent` changes.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// ```
    /// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
    ///
    /// let layer = BulkheadLayer::new(BulkheadConfig::default())?;
    /// layer.reload(&BulkheadConfig { max_concurrent: 16, ..layer.config() })?;
    /// assert_eq!(layer.handle().limit(), 16);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](BulkheadLayer::new); all faults are listed, and nothing changes.
    pub fn reload(&self, config: &BulkheadConfig) -> Result<(), InvalidConfig> {
        observed::reload([self.gates.instruments()], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Applies a validated config. Call what is returned without holding a lock: it may run user code.
    pub(crate) fn apply(&self, config: &BulkheadConfig) -> impl FnOnce() {
        self.config.replace(config.clone(), |before| {
            let limit = (config.max_concurrent != before.max_concurrent).then_some(config.max_concurrent);
            self.gates.replace(config.gate_settings(), config.order, config.max_keys, limit)
        })
    }

    /// The config in force. A limit that was set by hand is not part of it.
    pub fn config(&self) -> BulkheadConfig {
        self.config.get()
    }

    /// A handle that shows how full the bulkhead is, and changes its limit.
    pub fn handle(&self) -> BulkheadHandle<K> {
        BulkheadHandle::new(Arc::clone(&self.gates))
    }
}

max_unready!([C, K: Keying, W] BulkheadLayer<C, K, W>, |layer| layer.gates.readiness_limit());

impl<S, C: Clone, K: Keying, W: Clone> Layer<S> for BulkheadLayer<C, K, W> {
    type Service = Bulkhead<S, C, K, W>;

    fn layer(&self, inner: S) -> Self::Service {
        Bulkhead::new(inner, Arc::clone(&self.gates), self.classifier.clone(), self.weigh.clone())
    }
}

impl<C: Clone, K: Keying, W: Clone> Clone for BulkheadLayer<C, K, W> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            gates: Arc::clone(&self.gates),
            classifier: self.classifier.clone(),
            weigh: self.weigh.clone(),
        }
    }
}

impl<C, K: Keying, W> fmt::Debug for BulkheadLayer<C, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadLayer").field("config", &self.config.get()).finish_non_exhaustive()
    }
}
