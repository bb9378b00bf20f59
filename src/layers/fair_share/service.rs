use std::fmt;
use std::hash::Hash;
use std::task::{Context, Poll};

use tower::Service;

use super::with_key::{WithKey, hash_of};
use crate::ground::scope;
use crate::layers::call::accessors::accessors;

/// A service whose calls have the key of their request. See the [module](super).
#[derive(Clone)]
pub struct FairShare<S, F> {
    inner: S,
    key: F,
}

impl<S, F> FairShare<S, F> {
    pub(super) fn new(inner: S, key: F) -> Self {
        Self { inner, key }
    }
}

accessors!([S, F] FairShare<S, F>, forwards_readiness);

impl<S, F, Key, Req> Service<Req> for FairShare<S, F>
where
    S: Service<Req>,
    F: Fn(&Req) -> Key,
    Key: Hash,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WithKey<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let key = hash_of(&(self.key)(&request));
        let _entered = scope::enter(scope::current().with_share_key(Some(key)));
        WithKey::new(key, self.inner.call(request))
    }
}

impl<S: fmt::Debug, F> fmt::Debug for FairShare<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairShare").field("inner", &self.inner).finish_non_exhaustive()
    }
}
