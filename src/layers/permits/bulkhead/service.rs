use std::fmt;
use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::future::ResponseFuture;
use super::weight::{OnePermit, Weigh};
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::Inner;
use crate::layers::core::clone_fields;
use crate::layers::permits::admitted::AdmittedCall;
use crate::layers::permits::gates::{GateSettings, Gates};
use crate::layers::permits::hold::Hold;

/// A service with a limit on how many calls run at once. See the [module](super).
pub struct Bulkhead<S, C = AtResponse, K: Keying = OneKey, W = OnePermit> {
    inner: Inner<S>,
    gates: Arc<Gates<K>>,
    settings: Cached<GateSettings>,
    classifier: C,
    weigh: W,
}

impl<S, C, K: Keying, W> Bulkhead<S, C, K, W> {
    pub(super) fn new(inner: S, gates: Arc<Gates<K>>, classifier: C, weigh: W) -> Self {
        let settings = gates.cached_settings();
        Self { inner: Inner::new(inner), gates, settings, classifier, weigh }
    }
}

accessors!([S, C, K: Keying, W] Bulkhead<S, C, K, W>);
clone_fields!([S: Clone, C: Clone, K: Keying, W: Clone] Bulkhead<S, C, K, W> { inner, gates, settings, classifier, weigh });

impl<S, C, K, W, Req> Service<Req> for Bulkhead<S, C, K, W>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    K: KeyBy<Req>,
    W: Weigh<Req>,
{
    type Response = C::Held<Hold>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    // Inlined, because a returned future is copied, and the future of a stack is large.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let weight = self.weigh.weight(&request);
        let call = AdmittedCall::new(
            &self.gates,
            self.gates.settings(&mut self.settings),
            &mut self.inner,
            request,
            now,
            weight,
            None,
        );
        ResponseFuture::new(call, self.classifier.clone())
    }
}

impl<S: fmt::Debug, C, K: Keying, W> fmt::Debug for Bulkhead<S, C, K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead").field("inner", &self.inner).finish_non_exhaustive()
    }
}
