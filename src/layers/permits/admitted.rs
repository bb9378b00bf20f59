//! A call that needs a permit: it gets one at once, waits for one, or is refused. It holds the permit while it runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::admission::gate::{Admitted, Gate, PermitRequest, Waiter};
use crate::admission::keyed::KeyBy;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Guard, Verdict};
use crate::layers::call::breaker_ahead::Lookahead;
use crate::layers::call::inner::{BoundedCall, Call, Inner, Taken, reject};
use crate::layers::permits::gates::{GateSettings, Gates};
use crate::layers::permits::hold::{Hold, Serving};
use crate::layers::permits::upload::Upload;
use crate::layers::permits::work;
use crate::telemetry::Unreported;

/// See the module.
#[pin_project(project = AdmittedProj)]
#[derive(Debug)]
pub(crate) enum AdmittedCall<S, Req, F> {
    /// Nothing is sent => Over.
    Refused(Option<Unreported>),
    /// The call waits in the gate's queue => Running, or Over if it is refused.
    Waiting {
        waiter: Waiter,
        inner: Option<(Taken<S>, Req)>,
        max_hold: Duration,
        context: scope::Context,
        upload: Option<Arc<Upload>>,
        ahead: Option<Lookahead>,
    },
    /// The call has its permit => Over. The call is dropped before the permit, so that no other call starts while it still exists.
    Running {
        #[pin]
        call: BoundedCall<S, Req, F>,
        serving: Option<Serving>,
        layer_id: LayerId,
    },
    Over,
}

/// A response, its verdict, and the permit.
pub(crate) struct AdmittedAnswer<Res> {
    pub(crate) response: Res,
    pub(crate) verdict: Verdict,
    pub(crate) hold: Hold,
    /// When the response arrived.
    pub(crate) now: Instant,
}

impl<S, Req, F> AdmittedCall<S, Req, F> {
    /// Requests as many permits as the call weighs from the request's gate. With an `upload`, the call returns them while its body
    /// waits for the client.
    #[inline]
    pub(crate) fn new<K>(
        gates: &Gates<K>,
        settings: GateSettings,
        inner: &mut Inner<S>,
        request: Req,
        now: Instant,
        weight: u32,
        upload: Option<Arc<Upload>>,
    ) -> Self
    where
        S: Service<Req, Future = F> + Clone,
        K: KeyBy<Req>,
    {
        let context = scope::current();
        let layer_id = gates.instruments().layer_id();
        if settings.is_off() {
            let deadline = if context.deadline.is_some() {
                CallDeadline::within(now, &context, settings.max_hold)
            } else {
                CallDeadline::never()
            };
            let call = BoundedCall::new(inner.call(request, now, gates.readiness_limit()), deadline);
            return Self::Running { call, serving: Some(Serving::free(now)), layer_id };
        }
        if let Some(refusal) = gates.refuse_for_lag(now, &context) {
            inner.release();
            return Self::Refused(Some(refusal));
        }
        let gate = gates.gate(&request);
        let wanted = PermitRequest::new(weight, &context);
        let max_waiting = settings.max_waiting(gate.limit());
        match Gate::admit(gate, now, wanted, max_waiting, settings.max_wait) {
            Ok(Admitted::Now(permit)) => {
                let deadline = CallDeadline::within(now, &context, settings.max_hold);
                let mut serving = Serving::new(permit, now, deadline, upload);
                let call =
                    work::around(&mut serving.permit_state, || inner.call(request, now, gates.readiness_limit()));
                let call = BoundedCall::new(call, deadline);
                Self::Running { call, serving: Some(serving), layer_id }
            }
            Ok(Admitted::Later(waiter)) => {
                // A waiting call must not hold a reservation of the inner service. The service becomes ready again once the call has
                // its permit.
                inner.release();
                let ahead = gates.look_ahead(&request);
                Self::Waiting {
                    waiter,
                    ahead,
                    inner: Some((inner.take(gates.readiness_limit()), request)),
                    max_hold: settings.max_hold,
                    context,
                    upload,
                }
            }
            Err(refusal) => {
                inner.release();
                Self::Refused(Some(refusal.by(gates.instruments())))
            }
        }
    }

    /// Polls the call. `judge` returns the verdict on a result.
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        judge: impl FnOnce(Result<&S::Response, &BoxError>) -> Verdict,
    ) -> Poll<Result<AdmittedAnswer<S::Response>, BoxError>>
    where
        S: Service<Req, Future = F>,
        S::Error: Into<BoxError>,
        F: Future<Output = Result<S::Response, S::Error>>,
    {
        loop {
            match self.as_mut().project() {
                AdmittedProj::Running { mut call, serving: running, layer_id } => {
                    let Some(serving) = running else { return Poll::Pending };
                    serving.polled = true;
                    let result = ready!(work::around(&mut serving.permit_state, || call.as_mut().poll(cx, *layer_id)));
                    let (deadline, layer_id) = (call.deadline(), *layer_id);
                    let Some(serving) = running.take() else { return Poll::Pending };
                    let now = time::now();
                    let hold = serving.answered(now, deadline, layer_id);
                    self.set(Self::Over);
                    let verdict = judge(result.as_ref());
                    return Poll::Ready(match result {
                        Ok(response) => Ok(AdmittedAnswer { response, verdict, hold, now }),
                        Err(error) => {
                            time::with_start(now, || hold.settle(verdict));
                            Err(error)
                        }
                    });
                }
                AdmittedProj::Waiting { waiter, inner, max_hold, context, upload, ahead } => {
                    let permit = match waiter.poll(cx) {
                        Poll::Ready(Ok(permit)) => permit,
                        Poll::Pending => {
                            // A call that its breaker would refuse need not wait for a permit.
                            let Some(ahead) = ahead else { return Poll::Pending };
                            let refusal = ready!(ahead.poll(cx, context.deadline));
                            self.set(Self::Over);
                            return Poll::Ready(Err(reject(refusal)));
                        }
                        Poll::Ready(Err(reason)) => {
                            let gate = waiter.gate();
                            let refusal = gate.refuse(reason, context.deadline).by(gate.instruments());
                            self.set(Self::Over);
                            return Poll::Ready(Err(reject(refusal)));
                        }
                    };
                    let Some((inner, request)) = inner.take() else { return Poll::Pending };
                    let now = time::now();
                    // The bound starts with the permit, not with the wait for it.
                    let deadline = CallDeadline::within(now, context, *max_hold);
                    let layer_id = permit.gate().instruments().layer_id();
                    let mut serving = Serving::new(permit, now, deadline, upload.take());
                    let call: Call<S, Req, F> = work::around(&mut serving.permit_state, || inner.call(request));
                    self.set(Self::Running {
                        call: BoundedCall::new(call, deadline),
                        serving: Some(serving),
                        layer_id,
                    });
                }
                AdmittedProj::Refused(refusal) => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    let error = reject(refusal);
                    self.set(Self::Over);
                    return Poll::Ready(Err(error));
                }
                AdmittedProj::Over => return Poll::Pending,
            }
        }
    }
}
