//! The inner service, its readiness, and one call of it.
//!
//! `poll_ready` of a layer reserves nothing of its own and refuses nothing. It polls the inner service. If that is ready, it is
//! called directly, without a clone. If not, the layer reports ready all the same, moves the polled service into the call and waits
//! there, where the wait has a bound. So an idle readied clone never holds a permit, and a caller is never stuck in `poll_ready`,
//! where no deadline applies.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Reason;
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::layers::call::bound::poll_deadline;
use crate::layers::core::observed;
use crate::layers::core::readiness_limit::{ReadinessLimit, ReadinessSlot};
use crate::telemetry::{self, Unreported};

/// An inner service and the last result of its `poll_ready`.
#[derive(Debug)]
pub(crate) struct Inner<S> {
    service: S,
    readiness: Readiness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Not polled since the last call.
    Unknown,
    Ready,
    /// Polled, and not ready yet. It has our waker, so the call must wait for this very value and not for a clone.
    Pending,
}

/// A clone starts unready: a reservation belongs to the service that was polled.
impl<S: Clone> Clone for Inner<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), readiness: Readiness::Unknown }
    }
}

impl<S> Inner<S> {
    #[inline]
    pub(crate) fn new(service: S) -> Self {
        Self { service, readiness: Readiness::Unknown }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.service
    }

    /// The last result of `poll_ready` may no longer hold: the service may have been replaced or called. So it is polled again
    /// before a call, and a refusal drops what it may have reserved.
    pub(crate) fn get_mut(&mut self) -> &mut S {
        self.readiness = Readiness::Pending;
        &mut self.service
    }

    pub(crate) fn into_inner(self) -> S {
        self.service
    }

    /// The result of the layer's own `poll_ready`: ready, or an error of the inner service.
    #[inline]
    pub(crate) fn poll_ready<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
    {
        // Also if it was ready: it may have failed since, and a caller that asks again (a reconnecting service does) must see that.
        self.readiness = match self.service.poll_ready(cx) {
            Poll::Ready(Ok(())) => Readiness::Ready,
            Poll::Ready(Err(error)) => {
                self.readiness = Readiness::Unknown;
                return Poll::Ready(Err(error));
            }
            Poll::Pending => Readiness::Pending,
        };
        Poll::Ready(Ok(()))
    }

    /// Calls the inner service if it is ready. Otherwise moves it into the call, which waits for it within `readiness_limit`. `now`
    /// is handed over to the next layer.
    #[inline(always)]
    pub(crate) fn call<Req>(
        &mut self,
        request: Req,
        now: Instant,
        readiness_limit: &ReadinessLimit,
    ) -> Call<S, Req, S::Future>
    where
        S: Service<Req> + Clone,
    {
        match self.take_unready(readiness_limit) {
            None => self.call_ready(request, now),
            Some(service) => service.call(request),
        }
    }

    /// As [`call`](Self::call), without a reading of the clock: that of the layer around this one is left for the inner service.
    #[inline(always)]
    pub(crate) fn pass<Req>(&mut self, request: Req, readiness_limit: &ReadinessLimit) -> Call<S, Req, S::Future>
    where
        S: Service<Req> + Clone,
    {
        match self.take_unready(readiness_limit) {
            None => Call::Running { future: self.service.call(request) },
            Some(service) => service.call(request),
        }
    }

    /// Takes the service out for the coming call, if it is not ready.
    #[inline(always)]
    pub(crate) fn take_unready(&mut self, readiness_limit: &ReadinessLimit) -> Option<Taken<S>>
    where
        S: Clone,
    {
        let is_ready = self.readiness == Readiness::Ready;
        self.readiness = Readiness::Unknown;
        (!is_ready).then(|| self.take(readiness_limit))
    }

    /// Calls the service, which is ready.
    #[inline(always)]
    pub(crate) fn call_ready<Req>(&mut self, request: Req, now: Instant) -> Call<S, Req, S::Future>
    where
        S: Service<Req>,
    {
        let _started = time::start_at(now);
        Call::Running { future: self.service.call(request) }
    }

