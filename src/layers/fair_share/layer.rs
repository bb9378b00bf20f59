use std::hash::Hash;

use tower::Layer;

use super::service::FairShare;

/// Gives the calls of each key their share of the queues inside. See the [module](super).
#[derive(Clone, Copy)]
pub struct FairShareLayer<F> {
    key: F,
}

impl<F> FairShareLayer<F> {
    /// `key` returns the key of a request: its tenant, its route, or a pair of both. It owns its data: clone what it takes from the request.
    /// `None` is a key like any other.
    ///
    /// Do not use the path of a request as its route: each `/orders/17` would be a key with a share of its own. Axum's `MatchedPath` is the
    /// route. With a pair, a tenant gets a share for each route that it uses.
    ///
    /// ```
    /// use seawall::fair_share::FairShareLayer;
    ///
    /// struct Request {
    ///     tenant: u32,
    ///     bytes: usize,
    /// }
    ///
    /// let by_tenant = FairShareLayer::by(|request: &Request| request.tenant);
    /// let by_size = FairShareLayer::by(|request: &Request| request.bytes.checked_ilog2());
    /// # drop((by_tenant, by_size));
    /// ```
    pub fn by<Request, Key>(key: F) -> Self
    where
        F: Fn(&Request) -> Key,
        Key: Hash,
    {
        Self { key }
    }
}

impl<S, F: Clone> Layer<S> for FairShareLayer<F> {
    type Service = FairShare<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        FairShare::new(inner, self.key.clone())
    }
}

impl<F> std::fmt::Debug for FairShareLayer<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairShareLayer").finish_non_exhaustive()
    }
}
