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
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::Validate;
use crate::ground::verdict::AtResponse;
use crate::layers::core::observed;
use crate::layers::core::readiness_limit::max_unready;
use crate::layers::permits::gates::Gates;
use crate::telemetry::Instruments;

/// Refuses calls that cannot be served in time. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the limit.
pub struct LoadShedLayer<C = AtResponse, K: Keying = OneKey> {
    config: Arc<Settings<LoadShedConfig>>,
    gates: Arc<Gates<K>>,
    classifier: C,
}

impl LoadShedLayer {
    /// A load shedder for any service.
    ///
    /// # Errors
    /// If a limit or a duration is zero, a duration is more than ten years, or the ratio is not within 0..=1000.
    pub fn new(config: LoadShedConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let gates = gates(&config, OneKey, Instruments::new(KIND));
        Ok(Self { config: Arc::new(Settings::new(config)), gates, classifier: AtResponse })
    }
}

fn gates<K: Keying>(config: &LoadShedConfig, keying: K, instruments: Instruments) -> Arc<Gates<K>> {
    Arc::new(Gates::new(
        keying,
        config.max_keys,
        config.max_in_flight,
        config.order,
        config.gate_settings(),
        instruments,
    ))
}

impl<C, K: Keying> LoadShedLayer<C, K> {
    /// Sets the classifier, which decides what a result means: only successful calls count as service times.
    pub fn with_classifier<D>(self, classifier: D) -> LoadShedLayer<D, K> {
        LoadShedLayer { config: self.config, gates: self.gates, classifier }
    }

    /// Keeps a limit for each value of `key`: a route, a tenant, a shard. Call this before the layer is used.
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
        Key: Hash + Eq + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> LoadShedLayer<C, L> {
        let config = self.config.get();
        let gates = gates(&config, keying, self.gates.instruments().clone());
        gates.readiness_limit().inherit(self.gates.readiness_limit());
        registry::replace(Arc::clone(&gates) as _);
        LoadShedLayer { config: Arc::new(Settings::new(config)), gates, classifier: self.classifier }
    }

    /// Applies `config` to all clones of this value, all services made by them and all keys.
    ///
    /// - **At once:** `max_in_flight`, `enabled` and `max_keys`. A higher limit admits waiting calls. A lower limit ends no call; it
    ///   is reached as calls end. With `enabled: false` all waiting calls pass. A lower `max_keys` forgets keys whose state is as good
    ///   as new, and other keys once theirs is.
    /// - **For new calls:** `queue_ratio`, `max_wait`, `max_hold` and `order`. A waiting call keeps its position and the bound of its
    ///   wait; a running call keeps its bound.
    /// - **What survives:** everything else: running calls, the queue, and the estimate of the service time. A limit that was [set by
    ///   hand](LoadShedHandle::set_limit) stays in force until `max_in_flight` changes.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// ```
    /// use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
    ///
    /// let layer = LoadShedLayer::new(LoadShedConfig::default())?;
    /// layer.reload(&LoadShedConfig { max_in_flight: 16, ..layer.config() })?;
    /// assert_eq!(layer.handle().limit(), 16);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](LoadShedLayer::new); all faults are listed, and nothing changes.
    pub fn reload(&self, config: &LoadShedConfig) -> Result<(), InvalidConfig> {
        observed::reload([self.gates.instruments()], config.validate())?;
        self.apply(config)();
        Ok(())
    }

    /// Applies a validated config. Call what is returned without holding a lock: it may run user code.
    pub(crate) fn apply(&self, config: &LoadShedConfig) -> impl FnOnce() {
        self.config.replace(config.clone(), |before| {
            let limit = (config.max_in_flight != before.max_in_flight).then_some(config.max_in_flight);
            self.gates.replace(config.gate_settings(), config.order, config.max_keys, limit)
        })
    }

    /// The config in force. A limit that was set by hand is not part of it.
    pub fn config(&self) -> LoadShedConfig {
        self.config.get()
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

    pub(crate) fn observed(&self) -> Arc<dyn Observed> {
        Arc::clone(&self.gates) as _
    }

    /// A handle that shows how busy the service is, and changes its limit.
    pub fn handle(&self) -> LoadShedHandle<K> {
        LoadShedHandle::new(Arc::clone(&self.gates))
    }
}

max_unready!([C, K: Keying] LoadShedLayer<C, K>, |layer| layer.gates.readiness_limit());

impl<S, C: Clone, K: Keying> Layer<S> for LoadShedLayer<C, K> {
    type Service = LoadShed<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        LoadShed::new(inner, Arc::clone(&self.gates), self.classifier.clone())
    }
}

impl<C: Clone, K: Keying> Clone for LoadShedLayer<C, K> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config), gates: Arc::clone(&self.gates), classifier: self.classifier.clone() }
    }
}

impl<C, K: Keying> fmt::Debug for LoadShedLayer<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShedLayer").field("config", &self.config.get()).finish_non_exhaustive()
    }
}
