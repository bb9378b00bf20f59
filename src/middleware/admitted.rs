//! A call that needs a permit: it gets one at once, waits for one, or is refused; and holds it while it runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::admission::gate::{Admitted, Claim, Gate, Permit, Waiter};
use crate::admission::keyed::KeyBy;
use crate::ground::context;
use crate::ground::error::Rejected;
use crate::ground::time::{self, Instant, Stopwatch};
use crate::ground::verdict::{Expiry, Guard, Verdict};
use crate::middleware::bound::Bound;
use crate::middleware::breaker_ahead::Lookahead;
use crate::middleware::gates::Gates;
use crate::middleware::inner::{BoundedCall, Call, Inner, Taken, reject};
use crate::middleware::observed;

/// A permit at work, and the measure of what the callee needs for the call. Dropped, the call was abandoned.
#[derive(Debug)]
pub(crate) struct Serving {
    permit: Option<Permit>,
    watch: Stopwatch,
    /// A call that nobody has ever polled says nothing about the callee, however long it was kept.
    polled: bool,
}

impl Serving {
    fn new(permit: Permit, now: Instant) -> Self {
        Self { permit: Some(permit), watch: Stopwatch::start(now), polled: false }
    }

    /// The head of the answer is there: from now on only such time counts in which someone waits for the rest.
    #[inline]
    fn answered(mut self, now: Instant, expiry: Expiry) -> Hold {
        Hold { took: self.watch.elapsed(now), permit: self.permit.take(), expiry }
    }
}

impl Drop for Serving {
    #[inline]
    fn drop(&mut self) {
        if let (Some(permit), true) = (&self.permit, self.polled) {
            let now = time::now();
            learn(permit, now, Verdict::Abandoned, self.watch.elapsed(now));
        }
    }
}

/// A call has ended: what it says is learned, and told.
#[inline]
fn learn(permit: &Permit, now: Instant, verdict: Verdict, took: Duration) {
    let gate = permit.gate();
    gate.learn(now, verdict, took);
    observed::record(gate.instruments(), verdict, took);
}

/// A permit that lives in a response until the call is over.
#[derive(Debug)]
pub struct Hold {
    /// Gone once it is settled.
    permit: Option<Permit>,
    /// The callee's own time on the call.
    took: Duration,
    expiry: Expiry,
}

impl Guard for Hold {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        if let Some(permit) = self.permit.take() {
            // In the moment of the answer its reading is handed over to us.
            learn(&permit, time::call_start(), verdict, self.took);
        }
    }

    fn waited(&mut self, time: Duration) {
        self.took += time;
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            learn(&permit, time::now(), Verdict::Abandoned, self.took);
        }
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
        max_hold: Duration,
        context: context::Context,
        ahead: Option<Lookahead>,
    },
    /// Has its permit => Over. The call goes before the permit: no one else starts while it is still there.
    Running {
        #[pin]
        call: BoundedCall<S, Req, F>,
        serving: Option<Serving>,
    },
    Over,
}

/// An answer, what it means, and the permit: to be held on to, or let go of.
pub(crate) struct Answer<Res> {
    pub(crate) response: Res,
    pub(crate) verdict: Verdict,
    pub(crate) hold: Hold,
    /// When it was there.
    pub(crate) now: Instant,
}

impl<S, Req, F> AdmittedCall<S, Req, F> {
    /// Asks the request's gate for as many permits as the call weighs.
    #[inline]
    pub(crate) fn new<K>(gates: &Gates<K>, inner: &mut Inner<S>, request: Req, now: Instant, weight: u32) -> Self
    where
        S: Service<Req, Future = F> + Clone,
        K: KeyBy<Req>,
    {
        let gate = gates.gate(&request);
        let terms = gates.terms();
        let context = context::current();
        let claim = Claim { weight, priority: context.priority(), deadline: context.deadline };
        let max_waiting = terms.max_waiting(gate.limit());
        match Gate::admit(gate, now, claim, max_waiting, terms.max_wait) {
            Ok(Admitted::Now(permit)) => {
                let serving = Some(Serving::new(permit, now));
                let call = inner.call(request, now, gates.unready());
                Self::Running { call: BoundedCall::new(call, Bound::within(now, &context, terms.max_hold)), serving }
            }
            Ok(Admitted::Later(waiter)) => {
                // Who waits for us holds nothing of the inner service, which becomes ready again when it is its turn.
                inner.let_go();
                let ahead = gates.look_ahead(&request);
                Self::Waiting {
                    waiter,
                    ahead,
                    inner: Some((inner.take(gates.unready()), request)),
                    max_hold: terms.max_hold,
                    context,
                }
            }
            Err(refusal) => {
                inner.let_go();
                let instruments = gates.instruments().clone();
                Self::Refused(Rejected::new(instruments, refusal.reason).with_retry_after(refusal.retry_after))
            }
        }
    }

    /// Polls the call. `judge` says what a result means.
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        judge: impl FnOnce(Result<&S::Response, &BoxError>) -> Verdict,
    ) -> Poll<Result<Answer<S::Response>, BoxError>>
    where
        S: Service<Req, Future = F>,
        S::Error: Into<BoxError>,
        F: Future<Output = Result<S::Response, S::Error>>,
    {
        loop {
            match self.as_mut().project() {
                AdmittedProj::Running { mut call, serving } => {
                    let Some(Serving { permit: Some(permit), watch, polled }) = serving else {
                        return Poll::Pending;
                    };
                    let source = permit.gate().instruments().source();
                    *polled = true;
                    let result = ready!(watch.watch(|| call.as_mut().poll(cx, source, None)));
                    let expiry = call.bound().expiry(source);
                    let hold = serving.take().map(|serving| {
                        let now = time::now();
                        (now, serving.answered(now, expiry))
                    });
                    self.set(Self::Over);
                    let Some((now, hold)) = hold else { return Poll::Pending };
                    let verdict = judge(result.as_ref());
                    return Poll::Ready(match result {
                        Ok(response) => Ok(Answer { response, verdict, hold, now }),
                        Err(error) => {
                            time::hand_over(now, || hold.settle(verdict));
                            Err(error)
                        }
                    });
                }
                AdmittedProj::Waiting { waiter, inner, max_hold, context, ahead } => {
                    let permit = match waiter.poll(cx) {
                        Poll::Ready(Ok(permit)) => permit,
                        Poll::Pending => {
                            // What would be refused with a permit need not wait for it.
                            let Some(ahead) = ahead else { return Poll::Pending };
                            let rejected = ready!(ahead.poll(cx, context.deadline));
                            self.set(Self::Over);
                            return Poll::Ready(Err(reject(rejected)));
                        }
                        Poll::Ready(Err(reason)) => {
                            let instruments = waiter.gate().instruments().clone();
                            self.set(Self::Over);
                            return Poll::Ready(Err(reject(Rejected::new(instruments, reason))));
                        }
                    };
                    let Some((inner, request)) = inner.take() else { return Poll::Pending };
                    let now = time::now();
                    // The hold of a permit begins with the permit, not with the wait for it.
                    let bound = Bound::within(now, context, *max_hold);
                    let serving = Some(Serving::new(permit, now));
                    let call: Call<S, Req, F> = inner.call(request);
                    self.set(Self::Running { call: BoundedCall::new(call, bound), serving });
                }
                AdmittedProj::Refused(rejected) => {
                    let error = reject(rejected.clone());
                    self.set(Self::Over);
                    return Poll::Ready(Err(error));
                }
                AdmittedProj::Over => return Poll::Pending,
            }
        }
    }
}
