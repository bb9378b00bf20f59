//! How faults look in a protocol.

use std::fmt;

use tower::BoxError;

use super::active::ActiveFault;
use super::config::Matching;
use super::fault::ChaosFault;
use crate::ground::error::Injected;
use crate::ground::verdict::Expiry;

/// How faults look in a protocol, whose requests are of the type `Req` and whose responses are of the type `Res`.
///
/// This trait is sealed: there are [`AnyProtocol`], `http::HttpFaults`, and [`Only`] around them.
pub trait Inject<Req, Res>: sealed::SealedInject + Clone {
    /// A response, with or without a fault.
    type Response;

    #[doc(hidden)]
    fn matches(&self, request: &Req, matching: &Matching) -> bool;

    /// A response without a fault in its body.
    #[doc(hidden)]
    fn pass(&self, response: Res, injected: Option<Injected>) -> Self::Response;

    /// The response of a call that is not sent.
    #[doc(hidden)]
    fn answer(&self, fault: ChaosFault) -> Result<Self::Response, BoxError>;

    /// A response with a fault in its body, until `expiry`.
    #[doc(hidden)]
    fn damage(&self, response: Res, fault: ChaosFault, active: ActiveFault, expiry: Expiry) -> Self::Response;
}

pub(crate) mod sealed {
    use super::ChaosFault;

    /// Not nameable outside of the crate, which seals the trait.
    pub trait SealedInject {
        /// Whether the fault is possible in this protocol.
        fn supports(&self, fault: &ChaosFault) -> bool;
    }
}

/// Faults of any service: those that need no knowledge of a protocol.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AnyProtocol;

impl sealed::SealedInject for AnyProtocol {
    fn supports(&self, fault: &ChaosFault) -> bool {
        !fault.affects_body()
    }
}

impl<Req, Res> Inject<Req, Res> for AnyProtocol {
    type Response = Res;

    fn matches(&self, _request: &Req, matching: &Matching) -> bool {
        matching.is_any()
    }

    fn pass(&self, response: Res, _injected: Option<Injected>) -> Res {
        response
    }

    fn answer(&self, fault: ChaosFault) -> Result<Res, BoxError> {
        Err(Injected::new(fault.as_str()).into())
    }

    fn damage(&self, response: Res, _fault: ChaosFault, _active: ActiveFault, _expiry: Expiry) -> Res {
        response
    }
}

/// Faults of `I`, only for the requests that a closure selects: see [`only`](super::ChaosLayer::only).
#[derive(Clone)]
pub struct Only<I, F> {
    inject: I,
    selects: F,
}

impl<I, F> Only<I, F> {
    pub(super) fn new(inject: I, selects: F) -> Self {
        Self { inject, selects }
    }
}

impl<I: fmt::Debug, F> fmt::Debug for Only<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Only").field(&self.inject).finish_non_exhaustive()
    }
}

impl<I: sealed::SealedInject, F> sealed::SealedInject for Only<I, F> {
    fn supports(&self, fault: &ChaosFault) -> bool {
        self.inject.supports(fault)
    }
}

impl<Req, Res, I, F> Inject<Req, Res> for Only<I, F>
where
    I: Inject<Req, Res>,
    F: Fn(&Req) -> bool + Clone,
{
    type Response = I::Response;

    fn matches(&self, request: &Req, matching: &Matching) -> bool {
        (self.selects)(request) && self.inject.matches(request, matching)
    }

    fn pass(&self, response: Res, injected: Option<Injected>) -> I::Response {
        self.inject.pass(response, injected)
    }

    fn answer(&self, fault: ChaosFault) -> Result<I::Response, BoxError> {
        self.inject.answer(fault)
    }

    fn damage(&self, response: Res, fault: ChaosFault, active: ActiveFault, expiry: Expiry) -> I::Response {
        self.inject.damage(response, fault, active, expiry)
    }
}
