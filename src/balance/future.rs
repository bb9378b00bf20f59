use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tokio::sync::futures::OwnedNotified;
use tower::{BoxError, Service};

use super::client::CallClient;
use super::endpoint_call::EndpointCall;
use super::pick::Place;
use super::service_parts::{CallStart, ServiceParts};
use super::waiting_call::{Placed, StartedCall, WaitingCall};
use crate::ground::error::Reason;
use crate::ground::scope;
use crate::ground::sync::foreign;
use crate::ground::time;
use crate::ground::verdict::{self, AtResponse, Classify};
use crate::layers::call::inner::reject;
use crate::layers::circuit_breaker::{self, Ticket};
use crate::layers::retry::report;
use crate::telemetry::Unreported;

/// A call of an endpoint, or its refusal.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    state: State<S, Req, F, C>,
    parts: Arc<ServiceParts<S>>,
    classifier: C,
}

#[allow(clippy::large_enum_variant, reason = "nearly all calls run at once, and are not to be allocated")]
#[pin_project(project = StateProj)]
enum State<S, Req, F, C> {
    /// Nothing is sent => Over.
    Refused(Option<Unreported>),
    /// The same for an attempt beside others, which ends no call: it is not counted as a refusal => Over.
    NoOther(Option<Unreported>),
    /// The usable endpoints are full => Running, or Over if it is refused.
    Waiting(Box<WaitingCall<S, Req>>),
    /// The call is at its endpoint => Over. It is dropped before it is recorded.
    Running {
        #[pin]
        future: circuit_breaker::ResponseFuture<CallClient<S>, Req, F, C>,
        client_id: NonZeroU64,
        endpoint_call: Option<EndpointCall>,
        /// Set while the client is not ready.
        moved: Option<Pin<Box<OwnedNotified>>>,
    },
    Over,
}

impl<S, Req, C: Clone> ResponseFuture<S, Req, S::Future, C>
where
    S: Service<Req> + Clone,
{
    #[inline]
    pub(super) fn new(started: StartedCall<S, Req>, parts: Arc<ServiceParts<S>>, classifier: C) -> Self {
        Self { state: State::new(started, &classifier), parts, classifier }
    }
}

impl<S, Req, C: Clone> State<S, Req, S::Future, C>
where
    S: Service<Req> + Clone,
{
    #[inline]
    fn new(started: StartedCall<S, Req>, classifier: &C) -> Self {
        match started {
            StartedCall::At(placed) => Self::running(placed, classifier),
            StartedCall::Waiting(call) => Self::Waiting(call),
            StartedCall::Refused(refusal) => Self::Refused(Some(refusal)),
            StartedCall::NoOther(refusal) => Self::NoOther(Some(refusal)),
        }
    }

    #[inline]
    fn running(Placed { place, client, request }: Placed<S, Req>, classifier: &C) -> Self {
        let Place { permit, ticket, bound, .. } = place;
        let (endpoint, client_id) = (permit.endpoint(), client.id);
        scope::note_endpoint(endpoint.id);
        report::note_endpoint(&endpoint.key);
        if ticket.is_probe() {
            scope::note_probe(endpoint.id);
        }
        let future = endpoint.common.breakers.call(ticket, client, request, classifier.clone());
        Self::Running { future, client_id, endpoint_call: Some(EndpointCall::new(permit, bound)), moved: None }
    }
}

