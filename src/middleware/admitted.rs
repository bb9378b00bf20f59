//! A call that needs a permit: it gets one at once, waits for one, or is refused; and holds it while it runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::admission::gate::{Admitted, Claim, Gate, Permit, Waiter};
use crate::ground::context;
use crate::ground::error::{Reason, Rejected};
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant, Stopwatch};
use crate::ground::verdict::{Guard, Verdict};
use crate::middleware::bound::Bound;
use crate::middleware::gates::Terms;
use crate::middleware::inner::{BoundedCall, Call, Inner, Taken, reject};

/// A permit that lives in a response until the call is over.
#[derive(Debug, Default)]
pub struct Hold {
    permit: Option<Permit>,
    expires: Option<Instant>,
}

impl Guard for Hold {
    fn settle(self, _verdict: Verdict) {}

    fn expires(&self) -> Option<tokio::time::Instant> {
        self.expires.map(Instant::to_tokio)
    }
}

/// A permit at work, and the measure of what the callee needs for the call. Dropped, the call was abandoned.
#[derive(Debug)]
pub(crate) struct Serving {
    hold: Hold,
    watch: Stopwatch,
}

impl Serving {
    fn new(permit: Permit, now: Instant, expires: Instant) -> Self {
        Self { hold: Hold { permit: Some(permit), expires: Some(expires) }, watch: Stopwatch::start(now) }
    }

    /// There is an answer. The permit is held on to for as long as the guard lives.
    pub(crate) fn answered(mut self, verdict: Verdict) -> Hold {
        self.learn(verdict);
        Hold { permit: self.hold.permit.take(), expires: self.hold.expires }
    }

    fn learn(&self, verdict: Verdict) {
        if let Some(permit) = &self.hold.permit {
            let now = time::now();
            permit.gate().learn(now, verdict, self.watch.elapsed(now));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.learn(Verdict::Abandoned);
    }
}

/// See the module.
#[pin_project(project = AdmittedProj)]
#[derive(Debug)]
pub(crate) enum AdmittedCall<S, Req, F> {
    /// Nothing is sent => Over.
    Refused(Rejected),
    /// Stands in the gate's line => Running, or Over if it is refused.
    Waiting {
        waiter: Waiter,
        inner: Option<(Taken<S>, Req)>,
        terms: Terms,
        deadline: Option<Instant>,
    },
    /// Has its permit => Over. The call goes before the permit: no one else starts while it is still there.
    Running {
        #[pin]
        call: BoundedCall<S, Req, F>,
        serving: Option<Serving>,
    },
    Over,
}

/// An answer, and the permit unless the call never had one.
pub(crate) struct Answer<Res> {
    pub(crate) result: Result<Res, BoxError>,
    pub(crate) serving: Option<Serving>,
}

impl<S, Req, F> AdmittedCall<S, Req, F> {
    /// Asks `gate` for as many permits as the call weighs, for the layer called `layer`.
    pub(crate) fn new(
        layer: &'static str,
        gate: &Arc<Gate>,
        inner: &mut Inner<S>,
        request: Req,
        now: Instant,
        weight: u32,
        terms: &Terms,
    ) -> Self
    where
        S: Service<Req, Future = F> + Clone,
    {
        let context::Context { deadline, priority, .. } = context::current();
        let claim = Claim { weight, priority, deadline };
        match Gate::admit(gate, now, claim, terms.max_waiting(gate.limit()), terms.max_wait) {
            Ok(Admitted::Now(permit)) => {
                let bound = bound(now, deadline, terms);
                let serving = Serving::new(permit, now, bound.instant());
                let call = inner.call(request, now);
                Self::Running { call: BoundedCall::new(call, bound), serving: Some(serving) }
            }
            Ok(Admitted::Later(waiter)) => {
                // Who waits for us holds nothing of the inner service, which becomes ready again when it is its turn.
                inner.let_go();
                Self::Waiting { waiter, inner: Some((inner.take(), request)), terms: *terms, deadline }
            }
            Err(refusal) => {
                inner.let_go();
                Self::Refused(Rejected::new(layer, refusal.reason).with_retry_after(refusal.retry_after))
            }
        }
    }

    pub(crate) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, layer: &'static str) -> Poll<Answer<S::Response>>
    where
        S: Service<Req, Future = F>,
        S::Error: Into<BoxError>,
        F: Future<Output = Result<S::Response, S::Error>>,
    {
        loop {
            match self.as_mut().project() {
                AdmittedProj::Refused(rejected) => {
                    let error = reject(rejected.clone());
                    self.set(Self::Over);
                    return Poll::Ready(Answer { result: Err(error), serving: None });
                }
                AdmittedProj::Waiting { waiter, inner, terms, deadline } => {
                    let permit = match ready!(waiter.poll(cx)) {
                        Ok(permit) => permit,
                        Err(reason) => {
                            self.set(Self::Over);
                            let error = reject(Rejected::new(layer, reason));
                            return Poll::Ready(Answer { result: Err(error), serving: None });
                        }
                    };
                    let Some((inner, request)) = inner.take() else { return Poll::Pending };
                    let now = time::now();
                    let bound = bound(now, *deadline, terms);
                    let serving = Some(Serving::new(permit, now, bound.instant()));
                    let call: Call<S, Req, F> = inner.call(request);
                    self.set(Self::Running { call: BoundedCall::new(call, bound), serving });
                }
                AdmittedProj::Running { call, serving } => {
                    let result = match serving {
                        Some(serving) => ready!(serving.watch.watch(|| call.poll(cx, layer, None))),
                        None => ready!(call.poll(cx, layer, None)),
                    };
                    let serving = serving.take();
                    self.set(Self::Over);
                    return Poll::Ready(Answer { result, serving });
                }
                AdmittedProj::Over => return Poll::Pending,
            }
        }
    }
}

/// The hold of a permit begins with the permit, not with the wait for it.
fn bound(now: Instant, deadline: Option<Instant>, terms: &Terms) -> Bound {
    match deadline {
        Some(deadline) => Bound::at(deadline, Reason::DeadlineExceeded),
        None => Bound::at(now + terms.max_hold, Reason::HoldExceeded),
    }
}
