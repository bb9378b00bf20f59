use std::fmt;
use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::future::ResponseFuture;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::ground::verdict::{AtResponse, Classify};
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::Inner;
use crate::layers::core::clone_fields;
use crate::layers::permits::admitted::AdmittedCall;
use crate::layers::permits::gates::{GateSettings, Gates};
use crate::layers::permits::upload::Upload;

/// A service that refuses calls that it cannot serve in time. See the [module](super).
pub struct LoadShed<S, C = AtResponse, K: Keying = OneKey> {
    inner: Inner<S>,
    gates: Arc<Gates<K>>,
    settings: Cached<GateSettings>,
    classifier: C,
}

impl<S, C, K: Keying> LoadShed<S, C, K> {
    pub(super) fn new(inner: S, gates: Arc<Gates<K>>, classifier: C) -> Self {
        let settings = gates.cached_settings();
        Self { inner: Inner::new(inner), gates, settings, classifier }
    }
}

accessors!([S, C, K: Keying] LoadShed<S, C, K>);
clone_fields!([S: Clone, C: Clone, K: Keying] LoadShed<S, C, K> { inner, gates, settings, classifier });

impl<S, C, K, Req> Service<Req> for LoadShed<S, C, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    K: KeyBy<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, C>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    // Inlined, because a returned future is copied, and the future of a stack is large.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let now = time::call_start();
        let call = AdmittedCall::new(
            &self.gates,
            self.gates.settings(&mut self.settings),
            &mut self.inner,
            request,
            now,
            1,
            Upload::offered(),
        );
        ResponseFuture::new(call, self.classifier.clone())
    }
}

impl<S: fmt::Debug, C, K: Keying> fmt::Debug for LoadShed<S, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShed").field("inner", &self.inner).finish_non_exhaustive()
    }
}
