use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::RateLimitConfig;
use super::handle::RateLimitHandle;
use super::service::RateLimit;
use super::state::State;
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::admission::registry::{self, Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validate;
use crate::layers::call::readiness_limit::max_unready;
use crate::layers::core::observed;
use crate::telemetry::Instruments;

/// Limits how many calls start per period. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the rate.
pub struct RateLimitLayer<K: Keying = OneKey> {
    state: Arc<State<K>>,
}

impl RateLimitLayer {
    /// One rate for all calls, of any service.
    ///
    /// # Errors
    /// If a number or `per` is zero, a duration more than ten years, or there is more than one permit per nanosecond.
    pub fn new(config: RateLimitConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        Ok(Self { state: Arc::new(State::new(config, OneKey, Instruments::new(KIND))) })
    }
}

impl<K: Keying> RateLimitLayer<K> {
    /// Keeps a rate for each value of `key`: a client, a tenant. Call this before the layer is used.
    ///
    /// ```
    /// use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layer = RateLimitLayer::new(RateLimitConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keyed_by<Request, Key, F>(self, key: F) -> RateLimitLayer<ByKey<F, Key>>
    where
        F: Fn(&Request) -> Key + Send + Sync + 'static,
        Key: Hash + Eq + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> RateLimitLayer<L> {
        let state = Arc::new(State::new(self.config(), keying, self.state.instruments.clone()));
        state.readiness_limit.inherit(&self.state.readiness_limit);
        registry::replace(Arc::clone(&state) as _);
        RateLimitLayer { state }
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
        Arc::clone(&self.state) as _
    }

    /// Applies `config` to all clones of this value, all services made by them and all keys.
    ///
    /// - **At once:** the rate (`permits`, `per`, `burst`) and `max_keys`. The available permits are kept, up to the new `burst`, and
    ///   refill at the new rate. After a change from one a minute to a hundred a second, the first waiting call starts within 10 ms. A
    ///   larger `burst` fills over time, as after a pause. A lower `max_keys` forgets keys whose state is as good as new, and other
    ///   keys once theirs is.
    /// - **For new calls:** `max_wait`, `max_waiting` and `max_hold`. A waiting call keeps its position in the queue and the bound of its wait. If
    ///   the new rate is too slow for that bound, the call is refused when the bound is reached.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// ```
    /// use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
    ///
    /// let layer = RateLimitLayer::new(RateLimitConfig::default())?;
    /// layer.reload(&RateLimitConfig { permits: 200, ..layer.config() })?;
    /// assert_eq!(layer.config().permits, 200);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](RateLimitLayer::new); all faults are listed, and nothing changes.
    pub fn reload(&self, config: &RateLimitConfig) -> Result<(), InvalidConfig> {
        observed::reload([&self.state.instruments], config.validate())?;
        self.state.apply(config)();
        Ok(())
    }

    /// The config in force.
    pub fn config(&self) -> RateLimitConfig {
        self.state.config.get()
    }

    /// Shows how many calls wait.
    pub fn handle(&self) -> RateLimitHandle<K> {
        RateLimitHandle::new(Arc::clone(&self.state))
    }
}

max_unready!([K: Keying] RateLimitLayer<K>, |layer| layer.state.readiness_limit);

impl<S, K: Keying> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimit<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.state))
    }
}

impl<K: Keying> Clone for RateLimitLayer<K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl<K: Keying> fmt::Debug for RateLimitLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("config", &self.config()).finish_non_exhaustive()
    }
}
