use std::fmt;
use std::time::Duration;

/// Reads a call's timeouts from its request: longer than usual, as subscriptions, long polls and large transfers need, or shorter.
///
/// [`lasting_by`](super::DeadlineLayer::lasting_by) takes a closure, which is enough for most uses.
pub trait Timing<Request> {
    /// The timeout of the whole call, if that is longer than the layer's `timeout`. The layer's `idle_timeout` and `body_timeout` do
    /// not apply to such a call.
    fn lasts(&self, request: &Request) -> Option<Duration>;

    /// The timeout of the response head, for a call that [lasts](Self::lasts); not called for others. `None` stands for the layer's
    /// `head_timeout` or, if that is not set, the timeout of the whole call.
    #[inline]
    fn head(&self, _: &Request) -> Option<Duration> {
        None
    }

    /// The timeout of the whole call, if the request itself sets one in its protocol. Values above the layer's own timeout are
    /// ignored.
    #[inline]
    fn within(&self, _: &Request) -> Option<Duration> {
        None
    }

    /// Whether the response shares its connection with others, as HTTP/2 streams do. A server writes such a response piece by piece.
    #[inline]
    fn shares_connection(&self, _: &Request) -> bool {
        true
    }
}

/// Gives all calls the same timeouts. This is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByConfig;

impl<Request> Timing<Request> for ByConfig {
    #[inline]
    fn lasts(&self, _: &Request) -> Option<Duration> {
        None
    }
}

/// Takes the timeout from a function of the request.
#[derive(Clone, Copy)]
pub struct LastingBy<F>(pub(super) F);

impl<F, Request> Timing<Request> for LastingBy<F>
where
    F: Fn(&Request) -> Option<Duration>,
{
    fn lasts(&self, request: &Request) -> Option<Duration> {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for LastingBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastingBy").finish_non_exhaustive()
    }
}