    /// Takes the polled service out, for a call that has to wait for something else first.
    #[inline]
    pub(crate) fn take(&mut self, readiness_limit: &ReadinessLimit) -> Taken<S>
    where
        S: Clone,
    {
        let clone = self.service.clone();
        let service = mem::replace(&mut self.service, clone);
        let ready = mem::replace(&mut self.readiness, Readiness::Unknown) == Readiness::Ready;
        Taken { service, ready, readiness_limit: readiness_limit.clone() }
    }

    /// A clone of the service for further attempts of a call.
    pub(crate) fn clone_service(&self) -> S
    where
        S: Clone,
    {
        self.service.clone()
    }

    /// Replaces a polled service by a fresh clone when the call is refused. This releases whatever the service has reserved or is
    /// queued for.
    pub(crate) fn release(&mut self)
    where
        S: Clone,
    {
        if mem::replace(&mut self.readiness, Readiness::Unknown) != Readiness::Unknown {
            self.service = self.service.clone();
        }
    }
}

/// A service taken out of its layer, for one call.
#[derive(Debug)]
pub(crate) struct Taken<S> {
    service: S,
    ready: bool,
    readiness_limit: ReadinessLimit,
}

impl<S> Taken<S> {
    #[inline]
    pub(crate) fn call<Req>(mut self, request: Req) -> Call<S, Req, S::Future>
    where
        S: Service<Req>,
    {
        if self.ready {
            return Call::Running { future: self.service.call(request) };
        }
        Call::Waiting {
            readiness_limit: self.readiness_limit,
            service: self.service,
            request: Some(request),
            slot: None,
        }
    }

    /// A service that has to become ready first, within `readiness_limit`.
    pub(crate) fn not_ready(service: S, readiness_limit: ReadinessLimit) -> Self {
        Self { service, ready: false, readiness_limit }
    }
}

/// One call of an inner service, from the wait for readiness to the response.
#[pin_project(project = CallProj)]
#[derive(Debug)]
pub(crate) enum Call<S, Req, F> {
    /// The layer refuses the call => Over.
    Refused(Option<Unreported>),
    /// The service is not ready => Running.
    Waiting { service: S, request: Option<Req>, readiness_limit: ReadinessLimit, slot: Option<ReadinessSlot> },
    /// The call is in flight => Over.
    Running {
        #[pin]
        future: F,
    },
    /// The service's `poll_ready` has failed. The call has ended, and holds nothing.
    Unusable,
    /// It has ended or was cancelled, and holds nothing.
    Over,
}

impl<S, Req, F> Call<S, Req, F> {
    /// Whether the service is not ready, so that nothing has been sent yet.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Whether the call has ended because the service's `poll_ready` failed.
    pub(crate) fn is_unusable(&self) -> bool {
        matches!(self, Self::Unusable)
    }

    /// Ends the call and returns its request, if the service is still not ready.
    pub(crate) fn take_unsent(mut self: Pin<&mut Self>) -> Option<Req> {
        let CallProj::Waiting { request, .. } = self.as_mut().project() else { return None };
        let request = request.take();
        self.set(Self::Over);
        request
    }
}

