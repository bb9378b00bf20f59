use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::fault::ChaosFault;
use super::future::{Faulty, ResponseFuture};
use super::inject::{AnyProtocol, Inject};
use super::state::{AppliedFaults, ChaosState, DrawnFault, Switch};
use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::chance;
use crate::ground::error::{Injected, Reason};
use crate::ground::scope;
use crate::ground::settings::Cached;
use crate::ground::time;
use crate::layers::call::accessors::accessors;
use crate::layers::call::inner::{Call, Inner};

/// A service whose calls get faults. See the [module](super).
#[derive(Clone, Debug)]
pub struct Chaos<S, I = AnyProtocol> {
    inner: Inner<S>,
    state: Arc<ChaosState>,
    switch: Cached<Switch>,
    inject: I,
}

impl<S, I> Chaos<S, I> {
    pub(super) fn new(inner: S, state: Arc<ChaosState>, inject: I) -> Self {
        let switch = state.applied.cached(AppliedFaults::switch);
        Self { inner: Inner::new(inner), state, switch, inject }
    }
}

accessors!([S, I] Chaos<S, I>);

impl<S, I, Req> Service<Req> for Chaos<S, I>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    I: Inject<Req, S::Response>,
{
    type Response = I::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, S::Future, I>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Switch { is_on, max_hold } = *self.state.applied.refresh(&mut self.switch, AppliedFaults::switch);
        let layer_id = self.state.instruments.layer_id();
        if !is_on {
            let call = self.inner.pass(request, &self.state.readiness_limit);
            return ResponseFuture::passing(call, layer_id, self.inject.clone());
        }
        let (now, context) = (time::call_start(), scope::current());
        if context.has_expired(now) {
            self.inner.release();
            let refused = Call::Refused(Some(self.state.instruments.refuse(Reason::DeadlineExpired)));
            return ResponseFuture::passing(refused, layer_id, self.inject.clone());
        }
        let matches = |matching: &_| self.inject.matches(&request, matching);
        let (fault, active) = match self.state.draw(now, matches, |fault| self.inject.supports(fault)) {
            DrawnFault::Fault(fault, active) => (fault, active),
            DrawnFault::Spared => {
                let call = self.inner.call(request, now, &self.state.readiness_limit);
                return ResponseFuture::passing(call, layer_id, self.inject.clone());
            }
            DrawnFault::Over => {
                self.switch.set(Switch { is_on: false, max_hold });
                let call = self.inner.call(request, now, &self.state.readiness_limit);
                return ResponseFuture::passing(call, layer_id, self.inject.clone());
            }
        };
        let deadline = CallDeadline::within(now, &context, max_hold);
        let injected = Injected::new(fault.as_str());
        let (inject, faulty) =
            (self.inject.clone(), Faulty { fault, active: Some(active), injected, deadline, timer: Timer::new() });
        match fault {
            ChaosFault::Latency(delay) => {
                // A call that waits must not hold a reservation of the inner service.
                self.inner.release();
                let until = now + delay.at(chance::sample());
                if deadline.at() <= until {
                    return ResponseFuture::hanging(faulty, layer_id, inject);
                }
                let inner = self.inner.take(&self.state.readiness_limit);
                ResponseFuture::delayed((inner, request), until, context, faulty, layer_id, inject)
            }
            ChaosFault::Refuse { retry_after } => {
                self.inner.release();
                let refusal = self.state.instruments.refuse(Reason::Injected).with_retry_after(retry_after);
                ResponseFuture::faulty(Call::Refused(Some(refusal)), faulty, layer_id, inject)
            }
            ChaosFault::Hang => {
                self.inner.release();
                ResponseFuture::hanging(faulty, layer_id, inject)
            }
            ChaosFault::Status { .. } | ChaosFault::Code { .. } => {
                self.inner.release();
                ResponseFuture::answered(faulty, layer_id, inject)
            }
            ChaosFault::Drop
            | ChaosFault::Stall { .. }
            | ChaosFault::Drip { .. }
            | ChaosFault::Truncate { .. }
            | ChaosFault::Reset { .. }
            | ChaosFault::NoTrailers => {
                let call = self.inner.call(request, now, &self.state.readiness_limit);
                ResponseFuture::faulty(call, faulty, layer_id, inject)
            }
        }
    }
}
