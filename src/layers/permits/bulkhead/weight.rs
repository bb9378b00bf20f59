use std::fmt;

use self::sealed::Sealed;

/// How many permits a call takes.
///
/// This trait is sealed: [`weighed_by`](super::BulkheadLayer::weighed_by) takes a closure.
pub trait Weigh<Request>: Sealed {
    /// The request's weight. A weight above the limit takes all permits. A call of weight 0 always passes, and is not counted.
    fn weight(&self, request: &Request) -> u32;
}

mod sealed {
    /// What no one outside of the crate implements.
    pub trait Sealed {}
}

impl Sealed for OnePermit {}

impl<F> Sealed for WeighedBy<F> {}

/// Gives every call the weight one. This is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnePermit;

impl<Request> Weigh<Request> for OnePermit {
    fn weight(&self, _: &Request) -> u32 {
        1
    }
}

/// Takes the weight from a function of the request.
#[derive(Clone, Copy)]
pub struct WeighedBy<F>(pub(super) F);

impl<F, Request> Weigh<Request> for WeighedBy<F>
where
    F: Fn(&Request) -> u32,
{
    fn weight(&self, request: &Request) -> u32 {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for WeighedBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeighedBy").finish_non_exhaustive()
    }
}
