use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::active::ActiveFault;
use super::fault::ChaosFault;
use super::inject::Inject;
use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Injected;
use crate::ground::layer_id::LayerId;
use crate::ground::scope::{self, Context};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Expiry;
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::inner::{Call, Taken, reject};
use crate::telemetry;

/// A call, with or without a fault.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, I> {
    #[pin]
    state: ChaosFutureState<S, Req, F>,
    /// `None` without a fault. Then the call has no bound either.
    faulty: Option<Faulty>,
    inject: I,
    layer_id: LayerId,
}

/// The fault of a call, and the bound of the call.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) fault: ChaosFault,
    /// `None` once the fault is over, or in the body of the response.
    pub(super) active: Option<ActiveFault>,
    pub(super) injected: Injected,
    pub(super) deadline: CallDeadline,
    pub(super) timer: Timer,
}

#[pin_project(project = ChaosFutureStateProj)]
#[derive(Debug)]
enum ChaosFutureState<S, Req, F> {
    /// The call waits for the end of its delay => Running
    Delayed {
        inner: Option<(Taken<S>, Req)>,
        until: Instant,
        timer: Timer,
        context: Context,
    },
    /// The call never ends by itself, or its delay leaves no time to send it => Over
    Hanging,
    /// The fault answers the call => Over
    Answered,
    /// The inner service has the call => Over
    Running {
        #[pin]
        call: Call<S, Req, F>,
    },
    Over,
}

impl<S, Req, F, I> ResponseFuture<S, Req, F, I> {
    pub(super) fn passing(call: Call<S, Req, F>, layer_id: LayerId, inject: I) -> Self {
        Self { state: ChaosFutureState::Running { call }, faulty: None, inject, layer_id }
    }

    fn with(state: ChaosFutureState<S, Req, F>, faulty: Faulty, layer_id: LayerId, inject: I) -> Self {
        Self { state, faulty: Some(faulty), inject, layer_id }
    }

    pub(super) fn faulty(call: Call<S, Req, F>, faulty: Faulty, layer_id: LayerId, inject: I) -> Self {
        Self::with(ChaosFutureState::Running { call }, faulty, layer_id, inject)
    }

    pub(super) fn delayed(
        inner: (Taken<S>, Req),
        until: Instant,
        context: Context,
        faulty: Faulty,
        layer_id: LayerId,
        inject: I,
    ) -> Self {
        let state = ChaosFutureState::Delayed { inner: Some(inner), until, timer: Timer::new(), context };
        Self::with(state, faulty, layer_id, inject)
    }

    pub(super) fn hanging(faulty: Faulty, layer_id: LayerId, inject: I) -> Self {
        Self::with(ChaosFutureState::Hanging, faulty, layer_id, inject)
    }

    pub(super) fn answered(faulty: Faulty, layer_id: LayerId, inject: I) -> Self {
        Self::with(ChaosFutureState::Answered, faulty, layer_id, inject)
    }
}

impl<S, Req, F, I> Future for ResponseFuture<S, Req, F, I>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    I: Inject<Req, S::Response>,
{
    type Output = Result<I::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                ChaosFutureStateProj::Delayed { inner, until, timer, context } => {
                    let is_over = |faulty: &Faulty| faulty.deadline.at() <= time::now();
                    // A call that is polled late is not sent any more.
                    if timer.poll_until(cx, *until).is_pending() || this.faulty.as_ref().is_some_and(is_over) {
                        break;
                    }
                    let (inner, context) = (inner.take(), *context);
                    // The fault is over when the call is sent.
                    if let Some(faulty) = this.faulty.as_mut() {
                        faulty.active = None;
                    }
                    let Some((inner, request)) = inner else { return Poll::Pending };
                    let _entered = scope::enter(context.with_enforced(scope::current().enforced()));
                    let call = inner.call(request);
                    this.state.set(ChaosFutureState::Running { call });
                }
                ChaosFutureStateProj::Hanging => break,
                ChaosFutureStateProj::Answered => {
                    this.state.set(ChaosFutureState::Over);
                    let Some(Faulty { fault, .. }) = this.faulty.take() else { return Poll::Pending };
                    return Poll::Ready(this.inject.answer(fault));
                }
                ChaosFutureStateProj::Running { call } => {
                    let Poll::Ready(result) = call.poll(cx, *this.layer_id) else { break };
                    this.state.set(ChaosFutureState::Over);
                    let faulty = this.faulty.take();
                    return Poll::Ready(result.and_then(|response| match faulty {
                        None => Ok(this.inject.pass(response, None)),
                        Some(Faulty { fault: ChaosFault::Drop, injected, .. }) => Err(injected.into()),
                        Some(Faulty { fault, active: Some(active), deadline, .. }) if fault.affects_body() => {
                            let expiry = Expiry::of(*this.layer_id, &deadline);
                            Ok(this.inject.damage(response, fault, active, expiry))
                        }
                        Some(Faulty { injected, .. }) => Ok(this.inject.pass(response, Some(injected))),
                    }));
                }
                // Polled after completion, as fused futures may be.
                ChaosFutureStateProj::Over => return Poll::Pending,
            }
        }
        let Some(faulty) = this.faulty.as_mut() else { return Poll::Pending };
        let why = ready!(poll_deadline(&faulty.deadline, &mut faulty.timer, cx));
        // Release all that the call holds now, since the caller may keep this future.
        this.state.set(ChaosFutureState::Over);
        *this.faulty = None;
        Poll::Ready(Err(reject(telemetry::refuse(*this.layer_id, why))))
    }
}
