//! The client's side: writes the call's deadline, attempt and priority into its request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use ::http::{HeaderMap, Request, Response};
use pin_project::pin_project;
use tower::{Layer, Service};

use super::config::PropagationConfig;
use super::headers::HttpPropagator;
use super::propagator::{Propagated, Propagator};
use crate::ground::context::Priority;
use crate::ground::error::InvalidConfig;
use crate::ground::scope::{self, ExhaustedBefore};
use crate::ground::settings::{Cached, Settings};
use crate::ground::time;
use crate::ground::validation::Validation;
use crate::layers::call::accessors::accessors;

/// Writes the time left, the number of the attempt and the priority into each request. See the [module](super).
#[derive(Clone, Debug)]
pub struct InjectLayer<P = HttpPropagator> {
    propagator: P,
    allowance: Arc<Settings<Duration>>,
}

impl InjectLayer<HttpPropagator> {
    /// For HTTP.
    ///
    /// # Errors
    /// If a setting is out of its range, or two headers have one name; all faults are listed, with the path of the field.
    pub fn http(config: PropagationConfig) -> Result<Self, InvalidConfig> {
        let allowance = Arc::new(Settings::new(config.allowance));
        Ok(Self { propagator: config.propagator()?, allowance })
    }
}

impl<P: Propagator> InjectLayer<P> {
    /// For any protocol over HTTP. `allowance` is kept back of the time left, but never more than a tenth of it.
    ///
    /// # Errors
    /// If `allowance` is more than ten years.
    pub fn new(propagator: P, allowance: Duration) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| validation.bounded("allowance", allowance))?;
        Ok(Self { propagator, allowance: Arc::new(Settings::new(allowance)) })
    }

    /// Writes the current call into the headers of its request.
    fn write(&self, allowance: Duration, headers: &mut HeaderMap) {
        let context = scope::current();
        let attempt = context.before_all().saturating_add(1);
        let priority = Some(context.priority()).filter(|priority| *priority != Priority::default());
        if context.deadline.is_none() && attempt == 1 && priority.is_none() {
            return;
        }
        let time_left = context.last_instant().map(|deadline| {
            let left = deadline.since(time::call_start());
            left - allowance.min(left / 10)
        });
        // The caller may have set tighter values on this request, so both bounds hold.
        let there = self.propagator.extract(headers);
        let shorter = |left: &Duration| there.time_left.is_none_or(|there| *left < there);
        let call = Propagated {
            time_left: time_left.filter(shorter),
            attempt: attempt.max(there.attempt),
            priority: there.priority.or(priority),
        };
        self.propagator.inject(&call, headers);
    }
}

impl<P> InjectLayer<P> {
    /// Replaces the allowance from now on. The value must be valid.
    pub(crate) fn set_allowance(&self, allowance: Duration) {
        self.allowance.store(allowance);
    }
}

impl<S, P: Clone> Layer<S> for InjectLayer<P> {
    type Service = Inject<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Inject { inner, layer: self.clone(), allowance: self.allowance.cached(|allowance| *allowance) }
    }
}

/// A client whose requests carry their deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct Inject<S, P = HttpPropagator> {
    inner: S,
    layer: InjectLayer<P>,
    allowance: Cached<Duration>,
}

accessors!([S, P] Inject<S, P>, forwards_readiness);

impl<S, P, B, R> Service<Request<B>> for Inject<S, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    P: Propagator,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Injected<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let allowance = *self.layer.allowance.refresh(&mut self.allowance, |allowance| *allowance);
        self.layer.write(allowance, request.headers_mut());
        let exhausted_before = scope::exhausted_before();
        Injected { future: self.inner.call(request), exhausted_before, propagator: self.layer.propagator.clone() }
    }
}

/// A call whose response may say "do not retry".
#[pin_project]
#[derive(Debug)]
pub struct Injected<F, P> {
    #[pin]
    future: F,
    exhausted_before: ExhaustedBefore,
    propagator: P,
}

impl<F, P, R, E> Future for Injected<F, P>
where
    F: Future<Output = Result<Response<R>, E>>,
    P: Propagator,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.future.poll(cx));
        if let Ok(response) = &answer {
            if this.propagator.forbids_retry(response) {
                // A service without a retry of its own passes "do not retry" on to the tiers above.
                scope::mark_exhausted();
            } else if !this.propagator.has_failed(response) {
                scope::recovered(*this.exhausted_before);
            }
        }
        Poll::Ready(answer)
    }
}
