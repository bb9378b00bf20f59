//! The breakers of the parts of another layer: of the endpoints of a balancer. There is no service around them: the owner asks a breaker
//! before it chooses the part, and hands over the client of the call.

use std::fmt;
use std::sync::Arc as Shared;

use tower::Service;

use super::KIND;
use super::checks;
use super::config::CircuitBreakerConfig;
use super::future::ResponseFuture;
use super::settings::BreakerSettings;
use super::state::Breaker;
use super::ticket::Ticket;
use crate::algorithm::breaker::{Break, State};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::layers::call::inner::Taken;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::telemetry::{EndpointLog, Instruments};

/// What the breakers of the parts of one layer value share.
pub(crate) struct PartBreakers {
    settings: Arc<Settings<BreakerSettings>>,
    instruments: Instruments,
    /// Those of the layer value, which has a name where the breakers have none.
    owner: Instruments,
    /// The calls of all parts that wait for readiness are counted together.
    readiness_limit: ReadinessLimit,
}

/// The breaker of one part.
pub(crate) struct PartBreaker {
    breaker: Arc<Breaker>,
}

impl PartBreakers {
    /// With a valid config.
    pub(crate) fn new(readiness_limit: ReadinessLimit, config: &CircuitBreakerConfig, owner: Instruments) -> Self {
        let settings = Arc::new(Settings::new(BreakerSettings::of(config)));
        Self { settings, instruments: Instruments::new(KIND), owner, readiness_limit }
    }

    /// The breaker of a new part with this key.
    pub(crate) fn breaker(&self, config: &CircuitBreakerConfig, key: Shared<str>) -> PartBreaker {
        let settings = Arc::clone(&self.settings);
        let breaker = Breaker::new(settings, config.span(), config.mode(), None, self.instruments.clone());
        let breaker = breaker.of_endpoint(EndpointLog::new(self.owner.clone(), key));
        PartBreaker { breaker: Arc::new(breaker) }
    }

    /// Replaces the settings of all breakers with valid ones. After that, each of them has to [adopt](PartBreaker::adopt) them.
    pub(crate) fn reload(&self, config: &CircuitBreakerConfig) {
        self.settings.store(BreakerSettings::of(config));
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
        let limit = self.readiness_limit.clone();
        ResponseFuture::new(Taken::not_ready(client, limit).call(request), ticket, classifier)
    }
}

impl PartBreaker {
    /// Adopts replaced settings. It may wake tasks: call it without holding a lock.
    pub(crate) fn adopt(&self, config: &CircuitBreakerConfig) {
        self.breaker.adopt(config.span(), config.mode(), time::now());
    }

    pub(crate) fn state(&self) -> State {
        self.breaker.snapshot(time::now()).state
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
}

impl fmt::Debug for PartBreakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartBreakers").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for PartBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartBreaker").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}
