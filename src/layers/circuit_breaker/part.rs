//! The breaker of a part of another layer: of an endpoint of a balancer. There is no service around it: the owner asks it before it
//! chooses the part, and hands over the client of the call.

use std::fmt;

use tower::Service;

use super::checks;
use super::config::CircuitBreakerConfig;
use super::future::ResponseFuture;
use super::handle::CircuitBreakerHandle;
use super::layer::CircuitBreakerLayer;
use super::state::Breaker;
use super::ticket::Ticket;
use crate::algorithm::breaker::Break;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::InvalidConfig;
use crate::ground::sync::Arc;
use crate::ground::time::Instant;
use crate::layers::call::inner::Taken;
use crate::layers::core::readiness_limit::ReadinessLimit;

/// See the module.
pub(crate) struct PartBreaker {
    layer: CircuitBreakerLayer,
    breaker: Arc<Breaker>,
}

impl PartBreaker {
    /// The calls of all parts that wait for readiness are counted together, in `limit`.
    pub(crate) fn new(limit: ReadinessLimit, config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        let layer = CircuitBreakerLayer::limited_by(limit, config)?;
        let breaker = Arc::clone(layer.core.state().common());
        Ok(Self { layer, breaker })
    }

    /// Applies changed settings. They may wake tasks: call it without holding a lock.
    pub(crate) fn reload(&self, config: &CircuitBreakerConfig) {
        self.layer.core.apply(config)();
    }

    pub(crate) fn handle(&self) -> CircuitBreakerHandle {
        self.layer.handle()
    }

    /// Calls `owner` after each step that changes what calls may do. It can be set once.
    pub(crate) fn on_change(&self, owner: impl Fn() + Send + Sync + 'static) {
        self.breaker.state_changes().tell(Box::new(owner));
    }

    /// Whether all calls pass. A closed breaker costs one load.
    #[inline]
    pub(crate) fn admits_all(&self) -> bool {
        self.breaker.is_closed() || self.breaker.admits_all()
    }

    /// Until when no call passes, as far as time alone decides. A closed breaker costs one load.
    #[inline]
    pub(crate) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        if self.breaker.is_closed() { None } else { self.breaker.refuses_until(now) }
    }

    /// The break in which no call passes, if one is under way. A closed breaker costs one load.
    pub(crate) fn current_break(&self, now: Instant) -> Option<Break> {
        if self.breaker.is_closed() { None } else { self.breaker.current_break(now) }
    }

    /// Ends the break of this generation early, since the part has shown otherwise that it is back: the breaker becomes half-open. It
    /// may wake tasks: call it without holding a lock.
    pub(crate) fn end_break(&self, generation: u64, now: Instant) {
        self.breaker.end_break(generation, now);
    }

    /// Admits a call that starts now. `None`: it is open, or half-open without a free probe slot. A ticket that is dropped unused
    /// is no evidence.
    #[inline]
    pub(crate) fn admit(&self, deadline: CallDeadline, now: Instant) -> Option<Ticket> {
        let pass = self.breaker.admit(deadline.at().since(now), now).ok()?;
        checks::ensure_for(&self.breaker, &pass, now);
        Some(Ticket::new(Arc::clone(&self.breaker), Some(pass), now, deadline).of_endpoint())
    }

    /// Whether calls may pass for want of another part, although the breaker is not closed: connections are refused, and that is all
    /// that is known. A closed breaker costs one load.
    pub(crate) fn is_unreachable(&self) -> bool {
        !self.breaker.is_closed() && self.breaker.last_resort().is_some()
    }

    /// Admits a call for want of another part. `None` unless connections are refused here: a call that would fail in another way, or
    /// hang, is refused. The first call that is taken closes the breaker.
    pub(crate) fn admit_last_resort(&self, deadline: CallDeadline, now: Instant) -> Option<Ticket> {
        let pass = self.breaker.last_resort()?;
        Some(Ticket::new(Arc::clone(&self.breaker), Some(pass), now, deadline).of_endpoint())
    }

    /// The admitted call of this client, which is polled for readiness first.
    #[inline]
    pub(crate) fn call<S, Req, C>(
        &self,
        ticket: Ticket,
        client: S,
        request: Req,
        classifier: C,
    ) -> ResponseFuture<S, Req, S::Future, C>
    where
        S: Service<Req>,
    {
        let limit = self.layer.core.state().readiness_limit().clone();
        ResponseFuture::new(Taken::not_ready(client, limit).call(request), ticket, classifier)
    }
}

impl fmt::Debug for PartBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartBreaker").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}