impl<S, Req, F, C> Future for ResponseFuture<S, Req, F, C>
where
    S: Service<Req, Future = F> + Clone,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response> + Classify<<C as Classify<S::Response>>::Held<Ticket>>,
{
    type Output = Result<<C as Classify<<C as Classify<S::Response>>::Held<Ticket>>>::Held<EndpointCall>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let output = match this.state.as_mut().project() {
                StateProj::Running { mut future, client_id, endpoint_call: slot, moved } => {
                    let Some(endpoint_call) = slot.as_mut() else { return Poll::Pending };
                    endpoint_call.polled();
                    let was_unready = future.is_client_unready();
                    let (result, answer) = scope::noting_answer(|| future.as_mut().poll(cx));
                    let Poll::Ready(result) = result else {
                        if future.is_client_unready() && has_moved(this.parts, endpoint_call, *client_id, moved, cx) {
                            let (Some(request), Some(left)) = (future.take_unsent(), slot.take()) else {
                                return Poll::Pending;
                            };
                            let (now, context, kept) = (time::now(), scope::current(), Some(left.leave()));
                            let start = CallStart { now, context, kept, avoids: true };
                            let next = State::new(this.parts.start(request, start), this.classifier);
                            this.state.set(next);
                            continue;
                        }
                        return Poll::Pending;
                    };
                    let now = endpoint_call.answered(answer);
                    let Some(mut endpoint_call) = slot.take() else { return Poll::Pending };
                    match result {
                        Ok(response) => {
                            let verdict = this.classifier.classify(Ok(&response));
                            if let Some(others) = this.classifier.reported_in_flight(&response) {
                                endpoint_call.reported(others, now);
                            }
                            // If the call is over with this, the guard needs no second clock read.
                            Ok(time::with_start(now, || this.classifier.hold(response, verdict, endpoint_call)))
                        }
                        Err(error) => {
                            if future.is_client_unusable() {
                                endpoint_call.client_failed(*client_id);
                            } else if was_unready {
                                endpoint_call.client_was_unready(now);
                            }
                            if verdict::is_refusal(&error) {
                                endpoint_call.was_refused();
                            }
                            let verdict = verdict::judge::<S::Response>(&*this.classifier, Err(&error));
                            endpoint_call.end(verdict, now);
                            Err(error)
                        }
                    }
                }
                StateProj::Waiting(call) => match ready!(call.poll(cx)) {
                    Ok(placed) => {
                        let running = State::running(placed, this.classifier);
                        this.state.set(running);
                        continue;
                    }
                    Err(refusal) => Err(refuse(refusal)),
                },
                StateProj::Refused(refusal) => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    Err(refuse(refusal))
                }
                StateProj::NoOther(refusal) => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    Err(refusal.into_rejected().into())
                }
                // Polled after completion, as fused futures may be.
                StateProj::Over => return Poll::Pending,
            };
            this.state.set(State::Over);
            return Poll::Ready(output);
        }
    }
}

/// Whether the endpoint has left the set or has moved to another address while its client was not ready. If not, the call is woken for
/// that.
#[cold]
fn has_moved<S: Clone>(
    parts: &ServiceParts<S>,
    call: &EndpointCall,
    client_id: NonZeroU64,
    moved: &mut Option<Pin<Box<OwnedNotified>>>,
    cx: &mut Context<'_>,
) -> bool {
    let Some(endpoint) = call.endpoint() else { return false };
    let mut is_new = moved.is_none();
    loop {
        let notified = moved.get_or_insert_with(|| Box::pin(Arc::clone(&endpoint.moved).notified_owned()));
        let is_notified = foreign(|| notified.as_mut().poll(cx)).is_ready();
        // After the poll: a change from here on is not missed.
        if (is_new || is_notified) && !parts.connections.is_current(&parts.balancer, endpoint.id, client_id) {
            return true;
        }
        if !is_notified {
            return false;
        }
        (*moved, is_new) = (None, true);
    }
}

fn refuse(refusal: Unreported) -> BoxError {
    if refusal.rejected().reason() == Reason::NoEndpoints {
        // A retry in the tiers above would only multiply the refusals.
        scope::mark_exhausted();
    }
    reject(refusal)
}

#[pinned_drop]
impl<S, Req, F, C> PinnedDrop for ResponseFuture<S, Req, F, C> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let StateProj::Running { future, endpoint_call, .. } = this.state.as_mut().project() else { return };
        let Some(endpoint_call) = endpoint_call.take() else { return };
        let is_unready = future.is_client_unready();
        // The breaker measures the call when it is dropped.
        let ((), answer) = scope::noting_answer(|| this.state.set(State::Over));
        endpoint_call.given_up(answer.filter(|_| !is_unready));
    }
}

impl<S, Req, F, C> fmt::Debug for ResponseFuture<S, Req, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused(_) | State::NoOther(_) => "Refused",
            State::Waiting(_) => "Waiting",
            State::Running { .. } => "Running",
            State::Over => "Over",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
