use std::fmt;
use std::time::Duration;

/// Reads a call's timeouts from its request: longer than usual, as subscriptions, long polls and large transfers need, or shorter. And
/// what names the request in the warning if its time is exceeded.
///
/// [`lasting_by`](super::DeadlineLayer::lasting_by) takes a closure, which is enough for most uses.
pub trait Timing<Request> {
    /// What names a request in the log; `()` without a name. Over HTTP it is the method and the path. Every call keeps one until its
    /// response is there, and then its body, so it should be cheap to make and small.
    type Named: Send + 'static;

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

    /// What names this request in the warning about a body that is cut.
    #[inline]
    fn named(&self, _: &Request) -> Option<Self::Named> {
        None
    }
}

/// Gives all calls the same timeouts. This is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByConfig;

impl<Request> Timing<Request> for ByConfig {
    type Named = ();

    #[inline]
    fn lasts(&self, _: &Request) -> Option<Duration> {
        None
    }
}

/// Takes the timeout of long-lived calls from a function of the request, and the rest from another [`Timing`].
#[derive(Clone, Copy)]
pub struct LastingBy<F, L = ByConfig> {
    pub(super) lasts: F,
    pub(super) timing: L,
}

impl<F, L, Request> Timing<Request> for LastingBy<F, L>
where
    F: Fn(&Request) -> Option<Duration>,
    L: Timing<Request>,
{
    type Named = L::Named;

    fn lasts(&self, request: &Request) -> Option<Duration> {
        (self.lasts)(request)
    }

    fn head(&self, request: &Request) -> Option<Duration> {
        self.timing.head(request)
    }

    fn within(&self, request: &Request) -> Option<Duration> {
        self.timing.within(request)
    }

    fn shares_connection(&self, request: &Request) -> bool {
        self.timing.shares_connection(request)
    }

    fn named(&self, request: &Request) -> Option<L::Named> {
        self.timing.named(request)
    }
}

impl<F, L> fmt::Debug for LastingBy<F, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastingBy").finish_non_exhaustive()
    }
}
