use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::Layer;

use super::config::RateLimitConfig;
use super::handle::RateLimitHandle;
use super::service::RateLimit;
use super::state::State;
use crate::admission::keyed::{ByKey, Keying, OneKey};
use crate::ground::config::Validation;
use crate::ground::error::InvalidConfig;

/// Bounds how many calls start in a stretch of time. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the rate.
pub struct RateLimitLayer<K: Keying = OneKey> {
    state: Arc<State<K>>,
}

impl RateLimitLayer {
    /// One rate for all calls, of any service.
    ///
    /// # Errors
    /// If a number or `per` is zero, a duration more than ten years, or there is more than one permit a nanosecond.
    pub fn new(config: RateLimitConfig) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| config.validate(validation))?;
        Ok(Self { state: Arc::new(State::new(config, OneKey)) })
    }
}

impl<K: Keying> RateLimitLayer<K> {
    /// Gives each value of `key` a rate of its own: a client, a tenant. To be said before the layer is used.
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
        Key: Hash + Eq + Clone + Send + Sync + 'static,
    {
        self.with_keying(ByKey::new(key))
    }

    /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
    pub fn with_keying<L: Keying>(self, keying: L) -> RateLimitLayer<L> {
        RateLimitLayer { state: Arc::new(State::new(self.state.config.clone(), keying)) }
    }

    /// Shows how many calls wait.
    pub fn handle(&self) -> RateLimitHandle<K> {
        RateLimitHandle::new(Arc::clone(&self.state))
    }
}

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
        f.debug_struct("RateLimitLayer").field("config", &self.state.config).finish_non_exhaustive()
    }
}
