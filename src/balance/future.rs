use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower::BoxError;

use super::endpoint_call::EndpointCall;
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::stopwatch::Stopwatch;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{self, AtResponse, Classify};
use crate::layers::call::inner::reject;
use crate::telemetry::Unreported;

/// A call of an endpoint, or its refusal.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F, C = AtResponse> {
    #[pin]
    state: State<F>,
    classifier: C,
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<F> {
    /// Nothing is sent => Over.
    Refused(Option<Unreported>),
    /// The call is at its endpoint => Over. It is dropped before it is recorded.
    Running {
        #[pin]
        future: F,
        stopwatch: Stopwatch,
        endpoint_call: Option<EndpointCall>,
    },
    Over,
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn new(future: F, endpoint_call: EndpointCall, now: Instant, classifier: C) -> Self {
        let stopwatch = Stopwatch::start(now);
        Self { state: State::Running { future, stopwatch, endpoint_call: Some(endpoint_call) }, classifier }
    }

    pub(super) fn refused(refusal: Unreported, classifier: C) -> Self {
        Self { state: State::Refused(Some(refusal)), classifier }
    }
}

impl<F, C, Res> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Res, BoxError>>,
    C: Classify<Res>,
{
    type Output = Result<C::Held<EndpointCall>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let classifier = &*this.classifier;
        let output = match this.state.as_mut().project() {
            StateProj::Running { future, stopwatch, endpoint_call: slot } => {
                let Some(endpoint_call) = slot.as_mut() else { return Poll::Pending };
                let was_polled = endpoint_call.is_polled();
                endpoint_call.polled();
                let result = stopwatch.watch(|| future.poll(cx));
                if !was_polled && result.is_pending() {
                    // Before its first poll the call was kept by its caller, which is not the endpoint's time.
                    stopwatch.restart(time::now());
                }
                let result = ready!(result);
                let now = time::now();
                endpoint_call.answered(stopwatch.elapsed(now));
                let Some(mut endpoint_call) = slot.take() else { return Poll::Pending };
                match result {
                    Ok(response) => {
                        let verdict = classifier.classify(Ok(&response));
                        // If the call is over with this, the guard needs no second clock read.
                        Ok(scope::with_start(now, || classifier.hold(response, verdict, endpoint_call)))
                    }
                    Err(error) => {
                        endpoint_call.end(verdict::judge(classifier, Err(&error)), now);
                        Err(error)
                    }
                }
            }
            StateProj::Refused(refusal) => {
                let Some(refusal) = refusal.take() else { return Poll::Pending };
                if refusal.rejected().reason() == Reason::NoEndpoints {
                    // A retry in the tiers above would only multiply the refusals.
                    scope::mark_exhausted();
                }
                Err(reject(refusal))
            }
            // Polled after completion, as fused futures may be.
            StateProj::Over => return Poll::Pending,
        };
        this.state.set(State::Over);
        Poll::Ready(output)
    }
}
