use std::sync::Arc;

use tower::Layer;

use super::KIND;
use super::config::RateLimitConfig;
use super::handle::RateLimitHandle;
use super::service::RateLimit;
use super::state::RateLimitState;
use crate::admission::keyed::{Keying, OneKey};
use crate::ground::error::InvalidConfig;
use crate::layers::core::{LayerCore, clone_fields, keyed_methods, layer_methods};

/// Limits how many calls start per period. See the [module](super).
///
/// All services that this value makes, and all clones of it, share the rate.
pub struct RateLimitLayer<K: Keying = OneKey> {
    core: LayerCore<RateLimitState<K>, RateLimitConfig>,
}

impl RateLimitLayer {
    /// One rate for all calls, of any service.
    ///
    /// # Errors
    /// If a number or `per` is zero, a duration more than ten years, or there is more than one permit per nanosecond.
    pub fn new(config: RateLimitConfig) -> Result<Self, InvalidConfig> {
        Ok(Self { core: LayerCore::new(KIND, config, |parts| RateLimitState::new(parts, OneKey))? })
    }
}

impl<K: Keying> RateLimitLayer<K> {
    /// Shows how many calls wait.
    pub fn handle(&self) -> RateLimitHandle<K> {
        RateLimitHandle::new(Arc::clone(self.core.state()))
    }
}

keyed_methods! {
    /// Keeps a rate for each value of `key`: a client, a tenant. Call this before the layer is used.
    ///
    /// ```
    /// use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
    ///
    /// struct Request {
    ///     tenant: u32,
    /// }
    ///
    /// let layer = RateLimitLayer::new(RateLimitConfig::default())?.keyed_by(|request: &Request| request.tenant);
    /// # drop(layer);
    /// # Ok::<(), seawall::error::InvalidConfig>(())
    /// ```
    RateLimitLayer<[] K []> {}
}

layer_methods!(RateLimitLayer<K: Keying>, RateLimitConfig);
clone_fields!([K: Keying] RateLimitLayer<K> { core });

impl<S, K: Keying> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimit<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(self.core.state()))
    }
}