impl<S, Req, F> Call<S, Req, F>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
{
    /// Polls the call of the layer with this id: waits for readiness, calls the service, waits for the response.
    #[inline]
    pub(crate) fn poll_call(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        layer_id: LayerId,
    ) -> Poll<Result<S::Response, CallError>> {
        loop {
            match self.as_mut().project() {
                CallProj::Running { future } => {
                    let result = ready!(future.poll(cx));
                    self.set(Self::Over);
                    return Poll::Ready(result.map_err(|error| CallError::Called(error.into())));
                }
                CallProj::Refused(refusal) => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    self.set(Self::Over);
                    return Poll::Ready(Err(CallError::NotCalled(reject(refusal))));
                }
                CallProj::Waiting { service, request, readiness_limit, slot } => match service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        let Some(request) = request.take() else { return Poll::Pending };
                        let future = service.call(request);
                        self.set(Self::Running { future });
                    }
                    Poll::Ready(Err(error)) => {
                        self.set(Self::Unusable);
                        return Poll::Ready(Err(CallError::NotCalled(error.into())));
                    }
                    Poll::Pending => {
                        if slot.is_none() {
                            match readiness_limit.try_acquire() {
                                Ok(own) => *slot = Some(own),
                                Err(numbers) => {
                                    self.set(Self::Over);
                                    let refusal = telemetry::refuse(layer_id, Reason::NotReady).with_numbers(numbers);
                                    return Poll::Ready(Err(CallError::NotCalled(reject(refusal))));
                                }
                            }
                        }
                        // Nothing has been sent yet, so this wait must not count as the dependency's time.
                        scope::mark_local_wait();
                        return Poll::Pending;
                    }
                },
                // Polled after completion, as fused futures may be.
                CallProj::Unusable | CallProj::Over => return Poll::Pending,
            }
        }
    }

    /// As [`poll_call`](Self::poll_call), where it does not matter whether the inner service was called.
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        layer_id: LayerId,
    ) -> Poll<Result<S::Response, BoxError>> {
        self.poll_call(cx, layer_id).map_err(CallError::into_inner)
    }

    /// Polls the call first and its deadline second, or a result that is ready in time would be lost.
    #[inline]
    pub(crate) fn poll_until(
        mut self: Pin<&mut Self>,
        deadline: &CallDeadline,
        timer: &mut Timer,
        cx: &mut Context<'_>,
        layer_id: LayerId,
    ) -> Poll<Result<S::Response, BoxError>> {
        if let Poll::Ready(answer) = self.as_mut().poll(cx, layer_id) {
            // The timer still holds the waker of this task, which would be woken for nothing.
            timer.disarm();
            return Poll::Ready(answer);
        }
        let reason = ready!(poll_deadline(deadline, timer, cx));
        // Release all that the call holds now, since the caller may keep this future.
        self.set(Self::Over);
        Poll::Ready(Err(reject(telemetry::refuse(layer_id, reason))))
    }
}

/// How a call ended without a response.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The inner service was called.
    Called(BoxError),
    /// The inner service was not called: nothing was sent.
    NotCalled(BoxError),
}

impl CallError {
    #[inline]
    pub(crate) fn into_inner(self) -> BoxError {
        match self {
            Self::Called(error) | Self::NotCalled(error) => error,
        }
    }
}

/// A call that ends at its deadline.
#[pin_project]
#[derive(Debug)]
pub(crate) struct BoundedCall<S, Req, F> {
    #[pin]
    call: Call<S, Req, F>,
    deadline: CallDeadline,
    timer: Timer,
}

impl<S, Req, F> BoundedCall<S, Req, F> {
    #[inline(always)]
    pub(crate) fn new(call: Call<S, Req, F>, deadline: CallDeadline) -> Self {
        Self { call, deadline, timer: Timer::new() }
    }

    /// A call that the layer refuses.
    pub(crate) fn refused(refusal: Unreported) -> Self {
        Self::new(Call::Refused(Some(refusal)), CallDeadline::never())
    }

    pub(crate) fn deadline(&self) -> CallDeadline {
        self.deadline
    }

    /// See [`Call::poll_until`].
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        layer_id: LayerId,
    ) -> Poll<Result<S::Response, BoxError>>
    where
        S: Service<Req, Future = F>,
        S::Error: Into<BoxError>,
        F: Future<Output = Result<S::Response, S::Error>>,
    {
        let this = self.project();
        this.call.poll_until(this.deadline, this.timer, cx, layer_id)
    }
}

/// Reports a refusal and converts it into an error.
pub(crate) fn reject(refusal: Unreported) -> BoxError {
    let rejected = refusal.report();
    observed::request_publication();
    rejected.into()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::future::{Ready, ready};

    use futures::task::noop_waker_ref;

    use super::*;

    /// A connection that is ready, and closes when it is told to.
    #[derive(Clone, Default)]
    struct Connection {
        is_closed: bool,
    }

    impl Service<()> for Connection {
        type Response = ();
        type Error = &'static str;
        type Future = Ready<Result<(), &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(if self.is_closed { Err("closed") } else { Ok(()) })
        }

        fn call(&mut self, (): ()) -> Self::Future {
            ready(Ok(()))
        }
    }

    #[test]
    fn service_that_fails_after_it_was_ready_is_seen() {
        let cx = &mut Context::from_waker(noop_waker_ref());
        let mut inner = Inner::new(Connection::default());
        assert_eq!(inner.poll_ready(cx), Poll::Ready(Ok(())));
        inner.service.is_closed = true;
        assert_eq!(inner.poll_ready(cx), Poll::Ready(Err("closed")));
        assert_eq!(inner.readiness, Readiness::Unknown);
    }
}
